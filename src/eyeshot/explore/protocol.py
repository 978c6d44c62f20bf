"""uvicorn's HTTP connection, with our headers on its own answers, and bounded: in number, in the time until a
request has come, and in the time that a client leaves an answer unread.

Imported only where the server starts: it loads uvicorn.
"""

from __future__ import annotations

import asyncio
from functools import cache
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from eyeshot.explore.guard import HEADERS

__all__ = ["SECONDS", "Protocol"]

#: Until a connection's next request has come, its headers at least; and for a client to read some of an answer.
SECONDS = 20.0
#: Connections at once; fewer where the system allows this process few files.
MOST = 512


class Protocol(H11Protocol):
    watch: asyncio.TimerHandle | None = None
    unread = 0

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        if len(self.connections) > _most():
            transport.abort()
        else:
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        if self.watch is not None:
            self.watch.cancel()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        self._wait()
        super().on_response_complete()

    def _wait(self) -> None:
        """From now on for the next request, as long as no request is being answered."""
        if self.watch is not None:
            self.watch.cancel()
        self.unread = self.transport.get_write_buffer_size()
        self.watch = asyncio.get_running_loop().call_later(SECONDS, self._close_unused)

    def _close_unused(self) -> None:
        """Closing alone would wait for ever for a client that does not read."""
        if self.cycle is not None and not self.cycle.response_complete:
            return
        unread = self.transport.get_write_buffer_size()
        if not unread:
            self.transport.close()
        elif unread < self.unread:
            self._wait()
        else:
            self.transport.abort()

    def send_400_response(self, msg: str) -> None:
        """To what is not HTTP, before any app sees it."""
        body = msg.encode("ascii", errors="replace")
        headers = {
            **HEADERS,
            "cache-control": "no-store",
            "content-type": "text/plain; charset=utf-8",
            "content-length": str(len(body)),
            "connection": "close",
        }
        for event in (
            h11.Response(status_code=400, headers=list(headers.items()), reason=b"Bad Request"),
            h11.Data(data=body),
            h11.EndOfMessage(),
        ):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()


@cache
def _most() -> int:
    try:
        import resource
    except ImportError:  # Windows
        return MOST
    return min(MOST, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2)
