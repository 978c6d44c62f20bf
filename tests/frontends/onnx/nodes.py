"""What tables of single operators have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx

import eyeshot
from tests.frontends.onnx.agree import assert_agrees, node_model, reported
from tests.frontends.onnx.ort import session

__all__ = ["chain", "check", "data", "declared", "ints", "without_numbers"]

RNG = np.random.default_rng(0)


def data(*shape: int) -> np.ndarray:
    """Floats."""
    return RNG.standard_normal(shape).astype(np.float32)


def ints(*numbers: int) -> np.ndarray:
    """A list of whole numbers, as parameters are."""
    return np.asarray(numbers, np.int64)


def check(
    op: str,
    *inputs: Any,
    status: str | None = "exact",
    run: Any = None,
    ort: bool = False,
    **kwargs: Any,
) -> eyeshot.Report:
    """Poison one node. A dict among the inputs holds constants by place: ``{1: array}``.

    ``ort``: in onnxruntime, in place of the reference evaluator.
    """
    constants = next((i for i in inputs if isinstance(i, dict)), {})
    arrays = [i for i in inputs if not isinstance(i, dict)]
    model, feeds = node_model(op, *arrays, constants=constants, **kwargs)
    return assert_agrees(model, feeds, status, run=session(model) if ort else run)


def declared(model: onnx.ModelProto, *shape: int) -> onnx.ModelProto:
    """The model with the shape of its first output written into the file."""
    info = onnx.helper.make_tensor_value_info("y0", onnx.TensorProto.FLOAT, shape)
    model.graph.output[0].CopyFrom(info)
    return model


def without_numbers(model: onnx.ModelProto, feeds: Any) -> Any:
    """The report where only the shapes of inputs are given, and the rows."""
    axes = {k: tuple(range(v.ndim)) for k, v in feeds.items()}
    return reported(model, {k: v.shape for k, v in feeds.items()}, axes)


def chain(
    nodes: Sequence[Any], out: str, opset: int | None = None, weights: Any = None, **feeds: Any
) -> tuple[onnx.ModelProto, dict[str, Any]]:
    """A model of nodes, each ``(op, inputs, outputs, attributes)`` with names in one string.

    A name that is a number, or numbers in brackets, is a constant: ``2``, ``[1,-1]``.
    """
    h = onnx.helper
    made, held = [], dict(weights or {})
    for k, (op, inputs, outputs, *more) in enumerate(nodes):
        names = inputs.split()
        for name in names:
            if name[0] in "-0123456789[":
                numbers = np.asarray(eval(name), np.int64)
                held[name] = numbers.reshape(-1) if name == "[]" else numbers
        made.append(h.make_node(op, names, outputs.split(), f"n{k}", **(more[0] if more else {})))
    infos = [
        h.make_tensor_value_info(k, h.np_dtype_to_tensor_dtype(v.dtype), v.shape)
        for k, v in feeds.items()
    ]
    graph = h.make_graph(
        made, "graph", infos, [onnx.ValueInfoProto(name=out)],
        [onnx.numpy_helper.from_array(np.asarray(v), k) for k, v in held.items()],
    )  # fmt: skip
    versions = [h.make_opsetid("", opset or onnx.defs.onnx_opset_version())]
    return h.make_model(graph, opset_imports=versions, ir_version=10), feeds
