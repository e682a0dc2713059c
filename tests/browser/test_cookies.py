"""Another host of the chat's domain cannot put its visitors into another history, in Chromium over HTTPS."""

import asyncio
import contextlib
import json
import ssl

import pytest
from pydantic import SecretStr

from chatapp.app import create_app
from chatapp.auth.anonymous import AnonymousAuthenticator
from chatapp.config.settings import Settings
from tests.certificates import authority
from tests.fakes.openai_server import FakeOpenAIServer
from tests.page_client import open_page
from tests.serving import free_port, serving

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

SECRET = "0123456789abcdef"
CHAT, EVIL, DOMAIN = "chat.example.localhost", "evil.example.localhost", "example.localhost"


@contextlib.asynccontextmanager
async def https_hosts(folder, port, chat_port, cookies):
    """Serve the chat and, at every other host name, a page that sets cookies, over HTTPS on one port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority(folder / "authority.pem", folder / "server.pem"))

    writers = []

    async def pipe(reader, writer):
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            while data := await reader.read(1 << 16):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def serve(reader, writer):
        writers.append(writer)
        head = await reader.readuntil(b"\r\n\r\n")
        if f"host: {CHAT}".encode() not in head.lower():
            lines = b"".join(b"set-cookie: " + cookie + b"\r\n" for cookie in cookies)
            writer.write(b"HTTP/1.1 200 OK\r\n" + lines + b"content-length: 0\r\nconnection: close\r\n\r\n")
            writer.close()
            return
        chat_reader, chat_writer = await asyncio.open_connection("127.0.0.1", chat_port)
        writers.append(chat_writer)
        chat_writer.write(head)
        await asyncio.gather(pipe(reader, chat_writer), pipe(chat_reader, writer))

    server = await asyncio.start_server(serve, "127.0.0.1", port, ssl=context)
    try:
        yield
    finally:
        server.close()
        for writer in writers:
            writer.close()
        with contextlib.suppress(ConnectionError, ssl.SSLError, TimeoutError):
            async with asyncio.timeout(5):
                await asyncio.gather(*(writer.wait_closed() for writer in writers), return_exceptions=True)


async def test_another_host_of_the_domain_cannot_change_whose_history_a_browser_sees(chromium, tmp_path):
    port = free_port()
    async with FakeOpenAIServer(answer=["Hello."]) as model:
        settings = Settings(
            _env_file=None,
            data_dir=tmp_path,
            identity="anonymous",
            root_url=f"https://{CHAT}:{port}",
            session_secret=SecretStr(SECRET),
            gemma_url=model.url,
            embedded_model=False,
        )
        app = await create_app(settings, with_page=False)
        evil = AnonymousAuthenticator(SECRET, secure=True).new_user()[1]
        attributes = f"; Domain={DOMAIN}; Path=/; Secure"
        names = [b"\xa0__Host-", b"\x85__Host-", b"\xc2\xa0__Host-", b"\xc2\x85__Host-", b"__Host-", b"__host-", b""]
        names += [b"=__Host-", b'"__Host-', b"\t__Host-", b"__Host-chat_user=x; =__Host-"]
        cookies = [name + f"chat_user={evil}{attributes}".encode() for name in names]
        async with (
            serving(app) as url,
            https_hosts(tmp_path, port, int(url.rpartition(":")[2]), cookies),
            open_page(url, headers={"host": f"{CHAT}:{port}", "cookie": f"__Host-chat_user={evil}"}) as attacker,
        ):
            await attacker.send("the attacker's", model="gemma")
            for has_own in (True, False):
                profile = await chromium.new_context(ignore_https_errors=True)
                tab = await profile.new_page()
                if has_own:
                    await tab.goto(f"https://{CHAT}:{port}/state")
                await tab.goto(f"https://{EVIL}:{port}/")
                planted = [one["name"] for one in await profile.cookies(f"https://{CHAT}:{port}")]
                assert any("__Host-chat_user" in name and name != "__Host-chat_user" for name in planted), planted
                await tab.goto(f"https://{CHAT}:{port}/state")
                state = json.loads(await tab.inner_text("body"))
                assert state["conversations"]["items"] == [], has_own
                await profile.close()
