"""What every read of a journaled store is made of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chatapp.store.calls import Calls
from chatapp.store.journal.cloud_reads import CloudReads
from chatapp.store.journal.recent import Recent

if TYPE_CHECKING:
    from chatapp.store import Store
    from chatapp.store.journal.journal import Journal


class Sources:
    """The journal, the cloud, and the cache in front of both."""

    def __init__(self, journal: Journal, cloud: Store, recent_bytes: int) -> None:
        self._journal = journal
        self._cloud = cloud
        self._recent = Recent(recent_bytes)
        self._cloud_reads = CloudReads()
        self._calls = Calls()
