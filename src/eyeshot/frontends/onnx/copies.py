"""What the proof of an ONNX model runs: a copy that has all weights, numbers of one type, layers as outputs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import (
    AttributeProto,
    GraphProto,
    ModelProto,
    NodeProto,
    TensorProto,
    helper,
    numpy_helper,
)

from eyeshot.errors import EyeshotError
from eyeshot.frontends.onnx.build import Run
from eyeshot.frontends.onnx.order import within
from eyeshot.frontends.onnx.poison import BLIND, FLOATING, attribute, reads, restore

__all__ = ["Copy"]

Array = NDArray[Any]

#: onnxruntime refuses files of a newer format, also where nothing in them is new, and before version 4 weights
#: have to be inputs as well.
IR_VERSIONS = 4, 10
#: Attributes that name the type of an output.
TYPED = {
    "Cast": "to", "EyeLike": "dtype", "RandomNormal": "dtype", "RandomNormalLike": "dtype",
    "RandomUniform": "dtype", "RandomUniformLike": "dtype", "Bernoulli": "dtype",
    "HannWindow": "output_datatype", "HammingWindow": "output_datatype", "BlackmanWindow": "output_datatype",
    "MelWeightMatrix": "output_datatype", "DequantizeLinear": "output_dtype",
}  # fmt: skip
#: Operators that move the tokens of their first input around.
MOVING = frozenset(
    "Identity Reshape Unsqueeze Squeeze Flatten Transpose Slice Expand Split Gather Tile".split()
)


class Copy:
    """The model as it is run. ``tokens``: how many there are, of each input that is looked up in tables.

    ``moved``: tensors that hold tokens; ``escaped``: tensors in which poison cannot show, as they are made of
    numbers that can't be spoilt.
    """

    def __init__(self, run: Run, seed: int, notes: list[str]) -> None:
        self.tokens: dict[str, int] = {}
        self.moved: set[str] = set()
        self.escaped: set[str] = set()
        self._restored: dict[str, int] = {}
        model = ModelProto()
        model.CopyFrom(run.model)
        if model.functions:
            from onnx.inliner import inline_local_functions

            model = inline_local_functions(model)
        model.ir_version = min(max(model.ir_version, IR_VERSIONS[0]), IR_VERSIONS[1])
        self._opset = next(
            (o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 0
        )
        graph = model.graph
        filled = _filled(graph, seed)
        if filled:
            notes.append(f"verified with random weights, as {filled} of them are not in the file")
        shapes = {slot.name: slot for slot in run.slots}
        kept = [i for i in graph.input if i.name in shapes]
        del graph.input[:]
        for info in kept:
            kind = info.type.tensor_type.elem_type or TensorProto.FLOAT
            graph.input.append(
                helper.make_tensor_value_info(info.name, kind, shapes[info.name].shape)
            )
        # What the file says of sizes may hold for other inputs only.
        del graph.value_info[:], graph.output[:]
        self._model = model
        for slot in run.slots:
            if slot.dtype not in FLOATING and slot.dtype:
                self._whole_numbers(slot.name)

    def _whole_numbers(self, name: str) -> None:
        """An input of integers.

        Where it only becomes floating point, it is that from the beginning; where it is looked up in a table,
        -1 finds a row of NaN at its end.
        """
        graph = self._model.graph
        held = {t.name: t for t in graph.initializer}
        held.update(
            (node.output[0], a.t)
            for node in graph.node if node.op_type == "Constant"
            for a in node.attribute if a.name == "value"
        )  # fmt: skip
        moved = {name}
        tables: list[tuple[NodeProto, TensorProto]] = []
        casts, others = [], []
        for node in graph.node:
            read = moved.intersection(reads(node))
            if not read or node.op_type in BLIND:
                continue
            first = node.input[0] if node.input else ""
            if node.op_type == "Gather" and node.input[1] in moved and first not in moved:
                table = held.get(first)
                if table is None or attribute(node, "axis") or table.data_type not in FLOATING:
                    others.append(node)
                else:
                    tables.append((node, table))
            elif node.op_type in MOVING and read == {first}:
                moved.update(node.output)
            elif node.op_type == "Cast" and attribute(node, "to") in FLOATING:
                casts.append(node)
            elif node.op_type == "Cast" and attribute(node, "to") in (
                TensorProto.INT64, TensorProto.INT32,
            ):  # fmt: skip
                moved.update(node.output)
            else:
                others.append(node)
        for node in [*others, *(casts if tables or others else [])]:
            self.escaped.update(filter(None, node.output))
        if casts and not tables and not others:
            info = next(i for i in graph.input if i.name == name)
            info.type.tensor_type.elem_type = TensorProto.FLOAT
            return
        if not tables:
            return
        self.tokens[name] = min(table.dims[0] for _, table in tables)
        self.moved |= moved
        longer: dict[str, str] = {}
        for node, table in tables:
            if table.name not in longer or not table.name:
                rows = numpy_helper.to_array(table)
                row = np.full((1, *rows.shape[1:]), math.nan, dtype=rows.dtype)
                fresh = f"{node.input[0]}/and a row of NaN"
                if fresh not in longer.values():
                    graph.initializer.append(
                        numpy_helper.from_array(np.concatenate([rows, row]), fresh)
                    )
                longer[table.name] = fresh
            node.input[0] = longer[table.name]

    def remarks(self) -> list[str]:
        """What was done so that NaN travels."""
        found = [f"{n} {op}" for op, n in sorted(self._restored.items())]
        if not found:
            return []
        return [f"NaN put back where operators that compare lose it: {', '.join(found)}"]

    def model(self, target: int, tensors: Sequence[str], bare: bool = False) -> ModelProto:
        """The model with these outputs, its floating-point numbers of one type.

        ``bare``: without weights, which are inputs then: good enough to see whether there are kernels.
        """
        model = ModelProto()
        graph = self._model.graph
        if bare:
            _copy_bare(self._model, model)
        else:
            model.CopyFrom(self._model)
        _retype(model.graph, target)
        graph = model.graph
        for node in graph.node:
            node.name = ""  # onnxruntime wants them to be unique
        types = _types(model)
        self._restored = {}
        restore(graph, target, self._opset, types, self._restored)
        inputs = {i.name for i in graph.input}
        for name in tensors:
            if name in inputs:
                continue
            graph.output.append(onnx.ValueInfoProto(name=name))
        return model


def _copy_bare(source: ModelProto, out: ModelProto) -> None:
    out.ir_version = source.ir_version
    out.opset_import.extend(source.opset_import)
    graph = source.graph
    out.graph.name = graph.name
    out.graph.node.extend(graph.node)
    out.graph.input.extend(graph.input)
    out.graph.sparse_initializer.extend(graph.sparse_initializer)
    for tensor in graph.initializer:
        if tensor.data_type in FLOATING and tensor.dims:
            out.graph.input.append(
                helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
            )
        else:
            out.graph.initializer.append(tensor)


# --- weights


def _filled(graph: GraphProto, seed: int) -> int:
    """Give weights that the file lacks random numbers; how many these are."""
    rng = np.random.default_rng(seed)
    variances: set[str] = set()
    for g in within(graph):
        # Exporters share equal weights by way of Identity.
        shared = {n.output[0]: n.input[0] for n in g.node if n.op_type == "Identity" and n.input}
        for node in g.node:
            if node.op_type == "BatchNormalization" and len(node.input) > 4:
                variances.add(shared.get(node.input[4], node.input[4]))
    count = 0
    for g in within(graph):
        held = [*g.initializer]
        held += [a.t for node in g.node for a in node.attribute if a.type == AttributeProto.TENSOR]
        for tensor in held:
            if _lacking(tensor):
                _fill(tensor, rng, tensor.name in variances)
                count += 1
        for sparse in g.sparse_initializer:
            if _lacking(sparse.values) or _lacking(sparse.indices):
                raise EyeshotError(f"sparse weights {sparse.values.name!r} are not in the file")
    return count


def _lacking(tensor: TensorProto) -> bool:
    """Whether a tensor's numbers are not in the file."""
    if tensor.data_location == TensorProto.EXTERNAL:
        return True
    if not math.prod(tensor.dims) or tensor.raw_data:
        return False
    return not any(
        len(getattr(tensor, f))
        for f in (
            "float_data",
            "int32_data",
            "int64_data",
            "double_data",
            "uint64_data",
            "string_data",
        )
    )


