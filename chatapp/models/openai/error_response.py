"""Errors that an OpenAI-compatible server reports, in words for a person.

A server's own message is never shown or logged: validation errors quote the request, which holds the conversation.
"""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING, Any, Final

from chatapp.domain.errors import (
    Blocked,
    CannotSee,
    ContextTooLong,
    ModelError,
    ModelLoading,
    RateLimited,
    TooManyImages,
)
from chatapp.domain.sentences import Sentence
from chatapp.models.durations import retry_after
from chatapp.models.failure import ReportedError
from chatapp.models.openai.error_facts import error_facts
from chatapp.models.openai.error_kinds import kind_of, never_taken
from chatapp.models.openai.error_tables import ErrorKind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from chatapp.models.failure import Failure
    from chatapp.models.openai.error_facts import ErrorFacts
    from chatapp.models.openai.errors import ServerErrors

RETRYABLE_STATUSES = frozenset({502, 503, 504})  # of a proxy whose server is down: no token was generated

_IDENTIFIER = re.compile(r"[\w.\-]{1,64}", re.ASCII)
_MOST_IMAGES: Final = re.compile(r"at most (\d+) image|max(?:imum)?(?: number of)? (\d+) images")
_NUMBER = r"\(?([\d,]{1,12})"
_CONTEXT_NUMBERS: Final = tuple(
    re.compile(pattern)
    for pattern in (
        rf"context (?:length|size|window) (?:is|of|of only) {_NUMBER}",
        rf"exceed context limit: [\d,]+ \+ [\d,]+ > {_NUMBER}",
        rf"> {_NUMBER} maximum",
        rf"(?:max size|max length|token limit|tokens allowed):? ?{_NUMBER}",
        rf"\(tpm\): limit {_NUMBER}",
        rf"must be <= {_NUMBER}",
    )
)
_PROMPT_NUMBERS: Final = tuple(
    re.compile(pattern)
    for pattern in (
        rf"you requested [\d,]+ tokens {_NUMBER} in",
        rf"resulted in {_NUMBER} tokens",
        rf"too long: {_NUMBER} tokens",
        rf"keep the first {_NUMBER} tokens",
        rf"exceed context limit: {_NUMBER} \+",
        rf"(?:prompt|input|request) (?:contains|has) (?:at least )?{_NUMBER}",
        rf"token count {_NUMBER}",
        rf"requested: {_NUMBER}",
        rf"given: {_NUMBER}",
    )
)


def error_of_response(
    errors: ServerErrors,
    status: int,
    body: object,
    headers: Mapping[str, str],
    *,
    model: str = "",
    context_tokens: int | None = None,
) -> Failure:
    """Classify an error that the server reported in place of an answer.

    Args:
        errors: makes the errors of this server.
        status: the HTTP status; with 200, the one in the body counts.
        body: JSON values, or text.
        headers: of the response.
        model: the name in the request.
        context_tokens: the size of the context, if it is known.
    """
    facts = error_facts(body)
    known = facts.status if status < 300 else status
    failure = _failure(errors, facts, known, headers, model, context_tokens)
    failure.reported = ReportedError(known or 500, _error_object(body))
    return failure


def error_in_stream(
    errors: ServerErrors, body: object, *, model: str = "", context_tokens: int | None = None, started: bool
) -> Failure:
    """Classify an error that came as an event of the stream; ``started``: the answer had already begun."""
    facts = error_facts(body)
    failure = _failure(errors, facts, facts.status, {}, model, context_tokens)
    failure.reported = ReportedError(facts.status or 400, _error_object(body))
    if not started:
        return failure
    stopped = errors.interrupted(Sentence("the server reports a failure"), is_lost=False, detail=failure.detail)
    if failure.kind is ModelError or not failure.is_specific:
        return stopped
    return dataclasses.replace(failure, opening=stopped.opening, retryable=False)


