"""Uploads are kept per person, bounded, for a while; the same file is decoded once."""

import asyncio

import pytest

from chatapp.domain.conversation import Image, new_id
from chatapp.domain.errors import InvalidMessage, LimitReached
from chatapp.images.uploads import SENTENCES, Uploads
from chatapp.limits import uploads as module
from chatapp.limits.uploads import UploadLimits
from tests.fakes.pictures import plain

FILES = [plain((number, 1)) for number in range(1, 40)]


class FakeDecoder:
    """Returns images of a given size."""

    def __init__(self, size=1000):
        self.size = size
        self.decoded_files = []

    async def decoded(self, user, file):
        self.decoded_files.append((user, file))
        return Image(id=new_id(), media_type="image/jpeg", width=1, height=1, data=b"x" * self.size)


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 1000.0

        def monotonic(self):
            return self.now

        def time(self):
            return self.now

    monkeypatch.setattr(module, "time", Clock())
    return module.time


async def test_the_same_file_is_the_same_upload_and_is_decoded_once():
    decoder = FakeDecoder()
    uploads = Uploads(decoder)
    first, image = await uploads.add("ana", FILES[0])
    assert await uploads.add("ana", FILES[0]) == (first, image)
    assert (await uploads.add("ana", FILES[1]))[0] != first
    assert len(decoder.decoded_files) == 2


async def test_an_upload_is_its_owners_alone():
    decoder = FakeDecoder()
    uploads = Uploads(decoder)
    upload_id, image = await uploads.add("ana", FILES[0])
    assert uploads.get("ana", upload_id) == image
    assert uploads.get("bob", upload_id) is None
    await uploads.add("bob", FILES[0])  # decoded again: what another person uploaded must not show by its time
    assert len(decoder.decoded_files) == 2
    uploads.drop("bob", [upload_id])
    assert (uploads.get("bob", upload_id), uploads.get("ana", upload_id)) == (None, image)
    uploads.drop_all("ana")
    assert uploads.get("ana", upload_id) is None
    assert uploads.held_bytes == 0


async def test_an_unused_upload_is_dropped_after_a_while(clock):
    uploads = Uploads(FakeDecoder())
    unused, _ = await uploads.add("ana", FILES[0])
    used, _ = await uploads.add("ana", FILES[1])
    clock.now += module.KEEP_SECONDS - 1
    assert uploads.get("ana", used) is not None
    clock.now += 2
    assert (uploads.get("ana", unused), uploads.get("ana", used) is None) == (None, False)


async def test_unused_uploads_are_dropped_without_another_request(monkeypatch):
    monkeypatch.setattr(module, "KEEP_SECONDS", 0.05)
    uploads = Uploads(FakeDecoder())
    await uploads.add("ana", FILES[0])
    async with asyncio.timeout(30):
        while uploads._users:
            await asyncio.sleep(0.01)
    assert uploads._timer is None


async def test_a_persons_oldest_uploads_make_room_for_new_ones():
    uploads = Uploads(FakeDecoder(900_000))
    ids = [(await uploads.add("ana", file))[0] for file in FILES[:20]]
    kept = [upload_id for upload_id in ids if uploads.get("ana", upload_id)]
    assert kept == ids[-17:]
    assert uploads.held_bytes <= module.MAX_USER_BYTES


async def test_a_person_with_many_uploads_makes_room_for_everybody(monkeypatch):
    monkeypatch.setattr(module, "MAX_TOTAL_BYTES", 10_000_000)
    uploads = Uploads(FakeDecoder(900_000))
    (bobs, _), *_ = [await uploads.add("bob", FILES[0])]
    for file in FILES[:12]:
        await uploads.add("ana", file)
    assert uploads.get("bob", bobs) is not None
    assert uploads.held_bytes <= 10_000_000


async def test_small_images_are_bounded_in_number():
    uploads = Uploads(FakeDecoder(1))
    for number in range(module.MAX_USER_BYTES // module.MIN_BYTES + 50):
        uploads._users.setdefault("ana", module.OrderedDict())[f"{number}"] = module._Upload(
            Image(id="i", media_type="image/jpeg", width=1, height=1, data=b"x"), 0.0
        )
    uploads._make_room("ana")
    assert len(uploads._users["ana"]) == module.MAX_USER_BYTES // module.MIN_BYTES


async def test_uploads_per_minute_are_limited_before_anything_is_decoded(clock):
    refused, decoder = [], FakeDecoder()
    uploads = Uploads(decoder, UploadLimits(SENTENCES, 2, 3, refused.append, clock=lambda: clock.now))
    first, _ = await uploads.add("ana", FILES[0])
    await uploads.add("ana", FILES[1])
    with pytest.raises(LimitReached, match="Your limit of 2 images per minute") as refusal:
        await uploads.add("ana", FILES[2])
    assert 0 < refusal.value.retry_after <= 60
    assert (await uploads.add("ana", FILES[0]))[0] == first  # no decoding, no count
    await uploads.add("bob", FILES[0])
    with pytest.raises(LimitReached, match="shared limit on images"):
        await uploads.add("bob", FILES[1])
    assert (refused, len(decoder.decoded_files)) == (["uploads", "all_uploads"], 3)
    clock.now += 61
    await uploads.add("ana", FILES[2])


async def test_a_file_that_is_refused_by_its_header_does_not_count():
    uploads = Uploads(FakeDecoder(), UploadLimits(SENTENCES, 1))
    with pytest.raises(InvalidMessage):
        await uploads.add("ana", b"hello")
    await uploads.add("ana", FILES[0])
