"""Servers that people run: other addresses, lists that help little, refusals of what is optional, loads on demand."""

import asyncio
import itertools

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chatapp.domain.conversation import GenerationParameters
from chatapp.domain.errors import ModelUnavailable, RateLimited
from chatapp.models import ModelState, TimeLimits
from chatapp.models.openai.address import Address
from chatapp.models.openai.listing import listing
from chatapp.models.openai.model import OpenAICompatibleModel
from chatapp.models.openai.readiness import ServerUse
from tests.chatapp.models.answers import question, text_of
from tests.fakes.local_server import LocalServer

ASKED = GenerationParameters(temperature=0.7, top_p=0.8, max_tokens=1000, system_prompt="You are a pirate.")


async def ask(model, parameters=ASKED, text="Hello"):
    return text_of([event async for event in model.stream(question(text), parameters)])


# --- addresses and lists ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("base", "typed"),
    [
        ("/v1", ""),
        ("/v1", "/"),
        ("/v1", "/v1/chat/completions"),
        ("/v1", "/v1/models/"),
        ("/v1", "/api/chat"),
        ("", ""),
        ("", "/v1"),
        ("/api/paas/v4", "/api/paas/v4"),
        ("/api/v3", "/api/v3/"),
        ("/v1beta/openai", "/v1beta/openai/"),
        ("/v1beta/openai", "/v1beta"),
        ("/openai/v1", "/openai"),
        ("/openai", "/openai/chat/completions"),
        ("/api/v1", ""),
        ("/inference", "/inference"),
        ("/gateway/v1", "/gateway"),
    ],
)
@pytest.mark.parametrize("listed", [True, False])
async def test_api_is_found_at_what_people_type(connect, base, typed, listed):
    async with LocalServer(base=base, models=["m"] if listed else None) as server:
        model = connect(server.root + typed, model="" if listed else "m")
        assert (await model.status()).state is ModelState.READY
        assert await ask(model) == "ok"
        server.paths.clear()
        assert await ask(model) == "ok"
        assert server.paths == [f"POST {base}/chat/completions"]  # it is remembered


@pytest.mark.parametrize(
    ("base", "typed", "name"),
    [
        ("/v1", "", ""),
        ("/v1", "/v1/chat/completions", "m"),
        ("/openai/deployments/gpt-4o", "/openai/deployments/gpt-4o/chat/completions", ""),
        ("/openai/deployments/gpt-4o", "/openai/deployments/gpt-4o", ""),
        ("/openai/deployments/gpt-4o", "", "gpt-4o"),
        ("/openai/deployments/gpt-4o", "/openai", "gpt-4o"),
    ],
)
async def test_query_of_the_address_goes_with_each_request_and_is_never_shown(connect, caplog, base, typed, name):
    query = "api-version=2024-10-21&code=hunter2%2B3"
    async with LocalServer(base=base, models=None if "deploy" in base else ["m"]) as server:
        model = connect(f"{server.root}{typed}?{query}", model=name, api_key="k")
        assert (await model.status()).state is ModelState.READY
        assert await ask(model) == "ok"
        assert set(server.queries) == {query}
        assert server.requests[-1]["model"] == ("gpt-4o" if "deploy" in base else "m")
        assert {(headers["Authorization"], headers["api-key"]) for headers in server.headers} == {("Bearer k", "k")}
        server.refuses = lambda _body: (401, {"error": {"message": "no"}})
        with pytest.raises(ModelUnavailable) as caught:
            await ask(model)
    status = await model.status()
    assert "hunter2" not in f"{caught.value} {caught.value.detail} {status} {caplog.text}"


async def test_list_is_needed_only_where_no_model_is_named(connect):
    async with LocalServer(models=None) as server:
        assert (await connect(server, model="sonar").status()).state is ModelState.READY
        status = await connect(server).status()
        assert "does not answer like an OpenAI-compatible server" in status.reason


@pytest.mark.parametrize(
    "body",
    [{"error": "Unexpected endpoint or method. (GET /models)"}, {"error": {"message": "Invalid URL (GET /models)"}}],
)
async def test_list_is_looked_for_beyond_an_answer_that_knows_no_such_path(connect, body):
    async with LocalServer(base="/gateway/v1", native={"/gateway/models": body}) as server:
        assert await ask(connect(f"{server.root}/gateway")) == "ok"


