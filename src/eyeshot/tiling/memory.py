"""How large tiles may be: what forwards take is measured in a process of their own, and predicted from there.

A forward's peak is close to a line in the positions of its input: activations grow with them, and weights,
code and the libraries' scratch don't. So it is measured on the smallest crop, on a middling one and, where
that takes seconds, on the one that is then chosen; in between and beyond the line decides, with a margin.

What is measured is the whole process (the most that it had in memory at any time), with as many forwards at
once as there are workers: so threads, allocators that keep what was freed, and scratch are all in it. A cuda
device's figures are those of PyTorch's allocator; the driver's own context comes on top.
"""

from __future__ import annotations

import json
import math
import os
import pickle
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

from eyeshot.errors import EyeshotError
from eyeshot.tiling.allocator import settle
from eyeshot.tiling.plan import Measured, Memory, TilePlan
from eyeshot.tiling.planning import MAX_TILES, Planner

if TYPE_CHECKING:
    from eyeshot.tiling.models import Model

__all__ = ["Meter", "fit", "measure", "parsed", "serve", "spelled"]

#: What predictions are enlarged by, beyond the base. Runs of random tiles on U-Nets, 3-D and 1-D networks, in
#: PyTorch and ONNX, took up to 1.38 times what was measured: allocators keep blocks of many sizes.
SAFETY = 1.4
#: Input positions of the middling crop, and what it may be of the smallest one at most.
MIDDLE = 1 << 16
#: Tiles along one axis beyond which smaller ones are not considered.
LONGEST = 1 << 14
#: Seconds that one measurement may take, as far as that can be told before.
PATIENCE = 20.0
#: Every measurement runs at least so often, and on so long if it is quick: an allocator that has come to keep
#: blocks of several sizes takes up to half as much again as at first.
REPEATS, MOST, MOMENT = 3, 16, 1.5
#: A stated least budget is so much above what was measured, which varies from run to run.
SLACK = 1.03

UNITS = {"": 1, "b": 1}
UNITS |= {p + e: 1000**i for i, p in enumerate("kmgt", 1) for e in ("", "b")}
UNITS |= {p + e: 1024**i for i, p in enumerate("kmgt", 1) for e in ("i", "ib")}

#: What a run imports besides the model's own framework.
LIBRARIES = ("dask.array", "zarr", "tifffile", "PIL.Image")


def parsed(budget: str | int) -> int:
    """Bytes: a number, or a text such as ``2GB`` (10^9), ``500MiB`` (2^20) or ``1.5 GiB``.

    Raises :class:`~eyeshot.errors.EyeshotError` for anything else.
    """
    if isinstance(budget, int) and not isinstance(budget, bool):
        number, unit = float(budget), 1
    else:
        match = re.fullmatch(r"\s*(\d{1,18}(?:\.\d{1,9})?)\s*([a-zA-Z]*)\s*", str(budget))
        if match is None or match[2].lower() not in UNITS or isinstance(budget, bool):
            raise EyeshotError(f"memory: expected an amount such as 2GB or 500MiB, got {budget!r}")
        number, unit = float(match[1]), UNITS[match[2].lower()]
    if not 1 <= number * unit < 1 << 63:
        raise EyeshotError(f"memory: expected an amount such as 2GB or 500MiB, got {budget!r}")
    return int(number * unit)


def spelled(count: float, up: bool = False) -> str:
    """Bytes for people, in decimal units: ``412 MB``, ``1.95 GB``; ``up``: never less than they are."""
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            value = count / size
            digits = 0 if value >= 100 else 1 if value >= 10 else 2
            if up:
                value = math.ceil(value * 10**digits) / 10**digits
            return f"{value:.{digits}f} {unit}"
    return f"{count:.0f} bytes"


