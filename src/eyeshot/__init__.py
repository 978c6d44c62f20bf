"""eyeshot: which part of the input does each unit of a neural network read, exactly."""

from __future__ import annotations

import importlib
import typing

from eyeshot.analysis.report import Canvas, Field, Layer, Report
from eyeshot.api import analyze
from eyeshot.article import ReceptiveFieldCalculator
from eyeshot.errors import EyeshotError, SpecError, StrictError, UnknownLayerError

if typing.TYPE_CHECKING:
    from eyeshot import testing
    from eyeshot.analysis.erf import Erf
    from eyeshot.analysis.findings import Check, Finding
    from eyeshot.analysis.findings.inputrange import InputRange
    from eyeshot.analysis.touched import Touched
    from eyeshot.analysis.unit import Unit
    from eyeshot.analysis.verify import Disagreement, Verification
    from eyeshot.designs import Design, design
    from eyeshot.diagnosis import check
    from eyeshot.effective import erf
    from eyeshot.proof import verify
    from eyeshot.streaming.plan import StreamPlan, stream_plan
    from eyeshot.streaming.stream import Stream, stream
    from eyeshot.tiling.arrays import tile
    from eyeshot.tiling.extents import NotTileable
    from eyeshot.tiling.plan import Tile, TilePlan
    from eyeshot.tiling.request import tile_plan
    from eyeshot.views import pictures

__version__ = "0.1.0"

__all__ = [
    "Canvas",
    "Check",
    "Design",
    "Disagreement",
    "Erf",
    "EyeshotError",
    "Field",
    "Finding",
    "InputRange",
    "Layer",
    "NotTileable",
    "ReceptiveFieldCalculator",
    "Report",
    "SpecError",
    "Stream",
    "StreamPlan",
    "StrictError",
    "Tile",
    "TilePlan",
    "Touched",
    "Unit",
    "UnknownLayerError",
    "Verification",
    "__version__",
    "analyze",
    "check",
    "design",
    "erf",
    "pictures",
    "stream",
    "stream_plan",
    "testing",
    "tile",
    "tile_plan",
    "verify",
]


_LATER = {
    "Check": "eyeshot.analysis.findings",
    "Design": "eyeshot.designs",
    "Disagreement": "eyeshot.analysis.verify",
    "Erf": "eyeshot.analysis.erf",
    "Finding": "eyeshot.analysis.findings",
    "InputRange": "eyeshot.analysis.findings.inputrange",
    "NotTileable": "eyeshot.tiling.extents",
    "Stream": "eyeshot.streaming.stream",
    "StreamPlan": "eyeshot.streaming.plan",
    "Tile": "eyeshot.tiling.plan",
    "TilePlan": "eyeshot.tiling.plan",
    "Touched": "eyeshot.analysis.touched",
    "Unit": "eyeshot.analysis.unit",
    "Verification": "eyeshot.analysis.verify",
    "check": "eyeshot.diagnosis",
    "design": "eyeshot.designs",
    "erf": "eyeshot.effective",
    "pictures": "eyeshot.views.pictures",
    "stream": "eyeshot.streaming.stream",
    "stream_plan": "eyeshot.streaming.plan",
    "testing": "eyeshot.testing",
    "tile": "eyeshot.tiling.arrays",
    "tile_plan": "eyeshot.tiling.request",
    "verify": "eyeshot.proof",
}


def __getattr__(name: str) -> object:
    """What most runs are without is loaded when it is asked for."""
    place = _LATER.get(name)
    if place is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(place)
    return module if name in ("pictures", "testing") else getattr(module, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
