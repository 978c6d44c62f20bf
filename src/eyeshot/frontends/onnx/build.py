"""From a model to the graph."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from onnx import GraphProto, ModelProto

from eyeshot.core.graph import Graph
from eyeshot.core.primitives import Input, text
from eyeshot.errors import EyeshotError
from eyeshot.frontends.onnx import layout
from eyeshot.frontends.onnx.calls import Sequence, Value
from eyeshot.frontends.onnx.inputs import Form, Slot, bind, fields_along
from eyeshot.frontends.onnx.names import modules
from eyeshot.frontends.onnx.read import read
from eyeshot.frontends.onnx.scope import Scope
from eyeshot.frontends.onnx.walk import Walker

__all__ = ["Run", "build"]

#: What is wrong fits on a line, however long the names in the file are.
MAX_LINE = 1000


class Run(NamedTuple):
    """What came of the walk: the graph, the inputs, and the tensor behind each row of the main graph."""

    model: ModelProto
    graph: Graph
    slots: list[Slot]
    tensors: dict[str, str]


def build(source: Any, input: Any = None, *, axes: Any = None) -> Run:
    """The graph of an ONNX model: a path, bytes or a ModelProto. Raises EyeshotError: file, place, fault."""
    model, name = read(source)
    try:
        return _build(model, input, axes)
    except EyeshotError as error:
        text = f"{error}" if name == "the model" else f"{name}: {error}"
        # Names in the file may hold anything, line ends among it.
        text = text if len(text) <= MAX_LINE else f"{text[: MAX_LINE - 3]}..."
        line = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
        raise EyeshotError(line) from error.__cause__


def _build(model: ModelProto, input: Any, axes: Any) -> Run:
    proto = model.graph
    slots, symbols, forms = bind(proto, input)
    versions = {"" if o.domain == "ai.onnx" else o.domain: o.version for o in model.opset_import}
    declared = {info.name: info.type for info in (*proto.value_info, *proto.output)}
    functions = {(f.domain, f.name, f.overload): f for f in model.functions}
    graph = Graph()
    walker = Walker(graph, functions, declared, symbols)
    scope = Scope(versions)
    scope.hold(proto)
    along = fields_along(slots, axes, {})
    sources: dict[str, int] = {}
    tensors: dict[str, Value] = {}
    for slot in slots:
        if slot.name in scope or slot.name in tensors:
            raise EyeshotError(f"two inputs are called {slot.name!r}")
        at = None
        if 0 not in slot.shape:  # of nothing, nothing is read
            at = sources[slot.name] = graph.add(Input(slot.shape, slot.name, along[slot.name]))
        tensors[slot.name] = Value(at, slot.shape, slot.dtype, slot.numbers)
    for name, form in forms.items():
        scope[name] = _assembled(form, tensors)
    nodes = list(proto.node)
    walker.names.prepare(nodes)
    walker.walk(nodes, scope)
    _outputs(proto, walker, scope)
    # Channels may come last: the first windows tell.
    along = fields_along(slots, axes, layout.spatial(graph, walker.windows))
    for slot in slots:
        if slot.name not in sources:
            continue
        graph.prims[sources[slot.name]] = Input(slot.shape, slot.name, along[slot.name])
    if not any(along.values()):
        shapes = ", ".join(f"{s.name} {text([s.shape])}" for s in slots)
        raise EyeshotError(
            f"input: {shapes} has no field axes: all dims but batch and channel are; name others with axes="
        )
    outputs = [info.name for info in proto.output]
    modules(graph, nodes, walker.rows, outputs, walker.names.paths)
    graph.verify()
    return Run(model, graph, slots, {row: tensor for tensor, row in walker.rows.items()})


def _assembled(form: Form, tensors: Mapping[str, Value]) -> Value | Sequence:
    """An input, of the tensors that go into it."""
    if isinstance(form, str):
        return tensors[form]
    return Sequence([_assembled(item, tensors) for item in form.items], form.optional)


def _outputs(proto: GraphProto, walker: Walker, scope: Scope) -> None:
    """The rows of the model's outputs."""
    graph = walker.graph
    for info in proto.output:
        if info.name not in scope:
            raise EyeshotError(f"output {info.name!r} is made by no node")
        found = scope[info.name]
        if found is None or found.at is None:
            continue
        row = walker.rows.get(info.name)
        if isinstance(found, Sequence):
            items = {
                f"{info.name}[{k}]": x for k, x in enumerate(found.tensors()) if x.at is not None
            }
        else:
            items = {info.name: found}
        for name, x in items.items():
            assert x.at is not None
            row = walker.rows.get(name)
            if row is None:  # an input as it came, or an item of a sequence
                row = walker.rows[name] = walker.names.unique(name)
                graph.mark(row, "Identity", x.at)
            if row not in graph.outputs:
                graph.outputs.append(row)
    if not graph.outputs:
        raise EyeshotError("no output of the model depends on its inputs")
