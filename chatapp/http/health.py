"""Health for load balancers and probes; neither depends on a model or on a cloud service."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import PlainTextResponse

router = APIRouter(default_response_class=PlainTextResponse)


@router.get("/healthz", include_in_schema=False)
async def healthz() -> str:
    """Answer while the event loop turns."""
    return "ok"
