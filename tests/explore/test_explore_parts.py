"""What needs no server process: connections, workers that are chosen or do not start, the folder of uploads."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import shutil
import socket
import threading
from collections import OrderedDict
from collections.abc import AsyncIterator, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from eyeshot.errors import EyeshotError
from eyeshot.explore import uploads
from eyeshot.explore.pool import Answer, Crashed, Job, Lane, Pool
from eyeshot.explore.settings import Lane as LaneSettings
from eyeshot.explore.settings import Settings
from eyeshot.explore.uploads import Full, Uploads, sweep


def run(work: Coroutine[Any, Any, Any]) -> Any:
    """In a thread of its own, for a browser that other tests drive keeps a loop running in this one."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


# --- connections


@pytest.fixture
def listening(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A server whose one answer is too large for the buffers of a connection."""
    import uvicorn

    from eyeshot.explore import protocol

    monkeypatch.setattr(protocol, "SECONDS", 0.4)
    monkeypatch.setattr(protocol, "_most", lambda: 6)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": bytes(16 << 20)})

    config = uvicorn.Config(app, http=protocol.Protocol, lifespan="off", log_config=None)
    server = uvicorn.Server(config)
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as own:
        own.bind(("127.0.0.1", 0))
        own.listen()
        running = threading.Thread(target=lambda: asyncio.run(server.serve([own])))
        running.start()
        yield SimpleNamespace(at=own.getsockname(), open=server.server_state.connections)
        server.should_exit = True
        running.join()


def test_few_connections_are_open_at_once(
    listening: Any, tools: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those too many are closed at once, the others stay."""
    from eyeshot.explore import protocol

    monkeypatch.setattr(protocol, "SECONDS", 60)
    each = [socket.create_connection(listening.at, timeout=9) for _ in range(20)]
    assert [connection.recv(1) for connection in each[6:]] == [b""] * 14
    assert len(listening.open) == 6
    for connection in each:
        connection.close()
    tools.wait_for(lambda: not listening.open)


@pytest.mark.parametrize("begin", [b"", b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n"])
def test_headers_that_drip(listening: Any, begin: bytes) -> None:
    """Neither those of the first request nor of a later one hold a connection."""
    with socket.create_connection(listening.at, timeout=0.02) as connection:
        connection.sendall(begin + b"GET / HTTP/1.1\r\nX: ")
        for _ in range(400):
            try:
                connection.sendall(b"x")
                if connection.recv(999) == b"":
                    return
            except TimeoutError:
                continue
            except ConnectionError:
                return
    raise AssertionError("it is still open")


def test_an_answer_that_nobody_reads(listening: Any, tools: Any) -> None:
    """Is dropped with its connection; who reads gets all of it, though that may take longer."""
    with (
        socket.create_connection(listening.at, timeout=9) as idle,
        socket.create_connection(listening.at, timeout=9) as slow,
    ):
        for connection in (idle, slow):
            connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        tools.wait_for(lambda: len(listening.open) == 2)
        size = 0
        while piece := slow.recv(1 << 18):
            size += len(piece)
            if len(listening.open) == 2:
                threading.Event().wait(0.01)
        assert size > 16 << 20
        tools.wait_for(lambda: not listening.open)


# --- workers


class Fake:
    """A worker that answers with its own name."""

    def __init__(self, name: str, error: Exception | None = None) -> None:
        self.name, self.error = name, error
        self.job: Job | None = None
        self.keys: OrderedDict[str, None] = OrderedDict()

    async def run(self, job: Job) -> Answer:
        if self.error is not None:
            raise self.error
        return Answer({"name": self.name}, b"")

    def remember(self, key: str) -> None:
        self.keys[key] = None

    async def end(self) -> None:
        pass


def job(key: str) -> Job:
    return Job({"key": key, "seconds": 5.0})


def lane(patient: bool, *workers: Any) -> Lane:
    found = Lane(LaneSettings(0, 0, 9, 0), 0.0, patient)  # none is started
    found.workers = list(workers)
    return found


@pytest.mark.parametrize("patient", [False, True])
def test_a_quick_job_does_not_wait_for_a_worker_that_knows_its_network(patient: bool) -> None:
    """Only in the heavy lane does it, until that one is free."""

    async def main() -> str:
        knows, other = Fake("knows"), Fake("other")
        knows.keys["net"] = None
        ours = lane(patient, knows, other)
        knows.job = job("net")  # busy with the very same network
        asked = asyncio.ensure_future(ours.submit(job("net")))
        await asyncio.wait([asked], timeout=0.05)
        assert asked.done() is not patient
        knows.job = None
        ours.dispatch()
        name: str = (await asked).head["name"]
        return name

    assert run(main()) == ("knows" if patient else "other")


def test_a_free_worker_that_knows_the_network_is_taken_first() -> None:
    async def main() -> list[str]:
        workers = [Fake("a"), Fake("b"), Fake("c")]
        workers[1].keys["net"] = None
        ours = lane(False, *workers)
        return [(await ours.submit(job(key))).head["name"] for key in ("net", "net", "new")]

    assert run(main()) == ["b", "b", "a"]


def test_what_is_no_answer_is_a_crash() -> None:
    async def main() -> None:
        async with asyncio.timeout(5):
            await lane(False, Fake("a", ValueError("no JSON"))).submit(job("net"))

    with pytest.raises(Crashed):
        run(main())


def test_a_worker_that_cannot_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    """The job is told so; it would wait for ever."""

    async def nothing(*arguments: Any, **more: Any) -> Any:
        raise OSError(errno.EMFILE, "too many open files")

    monkeypatch.setattr(asyncio, "create_subprocess_exec", nothing)

    async def main() -> None:
        async with Pool(Settings()) as pool, asyncio.timeout(5):
            await pool.run({"key": "net"})

    with pytest.raises(Crashed):
        run(main())


# --- uploads


async def pieces(*given: bytes) -> AsyncIterator[bytes]:
    for piece in given:
        yield piece


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(uploads.tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_only_what_a_killed_server_left_is_swept(folder: Path) -> None:
    outside = folder / "outside"
    outside.mkdir()
    (outside / "kept").touch()
    (folder / f"{uploads.PREFIX}link").symlink_to(outside)
    (folder / f"{uploads.PREFIX}file").touch()
    (folder / f"{uploads.PREFIX}left").mkdir()
    with Uploads(2, 100) as running:
        assert running.folder is not None and not (folder / f"{uploads.PREFIX}left").exists()
        sweep(folder)
        assert running.folder.is_dir() and running.folder.stat().st_mode & 0o777 == 0o700
    names = {path.name.removeprefix(uploads.PREFIX) for path in folder.iterdir()}
    assert names == {"outside", "link", "file"} and (outside / "kept").exists()


def test_a_folder_that_is_gone(folder: Path) -> None:
    """Its files are, too; the next upload makes a new one."""
    with Uploads(2, 100) as ours:
        first = run(ours.add("a", pieces(b"1")))
        assert ours.folder is not None and ours.get(first.id) == first
        shutil.rmtree(ours.folder)
        assert ours.get(first.id) is None
        again = run(ours.add("a", pieces(b"1")))
        assert ours.get(again.id) == again and os.listdir(ours.folder) == [first.id]
    assert not list(folder.iterdir())


def test_uploads_under_way_are_bounded(folder: Path) -> None:
    async def main(ours: Uploads) -> list[str]:
        gate = asyncio.Event()

        async def slow() -> AsyncIterator[bytes]:
            yield b"x" * 60
            await gate.wait()

        first = asyncio.ensure_future(ours.add("a", slow()))
        await asyncio.sleep(0)
        with pytest.raises(Full):
            await ours.add("b", pieces(b"y" * 30, b"y" * 30))
        gate.set()
        return [(await first).id, (await ours.add("b", pieces(b"z" * 60))).id]

    with Uploads(9, 100) as ours:
        ids = run(main(ours))
        assert ours.folder is not None and ours.coming == 0
        assert len(os.listdir(ours.folder)) == 1  # more than 100 bytes are not kept
        assert sum(ours.get(id) is not None for id in ids) == 1


def test_nowhere_to_write(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads.tempfile, "tempdir", str(folder / "none"))
    with pytest.raises(EyeshotError, match="no folder for uploads"):
        Uploads(2, 100).__enter__()


# --- what a worker finds

LEAKY = """
import torch

class Centred(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 8, 3, padding=1)

    def forward(self, x):
        x = self.conv(x)
        return x - x.mean(0, keepdim=True)
"""


def test_findings_are_those_of_the_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also those that no single sample shows: the network itself is looked at with two."""
    from eyeshot.explore.jobs import Worker

    (tmp_path / "leaky_for_explore.py").write_text(LEAKY, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    given = {"source": "leaky_for_explore:Centred", "input": "3x8x8", "axes": None}
    job = {"job": "check", "key": "a", "source": {"kind": "given"}}
    head, body = Worker(0).run({**job, "given": {**given, "training": False}}, b"")
    assert head["status"] == 200, body
    found = [one["code"] for one in json.loads(body)["findings"]["findings"]]
    assert "mixes-samples" in found
