"""Clocks that survive a busy machine, and the table of ratios."""

from __future__ import annotations

import gc
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

__all__ = ["PEAK", "Ratio", "Task", "best", "child", "environment", "note", "processes", "table"]

SAMPLE = 0.004
"""A sample repeats its task until it takes about so many seconds."""


class Ratio(NamedTuple):
    """One row: ``value`` of ``what``, which should be at most ``aim`` (None: for information).

    ``unit`` follows the numbers: × for a ratio, nothing for a count.
    """

    what: str
    value: float
    aim: float | None = None
    unit: str = "×"

    @property
    def verdict(self) -> str:
        """Whether the aim is met, in one word."""
        if self.aim is None:
            return ""
        return "met" if self.value <= self.aim else "missed"


class Task(NamedTuple):
    """What to time: ``run`` of what ``setup`` gives; the set-up is not timed."""

    run: Callable[[Any], object]
    setup: Callable[[], Any] | None = None


def best(tasks: Mapping[str, Task], rounds: int, seconds: float = 60.0) -> dict[str, float]:
    """Least CPU seconds of each task.

    A round takes one sample of every task, one after another, so that a change of the machine's speed
    meets all of them. Rounds end after ``seconds`` too, though never before the third. Garbage is collected
    before a sample and, as in any program, whenever Python likes during it.
    """
    repeats = dict.fromkeys(tasks, 0)
    least: dict[str, float] = {}
    end = time.monotonic() + seconds
    for turn in range(rounds):
        if turn >= 3 and time.monotonic() > end:
            break
        for name, task in tasks.items():
            if not repeats[name]:
                # The first call warms caches and lazy imports; the second says how many fill a sample.
                once = _sample(task, 1)
                if once < 0.5:
                    once = _sample(task, 1)
                repeats[name] = 1 if task.setup else max(1, round(SAMPLE / max(once, 1e-7)))
            taken = _sample(task, repeats[name])
            least[name] = min(taken, least.get(name, taken))
    for name, taken in least.items():
        note(f"{name}: {taken * 1e6:.1f} µs")
    return least


def _sample(task: Task, repeats: int) -> float:
    """CPU seconds of one call."""
    given = task.setup() if task.setup else None
    run = task.run
    gc.collect()
    begin = time.thread_time()
    for _ in range(repeats):
        run(given)
    return (time.thread_time() - begin) / repeats


def processes(commands: Mapping[str, Sequence[str]], rounds: int) -> dict[str, float]:
    """Median seconds from the start to the end of each command, as a clock on the wall has it.

    The commands take turns; an untimed first turn lets Python write its bytecode.
    """
    taken: dict[str, list[float]] = {name: [] for name in commands}
    for turn in range(rounds + 1):
        for name, command in commands.items():
            begin = time.perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment())
            if turn:
                taken[name].append(time.perf_counter() - begin)
    for name, times in taken.items():
        note(
            f"{name}: median {statistics.median(times) * 1e3:.1f} ms, best {min(times) * 1e3:.1f} ms"
        )
    return {name: statistics.median(times) for name, times in taken.items()}


def environment() -> dict[str, str]:
    """The environment of a user's shell: bytecode is kept, nothing is traced."""
    drop = ("PYTHONDONTWRITEBYTECODE", "PYTHONTRACEMALLOC", "PYTHONDEVMODE", "PYTHONWARNINGS")
    return {key: value for key, value in os.environ.items() if key not in drop}


def note(text: str) -> None:
    """An absolute number, for the one who runs this; the page shows ratios only."""
    print(f"  {text}", file=sys.stderr, flush=True)


def table(rows: Iterable[Ratio]) -> str:
    """The rows as a Markdown table that also reads well as it stands."""
    cells = [("what", "ratio", "aim", "")]
    for row in rows:
        aim = "" if row.aim is None else f"≤ {row.aim:g}{row.unit}"
        cells.append((row.what, f"{_short(row)}{row.unit}", aim, row.verdict))
    width = [max(len(row[k]) for row in cells) for k in range(4)]
    lines = [_line(row, width) for row in cells]
    rule = f"|{'-' * (width[0] + 2)}|{'-' * (width[1] + 1)}:|{'-' * (width[2] + 1)}:|"
    lines.insert(1, f"{rule}{'-' * (width[3] + 2)}|")
    return "\n".join(lines) + "\n"


def _line(row: tuple[str, ...], width: list[int]) -> str:
    what, ratio, aim, verdict = row
    return (
        f"| {what:<{width[0]}} | {ratio:>{width[1]}} | {aim:>{width[2]}} | {verdict:<{width[3]}} |"
    )


def _short(row: Ratio) -> str:
    """Three digits of a ratio; rounding must not hide that an aim is missed."""
    value = row.value
    if not row.unit:
        return f"{value:g}"
    digits = 0 if value >= 100 else 1 if value >= 10 else 2
    if row.verdict == "missed":
        while row.aim is not None and round(value, digits) <= row.aim:
            digits += 1
    return f"{value:.{digits}f}"


# --- peak memory

# A child's peak begins with that of the process that forked it, so a small one stands between.
LAUNCHER = "import subprocess, sys; sys.exit(subprocess.call(sys.argv[1:]))"
#: To be run at the end of a child's code.
PEAK = """
import resource, sys
sys.stderr.write(str(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss))
"""


def child(code: str, *arguments: str) -> int:
    """The number that a fresh process running ``code`` writes to stderr."""
    command = [sys.executable, "-S", "-c", LAUNCHER, sys.executable, "-c", code, *arguments]
    done = subprocess.run(
        command,
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    number = int(done.stderr)
    note(f"{' '.join(arguments) or code.strip().splitlines()[0]}: {number:,}")
    return number
