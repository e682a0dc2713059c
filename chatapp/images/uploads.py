"""Uploaded images that wait for a message, in memory."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from chatapp.domain.conversation import Image
from chatapp.domain.sentences import Sentence
from chatapp.images.decoder import checked_header
from chatapp.limits.uploads import KeptUploads, UploadLimits

if TYPE_CHECKING:
    from chatapp.images.decoder import ImageDecoder

SENTENCES = (
    Sentence("Your limit of {most} images per minute is reached. Your images are still in the box. Try again {when}."),
    Sentence(
        "This chat's shared limit on images per minute is reached. Your images are still in the box. Try again {when}."
    ),
)


class Uploads(KeptUploads[Image]):
    """Decodes uploaded images, and keeps them.

    Args:
        decoder: decodes the files.
        limits: on how often.
    """

    def __init__(self, decoder: ImageDecoder, limits: UploadLimits | None = None) -> None:
        super().__init__(lambda image: len(image.data))
        self._decoder = decoder
        self._limits = limits or UploadLimits(SENTENCES)

    async def add(self, user: str, file: bytes) -> tuple[str, Image]:
        """Decode and keep an image; return its id and the image.

        Raises:
            InvalidMessage: it is no image, is damaged, or is too large.
            LimitReached: too many images were uploaded, or are being decoded.
        """
        upload_id = hashlib.sha256(file).hexdigest()[:32]
        if (image := self.get(user, upload_id)) is not None:
            return upload_id, image
        checked_header(file)
        self._limits.admit(user)
        image = await self._decoder.decoded(user, file)
        self.keep(user, upload_id, image)
        return upload_id, image
