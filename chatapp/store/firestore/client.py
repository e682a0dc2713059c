"""The connection to Cloud Firestore: one gRPC channel, requests with timeouts and retries, errors as sentences."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import google.auth
from google.api_core.exceptions import (
    Aborted,
    DeadlineExceeded,
    Forbidden,
    GoogleAPICallError,
    GoogleAPIError,
    InternalServerError,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
    RetryError,
    ServiceUnavailable,
    Unauthorized,
)
from google.api_core.retry import AsyncRetry, if_exception_type
from google.auth.credentials import AnonymousCredentials
from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError
from google.cloud.firestore import AsyncClient

from chatapp.domain.errors import StoreUnavailable
from chatapp.domain.sentences import Sentence
from chatapp.store.firestore.firestore_compat import Client
from chatapp.store.values import UNREACHABLE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime

    from google.cloud.firestore import (
        AsyncCollectionReference,
        AsyncDocumentReference,
        AsyncQuery,
        AsyncWriteBatch,
        DocumentSnapshot,
    )
    from google.cloud.firestore_v1.async_aggregation import AsyncAggregationQuery
    from google.cloud.firestore_v1.types import WriteResult

T = TypeVar("T")

# Google's client lets a commit take 60 s and a read 300 s, and ``timeout`` alone bounds neither, since its own retry
# begins again: every request here has a ``timeout`` and ``retry=None``, and `retried` repeats it.
ATTEMPT_S = 3.0  # one request; a first connection with its token takes under 1 s
RETRY_S = 5.0  # no attempt begins later: room for a second one after the first timed out
CALL_S = 10.0  # a whole call of the store, which is one to three requests
# A conversation may hold megabytes: its pages of messages have longer.
READ_ATTEMPT_S = 10.0
READ_CALL_S = 30.0

# All of the store's requests may be repeated: see `chatapp.store.firestore.store.FirestoreStore`.
_TRANSIENT = if_exception_type(Aborted, DeadlineExceeded, InternalServerError, ResourceExhausted, ServiceUnavailable)


class Connection:
    """A client of one database, created at the first call, so that the chat starts while Firestore is unavailable.

    It belongs to the event loop of that call, as the gRPC channel does.
    """

    def __init__(self, project: str, database: str) -> None:
        self._project = project
        self._database = database
        self._client: Client | None = None
        self._connecting = asyncio.Lock()

    async def client(self) -> Client:
        """Return the client.

        Raises:
            DefaultCredentialsError: there are no credentials here.
        """
        async with self._connecting:
            if self._client is None:
                # In a thread, since it may ask the metadata server.
                credentials = await asyncio.to_thread(_credentials)
                self._client = Client(project=self._project, credentials=credentials, database=self._database)
        return self._client

    async def close(self) -> None:
        """Close the channel; idempotent."""
        if self._client is not None:
            client, self._client = self._client, None
            await client.aclose()

    def explained(self, error: Exception) -> StoreUnavailable:
        """Return the error as a sentence, with Firestore's own message as its detail."""
        cause = (error.cause or error) if isinstance(error, RetryError) else error
        number = f"{cause.code} " if isinstance(cause, GoogleAPICallError) else ""
        detail = f"{type(cause).__name__}: {number}{getattr(cause, 'message', cause)}"[:300]
        return StoreUnavailable(self._sentence(cause), detail=detail)

    def _sentence(self, cause: Exception) -> Sentence:
        match cause:
            case DefaultCredentialsError():
                return Sentence(
                    "The chat has no Google credentials for its history in Firestore. For the "
                    "operator: gcloud auth application-default login."
                )
            case Forbidden() | Unauthorized():
                return Sentence(
                    "The chat has no permission to use its history in Firestore (project {project}). "
                    "For the operator: grant its account the role roles/datastore.user.",
                    project=self._project,
                )
            case NotFound():
                return Sentence(
                    "The chat's history, the Firestore database {database} of project {project}, "
                    "does not exist. For the operator: create it, or set CHAT_FIRESTORE_DATABASE to "
                    "an existing one.",
                    database=self._database,
                    project=self._project,
                )
            case ResourceExhausted():
                return Sentence("The chat history has reached a Firestore limit. Nothing was changed; try again later.")
            case InvalidArgument():
                return Sentence("Firestore rejected this change. Nothing was changed; the reason is in the log.")
        return UNREACHABLE


class Snapshot(NamedTuple):
    """A document as it was at ``read_time``; the times are Firestore's own."""

    id: str
    reference: AsyncDocumentReference
    fields: dict[str, Any]
    create_time: datetime
    update_time: datetime
    read_time: datetime


async def fetched(
    query: AsyncQuery | AsyncCollectionReference, *, at: datetime | None = None, seconds: float = ATTEMPT_S
) -> list[Snapshot]:
    """Return all documents of a query, as of ``at`` (within the last hour; None: now)."""
    return [_snapshot(one) for one in await retried(lambda: query.get(retry=None, timeout=seconds, read_time=at))]


async def fetched_one(reference: AsyncDocumentReference) -> Snapshot | None:
    """Return one document, None if it does not exist."""
    document = await retried(lambda: reference.get(retry=None, timeout=ATTEMPT_S))
    return _snapshot(document) if document.exists else None


async def fetched_all(
    client: Client,
    references: list[AsyncDocumentReference],
    *fields: str,
    at: datetime | None = None,
    seconds: float = ATTEMPT_S,
) -> list[Snapshot]:
    """Return some fields, or all, of the documents that exist, in any order, as of one moment (see `fetched`)."""

    async def request() -> list[Snapshot]:
        documents = client.get_all(references, fields or None, retry=None, timeout=seconds, read_time=at)
        return [_snapshot(document) async for document in documents if document.exists]

    return await retried(request)


async def summed(query: AsyncAggregationQuery) -> int:
    """Return the only result of an aggregation query, a sum of integers."""
    ((result,),) = await retried(lambda: query.get(retry=None, timeout=ATTEMPT_S))
    return int(result.value or 0)


async def committed(batch: AsyncWriteBatch) -> list[WriteResult]:
    """Commit a batch, all or nothing; return a result per write, in order."""
    return await retried(lambda: batch.commit(retry=None, timeout=ATTEMPT_S))


async def retried(request: Callable[[], Awaitable[T]]) -> T:
    """Make a request, and retry it after transient errors for up to `RETRY_S`.

    Raises:
        RetryError: it kept failing; its cause is the last failure.
        GoogleAPICallError: it failed for good.
    """
    again = AsyncRetry(predicate=_TRANSIENT, initial=0.1, maximum=1.0, multiplier=2.0, timeout=RETRY_S)
    return await again(request)()


def _snapshot(snapshot: DocumentSnapshot[AsyncDocumentReference]) -> Snapshot:
    fields = snapshot.to_dict() or {}
    times = snapshot.create_time, snapshot.update_time, snapshot.read_time
    return Snapshot(snapshot.id, snapshot.reference, fields, *times)


def is_explained(error: Exception) -> bool:
    """Return whether `Connection.explained` accepts this error."""
    return isinstance(error, (GoogleAPIError, GoogleAuthError, TimeoutError))


def _credentials() -> Any:  # noqa: ANN401  # google.auth has a class for each way to sign in
    if "FIRESTORE_EMULATOR_HOST" in os.environ:  # the client's own setting, which it reads where it is made
        return AnonymousCredentials()  # type: ignore[no-untyped-call]  # Google's has no types
    return google.auth.default(scopes=AsyncClient.SCOPE)[0]
