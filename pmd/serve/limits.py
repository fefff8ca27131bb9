"""What a server allows: the size of a request, the time that it takes, and the names by which the server is called."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

MAX_BYTES = 64 * 1024
"""The largest body of a request, and the longest head."""
MAX_BATCH = 64
"""Questions in a request."""
MAX_LISTED = 200
"""Answers, relations or facts that are listed for a question."""
MAX_TEXT = 4000
"""Characters of a name or a text."""
MAX_CONNECTIONS = 1024
"""At the same time, for each worker."""
THREADS = 2
"""Requests that a worker answers at the same time; others wait, no longer than the time that a request may take."""
LOOPBACK = ("127.0.0.1", "localhost", "::1")

HEADERS = {
    "content-security-policy": "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}


class Refusal(Exception):
    """A request that is refused: an HTTP status and a line that says why."""

    def __init__(self, status: int, message: str):
        self.status, self.message = status, message


class Limits:
    """An ASGI application whose requests are within limits, and whose responses have `HEADERS`.

    Args:
        app: the application.
        seconds: how long reading a request may take.
        local: only a browser that calls the server by a name of this machine is answered, so that no page from elsewhere
            can lead its own name here.
    """

    def __init__(self, app: Callable, seconds: float, local: bool):
        self.app, self.seconds, self.local = app, seconds, local

    async def __call__(self, scope: dict[str, Any], receive: Callable, send: Callable) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *((k.encode(), v.encode()) for k, v in HEADERS.items())]
            await send(message)

        try:
            self._check_head(scope)
            body = await asyncio.wait_for(_body(receive), self.seconds)
        except Refusal as refusal:
            await _refuse(send_with_headers, refusal)
        except asyncio.TimeoutError:
            await _refuse(send_with_headers, Refusal(408, f"the request took more than {self.seconds:g} s to arrive"))
        else:
            await self.app(scope, _replayed(body, receive), send_with_headers)

    def _check_head(self, scope: dict[str, Any]) -> None:
        headers = dict(scope["headers"])
        if self.local and _host(headers) not in LOOPBACK:
            raise Refusal(421, "this server answers as localhost only; give --host to serve others")
        length = headers.get(b"content-length", b"0")
        if not length.isdigit() or int(length) > MAX_BYTES:
            raise Refusal(413, f"the request is larger than {MAX_BYTES:,} bytes; ask in several")


class Pool:
    """Threads that answer; who waits too long is refused, and what is under way is bounded by the size of a request."""

    def __init__(self, seconds: float):
        self.seconds, self._threads = seconds, ThreadPoolExecutor(THREADS, thread_name_prefix="answer")

    async def run(self, work: Callable[[], Any]) -> Any:
        """The result of some work."""
        try:
            return await asyncio.wait_for(asyncio.get_running_loop().run_in_executor(self._threads, work), self.seconds)
        except asyncio.TimeoutError:
            raise Refusal(503, f"no answer within {self.seconds:g} s; ask for less, or later") from None


def error_body(message: object) -> bytes:
    """The JSON of an error: a line."""
    return json.dumps({"error": " ".join(str(message).split())}).encode()


def _host(headers: dict[bytes, bytes]) -> str:
    """The name by which a server was called; empty for none."""
    try:
        return urlsplit("//" + headers.get(b"host", b"").decode("latin-1")).hostname or ""
    except ValueError:
        return ""


async def _body(receive: Callable) -> bytes:
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > MAX_BYTES:
            raise Refusal(413, f"the request is larger than {MAX_BYTES:,} bytes; ask in several")
        if not message.get("more_body"):
            return body


def _replayed(body: bytes, receive: Callable) -> Callable:
    """Receives a body that has been read, and then what comes after it."""
    messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> dict[str, Any]:
        return messages.pop() if messages else await receive()

    return replay


async def _refuse(send: Callable, refusal: Refusal) -> None:
    headers = [(b"content-type", b"application/json"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": error_body(refusal.message)})
