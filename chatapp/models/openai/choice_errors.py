"""Errors about which model of a server answers, in words for a person."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from chatapp.domain.sentences import Sentence

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chatapp.models.failure import Failure
    from chatapp.models.openai.errors import ServerErrors

_MOST_NAMES: Final = 8


def no_such_model(errors: ServerErrors, name: str) -> Failure:
    """Return the error of a name that the server does not list, though it lists all that it accepts."""
    reason = Sentence("the server at {url} has no model named {name}", url=errors.url, name=repr(name))
    fix = errors.check_model()
    return errors.cannot_answer(reason, fix, unknown_model=True)


def no_chat_model(errors: ServerErrors, models: Sequence[str]) -> Failure:
    """Return the error of a list of models for embeddings, speech and the like."""
    reason = Sentence(
        "the server at {url} lists no model that can chat, only {models}", url=errors.url, models=_names(models)
    )
    fix = Sentence("load one that can chat, or set {setting} to its name", setting=errors.model_setting)
    return errors.cannot_answer(reason, fix)


def not_for_chat(errors: ServerErrors, name: str, models: Sequence[str]) -> Failure:
    """Return the error of a model, chosen in the settings, that is for something else than chat."""
    reason = Sentence("{name} cannot chat", name=repr(name))
    others = [model for model in models if model != name]
    if not errors.model_setting:
        fix = errors.check_model()
    elif others:
        fix = Sentence("set {setting} to another model: {models}", setting=errors.model_setting, models=_names(others))
    else:
        fix = Sentence("set {setting} to another model", setting=errors.model_setting)
    return errors.cannot_answer(reason, fix)


def _names(models: Sequence[str]) -> str:
    return ", ".join(models[:_MOST_NAMES]) + (" …" if len(models) > _MOST_NAMES else "")
