"""Quantised operators: against poisoning in the reference evaluator, and in onnxruntime where that has none."""

from __future__ import annotations

import zlib
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest

from tests.frontends.onnx.agree import assert_agrees, node_model
from tests.frontends.onnx.ort import session

MS = "com.microsoft"

#: Scales and zero points with which nothing saturates. What is read of a number without dims does not show.
SCALE, ZERO = np.full(1, 0.5, np.float32), np.full(1, 3, np.uint8)


def one(number: float) -> np.ndarray:
    return np.full(1, number, np.float32)


def floats(*shape: int) -> np.ndarray:
    rng = np.random.default_rng(zlib.crc32(bytes(shape)))
    return rng.uniform(1, 40, shape).astype(np.float32)


def bytes_(*shape: int, dtype: Any = np.uint8) -> np.ndarray:
    rng = np.random.default_rng(zlib.crc32(bytes(shape)))
    return rng.integers(1, 100, shape, dtype=dtype)


def scales(*shape: int) -> np.ndarray:
    return floats(*shape) / 20 + 0.1


REFERENCE = [
    ("QuantizeLinear", [floats(2, 3), SCALE, ZERO], {}),
    ("QuantizeLinear", [floats(2, 3, 2), scales(3), bytes_(3)], {}),
    ("QuantizeLinear", [floats(2, 3), scales(2), bytes_(2, dtype=np.int8)], {"axis": -2}),
    ("QuantizeLinear", [floats(2, 3), scales(1)], {"opset": 13}),
    ("QuantizeLinear", [floats(2, 7), scales(2, 3), bytes_(2, 3)], {"axis": 1, "block_size": 3}),
    ("QuantizeLinear", [floats(6, 2), scales(2, 2)], {"axis": 0, "block_size": 3, "output_dtype": 3}),
    ("QuantizeLinear", [floats(2, 4), scales(2, 1)], {"axis": 1, "block_size": 4}),
    ("DequantizeLinear", [bytes_(2, 3), SCALE, ZERO], {}),
    ("DequantizeLinear", [bytes_(2, 3, 2), scales(3), bytes_(3)], {"axis": 1}),
    ("DequantizeLinear", [bytes_(2, 8), scales(2, 4), bytes_(2, 4)], {"axis": 1, "block_size": 2}),
    ("DequantizeLinear", [bytes_(2, 3).astype(np.int32), scales(3)], {"axis": 1}),
    ("DequantizeLinear", [floats(2, 3).astype(ml_dtypes.float8_e4m3fn), SCALE], {}),
    ("DequantizeLinear", [bytes_(2, 3), np.float16(0.5)], {"opset": 19}),
    ("DynamicQuantizeLinear", [floats(2, 3)], {"outputs": 3}),
    ("ConvInteger", [bytes_(1, 2, 5, 4), bytes_(4, 1, 3, 2), ZERO, np.full(1, 2, np.uint8)], {"group": 2}),
    ("ConvInteger", [bytes_(1, 2, 7), bytes_(3, 2, 3), ZERO],
     {"constants": {1: bytes_(3, 2, 3)}, "strides": [2], "dilations": [2], "pads": [3, 1]}),
    ("MatMulInteger", [bytes_(2, 3), bytes_(3, 4), bytes_(2, 1), bytes_(4)], {}),
    ("MatMulInteger", [bytes_(2, 2, 3), bytes_(3, 4), ZERO], {}),
]  # fmt: skip


def _reference_model(op: str, inputs: list[Any], more: dict[str, Any]) -> Any:
    more = dict(more)
    fixed = more.pop("constants", {})
    given = [x for k, x in enumerate(inputs) if k not in fixed]
    return node_model(op, *given, constants=fixed, **more)


@pytest.mark.parametrize("k", range(len(REFERENCE)), ids=lambda k: f"{REFERENCE[k][0]}-{k}")
def test_reference(k: int) -> None:
    model, feeds = _reference_model(*REFERENCE[k])
    assert_agrees(model, feeds)


BIG = one(40)
#: In and out for products: sums of many bytes must not saturate.
SZ = [one(0.5), np.full(1, 7, np.uint8)]
OUT = [one(60), np.full(1, 5, np.uint8)]

