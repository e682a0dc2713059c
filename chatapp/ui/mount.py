"""Puts the page on the app, with Gradio's own extras switched off."""

from __future__ import annotations

from typing import TYPE_CHECKING

import gradio as gr

from chatapp.ui.page import ASSETS, ChatPage
from chatapp.ui.theme import chat_theme

if TYPE_CHECKING:
    from fastapi import FastAPI

    from chatapp.models.catalog import Catalog
    from chatapp.settings import Settings
    from chatapp.store import ConversationStore
    from chatapp.turns import TurnRunner

# Gradio's thread limit also caps async handlers: with its 40, the 41st person waits for a first token (measured).
MAX_THREADS = 1000
MAX_QUEUE = 2000
# Gradio looks for new events 1,000 times a second, and 100 times for progress, which nobody here reports. Measured:
# 5.6 % of a core for a chat that nobody uses, and 1.9 % with these (gradio 6.31). They add up to 5 ms to an event.
QUEUE_LOOK_SECONDS = 0.005
PROGRESS_LOOK_SECONDS = 5.0


def mount_page(app: FastAPI, settings: Settings, store: ConversationStore, catalog: Catalog, turns: TurnRunner) -> None:
    """Mount the page at ``/``."""
    page = ChatPage(store, catalog, turns).blocks()
    page.max_threads = MAX_THREADS  # before queue(), which makes its limiter from it
    page.queue(default_concurrency_limit=None, max_size=MAX_QUEUE, api_open=False)
    queue = page._queue  # noqa: SLF001  # there is no public way to set how often it looks
    queue.sleep_when_free = QUEUE_LOOK_SECONDS
    queue.progress_update_sleep_when_free = PROGRESS_LOOK_SECONDS
    gr.mount_gradio_app(
        app,
        page,
        path="/",
        # A full address, because Gradio otherwise believes X-Forwarded-Host, which anyone can send.
        root_path=settings.root_url or None,
        theme=chat_theme(settings.theme),
        css_paths=ASSETS / "page.css",
        head=f"<script>{(ASSETS / 'chat.js').read_text(encoding='utf-8')}</script>",
        head_paths=ASSETS / "head.html",
        footer_links=[],
        run_history=False,
        enable_monitoring=False,
        show_error=True,
        ssr_mode=False,
        mcp_server=False,
        pwa=False,
        max_file_size="1kb",
    )
