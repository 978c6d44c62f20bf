"""Views and moves against poisoning: reshapes, slices, parts, padding, tiles, of all versions."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

from eyeshot.errors import EyeshotError
from tests.frontends.onnx.agree import assert_agrees, node_model, reported
from tests.frontends.onnx.nodes import check, data, declared, ints, without_numbers

MOST, LEAST = np.iinfo(np.int64).max, np.iinfo(np.int64).min


@pytest.mark.parametrize(
    "shape, to, kwargs",
    [
        ((2, 3, 4), (6, 4), {}),
        ((2, 3, 4), (0, -1), {}),
        ((2, 3, 4), (0, 1, -1, 2), {}),
        ((2, 3, 4), (-1,), {}),
        ((2, 3, 4), (4, 3, 2), {"allowzero": 1}),
        ((1, 1), (), {}),
        ((2, 6), (3, 1, 4, 1), {"opset": 5}),
        ((2, 6), (4, 3), {"opset": 14}),
    ],
)
def test_reshape(shape: Any, to: Any, kwargs: Any) -> None:
    check("Reshape", data(*shape), {1: ints(*to)}, **kwargs)


def test_reshape_by_attribute() -> None:
    def run(feeds: Any) -> Any:
        return [feeds["x0"].reshape(2, 3, 2)]

    model, feeds = node_model("Reshape", data(2, 6), opset=4, shape=[0, -1, 2])
    assert_agrees(model, feeds, run=run)


@pytest.mark.parametrize(
    "to, why",
    [
        ((5, -1), "does not fit 24 elements"),
        ((7, 4), "does not fit 24 elements"),
        ((-1, -1), "the shape"),
        ((2, -2), "the shape"),
        ((1, 2, 12, 0), "keeps dim 3 of"),
    ],
)
def test_reshape_that_does_not_fit(to: Any, why: str) -> None:
    with pytest.raises(EyeshotError, match=f"node: .*{why}"):
        check("Reshape", data(2, 3, 4), {1: ints(*to)})


@pytest.mark.parametrize("axis", [0, 1, 2, 3, -1, -3])
def test_flatten(axis: int) -> None:
    check("Flatten", data(2, 3, 4), axis=axis)


def test_flatten_default() -> None:
    check("Flatten", data(2, 3, 4), opset=1)
    with pytest.raises(EyeshotError, match="axis 4"):
        check("Flatten", data(2, 3, 4), axis=4)


@pytest.mark.parametrize("perm", [None, (0, 2, 1), (2, 0, 1), (0, 1, 2)])
def test_transpose(perm: Any) -> None:
    check("Transpose", data(2, 3, 4), **({"perm": perm} if perm else {}))


def test_transpose_of_wrong_perm() -> None:
    with pytest.raises(EyeshotError, match="no order of 3 dims"):
        check("Transpose", data(2, 3, 4), perm=(0, 1, 1))


@pytest.mark.parametrize(
    "op, shape, axes",
    [
        ("Squeeze", (1, 3, 1, 4), (0, 2)),
        ("Squeeze", (1, 3, 1, 4), (-2,)),
        ("Squeeze", (1, 3, 1, 4), None),
        ("Squeeze", (3, 4), None),
        ("Unsqueeze", (3, 4), (0, 3)),
        ("Unsqueeze", (3, 4), (-1, 1)),
        ("Unsqueeze", (3,), (0, 1, 3)),
    ],
)
def test_squeeze(op: str, shape: Any, axes: Any) -> None:
    if axes is None:
        check(op, data(*shape))
        check(op, data(*shape), opset=11)
        return
    check(op, data(*shape), {1: ints(*axes)})
    if min(axes) >= 0:
        check(op, data(*shape), opset=11, axes=axes)


def test_squeeze_of_long_dims() -> None:
    with pytest.raises(EyeshotError, match="not all of size 1"):
        check("Squeeze", data(1, 3), {1: ints(1)})
    with pytest.raises(EyeshotError, match="one dim twice"):
        check("Unsqueeze", data(1, 3), {1: ints(1, -3)})


def test_concat() -> None:
    check("Concat", data(2, 3), data(2, 1), data(2, 2), axis=1)
    check("Concat", data(2, 3), data(1, 3), axis=-2)
    check("Concat", data(2, 3), {1: data(2, 2)}, axis=1)
    check("Concat", data(2, 3), {1: np.zeros((2, 0), np.float32)}, axis=1)
    model, feeds = node_model("Concat", data(1, 2, 2), data(1, 3, 2), opset=1)  # along the channels
    assert_agrees(model, feeds, run=lambda feeds: [np.concatenate([*feeds.values()], 1)])


@pytest.mark.parametrize(
    "n, kwargs, constants",
    [
        (6, {"outputs": 3}, {}),
        (6, {"outputs": 3, "opset": 2}, {}),
        (6, {"outputs": 2, "opset": 2, "split": (2, 4)}, {}),
        (6, {"outputs": 2, "opset": 11, "split": (1, 5), "axis": -1}, {}),
        (6, {"outputs": 3, "opset": 13}, {1: (3, 1, 2)}),
        (7, {"outputs": 3, "num_outputs": 3}, {}),
        (7, {"outputs": 4, "num_outputs": 4, "axis": 1}, {}),
        (6, {"outputs": 3}, {1: (6, 0, 0)}),
    ],
)
def test_split(n: int, kwargs: Any, constants: Any) -> None:
    kwargs = {"axis": 1, **kwargs}
    if not constants and "split" not in kwargs and kwargs.get("opset", 18) >= 18:
        kwargs["num_outputs"] = kwargs["outputs"]
    constants = {k: ints(*v) for k, v in constants.items()}
    check("Split", data(2, n), constants, **kwargs)


def test_split_that_does_not_add_up() -> None:
    with pytest.raises(EyeshotError, match="do not make 6"):
        check("Split", data(6), {1: ints(3, 2)}, outputs=2)
    with pytest.raises(EyeshotError, match="do not make 6"):
        check("Split", data(6), {1: ints(8, -2)}, outputs=2)
    with pytest.raises(EyeshotError, match="1 sizes for 2 parts"):
        check("Split", data(6), {1: ints(6)}, outputs=2)


def test_expand() -> None:
    check("Expand", data(3, 1), {1: ints(2, 1, 4)})
    check("Expand", data(3, 4), {1: ints(1, 1)})
    check("Expand", data(1, 4), {1: ints(3, 1)})
    with pytest.raises(EyeshotError, match="does not broadcast"):
        check("Expand", data(3, 4), {1: ints(2, 1)})


@pytest.mark.parametrize(
    "starts, ends, axes, steps",
    [
        ((1,), (4,), (0,), (1,)),
        ((0, 1), (MOST, MOST), (0, 1), (2, 3)),
        ((-3,), (-1,), (1,), None),
        ((1, 2), (3, 4), None, None),
        ((-1,), (LEAST,), (1,), (-1,)),
        ((MOST,), (-MOST,), (0,), (-2,)),
        ((3, 0), (0, 6), (-1, 0), (-1, 4)),
        ((-1,), (-4,), (0,), (-1,)),
        ((2,), (3,), (1,), (100,)),
        ((-100,), (100,), (0,), (1,)),
        ((1,), (6,), (1,), (MOST,)),
    ],
)
def test_slice(starts: Any, ends: Any, axes: Any, steps: Any) -> None:
    constants = {1: ints(*starts), 2: ints(*ends)}
    if axes is not None:
        constants[3] = ints(*axes)
    if steps is not None:
        constants[4] = ints(*steps)
    check("Slice", data(7, 6), constants)
    small = {k: v.clip(-(2**31), 2**31 - 1).astype(np.int32) for k, v in constants.items()}
    check("Slice", data(7, 6), small, opset=11)
    if steps is None:
        kwargs = {} if axes is None else {"axes": axes}
        check("Slice", data(7, 6), opset=9, starts=starts, ends=ends, **kwargs)


def test_slice_before_the_first_element() -> None:
    """Backwards, a start before the first element is the first, as ONNX has it and Python does not."""
    model, feeds = node_model(
        "Slice", data(5), constants={1: ints(-9), 2: ints(LEAST), 3: ints(0), 4: ints(-1)}
    )
    assert_agrees(model, feeds, run=lambda feeds: [feeds["x0"][:1]])


def test_dynamic_slice() -> None:
    model, feeds = node_model(
        "DynamicSlice", data(5, 3), opset=1, constants={1: ints(1), 2: ints(4)}
    )
    assert_agrees(model, feeds, run=lambda feeds: [feeds["x0"][1:4]])


def test_slice_that_is_no_slice() -> None:
    with pytest.raises(EyeshotError, match="steps of 0"):
        check("Slice", data(5), {1: ints(0), 2: ints(4), 3: ints(0), 4: ints(0)})
    with pytest.raises(EyeshotError, match="equally many"):
        check("Slice", data(5), {1: ints(0), 2: ints(4, 4)})


def test_slice_at_a_place_that_data_decides() -> None:
    """The place depends on an input: along its dim all is read, and so is what says where."""
    model, feeds = node_model("Slice", data(6, 4), ints(1), ints(3), constants={3: ints(0)})
    report, rows = without_numbers(declared(model, 2, 4), feeds)
    assert report.status == "bound"
    assert report.diagnostics[0].code == "data-dependent"
    row = report[rows["y0"]]
    assert row.shape == (2, 4)
    fields = {f.input for f in row.fields}
    assert "x0" in fields
    # With numbers in hand it is exact for these, and they are no more than parameters.
    assert_agrees(model, {"x0": feeds["x0"], "x1": feeds["x1"], "x2": feeds["x2"]}, None)


def test_shapes_that_data_decides() -> None:
    """A declared shape is enough where nothing but the shape depends on data."""
    for op, x, to, *more in [
        ("Reshape", data(2, 6), (3, 4), ints(3, 4)),
        ("Expand", data(1, 4), (3, 4), ints(3, 4)),
        ("Tile", data(2, 3), (4, 3), ints(2, 1)),
    ]:
        model, feeds = node_model(op, x, *more)
        report, rows = without_numbers(declared(model, *to), feeds)
        assert report.status == "exact"
        assert report[rows["y0"]].shape == to
        with pytest.raises(EyeshotError, match="node"):
            without_numbers(node_model(op, x, *more)[0], feeds)


# --- tiles and padding


def test_tile() -> None:
    check("Tile", data(2, 3), {1: ints(3, 2)})
    check("Tile", data(2, 1, 3), {1: ints(1, 4, 1)}, opset=6)
    check("Tile", data(2, 3), {1: ints(1, 1)})
    model, feeds = node_model("Tile", data(2, 3), opset=1, constants={1: ints(2), 2: ints(1)})
    assert_agrees(model, feeds, run=lambda feeds: [np.tile(feeds["x0"], (1, 2))])


PADS = [
    ("constant", (1, 0, 2, 3)), ("edge", (1, 0, 2, 3)), ("reflect", (1, 2, 2, 3)),
    ("wrap", (1, 0, 2, 3)), ("wrap", (7, 0, 2, 9)), ("reflect", (0, 9, 0, 4)), ("edge", (9, 0, 0, 0)),
]  # fmt: skip


@pytest.mark.parametrize("mode, pads", PADS)
def test_pad(mode: str, pads: Any) -> None:
    check("Pad", data(3, 4), {1: ints(*pads)}, mode=mode)
    if mode != "wrap":
        check("Pad", data(3, 4), opset=2, pads=pads, mode=mode)
        check("Pad", data(3, 4), opset=1, paddings=pads, mode=mode)
        check("Pad", data(3, 4), {1: ints(*pads)}, mode=mode, opset=11)


def _cropped(x: np.ndarray, pads: Any, fill: float, mode: str) -> np.ndarray:
    """Negative widths crop, before what is left is padded; NumPy has no such."""
    pairs = list(zip(pads[: x.ndim], pads[x.ndim :], strict=True))
    wide = [(max(b, 0), max(e, 0)) for b, e in pairs]

    def crop(x: np.ndarray) -> np.ndarray:
        return x[
            tuple(
                slice(max(-b, 0), n - max(-e, 0)) for n, (b, e) in zip(x.shape, pairs, strict=True)
            )
        ]

    if mode == "constant":
        return crop(np.pad(x, wide, constant_values=fill))
    return np.pad(crop(x), wide, mode)


@pytest.mark.parametrize(
    "mode, pads",
    [
        ("constant", (-1, 2, 1, -3)), ("edge", (-1, 2, 3, -1)), ("reflect", (2, -1, -1, 2)),
        ("constant", (-5, 0, 6, 0)), ("constant", (6, 0, -5, 0)), ("wrap", (-1, 1, 0, 0)),
    ],
)  # fmt: skip
def test_pad_that_crops(mode: str, pads: Any) -> None:
    def run(feeds: Any) -> Any:
        fill = feeds.get("x2", np.float32(0)).reshape(-1)[0]
        return [_cropped(feeds["x0"], pads, fill, "edge" if mode == "edge" else mode)]

    check("Pad", data(4, 4), {1: ints(*pads)}, run=run, mode=mode)
    if mode == "constant":  # the fill is an input too, and read where there is padding
        check("Pad", data(4, 4), {1: ints(*pads)}, data(1)[0], run=run, mode=mode)


def test_pad_by_a_value_that_is_read() -> None:
    check("Pad", data(2, 3), {1: ints(1, 0, 2, 2)}, np.float32(3))
    check("Pad", data(2, 3), {1: ints(0, 0, 0, 0)}, np.float32(3))
    check("Pad", data(1), {0: data(2, 3), 1: ints(1, 0, 2, 2)})


def test_pad_of_some_axes() -> None:
    check(
        "Pad",
        data(2, 3, 4),
        {1: ints(1, 2, 0, 1), 2: np.float32(0), 3: ints(2, 0)},
        mode="constant",
    )
    check("Pad", data(2, 3, 4), {1: ints(2, 1), 2: np.float32(0), 3: ints(-2)}, mode="reflect")


def test_pad_that_is_none() -> None:
    for pads, match in [((1, 2), "2 widths for 2 dims"), ((-3, 0, -3, 0), "the shape")]:
        with pytest.raises(EyeshotError, match=match):
            check("Pad", data(4, 4), {1: ints(*pads)})
    with pytest.raises(EyeshotError, match="the mode 'odd'"):
        check("Pad", data(4, 4), {1: ints(0, 0, 0, 0)}, mode="odd")
    with pytest.raises(EyeshotError, match="nothing is left"):
        check("Pad", data(4), {1: ints(-4, 2)}, mode="edge")


# --- tensors without elements


def measured(model: onnx.ModelProto, of: str = "y0") -> onnx.ModelProto:
    """The model with an input of one element expanded to the sizes of one of its tensors, each and one more."""
    h = onnx.helper
    model.graph.input.append(h.make_tensor_value_info("x", onnx.TensorProto.FLOAT, (1,)))
    model.graph.initializer.append(onnx.numpy_helper.from_array(ints(1), "one"))
    model.graph.node.extend(
        [
            h.make_node("Shape", [of], ["sizes"]),
            h.make_node("Add", ["sizes", "one"], ["more"]),
            h.make_node("Expand", ["x", "more"], ["out"]),
        ]
    )
    del model.graph.output[:]
    model.graph.output.append(onnx.ValueInfoProto(name="out"))
    return model


def one_more(shape: Any) -> tuple[int, ...]:
    return tuple(n + 1 for n in shape)


@pytest.mark.parametrize(
    "op, constants, kwargs, shape",
    [
        ("Slice", {1: ints(2), 2: ints(2)}, {}, (0, 3)),
        ("Slice", {1: ints(3), 2: ints(1), 3: ints(1)}, {}, (4, 0)),
        ("Tile", {1: ints(0, 2)}, {}, (0, 6)),
        ("Expand", {1: ints(0, 1, 1)}, {}, (0, 4, 3)),
        ("Pad", {1: ints(0, -1, 0, -2)}, {}, (4, 0)),
        ("Split", {1: ints(0, 4)}, {"outputs": 2}, (0, 3)),
        ("Gather", {1: np.zeros((0, 2), np.int64)}, {"axis": 1}, (4, 0, 2)),
        ("GatherElements", {1: np.zeros((0, 2), np.int64)}, {}, (0, 2)),
        ("GatherND", {1: np.zeros((0, 1), np.int64)}, {}, (0, 3)),
        ("Compress", {1: np.array([False])}, {"axis": 0}, (0, 3)),
        ("TopK", {1: ints(0)}, {"outputs": 2}, (4, 0)),
        ("ReduceSum", {1: ints(1)}, {"keepdims": 0}, (4,)),
    ],
)
def test_what_comes_out_empty(op: str, constants: Any, kwargs: Any, shape: Any) -> None:
    """Of a tensor without elements the shape is known, and its shape's numbers."""
    model, feeds = node_model(op, data(4, 3), constants=constants, **kwargs)
    feeds["x"] = data(1)
    for after in ("Identity", "Neg", "Transpose", "Cast"):
        copy = onnx.ModelProto()
        copy.CopyFrom(model)
        more = {"to": 11} if after == "Cast" else {}
        copy.graph.node.append(onnx.helper.make_node(after, ["y0"], ["after"], **more))
        report, rows = reported(measured(copy, "after"), feeds, {"x": 0})
        expected = shape[::-1] if after == "Transpose" else shape
        assert report[rows["out"]].shape == one_more(expected)
        assert report.status == "exact"