async def test_list_may_be_a_bare_array(connect):
    async with LocalServer(base="/x/v1", models=None, native={"/x/v1/models": [{"id": "t", "type": "chat"}]}) as server:
        assert await ask(connect(server)) == "ok"
        assert server.requests[0]["model"] == "t"


def test_typed_address_is_tried_first_and_nothing_twice():
    for typed in ("http://h/api/v3", "http://h/v1", "http://h/openai", "http://h/x"):
        bases = Address.parse(typed, setting="S").bases
        assert bases[0] == typed
        assert len(set(bases)) == len(bases)


# --- which model --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "other",
    [
        "nomic-embed-text:latest",
        "text-embedding-3-small",
        "BAAI/bge-reranker-v2-m3",
        "intfloat/multilingual-e5-large",
        "jina-clip-v2",
        "whisper-1",
        "gpt-4o-mini-tts",
        "gpt-4o-realtime-preview",
        "dall-e-3",
        "gpt-image-1",
        "black-forest-labs/FLUX.1-schnell",
        "stabilityai/stable-diffusion-xl-base-1.0",
        "omni-moderation-latest",
        "meta-llama/Llama-Guard-4-12B",
        "babbage-002",
        "veo-3.0-generate-001",
        {"id": "plain", "type": "embedding"},
        {"id": "plain", "capabilities": {"completion_chat": False}},
        {"id": "plain", "capabilities": ["embedding"]},
        {"id": "plain", "architecture": {"output_modalities": ["image"]}},
    ],
)
def test_model_that_cannot_chat_is_not_chosen(other):
    entries = [{"id": one} if isinstance(one, str) else one for one in (other, "gemma3:12b")]
    assert listing(entries, "").model == "gemma3:12b"
    assert listing(entries, entries[0]["id"]).model == entries[0]["id"]  # unless it is set


@pytest.mark.parametrize(
    "name", ["gemma3:12b", "gpt-4o", "Qwen/Qwen3-VL-8B", "mistral-small", "deepseek-r1", "llava:7b", "smollm2", "o3"]
)
def test_model_that_can_chat_is_chosen(name):
    assert listing([{"id": name}], "").model == name


@pytest.mark.parametrize(
    ("entry", "is_small"),
    [
        ({"id": "gemma", "root": "/models/gemma-3-270m"}, True),  # vLLM
        ({"id": "any", "meta": {"n_params": 268_098_176}}, True),  # llama.cpp
        ({"id": "like-270m", "meta": {"n_params": 3_880_099_328}}, False),
        ({"id": "qwen2.5:0.5b"}, True),
        ({"id": "SmolLM2_360M_Instruct"}, True),
        ({"id": "google/gemma-3-4b-it"}, False),
        ({"id": "command-10.5b"}, False),
        ({"id": "glm-4-9b-chat-1m"}, False),  # tokens of its context
    ],
)
def test_a_small_model_is_known_by_its_parameters_or_its_name(entry, is_small):
    assert listing([entry], "").is_small is is_small


async def test_embedding_model_that_is_not_known_by_its_name_gives_way(connect):
    def refuses(body):
        words = f'"{body["model"]}" does not support chat'
        return (400, {"error": {"message": words, "type": "api_error"}}) if body["model"] != "b" else None

    async with LocalServer(models=["a", "c", "b"], refuses=refuses) as server:
        model = connect(server)
        assert await ask(model) == "ok"
        assert await ask(model) == "ok"
        assert [request["model"] for request in server.requests] == ["a", "c", "b", "b"]
        with pytest.raises(ModelUnavailable, match=r"'a' cannot chat. Set CHAT_GEMMA_MODEL to another model: c, b"):
            await ask(connect(server, model="a"))


async def test_list_without_a_model_that_can_chat_is_an_error_that_names_them(connect):
    async with LocalServer(models=["nomic-embed-text", "whisper-1"]) as server:
        status = await connect(server).status()
    assert "lists no model that can chat, only nomic-embed-text, whisper-1" in status.reason
    assert "CHAT_GEMMA_MODEL" in status.fix


