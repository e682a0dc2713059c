"""Cloud Storage's JSON API on loopback, as far as an upload in pieces and the readers of weights need it.

Written after https://cloud.google.com/storage/docs/performing-resumable-uploads: an object exists once its last byte
has arrived; 308 with a Range says how much has; pieces but the last are multiples of 256 KiB.
"""

import re

from aiohttp import web

UNIT = 256 * 1024


class FakeStorage:
    """An async context manager.

    Attributes:
        objects: contents by name.
        metadata: metadata by name.
        faults: what happens to requests, each for one request (method, what happens): a status with a text, "lost" (the
            connection closes before anything is stored), "answer lost" (after it was stored), "half" (half of the piece
            is stored, and the connection closes).
        requests: (method, path, headers) of each request.
        tokens: how often the metadata server was asked for a token.
    """

    def __init__(self, bucket="weights"):
        self.bucket, self.objects, self.metadata, self.uploads = bucket, {}, {}, {}
        self.faults, self.requests, self.tokens = [], [], 0

    async def __aenter__(self):
        app = web.Application(client_max_size=1 << 30)
        app.router.add_get("/storage/v1/b/{bucket}", self._look_up)
        app.router.add_get("/storage/v1/b/{bucket}/o", self._list)
        # Google's client for Python reads at the first address, the one for C++ at the second one.
        app.router.add_get("/download/storage/v1/b/{bucket}/o/{name:.+}", self._read)
        app.router.add_get("/storage/v1/b/{bucket}/o/{name:.+}", self._read)
        app.router.add_post("/upload/storage/v1/b/{bucket}/o", self._start)
        app.router.add_put("/session/{id}", self._put)
        app.router.add_delete("/session/{id}", self._cancel)
        app.router.add_get("/computeMetadata/v1/instance/service-accounts/default/token", self._token)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_):
        await self._runner.cleanup()

    def _fault(self, request):
        self.requests.append((request.method, request.path_qs, dict(request.headers)))
        if self.faults and self.faults[0][0] == request.method:
            return self.faults.pop(0)[1]
        return None

    async def _token(self, request):
        assert request.headers["Metadata-Flavor"] == "Google"
        if self._fault(request):
            return web.Response(status=503)
        self.tokens += 1
        return web.json_response({"access_token": f"token-{self.tokens}", "expires_in": 3599})

    async def _look_up(self, request):
        self._fault(request)
        return web.json_response({"kind": "storage#bucket", "name": request.match_info["bucket"]})

    async def _read(self, request):
        self._fault(request)
        name = request.match_info["name"]
        if name not in self.objects:
            return web.Response(status=404)
        content = self.objects[name]
        if request.query.get("alt") != "media":
            return web.json_response(self._item(name) | {"bucket": self.bucket})
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("Range", ""))
        start, end = (int(asked[1]), int(asked[2] or len(content) - 1)) if asked else (0, len(content) - 1)
        part = memoryview(content)[start : end + 1]
        headers = {"Content-Range": f"bytes {start}-{start + len(part) - 1}/{len(content)}"} if asked else {}
        headers |= {"X-Goog-Generation": "1", "X-Goog-Metageneration": "1"}
        return web.Response(status=206 if asked else 200, body=bytes(part), headers=headers)

    def _item(self, name):
        size = str(len(self.objects[name]))
        return {
            "kind": "storage#object",
            "name": name,
            "size": size,
            "metadata": self.metadata[name],
            "generation": "1",
        }

    async def _list(self, request):
        if isinstance(fault := self._fault(request), tuple):
            return web.Response(status=fault[0], text=fault[1])
        names = sorted(name for name in self.objects if name.startswith(request.query["prefix"]))
        start = int(request.query.get("pageToken", "0"))
        items = [self._item(name) for name in names[start : start + 2]]
        more = {"nextPageToken": str(start + 2)} if start + 2 < len(names) else {}
        return web.json_response({"kind": "storage#objects", **({"items": items} if items else {}), **more})

    async def _start(self, request):
        if isinstance(fault := self._fault(request), tuple):
            return web.Response(status=fault[0], text=fault[1])
        if fault == "lost":
            request.transport.close()
            return web.Response()
        body = await request.json()
        key = str(len(self.uploads))
        size = int(request.headers["X-Upload-Content-Length"])
        self.uploads[key] = {"name": body["name"], "metadata": body["metadata"], "size": size, "data": bytearray()}
        return web.Response(headers={"Location": f"{self.url}/session/{key}"})

    async def _put(self, request):
        fault = self._fault(request)
        upload = self.uploads.get(request.match_info["id"])
        if upload is None:
            return web.Response(status=410)
        piece = await request.read()
        if isinstance(fault, tuple):
            return web.Response(status=fault[0], text=fault[1])
        if fault == "lost":
            request.transport.close()
            return web.Response()
        place = re.fullmatch(r"bytes (?:(\d+)-(\d+)|\*)/(\d+)", request.headers["Content-Range"])
        assert int(place[3]) == upload["size"]
        if piece:
            assert int(place[1]) == len(upload["data"]), "a gap, or bytes that are there"
            assert int(place[2]) == int(place[1]) + len(piece) - 1
            assert int(place[2]) + 1 == upload["size"] or len(piece) % UNIT == 0, "not a multiple of 256 KiB"
            half = len(piece) // 2 // UNIT * UNIT
            upload["data"] += piece[:half] if fault == "half" else piece
        is_complete = len(upload["data"]) == upload["size"]
        if is_complete:
            self.objects[upload["name"]] = bytes(upload["data"])
            self.metadata[upload["name"]] = upload["metadata"]
        if fault in {"half", "answer lost"}:
            request.transport.close()
            return web.Response()
        if is_complete:
            return web.json_response({"name": upload["name"], "size": str(upload["size"])})
        arrived = len(upload["data"])
        return web.Response(status=308, headers={"Range": f"bytes=0-{arrived - 1}"} if arrived else {})

    async def _cancel(self, request):
        self._fault(request)
        self.uploads.pop(request.match_info["id"], None)
        return web.Response(status=499)
