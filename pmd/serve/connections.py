"""Connections that do not wait for ever: uvicorn bounds the time between two requests, and here that of the head of one."""

from __future__ import annotations

import asyncio

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol


class TimedConnection(H11Protocol):
    """A connection that is closed if the head of a request is not there after `timeout_keep_alive` seconds."""

    _closing: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        self._close_later()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._stay()
        elif self._closing is None:
            self._close_later()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stay()
        super().connection_lost(exc)

    def _close_later(self) -> None:
        self._closing = self.loop.call_later(self.timeout_keep_alive, self.transport.close)

    def _stay(self) -> None:
        if self._closing is not None:
            self._closing.cancel()
            self._closing = None
