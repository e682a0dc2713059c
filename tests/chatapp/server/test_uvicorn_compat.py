"""The private parts of uvicorn and h11 that `chatapp.server.uvicorn_compat` uses still exist.

If a test fails after an upgrade: read the docstring of that module, compare the new version, then adapt both.
"""

import inspect

import h11
import pytest
import uvicorn
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle
from uvicorn.server import ServerState

from chatapp.server.uvicorn_compat import Server


async def app(scope, receive, send):
    pass


@pytest.fixture
async def protocol():
    return H11Protocol(Config(app, ws="none", lifespan="off"), ServerState(), {})


async def test_the_protocol_has_the_attributes(protocol):
    names = [
        "app",
        "conn",
        "connections",
        "cycle",
        "flow",
        "loop",
        "timeout_keep_alive",
        "timeout_keep_alive_task",
        "transport",
    ]
    assert [name for name in names if not hasattr(protocol, name)] == []
    assert isinstance(protocol.connections, set)
    assert isinstance(protocol.conn, h11.Connection)
    assert protocol.conn.trailing_data == (b"", False)
    assert (protocol.conn.their_state, protocol.conn.our_state) == (h11.IDLE, h11.IDLE)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("connection_made", ["self", "transport"]),
        ("connection_lost", ["self", "exc"]),
        ("data_received", ["self", "data"]),
        ("on_response_complete", ["self"]),
        ("pause_writing", ["self"]),
        ("resume_writing", ["self"]),
        ("timeout_keep_alive_handler", ["self"]),
        ("_unset_keepalive_if_required", ["self"]),
        ("_should_upgrade", ["self"]),
    ],
)
def test_the_protocol_has_the_methods(name, parameters):
    assert list(inspect.signature(getattr(H11Protocol, name)).parameters) == parameters


def test_a_request_in_progress_has_the_attributes():
    source = inspect.getsource(RequestResponseCycle.__init__)
    assert [
        name for name in ("disconnected", "message_event", "response_complete") if f"self.{name}" not in source
    ] == []


def test_uvicorn_has_no_timeout_for_requests_of_its_own():
    # If it has one now, BoundedProtocol may go: https://github.com/encode/uvicorn/issues/157
    names = {name for name in inspect.signature(Config).parameters if name.startswith("timeout")}
    assert names == {"timeout_keep_alive", "timeout_notify", "timeout_graceful_shutdown", "timeout_worker_healthcheck"}


@pytest.mark.parametrize("name", ["startup", "shutdown", "capture_signals", "handle_exit"])
def test_the_server_has_the_methods(name):
    assert list(inspect.signature(getattr(Server, name)).parameters) == list(
        inspect.signature(getattr(uvicorn.Server, name)).parameters
    )


def test_the_server_calls_the_methods():
    source = inspect.getsource(uvicorn.Server)
    for call in (
        "with self.capture_signals()",
        "await self.startup(",
        "await self.shutdown(",
        "force_exit",
        "should_exit",
    ):
        assert call in source, call
