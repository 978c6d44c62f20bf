"""Pointwise operators against poisoning."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

from eyeshot.core import families
from eyeshot.errors import EyeshotError
from eyeshot.frontends.onnx import build
from tests.frontends.onnx.agree import assert_agrees, node_model


def data(*shape: int) -> np.ndarray:
    return np.random.default_rng(len(shape)).standard_normal(shape).astype(np.float32)


X, Y = data(2, 3), data(3)


@pytest.mark.parametrize("op", ["Add", "Sub", "Mul", "Div", "Max", "Min", "Sum", "Mean"])
@pytest.mark.parametrize(
    "shapes", [((2, 3), (3,)), ((2, 1), (1, 3)), ((2, 1, 3), (4, 1)), ((2,), ())]
)
def test_broadcast(op: str, shapes: tuple[tuple[int, ...], ...]) -> None:
    arrays = [data(*shape) for shape in shapes]
    assert_agrees(*node_model(op, *arrays), run=mean() if op == "Mean" else None)
    model, feeds = node_model(op, arrays[0], constants={1: arrays[1]})
    assert_agrees(model, feeds, run=mean(arrays[1]) if op == "Mean" else None)


def mean(*more: np.ndarray) -> Any:
    """The evaluator's does not broadcast."""
    return lambda given: [sum(np.broadcast_arrays(*given.values(), *more))]


def test_variadic() -> None:
    for op in ("Max", "Min", "Sum", "Mean"):
        assert_agrees(*node_model(op, X, Y, data(4, 1, 1)), run=mean() if op == "Mean" else None)
        assert_agrees(*node_model(op, X))


def test_swiglu() -> None:
    assert_agrees(*node_model("SwiGLU", X, data(2, 3)))


# --- Where: a known condition says which is read

MASKS = [
    np.array([[True, False, True], [False, False, True]]),
    np.array([True, False, True]),
    np.array([[True], [False]]),
    np.array(True),
    np.zeros((2, 3), dtype=bool),
    np.array([[[True]], [[False]]]),
]


@pytest.mark.parametrize("mask", MASKS)
def test_known_condition(mask: np.ndarray) -> None:
    assert_agrees(*node_model("Where", X, Y, constants={0: mask}))
    assert_agrees(*node_model("Where", Y, data(2, 1), constants={0: mask}))


@pytest.mark.parametrize("fixed, mask", [(1, MASKS[0]), (2, MASKS[0]), (2, ~MASKS[4])])
def test_known_condition_and_tensor(fixed: int, mask: np.ndarray) -> None:
    assert_agrees(*node_model("Where", X, constants={0: mask, fixed: Y}))


def test_all_hidden() -> None:
    """A model that reads nothing of its input is an error of its own."""
    model, feeds = node_model("Where", X, constants={0: ~MASKS[4], 1: Y})
    with pytest.raises(EyeshotError, match="depends"):
        assert_agrees(model, feeds)


def test_condition_that_is_an_input() -> None:
    assert_agrees(*node_model("Where", MASKS[0], X, Y))
    assert_agrees(*node_model("Where", MASKS[1], constants={1: X, 2: Y}))


def test_condition_without_numbers() -> None:
    """What an unknown condition may hide is taken as read."""
    model, feeds = node_model("Where", X, Y, constants={0: MASKS[0]})
    model.graph.initializer[0].data_location = onnx.TensorProto.EXTERNAL
    report = build(model, {k: v.shape for k, v in feeds.items()}, axes={"x1": (0, 1), "x2": 0})
    assert [d.code for d in report.graph.bounds.values()] == ["unknown-mask"]


def test_large_condition(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(families, "MAX_MASK", 4)
    assert_agrees(*node_model("Where", X, Y, constants={0: MASKS[0]}), status="bound")


# --- parameters

LOW, HIGH = np.float32(-0.5), np.float32(0.5)


@pytest.mark.parametrize("opset", [7, 11, 13])
def test_clip(opset: int) -> None:
    """Until opset 10 the ends are attributes; as inputs they are read."""
    if opset < 11:
        assert_agrees(*node_model("Clip", X, opset=opset, min=-0.5, max=0.5))
        return
    assert_agrees(*node_model("Clip", X, opset=opset, constants={1: LOW, 2: HIGH}))
    assert_agrees(*node_model("Clip", X, None, HIGH, opset=opset))


@pytest.mark.parametrize("opset", [7, 10, 12, 13])
def test_dropout(opset: int) -> None:
    more = {"ratio": 0.5} if opset < 12 else {}
    model, feeds = node_model("Dropout", X, outputs=2, opset=opset, **more)
    assert_agrees(model, feeds)


@pytest.mark.parametrize("training, count", [(None, 1), (False, 1), (True, 2)])
def test_dropout_in_training(training: bool | None, count: int) -> None:
    """The ratio scales what is kept, and decides the mask."""
    constants = {} if training is None else {2: np.array(training)}
    ratio = np.array([0.25], dtype=np.float32)
    model, feeds = node_model("Dropout", X, ratio, outputs=2, constants=constants)
    run = build(model, {k: v.shape for k, v in feeds.items()}, axes={"x0": (0, 1), "x1": 0})
    read = {run.graph.prims[v].name for v in _behind(run.graph, run.graph.layers[0].value)}
    assert len(read) == count
    assert len(run.graph.layers) == count


def _behind(graph: Any, value: int) -> set[int]:
    """The sources that a value is made of."""
    if not graph.inputs[value]:
        return {value}
    return set().union(*(_behind(graph, v) for v in graph.inputs[value]))


@pytest.mark.parametrize("opset", [15, 19])
def test_cast_like(opset: int) -> None:
    """Of the other input only the type counts."""
    like = np.array([1], dtype=np.int64)
    assert_agrees(*node_model("CastLike", X * 10, constants={1: like}, opset=opset))


def test_cast_like_of_a_constant() -> None:
    """A constant stays one, with its numbers: here they say a shape."""
    h = onnx.helper
    nodes = [
        h.make_node("CastLike", ["sizes", "like"], ["shape"]),
        h.make_node("Reshape", ["x", "shape"], ["y"]),
    ]
    infos = [h.make_tensor_value_info("x", 1, [2, 3]), h.make_tensor_value_info("like", 7, [1])]
    sizes = onnx.numpy_helper.from_array(np.array([3, 2], dtype=np.int32), "sizes")
    graph = h.make_graph(nodes, "g", infos, [onnx.ValueInfoProto(name="y")], [sizes])
    model = h.make_model(graph, opset_imports=[h.make_opsetid("", 19)])
    assert_agrees(model, {"x": X, "like": np.array([1])})


@pytest.mark.parametrize("op", ["Add", "Mul"])
def test_old_broadcast(op: str) -> None:
    """Until opset 6 the second operand lay at an axis."""
    model, feeds = node_model(op, data(2, 3, 4), data(3), opset=6, broadcast=1, axis=1)
    assert_agrees(model, feeds, run=lambda x: [x["x0"] * x["x1"][:, None]])


def test_old_slope() -> None:
    model, feeds = node_model("PRelu", data(2, 3, 4), data(3), opset=6)

    def run(given: Any) -> list[np.ndarray]:
        x, slope = given["x0"], given["x1"][:, None]
        return [np.where(x < 0, x * slope, x)]

    assert_agrees(model, feeds, run=run)
