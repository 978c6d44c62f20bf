"""``analyze``: from any source to a report."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from eyeshot.analysis.report import Layer, Report
from eyeshot.core.canvas import Source
from eyeshot.core.garbage import paused
from eyeshot.core.graph import Diagnostic, Graph
from eyeshot.core.primitives import Input
from eyeshot.errors import EyeshotError, SpecError, StrictError

if TYPE_CHECKING:
    from eyeshot.frontends.onnx import Run
    from eyeshot.frontends.spec.build import InputSizes

__all__ = ["analyze"]


def analyze(
    source: Any,
    input: Any = None,
    *,
    args: Sequence[Any] | None = None,
    kwargs: Mapping[str, Any] | None = None,
    axes: Any = None,
    training: bool | None = False,
    of: str | None = None,
    strict: bool = False,
) -> Report:
    """Compute which part of the input every unit of a network reads.

    ``source``: a PyTorch module (or function); an ONNX model, as the path of an ``.onnx`` file, bytes or an
    ``onnx.ModelProto``; a spec as a dict, or the path of a ``.yaml``, ``.yml``, ``.json`` or ``.toml`` file;
    or a reference: ``"example:NAME"``, ``"torchvision:resnet50"``, ``"timm:convnext_tiny"``,
    ``"hf:config.json"``, ``"package.module:factory"``.

    ``input``: a whole shape ``(1, 3, 224, 224)``, a text like ``"3x224x224"``, one number, or a mapping from
    input name to these; by default the spec's or the ONNX file's own. For a module also a tensor, a list of
    these for several inputs, or instead of it ``args`` and ``kwargs``, the module's arguments with nested
    containers. For an ONNX model also arrays, ``?`` in a text (None in a tuple) for a size that the file has,
    and in a mapping names of dims: ``{"height": 224, "width": 224}``.

    ``axes``: for a module or ONNX model, the dims of the input along which fields are computed, or a mapping
    from input name to them; by default all but batch and channel (for integers all but batch). ``training``:
    the mode in which a module runs; None for the one it is in. The module itself stays as it is.

    ``of``: a layer's name; fields are then relative to that layer's units instead of the input, and the
    report lists the layers that depend on it. ``strict``: raise where an operator can only be bounded.

    Raises :class:`~eyeshot.errors.EyeshotError` for an unusable source or input, and
    :class:`~eyeshot.errors.StrictError` under ``strict``.
    """
    if of is not None and not isinstance(of, str):
        raise EyeshotError(f"of: expected a layer's name, got {of!r}")
    graph, title = _graph(source, input, args=args, kwargs=kwargs, axes=axes, training=training)
    with paused():
        return _reported(graph, title, of, strict)


def _reported(graph: Graph, title: str, of: str | None, strict: bool) -> Report:
    """The report of a graph."""
    if strict and graph.bounds:
        _refuse(next(iter(graph.bounds.values())))
    sources = []
    for v in graph.sources:
        prim = graph.prims[v]
        assert isinstance(prim, Input) and prim.name is not None
        sources.append(Source(v, prim.name, prim.shape, prim.axes))
    report = Report(graph, sources, graph.layers, title, graph.groups)
    if of is not None:
        report = relative(graph, report[of], of, title)
    if strict and report.status != "exact":
        _refuse(report.diagnostics[-1])
    return report


def _refuse(reason: Diagnostic) -> NoReturn:
    raise StrictError(f"{reason.layer}: {reason.message}")


def relative(graph: Graph, layer: Layer, name: str, title: str) -> Report:
    """The report of what depends on ``layer``, with its units in the place of the input."""
    axes = layer.unit_dims or tuple(range(2, len(layer.shape)))
    if not axes:
        raise EyeshotError(f"of: {name} has no dim along which its units differ")
    value = layer._value
    reached = {value}
    for v, inputs in enumerate(graph.inputs):
        if not reached.isdisjoint(inputs):
            reached.add(v)
    marks = [mark for mark in graph.layers if mark.value in reached]
    groups = [mark for mark in graph.groups if mark.value in reached]
    return Report(graph, [Source(value, name, layer.shape, axes)], marks, title, groups)


def _graph(source: Any, input: Any, **options: Any) -> tuple[Graph, str]:
    """The graph of any source, and its title."""
    if is_onnx(source):
        return onnx_run(source, input, **options).graph, onnx_title(source)
    if isinstance(source, Mapping) or (
        isinstance(source, str | PathLike) and not _is_reference(source)
    ):
        for name in ("args", "kwargs", "axes"):
            if options[name] is not None:
                raise EyeshotError(f"{name}: only a PyTorch module takes it")
        with paused():
            return _spec(source, input)
    module, title, default = resolve(source)
    from eyeshot.frontends import torch

    if input is None and options["args"] is None and options["kwargs"] is None:
        if default is None and isinstance(source, str):
            raise EyeshotError(
                f"{source}: what it is called with is not known; give an input such as 3x224x224"
            )
        input = default
    try:
        return torch.build(module, input, **options).graph, title
    except EyeshotError as error:
        if not isinstance(source, str) or not _lacks_data(module, error):
            raise
    module, title, _ = resolve(source, real=True)
    return torch.build(module, input, **options).graph, title


def is_onnx(source: Any) -> bool:
    """Whether a source is an ONNX model: a file's name, its content, or a message of protocol buffers."""
    if isinstance(source, str | PathLike):
        text = str(source)
        return text.lower().endswith((".onnx", ".ort")) and not text.startswith("example:")
    if isinstance(source, bytes | bytearray | memoryview):
        return True
    return type(source).__module__.startswith("onnx") and hasattr(source, "SerializeToString")


