"""Worker processes: lanes with a queue each, time limits, cancelling, and what dies is replaced.

A job goes to the free worker that has its network's report already, else to any free one; while a worker is
busy with the same network, the job waits for that one in the heavy lane, where building a model again takes
longer. Who goes away frees the worker: after a moment's grace it is killed and another one started.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections import OrderedDict, deque
from dataclasses import dataclass
from typing import Any

from eyeshot.explore.frames import LENGTHS, packed, unpacked
from eyeshot.explore.settings import Lane as LaneSettings
from eyeshot.explore.settings import Settings

__all__ = ["Answer", "Busy", "Crashed", "Pool", "TooLong"]

#: Reports that a worker is taken to remember; its own bound is in jobs.py.
REMEMBERS = 16
START = 60.0
PROGRAM = "eyeshot.explore.worker"


class Busy(Exception):
    """The lane's queue is full."""


class TooLong(Exception):
    """The job took longer than its limit; its worker was ended."""


class Crashed(Exception):
    """The worker ended during the job."""


@dataclass
class Answer:
    """``head`` as the worker wrote it: status, type, and for the server's own terminal a log."""

    head: dict[str, Any]
    body: bytes


class Job:
    """A job that waits or runs; ``key`` stands for its network."""

    def __init__(self, head: dict[str, Any], body: bytes = b"") -> None:
        self.head = head
        self.body = body
        self.key: str = head["key"]
        self.done: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        # Nobody may be waiting when it fails.
        self.done.add_done_callback(lambda done: done.cancelled() or done.exception())


class Worker:
    """One process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.job: Job | None = None
        self.keys: OrderedDict[str, None] = OrderedDict()

    @classmethod
    async def started(cls, memory: int) -> Worker:
        """A process that is ready for its first job. Raises Crashed."""
        threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        try:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", PROGRAM),
                *(str(os.getpid()), str(memory)),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                # Out of the terminal's group: Ctrl-C is for the server, which then ends its workers.
                start_new_session=True,
                limit=1 << 20,
                env={**threads, **os.environ, "HF_HUB_OFFLINE": "1", "MALLOC_ARENA_MAX": "2"},
            )
        except OSError:  # no more processes or files
            raise Crashed("a worker process did not start") from None
        worker = cls(process)
        try:
            async with asyncio.timeout(START):
                await worker._receive()
        except BaseException as error:
            await worker.end()
            if isinstance(error, TimeoutError | EOFError | OSError):
                raise Crashed("a worker process did not start") from None
            raise
        return worker

    async def run(self, job: Job) -> Answer:
        assert self.process.stdin is not None
        self.process.stdin.write(packed(job.head, job.body))
        await self.process.stdin.drain()
        return await self._receive()

    async def _receive(self) -> Answer:
        stream = self.process.stdout
        assert stream is not None
        head_size, body_size = LENGTHS.unpack(await stream.readexactly(LENGTHS.size))
        head = unpacked(await stream.readexactly(head_size))
        return Answer(head, await stream.readexactly(body_size))

    def kill(self) -> None:
        """Also what the process itself may have started."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if self.process.returncode is None:
                if hasattr(os, "killpg"):
                    os.killpg(self.process.pid, signal.SIGKILL)
                else:
                    self.process.kill()

    async def end(self) -> None:
        self.kill()
        if self.process.stdin is not None:
            self.process.stdin.close()
            with contextlib.suppress(OSError):
                await self.process.stdin.wait_closed()
        await self.process.wait()

    def remember(self, key: str) -> None:
        self.keys[key] = None
        self.keys.move_to_end(key)
        while len(self.keys) > REMEMBERS:
            self.keys.popitem(last=False)


