"""Errors of Gemini, in words for a person: what happened, and what to do about it.

First those that the SDK raises, then those that Google's API reports (a table of rules). Google's own message only goes
to the log, without its quotes from the request. A chat without Gemini never imports google.genai.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import aiohttp

from chatapp.domain.errors import ContextTooLong, RateLimited
from chatapp.domain.sentences import Duration, Sentence, Wait
from chatapp.models import ModelState, ModelStatus
from chatapp.models.failure import Failure

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.genai import errors


@dataclass(frozen=True, slots=True)
class Account:
    """The model of a request, and its credentials.

    Attributes:
        model: Gemini's model id.
        project: Google Cloud project; empty for the Gemini API.
        location: Vertex AI location.
        api_key: key of the Gemini API.
        is_bound: whether data residency forbids some locations.
    """

    model: str
    project: str
    location: str
    api_key: str
    is_bound: bool = False

    @property
    def is_set_up(self) -> bool:
        """Whether there are credentials."""
        return bool(self.project or self.api_key)


NOT_SET_UP: Final = ModelStatus(
    ModelState.NOT_SET_UP,
    Sentence("not set up"),
    Sentence(
        "set GOOGLE_CLOUD_PROJECT for Gemini on Vertex AI, or GEMINI_API_KEY for the Gemini API, and restart the chat"
    ),
)
_LOGIN: Final = Sentence("run `gcloud auth application-default login`; on a server, check its service account")
_NETWORK: Final = Sentence("check this computer's network, and its proxy if it has one")
_SEND_AGAIN: Final = Sentence("send the question again")


def failure_of(error: Exception, account: Account, *, connect_seconds: float, status_seconds: float) -> Failure:
    """Classify an error that the SDK raised; the timeouts, in seconds, are for the sentences."""
    from google.auth import exceptions as auth  # noqa: PLC0415  # slow, and imported already where the error was raised
    from google.genai import errors  # noqa: PLC0415  # as above

    if isinstance(error, errors.APIError):
        return _failure_of_response(error, account)
    unreachable = Failure(Sentence("Gemini is unreachable"), _NETWORK, retryable=True)
    broken_off = Failure(Sentence("the connection to Gemini was lost"), _SEND_AGAIN, retryable=True)
    unconnected = Sentence("Gemini is unreachable: no connection within {time}", time=Duration(connect_seconds))
    untrusted = Sentence("the connection to Gemini is not trusted, because its certificate cannot be verified")
    behind_proxy = Sentence("if a proxy here decrypts TLS traffic, set SSL_CERT_FILE to its certificates")
    unanswered = Sentence("Gemini did not answer within {time}", time=Duration(status_seconds))
    # The first match counts: a class stands before its base.
    table: tuple[tuple[type[Exception], Failure], ...] = (
        (auth.DefaultCredentialsError, Failure(Sentence("this computer has no Google Cloud credentials"), _LOGIN)),
        (auth.RefreshError, Failure(Sentence("the Google Cloud credentials have expired or were revoked"), _LOGIN)),
        (auth.TransportError, unreachable),
        (auth.GoogleAuthError, Failure(Sentence("the Google Cloud credentials cannot be used"), _LOGIN)),
        (aiohttp.ConnectionTimeoutError, Failure(unconnected, _NETWORK)),
        (aiohttp.ClientSSLError, Failure(untrusted, behind_proxy)),
        (aiohttp.ClientConnectorError, unreachable),
        (aiohttp.ClientError, broken_off),
        # Of a status alone: `GeminiModel` handles the timeouts of answers.
        (TimeoutError, Failure(unanswered, Sentence("try again in a minute"))),
        (OSError, broken_off),
        # aiohttp's, for a session that was closed while the app shuts down.
        (RuntimeError, replace(broken_off, retryable=False)),
        (Exception, Failure(Sentence("Gemini sent a response that cannot be read"), _SEND_AGAIN)),
    )
    failure = next(failure for kind, failure in table if isinstance(error, kind))
    # Only the transport's words: those of pydantic and json quote the answer.
    harmless = (aiohttp.ClientError, OSError, RuntimeError, auth.GoogleAuthError)
    words = f": {error}" if isinstance(error, harmless) and str(error) else ""
    return replace(failure, detail=_scrubbed(f"{type(error).__name__}{words}", account))


@dataclass(frozen=True, slots=True)
class _ApiError:
    """An error of Google's API: HTTP status and name, message, and the reasons in google.rpc.ErrorInfo."""

    code: int
    status: str
    message: str
    reasons: frozenset[str]
    account: Account

    @property
    def vertex(self) -> bool:
        return bool(self.account.project)

    @property
    def is_about_location(self) -> bool:
        return self.vertex and self.code == 400 and self.says("location", "region")

    def says(self, *words: str) -> bool:
        return any(word in self.message.lower() for word in words)