def _failure(
    errors: ServerErrors,
    reported: ErrorFacts,
    status: int | None,
    headers: Mapping[str, str],
    model: str,
    context_tokens: int | None,
) -> Failure:
    kind = kind_of(reported, status)
    detail = _detail(status, kind, reported)
    match kind:
        case ErrorKind.NO_IMAGES | ErrorKind.TOO_MANY_IMAGES:
            failure = _images_refused(errors, kind, reported.words, detail)
        case ErrorKind.TOO_LONG:
            failure = _prompt_refused(errors, reported, context_tokens, detail)
        case ErrorKind.MAX_TOKENS:
            failure = _answer_too_long(errors, detail)
        case ErrorKind.NO_MODEL:
            failure = _unknown_model(errors, model, detail)
        case ErrorKind.OTHER:
            return _other(errors, reported, status, detail)
        case _:
            failure = _refused(errors, kind, headers, detail)
            if kind is ErrorKind.OVERLOADED:
                failure = dataclasses.replace(failure, retryable=status in RETRYABLE_STATUSES)
    return dataclasses.replace(failure, is_specific=True)


def _error_object(body: object) -> Mapping[str, Any]:
    """Return the fields of the error in a body, for programs only."""
    if isinstance(body, list):
        body = body[0] if body else {}
    error = body.get("error") or body if isinstance(body, dict) else body
    return error if isinstance(error, dict) else {"message": str(error)}


def _images_refused(errors: ServerErrors, kind: ErrorKind, words: str, detail: str) -> Failure:
    error: ModelError
    if kind is ErrorKind.NO_IMAGES:
        error = CannotSee(errors.label, detail=detail)
    else:
        most = _MOST_IMAGES.search(words)
        error = TooManyImages(errors.label, int(most[1] or most[2]) if most else None, detail=detail)
    reason, fix = Sentence("it does not support these images"), Sentence("choose another model")
    return errors.cannot_answer(reason, fix, kind=type(error), detail=detail, error=error)


def _prompt_refused(errors: ServerErrors, reported: ErrorFacts, listed: int | None, detail: str) -> Failure:
    prompt_tokens = reported.numbers.get("n_prompt_tokens") or _number(_PROMPT_NUMBERS, reported.words)
    context_tokens = reported.numbers.get("n_ctx") or _number(_CONTEXT_NUMBERS, reported.words) or listed
    return errors.cannot_answer(
        _too_long(prompt_tokens, context_tokens),
        Sentence("start a new chat, or shorten the message"),
        kind=ContextTooLong,
        detail=detail,
        prompt_tokens=prompt_tokens,
        context_tokens=context_tokens,
    )


def _answer_too_long(errors: ServerErrors, detail: str) -> Failure:
    reason = Sentence("the model cannot write as many tokens as Max tokens allows")
    return errors.cannot_answer(reason, Sentence("lower Max tokens"), detail=detail)


def _unknown_model(errors: ServerErrors, model: str, detail: str) -> Failure:
    reason = Sentence("the server at {url} has no model named {name}", url=errors.url, name=repr(model))
    fix = errors.check_model()
    return errors.cannot_answer(reason, fix, detail=detail, unknown_model=True)


