"""A profile as the page sends it, checked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chatapp.domain.conversation import GenerationParameters, Persona, Profile
from chatapp.domain.errors import InvalidParameters
from chatapp.domain.sentences import Sentence
from chatapp.http.api.requests import not_understood
from chatapp.models.prompt import clean_text
from chatapp.store.firestore.documents import is_id

if TYPE_CHECKING:
    from collections.abc import Mapping

MOST_PERSONAS = 40  # each may be 20,000 characters long, and all are kept, and sent to the page, together
LONGEST_NAME = 80  # characters
LONGEST_INSTRUCTIONS = GenerationParameters.LONGEST_SYSTEM_PROMPT
MOST_REVISIONS = 2**53  # what JavaScript can count


def asked_profile(asked: Mapping[str, Any]) -> Profile:
    """Return the profile that was sent.

    Raises:
        InvalidMessage: it is none.
        InvalidParameters: a value is out of its range.
    """
    match asked:
        case {"personas": list(personas), "answerWithOther": bool(other), "revision": int(revision)}:
            pass
        case _:
            raise not_understood()
    if not 0 < revision < MOST_REVISIONS or isinstance(revision, bool):
        raise not_understood()
    if len(personas) > MOST_PERSONAS:
        raise InvalidParameters(Sentence("There can be {most} personas at most. Delete one first.", most=MOST_PERSONAS))
    kept = tuple(map(_persona, personas))
    if len({persona.id for persona in kept}) < len(kept):
        raise not_understood()
    parameters = _parameters(asked.get("parameters"))
    return Profile(personas=kept, parameters=parameters, answer_with_other=other, revision=revision)


def _persona(asked: object) -> Persona:
    match asked:
        case {"id": str(id_), "name": str(name), "instructions": str(instructions)} if is_id(id_):
            pass
        case _:
            raise not_understood()
    name = " ".join(clean_text(name).split())
    if not name:
        raise InvalidParameters(Sentence("A persona needs a name."))
    if len(name) > LONGEST_NAME:
        raise InvalidParameters(Sentence("A persona's name can have {most} characters at most.", most=LONGEST_NAME))
    if len(instructions) > LONGEST_INSTRUCTIONS:
        raise InvalidParameters(
            Sentence("A persona's instructions can have {most} characters at most.", most=LONGEST_INSTRUCTIONS)
        )
    return Persona(id=id_, name=name, instructions=clean_text(instructions))


def _parameters(asked: object) -> GenerationParameters | None:
    if asked is None:
        return None
    match asked:
        case {"temperature": temperature, "top_p": top_p, "max_tokens": max_tokens}:
            return GenerationParameters(temperature=temperature, top_p=top_p, max_tokens=max_tokens)
    raise not_understood()
