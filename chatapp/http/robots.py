"""Asks search engines to stay away: nothing of a chat is for them."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import PlainTextResponse

router = APIRouter(default_response_class=PlainTextResponse)


@router.get("/robots.txt", include_in_schema=False)
async def robots() -> str:
    """Disallow everything."""
    return "User-agent: *\nDisallow: /\n"
