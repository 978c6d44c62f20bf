"""Runs on a real cluster of several processes, with workers that are killed."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eyeshot.errors import EyeshotError
from eyeshot.tiling import engine
from eyeshot.tiling.engine import Cluster, Trouble
from eyeshot.tiling.run import run
from tests.tiling.runs import Net, image, planned, read_out, whole

distributed = pytest.importorskip("distributed")

SHAPE = (96, 80)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    with distributed.LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        processes=True,
        dashboard_address="127.0.0.1:0",
        host="127.0.0.1",
        silence_logs=50,
    ) as made:
        yield made


@pytest.fixture(scope="module")
def connected(cluster: Any) -> Iterator[Any]:
    with distributed.Client(cluster, set_as_default=False) as made:
        yield made


@pytest.fixture
def client(connected: Any) -> Any:
    """A worker is there, also if some have just been killed."""
    connected.wait_for_workers(1, timeout=60)
    return connected


class Loaded(Net):
    """Tells each time that it arrives somewhere."""

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        assert self.tally is not None
        (self.tally / f"{os.getpid()} {time.monotonic_ns()}").touch()


def test_cluster_equals_whole(tmp_path: Path, cluster: Any, client: Any) -> None:
    """Workers read and write; the model comes to each of them once."""
    path, out, tally = image(tmp_path, SHAPE), tmp_path / "out.zarr", tmp_path / "tally"
    tally.mkdir()
    plan = planned(SHAPE, 16, 2)
    seen: list[int] = []
    result = run(
        Loaded(tally=tally),
        path,
        out,
        plan=plan,
        scheduler=cluster.scheduler_address,
        progress=lambda done, *_: seen.append(done),
    )
    assert (result.tiles, result.done, result.failed) == (30, 30, ())
    assert len(seen) > 10
    np.testing.assert_array_equal(read_out(out), whole(path))
    pids = [int(p.name.split()[0]) for p in tally.iterdir()]
    assert sorted(pids) == sorted(client.run(os.getpid).values())
    # Nothing of the run stays on the workers.
    left = client.run(lambda dask_worker: [n for n in dask_worker.plugins if "eyeshot" in n])
    assert set(map(len, left.values())) == {0}


def test_worker_killed(tmp_path: Path, client: Any) -> None:
    """A worker dies in the middle of the run: its tiles are done by the other, nothing is lost."""
    path, out = image(tmp_path, SHAPE), tmp_path / "out.npy"
    client.wait_for_workers(2, timeout=60)
    victim = next(iter(client.run(os.getpid).values()))
    killed: list[int] = []

    def kill(done: int, total: int, *_: object) -> None:
        if done >= 5 and not killed:
            killed.append(done)
            os.kill(victim, signal.SIGKILL)

    result = run(
        Net(slow=0.02), path, out, plan=planned(SHAPE, 16), scheduler=client, progress=kill
    )
    assert killed and killed[0] < result.tiles
    assert (result.done, result.failed) == (30, ())
    assert victim not in client.run(os.getpid).values()
    np.testing.assert_array_equal(read_out(out), whole(path))
    assert client.status == "running"  # what was given stays open


def test_failing_tile(tmp_path: Path, client: Any) -> None:
    """It is tried so often as asked for, and then told with its cause."""
    path, out, tally = image(tmp_path, SHAPE), tmp_path / "out.zarr", tmp_path / "tally"
    tally.mkdir()
    array = np.load(path)
    array[5, 5] = 1000  # in one crop only
    np.save(path, array)
    net = Net(trap=1000, fails=99, tally=tally, error=KeyError)
    result = run(net, path, out, plan=planned(SHAPE, 32), scheduler=client, retries=3)
    assert len(list(tally.iterdir())) == 4
    assert [f.place for f in result.failed] == [(0, 0)]
    assert result.failed[0].cause.startswith("KeyError: ")
    assert "\n" not in result.failed[0].cause
    assert result.done == 8


class Blind:
    """A job that some machine can't do."""

    def ready(self) -> None:
        raise EyeshotError("/data: the run's files are not there")

    def __call__(self, task: Any) -> Any:
        raise AssertionError("never called")


class Full:
    def ready(self) -> None:
        pass

    def __call__(self, task: int) -> int:
        if task == 3:
            raise OSError(28, "No space left on device", "/data/out")
        return task


