"""A server with ``/v1/embeddings``."""

from aiohttp import web


class FakeEmbeddings:
    """Answers at ``/v1/embeddings``: vectors of the length and the number of a's of a text."""

    def __init__(self):
        self.bodies, self.headers, self.paths = [], [], []
        self.reply = None  # instead of vectors: status and text

    async def __aenter__(self):
        app = web.Application()
        app.router.add_post("/{path:.*}", self._serve)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_):
        await self._runner.cleanup()

    async def _serve(self, request):
        body = await request.json()
        self.bodies.append(body)
        self.headers.append(request.headers)
        self.paths.append(request.path)
        if self.reply is not None:
            return web.Response(status=self.reply[0], text=self.reply[1], content_type="application/json")
        if request.path == "/v1/embeddings":
            entries = [{"index": at, "embedding": vector(text)} for at, text in enumerate(body["input"])]
            return web.json_response({"data": entries[::-1]})
        return web.json_response({"error": {"message": "no such path", "code": 404}}, status=404)


def vector(text):
    return [float(len(text)), float(text.count("a"))]
