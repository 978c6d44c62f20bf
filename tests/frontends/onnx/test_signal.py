"""Fourier transforms against poisoning, and the constants that go with them."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

import eyeshot
from eyeshot.errors import EyeshotError
from tests.frontends.onnx.agree import assert_agrees, node_model, reported
from tests.frontends.onnx.ort import session

RNG = np.random.default_rng(0)


def data(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def check(op: str, *inputs: Any, run: Any = None, **kwargs: Any) -> eyeshot.Report:
    """Poison one node. A dict among the inputs holds constants: ``{1: array}``."""
    constants = next((i for i in inputs if isinstance(i, dict)), {})
    arrays = [i for i in inputs if not isinstance(i, dict)]
    model, feeds = node_model(op, *arrays, constants=constants, **kwargs)
    return assert_agrees(model, feeds, run=run)


@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("axis", [0, 1, -2])
def test_dft(parts: int, axis: int) -> None:
    x = data(3, 5, 6, parts)
    check("DFT", x, opset=17, axis=axis)
    check("DFT", x, {1: np.array(5), 2: np.array(axis)})


def test_dft_by_default() -> None:
    """Of the second dim until opset 19, of the last but one since."""
    check("DFT", data(2, 5, 3, 2), opset=17)
    check("DFT", data(2, 3, 5, 2))


@pytest.mark.parametrize("length", [3, 5, 9])
def test_dft_of_another_length(length: int) -> None:
    """It crops or pads first."""
    check("DFT", data(2, 5, 1), {1: np.array(length)}, onesided=1)
    check("DFT", data(2, 5, 2), {1: np.array(length)}, inverse=1)
    check("DFT", data(2, 5, 2), {1: np.array(length)}, onesided=1, inverse=1)


def test_real_and_back() -> None:
    check("DFT", data(2, 6, 1), onesided=1)
    check("DFT", data(2, 5, 2), onesided=1, inverse=1)


def test_dfts_that_do_not_fit() -> None:
    for shape, kwargs in (
        ((2, 5, 3), {}),
        ((2, 5, 1), {"axis": 2}),
        ((2,), {}),
        ((2, 5, 1), {"axis": -9}),
    ):
        model, feeds = node_model("DFT", data(*shape), opset=17, **kwargs)
        with pytest.raises(EyeshotError):
            reported(model, feeds, {"x0": (0,)})


@pytest.mark.parametrize("one", [0, 1])
def test_stft(one: int) -> None:
    """Windows of a length, in steps; what is left over at the end is not read."""
    x, step = data(2, 13, 1), np.array(3)
    check("STFT", x, None, {1: step, 3: np.array(6)}, onesided=one)
    check("STFT", x, {1: step, 2: data(5)}, onesided=one)
    check("STFT", x, {1: step, 2: data(5), 3: np.array(5)}, onesided=one)
    check("STFT", x, data(5), {1: step}, onesided=one)


def test_stft_of_complex_signals() -> None:
    check("STFT", data(1, 9, 2), {1: np.array(2), 2: data(5)}, onesided=0)


def test_stft_that_does_not_fit() -> None:
    x = data(1, 9, 1)
    for step, length in ((0, 5), (2, 10), (2, 0)):
        model, feeds = node_model(
            "STFT", x, None, constants={1: np.array(step), 3: np.array(length)}
        )
        with pytest.raises(EyeshotError):
            reported(model, feeds, {"x0": (1,)})


def test_a_signal_of_two_dims() -> None:
    """PyTorch's exporter leaves the last one out, and onnxruntime takes that."""
    window = np.ones(6, np.float32)
    for more in ({2: window}, {2: window, 3: np.array(6)}):
        model, feeds = node_model("STFT", data(2, 20), constants={1: np.array(3), **more}, opset=18)
        report = assert_agrees(model, feeds, run=session(model))
        assert report[-1].shape == (2, 5, 4, 2)


def test_constants() -> None:
    """Windows and weights read nothing; their shapes are known."""
    h, from_array = onnx.helper, onnx.numpy_helper.from_array
    held = [
        from_array(np.array(n), name)
        for name, n in (("n", 6), ("bins", 4), ("length", 10), ("rate", 8192))
    ]
    held += [from_array(np.array(f, np.float32), name) for name, f in (("low", 0), ("high", 4000))]
    nodes = [
        h.make_node("HannWindow", ["n"], ["a"]),
        h.make_node("HammingWindow", ["n"], ["b"], periodic=0),
        h.make_node("BlackmanWindow", ["n"], ["c"], output_datatype=1),
        h.make_node("MelWeightMatrix", ["bins", "length", "rate", "low", "high"], ["m"]),
        h.make_node("MatMul", ["m", "x"], ["p"]),
        *(h.make_node("Mul", [f"p{'' if k == 0 else k}", w], [f"p{k + 1}"]) for k, w in enumerate("ab")),
        h.make_node("Mul", ["p2", "c"], ["y"]),
    ]  # fmt: skip
    x = h.make_tensor_value_info("x", 1, (4, 6))
    graph = h.make_graph(nodes, "g", [x], [onnx.ValueInfoProto(name="y")], held)
    model = h.make_model(graph, opset_imports=[h.make_opsetid("", 17)], ir_version=10)
    report = assert_agrees(model, {"x": data(4, 6)})
    assert report[-1].shape == (6, 6)


def test_a_mel_matrix_of_the_inputs_choice() -> None:
    h = onnx.helper
    low = np.array(20, np.float32)
    constants = {0: np.array(4), 1: np.array(10), 2: np.array(8192), 4: np.array(4000, np.float32)}
    model, _ = node_model("MelWeightMatrix", low, constants=constants)
    model.graph.input[0].CopyFrom(h.make_tensor_value_info("s", 1, (1,)))
    nodes = [h.make_node("Squeeze", ["s"], ["x3"]), *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    report, _ = reported(model, {"s": (1,)}, {"s": (0,)})
    assert report[-1].shape == (6, 4)
    assert report.status == "exact"
