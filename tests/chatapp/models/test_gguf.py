"""What a GGUF file says about its model: context, memory, name, template; and files that are something else."""

import random
import struct

import pytest

from chatapp.domain.conversation import FinishReason, GenerationParameters
from chatapp.models import Finish, ModelState, TextDelta
from chatapp.models.llamacpp import gguf
from chatapp.models.llamacpp.gguf import GgufModel
from chatapp.models.llamacpp.metadata import InvalidGguf, read_metadata
from chatapp.models.llamacpp.setup import model_file
from chatapp.models.local.computer import COMPUTATION_BYTES, SMALLEST_CONTEXT
from tests.chatapp.models.answers import question
from tests.fakes.gguf_file import GEMMA, gguf_bytes


@pytest.fixture
def write(tmp_path):
    def written(content, name="model.gguf"):
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return written


def without(*keys):
    return {key: value for key, value in GEMMA.items() if key not in keys}


def test_the_demo_models_own_file_is_read():
    metadata = read_metadata(model_file())
    assert (metadata.architecture, metadata.context_tokens, metadata.cache_bytes) == ("llama", 8192, 23_040)
    assert metadata.has_template
    assert metadata.is_chat_model


def test_context_memory_name_and_template_are_in_the_file(write):
    metadata = read_metadata(write(gguf_bytes()))
    assert (metadata.name, metadata.context_tokens, metadata.has_template) == ("Gemma 3 4B It", 131_072, True)
    assert metadata.cache_bytes == 34 * 4 * (256 + 256) * 2  # as in the catalogue of models


def test_a_number_for_each_layer_counts_by_its_largest(write):
    metadata = read_metadata(write(gguf_bytes({**GEMMA, "gemma3.attention.head_count_kv": [4, 8, 4]})))
    assert metadata.cache_bytes == 34 * 8 * 512 * 2


def test_a_small_file_is_a_small_model_but_not_if_it_is_a_part(write, monkeypatch):
    def is_small(name):
        return GgufModel("one", "One", write(gguf_bytes(), name)).is_small

    assert is_small("model.gguf")
    assert not is_small("model-00001-of-00002.gguf")
    monkeypatch.setattr(gguf, "SMALL_BYTES", 10)
    assert not is_small("model.gguf")


@pytest.mark.parametrize(("is_small", "pieces"), [(True, 3), (False, 20)])
async def test_a_small_model_is_stopped_where_it_goes_around_in_a_circle(write, monkeypatch, is_small, pieces):
    async def loop(*_):
        for _ in range(20):
            yield TextDelta("The machine cleans the lint sieve. ")

    model = GgufModel("one", "One", write(gguf_bytes()))
    model.is_small = is_small
    monkeypatch.setattr(model, "_stream", loop)
    events = [event async for event in model.stream([question("Why?")], GenerationParameters())]
    assert events.count(TextDelta("The machine cleans the lint sieve. ")) == pieces
    assert (events[-1] == Finish(FinishReason.STOP)) is is_small


def test_what_a_file_does_not_say_is_unknown(write):
    metadata = read_metadata(write(gguf_bytes({"general.architecture": "llama"})))
    assert (metadata.name, metadata.context_tokens, metadata.cache_bytes, metadata.has_template) == (
        "",
        None,
        None,
        False,
    )


def one_key(*numbers, form):
    """Return a file with a key "k", whose kind, and lengths, are these."""
    return b"GGUF" + struct.pack("<IQQQc", 3, 0, 1, 1, b"k") + struct.pack(form, *numbers)


LIES = {
    "empty": b"",
    "text": b"no model",
    "big endian": b"GGUF" + struct.pack(">IQQ", 3, 0, 1),
    "the first version": gguf_bytes(version=1),
    "a billion keys": b"GGUF" + struct.pack("<IQQ", 3, 0, 10**9),
    "an endless key": b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 2**63),
    "an endless list": one_key(9, 8, 2**62, form="<IIQ"),
    "an endless string in a list": one_key(9, 8, 1, 2**63, form="<IIQQ"),
    "a list of lists": one_key(9, 9, 1, form="<IIQ"),
    "an unknown kind": one_key(99, form="<I"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_damaged_file_is_refused(write, lie):
    with pytest.raises(InvalidGguf):
        read_metadata(write(LIES[lie]))


@pytest.mark.slow
def test_no_mutation_of_a_file_ends_in_another_error(write):
    rng, refused = random.Random(19), 0
    whole = gguf_bytes()
    for _ in range(500):
        data = bytearray(whole[: rng.randrange(len(whole))] if rng.random() < 0.3 else whole)
        for _ in range(rng.randrange(4)):
            if data:
                data[rng.randrange(len(data))] = rng.randrange(256)
        try:
            read_metadata(write(bytes(data)))
        except InvalidGguf:
            refused += 1
    assert refused > 150


async def problem_of(path):
    model = GgufModel("own", "Own", path)
    status = await model.status()
    await model.aclose()
    return status


@pytest.mark.parametrize(
    "values",
    [
        {"general.architecture": "clip", "general.type": "mmproj"},
        {**GEMMA, "general.type": "adapter"},
        {**without("general.architecture"), "general.architecture": "bert", "bert.pooling_type": 1},
    ],
)
async def test_a_file_of_another_kind_is_no_model_that_can_chat(write, values):
    status = await problem_of(write(gguf_bytes(values)))
    assert status.state is ModelState.UNAVAILABLE
    assert "no model that can chat" in status.reason


async def test_a_model_in_several_files_needs_all_of_them_and_their_memory(write):
    first = write(gguf_bytes({**GEMMA, "split.no": 0, "split.count": 2}), "m-00001-of-00002.gguf")
    assert "m-00002-of-00002.gguf, another part of the model, is missing" in (await problem_of(first)).reason
    second = write(gguf_bytes({**GEMMA, "split.no": 1, "split.count": 2}) + b"\0" * 5000, "m-00002-of-00002.gguf")
    assert (await problem_of(first)).state is ModelState.READY
    status = await problem_of(second)
    assert "later part" in status.reason
    assert "m-00001-of-00002.gguf" in status.fix
    needed = GgufModel("own", "Own", first)._needed_memory()
    files = first.stat().st_size + second.stat().st_size
    assert needed == files + COMPUTATION_BYTES + SMALLEST_CONTEXT * 34 * 4 * 512 * 2


async def test_a_file_without_a_chat_template_is_ready_with_a_warning(write):
    status = await problem_of(write(gguf_bytes(without("tokenizer.chat_template"))))
    assert status.state is ModelState.READY
    assert "no chat template" in status.reason


async def test_the_context_is_as_large_as_the_file_says_and_the_memory_allows(write, monkeypatch):
    monkeypatch.setattr("chatapp.models.local.computer.free_memory", lambda: 10**12)
    monkeypatch.setattr(gguf, "free_memory", lambda: 10**12)
    for context, expected in ((131_072, 32_768), (8192, 8192), (2048, 2048)):
        model = GgufModel("own", "Own", write(gguf_bytes({**GEMMA, "gemma3.context_length": context})))
        assert await model.make_room() is None
        assert model.context_tokens == expected
        await model.aclose()
