"""Runs to test with: a network in NumPy, quick to start in many processes; images, plans, processes to kill."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from eyeshot.tiling.plan import TilePlan
from eyeshot.tiling.planning import Planner
from eyeshot.tiling.subject import Subject

LIBRARIES = ("dask", "dask.threaded", "zarr", "tifffile")
SPEC = {
    "layers": {
        "a": {"op": "conv", "kernel": 3, "padding": 1, "channels": 2},
        "b": {"op": "conv", "kernel": 5, "padding": 2, "channels": 2},
    }
}
RNG = np.random.default_rng(7)
WEIGHTS = RNG.standard_normal((2, 1, 3, 3)), RNG.standard_normal((2, 2, 5, 5))


class Net:
    """Two convolutions with zero padding, 1 channel to 2; all that is asked of a model.

    ``slow``: seconds of sleep for each call. ``trap``: a crop whose largest number is this one does not get
    through: the first ``fails`` times (counted in the folder ``tally``), always where that is None; ``deadly``:
    it ends the process.
    """

    title = "net"
    dtype = np.dtype(np.float32)
    compute = "float32"
    device = "cpu"
    output = None
    training = False
    threads: int | None = 1
    fixed_batch = None

    def __init__(
        self,
        slow: float = 0.0,
        *,
        trap: float | None = None,
        fails: int | None = None,
        tally: Path | None = None,
        deadly: bool = False,
        error: type[Exception] = RuntimeError,
        scale: float = 1.0,
    ) -> None:
        self.slow, self.trap, self.fails, self.tally = slow, trap, fails, tally
        self.deadly, self.error, self.scale = deadly, error, scale

    @property
    def fingerprint(self) -> str:
        return f"{zlib.crc32(np.float64(self.scale).tobytes()):08x}"

    def __call__(self, x: np.ndarray) -> np.ndarray:
        if self.slow:
            time.sleep(self.slow)
        if self.trap is not None and x.max() == np.float32(self.trap) and self._snaps():
            if self.deadly:
                os.kill(os.getpid(), signal.SIGKILL)
            raise self.error("the trap snapped\nat the second line")
        return np.stack([self.one(sample) for sample in x])

    def one(self, x: np.ndarray) -> np.ndarray:
        for weight in WEIGHTS:
            x = np.maximum(convolved(x, weight.astype(np.float32)), 0)
        return np.float32(self.scale) * x

    def _snaps(self) -> bool:
        if self.fails is None or self.tally is None:
            return True
        before = len(list(self.tally.iterdir()))
        (self.tally / f"{before} {os.getpid()} {time.monotonic_ns()}").touch()
        return before < self.fails


def convolved(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """[C, H, W] with weights [D, C, k, k] to [D, H, W]; always summed in the same order."""
    out, _, size, _ = weight.shape
    pad = size // 2
    padded = np.pad(x, ((0, 0), (pad, pad), (pad, pad)))
    found = np.zeros((out, *x.shape[1:]), x.dtype)
    for d in range(out):
        for c in range(x.shape[0]):
            for i in range(size):
                for j in range(size):
                    found[d] += (
                        weight[d, c, i, j] * padded[c, i : i + x.shape[1], j : j + x.shape[2]]
                    )
    return found


def planned(shape: tuple[int, int], tile: int, batch: int = 1) -> TilePlan:
    return Planner(Subject(SPEC), (1, 1, *shape)).plan(tile, batch)


def image(folder: Path, shape: tuple[int, ...] = (96, 80), name: str = "image.npy") -> Path:
    """A random image; the number 1000 is nowhere in it."""
    path = folder / name
    if path.exists():
        return path
    np.save(path, np.random.default_rng(3).standard_normal(shape).astype(np.float32))
    return path


def whole(path: Path, scale: float = 1.0) -> np.ndarray:
    """What the network gives for the whole image [H, W]: [2, H, W]."""
    return Net(scale=scale).one(np.load(path)[None])


def read_out(path: Path) -> np.ndarray:
    """An output, read by the library that its format is of."""
    if path.suffix == ".npy":
        return np.load(path)
    if path.suffix == ".tif":
        import tifffile

        return np.asarray(tifffile.imread(path))
    import zarr

    return np.asarray(zarr.open_array(path, mode="r")[:])


# --- processes to kill


def child(asked: dict[str, Any]) -> None:
    """A run in this process, which may be killed; what it tells goes to a file."""
    from eyeshot.tiling.run import Stopped, run

    try:
        result = run(
            Net(asked["slow"]),
            asked["image"],
            asked["out"],
            plan=TilePlan.from_dict(asked["plan"]),
            workers=2,
            resume=asked["resume"],
        )
    except (Stopped, Exception) as error:
        Path(asked["told"]).write_text(f"{type(error).__name__}: {error}")
        raise SystemExit(3) from None
    counts = [result.tiles, result.done, result.skipped, result.again, len(result.failed)]
    Path(asked["told"]).write_text(json.dumps(counts))


class Runs:
    """Processes that run the same thing; they are forked from one that has imported all that is needed."""

    def __init__(self, image: Path, out: Path, plan: TilePlan, slow: float = 0.0) -> None:
        self.context = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload(
            ["tests.tiling.runs", "eyeshot.tiling.run", "dask", "zarr"]
        )
        self.told = out.with_name("told")
        self.journal = out.with_name(out.name + ".partial.journal")
        self.asked = {
            "image": str(image),
            "out": str(out),
            "plan": plan.to_dict(),
            "slow": slow,
            "told": str(self.told),
        }

    def start(self, resume: bool) -> Any:
        self.told.unlink(missing_ok=True)
        process = self.context.Process(target=child, args=({**self.asked, "resume": resume},))
        process.start()
        return process

    def finished(self, resume: bool = False) -> list[int]:
        """What one tells that is left alone."""
        process = self.start(resume)
        process.join()
        told = self.told.read_text()
        assert process.exitcode == 0, told
        return list(json.loads(told))

    def killed(self, resume: bool, records: int, after: float) -> bool:
        """Start one, and kill it so many seconds after it has so many records; whether it was still there."""
        process = self.start(resume)
        while process.exitcode is None and self.records() < records:
            time.sleep(0.001)
        process.join(after)
        process.kill()
        process.join()
        assert process.exitcode in (0, -signal.SIGKILL), self.told.read_text()
        return bool(process.exitcode)

    def records(self) -> int:
        """How many the journal has; -1 if it has no header yet."""
        try:
            return self.journal.read_bytes().count(b"\n") - 1
        except FileNotFoundError:
            return -1


def lines(journal: Path) -> list[dict[str, Any]]:
    """What a journal says, without looking at its checksums."""
    return [json.loads(line)["line"] for line in journal.read_bytes().split(b"\n")[:-1]]
