"""Errors become responses: a status and a sentence, as JSON or as a page."""

import pytest
from fastapi import APIRouter, FastAPI, HTTPException
from fastapi.testclient import TestClient

from chatapp.domain.errors import ChatError, LimitReached, StoreUnavailable, TooLong
from chatapp.http.api.routing import ApiRoute
from chatapp.http.errors import add_exception_handlers
from chatapp.http.middleware.security_headers import SecurityHeadersMiddleware

NAVIGATION = {"sec-fetch-mode": "navigate", "accept-language": "ar"}


def client_of(error):
    """Return a client of an app with one route, which raises this."""
    router = APIRouter(route_class=ApiRoute)

    @router.get("/")
    async def fail(number: int = 0):
        raise error

    app = FastAPI()
    add_exception_handlers(app, root_url="https://example.org/chat")
    app.include_router(router)
    app.add_middleware(SecurityHeadersMiddleware)
    return TestClient(app)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (StoreUnavailable("The history is away."), 503),
        (TooLong(), 413),
        (HTTPException(413), 413),
        (HTTPException(405), 405),
        (ChatError("Anything else."), 500),
    ],
)
def test_an_error_of_a_route_is_a_status_and_a_sentence(error, status):
    response = client_of(error).get("/")
    assert response.status_code == status
    assert response.json()["error"]["text"] == getattr(error, "sentence", response.json()["error"]["text"])


def test_a_limit_says_when_to_try_again():
    assert client_of(LimitReached("Too much.", retry_after=7)).get("/").headers["retry-after"] == "7"


def test_a_person_who_opened_an_address_gets_a_page_in_their_language():
    response = client_of(StoreUnavailable("<b>away</b>")).get("/", headers=NAVIGATION)
    assert response.status_code == 503
    assert '<html lang="ar" dir="rtl">' in response.text
    assert 'href="/chat/"' in response.text
    assert "الدردشة الهجينة</title>" in response.text
    assert "&lt;b&gt;away&lt;/b&gt;" in response.text


@pytest.mark.slow
def test_an_unexpected_error_is_logged_under_a_number_and_shows_nothing_of_itself(capsys):
    response = client_of(ValueError("password: hunter2")).get("/")
    assert response.status_code == 500
    assert response.headers["x-content-type-options"] == "nosniff"
    assert "hunter2" not in response.text
    assert response.json()["error"]["values"]["number"]["text"] in capsys.readouterr().out


def test_input_that_is_not_valid_is_not_echoed():
    response = client_of(ValueError()).get("/?number=<b>seven</b>")
    assert (response.status_code, "seven" in response.text) == (422, False)
    assert "invalid request" in response.json()["error"]["text"]
