"""The front end's files: a fixed list, looked up by the whole path, so that nothing else can be asked for."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from importlib.resources.abc import Traversable
from typing import TYPE_CHECKING

from eyeshot.views.web.single import FRONT

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

__all__ = ["Static"]

TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


class Static:
    """``paths``: what can be asked for, each with its file."""

    def __init__(self) -> None:
        self.paths = {f"/{path}": file for path, file in _files(FRONT, "")}
        self.paths["/"] = self.paths.pop("/index.html")
        # Where a document names no icon browsers ask for this one, and log it as an error if there is none.
        self.paths["/favicon.ico"] = self.paths["/icon.svg"]

    async def answer(self, request: Request) -> Response:
        """The file as it is now; a browser may ask whether its own copy still holds."""
        from starlette.responses import Response

        file = self.paths[request.url.path]
        content = file.read_bytes()
        tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
        headers = {"cache-control": "no-cache", "etag": tag}
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        suffix = file.name[file.name.rindex(".") :]
        return Response(content, headers={**headers, "content-type": TYPES[suffix]})


def _files(folder: Traversable, before: str) -> Iterator[tuple[str, Traversable]]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _files(entry, f"{before}{entry.name}/")
        elif entry.name.endswith(tuple(TYPES)):
            yield f"{before}{entry.name}", entry
