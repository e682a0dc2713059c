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


def mount_page(app: FastAPI, settings: Settings, store: ConversationStore, catalog: Catalog, turns: TurnRunner) -> None:
    """Mount the page at ``/``."""
    page = ChatPage(store, catalog, turns).blocks()
    page.max_threads = MAX_THREADS  # before queue(), which makes its limiter from it
    page.queue(default_concurrency_limit=None, max_size=MAX_QUEUE, api_open=False)
    gr.mount_gradio_app(
        app,
        page,
        path="/",
        # A full address, because Gradio otherwise believes X-Forwarded-Host, which anyone can send.
        root_path=settings.root_url or None,
        theme=chat_theme(settings.theme),
        css_paths=ASSETS / "page.css",
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
