"""The private parts of google-cloud-firestore that `firestore_compat` depends on are still as they were."""

import inspect
from importlib.metadata import version

from google.auth.credentials import AnonymousCredentials
from google.cloud.firestore import AsyncClient

from chatapp.store.firestore.firestore_compat import CHANNEL_OPTIONS, Client


def test_the_library_is_the_version_that_the_workaround_was_written_for():
    assert version("google-cloud-firestore").startswith("2.34."), "read firestore_compat again, then change this line"


def test_the_library_still_takes_no_channel_options_and_does_not_close_its_channel():
    parameters = set(inspect.signature(AsyncClient.__init__).parameters)
    assert parameters == {"self", "project", "credentials", "database", "client_info", "client_options"}
    assert "_firestore_api_internal" not in inspect.getsource(AsyncClient.close)


async def test_every_request_uses_the_channel_with_the_options(monkeypatch):
    monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", "127.0.0.1:1")
    channels = []

    def insecure_channel(host, options):
        channels.append((host, options))
        return made(host, options=options)

    from grpc import aio

    made = aio.insecure_channel
    monkeypatch.setattr(aio, "insecure_channel", insecure_channel)
    client = Client(project="demo", credentials=AnonymousCredentials())
    assert isinstance(inspect.getattr_static(AsyncClient, "_firestore_api"), property)
    assert client._firestore_api is client._firestore_api
    assert channels == [("127.0.0.1:1", CHANNEL_OPTIONS)]
    await client.aclose()
