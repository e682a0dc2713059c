"""The format of the log: text for a terminal, JSON for a log service. No line holds text of a conversation."""

from __future__ import annotations

import logging
import sys
from functools import partial
from typing import TYPE_CHECKING, Literal

import structlog

if TYPE_CHECKING:
    from structlog.typing import EventDict, Processor, WrappedLogger


def configure_logs(log_format: Literal["text", "json"], *, project: str = "") -> None:
    """Send the logs of structlog and the standard library to stderr in one format.

    Args:
        log_format: ``json`` has the fields of Cloud Logging.
        project: of Google Cloud, in which the traces are that lines belong to.
    """
    common: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(
            fmt="iso", utc=log_format == "json", key="time" if log_format == "json" else "timestamp"
        ),
    ]
    last: list[Processor]
    if log_format == "json":
        fields = partial(_for_cloud_logging, project)
        last = [structlog.processors.format_exc_info, fields, structlog.processors.JSONRenderer()]
    else:
        last = [
            structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback)
        ]
    handler = logging.StreamHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=common, processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last]
        )
    )
    # A terminal shows warnings and errors only.
    logging.basicConfig(handlers=[handler], level=logging.INFO if log_format == "json" else logging.WARNING, force=True)
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it logs each request
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *common, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def _for_cloud_logging(project: str, _logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Use the field names of Cloud Logging: severity, message, and those by which it links a line to its trace.

    https://docs.cloud.google.com/logging/docs/structured-logging#structured_logging_special_fields
    """
    event["severity"] = event.pop("level", "info").upper()
    event["message"] = event.pop("event", "")
    if trace := event.pop("trace_id", ""):
        event["logging.googleapis.com/trace"] = f"projects/{project}/traces/{trace}" if project else trace
        event["logging.googleapis.com/spanId"] = event.pop("span_id", "")
        event["logging.googleapis.com/trace_sampled"] = event.pop("trace_sampled", False)
    return event
