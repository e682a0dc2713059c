"""Puts the page on the app, with Gradio's own extras switched off."""

from __future__ import annotations

from typing import TYPE_CHECKING

import gradio as gr
from starlette.routing import Mount

from chatapp.http import assets as page_files
from chatapp.ui.document import DocumentMiddleware
from chatapp.ui.gradio_allowlist import Doors
from chatapp.ui.page import LABELS, chat_page
from chatapp.ui.theme import chat_theme

if TYPE_CHECKING:
    from fastapi import FastAPI

    from chatapp.config.settings import Settings

# No event of the page has a handler here, so that nothing ever waits in Gradio's queue; it looks into it all the same,
# 1,000 times a second, and 100 times for progress. Measured: 5.6 % of a core for a chat that nobody uses (gradio 6.31).
QUEUE_LOOK_SECONDS = 5.0


def mount_page(app: FastAPI, settings: Settings) -> None:
    """Mount the page at ``/`` and at ``/c/ID``."""
    app.include_router(page_files.router())
    page = chat_page()
    page.api_open = False  # as queue() would, which also builds Gradio's app once more
    queue = page._queue  # noqa: SLF001  # there is no public way to set how often it looks
    queue.sleep_when_free = queue.progress_update_sleep_when_free = QUEUE_LOOK_SECONDS
    app.add_middleware(DocumentMiddleware)
    gr.mount_gradio_app(
        app,
        page,
        path="/",
        # A full address, because Gradio otherwise believes X-Forwarded-Host, which anyone can send.
        root_path=settings.root_url or None,
        theme=chat_theme(settings.theme),
        footer_links=[],
        run_history=False,
        enable_monitoring=False,
        show_error=True,
        ssr_mode=False,
        mcp_server=False,
        pwa=False,
        max_file_size="1kb",
        i18n=gr.I18n(
            **{
                language: {label: page_files.translations(language).get(label, label) for label in LABELS}
                for language in page_files.LANGUAGES
            }
        ),
    )
    gradio = app.routes[-1]
    if not isinstance(gradio, Mount):
        raise TypeError("Gradio is not where it was mounted: chatapp/ui/mount.py was written for gradio 6.31.")
    gradio.app = Doors(gradio.app, root_url=settings.root_url)