# --- what is optional gives way -----------------------------------------------------------------------------------


def has_system(body):
    return any(message["role"] == "system" for message in body["messages"])


PRESENT = {
    "temperature": lambda body: "temperature" in body,
    "top_p": lambda body: "top_p" in body,
    "stream_options": lambda body: "stream_options" in body,
    "max_tokens": lambda body: "max_tokens" in body,
    "max_completion_tokens": lambda body: "max_completion_tokens" in body,
    "system": has_system,
}
WORDS = {
    "OpenAI": lambda name: {
        "error": {"message": f"Unsupported parameter: '{name}'", "param": name, "code": "unsupported_parameter"}
    },
    "FastAPI": lambda name: {"detail": [{"loc": ["body", name], "msg": "Extra inputs are not permitted"}]},
    "words": lambda name: {"error": f"{name} role/field is not supported by this model"},
    "nothing": lambda _name: {"error": {"message": "Bad request"}},
}


def strict(refused, words):
    def refuses(body):
        name = next((name for name in refused if PRESENT[name](body)), None)
        return (400, WORDS[words](name)) if name else None

    return refuses


@pytest.mark.slow
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(refused=st.sets(st.sampled_from(sorted(PRESENT))), words=st.sampled_from(sorted(WORDS)))
def test_any_optional_fields_that_are_refused_give_way_and_that_is_remembered(refused, words):
    async def run():
        async with LocalServer(refuses=strict(sorted(refused), words)) as server:
            model = OpenAICompatibleModel("m", "M", server.url)
            try:
                assert await ask(model) == "ok"
                attempts = len(server.requests)
                assert await ask(model) == "ok"
                assert len(server.requests) == attempts + 1
                assert server.requests[-1] == server.requests[-2]
                assert "You are a pirate." in str(server.requests[-1]["messages"])
                if words != "nothing":  # nothing else is given up
                    kept = PRESENT.keys() - refused - {"max_completion_tokens"}
                    assert all(PRESENT[name](server.requests[-1]) for name in kept)
            finally:
                await model.aclose()

    asyncio.run(run())


async def test_temperature_and_top_p_that_are_refused_together_leave_the_temperature(connect):
    words = "`temperature` and `top_p` cannot both be specified for this model. Please use only one."

    def refuses(body):
        both = {"temperature", "top_p"} <= body.keys()
        return (400, {"error": {"message": words, "code": "400"}}) if both else None

    async with LocalServer(refuses=refuses) as server:
        model = connect(server)
        assert await ask(model) == "ok"
        assert server.requests[-1]["temperature"] == 0.7
        assert len(server.requests) == 2
        assert set(model.unsupported) == {"top_p"}


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, {"object": "error", "message": "System role not supported", "code": 400}),
        (400, {"error": {"message": "Developer instruction is not enabled for models/gemma-3-12b-it"}}),
        (400, {"error": {"message": "Conversation roles must alternate user/assistant/user/assistant/..."}}),
        (400, {"error": {"message": "Only user and assistant roles are supported!"}}),
        (400, {"error": {"message": "Unsupported value", "param": "messages[0].role", "code": "unsupported_value"}}),
        (500, {"error": {"message": "Value is not callable: System role not supported", "code": 500}}),
        (422, {"detail": [{"loc": ["body", "messages", 0, "role"], "msg": "Input should be 'user' or 'assistant'"}]}),
    ],
)
async def test_system_prompt_precedes_the_first_question_where_there_is_no_such_role(connect, status, body):
    async with LocalServer(refuses=lambda request: (status, body) if has_system(request) else None) as server:
        assert await ask(connect(server)) == "ok"
        assert server.requests[-1]["messages"] == [{"role": "user", "content": "You are a pirate.\n\nHello"}]
        assert server.requests[-1].keys() == server.requests[0].keys()


