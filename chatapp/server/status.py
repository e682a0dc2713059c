"""Print the state of each model, as the page shows it, and of the embeddings.

Run ``python -m chatapp.server.status``, or ``make status``.
In a pod of the chat it has the cluster's reasons: ``pulumi stack output status`` prints the command.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from typing import TYPE_CHECKING

from chatapp.config.logs import configure_logs
from chatapp.config.settings import load_settings
from chatapp.domain.errors import ChatError
from chatapp.models import ModelState
from chatapp.server.catalog import open_catalog, open_embeddings
from chatapp.server.status_lines import embeddings_line, lines

if TYPE_CHECKING:
    from chatapp.config.settings import Settings


def main() -> int:
    """Print a line for each model; return 0 if one of them is ready, 1 if none is, 2 if a setting is invalid."""
    try:
        settings = load_settings()
        configure_logs(settings.log_format)
        return asyncio.run(_print(settings))
    except ChatError as error:
        print(error, file=sys.stderr)
        return 2


async def _print(settings: Settings) -> int:
    embeddings = open_embeddings(settings)
    catalog, local_models = open_catalog(settings)
    try:
        statuses = await catalog.check()
        for line in lines(catalog, statuses):
            print(line)
        if embeddings:
            print(await embeddings_line(embeddings.embedder))
    finally:
        if embeddings:
            await embeddings.embedder.aclose()
        await catalog.aclose()
        if local_models:
            await local_models.aclose()
    return 0 if any(status.state is ModelState.READY for status in statuses.values()) else 1


if __name__ == "__main__":
    argparse.ArgumentParser(
        prog="python -m chatapp.server.status", description="Print the state of each model."
    ).parse_args()
    sys.exit(main())
