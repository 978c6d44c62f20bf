"""The routes of the live page: a request becomes a job, and the worker's answer the response."""

from __future__ import annotations

import asyncio
import hashlib
import json
import sys
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import eyeshot
from eyeshot.explore import asks, bodies, catalog
from eyeshot.explore.guard import UPLOAD, Guard, Hosts
from eyeshot.explore.pool import Answer, Busy, Crashed, Pool, TooLong
from eyeshot.explore.settings import Given, Settings
from eyeshot.explore.static import Static
from eyeshot.explore.uploads import Full, Uploads

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

__all__ = ["Explorer"]


class Refused(Exception):
    """An answer other than 200."""

    def __init__(self, status: int, message: str, **more: Any) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.more = more


class Explorer:
    """The app with its workers and files. ``async with`` it, then serve ``app(hosts)``."""

    def __init__(self, settings: Settings | None = None, given: Given | None = None) -> None:
        self.settings = settings or Settings()
        self.given = given
        self.pool = Pool(self.settings)
        self.uploads = Uploads(self.settings.uploads, self.settings.uploads_size)
        self.static = Static()
        self._catalog: bytes | None = None

    async def __aenter__(self) -> Explorer:
        self.uploads.__enter__()
        await self.pool.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.pool.__aexit__(*error)
        self.uploads.__exit__(*error)

    def app(self, hosts: Hosts) -> Guard:
        """The ASGI app, guarded."""
        from starlette.applications import Starlette
        from starlette.routing import Route

        posts: dict[str, Callable[[Request], Awaitable[Response]]] = {
            "/api/analyze": self.asked("analyze", asks.Ask),
            "/api/check": self.asked("check", asks.Ask),
            "/api/unit": self.asked("unit", asks.UnitAsk),
            "/api/report": self.asked("report", asks.Ask),
            "/api/outline": self.outline,
            UPLOAD: self.upload,
        }
        gets = dict.fromkeys(self.static.paths, self.static.answer)
        gets["/api/catalog"] = self.catalog
        routes = [Route(path, self.safe(call), methods=["GET"]) for path, call in gets.items()]
        routes += [Route(path, self.safe(call), methods=["POST"]) for path, call in posts.items()]
        methods = {**dict.fromkeys(gets, "GET"), **dict.fromkeys(posts, "POST")}
        return Guard(Starlette(routes=routes), hosts, methods, self.settings.requests)

    def safe(
        self, call: Callable[[Request], Awaitable[Response]]
    ) -> Callable[[Request], Awaitable[Response]]:
        """What goes wrong, as an answer."""

        async def answered(request: Request) -> Response:
            from starlette.responses import Response

            try:
                return await call(request)
            except Refused as error:
                return _error(error.status, error.message, **error.more)
            except asks.Malformed as error:
                return _error(400, str(error))
            except bodies.TooLarge:
                return _error(413, "the body is too large")
            except bodies.Slow:
                return _error(408, "the body came too slowly")
            except bodies.Gone:
                return Response(status_code=499)
            except Busy:
                return _error(503, "busy: too many analyses are waiting", retry="1")
            except TooLong:
                seconds = self.settings.seconds
                return _error(
                    504, f"took longer than {seconds:g} seconds, the most for one analysis"
                )
            except Crashed:
                return _error(
                    422, "the analysis broke off; it may need more memory than one may take"
                )

        return answered

    # --- the routes

    async def catalog(self, request: Request) -> Response:
        if self._catalog is None:
            answer = await self.pool.run({"job": "lesson", "key": "lesson"})
            content = {
                "examples": catalog.examples(),
                "zoos": {name: catalog.zoo(name) for name in ("torchvision", "timm")},
                "given": self._given(),
                "lesson": json.loads(answer.body),
                "limits": {
                    "upload": self.settings.upload,
                    "spec": self.settings.spec,
                    "seconds": self.settings.seconds,
                },
                "version": eyeshot.__version__,
            }
            self._catalog = json.dumps(content, separators=(",", ":")).encode("ascii")
        return _sent(Answer({"status": 200, "type": "application/json"}, self._catalog))

    def _given(self) -> dict[str, Any] | None:
        given = self.given
        if given is None:
            return None
        from pathlib import PurePath

        reference = ":" in given.source and not PurePath(given.source).suffix
        title = given.source if reference else PurePath(given.source).name
        content: dict[str, Any] = {"title": title, "input": given.input, "rate": given.rate}
        content.update(catalog.given_spec(given.source, self.settings.spec))
        return content

    def asked(self, job: str, kind: type[asks.Ask]) -> Callable[[Request], Awaitable[Response]]:
        """The route of a question about a network."""

        async def answer(request: Request) -> Response:
            ask = asks.read(await self.body(request), kind)
            head, text, heavy = self.job(job, ask)
            answer = await self.work(request, head, text, heavy)
            more = {}
            if job == "report" and answer.head["status"] == 200:
                more["content-disposition"] = 'attachment; filename="report.html"'
            return _sent(answer, more)

        return answer

    async def outline(self, request: Request) -> Response:
        ask = asks.read(await self.body(request), asks.OutlineAsk)
        text = self.text(ask.text)
        head = {
            "job": "outline",
            "key": "outline",
            "source": {"kind": "spec", "format": ask.format, "text": ""},
        }
        return _sent(await self.work(request, head, text, len(text) >= self.settings.long))

    async def upload(self, request: Request) -> Response:
        from starlette.responses import JSONResponse

        pieces = self.pieces(request, self.settings.upload)
        try:
            found = await self.uploads.add(request.query_params.get("name", ""), pieces)
        except Full:
            raise Refused(503, "busy: too many files are on their way", retry="1") from None
        except OSError as error:
            reason = error.strerror or "it can't be written"
            raise Refused(507, f"the server can't keep the file: {reason}") from None
        return JSONResponse({"id": found.id, "name": found.name, "size": found.size})

    # --- from a request to a job

    def pieces(self, request: Request, limit: int) -> Any:
        settings = self.settings
        length = request.headers.get("content-length")
        return bodies.chunks(request.receive, length, limit, settings.idle, settings.body)

    async def body(self, request: Request) -> bytes:
        return b"".join([piece async for piece in self.pieces(request, self.settings.json)])

    def text(self, text: str) -> bytes:
        """A spec's text as bytes."""
        try:
            found = text.encode("utf-8")
        except UnicodeEncodeError:
            raise Refused(400, "the text holds half a character") from None
        if len(found) > self.settings.spec:
            raise Refused(413, f"the spec is larger than {self.settings.spec >> 10} KiB")
        return found

    def job(self, name: str, ask: asks.Ask) -> tuple[dict[str, Any], bytes, bool]:
        """The head and body of the worker's job, and whether it is for the heavy lane."""
        import msgspec

        source = ask.source
        head: dict[str, Any] = {"job": name, "rate": ask.rate, "input": ask.input, "axes": ask.axes}
        text, heavy = b"", False
        match source:
            case asks.Spec():
                text = self.text(source.text)
                heavy = len(text) >= self.settings.long
                head["source"] = {"kind": "spec", "format": source.format, "text": ""}
            case asks.Example():
                if source.name not in catalog.names():
                    raise Refused(404, f"there is no example {source.name!r}")
                head["source"] = msgspec.to_builtins(source)
            case asks.Upload():
                found = self.uploads.get(source.id)
                if found is None:
                    raise Refused(422, "the file is no longer there; open it again", lost=True)
                heavy = True
                head["needs"] = ["eyeshot.frontends.onnx"]
                head["source"] = {"kind": "upload", "path": found.path, "title": found.name}
            case asks.Model():
                if catalog.zoo(source.zoo) is None:
                    raise Refused(404, f"{source.zoo} is not installed where eyeshot runs")
                heavy = True
                head["needs"] = [source.zoo]
                head["source"] = msgspec.to_builtins(source)
            case _:
                if self.given is None:
                    raise Refused(404, "the command line named no source")
                heavy = self.given_is_heavy
                head["source"] = {"kind": "given"}
                head["given"] = asdict(self.given)
                if ask.rate is None:
                    head["rate"] = self.given.rate
        network = msgspec.json.encode([source, ask.input, ask.axes])
        head["key"] = hashlib.sha256(network).hexdigest()
        if isinstance(ask, asks.UnitAsk):
            head["layer"], head["unit"] = ask.layer, ask.unit
        return head, text, heavy

    @property
    def given_is_heavy(self) -> bool:
        assert self.given is not None
        return not catalog.given_spec(self.given.source, self.settings.long)

    async def work(
        self, request: Request, head: dict[str, Any], text: bytes, heavy: bool
    ) -> Answer:
        """The worker's answer; ends the work when the client goes away."""
        work = asyncio.ensure_future(self.pool.run(head, text, heavy=heavy))
        left = asyncio.ensure_future(_left(request))
        try:
            await asyncio.wait((work, left), return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                raise bodies.Gone
            answer = work.result()
        finally:
            work.cancel()
            left.cancel()
            await asyncio.gather(work, left, return_exceptions=True)
        if log := answer.head.get("log"):
            print(log, file=sys.stderr)
        return answer


async def _left(request: Request) -> None:
    """Returns when the client has closed the connection. The body is read by then."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _soft(status: int) -> int:
    """What is wrong with the source itself is an answer, not a failure: browsers log every other status.

    The body is ``{"error": …}`` all the same, so that nobody takes it for the thing that was asked for.
    """
    return 200 if status == 422 else status


def _sent(answer: Answer, headers: dict[str, str] | None = None) -> Response:
    from starlette.responses import Response

    return Response(
        answer.body,
        status_code=_soft(answer.head["status"]),
        headers={"content-type": answer.head["type"], **(headers or {})},
    )


def _error(status: int, message: str, *, retry: str | None = None, **more: Any) -> Response:
    from starlette.responses import JSONResponse

    headers = {} if retry is None else {"retry-after": retry}
    return JSONResponse({"error": {"message": message, **more}}, _soft(status), headers)
