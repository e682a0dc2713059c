"""The JSON API of the page, beside what Gradio serves.

A user reads and changes their own data only. An error is ``{"error": sentence}`` with a fitting status: see
`chatapp.http.errors`. A request that changes something has a JSON body, or a file as no form of another site can send
it; the few without a body, and the file of a document, which may be of any type, are protected by
`chatapp.http.middleware.csrf` alone, as everything is.
"""

from fastapi import APIRouter

from chatapp.http.api import conversations, documents, images, imports, library, state, turns, user_data
from chatapp.http.api.local_models import router as local_models
from chatapp.http.api.shares import router as shares
from chatapp.http.routes import add_routes

router = APIRouter()
add_routes(
    router,
    # Routes are tried in this order: those of every turn first.
    turns.questions,
    turns.router,
    conversations.router,
    state.router,
    images.router,
    documents.router,
    library.router,
    imports.router,
    user_data.router,
    user_data.confirmed,
)

__all__ = ("local_models", "router", "shares")
