"""Images are uploaded by themselves, and messages name them by id."""

import base64
import contextlib
import io

import pytest

from chatapp.app import create_app
from tests.fakes.pictures import plain, png
from tests.page_client import Refused, open_page, path_of, texts
from tests.serving import serving

pytestmark = pytest.mark.slow


@pytest.fixture
async def sees(settings):
    """The app and the address of a chat whose model supports images."""
    app = await create_app(settings.model_copy(update={"gemma_images": True}), with_page=False)
    async with serving(app) as url:
        yield app, url


@pytest.fixture
async def page(sees):
    async with open_page(sees[1]) as client:
        yield client


async def upload(page, file, content_type="image/png", **parameters):
    """Upload a file, and return its id."""
    headers = {"content-type": content_type}
    file = io.BytesIO(file) if isinstance(file, bytes) else file
    async with page._http.post(f"{page._url}/images", data=file, headers=headers, params=parameters) as response:
        body = await response.json()
        if response.status != 200:
            raise Refused(body["error"], response.status)
        return body["id"]


def images_of(request):
    """Return the images that a model got with the last message."""
    content = request["messages"][-1]["content"]
    return [part["image_url"]["url"] for part in content if part["type"] == "image_url"]


async def stored(page, conversation, at=0):
    """Return the files of the images of a question."""
    question = (await page.messages(conversation))[at]
    files = []
    for image in question["images"]:
        async with page._http.get(f"{page._url}/{path_of(conversation)}/images/{image['id']}") as response:
            files.append(await response.read())
    return files


async def test_an_uploaded_image_is_sent_with_the_message_that_names_it(page, model_server):
    ids = [await upload(page, plain((30, 20), color)) for color in ("red", "blue")]
    conversation = await page.send("What are they?", model="gemma", images=[{"id": one} for one in ids])
    files = await stored(page, conversation)
    assert len(files) == 2
    sent = [f"data:image/jpeg;base64,{base64.b64encode(file).decode()}" for file in files]
    assert images_of(model_server.chats[-1]) == sent


async def test_an_upload_is_kept_while_its_message_fails_and_dropped_once_it_is_sent(sees, page):
    uploads = sees[0].state.services.uploads
    upload_id = await upload(page, plain())
    with pytest.raises(Refused, match="at once"):
        await page.send("x" * 6000, model="gemma", images=[{"id": upload_id}])
    with pytest.raises(Refused, match="not in the list"):
        await page.send("Hi", model="nothing", images=[{"id": upload_id}])
    assert uploads.held_bytes > 0
    conversation = await page.send("Hi", model="gemma", images=[{"id": upload_id}])
    assert len(await stored(page, conversation)) == 1
    assert uploads.held_bytes == 0


async def test_a_missing_upload_is_named_and_uploaded_again(sees, page):
    services = sees[0].state.services
    kept, lost = await upload(page, plain()), await upload(page, plain(color="blue"))
    for user in list(services.uploads._users):
        services.uploads.drop(user, [lost])  # as another replica, or this one after a restart
    body = {"text": "Hi", "model": "gemma", "images": [{"id": kept}, {"id": lost}], "question": "0" * 32}
    async with page._http.post(f"{page._url}/conversations", json=body) as response:
        refusal = await response.json()
    assert (response.status, refusal["missing"]) == (409, [lost])
    assert "no longer available. Nothing was sent" in refusal["error"]["text"]
    assert await page.listed() == []
    assert await upload(page, plain(color="blue")) == lost
    conversation = await page.send(**body)
    assert len(await stored(page, conversation)) == 2


async def test_a_retried_message_needs_no_upload_any_more(page, model_server):
    upload_id = await upload(page, plain())
    body = {"text": "Hi", "model": "gemma", "images": [{"id": upload_id}], "question": "0" * 32}
    first = await page.send(**body)
    await page.messages(first)
    assert await page.send(**body, retry=True) == first
    assert len(model_server.chats) == 1


