"""Gemini on loopback: the REST surface that google-genai uses, for Vertex AI and for the Gemini API with a key.

    async with GeminiServer() as server:
        server.will_answer(chunk("Hel"), 0.05, chunk("lo", finish="STOP", prompt_tokens=3, answer_tokens=2))
        server.will_refuse(OVERLOADED)          # the next streamed answer
        server.refusal = MODEL_NOT_FOUND        # everything, until it is None again

Without a script it answers with `DEFAULT_ANSWER`, a word at a time. The bodies have the shape of the real ones, with
texts as issue trackers quote them. It is as slow and as unreliable as the script says, and no more.
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
import struct
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest
from aiohttp import web

from tests.fakes.gemini_embeddings import Refused, embedded

STALL: Final = "stall"
"""Step: send nothing more and keep the connection."""
RESET: Final = "reset"
"""Step: end the connection with a TCP reset, as a load balancer that dies does."""
HEADERS: Final = b""
"""Step: send the response's headers; without it they go with the first chunk."""

Step = dict[str, Any] | float | bytes | str

AUTHORITY: Final = Path(__file__).with_name("authority.pem")
"""What google-genai trusts while the fake runs, which speaks no TLS: else each client reads 120 authorities four times,
for 0.2 s of CPU."""

DEFAULT_ANSWER: Final = "Hello, this is Gemini. How can I help?"


@dataclass(frozen=True)
class Request:
    """One request, as received by the server."""

    operation: str
    path: str
    model: str
    headers: dict[str, str]
    body: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Refusal:
    """An HTTP error with a google.rpc status as its body."""

    code: int
    status: str
    message: str
    details: tuple[dict[str, Any], ...] = ()

    def body(self) -> dict[str, Any]:
        error: dict[str, Any] = {"code": self.code, "message": self.message, "status": self.status}
        if self.details:
            error["details"] = list(self.details)
        return {"error": error}


def error_info(reason: str, **metadata: str) -> dict[str, Any]:
    return {
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": reason,
        "domain": "googleapis.com",
        "metadata": metadata,
    }


def retry_info(delay: str) -> dict[str, Any]:
    return {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay}


def chunk(
    text: str = "",
    *,
    finish: str = "",
    thought: str = "",
    prompt_tokens: int | None = None,
    answer_tokens: int | None = None,
    thinking_tokens: int | None = None,
) -> dict[str, Any]:
    """Return one GenerateContentResponse; without counts it carries no usage, like most of Vertex AI's."""
    parts: list[dict[str, Any]] = [{"text": thought, "thought": True}] if thought else []
    parts += [{"text": text}] if text else []
    candidate: dict[str, Any] = {"content": {"role": "model", **({"parts": parts} if parts else {})}, "index": 0}
    if finish:
        candidate["finishReason"] = finish
    counts = {
        "promptTokenCount": prompt_tokens,
        "candidatesTokenCount": answer_tokens,
        "thoughtsTokenCount": thinking_tokens,
    }
    usage = {name: count for name, count in counts.items() if count is not None}
    return {"candidates": [candidate], "usageMetadata": {**usage, "trafficType": "ON_DEMAND"}, "responseId": "r-1"}


def blocked_prompt(reason: str) -> dict[str, Any]:
    """Return the only chunk of a blocked prompt, without candidates."""
    return {"promptFeedback": {"blockReason": reason}, "usageMetadata": {"promptTokenCount": 4, "totalTokenCount": 4}}


def words_of(answer: str, *, prompt_tokens: int = 12, seconds_between: float = 0.0) -> list[Step]:
    """Return the steps of an answer with a chunk and a token for each word."""
    words = re.findall(r"\S+\s*", answer)
    steps: list[Step] = []
    for number, word in enumerate(words, start=1):
        last = number == len(words)
        steps += [chunk(word, finish="STOP" if last else "", prompt_tokens=prompt_tokens, answer_tokens=number)]
        steps += [seconds_between] if seconds_between and not last else []
    return steps