@pytest.mark.parametrize(
    ("least", "most", "words", "tokens", "sent"),
    [
        (
            16,
            9**9,
            "Could not finish the message because max_tokens was reached. Try again with higher max_tokens.",
            1,
            16,
        ),
        (
            16,
            9**9,
            "Invalid 'max_tokens': integer below minimum value. Expected a value >= 16, but got 5 instead.",
            5,
            16,
        ),
        (1, 2048, "max_tokens is too large: 4096. This model supports at most 2048 completion tokens.", 4096, 2048),
        (1, 2000, "Invalid max_tokens value, the valid range of max_tokens is [1, 2000]", 3000, 2000),
        (1, 1024, "max_tokens: 4096 > 1024, which is the maximum allowed number of output tokens for x", 4096, 1024),
        (1, 1024, "Range of max_tokens should be [1, 1024]", 2048, 1024),
    ],
)
async def test_limit_of_the_answer_is_brought_into_the_range_of_the_server(connect, least, most, words, tokens, sent):
    def refuses(body):
        return None if least <= body["max_tokens"] <= most else (400, {"error": {"message": words}})

    async with LocalServer(refuses=refuses) as server:
        model = connect(server)
        assert await ask(model, GenerationParameters(max_tokens=tokens)) == "ok"
        assert server.requests[-1]["max_tokens"] == sent
        assert await ask(model, GenerationParameters(max_tokens=1000)) == "ok"
        assert server.requests[-1]["max_tokens"] == 1000
        assert len(server.requests) == 3


async def test_reasoning_model_of_openai_answers_and_is_probed_like_that(connect):
    def refuses(body):
        def no(name, code, words):
            return 400, {"error": {"message": words, "param": name, "code": code}}

        if "max_tokens" in body:
            return no("max_tokens", "unsupported_parameter", "Use 'max_completion_tokens' instead.")
        if body.get("temperature", 1) != 1:
            return no("temperature", "unsupported_value", "Only the default (1) value is supported.")
        if "top_p" in body:
            return no("top_p", "unsupported_parameter", "Unsupported parameter: 'top_p'")
        if body["max_completion_tokens"] < 16:
            return no(None, None, "Could not finish the message because max_tokens or model output limit was reached.")
        return None

    async with LocalServer(models=["gpt-5"], refuses=refuses) as server:
        model = connect(server)
        assert await ask(model) == "ok"
        assert await ask(model, GenerationParameters(max_tokens=1)) == "ok"
        assert model.unsupported.keys() == {"temperature", "top_p"}


async def test_named_refusal_is_remembered_even_if_the_next_attempt_fails_otherwise(connect):
    answers = itertools.chain([(429, {"error": "slow down"})], itertools.repeat(None))

    def refuses(body):
        return (400, {"error": {"message": "top_p is not supported"}}) if "top_p" in body else next(answers)

    async with LocalServer(refuses=refuses) as server:
        model = connect(server)
        with pytest.raises(RateLimited):
            await ask(model)
        assert await ask(model) == "ok"
        assert ["top_p" in request for request in server.requests] == [True, False, False]


