"""Every route of the API is described, and its responses are as described."""

import pytest
from fastapi.routing import APIRoute, iter_route_contexts
from jsonschema import ValidationError

from chatapp.http.api.schemas.events import TextDelta
from tests.api_schema import check_error, check_event, check_response, operations
from tests.security.authorization_matrix import API_ROUTES

# Responses that are files or pages, and the health check.
NOT_DESCRIBED = ("/healthz", "/robots.txt", "/page/", "/sign-in", "/shared/")
CHANGES = {"POST", "PUT", "PATCH"}
# Requests without a body: the origin of the request is what protects them.
WITHOUT_BODY = {"/sign-out-elsewhere", "/sign-out", "/sign-out-everywhere"}


def test_every_route_of_the_api_is_in_the_schema():
    assert operations().keys() == API_ROUTES.keys()


@pytest.mark.parametrize(("method", "path"), API_ROUTES, ids=str)
def test_route_has_schemas_of_request_response_and_errors(method, path):
    operation = operations()[method, path]
    assert operation["responses"]["200"]["content"]
    for status in ("4XX", "5XX"):
        (schema,) = [content["schema"] for content in operation["responses"][status]["content"].values()]
        assert schema == {"$ref": "#/components/schemas/ErrorBody"}
    assert ("requestBody" in operation) == (method in CHANGES and path not in WITHOUT_BODY)


def test_the_description_is_not_served(shared_app):
    paths = {context.path for context in iter_route_contexts(shared_app.routes)}
    assert not paths & {"/openapi.json", "/docs", "/redoc"}


async def test_an_app_describes_what_it_serves(shared_app):
    described = set(shared_app.openapi()["paths"])
    served = {
        context.path
        for context in iter_route_contexts(shared_app.routes)
        if isinstance(context.original_route, APIRoute)
    }
    assert described == {path for path in served if not (path + "/").startswith(NOT_DESCRIBED)}


@pytest.fixture
async def shared_app(tmp_path):
    from chatapp.app import create_app
    from chatapp.config.settings import Settings

    settings = Settings(_env_file=None, data_dir=tmp_path, identity="local", embedded_model=False)
    app = await create_app(settings, with_page=False)
    async with app.router.lifespan_context(app):
        yield app


@pytest.mark.parametrize(
    "check",
    [
        lambda: check_response("GET", "models", {"models": []}),
        lambda: check_response("GET", "models", {"models": [], "notices": [], "secret": 1}),
        lambda: check_response("POST", "conversations/x/stop", {"ok": True}),
        lambda: check_error({"error": "plain"}),
        lambda: check_event({"id": "x"}),
        lambda: check_event({"id": "x", "text": "y", "more": 1}),
        lambda: check_event({"message": {"id": "x"}}),
    ],
)
def test_a_response_that_is_not_as_described_is_found(check):
    with pytest.raises(ValidationError):
        check()


def test_a_text_delta_is_two_strings():
    assert TextDelta(id="a", text="שלום").model_dump_json() == '{"id":"a","text":"שלום"}'