def test_worker_without_the_files(client: Any) -> None:
    with pytest.raises(EyeshotError, match=r"worker tcp://127.0.0.1:\d+: /data: the run's files"):
        Cluster(Blind(), client, 0)


def test_files_seen_by_workers_are_compared(
    tmp_path: Path, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder of the same name, with another run in it, is not the run's."""
    from eyeshot.tiling import run as running

    def elsewhere(header: Any, *rest: Any) -> Any:
        return made({**header, "token": "f" * 32}, *rest)

    made = running.work
    monkeypatch.setattr(running, "work", elsewhere)
    with pytest.raises(EyeshotError, match="need to see the same files under the same paths"):
        run(
            Net(), image(tmp_path), tmp_path / "out.zarr", plan=planned(SHAPE, 32), scheduler=client
        )


def test_full_disk_on_a_worker(client: Any) -> None:
    """The run ends at once, and nothing is tried again."""
    done: list[Any] = []
    made = Cluster(Full(), client, 5)
    with pytest.raises(engine.Full, match="/data/out: No space left"):
        made.run(range(1000), lambda task, outcome: done.append(task))
    made.close()
    assert len(done) < 100
    assert not any(isinstance(outcome, Trouble) for outcome in done)


def test_tile_that_kills_workers(tmp_path: Path, client: Any) -> None:
    """It is reported with its place, and all others are done; then the run is gone on with here.

    The last one with this cluster: a nanny gives up a worker that dies as it starts.
    """
    path, out = image(tmp_path, SHAPE), tmp_path / "out.zarr"
    array = np.load(path)
    array[5, 5] = 1000
    np.save(path, array)
    plan = planned(SHAPE, 32)
    # The first death already tells on all tasks that the worker had, so that some of them are innocent.
    client.run_on_scheduler(_allow, 0)
    try:
        result = run(Net(trap=1000, deadly=True), path, out, plan=plan, scheduler=client)
    finally:
        client.run_on_scheduler(_allow, 3)
    at_fault = [t for t in plan if 1000 in array[t.read[2:]]]
    assert [(f.index, f.place, f.read) for f in result.failed] == [
        (t.index, t.place, t.read) for t in at_fault
    ]
    assert all("died" in f.cause for f in result.failed)
    assert result.done == 9 - len(at_fault) and not out.exists()
    result = run(Net(), path, out, resume=True)
    assert (result.done, result.skipped) == (len(at_fault), 9 - len(at_fault))
    np.testing.assert_array_equal(read_out(out), whole(path))


def _allow(failures: int, dask_scheduler: Any) -> None:
    dask_scheduler.allowed_failures = failures


def test_unreachable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "REACH", 1)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    before = time.monotonic()
    with pytest.raises(EyeshotError, match=f"scheduler {address}: nothing answered within 1 s"):
        Cluster(Full(), address, 0)
    assert time.monotonic() - before < 5
    path, plan = image(tmp_path, SHAPE), planned(SHAPE, 32)
    with pytest.raises(EyeshotError, match="nothing answered"):
        run(Net(), path, tmp_path / "out.zarr", plan=plan, scheduler=address)
    assert [p.name for p in tmp_path.iterdir()] == ["image.npy"]  # nothing is left
    for wrong, message in (
        ("htp://there", "expected an address"),
        ("tcp://there", "expected an address"),
        ("there", "expected an address"),
        ("", "expected an address"),
        (8786, "expected an address"),
    ):
        with pytest.raises(EyeshotError, match=message):
            Cluster(Full(), wrong, 0)


def test_no_workers_and_a_scheduler_that_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "REACH", 1)

    class Slow(Full):
        def __call__(self, task: int) -> int:
            time.sleep(0.05)
            return task

    with distributed.LocalCluster(
        n_workers=0,
        dashboard_address="127.0.0.1:0",
        host="127.0.0.1",
        processes=False,
        protocol="tcp",
        silence_logs=50,
    ) as empty:
        with pytest.raises(EyeshotError, match="it has no workers"):
            Cluster(Slow(), empty.scheduler_address, 0)
        empty.scale(1)
        made = Cluster(Slow(), empty.scheduler_address, 0)
        done: list[int] = []
        going = threading.Timer(0.5, lambda: empty.close(timeout=5))
        going.start()
        try:
            with pytest.raises(EyeshotError, match="it was lost; what is done is kept"):
                made.run(range(10000), lambda task, outcome: done.append(task))
        finally:
            going.join()
            made.close()
        assert done
