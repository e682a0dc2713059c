"""What an OpenAI-compatible server says is wrong, told to a person.

Servers agree on HTTP statuses and on little else: the type of an error, its parameter and its shape differ between
vLLM, llama.cpp and Ollama, and between their versions. So the status decides, and the body only refines.

What a server says in words is never passed on: validation errors quote the request, which holds the conversation.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from chatapp.domain.errors import CannotSee, ContextTooLong, ModelError, ModelLoading, RateLimited, TooManyImages
from chatapp.domain.sentences import Sentence
from chatapp.models.times import retry_after

if TYPE_CHECKING:
    from collections.abc import Mapping

    from chatapp.models.openai.errors import Problems, ServerProblem

RETRYABLE_STATUSES = frozenset({502, 503, 504})  # a proxy found nobody behind it: no token was generated

_CONTEXT_KEYS = {"n_ctx", "n_prompt_tokens"}  # llama.cpp
# vLLM: input_tokens when the prompt is too long; max_tokens when it fills the context to the last token ("max_tokens
# must be at least 1, got 0", though 8 were asked for: seen with 0.32). The adapter never asks for less than 1 token.
_CONTEXT_PARAMETERS = {"input_tokens", "max_tokens"}
_CONTEXT_WORDS = re.compile(r"context (length|size|window)|maximum context", re.IGNORECASE)  # LM Studio, older vLLM
# llama.cpp, vLLM, Ollama, and what others say alike.
_BLIND = re.compile(
    r"image input is not supported|not a multimodal model|missing data required for image"
    r"|does not support (image|vision)|at most 0 image",
    re.IGNORECASE,
)
_TOO_MANY_IMAGES = re.compile(r"at most (\d+) image", re.IGNORECASE)  # vLLM
_NEVER_TAKEN = ("unsupported_parameter", "unsupported_value")  # OpenAI, of its models that think
_IDENTIFIER = re.compile(r"[\w.\- ]{1,64}", re.ASCII)


def refused(
    problems: Problems,
    status: int,
    error: Mapping[str, Any],
    headers: Mapping[str, str],
    *,
    model: str = "",
    context_tokens: int | None = None,
    streaming: bool = False,
) -> ServerProblem:
    """Classify an error that the server reported.

    Args:
        problems: makes the sentences of this server.
        status: the HTTP status, or the code of an error inside a stream.
        error: the error object; empty when there was none that can be read.
        headers: of the response.
        model: the name that was asked for.
        context_tokens: the context's size, as far as it is known.
        streaming: the answer had begun.
    """
    words = str(error.get("message", ""))
    detail = _detail(status, error)
    problem = (
        _images_refused(problems, words, detail)
        or _prompt_refused(problems, status, error, words, context_tokens, detail)
        or _not_now(problems, status, words, headers, detail)
    )
    if problem:
        return problem
    if streaming:
        return problems.broken_off(Sentence("the server reports a failure"), detail=detail)
    if status >= 500:
        reason = Sentence("the server reports a failure ({status})", status=status)
        fix = Sentence("try again; if that does not help, check the server's log")
        return problems.cannot_answer(reason, fix, detail=detail, retryable=status in RETRYABLE_STATUSES)
    return _request_refused(problems, status, error, words, model, detail)


def _images_refused(problems: Problems, words: str, detail: str) -> ServerProblem | None:
    too_many = _TOO_MANY_IMAGES.search(words)
    error: ModelError
    if _BLIND.search(words):
        error = CannotSee(problems.label, detail=detail)
    elif too_many:
        error = TooManyImages(problems.label, int(too_many[1]), detail=detail)
    else:
        return None
    reason, fix = Sentence("it does not support these images"), Sentence("choose another model")
    return problems.cannot_answer(reason, fix, kind=type(error), detail=detail, error=error)


def _prompt_refused(
    problems: Problems, status: int, error: Mapping[str, Any], words: str, context_tokens: int | None, detail: str
) -> ServerProblem | None:
    if status not in {400, 413, 422} or error.get("code") in _NEVER_TAKEN or not _is_context_error(error, words):
        return None
    return _context_too_long(problems, error, context_tokens, detail)


def _not_now(
    problems: Problems, status: int, words: str, headers: Mapping[str, str], detail: str
) -> ServerProblem | None:
    if status == 429:
        fix = Sentence("try again {when}", when=retry_after(headers.get("Retry-After", "")))
        return problems.cannot_answer(Sentence("it receives too many requests"), fix, kind=RateLimited, detail=detail)
    if status == 503 and "loading" in words.lower():
        reason = Sentence("the model is still being loaded")
        return problems.cannot_answer(reason, Sentence("try again in a minute"), kind=ModelLoading, detail=detail)
    return None


def _request_refused(
    problems: Problems, status: int, error: Mapping[str, Any], words: str, model: str, detail: str
) -> ServerProblem:
    if status in {401, 403}:
        reason = (
            Sentence("the server at {url} rejects the key", url=problems.url)
            if problems.has_key
            else Sentence("the server at {url} requires a key", url=problems.url)
        )
        return problems.cannot_answer(reason, problems.check(problems.key_setting), detail=detail)
    if status == 404 and (error.get("param") == "model" or "model" in words.lower()):
        reason = Sentence("the server at {url} has no model named {name}", url=problems.url, name=repr(model))
        fix = Sentence(
            "check {setting}; empty means the first model that the server lists", setting=problems.model_setting
        )
        return problems.cannot_answer(reason, fix, detail=detail, unknown_model=True)
    if status in {404, 405}:
        return problems.not_compatible(detail)
    if 300 <= status < 400:
        reason = Sentence("{url} redirects to another address", url=problems.url)
        fix = Sentence("set {setting} to that address", setting=problems.url_setting)
        return problems.cannot_answer(reason, fix, detail=detail)
    return _parameter_refused(problems, status, error, detail)


def _parameter_refused(problems: Problems, status: int, error: Mapping[str, Any], detail: str) -> ServerProblem:
    parameter = _identifier(error.get("param")).removeprefix("body.")  # vLLM names a malformed one like this
    reason = (
        Sentence("the server does not accept {parameter}", parameter=parameter)
        if parameter
        else Sentence("the server rejects the request ({status})", status=status)
    )
    never = error.get("code") in _NEVER_TAKEN
    fix = Sentence("change the answer settings, or choose another model")
    return problems.cannot_answer(reason, fix, detail=detail, refused_parameter=parameter if never else "")


def _context_too_long(problems: Problems, error: Mapping[str, Any], known: int | None, detail: str) -> ServerProblem:
    prompt_tokens, context_tokens = _whole(error.get("n_prompt_tokens")), _whole(error.get("n_ctx")) or known
    return problems.cannot_answer(
        _too_long(prompt_tokens, context_tokens),
        Sentence("start a new chat, or shorten the message"),
        kind=ContextTooLong,
        detail=detail,
        prompt_tokens=prompt_tokens,
        context_tokens=context_tokens,
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
