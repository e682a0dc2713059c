"""Everything in Python that depends on how Gradio works inside, for the version that requirements/chat.txt pins.

One function or class for each dependency: what it is for, and when it can go. tests/chatapp/ui/test_gradio_compat.py
fails when Gradio changes; docs/upgrade.md says how to move to another version. What depends on Gradio's DOM is in
``assets/js/gradio_bridge.js`` and ``assets/css/gradio.css``.
"""

from __future__ import annotations

import copy
import inspect
import os
import re
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.datastructures import Headers
from starlette.routing import Mount

from chatapp.domain.sentences import Sentence
from chatapp.http.errors import error_response

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from fastapi import FastAPI
    from gradio import Blocks
    from gradio.themes import Base
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

WRITTEN_FOR = "6.31"
# The paths that Chromium requests of Gradio while the page is in use. No event has a handler on the server. The length
# is bounded because a file system rejects longer names with an error.
ALLOWED = re.compile(r"/|/theme\.css|/assets/[A-Za-z0-9._-]{1,200}")
# Seconds. No event has a handler on the server, so the queue is always empty. By default Gradio polls it 1,000 times a
# second and its progress 100 times. Measured: 5.6 % of a core for an idle chat (gradio 6.31).
QUEUE_POLL_SECONDS = 5.0
_HEAD = "<head>"
_CONDITIONS = ("range", "if-none-match", "if-modified-since")  # on which the answer depends
# The title and the description for other sites, which the page replaces, and the script for a page in a frame, which
# the security policy forbids.
_REMOVED = re.compile(
    r"<title>.*?</title>|<meta\s+(?:property|name)=\"(?:og|twitter):[^>]*>|<link rel=\"manifest\"[^>]*>"
    r"|<script>(?:(?!</script>).)*/iframeResizer\.contentWindow(?:(?!</script>).)*</script>",
    re.DOTALL,
)


class GradioChangedError(RuntimeError):
    """Gradio does not work inside as this module expects."""

    def __init__(self, difference: str) -> None:
        super().__init__(f"{difference}: chatapp/ui/gradio_compat.py was written for gradio {WRITTEN_FOR}.")


def import_gradio() -> None:
    """Import Gradio without the parts of its import and its runtime that cost time and are not used here.

    Can go when Gradio writes editor stubs only on request, and imports matplotlib only for `gr.Plot`.
    """
    # Gradio tries `import matplotlib` again on every update of every stream. Measured: 19 % of an update (`utils.py`).
    sys.modules.setdefault("matplotlib", None)  # type: ignore[arg-type]  # None makes the import fail at once
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    # After this many events Gradio computes statistics over all of them with pandas.
    os.environ.setdefault("GRADIO_ANALYTICS_CACHE_FREQUENCY", "1000000000")
    with _without_editor_stubs():
        import gradio  # noqa: F401, PLC0415  # for its side effect; the environment above has to be set before it


@contextmanager
def _without_editor_stubs() -> Iterator[None]:
    """Keep Gradio from parsing the source of its components to write editor stubs, which it does at every import.

    Measured: half of the import (`component_meta.create_or_modify_pyi`). Gradio skips a class that has no file.
    """
    getfile = inspect.getfile

    def getfile_except_components(thing: Any) -> str:  # noqa: ANN401  # as inspect.getfile
        if inspect.isclass(thing) and thing.__module__.startswith("gradio."):
            raise OSError("no editor stubs")
        return getfile(thing)

    inspect.getfile = getfile_except_components  # type: ignore[assignment]  # the name of its parameter differs
    try:
        yield
    finally:
        inspect.getfile = getfile


@contextmanager
def without_apps() -> Iterator[None]:
    """Keep Gradio from building an app of 80 routes at the start of a page and another one at its end.

    `mount` builds the one that is used. Measured: two thirds of building and mounting the page, 0.3 s of CPU. Can go
    when Gradio builds an app only to launch or to mount it.

    Raises:
        GradioChangedError: Gradio builds its apps elsewhere.
    """
    from gradio import blocks  # noqa: PLC0415  # after `import_gradio`

    if not hasattr(blocks, "App"):
        raise GradioChangedError("gradio.blocks has no App")
    built, blocks.App = blocks.App, _NoApp
    try:
        yield
    finally:
        blocks.App = built


class _NoApp:
    """In place of Gradio's class of apps."""

    @staticmethod
    def create_app(*_: object, **_options: object) -> None:
        """Build nothing."""


def run_in_browser(event: Callable[..., Any], name: str, inputs: list[Any], outputs: list[Any]) -> None:
    """Have an event call a function of ``assets/js/main.js``; values pass through without processing on the server.

    Args:
        event: a component's, such as ``button.click``.
        name: of the function. Gradio would compile the text to code, which the security policy forbids, so
            ``assets/js/head.js`` looks the name up.
        inputs: components whose values the function gets.
        outputs: components that get the values that it returns.
    """
    event(None, inputs, outputs, js=name, trigger_mode="multiple", show_progress="hidden", api_visibility="private")


