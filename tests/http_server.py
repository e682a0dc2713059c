"""A server of the standard library for tests that need nothing of the chat."""

import contextlib
import http.server
import threading


@contextlib.contextmanager
def serving_in_a_thread(handler):
    """Serve a handler of ``http.server`` on a free loopback port and yield "HOST:PORT"."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
