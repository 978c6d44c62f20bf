"""The calculator of the article that eyeshot began with, with its two errata mended (docs/errata.md)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from eyeshot.analysis.report import Report
from eyeshot.api import analyze

__all__ = ["ReceptiveFieldCalculator"]


class ReceptiveFieldCalculator:
    """Prints n, r, j and start of every layer, in the article's format."""

    def calculate(self, architecture: Mapping[str, Sequence[int]], input_image_size: int) -> Report:
        """Print one block a layer of ``{name: [kernel, stride, padding]}`` and return the report.

        n is the output size, r the receptive field, j the jump and start the first unit's centre, all
        along one axis of an input of ``input_image_size`` elements.
        """
        report = analyze(architecture, input=input_image_size)
        self._print("input_layer", input_image_size, 1, 1, 0.5)
        for layer in report:
            (field,) = layer.fields
            start = None if field.start is None else float(field.start)
            self._print(layer.name, field.n, field.size, field.jump, start)
        return report

    @staticmethod
    def _print(name: str, n: int, r: object, j: object, start: float | None) -> None:
        print("------")
        print(f"{name}: n = {n}; r = {r}; j = {j}; start = {start}")
        print("------")