class GeminiServer:
    """The fake; an async context manager.

    Attributes:
        url: where it listens, for ``base_url``.
        requests: all requests, in order.
        disconnects: streamed answers whose client left before their end.
        refusal: what every request gets, None to answer.
        seconds_between_words: the pace of the answer it gives without a script.
        input_token_limit: what a model says of itself.
        embedding_refusals: what the next requests for embeddings get, before others are answered.
    """

    def __init__(self) -> None:
        self.url = ""
        self.requests: list[Request] = []
        self.disconnects = 0
        self.refusal: Refusal | None = None
        self.seconds_before_status = 0.0
        self.seconds_between_words = 0.0
        self.input_token_limit = 1_000_000
        self.embedding_refusals: deque[Refusal] = deque()
        self._scripts: deque[tuple[Step, ...] | Refusal] = deque()
        self._changed = asyncio.Condition()
        self._closing = False
        self._environment = pytest.MonkeyPatch()

    def will_answer(self, *steps: Step) -> None:
        """Script the next streamed answer: chunks, pauses in seconds, raw bytes, or how it breaks."""
        self._scripts.append(steps)

    def will_refuse(self, refusal: Refusal, *, times: int = 1) -> None:
        """Script the next streamed answers to be errors."""
        self._scripts.extend([refusal] * times)

    def streams(self) -> list[Request]:
        """Return the requests for a streamed answer."""
        return [request for request in self.requests if request.operation == "streamGenerateContent"]

    async def disconnected(self, count: int = 1, *, within: float = 10.0) -> bool:
        """Wait until this number of clients have disconnected, and return whether they did."""
        try:
            async with asyncio.timeout(within), self._changed:
                await self._changed.wait_for(lambda: self.disconnects >= count)
        except TimeoutError:
            return False
        return True

    async def __aenter__(self) -> GeminiServer:
        app = web.Application()
        app.router.add_post("/token", self._token)
        app.router.add_route("*", "/{path:.*}", self._serve)
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await self._runner.setup()
        listener = socket.create_server(("127.0.0.1", 0))
        await web.SockSite(self._runner, listener).start()
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        self._environment.setenv("SSL_CERT_FILE", str(AUTHORITY))
        return self

    async def __aexit__(self, *_: object) -> None:
        self._environment.undo()
        self._closing = True
        await self._runner.cleanup()

    async def _token(self, _: web.Request) -> web.Response:
        """Google's OAuth endpoint, for a refresh token that was withdrawn."""
        body = {"error": "invalid_grant", "error_description": "Token has been expired or revoked."}
        return web.json_response(body, status=400)

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        match = re.fullmatch(
            r"/v1(?:beta1?)?/(?P<project>projects/[^/]+/locations/[^/]+/)?(?:publishers/google/)?models/"
            r"(?P<model>[^/:]+)(?::(?P<operation>\w+))?",
            request.path,
        )
        if match is None:
            return _error(Refusal(404, "NOT_FOUND", f"Requested entity {request.path} was not found."))
        body = await request.json() if request.can_read_body else {}
        operation = match["operation"] or "get"
        self.requests.append(Request(operation, request.path, match["model"], dict(request.headers), body))
        proof = "Authorization" if match["project"] else "x-goog-api-key"
        if not request.headers.get(proof):
            return _error(UNAUTHENTICATED)
        if self.refusal is not None:
            return _error(self.refusal)
        if operation == "streamGenerateContent":
            return await self._stream(request)
        await asyncio.sleep(self.seconds_before_status)
        location = (match["project"] or "///").split("/")[3]
        return self._answer(operation, match["model"], location, body)

    def _answer(self, operation: str, model: str, location: str, body: dict[str, Any]) -> web.Response:
        if operation in {"embedContent", "batchEmbedContents", "predict"}:
            return self._embed(operation, model, location, body)
        if operation == "countTokens":
            return web.json_response({"totalTokens": 1})
        return web.json_response({"name": f"models/{model}", "inputTokenLimit": self.input_token_limit})

    def _embed(self, operation: str, model: str, location: str, body: dict[str, Any]) -> web.Response:
        if self.embedding_refusals:
            return _error(self.embedding_refusals.popleft())
        try:
            return web.json_response(embedded(operation, model, location, body))
        except Refused as refused:
            return _error(Refusal(*refused.args))

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        default = words_of(DEFAULT_ANSWER, seconds_between=self.seconds_between_words)
        script = self._scripts.popleft() if self._scripts else tuple(default)
        if isinstance(script, Refusal):
            return _error(script)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        try:
            for step in script:
                await self._take(step, request, response)
            if not response.prepared:
                await response.prepare(request)
            await response.write_eof()
        except (asyncio.CancelledError, ConnectionError):
            if not self._closing and script[-1] != RESET:
                async with self._changed:
                    self.disconnects += 1
                    self._changed.notify_all()
            raise
        return response

    async def _take(self, step: Step, request: web.Request, response: web.StreamResponse) -> None:
        if step == STALL:
            await asyncio.Event().wait()
        elif step == RESET:
            assert request.transport is not None
            connection = request.transport.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            request.transport.abort()
            raise ConnectionResetError
        elif isinstance(step, (int, float)):
            await asyncio.sleep(step)
        else:
            if not response.prepared:
                await response.prepare(request)
            sent = b"data: " + json.dumps(step).encode() + b"\r\n\r\n" if isinstance(step, dict) else step
            assert isinstance(sent, bytes)
            if sent:
                await response.write(sent)


