"""eyeshot: which part of the input does each unit of a neural network read, exactly."""

from __future__ import annotations

import typing

from eyeshot.analysis.report import Canvas, Field, Layer, Report
from eyeshot.api import analyze
from eyeshot.article import ReceptiveFieldCalculator
from eyeshot.errors import EyeshotError, SpecError, StrictError, UnknownLayerError

if typing.TYPE_CHECKING:
    from eyeshot.analysis.verify import Disagreement, Verification
    from eyeshot.proof import verify

__version__ = "0.1.0"

__all__ = [
    "Canvas",
    "Disagreement",
    "EyeshotError",
    "Field",
    "Layer",
    "ReceptiveFieldCalculator",
    "Report",
    "SpecError",
    "StrictError",
    "UnknownLayerError",
    "Verification",
    "__version__",
    "analyze",
    "verify",
]


def __getattr__(name: str) -> object:
    """The proof is loaded when it is asked for: most runs are without it."""
    if name == "verify":
        from eyeshot.proof import verify

        return verify
    if name in ("Disagreement", "Verification"):
        from eyeshot.analysis import verify as module

        return getattr(module, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
