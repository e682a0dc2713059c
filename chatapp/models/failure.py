"""Why a model did not answer: the failure that the adapters of all servers share."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field
from typing import TYPE_CHECKING, Any

from chatapp.domain.errors import ContextTooLong, ModelError, ModelLoading, ModelUnavailable
from chatapp.domain.sentences import Sentence
from chatapp.models import ModelState, ModelStatus

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class ReportedError:
    """An error as a server reported it: for programs only. Its words may quote the conversation.

    Attributes:
        status: the HTTP status.
        body: the error object; empty if there was none.
    """

    status: int
    body: Mapping[str, Any] = field(repr=False)


def raise_max_tokens(now: int, most: int) -> Sentence:
    """Return the advice where an answer without text used up its tokens: one that the person can follow."""
    if now < most:
        return Sentence("Raise Max tokens, up to {most}, and send again.", most=most)
    return Sentence(
        "Max tokens cannot be raised further for this model. Ask for less at once, or choose another model."
    )


@dataclass(eq=False)
class Failure(Exception):
    """Why a model did not answer; converts to a `ModelError` for a turn and to a `ModelStatus`.

    Attributes:
        reason: a phrase in lower case without a full stop, such as "the API key has expired".
        fix: what would help, in the same form.
        kind: the class of the error.
        opening: begins the message of a turn, before the reason; None for none.
        error: raised by a turn in place of the error that is made from the other attributes.
        detail: for the log.
        retryable: a retry is safe and may help.
        away: the server is unreachable, or may be down.
        is_lost: the connection was lost in the middle of an answer, or the server gave it up.
        unknown_model: the server has no model of this name.
        refused_parameter: one that the model never accepts, or not with this value; "" for none.
        is_specific: the server said more than that it failed.
        prompt_tokens, context_tokens: as the server counted, where it says so.
        wrong_address: nothing at the address answers like the API.
        reported: what the server reported; None where there was no answer, or one that is no error.
    """

    reason: Sentence
    fix: Sentence
    kind: type[ModelError] = ModelUnavailable
    _: KW_ONLY
    opening: Sentence | None = None
    error: ModelError | None = None
    detail: str = ""
    retryable: bool = False
    away: bool = False
    is_lost: bool = False
    unknown_model: bool = False
    refused_parameter: str = ""
    is_specific: bool = False
    prompt_tokens: int | None = None
    context_tokens: int | None = None
    wrong_address: bool = False
    reported: ReportedError | None = None

    def as_model_error(self) -> ModelError:
        """Return the error that a turn raises."""
        if self.error is not None:
            return self.error
        fix = self.fix.begun()
        sentence = (
            Sentence("{opening}: {reason}. {fix}.", opening=self.opening, reason=self.reason, fix=fix)
            if self.opening
            else Sentence("{reason}. {fix}.", reason=self.reason.begun(), fix=fix)
        )
        if self.kind is ContextTooLong:
            return ContextTooLong(
                sentence, prompt_tokens=self.prompt_tokens, context_tokens=self.context_tokens, detail=self.detail
            )
        return self.kind(sentence, detail=self.detail)

    def as_status(self) -> ModelStatus:
        """Return the status of the model."""
        state = ModelState.LOADING if self.kind is ModelLoading else ModelState.UNAVAILABLE
        return ModelStatus(state, self.reason, self.fix)
