"""What chatapp/ui/gradio_compat.py depends on in Gradio is still so: each test fails when Gradio changes there."""

import itertools
import json
import re
import subprocess
import sys

import aiohttp
import gradio as gr
import httpx
import pytest
from fastapi import FastAPI
from gradio.component_meta import create_or_modify_pyi
from gradio.routes import App
from starlette.routing import Mount

from chatapp.app import create_app
from chatapp.http import assets as page_files
from chatapp.ui import gradio_compat
from chatapp.ui.page import chat_page
from chatapp.ui.theme import chat_theme
from tests.sentences import CHATAPP

TESTS = CHATAPP.parent / "tests"
# Classes and attributes of Gradio's DOM, and names of its wire format: for `GRADIO_FILES` only. Short names count only
# as selectors, not in `error.message`.
GRADIO_NAMES = re.compile(
    r"\b(?:gradio-container|gradio-app|gradio_config|bubble-wrap|message-wrap|message-row|bot-row|user-row"
    r"|message-content|sidebar-content|sidebar-parent|toggle-button|submit-button|stop-button|slider_input_container"
    r"|info-text|block-info|min_value|max_value|code_wrap|top-panel|data-testid|__type__)\b|\blanguage-\("
    r"|svg\[id\^=mermaid|\.(?:prose|sidebar|katex(?:-display)?|message\.(?:user|bot))\b|\bmain\.contain\b|\bsvelte-\w+"
    r"|(?:(?<=[\s\"'`(,>+~])|(?<=body)|(?<=main))"
    r"\.(?:block|bot|column|dark|fillable|flex-wrap|form|md|message|token|user|wrap|wrapper)\b(?=[\s\"'`),.:\[{>+~*])"
)
GRADIO_FILES = {
    "gradio_bridge.js",
    "gradio.css",
    "gradio_compat.py",
    "gradio_dom.py",
    "test_gradio_compat.py",
    "test_gradio_bridge.py",
}
IMPORT = """
import ast, sys
ast.get_source_segment = None  # what Gradio cuts the source of its components into editor stubs with
import chatapp.ui
import gradio, inspect
assert inspect.getfile(gradio.Textbox).endswith("textbox.py")  # and afterwards all is as it was
try:
    import matplotlib
except ImportError:
    print("fine")
"""


def test_gradio_is_the_version_that_the_module_was_written_for():
    assert gr.__version__.startswith(f"{gradio_compat.WRITTEN_FOR}."), "see docs/upgrade.md"


@pytest.mark.slow
def test_import_parses_no_components_and_finds_no_matplotlib():
    assert create_or_modify_pyi  # what `import_gradio` keeps from running
    done = subprocess.run([sys.executable, "-c", IMPORT], capture_output=True, text=True, check=False, timeout=60)
    assert (done.stdout, done.stderr) == ("fine\n", "")


async def test_queue_polls_seldom_and_the_mount_is_behind_the_allow_list():
    app, page = FastAPI(), chat_page()
    assert {"sleep_when_free", "progress_update_sleep_when_free"} <= vars(page._queue).keys()
    gradio_compat.mount(app, page, theme=chat_theme("blue"), root_url="", translations={"en": {}})
    assert page._queue.sleep_when_free == gradio_compat.QUEUE_POLL_SECONDS
    assert isinstance(app.routes[-1], Mount)
    assert isinstance(app.routes[-1].app, gradio_compat.AllowedRoutes)


async def test_gradio_builds_one_app_for_a_page(monkeypatch):
    apps, create = [], App.create_app
    monkeypatch.setattr(App, "create_app", lambda *options, **named: apps.append(create(*options, **named)) or apps[-1])
    page = chat_page()
    gradio_compat.mount(FastAPI(), page, theme=chat_theme("default"), root_url="", translations={})
    assert apps == [page.app]
    with gr.Blocks(analytics_enabled=False) as other:  # any other page has one, as Gradio made it
        pass
    assert other.app is apps[-1]


async def test_events_hand_the_name_of_a_function_to_the_browser():
    config = chat_page().get_config_file()
    # The text that assets/js/head.js looks a name up in, as Gradio's scripts put it together.
    names = {event["js"] for event in config["dependencies"]}
    assert {"load", "send", "stop", "messagesValue", "parametersValue"} <= names
    assert all(re.fullmatch(r"\w+", name) for name in names)
    assert not [event for event in config["dependencies"] if event["backend_fn"]]


@pytest.mark.slow
async def test_html_has_the_place_for_the_head_and_what_is_removed(chat_url, page):
    async with page._http.get(f"{chat_url}/") as response:
        html = await response.text()
    assert html.count("<title>") == 1
    assert "iframeResizer" not in html
    assert 'property="og:' not in html


def test_katex_is_among_gradios_files():
    for path in gradio_compat.katex_files():
        assert gradio_compat.ALLOWED.fullmatch(f"/{path}")


def test_html_without_a_head_is_noticed():
    with pytest.raises(gradio_compat.GradioChangedError, match=r"gradio 6\.31"):
        gradio_compat.with_head("<html></html>", "")


