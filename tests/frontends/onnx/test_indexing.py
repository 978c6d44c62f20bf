"""Selection against poisoning: gathers, masks, what is listed, turned round or looked up."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

from eyeshot.errors import EyeshotError
from tests.frontends.onnx.agree import assert_agrees, node_model
from tests.frontends.onnx.nodes import check, data, declared, ints, without_numbers


@pytest.mark.parametrize(
    "shape, axis, at",
    [
        ((5, 3), 0, [3, 0, 3]),
        ((5, 3), 1, [[0, -1], [1, 1]]),
        ((5, 3), -1, [2]),
        ((5, 3), 0, -2),
        ((2, 6, 3), 1, [0, 2, 4]),
        ((2, 6, 3), 1, [5, 4, 3, 2, 1, 0]),
        ((2, 6), 1, [0, 0, 1, 1, 2, 2]),
        ((7,), 0, [[6], [0]]),
        ((7,), 0, 3),
    ],
)
def test_gather(shape: Any, axis: int, at: Any) -> None:
    check("Gather", data(*shape), {1: np.asarray(at, np.int64)}, axis=axis)
    check("Gather", data(*shape), {1: np.asarray(at, np.int32)}, axis=axis, opset=11)


def test_gather_keeps_closed_forms() -> None:
    """Every second element is a stride, and has a jump."""
    report = check("Gather", data(1, 1, 12), {1: np.arange(0, 12, 2)}, axis=2)
    assert report[-1].jump == (1, 1, 2)


@pytest.mark.parametrize("at", [5, -6])
def test_gather_outside(at: int) -> None:
    with pytest.raises(EyeshotError, match=f"position {at} is outside dim 0 of size 5"):
        check("Gather", data(5, 3), {1: ints(at)})


def test_gather_at_no_whole_places() -> None:
    with pytest.raises(EyeshotError, match="no whole numbers"):
        check("Gather", data(5, 3), {1: np.float32([0, np.nan])})


def test_gather_at_places_that_data_decides() -> None:
    check("Gather", data(5, 3), ints(3, 0), status="bound")
    check("Gather", data(2, 5, 3), np.array([[1], [2]]), status="bound", axis=1)
    check("Gather", data(4, 3), np.int64(0), status="bound")


def test_embedding() -> None:
    """Of a constant table, a token reads itself."""
    report = check("Gather", {0: data(10, 4)}, np.array([[3, 1, 4], [1, 5, 9]]))
    assert report[-1].shape == (2, 3, 4)
    check("Gather", {0: data(2, 10)}, ints(3, 1), axis=1)
    check("GatherElements", {0: data(4, 3)}, np.array([[0, 1, 2], [3, 3, 3]]))
    check("GatherND", {0: data(4, 3)}, np.array([[0, 1], [3, 2]]))
    check("GatherND", {0: data(2, 4, 3)}, np.array([[[0]], [[3]]]), batch_dims=1)
    check("ArrayFeatureExtractor", {0: data(2, 4)}, ints(1, 3), domain="ai.onnx.ml")


@pytest.mark.parametrize(
    "shape, axis, at",
    [
        ((3, 4), 0, [[0, 2, 1, -1], [2, 0, 0, 1]]),
        ((3, 4), 1, [[0, -1], [2, 2]]),
        ((3, 4), -1, [[3, 2, 1, 0]] * 3),
        ((2, 3, 2), 1, [[[0, 2]], [[1, 0]]]),
        ((5,), 0, [4, 0]),
    ],
)
def test_gather_elements(shape: Any, axis: int, at: Any) -> None:
    at = np.asarray(at)
    taken = np.take_along_axis

    def run(feeds: Any) -> Any:
        x = feeds["x0"]
        part = x[
            tuple(slice(n) if d != axis % x.ndim else slice(None) for d, n in enumerate(at.shape))
        ]
        return [taken(part, feeds.get("x1", at), axis)]

    check("GatherElements", data(*shape), {1: at}, axis=axis, run=run)
    check("GatherElements", data(*shape), at, axis=axis, run=run, status="bound")


def test_gather_elements_outside() -> None:
    with pytest.raises(EyeshotError, match="outside dim 0 of size 3"):
        check("GatherElements", data(3, 2), {1: np.array([[0, 3]])})
    with pytest.raises(EyeshotError, match="positions"):
        check("GatherElements", data(3, 2), {1: np.array([[0, 0, 0]])})


@pytest.mark.parametrize(
    "shape, batch, at",
    [
        ((3, 4), 0, [[0, 1], [2, -1]]),
        ((3, 4), 0, [[[1]], [[0]]]),
        ((3, 4, 2), 0, [[2, 0]]),
        ((2, 3, 4), 1, [[[0], [2]], [[1], [1]]]),
        ((2, 3, 4), 1, [[1, 2], [0, -1]]),
        ((2, 2, 3), 2, [[[0], [2]], [[1], [1]]]),
        ((2, 3, 4), 0, [[0, 2, 3], [1, 0, 0]]),
        ((4, 4), 0, np.stack(np.meshgrid([0, 2], [1, 3], indexing="ij"), -1)),
    ],
)
def test_gather_nd(shape: Any, batch: int, at: Any) -> None:
    at = np.asarray(at)
    check("GatherND", data(*shape), {1: at}, batch_dims=batch)
    check("GatherND", data(*shape), at, batch_dims=batch, status="bound")


def test_gather_nd_that_fits_nothing() -> None:
    with pytest.raises(EyeshotError, match=r"positions \[1, 3\] in \[3, 4\]"):
        check("GatherND", data(3, 4), {1: np.array([[0, 0, 0]])})
    with pytest.raises(EyeshotError, match="batch dims"):
        check("GatherND", data(3, 4), {1: np.array([[0]])}, batch_dims=2)


def test_array_feature_extractor() -> None:
    ml = {"domain": "ai.onnx.ml"}
    check("ArrayFeatureExtractor", data(3, 4), {1: np.array([[2, 0]])}, **ml)
    check("ArrayFeatureExtractor", data(4), {1: ints(3)}, **ml)
    check("ArrayFeatureExtractor", data(3, 4), ints(2, 0), status="bound", **ml)
    check("ArrayFeatureExtractor", data(4), ints(2, 0), status="bound", **ml)


# --- masks


@pytest.mark.parametrize("upper", [0, 1])
@pytest.mark.parametrize("k", [None, 0, 1, -2, 2, 9, -9])
def test_trilu(upper: int, k: Any) -> None:
    constants = {} if k is None else {1: np.int64(k)}
    for shape in ((4, 4), (2, 3, 5), (4, 2)):
        model, feeds = node_model("Trilu", data(*shape), constants=constants, upper=upper)
        held = np.triu(np.ones(shape), k or 0) if upper else np.tril(np.ones(shape), k or 0)
        if held.any():
            assert_agrees(model, feeds)


def test_trilu_that_data_decides() -> None:
    check("Trilu", data(3, 3), np.int64(1), status="bound")
    check("Trilu", data(3, 3), np.int64(0), status="bound", upper=0)


def test_trilu_too_large_to_write_down() -> None:
    model, feeds = node_model("Trilu", np.zeros((1, 300, 300), np.float32))
    report, _ = without_numbers(model, feeds)
    assert [d.code for d in report.diagnostics] == ["large-mask"]


MASK = np.array([True, False, True])


def test_where() -> None:
    check("Where", {0: MASK}, data(2, 3), data(1, 3))
    check("Where", {0: MASK[:, None] & MASK}, data(3, 3), data(3, 3))
    check("Where", {0: MASK, 2: np.float32(-np.inf)}, data(2, 3))
    check("Where", {0: np.tri(4, dtype=bool), 2: np.float32(0)}, data(2, 4, 4))
    check("Where", MASK, data(2, 3), data(1, 3))
    check("Where", MASK, {1: np.float32(1), 2: np.float32(0)})


@pytest.mark.parametrize(
    "shape, axis, mask",
    [
        ((3, 4), 0, [0, 1, 1]),
        ((3, 4), 1, [1, 0, 0, 1]),
        ((3, 4), -1, [0, 1]),
        ((3, 4), None, [0, 1, 0, 0, 1, 1]),
        ((6,), 0, [1, 0, 1, 0, 1, 0]),
    ],
)
def test_compress(shape: Any, axis: Any, mask: Any) -> None:
    more = {} if axis is None else {"axis": axis}
    held = np.asarray(mask, bool)
    check("Compress", data(*shape), {1: held}, **more)
    model, feeds = node_model("Compress", data(*shape), held, **more)
    report = assert_agrees(model, feeds, "bound")
    # Another condition mostly means another shape, which poisoning does not compare.
    fields = report[-1].fields
    (k,) = (j for j, f in enumerate(fields) if f.input == "x1")
    assert (report[-1].boxes()[..., k, :] == (0, len(mask))).all()
    # How many are chosen must be known from somewhere: the numbers, or the file.
    with pytest.raises(EyeshotError, match="Compress"):
        without_numbers(model, feeds)
    out = np.compress(held, np.zeros(shape), axis).shape
    report, rows = without_numbers(declared(model, *out), feeds)
    assert (report.status, report[rows["y0"]].shape) == ("bound", out)
    assert report.diagnostics[0].code == "data-dependent"


# --- what depends on all


def test_non_zero_and_unique() -> None:
    x = np.array([[1, 0, 2], [0, 3, 1]], np.float32)
    check("NonZero", x, status="bound")
    for more in ({}, {"sorted": 0}, {"axis": 0}, {"axis": 1}):
        check("Unique", x if more.get("axis") else x[0], outputs=4, status="bound", **more)
    for op in ("NonZero", "Unique"):
        with pytest.raises(EyeshotError, match=op):
            without_numbers(*node_model(op, x))
    report, rows = without_numbers(declared(node_model("NonZero", x)[0], 2, 4), {"x0": x})
    assert (report.status, report[rows["y0"]].shape) == ("bound", (2, 4))


@pytest.mark.parametrize(
    "kwargs", [{"axis": 0}, {"axis": 1, "largest": 0}, {"axis": -1}, {}, {"sorted": 0}]
)
def test_top_k(kwargs: Any) -> None:
    check("TopK", data(3, 4), {1: ints(2)}, outputs=2, **kwargs)
    if "largest" not in kwargs and "sorted" not in kwargs:
        check("TopK", data(3, 4), {1: ints(2)}, outputs=2, opset=10, **kwargs)
        check("TopK", data(3, 4), outputs=2, opset=1, k=3, **kwargs)


def test_top_k_of_too_few() -> None:
    with pytest.raises(EyeshotError, match="the 5 largest of 4"):
        check("TopK", data(3, 4), {1: ints(5)}, outputs=2)


@pytest.mark.parametrize("axis", [-1, 0, 1])
def test_one_hot(axis: int) -> None:
    depth, values = np.int64(4), np.array([0, 1], np.float32)
    at = np.array([[0, 3, -1], [7, 2, 1]])
    check("OneHot", at, {1: depth, 2: values}, axis=axis)
    check("OneHot", values, {0: at, 1: depth}, axis=axis)
    check("OneHot", at, values, {1: depth}, axis=axis)
    check("OneHot", at, {1: depth, 2: values}, axis=axis, opset=9)
    model, feeds = node_model("OneHot", at, constants={1: ints(4), 2: values}, axis=axis)
    report, rows = without_numbers(model, feeds)
    assert sorted(report[rows["y0"]].shape) == [2, 3, 4]


# --- turned round


@pytest.mark.parametrize("time", [0, 1])
@pytest.mark.parametrize("lengths", [(1, 2, 4), (0, 4, 3), (4, 4, 4)])
def test_reverse_sequence(time: int, lengths: Any) -> None:
    shape = (4, 3, 2) if not time else (3, 4, 2)
    axes = {"time_axis": time, "batch_axis": 1 - time}

    def run(feeds: Any) -> Any:
        x = feeds["x0"].copy() if not time else feeds["x0"].swapaxes(0, 1).copy()
        out = x.copy()
        for b, n in enumerate(feeds.get("x1", lengths)):
            n = int(min(max(n, 0), 4))
            out[:n, b] = x[:n, b][::-1]
        return [out if not time else out.swapaxes(0, 1)]

    check("ReverseSequence", data(*shape), {1: ints(*lengths)}, run=run, **axes)
    check("ReverseSequence", data(*shape), ints(*lengths), status="bound", run=run, **axes)


def test_reverse_sequence_of_a_constant() -> None:
    check("ReverseSequence", {0: data(4, 3)}, ints(1, 2, 4))
    with pytest.raises(EyeshotError, match="5 elements in 4"):
        check("ReverseSequence", data(4, 3), {1: ints(1, 2, 5)})


# --- what is not known, though constant


def external(model: onnx.ModelProto, name: str) -> onnx.ModelProto:
    """The model with a constant's numbers in a file that is not there."""
    for tensor in model.graph.initializer:
        if tensor.name == name:
            tensor.ClearField("raw_data")
            tensor.data_location = onnx.TensorProto.EXTERNAL
            tensor.external_data.add(key="location", value="weights.bin")
    return model


@pytest.mark.parametrize(
    "op, place, at, more",
    [
        ("Gather", 1, ints(3, 0), {}),
        ("GatherElements", 1, np.array([[3, 0, 1]]), {}),
        ("GatherND", 1, np.array([[3, 0]]), {}),
        ("Trilu", 1, np.int64(1), {}),
        ("ReverseSequence", 1, ints(2, 1, 0), {}),
    ],
)
def test_positions_in_a_file_elsewhere(op: str, place: int, at: Any, more: Any) -> None:
    model, feeds = node_model(op, data(4, 3), constants={place: at}, **more)
    report, _ = without_numbers(external(model, f"c{place}"), feeds)
    assert [d.code for d in report.diagnostics] == ["data-dependent"]
    assert "not known" in report.diagnostics[0].message
