"""Checks what the chat says over HTTP against its own OpenAPI description."""

import functools
import re

from fastapi import FastAPI
from jsonschema import Draft202012Validator
from pydantic import TypeAdapter

from chatapp.http import api
from chatapp.http.api.account import Account, SignOut
from chatapp.http.api.schemas.events import Event


@functools.cache
def openapi():
    """Return the description of all routes that any chat may have."""
    app = FastAPI()
    for router in (api.router, Account(None, None, None).router(), SignOut(None, None).router()):
        app.include_router(router)
    return app.openapi()


def operation(method, path):
    """Return the operation at a path; of two that fit, the one without parameters."""
    for template, operations in sorted(openapi()["paths"].items(), key=lambda item: "{" in item[0]):
        pattern = re.sub(r"\\{\w+\\}", "[^/]*", re.escape(template))
        if method.lower() in operations and re.fullmatch(pattern, path):
            return operations[method.lower()]
    raise AssertionError(f"{method} {path} is in no description")


def check_response(method, path, body):
    """Raise if a response to a request that was granted is not as it is described."""
    description = operation(method, f"/{path.partition('?')[0]}")["responses"]["200"]
    _check(description["content"]["application/json"]["schema"]["$ref"], body)


def check_error(body):
    """Raise if the body of an error is not as it is described."""
    _check("#/components/schemas/ErrorBody", body)


def check_event(event):
    """Raise if an event of a stream is not as it is described."""
    _events().validate(event)


def _check(reference, body):
    _validator(reference).validate(body)


@functools.cache
def _validator(reference):
    return Draft202012Validator({"$ref": reference, "components": openapi()["components"]})


@functools.cache
def _events():
    return Draft202012Validator(TypeAdapter(Event).json_schema(mode="serialization"))