def test_class_names_and_wire_format_of_gradio_stay_in_their_files():
    texts = {name: text for name, text in page_files.sources().items() if not name.startswith(("vendor/", "icons/"))}
    files = {f"assets/{name}": content.decode() for name, content in texts.items()}
    tests = [*(TESTS / "browser").glob("*.py"), *(TESTS / "chatapp" / "ui").glob("*.py")]
    for path in (*(CHATAPP / "ui").glob("*.py"), *tests):
        files[path.name] = path.read_text(encoding="utf-8")
    wrong = [
        f"{name}: {hit}"
        for name, text in files.items()
        if name.rpartition("/")[2] not in GRADIO_FILES
        for hit in set(GRADIO_NAMES.findall(text))
    ]
    assert wrong == []


# --- What of Gradio can be reached ---


def config(html):
    """Return the configuration in Gradio's page."""
    return json.loads(re.search(r"window\.gradio_config = (\{.*?\});</script>", html, re.DOTALL)[1])


async def test_forged_forwarding_headers_change_nothing(chat_url):
    forged = {"X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "https", "X-Forwarded-Prefix": "/evil"}
    async with aiohttp.ClientSession() as http, http.get(chat_url, headers=forged) as response:
        html = await response.text()
    assert "evil" not in html
    assert config(html)["root"] == chat_url


@pytest.mark.slow
async def test_behind_a_proxy_the_address_is_the_setting(serve, settings):
    behind = settings.model_copy(update={"root_url": "https://chat.example.org"})
    async with serve(behind, with_page=True) as url, aiohttp.ClientSession() as http, http.get(url) as response:
        assert config(await response.text())["root"] == "https://chat.example.org"
        assert "Secure" in response.headers["set-cookie"]


def _routes(routes):
    for route in routes:
        yield from _routes(getattr(getattr(route, "original_router", route), "routes", None) or [])
        if hasattr(route, "path"):
            yield route


@pytest.mark.slow
async def test_only_the_routes_that_the_page_needs_are_open(settings):
    app = await create_app(settings)
    allowed = app.routes[-1].app
    assert isinstance(allowed, gradio_compat.AllowedRoutes)
    open_to, closed = set(), 0
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(allowed), base_url="http://localhost") as http,
    ):
        for route in _routes(allowed.app.app.routes):
            path = re.sub(r"\{[^}]*\}", "x", route.path)
            for method, address in itertools.product(route.methods or (), (path, f"/gradio_api{path}")):
                response = await http.request(method, address)
                # A response to HEAD has no words.
                is_closed = response.status_code == 404 and (method == "HEAD" or "nothing at" in response.text)
                closed += is_closed
                open_to |= set() if is_closed else {f"{method} {address}"}
    assert closed > 40
    assert open_to == {"GET /", "HEAD /", "GET /theme.css", "GET /assets/x"}


@pytest.mark.parametrize(
    "path",
    [
        "/config",
        "/gradio_api/upload",
        "/gradio_api/file=/etc/passwd",
        "/gradio_api/heartbeat/x",
        "/gradio_api/queue/data?session_hash=x",
        "/gradio_api/info",
        "/static/js/iframeResizer.contentWindow.min.js",
        "/assets/../index.html",
        "/assets/%2e%2e/index.html",
        "/assets/a/b",
        "//config",
        "/theme.css/",
        "/monitoring",
        "/docs",
        "/openapi.json",
    ],
)
async def test_all_other_addresses_are_not_found(chat_url, path):
    async with aiohttp.ClientSession() as http, http.get(f"{chat_url}{path}") as response:
        assert response.status == 404
        assert "There is nothing at this address." in await response.text()


async def test_gradio_compresses_a_file_once_and_answers_conditions_itself(settings, monkeypatch):
    app = await create_app(settings)
    requests = []
    once = app.routes[-1].app.app
    assert isinstance(once, gradio_compat.CompressedOnce)
    gradio = once.app

    async def count(scope, *rest):
        requests.append(scope["path"])
        await gradio(scope, *rest)

    monkeypatch.setattr(once, "app", count)
    path = "/" + gradio_compat.katex_files()[1]
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as http:
        plain = await http.get(path, headers={"accept-encoding": "identity"})
        assert "content-encoding" not in plain.headers
        for encoding in ("br", "gzip"):
            first, second = [await http.get(path, headers={"accept-encoding": encoding}) for _ in range(2)]
            assert first.headers["content-encoding"] == encoding
            assert first.content == second.content == plain.content
            assert first.headers.multi_items() == second.headers.multi_items()
        assert requests == [path] * 3, "each form but the plain one is kept"
        part = await http.get(path, headers={"range": "bytes=0-9", "accept-encoding": "br"})
        assert len(part.content) <= len(plain.content)
        assert len(requests) == 4
        assert (await http.get("/assets/nothing.js")).status_code == 404
        assert (await http.get("/assets/nothing.js")).status_code == 404
        assert len(requests) == 6


async def test_gradio_sees_no_query(chat_url):
    async with aiohttp.ClientSession() as http, http.get(f"{chat_url}/?deep_link=nothing&view=api") as response:
        assert config(await response.text())["deep_link_state"] == "none"


@pytest.mark.parametrize(
    "path", ["/assets/", "/assets", "/config", "/assets/x/y", "/assets/x%2fy", "/\n", "/theme.css\n"]
)
def test_the_pattern_is_of_whole_addresses(path):
    assert not gradio_compat.ALLOWED.fullmatch(path)
