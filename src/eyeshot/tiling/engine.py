"""How the parts of a run are done at the same time: by Dask, in threads here or on a cluster.

A *job* is one picklable object that is called with one small *task* after another and returns something
small; it reads and writes what is large itself. Tasks that fail are tried again, and told with their cause if
that does not help. Only a bounded number of tasks is known to Dask at a time, so that their number does not
matter. On a cluster the job is sent to each worker once, also to those that join later, as a worker plugin.
"""

from __future__ import annotations

import errno
import itertools
import os
import re
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple, Protocol

from eyeshot.errors import EyeshotError
from eyeshot.tiling.allocator import settle

__all__ = [
    "Cluster",
    "Engine",
    "Full",
    "Job",
    "Local",
    "Trouble",
    "cause",
    "cores",
    "is_full",
    "open_engine",
]

#: Tasks that are handed to the threaded scheduler at once.
WAVE = 512
#: Seconds until a scheduler counts as unreachable, and until a cluster without workers is given up.
REACH, WORKERS = 5, 60
MAX_CAUSE = 300
SCHEMES = ("tcp", "tls", "ws", "wss", "ucx", "inproc")

Done = Callable[[Any, Any], None]


class Job(Protocol):
    """What is to be done with each task; ``ready`` raises where this machine can't do it."""

    def ready(self) -> None: ...

    def __call__(self, task: Any) -> Any: ...


class Trouble(NamedTuple):
    """A task that was tried and could not be done; ``cause`` is one line."""

    cause: str


DIED = Trouble("the workers that took it up died, one after another (memory?)")


class Full(EyeshotError):
    """There is no space left for what is written."""


class Failed(Exception):
    """A task's failure on its way from a worker, as one line (its own error might not be picklable)."""


class Engine(Protocol):
    """Does tasks; ``done(task, outcome)`` is called in the calling thread, in the order of completion.

    An outcome is what the job returned, or a :class:`Trouble`. Raises :class:`Full` at the first task that
    finds the disk full, and whatever ``done`` raises; tasks under way then come to their end, or are dropped.
    """

    workers: int

    def run(self, tasks: Iterable[Any], done: Done) -> None: ...

    def close(self) -> None: ...


def open_engine(job: Job, *, workers: int, retries: int, scheduler: Any = None) -> Engine:
    """Threads of this process, or those of the cluster at ``scheduler`` (an address, or a ``Client``)."""
    if scheduler is None:
        return Local(job, workers, retries)
    return Cluster(job, scheduler, retries)


class Local:
    """The threaded scheduler, with so many threads."""

    def __init__(self, job: Job, workers: int, retries: int) -> None:
        try:
            import dask  # noqa: F401
        except ModuleNotFoundError:
            raise EyeshotError("tiles are run by Dask: pip install 'eyeshot[tile]'") from None
        settle()
        self.workers = workers
        self._job, self._retries = job, retries

    def run(self, tasks: Iterable[Any], done: Done) -> None:
        import dask

        held: deque[Any] = deque()
        # A call takes the next task: images are read in order, whatever order Dask chooses for its calls.
        call = dask.delayed(lambda _: self._attempts(held.popleft()), pure=False)

        def completed(_key: Any, outcome: Any, *_: Any) -> None:
            # Here, and not when the whole wave is done: what is told is never far behind what is done.
            done(*outcome)

        callbacks = [(None, None, None, completed, None)]
        rest = iter(tasks)
        pool = ThreadPoolExecutor(self.workers, "eyeshot-tile")
        try:
            while wave := list(itertools.islice(rest, WAVE)):
                held.extend(wave)
                calls = [call(number) for number in range(len(wave))]
                dask.compute(*calls, scheduler="threads", pool=pool, callbacks=callbacks)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def close(self) -> None:
        pass

    def _attempts(self, task: Any) -> tuple[Any, Any]:
        for left in reversed(range(self._retries + 1)):
            try:
                return task, self._job(task)
            except Exception as error:
                if is_full(error):
                    raise Full(cause(error)) from None
                if not left:
                    return task, Trouble(cause(error))
        raise AssertionError("unreachable")


