"""Errors that an OpenAI-compatible server reports, in words for a person.

Servers agree on HTTP statuses and on little else: the type of an error, its parameter and its format differ between
vLLM, llama.cpp and Ollama, and between their versions. So the status decides, and the body only refines it.

A server's own message is never shown or logged: validation errors quote the request, which holds the conversation.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from chatapp.domain.errors import CannotSee, ContextTooLong, ModelError, ModelLoading, RateLimited, TooManyImages
from chatapp.domain.sentences import Sentence
from chatapp.models.durations import retry_after

if TYPE_CHECKING:
    from collections.abc import Mapping

    from chatapp.models.failure import Failure
    from chatapp.models.openai.errors import ServerErrors

RETRYABLE_STATUSES = frozenset({502, 503, 504})  # of a proxy whose server is down: no token was generated

_CONTEXT_KEYS = {"n_ctx", "n_prompt_tokens"}  # llama.cpp
# vLLM: input_tokens when the prompt is too long; max_tokens when it fills the context to the last token ("max_tokens
# must be at least 1, got 0", though 8 were requested: seen with 0.32). The adapter never requests less than 1 token.
_CONTEXT_PARAMETERS = {"input_tokens", "max_tokens"}
_CONTEXT_WORDS = re.compile(r"context (length|size|window)|maximum context", re.IGNORECASE)  # LM Studio, older vLLM
# llama.cpp, vLLM, Ollama, and the usual words of others.
_NO_IMAGES = re.compile(
    r"image input is not supported|not a multimodal model|missing data required for image"
    r"|does not support (image|vision)|at most 0 image",
    re.IGNORECASE,
)
_TOO_MANY_IMAGES = re.compile(r"at most (\d+) image", re.IGNORECASE)  # vLLM
_NEVER_TAKEN = ("unsupported_parameter", "unsupported_value")  # OpenAI, of its reasoning models
_IDENTIFIER = re.compile(r"[\w.\- ]{1,64}", re.ASCII)


def error_of_response(
    errors: ServerErrors,
    status: int,
    error: Mapping[str, Any],
    headers: Mapping[str, str],
    *,
    model: str = "",
    context_tokens: int | None = None,
    streaming: bool = False,
) -> Failure:
    """Classify an error that the server reported.

    Args:
        errors: makes the errors of this server.
        status: the HTTP status, or the code of an error inside a stream.
        error: the error object; empty if there was none.
        headers: of the response.
        model: the name in the request.
        context_tokens: the size of the context, if it is known.
        streaming: the answer had already begun.
    """
    words = str(error.get("message", ""))
    detail = _detail(status, error)
    failure = (
        _images_refused(errors, words, detail)
        or _prompt_refused(errors, status, error, words, context_tokens, detail)
        or _not_now(errors, status, words, headers, detail)
    )
    if failure:
        return failure
    if streaming:
        return errors.interrupted(Sentence("the server reports a failure"), detail=detail)
    if status >= 500:
        reason = Sentence("the server reports a failure ({status})", status=status)
        fix = Sentence("try again; if that does not help, check the server's log")
        return errors.cannot_answer(reason, fix, detail=detail, retryable=status in RETRYABLE_STATUSES)
    return _request_refused(errors, status, error, words, model, detail)


def status_of(error: Mapping[str, Any]) -> int:
    """Return the HTTP status of an error that came with status 200, or inside a stream."""
    code = error.get("code")
    return code if isinstance(code, int) and 400 <= code < 600 else 500


def _images_refused(errors: ServerErrors, words: str, detail: str) -> Failure | None:
    too_many = _TOO_MANY_IMAGES.search(words)
    error: ModelError
    if _NO_IMAGES.search(words):
        error = CannotSee(errors.label, detail=detail)
    elif too_many:
        error = TooManyImages(errors.label, int(too_many[1]), detail=detail)
    else:
        return None
    reason, fix = Sentence("it does not support these images"), Sentence("choose another model")
    return errors.cannot_answer(reason, fix, kind=type(error), detail=detail, error=error)


def _prompt_refused(
    errors: ServerErrors, status: int, error: Mapping[str, Any], words: str, listed: int | None, detail: str
) -> Failure | None:
    if status not in {400, 413, 422} or error.get("code") in _NEVER_TAKEN or not _is_context_error(error, words):
        return None
    prompt_tokens, context_tokens = _whole(error.get("n_prompt_tokens")), _whole(error.get("n_ctx")) or listed
    return errors.cannot_answer(
        _too_long(prompt_tokens, context_tokens),
        Sentence("start a new chat, or shorten the message"),
        kind=ContextTooLong,
        detail=detail,
        prompt_tokens=prompt_tokens,
        context_tokens=context_tokens,
    )


def _not_now(errors: ServerErrors, status: int, words: str, headers: Mapping[str, str], detail: str) -> Failure | None:
    if status == 429:
        fix = Sentence("try again {when}", when=retry_after(headers.get("Retry-After", "")))
        return errors.cannot_answer(Sentence("it receives too many requests"), fix, kind=RateLimited, detail=detail)
    if status == 503 and "loading" in words.lower():
        reason = Sentence("the model is still being loaded")
        return errors.cannot_answer(reason, Sentence("try again in a minute"), kind=ModelLoading, detail=detail)
    return None


def _request_refused(
    errors: ServerErrors, status: int, error: Mapping[str, Any], words: str, model: str, detail: str
) -> Failure:
    if status in {401, 403}:
        reason = (
            Sentence("the server at {url} rejects the key", url=errors.url)
            if errors.has_key
            else Sentence("the server at {url} requires a key", url=errors.url)
        )
        return errors.cannot_answer(reason, errors.check(errors.key_setting), detail=detail)
    if status == 404 and (error.get("param") == "model" or "model" in words.lower()):
        reason = Sentence("the server at {url} has no model named {name}", url=errors.url, name=repr(model))
        fix = Sentence(
            "check {setting}; empty means the first model that the server lists", setting=errors.model_setting
        )
        return errors.cannot_answer(reason, fix, detail=detail, unknown_model=True)
    if status in {404, 405}:
        return errors.not_compatible(detail)
    if 300 <= status < 400:
        reason = Sentence("{url} redirects to another address", url=errors.url)
        fix = Sentence("set {setting} to that address", setting=errors.url_setting)
        return errors.cannot_answer(reason, fix, detail=detail)
    return _parameter_refused(errors, status, error, detail)


def _parameter_refused(errors: ServerErrors, status: int, error: Mapping[str, Any], detail: str) -> Failure:
    parameter = _identifier(error.get("param")).removeprefix("body.")  # vLLM names a malformed one like this
    reason = (
        Sentence("the server does not accept {parameter}", parameter=parameter)
        if parameter
        else Sentence("the server rejects the request ({status})", status=status)
    )
    never = error.get("code") in _NEVER_TAKEN
    fix = Sentence("change the answer settings, or choose another model")
    return errors.cannot_answer(reason, fix, detail=detail, refused_parameter=parameter if never else "")


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


def _is_context_error(error: Mapping[str, Any], words: str) -> bool:
    parameter = _identifier(error.get("param"))
    return bool(_CONTEXT_KEYS & error.keys() or parameter in _CONTEXT_PARAMETERS or _CONTEXT_WORDS.search(words))


def _detail(status: int, error: Mapping[str, Any]) -> str:
    named = {name: _identifier(error.get(name)) for name in ("type", "param", "code")}
    return " ".join([f"status={status}", *(f"{name}={value}" for name, value in named.items() if value)])


def _identifier(value: object) -> str:
    return str(value) if isinstance(value, (str, int)) and _IDENTIFIER.fullmatch(str(value)) else ""


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and value > 0 else None