async def test_refusal_of_everything_ends_with_the_first_words(connect):
    async with LocalServer(refuses=lambda _body: (400, {"error": {"message": "no"}})) as server:
        model = connect(server)
        for _ in range(2):  # nothing is remembered
            with pytest.raises(ModelUnavailable, match="the server rejects the request"):
                await ask(model)
        assert server.requests[0].keys() >= {"temperature", "top_p", "stream_options", "max_tokens"}
        assert server.requests[len(server.requests) // 2] == server.requests[0]
        assert len(server.requests) <= 16


async def test_what_was_learned_belongs_to_the_model(connect):
    def refuses(body):
        wrong = body["model"] == "a" and "top_p" in body
        return (400, {"error": {"message": "top_p is not supported"}}) if wrong else None

    async with LocalServer(models=["a"], refuses=refuses) as server:
        model = connect(server)
        await ask(model)
        assert "top_p" not in server.requests[-1]
        server.models = ["b"]
        await model.status()
        await ask(model)
        assert "top_p" in server.requests[-1]


# --- loads on demand ----------------------------------------------------------------------------------------------


def ollama(server):
    def ps(_body):
        models = [{"name": one, "model": one, "context_length": server.context_tokens} for one in server.loaded]
        return {"models": models}

    server.native = {"/api/ps": ps, "/api/show": lambda body: {"capabilities": ["completion"], "model": body["model"]}}
    return server


@pytest.mark.parametrize("has_native_api", [True, False])
async def test_open_page_never_loads_or_evicts_a_model(connect, has_native_api):
    async with LocalServer(models=["a", "b"], load_seconds=0) as server:
        if has_native_api:
            ollama(server)
        use = ServerUse()
        first, second = connect(server, model="a", use=use), connect(server, model="b", use=use)
        await ask(first)
        for _ in range(5):
            assert [(await model.status()).state for model in (first, second)] == [ModelState.READY] * 2
        assert (server.loads, server.loaded) == (["a"], ["a"])
        assert len(server.requests) == 1


@pytest.mark.parametrize("has_native_api", [True, False])
async def test_failed_model_is_not_probed_while_another_one_of_its_server_is_in_use(connect, has_native_api):
    def refuses(body):
        return (500, {"error": "out of memory"}) if body["model"] == "b" else None

    async with LocalServer(models=["a", "b"], load_seconds=0, refuses=refuses) as server:
        if has_native_api:
            ollama(server)
        use = ServerUse()
        first, second = connect(server, model="a", use=use), connect(server, model="b", use=use)
        await ask(first)
        with pytest.raises(ModelUnavailable):
            await ask(second)
        for _ in range(3):
            assert (await second.status()).state is ModelState.UNAVAILABLE
        assert [request["model"] for request in server.requests] == ["a", "b"]


@pytest.mark.slow
async def test_slow_load_is_begun_once_and_never_aborted(connect, monkeypatch):
    monkeypatch.setattr("chatapp.models.openai.model.STATUS_SECONDS", 0.05)
    failures = itertools.chain([(500, {"error": "out of memory"})], itertools.repeat(None))
    async with LocalServer(load_seconds=0.4, refuses=lambda _body: next(failures)) as server:
        model = connect(server)
        with pytest.raises(ModelUnavailable):
            await ask(model)
        async with asyncio.timeout(60):
            while (await model.status()).state is not ModelState.READY:
                await asyncio.sleep(0.02)
        assert (server.loads, server.aborted) == (["m"], 0)
        assert len(server.requests) == 2


@pytest.mark.slow
async def test_load_that_outlasts_a_question_is_finished_by_one_probe(connect, monkeypatch):
    monkeypatch.setattr("chatapp.models.openai.model.STATUS_SECONDS", 0.05)
    async with LocalServer(load_seconds=600) as server:
        model = connect(server, limits=TimeLimits(first_token=0.2))
        with pytest.raises(ModelUnavailable, match="did not start within"):
            await ask(model)
        server.load_seconds = 0.3  # of the next load, longer than a look at the status
        async with asyncio.timeout(120):
            while (await model.status()).state is not ModelState.READY:
                await asyncio.sleep(0.02)
        assert (server.loads, len(server.requests)) == (["m"], 2)
        assert await ask(model) == "ok"


@pytest.mark.parametrize(
    ("native", "entry"),
    [
        ({"/api/v0/models": {"data": [{"id": "b", "type": "llm", "state": "loaded"}]}}, {}),
        ({"/running": {"running": [{"model": "b", "state": "ready"}]}}, {"owned_by": "llama-swap"}),
        ({}, {"owned_by": "llamacpp", "status": {"value": "loaded"}}),
    ],
    ids=["LM Studio", "llama-swap", "llama.cpp's router"],
)
async def test_loaded_model_is_chosen_before_the_first_one(connect, native, entry):
    unloaded = {"id": "a"} | entry | ({"status": {"value": "unloaded"}} if "status" in entry else {})
    async with LocalServer(models=[unloaded, {"id": "b"} | entry], native=native) as server:
        model = connect(server)
        assert (await model.status()).reason == ""
        assert await ask(model) == "ok"
        assert server.requests[0]["model"] == "b"
        other = connect(server, model="a")
        assert (await other.status()).reason == "starts with the first question"