async def test_an_edited_question_keeps_the_images_of_the_conversation(page):
    conversation = await page.send("Hi", model="gemma", images=[{"id": await upload(page, plain())}])
    before = await page.messages(conversation)
    again = [{"id": image["id"]} for image in before[0]["images"]]
    await page.send("Edited", conversation=conversation, model="gemma", images=again, follows="")
    after = await page.messages(conversation)
    assert texts(after)[0] == "Edited"
    assert after[0]["images"][0]["id"] != again[0]["id"]
    with pytest.raises(Refused, match="no longer available"):
        await page.send("Elsewhere", model="gemma", images=again)


async def test_images_of_other_people_are_missing(page, sees):
    upload_id = await upload(page, plain())
    conversation = await page.send("Hi", model="gemma", images=[{"id": await upload(page, plain(color="blue"))}])
    (image,) = (await page.messages(conversation))[0]["images"]
    async with open_page(sees[1]) as other:
        own = await other.send("Mine", model="gemma")
        await other.messages(own)
        for image_id in (upload_id, image["id"]):
            for target in ("", own, conversation):
                with pytest.raises(Refused) as refusal:
                    await other.send("Hi", conversation=target, model="gemma", images=[{"id": image_id}])
                assert refusal.value.status == 409


async def test_a_temporary_chat_and_two_answers_take_uploads(page, model_server):
    upload_id = await upload(page, plain())
    comparison = {"model": "gemma", "temperature": 0.2}
    conversation = await page.send(
        "Hi", model="gemma", images=[{"id": upload_id}], temporary=True, compareWith=comparison
    )
    assert len(await stored(page, conversation)) == 1
    assert [len(images_of(request)) for request in model_server.chats] == [1, 1]


async def test_the_same_image_twice_is_two_images_of_one_upload(page):
    upload_id = await upload(page, plain())
    assert await upload(page, plain()) == upload_id
    conversation = await page.send("Hi", model="gemma", images=[{"id": upload_id}] * 2)
    assert len(await stored(page, conversation)) == 2


async def test_a_small_image_may_be_in_the_message_itself(page, model_server):
    encoded = base64.b64encode(plain()).decode()
    images = [{"data": encoded}, {"data": f"data:image/png;base64,{encoded}"}]
    conversation = await page.send("Hi", model="gemma", images=images)
    assert len(await stored(page, conversation)) == 2
    assert len(images_of(model_server.chats[-1])) == 2


@pytest.mark.parametrize(
    ("file", "content_type", "status", "words"),
    [
        (b"text", "text/plain", 422, "Only images can be uploaded"),
        (b"{}", "application/json", 422, "Only images can be uploaded"),
        (b"text", "image/png", 422, "cannot be read"),
        (b"", "image/png", 422, "cannot be read"),
        (b"\0\0\0\x20ftypheic", "image/heic", 422, "HEIC files are not supported"),
        (png(10_000, 10_000), "image/png", 422, "40 million pixels"),
        (b"x" * 10_000_001, "image/png", 413, "An image can be at most 10 MB. Scale it down"),
    ],
)
async def test_what_is_no_image_is_refused_with_what_to_do(page, file, content_type, status, words):
    with pytest.raises(Refused, match=words) as refusal:
        await upload(page, file, content_type)
    assert refusal.value.status == status


async def test_a_file_without_a_declared_length_is_cut_off(page):
    async def pieces():
        for _ in range(11):
            yield b"x" * 1_000_000

    with pytest.raises(Refused, match="at most 10 MB") as refusal:
        await upload(page, pieces())
    assert refusal.value.status == 413


class NoDecoder:
    """Fails a test that decodes."""

    async def decoded(self, user, file):
        raise AssertionError("decoded before everything was checked")


