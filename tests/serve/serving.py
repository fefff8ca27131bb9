"""A server in a thread, and requests to it by a client of the standard library."""

import http.client
import json
import threading
import time
from contextlib import contextmanager
from urllib.parse import urlencode

import uvicorn

from pmd.serve.command import listen


@contextmanager
def serving(app, **options):
    """The port of a server that runs meanwhile, with options of uvicorn."""
    listening = listen("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn.Config(app, **{"log_level": "error", "http": "h11", "ws": "none"} | options))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    try:
        yield listening.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()


class Client:
    """A connection that is kept."""

    def __init__(self, port):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def raw(self, method, path, body=None, headers=None):
        """Status, headers and content of a response."""
        self.connection.request(method, path, body, headers or {})
        response = self.connection.getresponse()
        return response.status, dict(response.getheaders()), response.read()

    def get(self, path, **parameters):
        status, _, content = self.raw("GET", path + ("?" + urlencode(parameters) if parameters else ""))
        return status, json.loads(content)

    def post(self, path, body):
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        status, _, answer = self.raw("POST", path, content, {"content-type": "application/json"})
        return status, json.loads(answer)
