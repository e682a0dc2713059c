"""Adds the page and its files to the app."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chatapp.http import assets as page_files
from chatapp.http.pages import installing
from chatapp.http.routes import add_routes
from chatapp.ui import gradio_compat
from chatapp.ui.document import DocumentMiddleware
from chatapp.ui.page import LABELS, chat_page
from chatapp.ui.theme import chat_theme

if TYPE_CHECKING:
    from fastapi import FastAPI

    from chatapp.config.settings import Settings


def mount_page(app: FastAPI, settings: Settings) -> None:
    """Mount the page at ``/`` and at ``/c/ID``."""
    add_routes(app, page_files.router(), installing.router(settings))
    app.state.formula_files = " ".join(gradio_compat.katex_files())
    app.add_middleware(
        DocumentMiddleware, root_url=settings.root_url, head=installing.head() if settings.installable else ""
    )
    translations = {language: page_files.translations(language) for language in page_files.LANGUAGES}
    gradio_compat.mount(
        app,
        chat_page(),
        theme=chat_theme(settings.theme),
        root_url=settings.root_url,
        translations={
            language: {label: catalogue.get(label, label) for label in LABELS}
            for language, catalogue in translations.items()
        },
    )
