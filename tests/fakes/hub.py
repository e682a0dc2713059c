"""A hub like Hugging Face's on loopback: it describes files, and leads to a storage at another host name.

async with FakeHub({"ggml-org/tiny/model.gguf": content}) as hub:
    await download(Hub(hub.url), hub.file("ggml-org/tiny/model.gguf"), target, ...)
"""

import asyncio
import hashlib
import re

from aiohttp import web

from chatapp.models.local.catalogue import HubFile

COMMIT = "0123456789abcdef0123456789abcdef01234567"

# A model for CHAT_LOCAL_CATALOGUE: the file of the demo model.
PATH = "owner/smol/smol.gguf"
ITEM = {
    "id": "smol",
    "label": "Smol",
    "repository": "owner/smol",
    "file": "smol.gguf",
    "size": 98_362_432,
    "licence": "Apache-2.0",
    "licence_url": "https://example.org/licence",
    "memory_bytes": 300_000_000,
}


class FakeHub:
    """An async context manager.

    Args:
        files: contents by "owner/name/file".

    Attributes:
        refusals: statuses with headers, each for one request to the hub; then it answers.
        storage: what the storage does, each for one request: a number (it sends that many bytes and closes), a status,
            "silent", "no ranges", "wrong range", "longer", "corrupt"; then it sends the whole rest.
        bytes_per_second: how fast the storage sends; None: as fast as it can.
        states: whether the hub states sizes and checksums.
        renamed: old repository names by new ones.
        requests: (method, path, headers) of each request.
        sent: bytes that the storage has sent.
    """

    def __init__(self, files):
        self.files = files
        self.refusals, self.storage, self.requests = [], [], []
        self.bytes_per_second, self.states, self.renamed, self.sent = None, True, {}, 0

    def file(self, path, **changes):
        """Return the entry of a file in a catalogue."""
        repository, _, name = path.rpartition("/")
        content = self.files[path]
        sha256 = hashlib.sha256(content).hexdigest()
        values = {"repository": repository, "revision": COMMIT, "name": name, "size": len(content), "sha256": sha256}
        return HubFile(**{**values, **changes})

    async def __aenter__(self):
        self._end = asyncio.Event()
        app = web.Application()
        app.router.add_route("*", "/storage/{path:.*}", self._store)
        app.router.add_route("*", "/{repository:[^/]+/[^/]+}/resolve/{revision}/{name}", self._resolve)
        app.router.add_get("/api/models/{repository:[^/]+/[^/]+}/tree/{revision}", self._tree)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        port = self._runner.addresses[0][1]
        self.url, self._storage_url = f"http://127.0.0.1:{port}", f"http://localhost:{port}/storage"
        return self

    async def __aexit__(self, *_):
        self._end.set()
        await self._runner.cleanup()

    async def _tree(self, request):
        """List a repository, two files a page; only weights are in LFS."""
        self.requests.append((request.method, request.path, dict(request.headers)))
        if self.refusals:
            status, headers = self.refusals.pop(0)
            return web.Response(status=status, headers=headers)
        prefix = f"{request.match_info['repository']}/"
        entries = [{"type": "directory", "path": "images", "oid": "0" * 40, "size": 0}]
        for path, content in sorted(self.files.items()):
            if path.startswith(prefix):
                entry = {"type": "file", "path": path.removeprefix(prefix), "size": len(content)}
                entry["oid"] = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
                if path.endswith(".safetensors"):
                    entry["lfs"] = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content)}
                entries.append(entry)
        start = int(request.query.get("cursor", "0"))
        headers = {}
        if start + 2 < len(entries):
            headers["Link"] = f'<{self.url}{request.path}?recursive=true&cursor={start + 2}>; rel="next"'
        return web.json_response(entries[start : start + 2], headers=headers)

    async def _resolve(self, request):
        self.requests.append((request.method, request.path, dict(request.headers)))
        if self.refusals:
            status, headers = self.refusals.pop(0)
            return web.Response(status=status, headers=headers)
        repository, name = request.match_info["repository"], request.match_info["name"]
        if repository in self.renamed:
            return web.Response(
                status=307, headers={"Location": request.path.replace(repository, self.renamed[repository])}
            )
        path = f"{repository}/{name}"
        if path not in self.files:
            return web.Response(status=404)
        headers = {"Location": f"{self._storage_url}/{path}", "X-Repo-Commit": COMMIT}
        if self.states:
            headers["X-Linked-Size"] = str(len(self.files[path]))
            headers["X-Linked-ETag"] = f'"{hashlib.sha256(self.files[path]).hexdigest()}"'
        return web.Response(status=302, headers=headers)

    async def _store(self, request):
        self.requests.append((request.method, request.path, dict(request.headers)))
        content = self.files[request.match_info["path"]]
        action = self.storage.pop(0) if self.storage else None
        if isinstance(action, tuple):
            return web.Response(status=action[0], headers=action[1])
        if action == "silent":
            await self._end.wait()
            return web.Response()
        asked = re.fullmatch(r"bytes=(\d+)-", request.headers.get("Range", ""))
        start = int(asked[1]) if asked and action != "no ranges" else 0
        if action == "wrong range":
            start = max(0, start - 10)
        if start >= len(content):
            return web.Response(status=416, headers={"Content-Range": f"bytes */{len(content)}"})
        body = content[start:]
        if action == "corrupt":
            body = bytes([body[0] ^ 1]) + body[1:]
        if action == "longer":
            body += b"more"
        is_part = bool(asked) and action != "no ranges"
        headers = {"Content-Range": f"bytes {start}-{start + len(body) - 1}/{len(content)}"}
        response = web.StreamResponse(status=206 if is_part else 200, headers=headers if is_part else {})
        response.content_length = len(body)
        await response.prepare(request)
        end = action if isinstance(action, int) else len(body)
        await self._send(response, body[:end])
        if end < len(body):
            request.transport.close()
        return response

    async def _send(self, response, body):
        step = 1 << 20 if self.bytes_per_second is None else max(1, self.bytes_per_second // 20)
        for at in range(0, len(body), step):
            part = body[at : at + step]
            await response.write(part)
            self.sent += len(part)
            if self.bytes_per_second is not None:
                await asyncio.sleep(0.05)