def _error(refusal: Refusal) -> web.Response:
    return web.json_response(refusal.body(), status=refusal.code)


OVERLOADED = Refusal(503, "UNAVAILABLE", "The model is overloaded. Please try again later.")
INTERNAL = Refusal(500, "INTERNAL", "An internal error has occurred. Please retry or report.")
DEADLINE_EXCEEDED = Refusal(504, "DEADLINE_EXCEEDED", "The request timed out. Please try again.")
UNAUTHENTICATED = Refusal(
    401,
    "UNAUTHENTICATED",
    "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid "
    "authentication credential.",
    (error_info("ACCESS_TOKEN_TYPE_UNSUPPORTED", service="aiplatform.googleapis.com"),),
)
MODEL_NOT_FOUND = Refusal(
    404,
    "NOT_FOUND",
    "Publisher Model `projects/demo/locations/global/publishers/google/models/gemini-2.5-flash` was not found or your "
    "project does not have access to it. Please ensure you are using a valid model version.",
)
PERMISSION_DENIED = Refusal(
    403,
    "PERMISSION_DENIED",
    "Permission 'aiplatform.endpoints.predict' denied on resource '//aiplatform.googleapis.com/projects/demo/locations/"
    "global/publishers/google/models/gemini-3.5-flash-lite' (or it may not exist).",
    (error_info("IAM_PERMISSION_DENIED", permission="aiplatform.endpoints.predict"),),
)
SERVICE_DISABLED = Refusal(
    403,
    "PERMISSION_DENIED",
    "Agent Platform API has not been used in project demo before or it is disabled. Enable it and then retry.",
    (error_info("SERVICE_DISABLED", service="aiplatform.googleapis.com", consumer="projects/demo"),),
)
BILLING_DISABLED = Refusal(
    403,
    "PERMISSION_DENIED",
    "This API method requires billing to be enabled. Please enable billing on project #demo.",
    (error_info("BILLING_DISABLED", service="aiplatform.googleapis.com", consumer="projects/demo"),),
)
QUOTA_EXHAUSTED = Refusal(
    429,
    "RESOURCE_EXHAUSTED",
    "You exceeded your current quota, please check your plan and billing details.",
    (
        {
            "@type": "type.googleapis.com/google.rpc.QuotaFailure",
            "violations": [{"quotaMetric": "generativelanguage.googleapis.com/generate_content_requests"}],
        },
        retry_info("34.074824224s"),
    ),
)
API_KEY_INVALID = Refusal(
    400,
    "INVALID_ARGUMENT",
    "API key not valid. Please pass a valid API key.",
    (error_info("API_KEY_INVALID", service="generativelanguage.googleapis.com"),),
)
API_KEY_EXPIRED = Refusal(
    400,
    "INVALID_ARGUMENT",
    "API key expired. Please renew the API key.",
    (error_info("API_KEY_INVALID", service="generativelanguage.googleapis.com"),),
)
API_KEY_LEAKED = Refusal(403, "PERMISSION_DENIED", "Your API key was reported as leaked. Please use another API key.")
API_KEY_BLOCKED = Refusal(
    403,
    "PERMISSION_DENIED",
    "Requests to this API generativelanguage.googleapis.com method are blocked.",
    (error_info("API_KEY_SERVICE_BLOCKED", service="generativelanguage.googleapis.com", consumer="projects/123"),),
)
USER_LOCATION = Refusal(400, "FAILED_PRECONDITION", "User location is not supported for the API use.")
CONTEXT_TOO_LONG = Refusal(
    400, "INVALID_ARGUMENT", "The input token count (1200293) exceeds the maximum number of tokens allowed (1048576)."
)
THINKING_REFUSED = Refusal(400, "INVALID_ARGUMENT", "Budget 0 is invalid. This model only works in thinking mode.")
