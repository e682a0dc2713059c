"""The health check of load balancers and probes; it depends neither on a model nor on a cloud service."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import PlainTextResponse

router = APIRouter(default_response_class=PlainTextResponse)


@router.get("/healthz", include_in_schema=False)
async def healthz() -> str:
    """Respond while the event loop runs."""
    return "ok"
