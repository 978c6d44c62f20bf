"""Many tasks over worker processes; one that crashes, hangs or takes too much memory is a record too.

Records are kept as JSON lines, so that a run that was stopped goes on where it was.
"""

from __future__ import annotations

import importlib
import json
import multiprocessing
import os
import sys
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, NamedTuple

__all__ = [
    "FOLDER",
    "Limits",
    "Record",
    "Store",
    "code",
    "machine_memory",
    "run",
    "showing",
    "stamp",
]

FOLDER = Path("build") / "benchmarks"
"""Where results are kept unless told otherwise; git does not see it."""

Record = dict[str, Any]


class Limits(NamedTuple):
    """``jobs`` processes; a task may take ``seconds``, a process ``memory`` bytes of address space."""

    jobs: int
    seconds: float
    memory: int


def machine_memory() -> int:
    """Bytes of this machine's memory."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


# --- what a record was made with


def code() -> str:
    """Ten digits that change with any line of eyeshot's own code."""
    import eyeshot

    root = Path(eyeshot.__file__).parent
    digest = sha256()
    for file in sorted(root.rglob("*.py")):
        digest.update(
            file.relative_to(root).as_posix().encode() + b"\0" + file.read_bytes() + b"\0"
        )
    return digest.hexdigest()[:10]


def stamp(*packages: str) -> dict[str, str]:
    """The versions of these packages and of eyeshot, with the digest of its code."""
    import eyeshot

    found = {"eyeshot": f"{eyeshot.__version__}+{code()}"}
    for name in packages:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "missing"
    return found


# --- results on disk


class Store:
    """Records by task in a file of JSON lines; the last one of a task counts."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.records: dict[str, Record] = {}
        if file.exists():
            for line in file.read_text(encoding="utf-8").splitlines():
                try:
                    record = json.loads(line)
                except json.JSONDecodeError:
                    continue  # a run that was stopped while it wrote
                if isinstance(record, dict) and "task" in record:
                    self.records[record["task"]] = record

    def clear(self) -> None:
        """Forget everything, on disk too."""
        self.records = {}
        self.file.unlink(missing_ok=True)

    def add(self, record: Record) -> None:
        """Keep ``record``, at once on disk."""
        self.records[record["task"]] = record
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with self.file.open("a", encoding="utf-8") as out:
            out.write(json.dumps(record, ensure_ascii=False) + "\n")

    def pending(
        self, tasks: Iterable[str], made_with: Callable[[str], dict[str, str]], keep: bool
    ) -> list[str]:
        """The tasks without a record made with these versions.

        ``keep``: an exact (or agreeing) record will do that was made with another version of eyeshot.
        """
        left = []
        for task in tasks:
            record = self.records.get(task)
            versions = dict(made_with(task))
            if record is not None and keep and record.get("status") in ("exact", "agreed"):
                versions["eyeshot"] = record["stamp"].get("eyeshot", "")
            if record is None or record["stamp"] != versions:
                left.append(task)
        return left


# --- processes


def run(tasks: Sequence[str], work: str, limits: Limits) -> Iterator[tuple[str, Record]]:
    """Each task with its record, as they are finished.

    ``work`` names the function, ``"module:name"``, that turns a task into a record. A record of a task that
    raised, crashed or took too long has status ``failed``, and says why under ``error``.
    """
    queue = deque(tasks)
    workers = [_Worker(work, limits) for _ in range(min(limits.jobs, len(tasks)))]
    try:
        while queue or any(worker.task for worker in workers):
            for worker in workers:
                if worker.ready and queue:
                    worker.give(queue.popleft())
            wait([w for worker in workers for w in worker.handles()], timeout=0.5)
            for k, worker in enumerate(workers):
                done = worker.look(limits)
                if done is not None:
                    yield done
                if worker.ended:
                    worker.stop()
                    if queue:
                        workers[k] = _Worker(work, limits)
    finally:
        for worker in workers:
            worker.stop()


class _Worker:
    """One process, from this side of the pipe."""

    def __init__(self, work: str, limits: Limits) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, far = context.Pipe()
        self.process = context.Process(target=_serve, args=(far, work, limits.memory), daemon=True)
        self.process.start()
        far.close()
        self.ready = False
        self.begun = False
        self.ended = False
        self.task = ""
        self.since = time.monotonic()

    def handles(self) -> list[Any]:
        return [] if self.ended else [self.pipe, self.process.sentinel]

    def give(self, task: str) -> None:
        self.ready, self.task, self.since = False, task, time.monotonic()
        with suppress(OSError):  # it died meanwhile, which look() will see
            self.pipe.send(task)

    def look(self, limits: Limits) -> tuple[str, Record] | None:
        """A finished task, if there is one."""
        if self.ended:
            return None
        task = self.task
        try:
            if self.pipe.poll():
                message = self.pipe.recv()
                if message is None:
                    self.ready = self.begun = True
                    return None
                self.task = ""
                return task, message
        except (EOFError, OSError):
            self.process.join(5)
            self.ended, self.task = True, ""
            if not self.begun:
                raise SystemExit("a worker process did not start; its message is above") from None
            if not task:
                return None
            return task, _failed(f"the process ended with exit code {self.process.exitcode}")
        if task and time.monotonic() - self.since > limits.seconds:
            self.ended, self.task = True, ""
            return task, _failed(f"not done after {limits.seconds:g} s")
        return None

    def stop(self) -> None:
        self.ended = True
        if self.process.is_alive():
            self.process.kill()
        self.process.join(5)
        self.pipe.close()


def _failed(error: str) -> Record:
    return {"status": "failed", "error": error}


def _serve(pipe: Connection, work: str, memory: int) -> None:
    """The worker's side: a task in, a record out, None when ready for the next."""
    import resource

    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = memory if hard == resource.RLIM_INFINITY else min(memory, hard)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
    warnings.simplefilter("ignore")
    module, _, name = work.partition(":")
    function = getattr(importlib.import_module(module), name)
    with open(os.devnull, "w") as nowhere:  # models print what nobody asked for
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
    unit = 1 if sys.platform == "darwin" else 1024
    while True:
        pipe.send(None)
        task = pipe.recv()
        try:
            record = function(task)
        except Exception as error:
            text = " ".join(str(error).split())
            record = _failed(f"{type(error).__name__}: {text}"[:300])
        pipe.send(record)
        if resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit > memory / 3:
            return  # what a large model left behind goes with the process


# --- progress


def showing(title: str, total: int) -> AbstractContextManager[Callable[[str], None]]:
    """Called with a line about each finished task: a bar on a terminal, else a line now and then."""
    if total and sys.stderr.isatty():
        return _Bar(title, total)
    count = 0

    def plain(text: str) -> None:
        nonlocal count
        count += 1
        if count % 25 == 0 or count == total:
            print(f"{title}: {count} of {total} ({text})", file=sys.stderr, flush=True)

    return nullcontext(plain)


class _Bar(AbstractContextManager[Callable[[str], None]]):
    """A progress bar with the last task beside it."""

    def __init__(self, title: str, total: int) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )

        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[last]}", markup=False),
            console=Console(stderr=True),
        )
        self.bar = self.progress.add_task(title, total=total, last="")

    def __enter__(self) -> Callable[[str], None]:
        self.progress.start()
        return lambda text: self.progress.update(self.bar, advance=1, last=text)

    def __exit__(self, *_: object) -> None:
        self.progress.stop()