def _failure_of_response(error: errors.APIError, account: Account) -> Failure:
    details = _error_details(error.details)
    response = _ApiError(
        code=error.code,
        status=str(error.status or ""),
        message=str(error.message or ""),
        reasons=frozenset(str(detail["reason"]) for detail in details if detail.get("reason")),
        account=account,
    )
    rule = next(failure for matches, failure in _RULES if matches(response))
    fields = _fields(account, details)
    # Both APIs name two numbers, of the prompt and of the limit: "... token count (1200293) exceeds ... (1048576)."
    counts = re.search(r"token count\D*(\d+)\D+(\d+)", response.message) if rule.kind is ContextTooLong else None
    reason = rule.reason.filled(**fields)
    if counts:
        reason = Sentence(
            "the conversation is too long for {model} ({tokens} tokens; at most {most} fit)",
            model=account.model,
            tokens=int(counts[1]),
            most=int(counts[2]),
        )
    reasons = ",".join(sorted(response.reasons))
    return replace(
        rule,
        reason=reason,
        fix=rule.fix.filled(**fields),
        refused_parameter="thinking" if response.code == 400 and response.says("thinking") else "",
        prompt_tokens=int(counts[1]) if counts else None,
        context_tokens=int(counts[2]) if counts else None,
        detail=_scrubbed(f"HTTP {response.code} {response.status} {reasons}: {response.message}", account),
    )


def _error_details(body: object) -> list[dict[str, Any]]:
    """Return the google.rpc details of an error body; a proxy may have sent anything else."""
    body = body.get("error", body) if isinstance(body, dict) else None
    details = body.get("details") if isinstance(body, dict) else None
    return [detail for detail in details if isinstance(detail, dict)] if isinstance(details, list) else []


def _fields(account: Account, details: list[dict[str, Any]]) -> dict[str, str]:
    """Return the values of the fields in the sentences of `_RULES`."""
    service = "aiplatform.googleapis.com" if account.project else "generativelanguage.googleapis.com"
    consumer = ""
    wait: str = Sentence("in a minute")
    for detail in details:
        metadata = detail.get("metadata")
        metadata = metadata if isinstance(metadata, dict) else {}  # a proxy may send anything
        if re.fullmatch(r"[a-z]+\.googleapis\.com", str(metadata.get("service"))):
            service = metadata["service"]
        if named := re.fullmatch(r"projects/([\w:.-]+)", str(metadata.get("consumer"))):
            consumer = named[1]
        if delay := re.fullmatch(r"(\d+(?:\.\d+)?)s", str(detail.get("retryDelay"))):
            wait = Wait(max(1, math.ceil(float(delay[1]))))
    project = account.project or consumer
    return {
        "model": account.model,
        "project": project,
        "flag": f" --project={project}" if project else "",
        "who": Sentence("project {project}", project=account.project) if account.project else Sentence("this API key"),
        "location": account.location,
        "service": service,
        "wait": wait,
    }


def _scrubbed(words: str, account: Account) -> str:
    """Return a message for the log: without a key, without quotes from the request, and not too long."""
    words = re.sub(r'".*"', '"..."', words, flags=re.DOTALL)
    words = re.sub(r"AIza[\w-]{20,}", "(key)", words.replace(account.api_key or "\0", "(key)"))
    return words[:300]


_NEW_KEY: Final = Sentence("create a new key at https://aistudio.google.com/apikey and set GEMINI_API_KEY")
_OPEN_MODEL: Final = Sentence(
    "set CHAT_GEMINI_MODEL to an available model, such as gemini-3.5-flash-lite; gemini-2.5-flash is "
    "closed to new projects"
)
_BILLING: Final = Failure(
    Sentence("billing is disabled for {who}"),
    Sentence("link the project to a billing account in the Google Cloud console"),
)
_FAILED: Final = Failure(
    Sentence("Gemini failed because of an error at Google"), Sentence("try again in a minute"), retryable=True
)
_NOT_THERE: Final = Sentence("Vertex AI does not offer {model} in location {location}")
_TOO_LONG: Final = ("maximum number of tokens", "only supports up to", "payload size exceeds")

