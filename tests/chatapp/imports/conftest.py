"""Imports of files into a store in memory."""

import io

import pytest

from chatapp.domain.conversation import Image, new_id
from chatapp.images.decoder import checked_header
from chatapp.imports.importer import Importer
from chatapp.store.temporary.memory import MemoryStore
from chatapp.userdata import queries

USER = "mirela"


class Decoder:
    """Stands for the decoder, which starts a process for each image: takes everything that has a header."""

    def __init__(self):
        self.count = 0

    async def decoded(self, user, file):
        del user
        header = checked_header(file)
        self.count += 1
        return Image(id=new_id(), media_type="image/jpeg", width=header.width, height=header.height, data=file)


class Imports:
    """A store, and imports into it."""

    def __init__(self, store=None):
        self.store = store or MemoryStore()
        self.decoder = Decoder()
        self.steps = []

    async def run(self, file, user=USER, **options):
        importer = Importer(self.store, self.decoder, limits=options.pop("limits", None))
        return await importer.run(user, io.BytesIO(file), "export", on_step=self.steps.append, **options)

    async def everything(self, user=USER):
        return [one async for one in queries.everything(self.store, user)]


@pytest.fixture
def imports():
    return Imports()
