"""A worker whose jobs hang, grow, crash or fail where the ``input`` of a question says so."""

from __future__ import annotations

import os
import time
from typing import Any

from eyeshot.explore import jobs, worker

plain = jobs.Worker.analyze


def analyze(self: jobs.Worker, job: dict[str, Any]) -> Any:
    what, _, value = str(job.get("input") or "").partition(" ")
    if what == "sleep":
        time.sleep(float(value))
    elif what == "spin":
        while True:
            pass
    elif what == "grow":
        kept = []
        while True:
            kept.append(bytearray(16 << 20))
    elif what == "crash":
        os._exit(9)
    elif what == "fail":
        return 1 / 0 if value else _on_purpose()
    elif what == "child":
        import subprocess

        started = subprocess.Popen(["sleep", "1000"])
        print("on stdout: must not reach the server's pipe", flush=True)
        with open(value, "w") as file:
            file.write(str(started.pid))
        time.sleep(1000)
    elif what == "pid":
        return {"pid": os.getpid()}
    return plain(self, job)


def _on_purpose() -> None:
    raise ZeroDivisionError("on purpose")


jobs.Worker.analyze = analyze  # type: ignore[method-assign]
if __name__ == "__main__":
    worker.main()