# The first match counts. The words are Google's, as issue trackers quote them; the reasons are those of
# google.rpc.ErrorInfo (https://cloud.google.com/apis/design/errors).
_RULES: Final[tuple[tuple[Callable[[_ApiError], bool], Failure], ...]] = (
    (
        lambda it: it.code == 429,
        Failure(
            Sentence("Gemini accepts no more requests: the quota of {who} is used up"),
            Sentence("try again {wait}; if it happens often, ask Google for a higher quota"),
            RateLimited,
        ),
    ),
    (
        lambda it: it.code == 413 or (it.code == 400 and it.says(*_TOO_LONG)),
        Failure(
            Sentence("the conversation is too long for {model}"),
            Sentence("start a new chat, or send less"),
            ContextTooLong,
        ),
    ),
    (
        lambda it: it.says("reported as leaked"),
        Failure(Sentence("Google has blocked the API key because it was published"), _NEW_KEY),
    ),
    (lambda it: it.says("api key expired"), Failure(Sentence("the API key has expired"), _NEW_KEY)),
    (
        lambda it: "API_KEY_INVALID" in it.reasons or (it.code == 401 and not it.vertex),
        Failure(Sentence("Google does not accept the API key"), _NEW_KEY),
    ),
    (
        lambda it: any(reason.startswith("API_KEY_") for reason in it.reasons),
        Failure(
            Sentence("the API key is restricted and does not allow this use"),
            Sentence(
                "allow {service} and this computer's address in the key's restrictions, or set another GEMINI_API_KEY"
            ),
        ),
    ),
    (lambda it: it.code == 401, Failure(Sentence("Google does not accept the credentials of this computer"), _LOGIN)),
    (
        lambda it: "SERVICE_DISABLED" in it.reasons or (it.code == 403 and it.says("has not been used in project")),
        Failure(
            Sentence("the API {service} is not enabled"),
            Sentence("run `gcloud services enable {service}{flag}` and wait a few minutes"),
        ),
    ),
    (lambda it: "BILLING_DISABLED" in it.reasons or (it.code in {400, 403} and it.says("billing")), _BILLING),
    (
        lambda it: it.says("user location"),
        Failure(
            Sentence("Google does not offer the Gemini API in this computer's location"),
            Sentence("use Gemini on Vertex AI instead: set GOOGLE_CLOUD_PROJECT"),
        ),
    ),
    (
        lambda it: it.is_about_location and it.account.is_bound,
        Failure(
            _NOT_THERE,
            Sentence(
                "set CHAT_GEMINI_MODEL to a model that {location} has, or GOOGLE_CLOUD_LOCATION to another location "
                "within the data residency"
            ),
        ),
    ),
    (
        lambda it: it.is_about_location and it.account.location == "global",
        Failure(_NOT_THERE, Sentence("set GOOGLE_CLOUD_LOCATION to a location that has it")),
    ),
    (
        lambda it: it.is_about_location,
        Failure(_NOT_THERE, Sentence("set GOOGLE_CLOUD_LOCATION to global, or to a location that has it")),
    ),
    (
        lambda it: bool(it.reasons & {"CONSUMER_INVALID", "CONSUMER_SUSPENDED"}),
        Failure(
            Sentence("There is no active Google Cloud project {project}"),
            Sentence("set GOOGLE_CLOUD_PROJECT to the id of your own project"),
        ),
    ),
    (lambda it: it.status == "FAILED_PRECONDITION", _BILLING),
    (
        lambda it: it.code == 404 and it.vertex,
        Failure(Sentence("the model {model} does not exist in location {location} or is closed to {who}"), _OPEN_MODEL),
    ),
    (
        lambda it: it.code == 404,
        Failure(Sentence("the model {model} does not exist or is closed to {who}"), _OPEN_MODEL),
    ),
    (
        lambda it: it.code == 403 and it.vertex,
        Failure(
            Sentence("the chat's Google account has no permission to use Gemini in project {project}"),
            Sentence("grant it roles/aiplatform.user on the project"),
        ),
    ),
    (
        lambda it: it.code == 403,
        Failure(
            Sentence("this API key has no permission to use {model}"),
            Sentence("set another GEMINI_API_KEY or CHAT_GEMINI_MODEL"),
        ),
    ),
    (
        lambda it: it.code == 503,
        Failure(Sentence("Gemini is overloaded"), Sentence("try again in a minute"), retryable=True),
    ),
    (
        lambda it: it.code == 504,
        Failure(
            Sentence("Gemini timed out at Google"), Sentence("send the question again, or shorten it"), retryable=True
        ),
    ),
    (lambda it: it.code in {500, 502}, _FAILED),
    (lambda it: it.code >= 500, replace(_FAILED, retryable=False)),
    (
        lambda _: True,
        Failure(
            Sentence("Google rejected the request as invalid"),
            Sentence("check CHAT_GEMINI_MODEL and the answer settings; the log has details"),
        ),
    ),
)
