"""An OpenID Connect provider whose responses can be made wrong in every part.

It enforces the client's duties: the client secret, PKCE with S256, and a single use of each code.
"""

import base64
import hashlib
import json
import secrets
import time
from urllib.parse import parse_qsl, urlencode, urlsplit

import jwt
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import rsa

KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
CLIENT, SECRET = "the-client", "the-secret-of-the-client"
ANA = {"sub": "1", "name": "Ana", "email": "ana@example.org", "email_verified": True}


class FakeProvider:
    """Served on loopback; ``url`` is its issuer.

    Attributes:
        claims: the claims about the user.
        lies: wrong claims of the ID token; None: left out.
        sign: returns the ID token of its claims.
        metadata: wrong metadata; a list replaces them.
        metadata_status: the status of the metadata.
        answers: the status of the token endpoint.
        asked: the parameters of each authorization request.
        requests: the path of each request of the chat.
        down: closes every connection.
    """

    def __init__(self, **claims):
        self.claims = ANA | claims
        self.lies = {}
        self.sign = lambda claims: jwt.encode(claims, KEY, "RS256", headers={"kid": "one"})
        self.metadata = {}
        self.metadata_status = 200
        self.userinfo = {}
        self.answers = 200
        self.down = False
        self.asked = []
        self.requests = []
        self._codes = {}
        self._runner = None
        self.url = ""

    async def __aenter__(self):
        app = web.Application(middlewares=[self._may_be_down])
        app.router.add_get("/.well-known/openid-configuration", self._metadata)
        app.router.add_get("/jwks", self._keys)
        app.router.add_post("/token", self._token)
        app.router.add_get("/userinfo", self._userinfo)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_):
        await self._runner.cleanup()

    def agree(self, address):
        """Return the callback URL that the provider redirects to after the user has agreed."""
        asked = dict(parse_qsl(urlsplit(address).query))
        self.asked.append(asked)
        assert asked["response_type"] == "code"
        assert asked["client_id"] == CLIENT
        assert asked["code_challenge_method"] == "S256"
        code = secrets.token_hex(8)
        self._codes[code] = asked
        return f"{asked['redirect_uri']}?{urlencode({'code': code, 'state': asked['state']})}"

    @web.middleware
    async def _may_be_down(self, request, handler):
        self.requests.append(request.path)
        if self.down:
            request.transport.abort()
        return await handler(request)

    async def _metadata(self, _request):
        if self.metadata_status != 200 or isinstance(self.metadata, list):
            return web.json_response(self.metadata, status=self.metadata_status)
        return web.json_response(
            {
                "issuer": self.url,
                "authorization_endpoint": f"{self.url}/authorize",
                "token_endpoint": f"{self.url}/token",
                "jwks_uri": f"{self.url}/jwks",
                "id_token_signing_alg_values_supported": ["RS256", "HS256", "none"],
            }
            | self.metadata
        )

    async def _keys(self, _request):
        key = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(KEY.public_key()))
        return web.json_response({"keys": [key | {"kid": "one", "use": "sig"}]})

    async def _token(self, request):
        given = await request.post()
        name, _, secret = base64.b64decode(request.headers["authorization"].split()[1]).decode().partition(":")
        asked = self._codes.pop(given["code"], None)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(given["code_verifier"].encode()).digest()).decode()
        if (
            self.answers != 200
            or (name, secret) != (CLIENT, SECRET)
            or asked is None
            or challenge.rstrip("=") != asked["code_challenge"]
            or given["redirect_uri"] != asked["redirect_uri"]
        ):
            return web.json_response({"error": "invalid_grant"}, status=max(400, self.answers))
        now = int(time.time())
        claims = self.claims | {
            "iss": self.url,
            "aud": CLIENT,
            "iat": now,
            "exp": now + 3600,
            "nonce": asked["nonce"],
        }
        claims = {name: value for name, value in (claims | self.lies).items() if value is not None}
        return web.json_response({"access_token": "access", "token_type": "Bearer", "id_token": self.sign(claims)})

    async def _userinfo(self, request):
        assert request.headers["authorization"] == "Bearer access"
        return web.json_response(self.userinfo)
