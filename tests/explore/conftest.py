"""Servers of the live page, as processes of their own on loopback."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

HERE = Path(__file__).parent


def wait_for(condition: Callable[[], Any], seconds: float = 20) -> Any:
    """The condition's value as soon as it is true."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "it did not come true"
        time.sleep(0.02)
    return found


def children(pid: int) -> list[int]:
    """The processes that a process has started and that have not ended."""
    out = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                state, parent = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
            except OSError:
                continue
            if int(parent) == pid and state != "Z":
                out.append(int(folder.name))
    return out


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class Server:
    """A running server. ``post`` sends JSON as the page would."""

    def __init__(self, command: list[str], **environment: str) -> None:
        self.process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONWARNINGS": "error", **environment},
        )
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], 60)
        self.url = self.process.stdout.readline().strip() if ready else ""
        if not self.url.startswith("http://"):
            self.process.kill()
            raise AssertionError(f"no address: {self.url!r} {self.process.communicate()}")
        self.origin = self.url.rstrip("/")
        self.host = self.origin.removeprefix("http://")
        self.port = int(self.host.rpartition(":")[2])
        self.client = httpx.Client(
            base_url=self.url, headers={"origin": self.origin}, timeout=60, trust_env=False
        )

    def post(self, what: str, content: Any, **options: Any) -> httpx.Response:
        return self.client.post(f"/api/{what}", json=content, **options)

    def raw(self, request: bytes) -> bytes:
        """The whole answer to bytes as they are; the server closes the connection."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as connection:
            connection.sendall(request)
            out = b""
            while piece := connection.recv(1 << 16):
                out += piece
            return out

    @property
    def workers(self) -> list[int]:
        return children(self.process.pid)

    def stop(self, number: int = signal.SIGINT) -> tuple[int, str]:
        """The exit code, and what it said on stderr."""
        self.client.close()
        if self.process.poll() is None:
            self.process.send_signal(number)
        _, said = self.process.communicate(timeout=30)
        return self.process.returncode, said


def explore(*arguments: str, **environment: str) -> Server:
    return Server(
        [sys.executable, "-m", "eyeshot", "explore", "--no-browser", "--port", "0", *arguments],
        **environment,
    )


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """As the command line starts it, with a source that is a spec."""
    started = explore("example:five-by-five", "--input", "1x9x9")
    yield started
    code, said = started.stop()
    assert (code, said) == (0, "")


HOSTILE = """
import eyeshot.explore.pool as pool
from eyeshot.explore.serve import serve
from eyeshot.explore.settings import Lane, Settings

pool.PROGRAM = "hostile"
serve(
    port=0, browse=False, say=lambda line: print(line, flush=True),
    settings=Settings(
        upload=1 << 20, uploads=2, spec=1 << 16, long=1 << 14, seconds=1.5, idle=0.3, body=0.6, grace=0.25,
        quick=Lane(1, 2, 4, 300 << 20), heavy=Lane(0, 1, 2, 300 << 20),
    ),
)
"""


@pytest.fixture(scope="session")
def hostile() -> Iterator[Server]:
    """With small limits, and workers that misbehave when a source asks for it (``hostile.py``)."""
    path = os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    started = Server([sys.executable, "-c", HOSTILE], PYTHONPATH=path)
    yield started
    code, said = started.stop()
    assert code == 0
    # Its one deliberate error is the only thing that it has to say.
    assert said.count("Traceback") == said.count("ZeroDivisionError: on purpose")


@pytest.fixture
def tools() -> Iterator[Any]:
    """``explore(*arguments)``, ``wait_for`` and ``alive``, for tests that start servers."""
    begun: list[Server] = []

    def start(*arguments: str, **environment: str) -> Server:
        begun.append(explore(*arguments, **environment))
        return begun[-1]

    yield SimpleNamespace(explore=start, wait_for=wait_for, alive=alive)
    for each in begun:  # of a test that failed half-way
        if each.process.poll() is None:
            each.stop()
