"""Normalisation against poisoning."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from eyeshot.errors import EyeshotError
from tests.frontends.onnx.agree import assert_agrees, node_model


def data(*shape: int) -> np.ndarray:
    return np.random.default_rng(len(shape)).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("op", ["Softmax", "LogSoftmax"])
@pytest.mark.parametrize(
    "opset, axis",
    [(7, None), (7, 2), (11, 0), (11, 1), (11, -1), (13, None), (13, 0), (13, 1), (13, -2)],
)
def test_softmax(op: str, opset: int, axis: int | None) -> None:
    """Before opset 13 all dims from the axis on are one."""
    more = {} if axis is None else {"axis": axis}
    model, feeds = node_model(op, data(2, 3, 4), opset=opset, **more)
    if opset >= 13:
        assert_agrees(model, feeds)
        return
    first = 1 if axis is None else axis % 3

    def run(given: Any) -> list[np.ndarray]:
        x = given["x0"]
        flat = x.reshape(int(np.prod(x.shape[:first])), -1)
        with np.errstate(all="ignore"):
            e = np.exp(flat - flat.max(1, keepdims=True))
            e = e / e.sum(1, keepdims=True)
        return [e.reshape(x.shape)]

    assert_agrees(model, feeds, run=run)


def test_hardmax() -> None:
    assert_agrees(*node_model("Hardmax", data(2, 3), opset=13, axis=0))
    assert_agrees(*node_model("Hardmax", data(2, 3), opset=13))


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("constants", [(), (0,), (1, 2)])
def test_layer_norm(axis: int, constants: tuple[int, ...]) -> None:
    shape = (2, 3, 4)[axis:]
    arrays = [data(2, 3, 4), data(*shape), data(*shape)]
    given = [x for k, x in enumerate(arrays) if k not in constants]
    held = {k: arrays[k] for k in constants}
    assert_agrees(*node_model("LayerNormalization", *given, outputs=3, constants=held, axis=axis))


def test_layer_norm_without_bias() -> None:
    """Parameters broadcast."""
    model, feeds = node_model("LayerNormalization", data(2, 3, 4), data(4), axis=1)
    assert_agrees(model, feeds)


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_rms_norm(axis: int) -> None:
    shape = (2, 3, 4)[axis:]
    assert_agrees(*node_model("RMSNormalization", data(2, 3, 4), data(*shape), axis=axis))


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("axes", [(5,), (2, 3)])
@pytest.mark.parametrize("opset", [18, 21])
def test_group_norm(groups: int, axes: tuple[int, ...], opset: int) -> None:
    size = groups if opset == 18 else 4
    arrays = data(2, 4, *axes), data(size), data(size)
    model, feeds = node_model("GroupNormalization", *arrays, opset=opset, num_groups=groups)
    if opset == 21:
        assert_agrees(model, feeds)
        return

    def run(given: Any) -> list[np.ndarray]:
        """The evaluator knows no parameters of groups."""
        x = given["x0"].reshape(2, groups, -1)
        with np.errstate(all="ignore"):
            x = (x - x.mean(2, keepdims=True)) / np.sqrt(x.var(2, keepdims=True) + 1e-5)
            x = x * given["x1"][:, None] + given["x2"][:, None]
        return [x.reshape(2, 4, *axes)]

    assert_agrees(model, feeds, run=run)


@pytest.mark.parametrize("shape", [(2, 3, 4), (1, 3, 2, 3)])
def test_instance_norm(shape: tuple[int, ...]) -> None:
    assert_agrees(*node_model("InstanceNormalization", data(*shape), data(3), data(3)))


@pytest.mark.parametrize("axes", [None, [0], [1, -1]])
def test_mean_variance(axes: list[int] | None) -> None:
    more = {} if axes is None else {"axes": axes}
    assert_agrees(*node_model("MeanVarianceNormalization", data(2, 3, 2, 2), **more))


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("p", [1, 2])
def test_lp_norm(axis: int, p: int) -> None:
    assert_agrees(*node_model("LpNormalization", data(2, 3, 4), axis=axis, p=p))


@pytest.mark.parametrize(
    "op, shapes, attributes, line",
    [
        ("GroupNormalization", [(2, 4, 3), (4,), (4,)], {"num_groups": 3}, "groups"),
        ("GroupNormalization", [(2, 4, 3), (3,), (3,)], {"num_groups": 2}, "3 parameters for 4"),
        ("LayerNormalization", [(2, 4)], {"axis": 2}, "takes 2 to 3 inputs, has 1"),
        ("LayerNormalization", [(2, 4), (4,)], {"axis": 2}, "axis 2 is not among 2 dims"),
    ],
)
def test_wrong(op: str, shapes: list[Any], attributes: dict[str, Any], line: str) -> None:
    model, feeds = node_model(op, *(data(*s) for s in shapes), **attributes)
    with pytest.raises(EyeshotError, match=line):
        assert_agrees(model, feeds)
