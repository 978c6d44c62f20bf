"""Writes at positions against poisoning: known ones exactly, others as bounds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from eyeshot.errors import EyeshotError
from tests.frontends.onnx.agree import assert_agrees, node_model
from tests.frontends.onnx.nodes import check, data, ints, without_numbers

PLACES = [
    ((4, 3), 0, [[0, 2, 1], [3, 0, 2]]),
    ((4, 3), 1, [[1], [0], [-1]]),
    ((4, 3), -1, [[2, 1, 0]] * 4),
    ((2, 4, 2), 1, [[[0, 3], [1, 1]]]),
    ((6,), 0, [5, 1]),
]


@pytest.mark.parametrize("mode", [None, "add", "mul", "min", "max"])
@pytest.mark.parametrize("shape, axis, at", PLACES)
def test_scatter_elements(mode: Any, shape: Any, axis: int, at: Any) -> None:
    at = np.asarray(at)
    more = {"axis": axis, **({"reduction": mode} if mode else {})}
    x, new = data(*shape), data(*at.shape)
    check("ScatterElements", x, new, {1: at}, **more)
    check("ScatterElements", x, {1: at, 2: new}, **more)
    check("ScatterElements", new, {0: x, 1: at}, **more)
    if mode in (None, "add"):
        check("ScatterElements", x, at, new, status="bound", **more)
        check("ScatterElements", x, at, {2: new}, status="bound", **more)


def test_scatter_of_constants_at_places_that_data_decides() -> None:
    """What is written where is the positions' own say."""
    check("ScatterElements", np.array([[0, 2], [1, 3]]), {0: data(4, 2), 2: data(2, 2)})
    check("ScatterND", np.array([[0], [3]]), {0: data(4), 2: data(2)})


def test_scatter_until_opset_10() -> None:
    at = np.array([[0, 2, 1], [3, 0, 2]])

    def run(feeds: Any) -> Any:
        out = feeds["x0"].copy()
        np.put_along_axis(out, at, feeds["x2"], 0)
        return [out]

    check("Scatter", data(4, 3), data(2, 3), {1: at}, opset=10, run=run)
    check("Scatter", data(4, 3), data(2, 3), {1: at}, opset=9, run=run, axis=0)


def test_scatter_twice_to_one_place() -> None:
    """Which write stays is not defined; a sum reads both."""
    at = np.array([[1, 1, 0]])
    check("ScatterElements", data(1, 4), data(1, 3), {1: at}, axis=1, status="bound")
    check("ScatterElements", data(1, 4), data(1, 3), {1: at}, axis=1, reduction="add")
    check("ScatterElements", data(1, 4), {1: at, 2: data(1, 3)}, axis=1)
    check("ScatterND", data(4, 2), data(2, 2), {1: np.array([[1], [1]])}, status="bound")
    check("ScatterND", data(4, 2), data(2, 2), {1: np.array([[1], [1]])}, reduction="max")


@pytest.mark.parametrize("mode", [None, "add", "mul", "min", "max"])
@pytest.mark.parametrize(
    "shape, at",
    [
        ((4, 3), [[2], [-4]]),
        ((4, 3), [[1, 2], [3, 0], [0, 0]]),
        ((2, 3, 2), [[[0, 1]], [[1, 2]]]),
        ((5,), [[0], [2], [4]]),
        ((3, 4), [[[0, 1], [0, 3]], [[2, 1], [2, 3]]]),
    ],
)
def test_scatter_nd(mode: Any, shape: Any, at: Any) -> None:
    at = np.asarray(at)
    more = {"reduction": mode} if mode else {}
    x, new = data(*shape), data(*at.shape[:-1], *shape[at.shape[-1] :])
    check("ScatterND", x, new, {1: at}, **more)
    check("ScatterND", x, {1: at, 2: new}, **more)
    check("ScatterND", new, {0: x, 1: at}, **more)
    if mode in (None, "add"):
        check("ScatterND", x, at, new, status="bound", **more)


