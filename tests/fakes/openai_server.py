"""A fake OpenAI-compatible server on loopback that answers like vLLM 0.32 or llama.cpp, and fails on demand.

    async with FakeOpenAIServer(answer=["Hello", " there"]) as server:
        model = OpenAICompatibleModel("gemma", "Gemma", server.url)
        ...
        server.requests[-1]["messages"]

``script`` holds a `Reply` for each of the next chat requests; when it is used up, every request gets the plain answer.
Shapes and statuses are those of the real servers (see test_vllm.py and test_llamacpp.py, which ask them).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Self

from aiohttp import web

if TYPE_CHECKING:
    from tests.fakes.gate import Gate

Answer = Sequence[str] | Callable[[list[dict[str, str]]], Iterable[str]]


@dataclass(frozen=True, kw_only=True)
class Reply:
    """How to answer one chat request.

    Attributes:
        status: anything but 200 sends ``body`` and nothing else.
        body: JSON, or bytes as they are.
        raw: bytes of the stream, each sent as its own packet; replaces the answer.
        pieces: replaces the server's answer.
        seconds_to_headers, seconds_to_first_token: delays.
        seconds_between: delay before each part of ``raw``.
        ending: what happens after the pieces. "stall" keeps the connection open, "reset" aborts it, "cut" ends it.
        error: the error object that "error" sends.
    """

    status: int = 200
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str = "application/json"
    raw: Sequence[bytes] | None = None
    pieces: Sequence[str] | None = None
    seconds_to_headers: float = 0
    seconds_to_first_token: float = 0
    seconds_between: float = 0
    ending: Literal["stop", "length", "stall", "reset", "cut", "error"] = "stop"
    error: Any = field(default_factory=lambda: {"message": "engine dead", "type": "InternalServerError", "code": 500})


class FakeOpenAIServer:
    """One server; an async context manager.

    Args:
        flavor: whose shapes, checks and statuses.
        answer: pieces of text, or a function from the request's messages to them.
        tokens_per_second: how fast the pieces come; None: as fast as possible.
        script: how to answer the first requests.
        models: what it serves; the first one is the default.
        context_tokens: prompt and answer together; a word is a token.
        api_key: what it wants as a bearer token; empty: nothing.

    Attributes:
        requests: the JSON of every chat request, in order.
        headers: of every request, in order.
        connections: the clients' ports, one for each connection that was opened.
        disconnects: how many clients went away before their answer was whole.
        running: how many answers are being written now.
        gate: holds back the pieces of the answers that begin while it is set.
        loading: answer 503 "Loading model" on every route, as llama.cpp does.
        models_reply: answer this to /v1/models instead.
        script_for: a part of the question which ``script`` is for: a probe's question gets the plain answer then.
    """

    def __init__(
        self,
        *,
        flavor: Literal["vllm", "llama.cpp"] = "vllm",
        answer: Answer = ("Hello", " from", " the", " fake", "."),
        tokens_per_second: float | None = None,
        script: Iterable[Reply] = (),
        models: Sequence[str] = ("gemma",),
        context_tokens: int = 2048,
        api_key: str = "",
        port: int = 0,
    ) -> None:
        self.flavor = flavor
        self.answer = answer
        self.tokens_per_second = tokens_per_second
        self.script = list(script)
        self.models = list(models)
        self.context_tokens = context_tokens
        self.api_key = api_key
        self.requests: list[dict[str, Any]] = []
        self.headers: list[Mapping[str, str]] = []
        self.connections: set[int] = set()
        self.disconnects = 0
        self.running = 0
        self.gate: Gate | None = None
        self.loading = False
        self.models_reply: Reply | None = None
        self.script_for = ""
        self.url = ""
        self._port = port
        self._closing = asyncio.Event()

    async def __aenter__(self) -> Self:
        app = web.Application(middlewares=[self._guard], client_max_size=1 << 26)
        app.router.add_get("/v1/models", self._list_models)
        app.router.add_post("/v1/chat/completions", self._chat)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port)
        await site.start()
        self._port = self._runner.addresses[0][1]  # kept for a restart
        self.url = f"http://127.0.0.1:{self._port}"
        self._closing.clear()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._closing.set()
        await self._runner.cleanup()

    @property
    def chats(self) -> list[dict[str, Any]]:
        """The chat requests, without probes."""
        return [request for request in self.requests if request.get("stream")]

    @web.middleware
    async def _guard(self, request: web.Request, handler: Callable[[web.Request], Any]) -> web.StreamResponse:
        self.headers.append(request.headers.copy())
        self.connections.add(request.transport.get_extra_info("peername")[1])
        if self.loading:
            return self._error(503, "Loading model", "unavailable_error")
        if self.api_key and request.headers.get("Authorization") != f"Bearer {self.api_key}":
            if self.flavor == "vllm":
                return web.json_response({"error": "Unauthorized"}, status=401)
            return self._error(401, "Invalid API Key", "authentication_error")
        return await handler(request)

    async def _list_models(self, request: web.Request) -> web.StreamResponse:
        if self.models_reply:
            return await self._whole(self.models_reply)
        if self.flavor == "vllm":
            entries = [{"id": name, "owned_by": "vllm", "max_model_len": self.context_tokens} for name in self.models]
        else:
            meta = {"n_ctx": self.context_tokens, "n_ctx_train": 4 * self.context_tokens}
            entries = [{"id": name, "owned_by": "llamacpp", "aliases": [name], "meta": meta} for name in self.models]
        return web.json_response({"object": "list", "data": entries})

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.requests.append(body)
        is_scripted = any(self.script_for in str(message["content"]) for message in body["messages"])
        reply = self.script.pop(0) if self.script and is_scripted else Reply()
        self.running += 1
        try:
            await self._wait(request, reply.seconds_to_headers)
            if reply.status != 200 or reply.body is not None:
                return await self._whole(reply)
            refusal = self._refusal(body)
            if refusal is not None:
                return refusal
            if reply.ending == "reset" and not reply.pieces and reply.raw is None:
                request.transport.abort()  # before the first byte
                return web.Response()
            return await self._stream(request, body, reply) if body.get("stream") else self._complete(body)
        except ConnectionResetError:
            self.disconnects += 1
            return web.Response()  # not received
        finally:
            self.running -= 1

    def _refusal(self, body: dict[str, Any]) -> web.Response | None:
        """Validate a request like the real server."""
        if self.flavor == "llama.cpp":
            if self._prompt_tokens(body) >= self.context_tokens:
                numbers = {"n_prompt_tokens": self._prompt_tokens(body), "n_ctx": self.context_tokens}
                return self._error(400, "request exceeds the context", "exceed_context_size_error", **numbers)
            return None
        if body.get("model") not in self.models:
            message = f"The model `{body.get('model')}` does not exist."
            return self._error(404, message, "NotFoundError", param="model")
        if body.get("continue_final_message") and body.get("add_generation_prompt", True):
            message = "continue_final_message and add_generation_prompt are not compatible."
            return self._error(400, message, "BadRequestError", param=None)
        room = self.context_tokens - self._prompt_tokens(body)
        wrong = [
            name
            for name, ok in {
                "temperature": 0 <= body.get("temperature", 1) <= 2,
                "top_p": 0 < body.get("top_p", 1) <= 1,
                "input_tokens": room >= 0,
                "max_tokens": 1 <= body.get("max_tokens", 1) <= self.context_tokens and room != 0,
            }.items()
            if not ok
        ]
        return self._error(400, f"{wrong[0]} is out of range", "BadRequestError", param=wrong[0]) if wrong else None

    async def _stream(self, request: web.Request, body: dict[str, Any], reply: Reply) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", **reply.headers})
        await response.prepare(request)
        if reply.raw is not None:
            for part in reply.raw:
                await self._wait(request, reply.seconds_between)
                await response.write(part)
                await asyncio.sleep(0)
        else:
            await self._wait(request, reply.seconds_to_first_token)
            async for event in self._events(request, body, reply):
                await self._wait(request, 0)
                await response.write(f"data: {json.dumps(event)}\n\n".encode())
        if reply.ending == "stall":
            await self._wait(request, 3600)
        elif reply.ending == "reset":
            request.transport.abort()
        elif reply.ending != "cut" and reply.raw is None:
            await response.write(b"data: [DONE]\n\n")
        return response

    async def _events(self, request: web.Request, body: dict[str, Any], reply: Reply) -> AsyncIterator[object]:
        yield self._chunk({"role": "assistant", "content": "" if self.flavor == "vllm" else None})
        gate = self.gate
        pieces = list(self._pieces(body) if reply.pieces is None else reply.pieces)
        limit = body.get("max_tokens") or len(pieces)
        for index, piece in enumerate(pieces[:limit]):
            while gate and not gate.lets_pass(index) and not self._closing.is_set():
                await self._wait(request, 0.005)
            await self._wait(request, 1 / self.tokens_per_second if self.tokens_per_second else 0)
            yield self._chunk({"content": piece})
        if reply.ending == "error":
            yield {"error": reply.error}
        elif reply.ending in {"stop", "length"}:
            yield self._chunk({}, "length" if limit < len(pieces) else reply.ending)
            if body.get("stream_options", {}).get("include_usage"):
                yield {"choices": [], "usage": self._usage(body, len(pieces[:limit]))}

    def _chunk(self, delta: dict[str, Any], finish_reason: str | None = None) -> dict[str, Any]:
        return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}], "model": self.models[0]}

    async def _wait(self, request: web.Request, seconds: float) -> None:
        """Sleep until the client disconnects, as the real servers do."""
        end = asyncio.get_running_loop().time() + seconds
        while not self._closing.is_set():
            if request.transport is None or request.transport.is_closing():
                raise ConnectionResetError
            left = end - asyncio.get_running_loop().time()
            if left <= 0:
                return
            await asyncio.sleep(min(left, 0.005))

    async def _whole(self, reply: Reply) -> web.Response:
        body = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
        return web.Response(status=reply.status, body=body, content_type=reply.content_type, headers=reply.headers)

    def _complete(self, body: dict[str, Any]) -> web.Response:
        message = {"role": "assistant", "content": "".join(self._pieces(body))}
        choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
        return web.json_response({"choices": choices, "usage": self._usage(body, 1)})

    def _error(self, status: int, message: str, kind: str, **more: object) -> web.Response:
        error = {"message": message, "type": kind, "code": status, **more}
        return web.json_response({"error": error}, status=status)

    def _pieces(self, body: dict[str, Any]) -> Iterable[str]:
        messages, is_rest = body["messages"], bool(body.get("continue_final_message"))
        if is_rest:
            *messages, so_far = messages
        pieces = self.answer(messages) if callable(self.answer) else self.answer
        return _after(pieces, so_far["content"].strip()) if is_rest else pieces

    def _prompt_tokens(self, body: dict[str, Any]) -> int:
        return sum(_tokens(message["content"]) for message in body["messages"])

    def _usage(self, body: dict[str, Any], completion_tokens: int) -> dict[str, int]:
        prompt_tokens = self._prompt_tokens(body)
        total = prompt_tokens + completion_tokens
        return {"prompt_tokens": prompt_tokens, "completion_tokens": completion_tokens, "total_tokens": total}


def _after(pieces: Iterable[str], text: str) -> Iterator[str]:
    """Yield what follows a text in the pieces; all of them where they do not begin with it."""
    pieces = list(pieces)
    skip = len(text) if "".join(pieces).startswith(text) else 0
    for piece in pieces:
        if rest := piece[skip:]:
            yield rest
        skip = max(skip - len(piece), 0)


def _tokens(content: str | list[dict[str, Any]]) -> int:
    """Count a token for each word, and as many as Gemma for each image."""
    if isinstance(content, str):
        return len(content.split())
    return sum(256 if part["type"] == "image_url" else len(part["text"].split()) for part in content)
