"""The upload of an image, and the images that a question names.

An image is uploaded by itself, and a message names it by its id, so that JSON stays small and each file is checked
before it is decoded. The same file again is the same upload.
"""

import dataclasses
from collections.abc import Sequence
from functools import partial

from fastapi import APIRouter, Request

from chatapp.domain.conversation import Image, new_id
from chatapp.domain.errors import CannotSee, InvalidMessage
from chatapp.domain.sentences import Sentence
from chatapp.http.api.question_files import NamedFiles
from chatapp.http.api.routing import ERRORS, ApiRoute, Chat, Services, UserId
from chatapp.http.api.schemas.messages import ImageInfo
from chatapp.http.api.schemas.turns import QuestionImage
from chatapp.images.decoder import file_of

router = APIRouter(route_class=ApiRoute, responses=ERRORS)

FILE = {"requestBody": {"required": True, "content": {"image/*": {"schema": {"type": "string", "format": "binary"}}}}}


@router.post("/images", openapi_extra=FILE)
async def upload_image(request: Request, user: UserId, chat: Chat, model: str = "") -> ImageInfo:
    """Check an image, and keep it until a message names it by the id in the response, for half an hour at most.

    The body is the file: JPEG, PNG, WebP or GIF, with an image's content type. A message that another replica gets, or
    that comes too late, is refused with 409 and the ids in ``missing``: upload these again.
    """
    _check_model(chat, model)
    if not request.headers.get("content-type", "").lower().startswith("image/"):
        raise InvalidMessage(Sentence("Only images can be uploaded. Save the file as JPEG or PNG, then add it again."))
    upload_id, image = await chat.uploads.add(user, await request.body())
    return ImageInfo(id=upload_id, width=image.width, height=image.height)


class ImagesOfRequest:
    """The images that a question names or contains: a `chatapp.generation.requests.QuestionFiles`.

    Raises:
        InvalidMessage: there are too many.
    """

    def __init__(self, chat: Services, user: str, images: Sequence[QuestionImage]) -> None:
        if len(images) > (most := chat.settings.max_images):
            raise InvalidMessage(Sentence("A message can have at most {most} images. Nothing was sent.", most=most))
        self._chat = chat
        self._user = user
        self._images = images
        self._named = NamedFiles(chat.uploads, user, partial(chat.store.image, user))

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._images)

    async def find(self, conversation_id: str) -> Sequence[str]:
        """Find the named ones; return the ids of those that are not here."""
        return await self._named.find([image.id for image in self._images if image.id is not None], conversation_id)

    async def load(self) -> tuple[Image, ...]:
        """Return all of them; those in the request are decoded, one after the other."""
        images = []
        for image in self._images:
            if image.id is not None:
                images.append(dataclasses.replace(self._named.by_id[image.id], id=new_id()))
            else:
                images.append(await self._chat.images.decoded(self._user, file_of(image.data or "")))
        return tuple(images)

    def drop_uploads(self) -> None:
        """Forget the uploads, which the question has now."""
        self._named.drop_uploads()


def _check_model(chat: Services, model: str) -> None:
    """Refuse an upload that no message could use.

    Raises:
        InvalidMessage: no message can have images here, or no model supports them.
        CannotSee: the model that is named does not.
        UnknownModel: there is none of this id.
    """
    if not chat.settings.max_images:
        raise InvalidMessage(Sentence("Images are turned off in this chat. Send the message without images."))
    if model:
        if not (chosen := chat.catalog.get(model)).supports_images:
            raise CannotSee(chosen.label)
    elif not any(one.supports_images for one in chat.catalog):
        raise InvalidMessage(Sentence("No model of this chat supports images. Send the message without images."))
