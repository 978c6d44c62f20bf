"""eyeshot: which part of the input does each unit of a neural network read, exactly."""

from __future__ import annotations

from eyeshot.analysis.report import Canvas, Field, Layer, Report
from eyeshot.analysis.verify import Disagreement, Verification
from eyeshot.api import analyze
from eyeshot.article import ReceptiveFieldCalculator
from eyeshot.errors import EyeshotError, SpecError, StrictError, UnknownLayerError
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
