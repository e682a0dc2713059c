"""What a GGUF file says about its model, read without its weights.

The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. A damaged file ends in `InvalidGguf`, and takes
neither memory nor time: every length is checked against the file's size before it is used.
"""

from __future__ import annotations

import contextlib
import mmap
import re
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from chatapp.models.prompt import clean_text

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Value = int | float | bool | str | list[int | float | bool]

_VERSIONS: Final = (2, 3)
_STRING, _ARRAY = 8, 9
_SCALARS: Final = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_MOST_KEYS: Final = 100_000
_LONGEST_KEY: Final = 65_535  # of the format
_MOST_LAYERS: Final = 4096  # arrays with a number for each layer; longer ones are the tokenizer's
_LONGEST_NAME: Final = 80
_SHARD = re.compile(r"-(\d{5})-of-(\d{5})(?=\.gguf$)", re.IGNORECASE)


class InvalidGguf(ValueError):
    """The file is no GGUF file, or is damaged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GgufMetadata:
    """What a GGUF file says about its model.

    Attributes:
        architecture: such as "gemma3".
        name: as its makers wrote it; "" where the file has none.
        context_tokens: that it was trained for; None where the file does not say.
        cache_bytes: of memory for each token of a conversation, with 16 bits a value, at most: layers that see a window
            only need less. None where unknown.
        has_template: whether it has a chat template; a model without one continues a text, and answers no questions.
        is_chat_model: not so of the files for images, of adapters, and of models for embeddings.
        shard: its number, from 1, where a model is in several files.
        shards: how many files the model is in.
    """

    architecture: str
    name: str
    context_tokens: int | None
    cache_bytes: int | None
    has_template: bool
    is_chat_model: bool
    shard: int = 1
    shards: int = 1


def read_metadata(path: Path) -> GgufMetadata:
    """Return what a file says. Reads the head of the file, some MB: about 0.1 s with Gemma's 262,144 tokens.

    Raises:
        InvalidGguf: it is no GGUF file, or is damaged.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        try:
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except ValueError as error:  # an empty file
            raise InvalidGguf("the file is empty") from error
        with contextlib.closing(data):
            return _metadata(_Reader(data).values())


def shard_paths(path: Path, shards: int) -> list[Path]:
    """Return the files of a model that is in several, by the names that llama.cpp gives them."""
    if shards < 2 or not _SHARD.search(path.name):
        return [path]
    return [path.with_name(_SHARD.sub(f"-{number:05}-of-{shards:05}", path.name)) for number in range(1, shards + 1)]


class _Reader:
    def __init__(self, data: mmap.mmap) -> None:
        self._data = data
        self._at = 0

    def values(self) -> dict[str, Value]:
        """Return the values by key, without the tokenizer's lists."""
        if self._data[:4] != b"GGUF":
            raise InvalidGguf("it does not begin with GGUF")
        self._at = 4
        version, _tensors, keys = self._scalar("I"), self._scalar("Q"), self._scalar("Q")
        if version not in _VERSIONS or not isinstance(keys, int) or keys > _MOST_KEYS:
            raise InvalidGguf(f"version {version} with {keys} keys")
        values: dict[str, Value] = {}
        for _ in range(keys):
            key = self._string(_LONGEST_KEY)
            value = self._value(int(self._scalar("I")))
            if value is not None:
                values[key] = value
        return values

    def _value(self, kind: int) -> Value | None:
        if kind == _STRING:
            return self._string()
        if kind != _ARRAY:
            return self._scalar(self._format(kind))
        kind, count = int(self._scalar("I")), int(self._scalar("Q"))
        if kind == _STRING:
            self._skip_strings(count)
            return None
        form = self._format(kind)  # an array of arrays is in no file
        if count > _MOST_LAYERS:
            self._skip(count * struct.calcsize(f"<{form}"))
            return None
        return [self._scalar(form) for _ in range(count)]

    def _format(self, kind: int) -> str:
        if kind not in _SCALARS:
            raise InvalidGguf(f"a value of kind {kind}")
        return _SCALARS[kind]

    def _scalar(self, form: str) -> int | float | bool:
        size = struct.calcsize(f"<{form}")
        self._check(size)
        (value,) = struct.unpack_from(f"<{form}", self._data, self._at)
        self._at += size
        return value  # type: ignore[no-any-return]  # struct has no types

    def _string(self, longest: int | None = None) -> str:
        length = int(self._scalar("Q"))
        if longest is not None and length > longest:
            raise InvalidGguf(f"a key of {length} bytes")
        self._check(length)
        text = self._data[self._at : self._at + length]
        self._at += length
        return text.decode("utf-8", "replace")

    def _skip_strings(self, count: int) -> None:
        self._check(8 * count)  # each has a length
        length_at, at, size = struct.Struct("<Q").unpack_from, self._at, len(self._data)
        for _ in range(count):  # a quarter of a million tokens
            if at + 8 > size:
                raise InvalidGguf("it ends too early")
            at += 8 + length_at(self._data, at)[0]
        self._skip(at - self._at)

    def _skip(self, size: int) -> None:
        self._check(size)
        self._at += size

    def _check(self, size: int) -> None:
        if size > len(self._data) - self._at:
            raise InvalidGguf("it ends too early")


def _metadata(values: dict[str, Value]) -> GgufMetadata:
    architecture = str(values.get("general.architecture", ""))

    def number(key: str) -> int | None:
        value = values.get(f"{architecture}.{key}")
        if isinstance(value, list):  # one for each layer
            value = max(value, default=None)
        return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None

    is_other = values.get("general.type", "model") != "model" or architecture in {"", "clip"}
    shard, shards = values.get("split.no"), values.get("split.count")
    is_split = isinstance(shard, int) and isinstance(shards, int) and 1 < shards <= _MOST_LAYERS
    return GgufMetadata(
        architecture=architecture,
        name=clean_text(str(values.get("general.name", ""))).strip()[:_LONGEST_NAME],
        context_tokens=number("context_length"),
        cache_bytes=_cache_bytes(number),
        has_template=bool(values.get("tokenizer.chat_template")),
        is_chat_model=not is_other and f"{architecture}.pooling_type" not in values,
        shard=int(shard) + 1 if is_split and isinstance(shard, int) else 1,
        shards=int(shards) if is_split and isinstance(shards, int) else 1,
    )


def _cache_bytes(number: Callable[[str], int | None]) -> int | None:
    """Return the bytes of a token's keys and values in all layers."""
    layers, heads, width = number("block_count"), number("attention.head_count"), number("embedding_length")
    if layers is None or heads is None or width is None:
        return None
    shared_heads = number("attention.head_count_kv") or heads
    key = number("attention.key_length") or width // heads
    value = number("attention.value_length") or width // heads
    return layers * shared_heads * (key + value) * 2
