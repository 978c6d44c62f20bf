"""What every request must be, and what every answer says, around the whole app.

A page of another site can reach a server on loopback: by its address, and by a name of its own that it lets
point there (DNS rebinding). So the Host must be one of ours, an Origin must be ours and be there on every POST,
and the browser's own word on where a request comes from must not be another site, not even another port.
"""

from __future__ import annotations

import ipaddress
import json
import re
import sys
import traceback
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

__all__ = ["HEADERS", "Guard", "Hosts", "is_loopback"]

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

POLICY = "; ".join((
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self' data: blob:",
    "connect-src 'self'",
    "object-src 'none'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
))  # fmt: skip
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}
#: A name or address, and a port. Nothing else is in a Host: no user, no path, no dot at the end.
HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_])?)(?::([0-9]{1,5}))?")
UPLOAD = "/api/upload"
TYPES = {UPLOAD: "application/octet-stream"}


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches what listens there."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


class Hosts:
    """The names that this server answers to: those of loopback, or the one that it was told to listen on.

    An address cannot be rebound, so that a server that listens on all of them answers to any.
    """

    def __init__(self, host: str, port: int, names: Iterable[str] = ()) -> None:
        self.port = port
        self.names = {name.lower() for name in names}
        self.any_address = False
        if is_loopback(host):
            self.names |= {"localhost", "127.0.0.1", "[::1]"}
        host = host.lower().strip("[]")
        try:
            address = ipaddress.ip_address(host)
            self.any_address = address.is_unspecified
            self.names.add(f"[{address}]" if address.version == 6 else str(address))
        except ValueError:
            self.names.add(host)

    def ours(self, host: str) -> bool:
        """Whether the content of a Host header names this server, its port with it."""
        found = HOST.fullmatch(host.lower())
        if found is None or int(found[2] or 80) != self.port:
            return False
        return found[1] in self.names or (self.any_address and _is_address(found[1]))


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


class Guard:
    """ASGI middleware. ``methods``: per path the one method (GET means HEAD too); other paths are not found."""

    def __init__(self, app: App, hosts: Hosts, methods: dict[str, str], most: int = 256) -> None:
        self.app = app
        self.hosts = hosts
        self.methods = methods
        self.most = most
        self.open = 0

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":  # a web socket; there are none
            await send({"type": "websocket.close", "code": 1008})
            return
        started = False

        async def dressed(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                message["headers"] = _dressed(message.get("headers", ()))
            await send(message)

        refusal = self.refusal(scope)
        if refusal is None and self.open >= self.most:
            refusal = (503, "too many requests at once", ())
        if refusal is not None:
            await _answer(dressed, *refusal, bodiless=scope["method"] == "HEAD")
            return
        self.open += 1
        try:
            await self.app(scope, receive, dressed)
        except Exception:
            traceback.print_exc(file=sys.stderr)
            if not started:
                await _answer(dressed, 500, "an error in eyeshot itself; its terminal says more")
        finally:
            self.open -= 1

    def refusal(self, scope: Message) -> tuple[int, str, tuple[tuple[bytes, bytes], ...]] | None:
        """Why a request is not let in: status, message, headers."""
        given: dict[bytes, list[str]] = {}
        for name, value in scope["headers"]:
            given.setdefault(name.lower(), []).append(value.decode("latin-1"))
        host = given.get(b"host", [])
        if len(host) != 1 or not self.hosts.ours(host[0]):
            return 403, "this server does not go by that name (Host)", ()
        path, method = scope["path"], scope["method"]
        post = method not in ("GET", "HEAD")
        ours = f"http://{host[0].lower()}"
        origins = given.get(b"origin", [])
        if (post and not origins) or any(origin.lower() != ours for origin in origins):
            return 403, "the request comes from elsewhere (Origin)", ()
        site = given.get(b"sec-fetch-site", ["same-origin"])
        allowed = ("same-origin",) if post else ("same-origin", "none")
        if (post or path.startswith("/api")) and any(word not in allowed for word in site):
            return 403, "the request comes from another site (Sec-Fetch-Site)", ()
        wanted = self.methods.get(path)
        if wanted is None:
            return 404, "there is no such page", ()
        if method != wanted and not (method == "HEAD" and wanted == "GET"):
            allow = b"GET, HEAD" if wanted == "GET" else wanted.encode("ascii")
            return 405, f"{path} takes {wanted} only", ((b"allow", allow),)
        return self._type(path, given) if wanted == "POST" else None

    def _type(
        self, path: str, given: dict[bytes, list[str]]
    ) -> tuple[int, str, tuple[tuple[bytes, bytes], ...]] | None:
        wanted = TYPES.get(path, "application/json")
        kinds = given.get(b"content-type", [])
        kind = kinds[0].lower().replace(" ", "") if len(kinds) == 1 else ""
        if kind not in (wanted, f"{wanted};charset=utf-8"):
            return 415, f"{path} takes {wanted} only", ()
        if given.get(b"content-encoding", ["identity"]) != ["identity"]:
            return 415, "compressed bodies are not read", ()
        if b"content-length" in given and b"transfer-encoding" in given:
            return 400, "a body has one length (Content-Length, Transfer-Encoding)", ()
        return None


def _dressed(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """The answer's headers, with those that each answer has."""
    kept = [(name, value) for name, value in headers if name.lower().decode() not in HEADERS]
    kept += [(name.encode(), value.encode()) for name, value in HEADERS.items()]
    if not any(name.lower() == b"cache-control" for name, _ in kept):
        kept.append((b"cache-control", b"no-store"))
    return kept


async def _answer(
    send: Send,
    status: int,
    message: str,
    headers: tuple[tuple[bytes, bytes], ...] = (),
    *,
    bodiless: bool = False,
) -> None:
    body = json.dumps({"error": {"message": message}}).encode("utf-8")
    fixed = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": [*fixed, *headers]})
    await send({"type": "http.response.body", "body": b"" if bodiless else body})
