"""What the schemas share: the base of responses, sentences, and text from untrusted requests.

Fields of responses have the names of the attributes that they are read from, except where they say so. Requests are
untrusted input, of which the schemas validate what the domain does not: values that the domain checks itself, with a
sentence of its own for each (`GenerationParameters`, the length of a text), pass unchecked. Unknown keys of requests
are refused.
"""

from typing import Annotated, Any

from pydantic import (
    AliasGenerator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    SkipValidation,
    WithJsonSchema,
)
from pydantic.alias_generators import to_camel

from chatapp.domain.sentences import as_json
from chatapp.models.prompt import clean_text

# A sentence with what its translation is made from. Validation would make a plain text of a `Sentence`: it is skipped.
Translatable = Annotated[
    SkipValidation[str],
    PlainSerializer(as_json, return_type=dict[str, Any], when_used="unless-none"),
    WithJsonSchema(
        {
            "type": "object",
            "properties": {
                "text": {"type": "string", "description": "in English"},
                "template": {"type": "string"},
                "values": {"type": "object"},
                "seconds": {"type": "integer", "description": "of a time to wait"},
                "duration": {"type": "number", "description": "seconds"},
                "names": {"type": "array", "items": {"type": "string"}},
            },
            "required": ["text"],
            "additionalProperties": False,
        },
        mode="serialization",
    ),
]


class ResponseBody(BaseModel):
    """Base of all bodies of responses."""

    model_config = ConfigDict(
        alias_generator=AliasGenerator(serialization_alias=lambda name: to_camel(name.removesuffix("_ms"))),
        serialize_by_alias=True,
        from_attributes=True,
        extra="forbid",
    )


class ErrorBody(ResponseBody):
    """Why a request was refused."""

    model_config = ConfigDict(extra="allow")  # such as ``signIn``, where to sign in, and ``deleted``, how many

    error: Translatable


class Done(ResponseBody):
    """An empty object: success."""


class RequestBody(BaseModel):
    """Base of all bodies of requests: a key that no field has is refused."""

    model_config = ConfigDict(extra="forbid")


class Empty(RequestBody):
    """An empty object: that it is JSON shows that it is not a form of another site."""


def _clean(value: object) -> object:
    return clean_text(value) if isinstance(value, str) else value


# JSON can hold NUL and half a surrogate pair, which stores cannot.
Text = Annotated[str, BeforeValidator(_clean)]
EntryId = Annotated[Text, Field(max_length=200)]  # of a collection or a folder