class Lane:
    """Workers of one kind, and the jobs that wait for them."""

    def __init__(self, settings: LaneSettings, grace: float, patient: bool) -> None:
        self.settings = settings
        self.grace = grace
        self.patient = patient
        self.workers: list[Worker] = []
        self.waiting: deque[Job] = deque()
        self.tasks: set[asyncio.Task[None]] = set()
        self.starting = 0
        self.keep = settings.warm
        #: What the lane's jobs have imported, which a new worker does before it is asked to.
        self.needs: set[str] = set()
        self.closed = False

    async def submit(self, job: Job) -> Answer:
        """Raises Busy, TooLong or Crashed; on cancellation the worker is freed."""
        if self.closed or len(self.waiting) >= self.settings.queue:
            raise Busy
        self.waiting.append(job)
        self.needs.update(job.head.get("needs", ()))
        self.keep = max(self.keep, 1)
        self.dispatch()
        try:
            return await job.done
        except asyncio.CancelledError:
            self.abandon(job)
            raise

    def abandon(self, job: Job) -> None:
        """Nobody waits for the job any more."""
        with contextlib.suppress(ValueError):
            self.waiting.remove(job)
        for worker in self.workers:
            if worker.job is job:
                # What is done in a moment is cheaper to finish than a new process is to start.
                asyncio.get_running_loop().call_later(self.grace, self._free, worker, job)

    def _free(self, worker: Worker, job: Job) -> None:
        if worker.job is job:
            worker.kill()

    # --- who does what

    def dispatch(self) -> None:
        """Gives waiting jobs to free workers, in their order."""
        for job in list(self.waiting):
            worker = self.choose(job)
            if worker is not None:
                self.waiting.remove(job)
                worker.job = job
                self.spawn(self.work(worker, job))
        wanted = max(self.keep, len(self.workers) + self.unserved())
        while not self.closed and len(self.workers) + self.starting < min(
            wanted, self.settings.most
        ):
            self.starting += 1
            self.spawn(self.start())

    def unserved(self) -> int:
        """Waiting jobs that no worker now busy is the right one for."""
        return sum(not self.expected(job) for job in self.waiting)

    def expected(self, job: Job) -> bool:
        return self.patient and any(
            w.job is not None and w.job.key == job.key for w in self.workers
        )

    def choose(self, job: Job) -> Worker | None:
        free = [worker for worker in self.workers if worker.job is None]
        for worker in free:
            if job.key in worker.keys:
                return worker
        if not free or self.expected(job):
            return None
        return min(free, key=lambda worker: len(worker.keys))

    async def work(self, worker: Worker, job: Job) -> None:
        """One job on one worker; whatever happens, the waiting one hears of it."""
        alive = False
        try:
            async with asyncio.timeout(job.head["seconds"]):
                answer = await worker.run(job)
            alive = not answer.head.get("retire")
            worker.remember(job.key)
            if not job.done.done():
                job.done.set_result(answer)
        except TimeoutError:
            self.fail(job, TooLong())
        except Exception:  # it ended, or what it wrote is no answer
            self.fail(job, Crashed())
        finally:
            if not alive:
                self.workers.remove(worker)
                await worker.end()
            worker.job = None
            self.dispatch()

    def fail(self, job: Job, error: Exception) -> None:
        if not job.done.done():
            job.done.set_exception(error)

    async def start(self) -> None:
        try:
            worker = await Worker.started(self.settings.memory)
        except Crashed as error:
            # Nothing would become of another try either.
            while self.waiting and not self.workers:
                self.fail(self.waiting.popleft(), error)
            return
        finally:
            self.starting -= 1
        if self.closed:
            await worker.end()
            return
        self.workers.append(worker)
        if self.needs and not self.unserved():
            self.waiting.append(
                Job({"job": "warm", "key": "warm", "modules": sorted(self.needs), "seconds": START})
            )
        self.dispatch()

    def spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def close(self) -> None:
        self.closed = True
        while self.waiting:
            self.fail(self.waiting.popleft(), Busy())
        for worker in self.workers:
            worker.kill()
        while self.tasks:
            await asyncio.wait(self.tasks)
        for worker in self.workers:
            await worker.end()
        self.workers.clear()


class Pool:
    """The two lanes. ``async with`` it."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.quick = Lane(settings.quick, settings.grace, patient=False)
        self.heavy = Lane(settings.heavy, settings.grace, patient=True)

    async def __aenter__(self) -> Pool:
        self.quick.dispatch()
        self.heavy.dispatch()
        return self

    async def __aexit__(self, *error: object) -> None:
        await asyncio.gather(self.quick.close(), self.heavy.close())

    async def run(self, head: dict[str, Any], body: bytes = b"", *, heavy: bool = False) -> Answer:
        """The answer of a worker. Raises Busy, TooLong or Crashed."""
        lane = self.heavy if heavy else self.quick
        limits = {"seconds": self.settings.seconds, "answer": self.settings.answer}
        return await lane.submit(Job({**limits, **head}, body))
