"""The download of ``CHAT_LOCAL_MODEL`` in the terminal: the licence first, then the progress."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

from chatapp.domain.sentences import Duration
from chatapp.models.local.computer import GB
from chatapp.models.local.hub import Hub
from chatapp.models.local.library import LocalModelRefused, LocalModels, LocalState

if TYPE_CHECKING:
    from chatapp.config.settings import Settings
    from chatapp.models.local.library import Offer

ON_A_TERMINAL_SECONDS, IN_A_LOG_SECONDS = 0.5, 10.0
_CLEAR_LINE = "\r\x1b[K"


def accept_licence(settings: Settings) -> None:
    """Ask in the terminal for the licence of the model that ``CHAT_LOCAL_MODEL`` names, if it has to be downloaded.

    It runs before the event loop, which would not let Ctrl-C end a question.

    Raises:
        KeyboardInterrupt: Ctrl-C.
    """
    entry = next((one for one in settings.local_entries if one.id == settings.local_model), None)
    if entry is None or not settings.downloads_models:
        return
    local_models = LocalModels(settings.models_folder, Hub(), settings.local_entries)
    if local_models.is_downloaded(entry) or local_models.is_licence_accepted(entry):
        return
    terms = f"{entry.licence.name} ({entry.licence.url})"
    print(f"{entry.label} has to be downloaded ({entry.size / GB:.1f} GB, from {entry.source}).")
    if settings.local_model_licence != "accepted":
        if not sys.stdin.isatty():
            print(f"Its licence has to be accepted first: {terms}. Set CHAT_LOCAL_MODEL_LICENCE=accepted.")
            return
        try:
            answer = input(f"Do you accept its licence, the {terms}? [y/N] ")
        except EOFError:
            answer = ""
        if answer.strip().lower() not in {"y", "yes"}:
            print("It is not downloaded.")
            return
    try:
        local_models.accept_licence(entry.id)
    except LocalModelRefused as error:
        print(error)


async def show_download(local_models: LocalModels, model_id: str) -> None:
    """Download a model, and print the progress until its end."""
    try:
        local_models.start(model_id)
    except LocalModelRefused as error:
        print(f"\n{error}", flush=True)
        return
    is_terminal = sys.stdout.isatty()
    shown = False
    ending = asyncio.ensure_future(local_models.wait())
    while (offer := local_models.offer(model_id)).state is LocalState.DOWNLOADING:
        if is_terminal:
            print(f"{_CLEAR_LINE}{progress(offer)}", end="", flush=True)
        else:
            print(progress(offer), flush=True)
        shown = True
        await asyncio.wait([ending], timeout=ON_A_TERMINAL_SECONDS if is_terminal else IN_A_LOG_SECONDS)
    start = _CLEAR_LINE if is_terminal and shown else ""
    if offer.state is LocalState.DOWNLOADED:
        print(f"{start}{offer.entry.label} is ready.", flush=True)
    elif offer.error:
        print(f"{start}{offer.entry.label}: {offer.error}", flush=True)


def progress(offer: Offer) -> str:
    """Return how far a download is, in a line."""
    entry = offer.entry
    parts = [f"{100 * offer.arrived // entry.size} % of {entry.size / GB:.1f} GB"]
    if offer.speed and offer.seconds_left is not None:
        parts += [f"{offer.speed / 1e6:.1f} MB/s", f"{Duration(round(offer.seconds_left))} left"]
    return f"Downloading {entry.label}: {', '.join(parts)}"


def offer_line(local_models: LocalModels) -> str:
    """Return which model this computer can run, "" if it has one or can run none."""
    entry = local_models.recommended()
    if entry is None:
        return ""
    return (
        f"A better model can run on this computer: {entry.label} ({entry.size / GB:.1f} GB). Download it in the page, "
        f"or with: make run CHAT_LOCAL_MODEL={entry.id}"
    )
