"""Who somebody is to the chat, for the page.

GET /me  {"kind", "name", "address", "canSignIn", "signInUrl", "canSignOut", "signOutUrl", "takeAlong",
         "retentionDays"}
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from chatapp.identity import person_of

if TYPE_CHECKING:
    from chatapp.settings import Settings

NO_STORE = {"cache-control": "no-store"}


def router(settings: Settings) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(include_in_schema=False)

    @routes.get("/me")
    async def me(request: Request) -> Response:
        person = person_of(request)
        facts = {
            "kind": person.kind,
            "name": person.name,
            "address": person.address,
            "canSignIn": False,
            "signInUrl": None,
            "canSignOut": False,
            "signOutUrl": None,
            "takeAlong": None,
            "retentionDays": settings.retention_days,
        }
        return JSONResponse(facts, headers=NO_STORE)

    return routes