class Meter:
    """A fresh process that holds a model and runs forwards to see what they take; a context manager.

    ``shape``: of a whole image that is planned for, as a run does before it begins. ``base``: bytes that it
    takes with libraries, model and plan loaded. ``arrays``: bytes of a forward's input and output together,
    per input position, as far as measured.
    """

    def __init__(self, model: Model, shape: Sequence[int] | None = None) -> None:
        self.device = str(model.device)
        self.base = 0
        self.arrays = 0.0
        self.itemsize = model.dtype.itemsize
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        try:
            payload = _pickled(model)
        except Exception as error:
            raise EyeshotError(
                f"memory: {model.title} can't be sent to the process that measures it "
                f"({_line(error)}); give tile= instead"
            ) from None
        paths = [path for path in sys.path if path]
        self._process = subprocess.Popen(
            [sys.executable, "-c", "from eyeshot.tiling.memory import serve; serve()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
        )
        try:
            self.base = self._ask({"payload": payload, "whole": shape})["base"]
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()
        self._errors.close()

    def measure(
        self, shape: Sequence[int], workers: int = 1, others: Sequence[Sequence[int]] = ()
    ) -> Measured:
        """What ``workers`` forwards at once take, each on an input of this shape; ``others``, smaller, in
        between.

        Sizes should ascend from call to call: where a system's own peak can't be reset it only ever grows.
        Raises :class:`~eyeshot.errors.EyeshotError` where the model fails, or the system ends the process.
        """
        shapes = [tuple(shape), *map(tuple, others)]
        found = self._ask({"shapes": shapes, "workers": workers}, _by(shape))
        positions = _positions(shape)
        self.arrays = max(self.arrays, found["arrays"] / positions)
        return Measured(tuple(shape), workers, found["peak"], found["seconds"])

    def _ask(self, request: dict[str, Any], what: str = "") -> dict[str, Any]:
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            pickle.dump(request, self._process.stdin)
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = b""
        if not line:
            code = self._process.wait()
            self._errors.seek(0)
            last = self._errors.read().decode(errors="replace").strip().splitlines()[-1:] or [""]
            why = "was ended by the system, for want of memory it seems" if code == -9 else "ended"
            raise EyeshotError(f"memory: the process that measures {what} {why} {last[0]}".rstrip())
        found: dict[str, Any] = json.loads(line)
        if "error" in found:
            raise EyeshotError(f"memory: {found['error']}")
        return found


def measure(model: Model, shapes: Sequence[Sequence[int]], *, workers: int = 1) -> list[Measured]:
    """What forwards take on inputs of these shapes (batch and channels included), from the smallest on."""
    with Meter(model) as meter:
        ascending = sorted(shapes, key=math.prod)
        found = {tuple(shape): meter.measure(shape, workers) for shape in ascending}
    return [found[tuple(shape)] for shape in shapes]


def fit(
    meter: Meter,
    planner: Planner,
    budget: str | int,
    *,
    tile: Sequence[int] | int | None = None,
    batch: int = 1,
    workers: int = 1,
    fixed_batch: int | None = None,
) -> TilePlan:
    """The plan with the largest near-square tiles whose run stays within ``budget``; its ``memory`` tells the
    rest.

    ``tile``: only look whether these tiles do. ``fixed_batch``: what the model's inputs have whatever
    ``batch`` is. Raises :class:`~eyeshot.errors.EyeshotError`, with the least budget, where even the smallest
    tiles take more.
    """
    return _Fit(meter, planner, parsed(budget), batch, fixed_batch or batch, workers).plan(tile)


class _Fit:
    """The search for a tile: measurements so far, and the line through them."""

    def __init__(
        self, meter: Meter, planner: Planner, budget: int, batch: int, samples: int, workers: int
    ) -> None:
        self.meter, self.planner, self.budget = meter, planner, budget
        self.batch, self.samples, self.workers = batch, samples, workers
        self.measured: list[Measured] = []
        self.extra = [0] * len(planner.extents)
        self.least = 0

    def plan(self, tile: Sequence[int] | int | None) -> TilePlan:
        if tile is not None:
            return self._given(self.planner.plan(tile, self.batch))
        edge = self._smallest()
        plan = self._planned(edge)
        self.look(plan)
        self.least = math.ceil(self.total(self.positions(plan)) * SLACK)
        if self.total(self.positions(plan)) > self.budget:
            raise EyeshotError(
                f"memory: {spelled(self.budget)} is too little: the smallest tiles "
                f"({_by(plan.crop[axis.axis] for axis in plan.axes)} with their margins) take "
                f"{spelled(self.total(self.positions(plan)))}; give at least {spelled(self.least, up=True)}"
            )
        middle = self._edge(
            lambda n: n <= max(MIDDLE * self.samples, 4 * self._last) and self.fits(n)
        )
        if middle > edge:
            plan = self._planned(middle)
            self.look(plan)
            plan = self._largest()
            if self.seconds(self.positions(plan)) <= PATIENCE:
                again = plan
            else:
                again = self._planned(self._edge(lambda n: self.seconds(n) <= PATIENCE))
            if self.positions(again) > 2 * self._last:
                self.look(again)
                plan = self._largest()
        return self._told(plan)

    def _given(self, plan: TilePlan) -> TilePlan:
        """The plan that was asked for, if it fits."""
        small = self._planned(self._smallest())
        self.look(small)
        self.least = math.ceil(self.total(self.positions(small)) * SLACK)
        n = self.positions(plan)
        if (n > self._last and not self.fits(n)) or self.seconds(n) <= PATIENCE:
            quarter = self._planned(self._edge(lambda m: 4 * m <= n))
            if self.positions(quarter) > self._last:
                self.look(quarter)
        if n > self._last and self.fits(n) and self.seconds(n) <= PATIENCE:
            self.look(plan)
        if not self.fits(n):
            raise EyeshotError(
                f"memory: tiles of {_by(axis.tile or axis.size for axis in plan.axes)} take about "
                f"{spelled(self.total(n))}, more than {spelled(self.budget)}; "
                "give smaller ones, or memory= alone"
            )
        return self._told(plan)

    def look(self, plan: TilePlan) -> None:
        """Measure a plan's largest crop, with those at the image's ends in between."""
        largest, *rest = _crops(plan, self.samples)
        self.measured.append(self.meter.measure(largest, self.workers, rest))

    def positions(self, plan: TilePlan) -> int:
        """Input positions of one batch of a plan's largest crops."""
        return self.samples * math.prod(plan.crop[axis.axis] for axis in plan.axes)

    @property
    def _last(self) -> int:
        return _positions(self.measured[-1].shape)

    def line(self) -> tuple[float, float]:
        """What all workers' forwards take: bytes, and bytes per input position of each."""
        points = [(_positions(m.shape), m.peak) for m in self.measured[-2:]]
        if len(points) == 1:  # in proportion, which is more than it will be
            return 0.0, points[0][1] / points[0][0]
        (n, low), (m, high) = points
        slope = max(0.0, (high - low) / (m - n))
        return max(0.0, high - slope * m), slope

    def total(self, n: int) -> float:
        """What a run takes whose forwards have n input positions."""
        fixed, slope = self.line()
        known = max((m.peak for m in self.measured if _positions(m.shape) <= n), default=0)
        beyond = max(known, fixed + slope * n) + self.workers * self.meter.arrays * n
        return self.meter.base + SAFETY * beyond

    def fits(self, n: int) -> bool:
        return self.total(n) <= self.budget

    def seconds(self, n: int) -> float:
        """How long it would take to measure n input positions."""
        last = self.measured[-1]
        return REPEATS * last.seconds * n / _positions(last.shape)

    def _largest(self) -> TilePlan:
        """The largest tiles that fit, their crops as they really are."""
        edge = self._edge(self.fits)
        plan = self._planned(edge)
        while not self.fits(self.positions(plan)) and edge > 1:
            edge = min(edge - 1, self._edge(self.fits))  # crops were larger than was thought
            plan = self._planned(edge)
        return plan

    def _planned(self, edge: int) -> TilePlan:
        plan = self.planner.plan(self._sizes(edge), self.batch)
        for k, axis in enumerate(plan.axes):
            if axis.tile:
                self.extra[k] = max(self.extra[k], axis.crop - axis.tile)
        return plan

    def _sizes(self, edge: int) -> tuple[int, ...]:
        """Tiles of about ``edge`` positions along every axis: on the grid, 0 where that is the whole."""
        sizes = ((max(1, edge // e.grid) * e.grid, e.size) for e in self.planner.extents)
        return tuple(0 if tile >= size else tile for tile, size in sizes)

    def _estimated(self, edge: int) -> int:
        """Input positions of a batch of crops for such tiles."""
        sizes = zip(self._sizes(edge), self.planner.extents, self.extra, strict=True)
        return self.samples * math.prod(min(t + x, e.size) if t else e.size for t, e, x in sizes)

    def _edge(self, does: Callable[[int], bool]) -> int:
        """The largest edge whose crops' positions do; the smallest edge where none does."""
        low, high = self._smallest(), max(e.size for e in self.planner.extents)
        while low < high:
            middle = (low + high + 1) // 2
            if does(self._estimated(middle)):
                low = middle
            else:
                high = middle - 1
        return low

    def _smallest(self) -> int:
        """The smallest edge that doesn't make too many tiles."""
        low, high = 1, max(e.size for e in self.planner.extents)
        while low < high:
            middle = (low + high) // 2
            if self._many(middle):
                low = middle + 1
            else:
                high = middle
        return low

    def _many(self, edge: int) -> bool:
        """Whether tiles are too many to be looked at."""
        sizes = zip(self._sizes(edge), self.planner.extents, strict=True)
        counts = [math.ceil(e.out / (t * e.scale)) if t else 1 for t, e in sizes]
        return max(counts) > LONGEST or math.prod(counts) > MAX_TILES

    def _told(self, plan: TilePlan) -> TilePlan:
        fixed, slope = self.line()
        held = Memory(
            device=self.meter.device,
            budget=self.budget,
            base=self.meter.base,
            measured=tuple(self.measured),
            fixed=round(fixed),
            slope=slope,
            arrays=self.meter.arrays * self.workers,
            workers=self.workers,
            peak=math.ceil(self.total(self.positions(plan))),
            least=self.least,
        )
        return replace(plan, memory=held)


def _positions(shape: Sequence[int]) -> int:
    """Positions of an input ``[N, C, *S]``, channels not counted."""
    return math.prod(shape) // shape[1]


def _crops(plan: TilePlan, samples: int) -> list[tuple[int, ...]]:
    """The shape of a plan's largest crops, and of the first and the last one where they are smaller."""
    found = [(samples, *plan.crop[1:])]
    for end in (0, -1):
        shape = list(found[0])
        for axis in plan.axes:
            low, high = axis.spans[end].read
            shape[axis.axis] = high - low
        found.append(tuple(shape))
    return list(dict.fromkeys(found))


def _pickled(model: Model) -> bytes:
    """The model for another process: classes of the user's script or notebook by value, where that can be."""
    try:
        import cloudpickle  # type: ignore[import-untyped]
    except ModuleNotFoundError:
        return pickle.dumps(model)
    held: bytes = cloudpickle.dumps(model)
    return held


def _by(sizes: Any) -> str:
    return "x".join(map(str, sizes))


def _line(error: BaseException) -> str:
    return (" ".join(str(error).split()) or type(error).__name__)[:200]


# The process that measures -----------------------------------------------------------------------


def serve() -> None:
    """Answer a :class:`Meter`'s requests: pickles on stdin, lines of JSON on what was stdout."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a model prints is not an answer
    held = _Measuring()
    while True:
        try:
            request = pickle.load(sys.stdin.buffer)  # from our own parent
        except EOFError:
            return
        try:
            answer = held.load(**request) if "payload" in request else held.forward(**request)
        except Exception as error:
            answer = {"error": _line(error)}
        print(json.dumps(answer), file=answers, flush=True)


class _Measuring:
    """A model, and what its forwards take."""

    def load(self, payload: bytes, whole: Sequence[int] | None) -> dict[str, Any]:
        import importlib

        settle()  # as runs do
        for name in LIBRARIES:
            try:
                importlib.import_module(name)
            except ImportError:
                continue
        self.model = pickle.loads(payload)
        if whole is not None:
            self.planner = Planner(self.model.subject, whole)
            self.plan = self.planner.plan()
        cuda = str(self.model.device).startswith("cuda")
        self.gauge: _Process | _Cuda = _Cuda(self.model.device) if cuda else _Process()
        self.base = self.gauge.now()
        return {"base": self.base}

    def forward(self, shapes: list[tuple[int, ...]], workers: int) -> dict[str, Any]:
        import itertools
        import threading
        from concurrent.futures import ThreadPoolExecutor

        import numpy as np

        gate = threading.Barrier(workers)

        def once(shape: tuple[int, ...]) -> int:
            gate.wait()
            x = np.ones(shape, dtype=self.model.dtype)
            y = self.model(x)
            return int(x.nbytes + y.nbytes)

        self.gauge.reset()
        begin = time.perf_counter()
        seconds, arrays = 0.0, 0
        with ThreadPoolExecutor(workers) as pool:
            # The first again and again, so that it comes upon what any other has left behind.
            turns = itertools.cycle(
                [shapes[0], *itertools.chain(*((s, shapes[0]) for s in shapes[1:]))]
            )
            for run, shape in zip(range(MOST), turns, strict=False):
                started = time.perf_counter()
                if run >= max(REPEATS, 2 * len(shapes) - 1) and started - begin > MOMENT:
                    break
                size = max(pool.map(once, [shape] * workers))
                if shape == shapes[0]:
                    arrays, seconds = size, time.perf_counter() - started
        peak = max(0, self.gauge.peak() - self.base)
        return {"peak": peak, "arrays": arrays, "seconds": seconds}


class _Process:
    """The memory of this process."""

    def now(self) -> int:
        return _status("VmRSS") or self.peak()

    def reset(self) -> None:
        """Begin a new peak where the system can; elsewhere it is that of all so far."""
        try:
            with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
                file.write("5")
        except OSError:
            pass

    def peak(self) -> int:
        found = _status("VmHWM")
        if found:
            return found
        try:
            import resource
        except ModuleNotFoundError:  # Windows
            import psutil

            return int(psutil.Process().memory_info().peak_wset)
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else most * 1024


class _Cuda:
    """The memory that PyTorch's allocator holds on a device."""

    def __init__(self, device: str) -> None:
        import torch

        self.cuda, self.device = torch.cuda, torch.device(device)

    def now(self) -> int:
        return int(self.cuda.memory_reserved(self.device))

    def reset(self) -> None:
        self.cuda.reset_peak_memory_stats(self.device)

    def peak(self) -> int:
        return int(self.cuda.max_memory_reserved(self.device))


def _status(name: str) -> int:
    """A line of Linux's /proc/self/status in bytes; 0 where there is none."""
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as file:
            for line in file:
                if line.startswith(name + ":"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0
