"""What a worker does: the page's questions, by the library's own functions. Answers are bytes."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import sys
import tempfile
import traceback
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from eyeshot.errors import EyeshotError

__all__ = ["MOST_ELEMENTS", "Worker"]

#: Reports that are kept for the next question about the same network, and how many layers they have in all.
KEEP, KEEP_LAYERS = 16, 50_000
#: Elements of a unit's box that are sent at most.
MOST_ELEMENTS = 1 << 22
JSON = "application/json"
Job = dict[str, Any]
Answer = tuple[dict[str, Any], bytes]


class Worker:
    """Does one job after the other, and remembers the reports."""

    def __init__(self, memory: int) -> None:
        self.memory = memory
        self.known: OrderedDict[str, tuple[Any, str]] = OrderedDict()
        self.jobs: dict[str, Callable[[Job], Any]] = {
            "analyze": self.analyze,
            "check": self.check,
            "unit": self.unit,
            "outline": self.outline,
            "report": self.report,
            "lesson": self.lesson,
            "warm": self.warm,
        }
        _load()

    def run(self, job: Job, body: bytes) -> Answer:
        """The answer's head (``status``, ``type``, for the server ``log`` and ``retire``) and its body."""
        if body:
            job["source"]["text"] = body.decode("utf-8")
        try:
            content = self.jobs[job["job"]](job)
            if isinstance(content, bytes):
                kind, data = "text/html; charset=utf-8", content
            else:
                kind, data = JSON, _json(content)
            if len(data) > job.get("answer", len(data)):
                return _refused(f"the answer is larger than {job['answer'] >> 20} MiB")
            return {"status": 200, "type": kind}, data
        except EyeshotError as error:
            return _refused(*self._placed(job, error))
        except (MemoryError, RecursionError) as error:
            self.known.clear()
            what = "nested too deeply"
            if isinstance(error, MemoryError):
                what = f"needs more memory than {self.memory >> 20} MiB, the most for one analysis"
            head, data = _refused(what)
            return {**head, "retire": True}, data
        except Exception:
            log = traceback.format_exc()
            head, data = _refused("an error in eyeshot itself; its terminal says more")
            return {**head, "status": 500, "log": log}, data

    def _placed(self, job: Job, error: EyeshotError) -> tuple[str, dict[str, Any]]:
        """The message, and where in the text it belongs."""
        from eyeshot.explore.places import place

        source = job.get("source") or {}
        message = _without_paths(str(error), job.get("given"))
        if source.get("kind") == "spec":
            return place(message, source["text"], source["format"])
        return message, {}

    # --- the jobs

    def known_report(self, job: Job) -> tuple[Any, str]:
        """The report and title, from an earlier question if there was one."""
        key = job["key"]
        found = self.known.get(key)
        if found is None:
            from eyeshot.explore.sources import report_of

            found = self.known[key] = report_of(job)
        self.known.move_to_end(key)
        while len(self.known) > 1 and (
            len(self.known) > KEEP or sum(len(r) for r, _ in self.known.values()) > KEEP_LAYERS
        ):
            self.known.popitem(last=False)
        return found

    def analyze(self, job: Job) -> Any:
        from eyeshot.views.web.page import page

        report, title = self.known_report(job)
        return {"page": {**page(report, rate=job.get("rate")), "title": title}}

    def check(self, job: Job) -> Any:
        return {"findings": self.findings(job).to_dict()}

    def findings(self, job: Job) -> Any:
        """What ``eyeshot check`` finds: with the source, since some rules look at two samples."""
        from eyeshot.diagnosis import check_report
        from eyeshot.explore.sources import network_of

        report, _ = self.known_report(job)
        source, _, options = network_of(job)
        return check_report(source, report, **options)

    def unit(self, job: Job) -> Any:
        report, _ = self.known_report(job)
        try:
            unit = report.unit(job["layer"], tuple(job["unit"]))
        except IndexError as error:
            raise EyeshotError(str(error)) from None
        return {"layer": unit.layer, "unit": job["unit"], "parts": [_part(p) for p in unit.parts]}

    def outline(self, job: Job) -> Any:
        from eyeshot.explore.outline import outline

        return outline(job["source"]["text"], job["source"]["format"])

    def report(self, job: Job) -> bytes:
        report, title = self.known_report(job)
        text: str = report.to_html(check=self.findings(job), title=title, rate=job.get("rate"))
        return text.encode("utf-8")

    def lesson(self, job: Job) -> Any:
        from eyeshot.views.web.write import lesson

        return lesson()

    def warm(self, job: Job) -> Any:
        """Loads what the lane's next question will need anyway."""
        for name in job["modules"]:
            try:
                __import__(name)
            except Exception as error:  # the question itself will say what is wrong
                return {"failed": f"{type(error).__name__}"}
        return {}


def _load() -> None:
    """All that a spec's question needs, once through, so that the first answer is as quick as the next."""
    import eyeshot
    from eyeshot.explore import outline, places, sources  # noqa: F401
    from eyeshot.views.web.page import page

    report = eyeshot.analyze("example:five-by-five")
    _json(page(report))
    eyeshot.check(report)


def _part(part: Any) -> dict[str, Any]:
    """What a unit reads of one input; the arrays are those inside ``clipped``, row-major."""
    import numpy as np

    clipped = part.clipped
    shape = [end - begin for begin, end in clipped]
    elements = int(np.prod(shape, dtype=object))
    if elements > MOST_ELEMENTS:
        raise EyeshotError(
            f"the box of this unit has {elements} elements of {part.name}; "
            f"its exact set is sent up to {MOST_ELEMENTS}"
        )
    mask, mass = part.mask_in_box, part.mass_in_box
    return {
        "input": part.name,
        "box": [[_end(begin), _end(end)] for begin, end in part.box],
        "clipped": [[int(begin), int(end)] for begin, end in clipped],
        "mask": {"shape": shape, "bits": _base64(np.packbits(mask.ravel()))},
        "mass": {
            "shape": shape,
            "values": _base64(mass.astype("<f4").ravel()),
            "total": float(part.total),
        },
    }


def _end(value: float) -> int | None:
    """An end of a box; None where it has none."""
    return int(value) if abs(value) != float("inf") else None


def _base64(array: Any) -> str:
    return base64.b64encode(array.tobytes()).decode("ascii")


def _json(content: Any) -> bytes:
    return json.dumps(
        content, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_plain
    ).encode("utf-8", errors="replace")


def _plain(value: Any) -> Any:
    """NumPy's scalars as Python's."""
    return value.item()


def _refused(message: str, more: dict[str, Any] | None = None) -> Answer:
    line = " ".join(message.split())
    error = {"message": line if len(line) <= 1000 else f"{line[:997]}...", **(more or {})}
    return {"status": 422, "type": JSON}, _json({"error": error})


def _without_paths(message: str, given: dict[str, Any] | None) -> str:
    """The message without folders of this machine; names of layers may look like paths, and stay."""
    folders = {
        os.path.expanduser("~"),
        sys.prefix,
        sys.base_prefix,
        *(path for path in sys.path if os.path.isabs(path)),
        os.path.dirname(os.path.dirname(os.path.dirname(__file__))),
    }
    for here in (os.getcwd, tempfile.gettempdir):
        with contextlib.suppress(OSError):  # gone, or full
            folders.add(here())
    if given:
        folders.add(os.path.dirname(given["source"]))
    for folder in sorted(folders, key=len, reverse=True):
        if len(folder) > 1:
            message = message.replace(f"{folder.rstrip(os.sep)}{os.sep}", "")
    return message
