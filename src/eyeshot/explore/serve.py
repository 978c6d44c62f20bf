"""The server's life: check the source, bind, say where it is, serve, and leave nothing behind."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import os
import signal
import socket
import sys
import webbrowser
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from eyeshot.errors import EyeshotError
from eyeshot.explore.guard import Hosts
from eyeshot.explore.settings import Given, Settings

if TYPE_CHECKING:
    from eyeshot.explore.app import Explorer

__all__ = ["PORT", "serve"]

#: Tried first, so that the address stays the same from day to day.
PORT = 8462


def serve(
    given: Given | None = None,
    *,
    host: str = "127.0.0.1",
    port: int | None = None,
    browse: bool = True,
    say: Callable[[str], None] = print,
    settings: Settings | None = None,
) -> None:
    """Serves until it is interrupted. ``say`` gets the address; ``port`` None is a usual or else a free one.

    Raises EyeshotError for a source that can't be analysed or a port that is taken.
    """
    need()
    asyncio.run(_serve(given, host, port, browse, say, settings))


def need() -> None:
    """Raises EyeshotError where the extra is missing."""
    from importlib.util import find_spec

    for name in ("starlette", "uvicorn"):
        if find_spec(name) is None:
            raise EyeshotError(f"explore needs {name}: pip install 'eyeshot[web]'")


async def _serve(
    given: Given | None,
    host: str,
    port: int | None,
    browse: bool,
    say: Callable[[str], None],
    settings: Settings | None,
) -> None:
    from eyeshot.explore.app import Explorer

    stop = asyncio.Event()
    with _until_told(stop), _listening(host, port) as listening:
        number = listening.getsockname()[1]
        name = _shown(host, listening.family)
        async with Explorer(settings, given) as explorer:
            if given is not None and not await _usable(explorer, stop):
                return
            address = f"http://{name}:{number}/"
            say(address)
            if browse:
                asyncio.get_running_loop().run_in_executor(None, _open, address)
            await _answer(explorer, Hosts(host, number), listening, stop)


async def _usable(explorer: Explorer, stop: asyncio.Event) -> bool:
    """Analyses the source, for it is what the page asks for first. False: interrupted meanwhile."""
    from eyeshot.explore import asks
    from eyeshot.explore.pool import Crashed, TooLong

    head, text, heavy = explorer.job("analyze", asks.Ask(source=asks.Given()))
    work = asyncio.ensure_future(explorer.pool.run(head, text, heavy=heavy))
    told = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait((work, told), return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            return False
        answer = work.result()
    except TooLong:
        seconds = explorer.settings.seconds
        raise EyeshotError(f"the analysis took longer than {seconds:g} seconds") from None
    except Crashed:
        raise EyeshotError("the analysis broke off; it may need more memory") from None
    finally:
        work.cancel()
        told.cancel()
        await asyncio.gather(work, told, return_exceptions=True)
    if answer.head["status"] != 200:
        if log := answer.head.get("log"):
            print(log, file=sys.stderr)
        raise EyeshotError(json.loads(answer.body)["error"]["message"])
    return True


async def _answer(
    explorer: Explorer, hosts: Hosts, listening: socket.socket, stop: asyncio.Event
) -> None:
    import uvicorn

    from eyeshot.explore.protocol import Protocol

    class Server(uvicorn.Server):
        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield  # they are ours

    config = uvicorn.Config(
        explorer.app(hosts),
        http=Protocol,
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="critical",  # what goes wrong, the guard says
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=20,
        timeout_graceful_shutdown=2,
    )
    server = Server(config)
    serving = asyncio.ensure_future(server.serve([listening]))
    told = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait((serving, told), return_when=asyncio.FIRST_COMPLETED)
        server.should_exit = True
        await explorer.pool.__aexit__(None, None, None)
        await serving
    finally:
        told.cancel()
        await asyncio.gather(told, return_exceptions=True)


@contextlib.contextmanager
def _until_told(stop: asyncio.Event) -> Iterator[None]:
    """An interrupt, or the end of the terminal, ends the server in order."""
    loop = asyncio.get_running_loop()
    signals = [signal.SIGINT, signal.SIGTERM]
    if hasattr(signal, "SIGHUP"):
        signals.append(signal.SIGHUP)
    handled = []
    for number in signals:
        with contextlib.suppress(
            NotImplementedError, RuntimeError
        ):  # not on Windows, not in threads
            loop.add_signal_handler(number, stop.set)
            handled.append(number)
    try:
        yield
    finally:
        for number in handled:
            loop.remove_signal_handler(number)


@contextlib.contextmanager
def _listening(host: str, port: int | None) -> Iterator[socket.socket]:
    """A socket that listens. Raises EyeshotError."""
    name = host.strip("[]")
    try:
        family = socket.getaddrinfo(name, 0, type=socket.SOCK_STREAM)[0][0]
    except OSError as error:
        raise EyeshotError(f"--host {host}: {error.strerror or error}") from None
    if name.lower() == "localhost":
        name, family = "127.0.0.1", socket.AF_INET
    # Named as TCP, or asyncio would leave small answers to wait for acknowledgements.
    found = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    with found:
        if os.name == "posix":
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            try:
                found.bind((name, PORT if port is None else port))
                found.listen(256)
            except OSError as error:
                if port is not None or error.errno != errno.EADDRINUSE:
                    raise
                found.bind((name, 0))
                found.listen(256)
        except OSError as error:
            where = host if port is None else f"{host}:{port}"
            raise EyeshotError(f"can't listen on {where}: {error.strerror or error}") from None
        yield found


def _shown(host: str, family: int) -> str:
    """The host in an address that this machine's browser can open."""
    if family == socket.AF_INET6:
        return "[::1]" if host.strip("[]") == "::" else f"[{host.strip('[]')}]"
    return "127.0.0.1" if host == "0.0.0.0" else host


def _open(address: str) -> None:
    with contextlib.suppress(Exception):
        webbrowser.open(address)
