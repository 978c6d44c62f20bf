"""Reductions and running sums against poisoning."""

from __future__ import annotations

import numpy as np
import pytest

from eyeshot.errors import EyeshotError
from tests.frontends.onnx.agree import assert_agrees, node_model

X = np.random.default_rng(0).standard_normal((2, 3, 4)).astype(np.float32)

REDUCTIONS = (
    "ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd "
    "ReduceSum ReduceSumSquare"
).split()
AXES: list[list[int] | None] = [None, [0], [-1], [1, 2], [2, 0], [0, 1, 2]]


@pytest.mark.parametrize("axes", AXES)
@pytest.mark.parametrize("keep", [0, 1])
def test_axes_as_attribute(axes: list[int] | None, keep: int) -> None:
    more = {} if axes is None else {"axes": axes}
    assert_agrees(*node_model("ReduceMean", X, opset=11, keepdims=keep, **more))


@pytest.mark.parametrize("axes", AXES)
@pytest.mark.parametrize("keep", [0, 1])
def test_axes_as_input(axes: list[int] | None, keep: int) -> None:
    constants = {} if axes is None else {1: np.array(axes, dtype=np.int64)}
    assert_agrees(*node_model("ReduceSum", X, constants=constants, keepdims=keep))


@pytest.mark.parametrize("op", REDUCTIONS)
def test_each(op: str) -> None:
    x = np.abs(X) + 0.1
    assert_agrees(*node_model(op, x, constants={1: np.array([1])}, opset=18))
    assert_agrees(*node_model(op, x, opset=11, axes=[-1], keepdims=0))


@pytest.mark.parametrize("noop", [0, 1])
def test_no_axes(noop: int) -> None:
    empty = np.zeros(0, dtype=np.int64)
    model, feeds = node_model("ReduceSum", X, constants={1: empty}, noop_with_empty_axes=noop)
    report = assert_agrees(model, feeds)
    assert report[-1].shape == ((2, 3, 4) if noop else (1, 1, 1))


def test_axes_that_are_an_input() -> None:
    """The user's numbers decide the shape, and are not read."""
    report = assert_agrees(*node_model("ReduceSum", X, np.array([1])))
    assert report[-1].shape == (2, 1, 4)


@pytest.mark.parametrize("op", ["ArgMax", "ArgMin"])
@pytest.mark.parametrize("axis, keep", [(0, 1), (1, 0), (-1, 1)])
def test_arg(op: str, axis: int, keep: int) -> None:
    assert_agrees(*node_model(op, X, axis=axis, keepdims=keep, select_last_index=keep))


@pytest.mark.parametrize("op", ["CumSum", "CumProd"])
@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("exclusive", [0, 1])
@pytest.mark.parametrize("reverse", [0, 1])
def test_running(op: str, axis: int, exclusive: int, reverse: int) -> None:
    constants = {1: np.array(axis, dtype=np.int64)}
    more = {"exclusive": exclusive, "reverse": reverse}
    assert_agrees(*node_model(op, X, constants=constants, **more))
    assert_agrees(*node_model(op, X[:, :1], constants=constants, **more))


def test_wrong() -> None:
    with pytest.raises(EyeshotError, match="node: axis 3 is not among 3 dims"):
        assert_agrees(*node_model("ReduceSum", X, constants={1: np.array([3])}))
