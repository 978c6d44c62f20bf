"""What the onnx package itself says of one node: its shape inference, in its own words for types."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import onnx
from onnx import TypeProto

from eyeshot.frontends.onnx.calls import Call, Sequence, Value

__all__ = ["inference", "latest", "type_of"]

#: What element types there are.
TYPES = frozenset(onnx.TensorProto.DataType.values()) - {0}


def inference(call: Call, numbers: Any) -> dict[str, TypeProto]:
    """onnx's shape inference of one node."""
    node = call.own_node() if any(a.ref_attr_name for a in call.node.attribute) else call.node
    types, data = {}, {}
    for name, x in zip(node.input, call.inputs, strict=False):
        if x is None:
            continue
        types[name] = type_of(x)
        if type(x) is Value and x.size <= 1024 and (known := numbers(x)) is not None:
            data[name] = onnx.numpy_helper.from_array(known, name)
    versions = [onnx.helper.make_opsetid(call.op.domain, call.op.opset)]
    try:
        return onnx.shape_inference.infer_node_outputs(
            call.op.schema, node, types, data, opset_imports=versions
        )
    except Exception:
        return {}


def type_of(x: Value | Sequence | None) -> TypeProto:
    """The type of a value, in onnx's words."""
    if x is None:
        return TypeProto()
    if isinstance(x, Value):
        # The file may hold any number where a type belongs.
        dtype = x.dtype if x.dtype in TYPES else onnx.TensorProto.FLOAT
        return onnx.helper.make_tensor_type_proto(dtype, x.shape)
    shapes = {item.shape if isinstance(item, Value) else None for item in x.items}
    item = type_of(x.items[0]) if x.items else TypeProto()
    if len(shapes) > 1:
        item.tensor_type.ClearField("shape")
    make = (
        onnx.helper.make_optional_type_proto if x.optional else onnx.helper.make_sequence_type_proto
    )
    return make(item)


def latest(versions: Iterable[int], opset: int) -> int:
    """The newest of these versions that an opset has; the oldest, if it has none."""
    known = sorted(versions)
    return max((v for v in known if v <= opset), default=known[0])