class Cluster:
    """The workers of a ``distributed`` cluster, which have to see the same files under the same paths.

    A worker that dies loses nothing: its tasks are given to others. A task that takes several workers down with
    it (``distributed.scheduler.allowed-failures``) is tried once more on its own, and then told as failed.

    Raises :class:`~eyeshot.errors.EyeshotError` where the scheduler can't be reached, has no workers, or a
    worker can't do the job.
    """

    def __init__(self, job: Job, scheduler: Any, retries: int) -> None:
        try:
            import distributed
            from distributed.protocol import pickle
        except ModuleNotFoundError:
            raise EyeshotError("a cluster needs distributed: pip install 'eyeshot[tile]'") from None
        self._retries = retries
        self._own = isinstance(scheduler, str)
        self._client = _client(scheduler) if self._own else scheduler
        self._name = f"eyeshot-tile-{os.urandom(8).hex()}"
        self._seen = 0.0
        self.workers = 0
        self._futures: dict[Any, Any] = {}
        try:
            if not isinstance(self._client, distributed.Client):
                raise EyeshotError(
                    f"scheduler: expected an address such as tcp://10.0.0.1:8786 or a distributed.Client, got "
                    f"{type(scheduler).__name__}"
                )
            self._await_workers()
            try:
                content = pickle.dumps(job)
            except Exception as error:
                raise EyeshotError(f"the model can't be sent to workers: {cause(error)}") from None
            self._send(content)
        except BaseException:
            self.close()
            raise

    @property
    def _address(self) -> str:
        return str(self._client.scheduler.address if self._client.scheduler else "scheduler")

    def _await_workers(self) -> None:
        from distributed import TimeoutError as Late

        with suppress(Late):
            self._client.wait_for_workers(1, timeout=2 * REACH)
        self._count()
        if not self.workers:
            raise EyeshotError(f"scheduler {self._address}: it has no workers")

    def _count(self) -> None:
        self.workers = sum(self._client.nthreads().values())
        now = time.monotonic()
        if self.workers or not self._seen:
            self._seen = now
        elif now - self._seen > WORKERS:
            raise EyeshotError(
                f"scheduler {self._address}: it has had no workers for {WORKERS} s; "
                "what is done is kept, go on with --resume"
            )

    def _send(self, content: bytes) -> None:
        from eyeshot.tiling.cluster import Carrier, ready

        try:
            self._client.register_plugin(Carrier(content), name=self._name)
            answers = self._client.run(ready, self._name, on_error="return")
        except Exception as error:  # whatever a worker's own environment raises
            raise EyeshotError(
                f"scheduler {self._address}: workers can't take the job: {cause(error)}"
            ) from None
        for address, answer in sorted(answers.items()):
            if isinstance(answer, BaseException):
                answer = cause(answer)
            if answer is not None:
                raise EyeshotError(f"worker {address}: {answer}")

    def run(self, tasks: Iterable[Any], done: Done) -> None:
        from concurrent.futures import CancelledError

        suspects: list[Any] = []
        try:
            self._drive(iter(tasks), done, suspects)
            # Which of the tasks that a dead worker had took it down is not known, before each is alone.
            for task in suspects:
                self._drive(iter([task]), done, None)
        except (CancelledError, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            raise EyeshotError(
                f"scheduler {self._address}: it was lost; what is done is kept, go on with --resume"
            ) from None
        finally:
            with suppress(Exception):
                self._client.cancel(list(self._futures), force=True)
            self._futures.clear()

    def _drive(self, rest: Iterator[Any], done: Done, suspects: list[Any] | None) -> None:
        counted = time.monotonic()
        while True:
            self._fill(rest)
            if not self._futures:
                return
            for future in self._completed():
                task, outcome = self._futures.pop(future), self._outcome(future)
                if outcome is DIED and suspects is not None:
                    suspects.append(task)
                else:
                    done(task, outcome)
            if time.monotonic() - counted > REACH:
                self._count()
                counted = time.monotonic()

    def _fill(self, rest: Iterator[Any]) -> None:
        from eyeshot.tiling.cluster import work

        room = 2 * self.workers + 2 - len(self._futures)
        for task in itertools.islice(rest, max(0, room)):
            future = self._client.submit(work, self._name, task, retries=self._retries, pure=False)
            self._futures[future] = task

    def _completed(self) -> list[Any]:
        """The futures that have come to an end; none if that takes long."""
        from distributed import TimeoutError as Late
        from distributed import wait

        futures = list(self._futures)
        try:
            with self._client.as_current():
                return list(wait(futures, timeout=REACH, return_when="FIRST_COMPLETED").done)
        except Late:
            if self._client.status != "running":
                raise ConnectionError from None
            return []

    def _outcome(self, future: Any) -> Any:
        from distributed import KilledWorker

        error = future.exception()
        if error is None:
            value = future.result()
            if isinstance(value, Full):
                raise value
            return value
        if isinstance(error, KilledWorker):
            return DIED
        return Trouble(str(error) if isinstance(error, Failed) else cause(error))

    def close(self) -> None:
        """Let go of the cluster, which goes on; a client that was given stays open."""
        with suppress(Exception):
            self._client.unregister_worker_plugin(self._name)
        if self._own:
            with suppress(Exception):
                self._client.close(timeout=REACH)


@contextmanager
def connected(scheduler: Any) -> Iterator[Any]:
    """A client for an address, closed in the end; what is no address is handed through.

    So a scheduler that can't be reached is told of before anything else is done.
    """
    if not isinstance(scheduler, str):
        yield scheduler
        return
    client = _client(scheduler)
    try:
        yield client
    finally:
        with suppress(Exception):
            client.close(timeout=REACH)


def _client(address: str) -> Any:
    try:
        import distributed
    except ModuleNotFoundError:
        raise EyeshotError("a cluster needs distributed: pip install 'eyeshot[tile]'") from None

    scheme, known, place = address.rpartition("://")
    # Distributed takes long to find that out, and is loud about it.
    local = scheme == "inproc"
    if (known and scheme not in SCHEMES) or not (local or re.search(r".:\d{1,5}(/|$)", place)):
        raise EyeshotError(
            f"scheduler {address}: expected an address such as tcp://10.0.0.1:8786 "
            f"({', '.join(SCHEMES)})"
        )
    try:
        return distributed.Client(address, timeout=REACH, set_as_default=False)
    except (TimeoutError, distributed.TimeoutError, OSError):
        raise EyeshotError(f"scheduler {address}: nothing answered within {REACH} s") from None
    except Exception as error:  # an address of no known kind, or something else that answers there
        raise EyeshotError(f"scheduler {address}: {cause(error)}") from None


def cause(error: BaseException) -> str:
    """An error as one line; what is out of memory says so."""
    first = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    kind = type(error).__name__
    text = (
        first
        if isinstance(error, EyeshotError) and first
        else f"{kind}: {first}"
        if first
        else kind
    )
    if isinstance(error, OSError) and error.strerror:
        text = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    if _is_memory(error, text):
        text = f"out of memory ({text}); smaller tiles or fewer workers need less"
    return text if len(text) <= MAX_CAUSE else f"{text[: MAX_CAUSE - 3]}..."


def _is_memory(error: BaseException | None, text: str) -> bool:
    """Whether memory is what was wanting; frameworks say so in their own words only."""
    low = text.lower()
    if any(
        words in low for words in ("out of memory", "not enough memory", "can't allocate memory")
    ):
        return True
    return any(isinstance(each, MemoryError) for each in _chain(error))


def is_full(error: BaseException | None) -> bool:
    """Whether a full disk (or quota) is what went wrong, also where another error has been made of it."""
    full = (errno.ENOSPC, errno.EDQUOT)
    return any(
        isinstance(each, Full) or getattr(each, "errno", None) in full for each in _chain(error)
    )


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error, and those that it was made of."""
    for _ in range(16):
        if error is None:
            return
        yield error
        error = error.__cause__ or error.__context__


def cores() -> int:
    """The processor cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        return os.cpu_count() or 1