def test_scatter_that_does_not_fit() -> None:
    at = np.array([[0, 9]])
    with pytest.raises(EyeshotError, match="position 9 is outside dim 0 of size 4"):
        check("ScatterElements", data(4, 3), data(1, 2), {1: at})
    with pytest.raises(EyeshotError, match="position 9 is outside dim 1 of size 3"):
        check("ScatterND", data(4, 3), data(1), {1: at})
    with pytest.raises(EyeshotError, match="updates"):
        check("ScatterElements", data(4, 3), data(1, 3), {1: np.array([[0, 0]])})
    with pytest.raises(EyeshotError, match="updates"):
        check("ScatterND", data(4, 3), data(2, 3), {1: np.array([[0]])})
    with pytest.raises(EyeshotError, match="the reduction 'odd'"):
        check("ScatterND", data(4, 3), data(1, 3), {1: np.array([[0]])}, reduction="odd")


def test_scatter_of_nothing() -> None:
    check("ScatterElements", data(4, 3), {1: np.zeros((0, 3), np.int64), 2: data(0, 3)})
    check("ScatterND", data(4, 3), {1: np.zeros((0, 1), np.int64), 2: data(0, 3)})


@pytest.mark.parametrize(
    "shape, axis, size, starts, mode",
    [
        ((2, 5, 3), -2, 2, (1, 3), "linear"),
        ((2, 5, 3), 1, 2, (1, 1), "linear"),
        ((2, 5, 3), -2, 3, (4, 1), "circular"),
        ((2, 2, 4, 3), 2, 2, (0, 2), "linear"),
        ((2, 2, 3, 4), 3, 2, (3, 1), "circular"),
        ((1, 4, 2), 1, 4, (0,), "linear"),
        ((2, 4, 2), 1, 2, None, "linear"),
    ],
)
def test_tensor_scatter(shape: Any, axis: int, size: int, starts: Any, mode: str) -> None:
    part = list(shape)
    part[axis] = size
    constants = {} if starts is None else {2: ints(*starts)}
    more = {"axis": axis, "mode": mode}
    check("TensorScatter", data(*shape), data(*part), constants, **more)
    if starts is not None:
        check("TensorScatter", data(*shape), data(*part), ints(*starts), status="bound", **more)
        check("TensorScatter", data(*shape), {1: data(*part), 2: ints(*starts)}, **more)


def test_tensor_scatter_beyond_the_cache() -> None:
    with pytest.raises(EyeshotError, match="position 5 is outside dim 1 of size 5"):
        check("TensorScatter", data(2, 5, 3), data(2, 2, 3), {2: ints(0, 4)})
    with pytest.raises(EyeshotError, match="written along dim 1"):
        check("TensorScatter", data(2, 5, 3), data(2, 6, 3), {2: ints(0, 0)})


def test_where_constants_go_is_not_known() -> None:
    """Positions in a file elsewhere: what was there may stay, or not."""
    model, feeds = node_model("ScatterND", data(4), constants={1: np.array([[2]]), 2: data(1)})
    (at,) = (t for t in model.graph.initializer if t.name == "c1")
    at.ClearField("raw_data")
    at.data_location = at.EXTERNAL
    at.external_data.add(key="location", value="weights.bin")
    report, _ = without_numbers(model, feeds)
    assert [d.code for d in report.diagnostics] == ["data-dependent"]


def test_writes_after_writes() -> None:
    """Written through what was written: slices by ScatterND, as exporters write ``x[:, 1:3] = y``."""
    from tests.frontends.onnx.nodes import chain

    model, feeds = chain(
        [
            ("Shape", "x", "s", {"start": 1, "end": 2}),
            ("Squeeze", "s", "n"),
            ("Range", "0 n 1", "all"),
            ("Slice", "all [1] [3]", "some"),
            ("Unsqueeze", "some [-1]", "at"),
            ("Transpose", "x", "t", {"perm": (1, 0, 2)}),
            ("Transpose", "y", "u", {"perm": (1, 0, 2)}),
            ("ScatterND", "t at u", "w"),
            ("ScatterND", "w [[0]] v", "w2", {"reduction": "add"}),
            ("Transpose", "w2", "out", {"perm": (1, 0, 2)}),
        ],
        "out", x=data(2, 5, 3), y=data(2, 2, 3), v=data(1, 2, 3),
    )  # fmt: skip
    assert_agrees(model, feeds)
