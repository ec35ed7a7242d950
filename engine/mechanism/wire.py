"""The engine's end of the socket to a host: one question, one answer, and not a byte more.

A `Wire` gives the body of each reply, unread. Whatever a host sends while nothing was asked, beyond one reply, or over
the limit, is a fault: it is kept, the connection is cut, and the owner is told once so that it can kill the process.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from engine.mechanism.protocol import HEADER, TO_ENGINE_LIMIT, decode


class Fault(Exception):
    """The host broke the protocol; the text says how."""


class Wire(asyncio.Protocol):
    """One connection. `on_fault` is called at the first fault."""

    def __init__(self, on_fault: Callable[[], None]) -> None:
        self.fault: str | None = None
        self._on_fault = on_fault
        self._buffer = bytearray()
        self._waiting: asyncio.Future[bytes] | None = None
        self._transport: asyncio.Transport | None = None

    async def ask(self, frame: bytes) -> bytes:
        """Send a frame and wait for the body of its reply.

        Raises Fault for anything but one whole reply, EOFError when the host's end is closed.
        """
        if self.fault is not None:
            raise Fault(self.fault)
        if self._transport is None or self._transport.is_closing():
            raise EOFError
        self._waiting = asyncio.get_running_loop().create_future()
        try:
            self._transport.write(frame)
            return await self._waiting
        finally:
            self._waiting = None

    def break_off(self, reason: str) -> None:
        """Note a fault, cut the connection and tell the owner; later faults add nothing."""
        if self.fault is not None:
            return
        self.fault = reason
        self._buffer.clear()
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(Fault(reason))
        self.close()
        self._on_fault()

    def close(self) -> None:
        """Cut the connection at once."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if self.fault is not None:
            return
        if self._waiting is None or self._waiting.done():
            self.break_off("it sent bytes that no call had asked for")
            return
        self._buffer += data
        if len(self._buffer) < HEADER.size:
            return
        (size,) = HEADER.unpack_from(self._buffer)
        if size > TO_ENGINE_LIMIT:
            self.break_off(f"it announced a reply of {size:,} bytes; {TO_ENGINE_LIMIT:,} are allowed")
        elif len(self._buffer) > HEADER.size + size:
            self.break_off("it sent more than one reply to a call")
        elif len(self._buffer) == HEADER.size + size:
            self._waiting.set_result(bytes(self._buffer[HEADER.size :]))
            self._buffer.clear()

    def connection_lost(self, error: Exception | None) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(EOFError())


def read_reply(body: bytes, call: str) -> dict[str, Any]:
    """The reply to a call: {"id", "ok"} or {"id", "error"}. Raises Fault or FrameError for anything else."""
    reply = decode(body)
    if not isinstance(reply, dict) or reply.get("id") != call:
        raise Fault("a reply does not belong to the call")
    if set(reply) == {"id", "ok"}:
        return reply
    error = reply.get("error")
    keys = {"kind", "type", "message", "trace"}
    if set(reply) != {"id", "error"} or not isinstance(error, dict) or set(error) != keys:
        raise Fault("a reply has another shape than a reply's")
    if not all(isinstance(text, str) for text in error.values()):
        raise Fault("an error has another shape than an error's")
    return reply
