"""Request bodies, bounded in size and in time while they stream in. A Content-Length is a claim."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

__all__ = ["Gone", "Slow", "TooLarge", "chunks", "whole"]


class TooLarge(Exception):
    """More bytes than the limit, said or sent."""


class Slow(Exception):
    """The body came too slowly."""


class Gone(Exception):
    """The client went away."""


async def chunks(
    receive: Callable[[], Awaitable[Any]],
    length: str | None,
    limit: int,
    idle: float,
    total: float,
) -> AsyncIterator[bytes]:
    """The pieces of a body; ``length``: its Content-Length, if any.

    ``idle``: seconds until the next piece at most; ``total``: until the last.
    """
    if length is not None and (not length.isascii() or not length.isdigit() or int(length) > limit):
        raise TooLarge
    clock = asyncio.get_running_loop().time
    end, seen, more = clock() + total, 0, True
    while more:
        try:
            async with asyncio.timeout(min(idle, end - clock())):
                message = await receive()
        except TimeoutError:
            raise Slow from None
        if message["type"] == "http.disconnect":
            raise Gone
        piece = message.get("body", b"")
        more = message.get("more_body", False)
        seen += len(piece)
        if seen > limit:
            raise TooLarge
        if piece:
            yield piece


async def whole(
    receive: Callable[[], Awaitable[Any]],
    length: str | None,
    limit: int,
    idle: float,
    total: float,
) -> bytes:
    """A body that is small enough to hold."""
    return b"".join([piece async for piece in chunks(receive, length, limit, idle, total)])
