"""The numbers of constants: from the file, or worked out by onnx's reference evaluator when asked for.

Shapes come first: an evaluation is known to be small before it is begun, and all of them together are limited.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import AttributeProto, NodeProto, TensorProto, numpy_helper

from eyeshot.frontends.onnx.calls import Pending, Value

__all__ = ["MAX_ELEMENTS", "MAX_TOTAL", "Folder"]

#: Constants of more elements are not looked at.
MAX_ELEMENTS = 1 << 20
#: So many elements are worked out or written down for one model, those that are read on the way counted too.
MAX_TOTAL = 1 << 23
#: Of fewer elements no account is kept: they are no more than the file itself is long.
FREE = 1 << 6

#: What the evaluator loops over in Python, one element at a time, counts so many times.
SLOW = frozenset(
    "Compress GatherElements GatherND OneHot ReverseSequence ScatterElements ScatterND TopK".split()
)
SLOWER = 8
#: What takes a part of its first input, or shows it otherwise, does not read the rest.
VIEWS = frozenset("Flatten Gather Identity Reshape Slice Split Squeeze Transpose Unsqueeze".split())
#: A position in the graph takes so much more room than a number, and one of the file so much less.
WRITTEN = 4
STORED = 8

#: What an attribute of shape arithmetic may be. Graphs are not run, and sparse tensors not filled.
_PLAIN = frozenset(
    [AttributeProto.INT, AttributeProto.INTS, AttributeProto.FLOAT, AttributeProto.FLOATS,
     AttributeProto.STRING, AttributeProto.TENSOR]
)  # fmt: skip
#: Until opset 6 these broadcast from an axis on, which the evaluator does not know.
_LEGACY = frozenset("Add And Div Equal Greater Less Mul Or Pow Sub Xor".split())

#: Inputs that are to be one number by the specification, and in files are often a list of one.
_ALONE = {"CumProd": 1, "CumSum": 1, "OneHot": 1, "Trilu": 1}


class Folder:
    """Works out the numbers of one model's constants. ``left``: what may still be spent on it."""

    def __init__(self) -> None:
        self.left = MAX_TOTAL

    def spend(self, elements: int) -> bool:
        """Whether so many elements more may be worked out or written down."""
        if elements <= FREE:
            return True
        if elements > self.left:
            return False
        self.left -= elements
        return True

    def write(self, positions: int) -> bool:
        """Whether so many positions may be written into the graph."""
        return self.spend(positions * WRITTEN)

    def numbers(self, value: Value) -> NDArray[Any] | None:
        """The numbers of a tensor, or None. What is found is kept with the value."""
        held = value.held
        if type(held) is np.ndarray:
            return held
        if held is None and not _empty(value):
            return None
        # Chains of constants may be longer than Python's stack is deep.
        stack = [value]
        while stack:
            top = stack[-1]
            held = top.held
            if _empty(top):
                top.held = _nothing(top)
            elif type(held) is TensorProto:
                top.held = self._array(held, top)
            elif type(held) is Pending:
                hopeful = _hopeful(held.inputs)
                waiting = [
                    x for x in held.inputs
                    if type(x) is Value and (type(x.held) in (TensorProto, Pending) or _empty(x))
                ]  # fmt: skip
                if waiting and hopeful:
                    stack += waiting
                    continue
                top.held = self._evaluated(held, top) if hopeful else None
            stack.pop()
        held = value.held
        return held if type(held) is np.ndarray else None

    def _array(self, tensor: TensorProto, value: Value) -> NDArray[Any] | None:
        """What the file says; external data is not there."""
        stored = value.size // STORED if tensor.HasField("raw_data") else value.size
        if not _plain(tensor, value.size) or not self.spend(stored):
            return None
        try:
            array = numpy_helper.to_array(tensor)
        except Exception:  # the file's numbers are not as many, or not of the kind, that it says
            return None
        return array if array.shape == value.shape else None

    def _evaluated(self, pending: Pending, value: Value) -> NDArray[Any] | None:
        """One node, run by the reference evaluator."""
        node = pending.node
        given = [x for x in pending.inputs if x is not None]
        most = max([value.size, *(x.size for x in given)])
        if most > MAX_ELEMENTS or value.dtype == TensorProto.STRING:
            return None
        if any(x.dtype == TensorProto.STRING for x in given) or not _sane(node, pending.opset):
            return None
        cost = value.size + sum(x.size for x in given[node.op_type in VIEWS :])
        if not self.spend(cost * SLOWER if node.op_type in SLOW else cost):
            return None
        if node.op_type == "GatherElements" and _astray(pending):
            return None
        try:
            array = _run(pending)
        except Exception:  # the evaluator says of bad input that it is bad in many ways
            return None
        return array if array.shape == value.shape else None


