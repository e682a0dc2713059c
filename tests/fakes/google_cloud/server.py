"""HTTP for a `Cloud`: an HTTPS proxy with a certificate authority of its own, so that Google's addresses are used.

Programs need two variables: ``HTTPS_PROXY``, and the authority's file in ``SSL_CERT_FILE``. A request that names a
whole URL, ``GET http://compute.googleapis.com/...``, is answered without TLS.
"""

from __future__ import annotations

import contextlib
import datetime
import http.server
import json
import re
import ssl
import threading
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.fakes.gemini_embeddings import Refused, embedded
from tests.fakes.google_cloud import access, services  # noqa: F401 - they register what they answer
from tests.fakes.google_cloud.errors import ApiError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.fakes.google_cloud.cloud import Cloud


class _Authority:
    """Signs a certificate for each host that is asked for."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "authority.pem"
        self._folder = folder
        self._lock = threading.Lock()
        self._contexts: dict[str, ssl.SSLContext] = {}
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "the fake of Google Cloud")])
        own = self._signed(self._name, self._key.public_key(), x509.BasicConstraints(ca=True, path_length=None))
        self.file.write_bytes(own.public_bytes(serialization.Encoding.PEM))

    def _signed(
        self, subject: x509.Name, key: ec.EllipticCurvePublicKey, *extensions: x509.ExtensionType
    ) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .issuer_name(self._name)
            .subject_name(subject)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(hours=1))
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )
        for extension in extensions:
            builder = builder.add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
        return builder.sign(self._key, hashes.SHA256())

    def context(self, host: str) -> ssl.SSLContext:
        """Return the TLS context for a host, the same one for all of its connections."""
        with self._lock:
            if host not in self._contexts:
                self._contexts[host] = self._new_context(host)
            return self._contexts[host]

    def _new_context(self, host: str) -> ssl.SSLContext:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host[:64])])
        certificate = self._signed(subject, key.public_key(), x509.SubjectAlternativeName([x509.DNSName(host)]))
        pem = serialization.Encoding.PEM
        private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        file = self._folder / f"{host}.pem"
        file.write_bytes(certificate.public_bytes(pem) + private)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context


def _handler(cloud: Cloud, authority: _Authority) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        host = ""

        def do_CONNECT(self) -> None:
            host = self.path.partition(":")[0]
            self.send_response(200, "Connection established")
            self.end_headers()
            try:
                secured = authority.context(host).wrap_socket(self.connection, server_side=True)
            except (OSError, ssl.SSLError):
                self.close_connection = True
                return
            inner = type("Inner", (Handler,), {"host": host})
            with secured, contextlib.suppress(OSError):
                inner(secured, self.client_address, self.server)
            self.close_connection = True

        def _answer(self) -> None:
            url = f"https://{self.host}{self.path}" if self.host else self.path
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            status, answer = _answered(cloud, self.command, url, headers, json.loads(body or b"{}"))
            content = json.dumps(answer).encode()
            with contextlib.suppress(OSError):
                self.send_response(status)
                self.send_header("Content-Type", "application/json; charset=UTF-8")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _answer  # noqa: N815 - names of http.server

        def log_message(self, *_: object) -> None:
            pass

    return Handler


def _answered(cloud: Cloud, verb: str, url: str, headers: dict[str, str], body: Any) -> tuple[int, Any]:
    parts = urlsplit(url)
    if parts.netloc == "huggingface.co":
        model = parts.path.removeprefix("/api/models/").removesuffix("/auth-check")
        return cloud.other_answer("huggingface.models", lambda: _model(cloud, model))
    if parts.netloc == "dns.google":
        host = parse_qs(parts.query)["name"][0].rstrip(".")
        return cloud.other_answer("dns.resolve", lambda: _records(cloud, host))
    if parts.netloc == "openidconnect.googleapis.com":
        return cloud.other_answer("openid.userinfo", lambda: (200, {"email": "runner@example.org"}))
    if parts.netloc.removeprefix("aiplatform.").removesuffix("aiplatform.googleapis.com") != parts.netloc:
        return cloud.other_answer("aiplatform.embeddings", lambda: _embedding(cloud, parts.netloc, parts.path, body))
    return cloud.answer(verb, url, headers, body)


def _embedding(cloud: Cloud, host: str, path: str, body: Any) -> tuple[int, Any]:
    """Answer like Vertex AI, each of whose hosts has its own location."""
    found = re.fullmatch(r"/v1beta1/projects/([^/]+)/locations/([^/]+)/publishers/google/models/([^/:]+):(\w+)", path)
    if found is None:
        return 404, {"error": "not found"}
    project, location, model, operation = found.groups()
    hosts = {"global": "aiplatform.googleapis.com"} | {
        one: f"aiplatform.{one}.rep.googleapis.com" for one in ("us", "eu")
    }
    if project != cloud.project or host != hosts.get(location, f"{location}-aiplatform.googleapis.com"):
        return 403, {"error": f"{host} does not serve {project} at {location}."}
    try:
        cloud.check_enabled("aiplatform.googleapis.com")
        return 200, embedded(operation, model, location, body)
    except ApiError as error:
        return error.code, error.body
    except Refused as error:
        return error.args[0], {"error": {"code": error.args[0], "status": error.args[1], "message": error.args[2]}}


def _model(cloud: Cloud, model: str) -> tuple[int, Any]:
    if model in cloud.switches.gated:
        return 403, {"error": f"Access to model {model} is restricted and you are not in the authorized list."}
    return 200, {"id": model}


def _records(cloud: Cloud, host: str) -> tuple[int, Any]:
    found = cloud.switches.records.get(host, [])
    answer = [{"name": f"{host}.", "type": 1, "TTL": 300, "data": address} for address in found]
    return 200, {"Status": 0 if found else 3, **({"Answer": answer} if found else {})}


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, *_: object) -> None:
        """Say nothing of clients that gave up, which is what tests of timeouts do."""


@contextlib.contextmanager
def serving(cloud: Cloud, folder: Path) -> Iterator[dict[str, str]]:
    """Serve a cloud on loopback, and yield the environment for a program that is to use it."""
    authority = _Authority(folder)
    with _Server(("127.0.0.1", 0), _handler(cloud, authority)) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            proxy = f"http://127.0.0.1:{server.server_port}"
            yield {"HTTPS_PROXY": proxy, "HTTP_PROXY": proxy, "NO_PROXY": "", "SSL_CERT_FILE": str(authority.file)}
        finally:
            cloud.closing.set()
            server.shutdown()
            thread.join()