def onnx_run(source: Any, input: Any, *, args: Any, kwargs: Any, axes: Any, training: Any) -> Run:
    """The walk over an ONNX model."""
    for name, value in (("args", args), ("kwargs", kwargs)):
        if value is not None:
            raise EyeshotError(f"{name}: only a PyTorch module takes it")
    if training:
        raise EyeshotError("training: an ONNX model runs in the mode that it was exported in")
    try:
        from eyeshot.frontends import onnx
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in ("onnx", "google"):
            raise
        raise EyeshotError(
            "ONNX models need the onnx package: pip install 'eyeshot[onnx]'"
        ) from None
    with paused():
        return onnx.build(source, input, axes=axes)


def onnx_title(source: Any) -> str:
    """The file's name, or the graph's."""
    if isinstance(source, str | PathLike):
        return Path(source).name
    graph = getattr(source, "graph", None)
    return getattr(graph, "name", None) or "model"


def _lacks_data(module: Any, error: EyeshotError) -> bool:
    """Whether the module failed for want of the weights that a zoo's model was built without."""
    if not any(tensor.is_meta for tensor in (*module.parameters(), *module.buffers())):
        return False
    cause = error.__cause__
    return type(cause).__name__ in ("NeedsData", "NotImplementedError") or "meta" in str(cause)


def resolve(source: Any, real: bool = False) -> tuple[Any, str, Any]:
    """The module that a source is or refers to, its title, and the input it is made for if that is known.

    ``real``: with weights as data, random ones, where a zoo builds it.
    """
    if isinstance(source, str):
        from eyeshot.frontends.references import load

        return load(source, real)
    torch = sys.modules.get("torch")
    if not callable(source) or isinstance(source, type):
        raise EyeshotError(
            f"can't read {_what(source)}: expected a PyTorch module, a spec (a dict), an ONNX model, "
            "the path of a spec or model, or a reference such as torchvision:resnet50"
        )
    name = type(source).__name__
    if torch is None or not isinstance(source, torch.nn.Module):
        name = getattr(source, "__name__", name)
    return source, name, None


def _what(source: Any) -> str:
    if source is None:
        return "None"
    if isinstance(source, type):
        return f"the class {source.__qualname__} (an instance of it may do)"
    return f"a value of type {type(source).__qualname__}"


def _is_reference(source: str | PathLike[str]) -> bool:
    from eyeshot.frontends.references import is_reference

    return isinstance(source, str) and is_reference(source)


def _spec(source: Any, sizes: InputSizes | None) -> tuple[Graph, str]:
    from eyeshot.frontends import spec

    if isinstance(source, Mapping):
        return spec.build(source, sizes), _title(source, "spec")
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
        raise SpecError(
            f"{name}: not a source that eyeshot reads (.onnx, {known}, example:NAME, torchvision:NAME, "
            "timm:NAME, hf:CONFIG.json or package.module:factory)"
        )
    content = spec.load(name)
    return spec.build(content, sizes, name), _title(content, Path(name).name)


def _title(content: Any, fallback: str) -> str:
    name = content.get("name") if isinstance(content, Mapping) and "layers" in content else None
    return name if isinstance(name, str) else fallback
