"""The OpenAPI schema of the chat: its routes and their fields, and the validation of responses against it."""

import functools
import re

from fastapi import FastAPI
from jsonschema import Draft202012Validator
from pydantic import TypeAdapter

from chatapp.http import api
from chatapp.http.api.account import Account, SignOut
from chatapp.http.api.schemas.events import Event
from chatapp.http.routes import add_routes


@functools.cache
def openapi():
    """Return the schema of all routes of the API, whatever the settings of a chat."""
    app = FastAPI()
    add_routes(
        app,
        api.router,
        api.local_models,
        api.shares,
        Account(None, None, None, None).router(),
        SignOut(None, None, None).router(),
    )
    return app.openapi()


@functools.cache
def operations():
    """Return the operations of the schema by method and path."""
    paths = openapi()["paths"].items()
    return {(method.upper(), path): operation for path, methods in paths for method, operation in methods.items()}


def query_parameters(method, path):
    """Return the names of the query parameters of a route."""
    parameters = operations().get((method, path), {}).get("parameters", ())
    return [parameter["name"] for parameter in parameters if parameter["in"] == "query"]


def request_fields():
    """Return the names of all query parameters, and of all fields of JSON bodies, nested ones too."""
    bodies = [operation.get("requestBody") for operation in operations().values()]
    return {name for route in operations() for name in query_parameters(*route)} | set(_properties(bodies))


def _properties(schema):
    if isinstance(schema, dict):
        yield from schema.get("properties", ())
        if reference := schema.get("$ref"):
            yield from _properties(openapi()["components"]["schemas"][reference.rpartition("/")[2]])
        schema = list(schema.values())
    if isinstance(schema, list):
        for part in schema:
            yield from _properties(part)


def check_response(method, path, body):
    """Raise ValidationError if the body of a response with status 200 is not valid."""
    response = _operation(method, f"/{path.partition('?')[0]}")["responses"]["200"]
    _check(response["content"]["application/json"]["schema"]["$ref"], body)


def check_error(body):
    """Raise ValidationError if the body of an error is not valid."""
    _check("#/components/schemas/ErrorBody", body)


def check_event(event):
    """Raise ValidationError if an event of a stream is not valid."""
    _events().validate(event)


def _operation(method, path):
    """Return the operation of a path; of two that match, the one without parameters."""
    for (operation_method, template), operation in sorted(operations().items(), key=lambda item: "{" in item[0][1]):
        pattern = re.sub(r"\\{\w+\\}", "[^/]*", re.escape(template))
        if method == operation_method and re.fullmatch(pattern, path):
            return operation
    raise AssertionError(f"{method} {path} is not in the schema")


def _check(reference, body):
    _validator(reference).validate(body)


@functools.cache
def _validator(reference):
    return Draft202012Validator({"$ref": reference, "components": openapi()["components"]})


@functools.cache
def _events():
    return Draft202012Validator(TypeAdapter(Event).json_schema(mode="serialization"))