RUNTIME = [
    # ai.onnx, which the reference evaluator has in part.
    ("QLinearConv", [bytes_(1, 2, 6, 5), *SZ, bytes_(4, 1, 3, 3), *SZ, *OUT], "",
     {"group": 2, "strides": [2, 1], "pads": [0, 1, 1, 1], "fixed": (3,)}),
    ("QLinearConv", [bytes_(1, 2, 6, 5), *SZ, bytes_(4, 1, 3, 3), *SZ, *OUT], "", {"group": 2}),
    ("QLinearConv", [bytes_(1, 2, 6), *SZ, bytes_(3, 2, 3), scales(3), np.array([1, 2, 3], np.uint8), *OUT,
                     bytes_(3).astype(np.int32)], "", {"fixed": (3, 4, 5, 8)}),
    ("QLinearMatMul", [bytes_(2, 3), *SZ, bytes_(3, 4), *SZ, *OUT], "", {}),
    ("QLinearMatMul", [bytes_(2, 3), *SZ, bytes_(3, 4), scales(4), bytes_(4), *OUT], "", {"fixed": (3, 4, 5)}),
    # com.microsoft.
    ("QLinearConv", [bytes_(1, 6, 5, 2), *SZ, bytes_(4, 2, 3, 3), *SZ, *OUT], MS,
     {"channels_last": 1, "strides": [2, 1], "fixed": (3, 4, 5)}),
    ("QLinearAdd", [bytes_(2, 3), *SZ, bytes_(2, 3), *SZ, one(1), ZERO], MS, {}),
    ("QLinearMul", [bytes_(2, 1), *SZ, bytes_(2, 3), *SZ, BIG, ZERO], MS, {}),
    ("QLinearConcat", [one(0.5), ZERO, bytes_(1, 2, 3), *SZ, bytes_(1, 3, 3), *SZ], MS, {"axis": 1}),
    ("QLinearAveragePool", [bytes_(1, 2, 5, 4), *SZ, *SZ], MS,
     {"kernel_shape": [3, 2], "strides": [2, 1], "pads": [1, 0, 1, 0]}),
    ("QLinearAveragePool", [bytes_(1, 5, 4, 2), *SZ, *SZ], MS,
     {"kernel_shape": [3, 2], "strides": [2, 2], "channels_last": 1}),
    ("QLinearGlobalAveragePool", [bytes_(1, 3, 4, 2), *SZ, *SZ], MS, {"channels_last": 1}),
    ("QLinearGlobalAveragePool", [bytes_(1, 3, 4, 2), *SZ, *SZ], MS, {}),
    ("QLinearLeakyRelu", [bytes_(2, 3), *SZ, *SZ], MS, {"alpha": 0.5, "fixed": (1, 2, 3, 4)}),
    ("QLinearSigmoid", [bytes_(2, 3), one(0.05), ZERO, one(0.004), ZERO], MS,
     {"fixed": (1, 2, 3, 4)}),
    ("QLinearSoftmax", [bytes_(2, 3), one(0.02), ZERO, one(0.002), ZERO], MS,
     {"axis": -1, "opset_": 13, "fixed": (1, 2, 3, 4)}),
    ("QLinearSoftmax", [bytes_(2, 2, 2), one(0.02), ZERO, one(0.002), ZERO], MS,
     {"axis": 1, "opset_": 11, "fixed": (1, 2, 3, 4)}),
    ("QLinearWhere", [np.array([[True], [False]]), bytes_(2, 3), *SZ, bytes_(2, 1), *SZ, *SZ], MS,
     {"fixed": (2, 3, 5, 6, 7, 8)}),
    ("QGemm", [bytes_(2, 3), *SZ, bytes_(4, 3), *SZ, bytes_(4).astype(np.int32), *OUT], MS, {"transB": 1}),
    ("QGemm", [bytes_(2, 3), *SZ, bytes_(3, 4, dtype=np.int8), scales(4), bytes_(4, dtype=np.int8)], MS, {}),
    ("MatMulIntegerToFloat", [bytes_(2, 3), bytes_(3, 4), SCALE, scales(4), ZERO, bytes_(4), floats(4)], MS,
     {}),
    ("MatMulInteger16", [bytes_(2, 3).astype(np.int16), bytes_(3, 4).astype(np.int16)], MS, {}),
    ("DynamicQuantizeMatMul", [floats(2, 3), bytes_(3, 4), scales(4), bytes_(4), floats(4)], MS,
     {"fixed": (1, 2, 3)}),
    ("DynamicQuantizeLSTM", [floats(2, 1, 3) / 40, bytes_(1, 3, 8), bytes_(1, 2, 8), floats(1, 16) / 40, None,
     None,
                             None, None, one(0.01), np.full(1, 50, np.uint8),
                             one(0.01), np.full(1, 50, np.uint8)], MS,
     {"hidden_size": 2, "outputs": 3, "fixed": (1, 2, 3, 8, 9, 10, 11)}),
    ("QuantizeLinear", [floats(2, 3), scales(3), bytes_(3)], MS, {"axis": 1}),
    ("DequantizeLinear", [bytes_(2, 3), scales(2), bytes_(2)], MS, {"axis": 0}),
]  # fmt: skip


def _squeezed(model: onnx.ModelProto) -> None:
    """Inputs of one element reach the node without a dim, as it will have them."""
    node = model.graph.node[0]
    for k, name in enumerate(node.input):
        if any(
            i.name == name and len(i.type.tensor_type.shape.dim) == 1 for i in model.graph.input
        ):
            node.input[k] = f"s{k}"
            model.graph.node.insert(0, onnx.helper.make_node("Squeeze", [name], [f"s{k}"]))
            node = model.graph.node[-1]


@pytest.mark.parametrize("k", range(len(RUNTIME)), ids=lambda k: f"{RUNTIME[k][0]}-{k}")
def test_runtime(k: int) -> None:
    """``fixed``: the places of inputs that are constants."""
    pytest.importorskip("onnxruntime")
    op, inputs, domain, more = RUNTIME[k]
    more = dict(more)
    fixed = {n: inputs[n] for n in more.pop("fixed", ())}
    given = [x for n, x in enumerate(inputs) if n not in fixed]
    opset = more.pop("opset_", None)
    model, feeds = node_model(op, *given, constants=fixed, domain=domain, opset=17, **more)
    if op in ("QLinearAdd", "QLinearMul", "QLinearAveragePool"):
        _squeezed(model)
    if opset is not None:
        model.graph.node[0].attribute.add(name="opset", type=2, i=opset)
    assert_agrees(model, feeds, run=session(model))