def _refused(errors: ServerErrors, kind: ErrorKind, headers: Mapping[str, str], detail: str) -> Failure:
    when = retry_after(headers.get("Retry-After", ""))
    other = Sentence("choose another model")
    if kind is ErrorKind.KEY:
        reason = (
            Sentence("the server at {url} rejects the key", url=errors.url)
            if errors.has_key
            else Sentence("the server at {url} requires a key", url=errors.url)
        )
        return errors.cannot_answer(reason, errors.check(errors.key_setting), detail=detail)
    reason, fix, error = {
        ErrorKind.FILTERED: (
            Sentence("the server's safety filter rejected the question"),
            Sentence("rephrase the question"),
            Blocked,
        ),
        ErrorKind.NO_CREDIT: (
            Sentence("the account at the provider has no credit left, or its billing is not active"),
            Sentence("check the billing of the account, or choose another model"),
            None,
        ),
        ErrorKind.QUOTA: (
            Sentence("the quota of the account at the provider is used up"),
            Sentence("raise the quota, or choose another model"),
            RateLimited,
        ),
        ErrorKind.RATE: (
            Sentence("it receives too many requests"),
            Sentence("try again {when}", when=when),
            RateLimited,
        ),
        ErrorKind.REGION: (Sentence("the provider does not offer it in this server's region"), other, None),
        ErrorKind.PERMISSION: (
            Sentence("the key has no permission to use this model"),
            Sentence("check {setting} and the permissions of its account", setting=errors.key_setting),
            None,
        ),
        ErrorKind.LOADING: (
            Sentence("the model is still being loaded"),
            Sentence("try again in a minute"),
            ModelLoading,
        ),
        ErrorKind.OVERLOADED: (Sentence("the server is overloaded"), Sentence("try again in a minute"), None),
    }[kind]
    kinds = {} if error is None else {"kind": error}
    return errors.cannot_answer(reason, fix, detail=detail, **kinds)


def _other(errors: ServerErrors, reported: ErrorFacts, status: int | None, detail: str) -> Failure:
    if status is None and never_taken(reported):
        status = 400
    if status is None or status >= 500:
        reason = (
            Sentence("the server reports a failure ({status})", status=status)
            if status
            else Sentence("the server reports a failure")
        )
        return errors.cannot_answer(reason, _TRY_AGAIN, detail=detail, retryable=status in RETRYABLE_STATUSES)
    if status == 403:
        return _refused(errors, ErrorKind.KEY, {}, detail)
    if status in {404, 405}:
        return errors.not_compatible(detail)
    if status < 400:
        reason = Sentence("{url} redirects to another address", url=errors.url)
        fix = Sentence("set {setting} to that address", setting=errors.url_setting)
        return errors.cannot_answer(reason, fix, detail=detail)
    return _parameter_refused(errors, reported, status, detail)


def _parameter_refused(errors: ServerErrors, reported: ErrorFacts, status: int, detail: str) -> Failure:
    parameter = _identifier(reported.param)
    reason = (
        Sentence("the server does not accept {parameter}", parameter=parameter)
        if parameter
        else Sentence("the server rejects the request ({status})", status=status)
    )
    fix = Sentence("change the answer settings, or choose another model")
    return errors.cannot_answer(
        reason, fix, detail=detail, refused_parameter=parameter if never_taken(reported) else ""
    )


def _too_long(prompt_tokens: int | None, context_tokens: int | None) -> Sentence:
    if prompt_tokens and context_tokens:
        return Sentence(
            "the conversation has {tokens} tokens, and the model accepts at most {most}",
            tokens=prompt_tokens,
            most=context_tokens,
        )
    if prompt_tokens:
        return Sentence("the conversation has {tokens} tokens, more than the model accepts", tokens=prompt_tokens)
    if context_tokens:
        return Sentence("the conversation has too many tokens: the model accepts at most {most}", most=context_tokens)
    return Sentence("the conversation has more tokens than the model accepts")


def _number(patterns: tuple[re.Pattern[str], ...], words: str) -> int | None:
    """Return the first number that a pattern finds and that can be a number of tokens."""
    for pattern in patterns:
        if match := pattern.search(words):
            number = int(match[1].replace(",", "") or 0)
            if number > 0:
                return number
    return None


def _detail(status: int | None, kind: ErrorKind, reported: ErrorFacts) -> str:
    named = {name: _identifier(reported.named.get(name)) for name in ("type", "param", "code")}
    facts = [f"status={status}" if status else "", f"kind={kind.name.lower()}" if kind is not ErrorKind.OTHER else ""]
    return " ".join(filter(None, [*facts, *(f"{name}={value}" for name, value in named.items() if value)]))


def _identifier(value: object) -> str:
    return str(value) if isinstance(value, (str, int)) and _IDENTIFIER.fullmatch(str(value)) else ""


_TRY_AGAIN: Final = Sentence("try again; if that does not help, check the server's log")
