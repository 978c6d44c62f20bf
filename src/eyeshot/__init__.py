"""eyeshot: which part of the input does each unit of a neural network read, exactly."""

from __future__ import annotations

from eyeshot.analysis.report import Canvas, Field, Layer, Report
from eyeshot.api import analyze
from eyeshot.article import ReceptiveFieldCalculator
from eyeshot.errors import EyeshotError, SpecError, StrictError, UnknownLayerError

__version__ = "0.1.0"

__all__ = [
    "Canvas",
    "EyeshotError",
    "Field",
    "Layer",
    "ReceptiveFieldCalculator",
    "Report",
    "SpecError",
    "StrictError",
    "UnknownLayerError",
    "__version__",
    "analyze",
]
