"""The models that can be downloaded: 4-bit GGUF files of Gemma, from repositories that need no account.

Sizes and checksums are those of the pinned revisions, as at least two independent public projects state them that pin
the same files (read on 29 November 2026; the hub itself could not be reached). A file without a checksum here is
checked against the one that the hub states: see `chatapp.models.local.hub`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

_HUB = "https://huggingface.co"


@dataclass(frozen=True, slots=True, kw_only=True)
class HubFile:
    """A file in a repository of the hub.

    Attributes:
        repository: "owner/name".
        revision: a commit, or a branch where the checksum is not known yet.
        name: of the file in the repository.
        size: in bytes; only roughly where ``sha256`` is "".
        sha256: hexadecimal; "" where it is not verified: then the hub's own is used.
    """

    repository: str
    revision: str
    name: str
    size: int
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class Licence:
    """The terms that a person accepts before a download."""

    name: str
    url: str


GEMMA_TERMS: Final = Licence("Gemma Terms of Use", "https://ai.google.dev/gemma/terms")
APACHE: Final = Licence("Apache License 2.0", "https://ai.google.dev/gemma/docs/gemma_4_license")


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalEntry:
    """A model that can be downloaded. Its chat template is in its file.

    Attributes:
        id: of the model in this chat, and the value of ``CHAT_LOCAL_MODEL``.
        label: its name on the page.
        file: the model.
        projector: turns pictures into tokens; None for a model of text alone.
        licence: to be accepted first.
        context_tokens: that it was trained for.
        cache_bytes: of memory for each token of a conversation, at most.
        memory_bytes: that it needs with a context of 4096 tokens.
        active_bytes: that are read for each token, and so decide how fast it answers; 0: all of the file.
        languages: roughly how many it knows.
        gated: whether the hub asks for an account that has accepted the licence.
    """

    id: str
    label: str
    file: HubFile
    projector: HubFile | None = None
    licence: Licence
    context_tokens: int
    cache_bytes: int
    memory_bytes: int
    active_bytes: int = 0
    languages: int = 140
    gated: bool = False

    @property
    def files(self) -> tuple[HubFile, ...]:
        """All files of the model."""
        return (self.file, self.projector) if self.projector else (self.file,)

    @property
    def size(self) -> int:
        """The bytes of all its files."""
        return sum(file.size for file in self.files)

    @property
    def source(self) -> str:
        """The address of its page at the hub."""
        return f"{_HUB}/{self.file.repository}"


# memory_bytes: the files, 0.6 GB for computation, and the cache of 4096 tokens. cache_bytes: layers * 2 * key-value
# heads * head size * 2 bytes, from the models' config.json; less where layers see a window only.
CATALOGUE: Final = (
    LocalEntry(
        id="gemma-3-1b",
        label="Gemma 3 1B",
        file=HubFile(
            repository="ggml-org/gemma-3-1b-it-GGUF",
            revision="f9c28bcd85737ffc5aef028638d3341d49869c27",
            name="gemma-3-1b-it-Q4_K_M.gguf",
            size=806_058_240,
            sha256="8ccc5cd1f1b3602548715ae25a66ed73fd5dc68a210412eea643eb20eb75a135",
        ),
        licence=GEMMA_TERMS,
        context_tokens=32_768,
        cache_bytes=26_624,
        memory_bytes=1_600_000_000,
        languages=1,  # "English only", of Google's model card
    ),
    LocalEntry(
        id="gemma-3-4b",
        label="Gemma 3 4B",
        file=HubFile(
            repository="ggml-org/gemma-3-4b-it-GGUF",
            revision="d0976223747697cb51e056d85c532013931fe52e",
            name="gemma-3-4b-it-Q4_K_M.gguf",
            size=2_489_757_856,
            sha256="882e8d2db44dc554fb0ea5077cb7e4bc49e7342a1f0da57901c0802ea21a0863",
        ),
        projector=HubFile(
            repository="ggml-org/gemma-3-4b-it-GGUF",
            revision="d0976223747697cb51e056d85c532013931fe52e",
            name="mmproj-model-f16.gguf",
            size=851_251_104,
            sha256="8c0fb064b019a6972856aaae2c7e4792858af3ca4561be2dbf649123ba6c40cb",
        ),
        licence=GEMMA_TERMS,
        context_tokens=131_072,
        cache_bytes=139_264,
        memory_bytes=4_600_000_000,
    ),
    LocalEntry(
        id="gemma-4-e2b",
        label="Gemma 4 E2B",
        file=HubFile(
            repository="google/gemma-4-E2B-it-qat-q4_0-gguf",
            revision="675cff42a74c774d6cb76f76d8eacb49b48c9b93",
            name="gemma-4-E2B_q4_0-it.gguf",
            size=3_349_516_256,
            sha256="fa401b55b07ee70a54c6dae3903c783a6e65064312529ea57175cb5f8dec6634",
        ),
        projector=HubFile(
            repository="google/gemma-4-E2B-it-qat-q4_0-gguf",
            revision="675cff42a74c774d6cb76f76d8eacb49b48c9b93",
            name="gemma-4-E2B-it-mmproj.gguf",
            size=986_833_664,
            sha256="021059cce659fe7f9170d5599761d7bbaf644b798dab9503aca30dc43e6beb14",
        ),
        licence=APACHE,
        context_tokens=131_072,
        cache_bytes=71_680,
        memory_bytes=5_300_000_000,
        active_bytes=1_450_000_000,  # 2 of its 5 billion parameters; the others are looked up
    ),
    LocalEntry(
        id="gemma-4-e4b",
        label="Gemma 4 E4B",
        file=HubFile(
            repository="google/gemma-4-E4B-it-qat-q4_0-gguf",
            revision="4b4a2c1d584be7264f87aac328a1bc739ce81b6c",
            name="gemma-4-E4B_q4_0-it.gguf",
            size=5_154_941_280,
            sha256="676c35070db6dbe52f93e9c864ee0fba4eddea94b9c875d9cb10daff453fbaee",
        ),
        projector=HubFile(
            repository="google/gemma-4-E4B-it-qat-q4_0-gguf",
            revision="4b4a2c1d584be7264f87aac328a1bc739ce81b6c",
            name="gemma-4-E4B-it-mmproj.gguf",
            size=991_552_256,
            sha256="7498a37cb619e55f2fcf87eb931f56e99389ed6d432e4c5c66110694c0d65578",
        ),
        licence=APACHE,
        context_tokens=131_072,
        cache_bytes=143_360,
        memory_bytes=7_400_000_000,
        active_bytes=2_700_000_000,  # 4 of its 8 billion parameters
    ),
    LocalEntry(
        id="gemma-4-12b",
        label="Gemma 4 12B",
        # Not verified: public projects state different sizes and checksums, of different revisions.
        file=HubFile(
            repository="google/gemma-4-12B-it-qat-q4_0-gguf",
            revision="main",
            name="gemma-4-12b-it-qat-q4_0.gguf",
            size=6_975_879_296,
        ),
        licence=APACHE,
        context_tokens=131_072,
        cache_bytes=393_216,
        memory_bytes=9_200_000_000,
    ),
)
