"""A fake of Ollama on loopback: its list, what it shows of a model, loading, and its OpenAI-compatible answers.

    async with FakeOllama({"gemma3:4b": ["completion", "vision"]}) as ollama:
        model = OpenAICompatibleModel("m", "M", ollama.root, model="gemma3:4b")

Shapes and statuses are those of https://docs.ollama.com/api; a model that is not there is a 404 everywhere.
"""

import asyncio
import json

from aiohttp import web

CONTEXT = 4096


class FakeOllama:
    """An async context manager. It keeps its port while it is stopped.

    Args:
        models: capabilities by name, the newest first; None: an old version, which tells none.
        remote: names of the models that run in Ollama's cloud.
        load_seconds: that a model takes to be loaded.
        answer: the pieces of each answer.

    Attributes:
        delay: seconds before each answer.
        paths: of every request, with its method.
        loaded: names of the models in memory.
        chats: the JSON of every chat request.
    """

    def __init__(self, models, *, remote=(), load_seconds=0, answer=("Hello", " from", " Ollama.")):
        self.models = dict(models)
        self.remote = set(remote)
        self.load_seconds = load_seconds
        self.answer = answer
        self.delay = 0
        self.paths, self.loaded, self.chats = [], [], []
        self._port = 0
        self._runner = None

    async def __aenter__(self):
        await self.start()
        return self

    async def __aexit__(self, *_):
        await self.stop()

    async def start(self):
        """Listen, on the same port as before."""
        app = web.Application(client_max_size=1 << 26)
        app.router.add_get("/api/tags", self._tags)
        app.router.add_post("/api/show", self._show)
        app.router.add_get("/api/ps", self._ps)
        app.router.add_get("/v1/models", self._list)
        app.router.add_post("/v1/chat/completions", self._chat)
        app.middlewares.append(self._counted)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port, reuse_address=True).start()
        self._port = self._runner.addresses[0][1]
        self.root = f"http://127.0.0.1:{self._port}"

    async def stop(self):
        """Close the port; what is loaded is unloaded."""
        await self._runner.cleanup()
        self.loaded = []

    @property
    def host(self):
        """The value of ``OLLAMA_HOST``."""
        return f"127.0.0.1:{self._port}"

    @web.middleware
    async def _counted(self, request, handler):
        self.paths.append(f"{request.method} {request.path}")
        await asyncio.sleep(self.delay)
        return await handler(request)

    async def _tags(self, _request):
        return web.json_response({"models": [self._item(name) for name in self.models]})

    def _item(self, name):
        item = {"name": name, "model": name, "digest": f"sha-{name}", "size": 3_300_000_000, "details": {}}
        if name in self.remote:
            item |= {"remote_host": "https://ollama.com:443", "remote_model": name, "size": 300}
        return item

    async def _show(self, request):
        name = (await request.json())["model"]
        if name not in self.models:
            return web.json_response({"error": f"model '{name}' not found"}, status=404)
        shown = {"model_info": {"gemma3.context_length": 131072}, "details": {"family": "gemma3"}}
        return web.json_response(shown | ({"capabilities": self.models[name]} if self.models[name] else {}))

    async def _ps(self, _request):
        running = [{"name": name, "model": name, "context_length": CONTEXT} for name in self.loaded]
        return web.json_response({"models": running})

    async def _list(self, _request):
        entries = [{"id": name, "object": "model", "owned_by": "library"} for name in self.models]
        return web.json_response({"object": "list", "data": entries})

    async def _chat(self, request):
        body = await request.json()
        self.chats.append(body)
        if body["model"] not in self.models:
            error = {"message": f"model '{body['model']}' not found", "type": "not_found_error"}
            return web.json_response({"error": error}, status=404)
        if body["model"] not in self.loaded:
            await asyncio.sleep(self.load_seconds)
            self.loaded = [body["model"]]
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        thinks = "thinking" in (self.models[body["model"]] or ())
        deltas = [{"reasoning": "Hm."}] * thinks + [{"content": piece} for piece in self.answer]
        for delta in deltas:
            await _send(response, {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]})
        await _send(response, {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        await response.write(b"data: [DONE]\n\n")
        return response


async def _send(response, event):
    await response.write(f"data: {json.dumps(event)}\n\n".encode())