def _fill(tensor: TensorProto, rng: np.random.Generator, positive: bool) -> None:
    shape, kind = tuple(tensor.dims), tensor.data_type
    if kind in FLOATING:
        array = _random(rng, shape, positive).astype(helper.tensor_dtype_to_np_dtype(kind))
    elif kind in (TensorProto.INT8, TensorProto.UINT8):
        array = rng.integers(1, 100, shape).astype(helper.tensor_dtype_to_np_dtype(kind))
    else:
        raise EyeshotError(
            f"{tensor.name or 'a constant'}: its {TensorProto.DataType.Name(kind).lower()} numbers, which are "
            "needed as data, are not in the file; to verify it, load it with them"
        )
    name = tensor.name
    tensor.CopyFrom(numpy_helper.from_array(array, name))


def _random(rng: np.random.Generator, shape: tuple[int, ...], positive: bool) -> Array:
    fan = max(1, math.prod(shape[1:]))
    array = rng.standard_normal(shape, dtype=np.float32) / np.float32(math.sqrt(fan))
    return np.abs(array) + np.float32(0.5) if positive else array


# --- types


def _retype(graph: GraphProto, target: int) -> None:
    """All floating-point numbers of one type."""
    for g in within(graph):
        for info in (*g.input, *g.output, *g.value_info):
            kind = info.type.tensor_type
            if info.type.HasField("tensor_type") and kind.elem_type in FLOATING:
                kind.elem_type = target
        for tensor in g.initializer:
            _retyped(tensor, target)
        for sparse in g.sparse_initializer:
            _retyped(sparse.values, target)
        for node in g.node:
            typed = TYPED.get(node.op_type)
            for a in node.attribute:
                if a.type == AttributeProto.TENSOR:
                    _retyped(a.t, target)
                elif a.name == typed and a.i in FLOATING:
                    a.i = target
                elif node.op_type == "Constant" and a.name in ("value_float", "value_floats"):
                    numbers = np.asarray(
                        helper.get_attribute_value(a), helper.tensor_dtype_to_np_dtype(target)
                    )
                    a.CopyFrom(helper.make_attribute("value", numpy_helper.from_array(numbers)))


def _retyped(tensor: TensorProto, target: int) -> None:
    if tensor.data_type in FLOATING and tensor.data_type != target:
        array = numpy_helper.to_array(tensor).astype(helper.tensor_dtype_to_np_dtype(target))
        tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))


def _types(model: ModelProto) -> dict[str, int]:
    """The element types of tensors, as the onnx package infers them without weights."""
    bare = ModelProto()
    _copy_bare(model, bare)
    known: dict[str, int] = {}
    try:
        inferred = onnx.shape_inference.infer_shapes(bare)
    except Exception:  # it says in many ways what it does not like
        inferred = bare
    for g in within(inferred.graph):
        for info in (*g.input, *g.value_info, *g.output):
            known[info.name] = info.type.tensor_type.elem_type
        for tensor in g.initializer:
            known[tensor.name] = tensor.data_type
    return known