def mount(
    app: FastAPI, page: Blocks, *, theme: Base, root_url: str, translations: Mapping[str, dict[str, str]]
) -> None:
    """Mount the page at ``/`` with Gradio's extras switched off and all its routes closed except `ALLOWED`.

    Args:
        app: gets the mount as its last route.
        page: the layout.
        theme: the page's.
        root_url: the public address; "" for none.
        translations: of the layout's labels, by language.

    Raises:
        GradioChangedError: Gradio did not mount itself as the last route.
    """
    import gradio as gr  # noqa: PLC0415  # after `import_gradio`

    page.api_open = False  # as `Blocks.queue` does, which also builds Gradio's app once more
    queue = page._queue  # noqa: SLF001  # there is no public way to set how often it polls
    queue.sleep_when_free = queue.progress_update_sleep_when_free = QUEUE_POLL_SECONDS
    gr.mount_gradio_app(
        app,
        page,
        path="/",
        # A full address: without one Gradio trusts X-Forwarded-Host, which anyone can send.
        root_path=root_url or None,
        theme=theme,
        footer_links=[],
        run_history=False,
        enable_monitoring=False,
        show_error=True,
        ssr_mode=False,
        mcp_server=False,
        pwa=False,
        max_file_size="1kb",
        i18n=gr.I18n(**translations),
    )
    route = app.routes[-1]
    if not isinstance(route, Mount):
        raise GradioChangedError("Gradio's app is not the last route")
    page.app = route.app  # type: ignore[assignment]  # Gradio's
    route.app = AllowedRoutes(CompressedOnce(route.app), root_url=root_url)


class AllowedRoutes:
    """Gradio's app, of which only the routes of `ALLOWED` can be reached; all others answer 404.

    Gradio serves more than 70 routes: uploads, files, events, a proxy, its own API. A new version may add others.
    Gradio never gets a query either: it would look up a page's state by one (``deep_link``). Can go when Gradio serves
    a page without its API.

    Args:
        app: Gradio's.
        root_url: the public address; "" for none.
    """

    def __init__(self, app: ASGIApp, *, root_url: str = "") -> None:
        self.app = app
        self._root_url = root_url

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what the page needs."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        elif scope["type"] == "http" and scope["method"] in {"GET", "HEAD"} and ALLOWED.fullmatch(scope["path"]):
            await self.app({**scope, "query_string": b""}, receive, send)
        elif scope["type"] == "http":
            sentence = Sentence("There is nothing at this address.")
            await error_response(scope, 404, sentence, root_url=self._root_url)(scope, receive, send)
        else:  # the page uses no websocket
            await send({"type": "websocket.close", "code": 1008})


class CompressedOnce:
    """Gradio's app, which compresses each of its files for the first visitor alone.

    It compresses them for every visitor: 46 files, 0.2 s of CPU (gradio 6.31). Their names contain digests, so a file
    never changes while the chat runs. Can go when Gradio serves its files compressed.

    Args:
        app: Gradio's.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self._answers: dict[tuple[str, str], list[Message]] = {}  # by path and accepted encodings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer from memory, or pass on and keep a compressed answer."""
        headers = Headers(scope=scope) if scope["type"] == "http" else {}
        if (
            scope["type"] != "http"
            or scope["method"] != "GET"
            or not scope["path"].startswith("/assets/")
            or any(name in headers for name in _CONDITIONS)
        ):
            await self.app(scope, receive, send)
            return
        accepted = headers.get("accept-encoding", "")
        key = scope["path"], next((encoding for encoding in ("br", "gzip") if encoding in accepted), "")
        if key in self._answers:
            for message in self._answers[key]:
                await send(copy.deepcopy(message))  # middleware adds to its headers
            return
        answer: list[Message] = []

        async def send_and_keep(message: Message) -> None:
            answer.append(copy.deepcopy(message))
            await send(message)

        await self.app(scope, receive, send_and_keep)
        if answer[0]["status"] == 200 and "content-encoding" in Headers(raw=answer[0]["headers"]):
            self._answers[key] = answer


def katex_files() -> tuple[str, str]:
    """Return the paths, below the app's root, of Gradio's copy of KaTeX: a module with a default export, and its style.

    ``assets/js/render_worker.js`` renders formulas with it. The names contain digests. Can go when the chat has a copy
    of its own, which would add 0.6 MB of fonts and scripts.

    Raises:
        GradioChangedError: there is not one file of each kind.
    """
    import gradio as gr  # noqa: PLC0415  # after `import_gradio`

    folder = Path(gr.__file__).parent / "templates" / "frontend" / "assets"
    files = []
    for pattern in ("katex-*.js", "katex-*.css"):
        matches = list(folder.glob(pattern))
        if len(matches) != 1:
            raise GradioChangedError(f"Gradio has {len(matches)} files named {pattern}")
        files.append(f"assets/{matches[0].name}")
    return files[0], files[1]


def with_head(html: str, head: str) -> str:
    """Return Gradio's HTML with ``head`` at the start of its head, and without the title and metadata it had there.

    Gradio's own ``head`` parameter inserts by script after Gradio has started, and the language has to be known before.
    Can go when Gradio serves that parameter as part of the HTML.

    Raises:
        GradioChangedError: the HTML has another structure.
    """
    if html.count(_HEAD) != 1:
        raise GradioChangedError(f"Gradio's page has no {_HEAD}")
    return _REMOVED.sub("", html).replace(_HEAD, _HEAD + "\n" + head)
