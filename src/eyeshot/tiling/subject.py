"""The network that is tiled or streamed, asked for its report at one input size after another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from eyeshot.analysis.report import Layer, Report
from eyeshot.api import analyze, is_onnx, onnx_title, resolve
from eyeshot.errors import EyeshotError

__all__ = ["Subject", "shape_of"]


class Subject:
    """A source with the options of its analysis; reports are kept by input shape.

    ``source``, ``axes`` and ``training``: as for :func:`eyeshot.analyze`. A reference is built once, an ONNX
    file read once. ``output``: the layer that is the result, by name, where the network has several outputs.
    """

    def __init__(
        self,
        source: Any,
        *,
        axes: Any = None,
        training: bool | None = False,
        output: str | None = None,
    ) -> None:
        self.title: str | None = None
        self.default: Any = None
        self.network = source
        self._options: dict[str, Any] = {"axes": axes, "training": training}
        self._output = output
        self._reports: dict[tuple[int, ...], Report] = {}
        if isinstance(source, Report):
            raise EyeshotError("a report is of one input size; give the network itself")
        if is_onnx(source):
            self.title = onnx_title(source)
            if not hasattr(source, "SerializeToString"):
                self.network = _loaded(source)
        elif isinstance(source, str) and not _is_spec(source):
            self.network, self.title, self.default = resolve(source)
        elif isinstance(source, Mapping | str) or hasattr(source, "__fspath__"):
            self._options = {}

    def report(self, shape: Any = None, *, exact: bool = False) -> Report:
        """The report at an input shape (batch and channels included); None for the source's own input.

        ``exact``: the shape is taken as it stands. Otherwise one that does not begin with 1 may be read as one
        without a batch. Raises :class:`~eyeshot.errors.EyeshotError` where the network can't take it.
        """
        key = tuple(shape) if isinstance(shape, Sequence) and not isinstance(shape, str) else None
        if key is not None and key in self._reports:
            known = self._reports[key]
            if not exact or shape_of(known) == key:
                return known
        if shape is None:
            shape = self.default
        report = analyze(self.network, shape, **self._options)
        if exact and shape_of(report) != key and hasattr(self.network, "modules"):
            report = analyze(self.network, _tensor(self.network, key), **self._options)
        if self.title is None:
            self.title = report.title
        self._reports[shape_of(report)] = report
        if key is not None:
            self._reports[key] = report
        return report

    def output(self, report: Report) -> Layer:
        """The layer of a report that is the result.

        Raises :class:`~eyeshot.errors.EyeshotError` where several might be.
        """
        if self._output is not None:
            return report[self._output]
        outputs = report.outputs
        if len(outputs) > 1:
            names = ", ".join(layer.name for layer in outputs[:8])
            raise EyeshotError(
                f"the network has {len(outputs)} outputs ({names}); say which with output="
            )
        if not outputs:
            raise EyeshotError("the network has no output that reads its input")
        return outputs[0]


def shape_of(report: Report) -> tuple[int, ...]:
    """The shape of a report's one input.

    Raises :class:`~eyeshot.errors.EyeshotError` where there are several.
    """
    if len(report._sources) != 1:
        names = ", ".join(source.name for source in report._sources)
        raise EyeshotError(f"the network has several inputs ({names}); one is needed")
    return tuple(report._sources[0].shape)


def _tensor(network: Any, shape: Any) -> Any:
    """An input of a shape that can't be read in another way."""
    import torch

    from eyeshot.tiling.modules import floating, input_dtype

    tokens = input_dtype(network).kind == "i"
    dtype = torch.int64 if tokens else floating(network)
    return torch.empty(shape, dtype=dtype, device="meta")


def _loaded(source: Any) -> Any:
    """An ONNX model read once; without the package the analysis says what is missing."""
    try:
        from eyeshot.frontends.onnx.read import read
    except ModuleNotFoundError:
        return source
    return read(source)[0]


def _is_spec(source: str) -> bool:
    from eyeshot.frontends.references import is_reference

    return not is_reference(source)
