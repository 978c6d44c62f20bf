"""``analyze``: from any source to a report."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from eyeshot.analysis.report import Layer, Report
from eyeshot.core.canvas import Source
from eyeshot.core.graph import Diagnostic, Graph
from eyeshot.core.primitives import Input
from eyeshot.errors import EyeshotError, SpecError, StrictError

if TYPE_CHECKING:
    from eyeshot.frontends.spec.build import InputSizes

__all__ = ["analyze"]


def analyze(
    source: Mapping[str, Any] | str | PathLike[str],
    input: InputSizes | None = None,
    *,
    of: str | None = None,
    strict: bool = False,
) -> Report:
    """Compute which part of the input every unit of a network reads.

    ``source``: a spec as a dict, the path of a ``.yaml``, ``.yml``, ``.json`` or ``.toml`` file, or
    ``"example:NAME"``. ``input``: a whole shape ``(1, 3, 224, 224)``, a text like ``"3x224x224"``, one
    number for a one-axis spec, or a mapping from input name to these; by default the spec's own.
    ``of``: a layer's name; fields are then relative to that layer's units instead of the input, and the
    report lists the layers that depend on it. ``strict``: raise where an operator can only be bounded.

    Raises :class:`~eyeshot.errors.EyeshotError` for an unusable source or input, and
    :class:`~eyeshot.errors.StrictError` under ``strict``.
    """
    if of is not None and not isinstance(of, str):
        raise EyeshotError(f"of: expected a layer's name, got {of!r}")
    graph, title = _graph(source, input)
    if strict and graph.bounds:
        _refuse(next(iter(graph.bounds.values())))
    sources = []
    for v in graph.sources:
        prim = graph.prims[v]
        assert isinstance(prim, Input) and prim.name is not None
        sources.append(Source(v, prim.name, prim.shape, prim.axes))
    report = Report(graph, sources, graph.layers, title)
    if of is not None:
        report = _relative(graph, report[of], of, title)
    if strict and report.diagnostics:
        _refuse(report.diagnostics[0])
    return report


def _refuse(reason: Diagnostic) -> NoReturn:
    raise StrictError(f"{reason.layer}: {reason.message}")


def _relative(graph: Graph, layer: Layer, name: str, title: str) -> Report:
    """The report of what depends on ``layer``, with its units in the place of the input."""
    axes = layer.unit_dims or tuple(range(2, len(layer.shape)))
    if not axes:
        raise EyeshotError(f"of: {name} has no dim along which its units differ")
    value = next(mark.value for mark in graph.layers if mark.name == name)
    reached = {value}
    for v, inputs in enumerate(graph.inputs):
        if not reached.isdisjoint(inputs):
            reached.add(v)
    marks = [mark for mark in graph.layers if mark.value in reached]
    return Report(graph, [Source(value, name, layer.shape, axes)], marks, title)


def _graph(source: Any, sizes: InputSizes | None) -> tuple[Graph, str]:
    from eyeshot.frontends import spec

    if isinstance(source, Mapping):
        return spec.build(source, sizes), _title(source, "spec")
    if not isinstance(source, str | PathLike):
        raise EyeshotError(
            f"can't read a {type(source).__module__}.{type(source).__name__}: expected a spec (a dict), "
            "the path of one, or example:NAME"
        )
    name = str(source)
    scheme, _, rest = name.partition(":")
    if scheme == "example" and isinstance(source, str):
        from eyeshot.examples import path

        file = path(rest)
        content = spec.load(file)
        return spec.build(content, sizes, f"{rest}.yaml"), _title(content, rest)
    suffix = Path(name).suffix.lower()
    if suffix not in spec.SUFFIXES:
        known = ", ".join(spec.SUFFIXES)
        raise SpecError(f"{name}: not a source that eyeshot reads ({known}, or example:NAME)")
    content = spec.load(name)
    return spec.build(content, sizes, name), _title(content, Path(name).name)


def _title(content: Any, fallback: str) -> str:
    name = content.get("name") if isinstance(content, Mapping) and "layers" in content else None
    return name if isinstance(name, str) else fallback
