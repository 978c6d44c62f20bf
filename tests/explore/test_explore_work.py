"""The worker processes: limits, cancelling, lanes, crashes, many clients, and the end."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import statistics
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

import eyeshot
from eyeshot.explore.uploads import sweep

SPEC = "input: [1, 9, 9]\nlayers:\n  a: [3, 2, 1]\n  b: [{kernel}, 1, 1]\n"
#: Comments make a spec one for the heavy lane.
LONG = "#" * (1 << 14) + "\n" + SPEC


def ask(what: str | None = None, text: str = SPEC, kernel: int = 3) -> dict[str, Any]:
    content: dict[str, Any] = {
        "source": {"kind": "spec", "text": text.replace("{kernel}", f"{kernel}")}
    }
    return content if what is None else {**content, "input": what}


def right(answer: httpx.Response, kernel: int = 3) -> bool:
    layers = answer.json()["page"]["report"]["layers"]
    return [layer["fields"][0]["size"] for layer in layers] == [3, 3 + 2 * (kernel - 1)]


def pid(server: Any, text: str = SPEC) -> int:
    found = server.post("analyze", ask("pid", text))
    assert found.status_code == 200, found.text
    return int(found.json()["pid"])


def leave(server: Any, content: dict[str, Any]) -> socket.socket:
    """A request whose client does not wait; to be closed."""
    body = json.dumps(content).encode()
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=20)
    connection.sendall(
        b"POST /api/analyze HTTP/1.1\r\nHost: %s\r\nOrigin: %s\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n%s"
        % (server.host.encode(), server.origin.encode(), len(body), body)
    )
    return connection


def test_the_time_limit(hostile: Any, tools: Any) -> None:
    before = pid(hostile)
    answer = hostile.post("analyze", ask("spin"))
    assert answer.status_code == 504
    assert "1.5 seconds" in answer.json()["error"]["message"]
    tools.wait_for(lambda: not tools.alive(before) or pid(hostile) == before)
    assert right(hostile.post("analyze", ask()))


def test_the_memory_limit(hostile: Any) -> None:
    answer = hostile.post("analyze", ask("grow"))
    assert "needs more memory than 300 MiB" in answer.json()["error"]["message"]
    assert right(hostile.post("analyze", ask()))
    resident = int(Path(f"/proc/{pid(hostile)}/statm").read_text().split()[1])
    assert resident * os.sysconf("SC_PAGE_SIZE") < 300 << 20


def test_a_crash(hostile: Any) -> None:
    for _ in range(2):
        answer = hostile.post("analyze", ask("crash"))
        assert "broke off" in answer.json()["error"]["message"]
        assert right(hostile.post("analyze", ask()))


def test_an_error_of_ours_shows_nothing(hostile: Any) -> None:
    """Its trace is for the terminal; the worker goes on."""
    answer = hostile.post("analyze", ask("fail"))
    assert answer.status_code == 500
    assert list(answer.json()["error"]) == ["message"]
    assert "purpose" not in answer.text and ".py" not in answer.text


def test_what_is_cancelled_ends_at_once(hostile: Any, tools: Any, tmp_path: Path) -> None:
    """With all that it has started."""
    note = tmp_path / "pid"
    connection = leave(hostile, ask(f"child {note}", LONG))
    child = int(tools.wait_for(lambda: note.exists() and note.read_text()))
    assert tools.alive(child)
    connection.close()
    began = time.monotonic()
    tools.wait_for(lambda: not tools.alive(child))
    # The time limit would have ended it too, but later.
    assert time.monotonic() - began < 1.4


def test_what_is_nearly_done_is_finished(hostile: Any) -> None:
    """Typing quickly cancels every question; a process for each would be dear."""
    before = pid(hostile)
    for kernel in range(1, 9):
        leave(hostile, ask(None, kernel=kernel)).close()
    assert pid(hostile) == before


def test_a_heavy_job_does_not_make_specs_wait(hostile: Any) -> None:
    connection = leave(hostile, ask("sleep 1000", LONG))
    try:
        for _ in range(5):
            assert right(hostile.post("analyze", ask()))
    finally:
        connection.close()


def test_one_slow_spec_does_not_block_the_next(hostile: Any) -> None:
    connection = leave(hostile, ask("sleep 1000"))
    try:
        assert right(hostile.post("analyze", ask()))
    finally:
        connection.close()


def test_a_full_queue(hostile: Any, tools: Any) -> None:
    """One runs and two wait; the others are told to come again."""
    content = ask("sleep 1000", LONG)
    assert right(hostile.post("analyze", ask(None, LONG)))  # its worker is there
    open_ = [leave(hostile, content) for _ in range(8)]
    try:
        tools.wait_for(lambda: len(select.select(open_, [], [], 0)[0]) >= 5)
        answers = [connection.recv(9999) for connection in select.select(open_, [], [], 0)[0]]
        busy = [answer for answer in answers if answer.startswith(b"HTTP/1.1 503 ")]
        assert len(busy) == 5  # whatever may have taken too long meanwhile
        assert all(b"retry-after: 1\r\n" in answer for answer in busy)
        assert right(hostile.post("analyze", ask()))
    finally:
        for connection in open_:
            connection.close()
    tools.wait_for(lambda: hostile.post("analyze", ask(None, LONG)).status_code == 200)


# --- bodies


def head(server: Any, more: bytes, path: bytes = b"/api/upload?name=x") -> bytes:
    kind = b"application/json" if b"upload" not in path else b"application/octet-stream"
    return (
        b"POST %s HTTP/1.1\r\nHost: %s\r\nOrigin: %s\r\nContent-Type: %s\r\nConnection: close\r\n%s\r\n\r\n"
        % (path, server.host.encode(), server.origin.encode(), kind, more)
    )


@pytest.mark.parametrize("path", [b"/api/upload?name=x", b"/api/analyze"])
def test_a_body_that_is_too_long_by_its_own_word(hostile: Any, path: bytes) -> None:
    """Refused without a byte of it being read."""
    assert hostile.raw(head(hostile, b"Content-Length: 99999999999", path)).split()[1] == b"413"


@pytest.mark.parametrize("path", ["upload?name=x", "analyze"])
def test_a_body_that_is_too_long_without_a_word(hostile: Any, path: str) -> None:
    kind = "application/octet-stream" if "upload" in path else "application/json"

    def pieces() -> Any:
        for _ in range(64):
            yield b" " * (1 << 15)

    try:
        answer = hostile.client.post(
            f"/api/{path}", content=pieces(), headers={"content-type": kind}
        )
    except httpx.WriteError:
        return  # it closed the connection before all was sent
    assert answer.status_code == 413


def test_a_body_with_two_lengths(hostile: Any) -> None:
    for more in (
        b"Content-Length: 3\r\nContent-Length: 5",
        b"Content-Length: -1",
        b"Content-Length: x",
    ):
        assert hostile.raw(head(hostile, more) + b"abc").split()[1] == b"400"


@pytest.mark.parametrize("path", [b"/api/upload?name=x", b"/api/analyze"])
def test_a_body_that_does_not_come(hostile: Any, path: bytes) -> None:
    assert hostile.raw(head(hostile, b"Content-Length: 9", path) + b"{").split()[1] == b"408"


def test_a_body_that_drips(hostile: Any) -> None:
    """Each piece is in time, the whole is not."""
    with socket.create_connection(("127.0.0.1", hostile.port), timeout=20) as connection:
        connection.sendall(head(hostile, b"Content-Length: 1000"))
        connection.settimeout(0.1)
        answer = b""
        while not answer:
            connection.sendall(b"x")
            try:
                answer = connection.recv(1000)
            except TimeoutError:
                continue
    assert answer.split()[1] == b"408"


def test_a_body_that_breaks_off_leaves_nothing(hostile: Any) -> None:
    with socket.create_connection(("127.0.0.1", hostile.port), timeout=20) as connection:
        connection.sendall(head(hostile, b"Content-Length: 1000") + b"x" * 500)
    assert right(hostile.post("analyze", ask()))


# --- many at once


def test_many_clients(server: Any) -> None:
    """32 clients, mixed questions, and one heavy job the whole time; all are answered right."""
    size = {kernel: 3 + 2 * (kernel - 1) for kernel in range(1, 6)}
    heavy = (
        "#" * (1 << 16)
        + "\ninput: [1, 64]\nlayers:\n"
        + "".join(f"  a{k}: [3, 1, 1]\n" for k in range(1200))
    )
    stop = threading.Event()
    done: list[int] = []

    def connected() -> httpx.Client:
        headers = {"origin": server.origin}
        return httpx.Client(
            base_url=server.url, headers=headers, timeout=60, verify=False, trust_env=False
        )

    def grind() -> None:
        with connected() as client:
            while not stop.is_set():
                content = {"source": {"kind": "spec", "text": heavy}}
                done.append(client.post("/api/analyze", json=content).status_code)

    def measured(client: httpx.Client, k: int) -> float:
        kernel = k % 5 + 1
        began = time.monotonic()
        if k % 4 == 3:
            answer = client.post(
                "/api/outline", json={"text": SPEC.replace("{kernel}", str(kernel))}
            )
            assert [layer["name"] for layer in answer.json()["layers"]] == ["a", "b"]
        elif k % 4 == 2:
            content = {**ask(None, kernel=kernel), "layer": "b", "unit": [1, 1]}
            (part,) = client.post("/api/unit", json=content).json()["parts"]
            assert part["box"][0][1] - part["box"][0][0] == size[kernel]
        else:
            assert right(client.post("/api/analyze", json=ask(None, kernel=kernel)), kernel)
        return time.monotonic() - began

    def client(number: int) -> list[float]:
        with connected() as each:
            return [measured(each, number + k) for k in range(4)]

    # How long the heavy job takes alone, and the others wait meanwhile.
    began = time.monotonic()
    content = {"source": {"kind": "spec", "text": heavy}}
    assert server.post("analyze", content).status_code == 200
    alone = time.monotonic() - began
    grinding = threading.Thread(target=grind)
    grinding.start()
    try:
        with ThreadPoolExecutor(32) as many:
            times = [t for found in many.map(client, range(32)) for t in found]
    finally:
        stop.set()
        grinding.join()
    assert len(times) == 128 and set(done) == {200}
    assert statistics.median(times) < alone


# --- the end


def test_it_ends_in_order(tools: Any, tmp_path: Path) -> None:
    server = tools.explore(TMPDIR=str(tmp_path))
    server.post("analyze", {"source": {"kind": "example", "name": "alexnet"}})
    workers = server.workers
    (folder,) = tmp_path.glob("eyeshot-explore-*")
    assert len(workers) >= 2 and folder.stat().st_mode & 0o777 == 0o700
    waiting = leave(server, {"source": {"kind": "example", "name": "alexnet"}})
    assert server.stop() == (0, "")
    waiting.close()
    assert not [worker for worker in workers if tools.alive(worker)]
    assert not list(tmp_path.glob("eyeshot-explore-*"))


def test_workers_end_with_a_killed_server(tools: Any, tmp_path: Path) -> None:
    """Its uploads are deleted by the next one."""
    server = tools.explore(TMPDIR=str(tmp_path))
    workers = server.workers
    busy = leave(server, {"source": {"kind": "example", "name": "wavenet"}})
    assert server.stop(signal.SIGKILL)[0] == -signal.SIGKILL
    busy.close()
    tools.wait_for(lambda: not [worker for worker in workers if tools.alive(worker)])
    (left,) = tmp_path.iterdir()
    (left / "0").write_bytes(b"a model")
    sweep(tmp_path)
    assert not left.exists()


def test_the_library_agrees(server: Any) -> None:
    """What the page is told is what the library says."""
    for name in ("alexnet", "fpn", "patchgan"):
        answer = server.post("analyze", {"source": {"kind": "example", "name": name}})
        assert answer.json()["page"]["report"] == eyeshot.analyze(f"example:{name}").to_dict()
