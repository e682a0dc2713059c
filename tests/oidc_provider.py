"""A real OpenID Connect provider in its own process: oidc-provider-mock."""

import asyncio
import contextlib
import json
import os
import sys

import aiohttp

from tests.serving import free_port


@contextlib.asynccontextmanager
async def running_provider(*users):
    """Run a provider with these users (their claims, each with a "sub"), and yield its issuer."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    arguments = [argument for user in users for argument in ("--user-claims", json.dumps(user))]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *(
            "-W",
            "ignore",
            "-m",
            "oidc_provider_mock",
            "--host",
            "127.0.0.1",
            "--port",
            str(port),
            "--require-nonce",
            "true",
        ),
        *arguments,
        env={name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(60), aiohttp.ClientSession() as http:
            while process.returncode is None:
                with contextlib.suppress(aiohttp.ClientError):
                    async with http.get(f"{url}/.well-known/openid-configuration") as response:
                        if response.status == 200:
                            break
                await asyncio.sleep(0.05)
        yield url
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()
