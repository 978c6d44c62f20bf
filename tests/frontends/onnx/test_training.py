"""Losses and optimizers against poisoning."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from eyeshot.errors import EyeshotError
from tests.frontends.onnx.agree import assert_agrees, node_model


def data(*shape: int) -> np.ndarray:
    return np.random.default_rng(len(shape)).standard_normal(shape).astype(np.float32)


LOSSES = {"NegativeLogLikelihoodLoss": 1, "SoftmaxCrossEntropyLoss": 2}
TARGETS = {
    (): np.array([2, 0]),
    (3,): np.array([[0, 1, 1], [2, 2, 0]]),
    (2, 2): np.array([[[0, 1], [1, 2]], [[2, 2], [0, 1]]]),
}


@pytest.mark.parametrize("op", LOSSES)
@pytest.mark.parametrize("axes", TARGETS)
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("ignore", [None, 1, -100])
@pytest.mark.parametrize("weighted", [False, True])
def test_known_target(
    op: str, axes: tuple[int, ...], reduction: str, ignore: int | None, weighted: bool
) -> None:
    """What is ignored is not read, nor is its weight."""
    arrays = [np.log(np.abs(data(2, 3, *axes)) + 0.1)]
    arrays += [np.abs(data(3)) + 0.5] if weighted else []
    more: dict[str, Any] = {} if ignore is None else {"ignore_index": ignore}
    model, feeds = node_model(
        op, *arrays, outputs=LOSSES[op], constants={1: TARGETS[axes]}, reduction=reduction, **more
    )
    assert_agrees(model, feeds)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("reduction", ["none", "mean"])
def test_target_that_is_an_input(weighted: bool, reduction: str) -> None:
    """All classes may be meant; cross entropy reads them anyway."""
    x, target = np.log(np.abs(data(2, 3, 3)) + 0.1), TARGETS[(3,)]
    more = [np.abs(data(3)) + 0.5] if weighted else []
    model, feeds = node_model("NegativeLogLikelihoodLoss", x, target, *more, reduction=reduction)
    assert_agrees(model, feeds, status="bound")
    model, feeds = node_model(
        "SoftmaxCrossEntropyLoss", x, target, *more, outputs=2, reduction=reduction
    )
    assert_agrees(model, feeds, status="bound" if weighted else "exact")


def test_weights_alone() -> None:
    constants = {0: data(2, 3, 3), 1: TARGETS[(3,)]}
    for op, count in LOSSES.items():
        model, feeds = node_model(
            op, np.abs(data(3)), outputs=count, constants=constants, reduction="none"
        )
        assert_agrees(model, feeds)


@pytest.mark.parametrize(
    "target, line",
    [
        (np.array([0, 3]), "classes 0 … 3 among 3"),
        (np.array([0, 1, 2]), r"a target \[3\] for \[2, 3\]"),
    ],
)
def test_wrong(target: np.ndarray, line: str) -> None:
    model, feeds = node_model("NegativeLogLikelihoodLoss", data(2, 3), constants={1: target})
    with pytest.raises(EyeshotError, match=line):
        assert_agrees(model, feeds)


DOMAIN = "ai.onnx.preview.training"
OPTIMIZERS: dict[str, tuple[int, dict[str, Any]]] = {
    "Adagrad": (3, {"norm_coefficient": 0.1, "decay_factor": 0.1}),
    "Adam": (4, {"norm_coefficient": 0.1, "norm_coefficient_post": 0.1}),
    "Momentum": (
        3, {"norm_coefficient": 0.1, "alpha": 0.9, "beta": 0.5, "mode": "nesterov"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("op", OPTIMIZERS)
@pytest.mark.parametrize("count", [1, 2])
def test_optimizers(op: str, count: int) -> None:
    kinds, more = OPTIMIZERS[op]
    shapes = [(3,), (2, 2)][:count]
    tensors = [np.abs(data(*shape)) + k for k in range(kinds) for shape in shapes]
    constants = {0: np.float32(0.1), 1: np.int64(2)}
    model, feeds = node_model(
        op, *tensors, outputs=(kinds - 1) * count, domain=DOMAIN, constants=constants, **more
    )
    assert_agrees(model, feeds)


def test_rate_that_is_an_input() -> None:
    """A rate in one dim: it is read by the tensor, and not by the sums."""
    arrays = [np.array([0.1], dtype=np.float32), *(np.abs(data(3)) + k for k in range(3))]
    model, feeds = node_model(
        "Adagrad", *arrays, outputs=2, domain=DOMAIN, constants={1: np.int64(2)}
    )
    assert_agrees(model, feeds)


def test_gradient() -> None:
    """Nothing runs it here: all that it is taken at is taken as read."""
    model, feeds = node_model(
        "Gradient", data(2, 3), data(4), outputs=1, domain=DOMAIN, xs=["x0"], zs=["x1"], y="y"
    )
    report = assert_agrees(model, feeds, status="bound", run=lambda given: [given["x0"]])
    assert report[-1].shape == (2, 3)
