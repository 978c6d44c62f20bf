"""A worker process: reads a job, does it, writes the answer; ends when the server does, however that ends.

``python -P -m eyeshot.explore.worker SERVER MEMORY``, started by ``pool.py``. Its limit on memory is the
operating system's where there is one (private writable memory; the libraries that a framework maps are not
counted), and a watch over what is resident besides.
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import sys
import threading
import time
from typing import Any, BinaryIO

from eyeshot.explore.frames import packed, receive

__all__ = ["main"]

#: Exit codes, for the server to tell why a worker ended.
ORPHANED, TOO_LARGE = 3, 4
WATCH = 0.2


def main() -> None:
    """Runs until the server closes the pipe."""
    server, memory = int(sys.argv[1]), int(sys.argv[2])
    _end_with(server)
    _limit(memory)
    requests, answers = _streams()
    jobs: queue.SimpleQueue[tuple[dict[str, Any], bytes]] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(requests, jobs), daemon=True).start()
    threading.Thread(target=_watch, args=(server, memory), daemon=True).start()

    from eyeshot.explore.jobs import Worker

    work = Worker(memory)
    answers.write(packed({"ready": True}))
    answers.flush()
    while True:
        head, body = jobs.get()
        _limit_time(head["seconds"])
        reply, content = work.run(head, body)
        answers.write(packed(reply, content))
        answers.flush()
        if reply.get("retire"):
            os._exit(0)


def _streams() -> tuple[BinaryIO, BinaryIO]:
    """The pipes to the server, out of reach of what a model's code prints or reads."""
    requests = os.fdopen(os.dup(0), "rb")
    answers = os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return requests, answers


def _read(requests: BinaryIO, jobs: queue.SimpleQueue[tuple[dict[str, Any], bytes]]) -> None:
    while (found := receive(requests)) is not None:
        jobs.put(found)
    os._exit(ORPHANED)


def _end_with(server: int) -> None:
    """Linux ends this process with its parent, even in the middle of a long call."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the server's
    if sys.platform == "linux":
        import ctypes

        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    if os.getppid() != server:
        os._exit(ORPHANED)


def _limit(memory: int) -> None:
    if sys.platform == "win32":
        return
    import resource

    for limit in (resource.RLIMIT_DATA, resource.RLIMIT_CORE):
        most = memory if limit == resource.RLIMIT_DATA else 0
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(limit, (most, most))


def _limit_time(seconds: float) -> None:
    """The server's clock ends a job; this ends it where the server can't."""
    if sys.platform == "win32":
        return
    import resource

    used = time.process_time()
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CPU, (int(used + 4 * seconds) + 10, hard))


def _watch(server: int, memory: int) -> None:
    while True:
        time.sleep(WATCH)
        if os.getppid() != server:
            os._exit(ORPHANED)
        if _resident() > memory:
            os._exit(TOO_LARGE)


def _resident() -> int:
    """Bytes in memory now; where only the most so far is known, that."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        pass
    if sys.platform == "win32":
        return 0
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    main()
