"""A small OpenAI-compatible server on loopback with the habits of local servers and gateways.

    async with LocalServer(refuses=no_temperature) as server:
        model = OpenAICompatibleModel("m", "M", server.url)

It counts a token for each word, loads models as Ollama does, and may cut prompts quietly.
"""

import asyncio
import json

from aiohttp import web


class LocalServer:
    """An async context manager.

    Args:
        models: entries of the list, or names; None: there is no list.
        base: the path of the API.
        native: JSON by path of the server's own API, or functions of the request's JSON (None for a GET).
        refuses: returns the status and the JSON of a refusal for a request, None for none.
        context_tokens: longer prompts lose their oldest messages, without a word.
        load_seconds: how long a model is loaded; a client that disconnects meanwhile aborts that.
        slots: how many models are in memory at once; a further one evicts the oldest.

    Attributes:
        requests: the JSON of every chat request.
        paths: of every request, with its method.
        queries, headers: of every request.
        loaded: names of the models in memory.
        loads: names of the models that were loaded, in order.
        aborted: how many loads were aborted.
    """

    def __init__(
        self,
        *,
        models=("m",),
        base="/v1",
        native=None,
        refuses=lambda _body: None,
        context_tokens=None,
        load_seconds=None,
        slots=1,
    ):
        self.models = models
        self.base = base
        self.native = native or {}
        self.refuses = refuses
        self.context_tokens = context_tokens
        self.load_seconds = load_seconds
        self.slots = slots
        self.requests, self.paths, self.loaded, self.loads, self.aborted = [], [], [], [], 0
        self.queries, self.headers = [], []
        self.url = ""

    async def __aenter__(self):
        app = web.Application(client_max_size=1 << 26)
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.root = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        self.url = self.root + self.base
        return self

    async def __aexit__(self, *_):
        await self._runner.cleanup()

    async def _answer(self, request):
        self.paths.append(f"{request.method} {request.path}")
        self.queries.append(request.query_string)
        self.headers.append(request.headers)
        body = await request.json() if request.method == "POST" else None
        if request.path in self.native:
            answer = self.native[request.path]
            return web.json_response(answer(body) if callable(answer) else answer)
        if request.path == f"{self.base}/models" and self.models is not None:
            entries = [{"id": one, "object": "model"} if isinstance(one, str) else one for one in self.models]
            return web.json_response({"object": "list", "data": entries})
        if request.path == f"{self.base}/chat/completions" and request.method == "POST":
            return await self._chat(request, body)
        return web.Response(status=404, text="404 page not found")

    async def _chat(self, request, body):
        self.requests.append(body)
        refusal = self.refuses(body)
        if refusal:
            return web.json_response(refusal[1], status=refusal[0])
        if self.load_seconds is not None and body["model"] not in self.loaded:
            await self._load(request, body["model"])
        read = self._read(body["messages"])
        words = "ROSEBUD" if any("ROSEBUD" in str(message["content"]) for message in read) else "ok"
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        chunk = {"choices": [{"index": 0, "delta": {"content": words}, "finish_reason": None}]}
        end = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
        usage = {"choices": [], "usage": {"prompt_tokens": count(read), "completion_tokens": 1}}
        for event in (chunk, end, *([usage] if body.get("stream_options") else [])):
            await response.write(f"data: {json.dumps(event)}\n\n".encode())
        await response.write(b"data: [DONE]\n\n")
        return response

    def _read(self, messages):
        """Return what fits: as Ollama, always the last message, then whole ones before it."""
        if self.context_tokens is None:
            return messages
        first = len(messages) - 1
        while first > 0 and count(messages[first - 1 :]) <= self.context_tokens:
            first -= 1
        return messages[first:]

    async def _load(self, request, model):
        for _ in range(max(1, round(self.load_seconds / 0.01))):
            if request.transport is None or request.transport.is_closing():
                self.aborted += 1
                raise ConnectionResetError
            await asyncio.sleep(0.01)
        self.loaded = [*self.loaded, model][-self.slots :]
        self.loads.append(model)


def count(messages):
    """Return the tokens of messages."""
    return sum(len(str(message["content"]).split()) for message in messages)