@contextlib.asynccontextmanager
async def chat_without_decoder(settings, **changes):
    app = await create_app(settings.model_copy(update=changes), with_page=False)
    services = app.state.services
    object.__setattr__(services, "images", NoDecoder())
    services.uploads._decoder = NoDecoder()
    async with serving(app) as url, open_page(url) as page:
        yield page


async def test_nothing_is_decoded_for_a_model_without_images(settings):
    data = base64.b64encode(plain()).decode()
    async with chat_without_decoder(settings, gemma_images=False) as page:
        with pytest.raises(Refused, match="does not support images"):
            await page.send("Hi", model="gemma", images=[{"data": data}])
        with pytest.raises(Refused, match="does not support images"):
            await upload(page, plain(), model="gemma")
        with pytest.raises(Refused, match="not in the list"):
            await upload(page, plain(), model="nothing")


async def test_nothing_is_decoded_where_images_are_turned_off(settings):
    async with chat_without_decoder(settings, gemma_images=True, max_images=0) as page:
        with pytest.raises(Refused, match="turned off"):
            await upload(page, plain())


@pytest.mark.parametrize(
    ("limits", "body", "words"),
    [
        ({}, {"conversation": "nothing"}, "does not exist"),
        ({}, {"text": "x" * 6000}, "at once"),
        ({}, {"images": 5}, "at most 4 images"),
        ({"messages_per_minute": 1}, {"again": True}, "limit of 1 messages per minute"),
        ({"tokens_per_day": 1}, {"again": True}, "daily limit of 1 tokens"),
    ],
)
async def test_nothing_is_decoded_for_a_message_that_is_refused(settings, limits, body, words):
    data = base64.b64encode(plain()).decode()
    async with chat_without_decoder(settings, gemma_images=True, **limits) as page:
        if body.pop("again", False):
            await page.messages(await page.send("Hi", model="gemma"))
        count = body.pop("images", 1)
        with pytest.raises(Refused, match=words):
            await page.send(**{"text": "Hi", "model": "gemma", "images": [{"data": data}] * count, **body})


@pytest.mark.parametrize(
    "data", ["no base64", "", base64.b64encode(b"no image").decode(), base64.b64encode(plain()[:60]).decode()]
)
async def test_an_invalid_image_in_a_message_stores_nothing(page, data):
    with pytest.raises(Refused, match="cannot be read"):
        await page.send("Hi", model="gemma", images=[{"data": data}])
    assert await page.listed() == []
    assert texts(await page.messages(await page.send("Hi", model="gemma")))[0] == "Hi"


@pytest.mark.parametrize(
    "image", [{}, {"id": "a", "data": "a"}, {"id": ""}, {"id": "../x"}, {"id": "A"}, {"id": 7}, {"id": "a" * 65}]
)
async def test_an_image_that_no_page_names_is_not_valid(page, image):
    with pytest.raises(Refused, match="invalid request"):
        await page.send("Hi", model="gemma", images=[image])


async def test_uploads_per_minute_follow_the_limit_of_messages(settings):
    changes = {"gemma_images": True, "messages_per_minute": 1, "max_images": 2}
    app = await create_app(settings.model_copy(update=changes), with_page=False)
    async with serving(app) as url, open_page(url) as page:
        for color in ("red", "blue"):
            await upload(page, plain(color=color))
        with pytest.raises(Refused, match="limit of 2 images per minute") as refusal:
            await upload(page, plain(color="lime"))
        assert refusal.value.status == 429


async def test_delete_everything_forgets_uploads(page, sees):
    await upload(page, plain())
    await page.ask("POST", "delete-everything", {"confirm": True})
    assert sees[0].state.services.uploads.held_bytes == 0


async def test_another_site_uploads_nothing(page, sees):
    headers = {"content-type": "image/png", "sec-fetch-site": "cross-site"}
    async with page._http.post(f"{sees[1]}/images", data=plain(), headers=headers) as response:
        assert response.status == 403
    assert sees[0].state.services.uploads.held_bytes == 0