def _astray(pending: Pending) -> bool:
    """Whether a place lies far outside: the evaluator wraps it around step by step, which may take years."""
    data, places = pending.inputs[:2]
    if data is None or places is None or not isinstance(places.held, np.ndarray):
        return True
    return not np.all(np.abs(places.held.astype(np.float64)) <= data.size)


def _run(pending: Pending) -> NDArray[Any]:
    from onnx.reference import ReferenceEvaluator

    node = pending.node
    graph = onnx.GraphProto(name="constant", node=[node])
    given: dict[str, Any] = {}
    for k, (name, x) in enumerate(zip(node.input, pending.inputs, strict=True)):
        if x is not None and name not in given:
            graph.input.add(name=name)
            held: Any = x.held
            # The evaluator is strict there.
            alone = _ALONE.get(node.op_type) == k and x.size == 1
            given[name] = held.reshape(()) if alone else held
    wanted = node.output[pending.output]
    graph.output.add(name=wanted)
    with np.errstate(all="ignore"):
        out: Any = ReferenceEvaluator(graph, opsets={"": pending.opset}).run([wanted], given)
    return np.asarray(out[0])


def _empty(value: Value) -> bool:
    """Whether the numbers are known for there being none of them, and not yet an array."""
    return _void(value) and type(value.held) is not np.ndarray


def _void(value: Value) -> bool:
    """Whether there are no elements, and NumPy has arrays of such a shape."""
    shape = value.shape
    return 0 in shape and len(shape) <= 32 and math.prod(n or 1 for n in shape) < 1 << 58


def _nothing(value: Value) -> NDArray[Any]:
    try:
        dtype = onnx.helper.tensor_dtype_to_np_dtype(value.dtype)
    except KeyError:
        dtype = np.dtype(np.float32)
    return np.zeros(value.shape, dtype)


def _hopeful(inputs: Sequence[Any]) -> bool:
    """Whether no input is known to be unknown."""
    return all(x is None or (type(x) is Value and (x.held is not None or _void(x))) for x in inputs)


def _plain(tensor: TensorProto, size: int) -> bool:
    """Whether a tensor's numbers are numbers, and in the file. Texts would all get as long as the longest."""
    return (
        size <= MAX_ELEMENTS
        and tensor.data_location != TensorProto.EXTERNAL
        and tensor.data_type != TensorProto.STRING
    )


def _sane(node: NodeProto, opset: int) -> bool:
    """Whether the evaluator knows the operator as it stands, and its attributes hold nothing but numbers."""
    if opset < 7 and node.op_type in _LEGACY and node.attribute:
        return False
    for a in node.attribute:
        if a.type not in _PLAIN:
            return False
        if a.type == AttributeProto.TENSOR and not _plain(a.t, _count(a.t)):
            return False
    return True


def _count(tensor: TensorProto) -> int:
    """How many elements a tensor says it has; of senseless dims more than are looked at."""
    total = 1
    for n in tensor.dims:
        total *= n if 0 <= n <= MAX_ELEMENTS else MAX_ELEMENTS + 1
        if total > MAX_ELEMENTS:
            break
    return total
