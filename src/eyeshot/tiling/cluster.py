"""What the workers of a cluster run; this module is imported there, and here only where a cluster is used."""

from __future__ import annotations

import pickle
import threading
from typing import Any

from distributed import WorkerPlugin, get_worker

from eyeshot.tiling.allocator import settle
from eyeshot.tiling.engine import Failed, Full, cause, is_full

__all__ = ["Carrier", "ready", "work"]


class Carrier(WorkerPlugin):
    """Brings a job to each worker once, also to those that join later; it is unpacked when first needed."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def setup(self, worker: Any) -> None:
        settle()
        self._lock = threading.Lock()
        self._job: Any = None

    @property
    def job(self) -> Any:
        with self._lock:
            if self._job is None:
                self._job = pickle.loads(self._content)
        return self._job


def _job(worker: Any, name: str) -> Any:
    return worker.plugins[name].job


def ready(name: str, dask_worker: Any) -> str | None:
    """Why this worker can't do the job, as one line; None if it can."""
    try:
        _job(dask_worker, name).ready()
    except Exception as error:
        return cause(error)
    return None


def work(name: str, task: Any) -> Any:
    """Do one task; a full disk is returned, as trying again would not help."""
    try:
        return _job(get_worker(), name)(task)
    except Exception as error:
        if is_full(error):
            return Full(cause(error))
        raise Failed(cause(error)) from None