EMPTY = np.zeros((2, 0, 3), np.float32)


@pytest.mark.parametrize(
    "op, constants, kwargs, shape",
    [
        ("Reshape", {0: EMPTY, 1: ints(0, 0, 4)}, {"allowzero": 1}, (0, 0, 4)),
        ("Reshape", {0: EMPTY, 1: ints(0, -1)}, {}, (2, 0)),
        ("Flatten", {0: EMPTY}, {"axis": 2}, (0, 3)),
        ("Transpose", {0: EMPTY}, {"perm": (1, 2, 0)}, (0, 3, 2)),
        ("Unsqueeze", {0: EMPTY, 1: ints(0, 4)}, {}, (1, 2, 0, 3, 1)),
        ("Squeeze", {0: EMPTY[:1], 1: ints(0)}, {}, (0, 3)),
        ("Concat", {0: EMPTY, 1: EMPTY}, {"axis": 0}, (4, 0, 3)),
        ("Slice", {0: EMPTY, 1: ints(0), 2: ints(1), 3: ints(0), 4: ints(1)}, {}, (1, 0, 3)),
        ("Slice", {0: EMPTY, 1: ints(-1), 2: ints(LEAST), 3: ints(1), 4: ints(-1)}, {}, (2, 0, 3)),
        ("Expand", {0: EMPTY, 1: ints(5, 2, 0, 3)}, {}, (5, 2, 0, 3)),
        ("Tile", {0: EMPTY, 1: ints(1, 5, 2)}, {}, (2, 0, 6)),
        ("Pad", {0: EMPTY, 1: ints(0, 1, 0, 0, 1, 0)}, {}, (2, 2, 3)),
        ("Split", {0: EMPTY, 1: ints(1, 1)}, {"outputs": 2}, (1, 0, 3)),
        ("Gather", {0: EMPTY, 1: ints(1, 0)}, {"axis": 2}, (2, 0, 2)),
        ("Relu", {0: EMPTY}, {}, (2, 0, 3)),
        ("Add", {0: EMPTY, 1: data(3)}, {}, (2, 0, 3)),
        ("Cast", {0: EMPTY}, {"to": 6}, (2, 0, 3)),
    ],
)
def test_of_empty_tensors(op: str, constants: Any, kwargs: Any, shape: Any) -> None:
    """The shape of what an operator makes of a tensor without elements."""
    model, _ = node_model(op, constants=constants, **kwargs)
    report, rows = reported(measured(model), {"x": data(1)}, {"x": 0})
    assert report[rows["out"]].shape == one_more(shape)
    assert report.status == "exact"


def test_identity() -> None:
    check("Identity", data(2, 3))
    check("Identity", data(2, 3), opset=1)
