"""Constants of every kind, what is drawn, and shapes and sizes of what depends on inputs."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

from eyeshot.errors import EyeshotError
from tests.frontends.onnx.agree import assert_agrees, node_model, reported
from tests.frontends.onnx.nodes import chain, check, data, declared, ints, without_numbers

h = onnx.helper
FLOAT = onnx.TensorProto.FLOAT


def sized_by(nodes: list[Any], to: str, x: Any = None, **kwargs: Any) -> tuple[int, ...]:
    """The shape to which an input of one element is expanded by what some nodes make."""
    feeds = {"x": data(1) if x is None else x}
    model, _ = chain(
        [*nodes, ("ReduceSum", "x", "sum", {"keepdims": 0}), ("Expand", f"sum {to}", "out")],
        "out",
        **feeds,
        **kwargs,
    )
    report, rows = reported(model, feeds, {"x": 0})
    return report[rows["out"]].shape


TENSOR = onnx.numpy_helper.from_array(ints(3, 1, 2))
SPARSE = h.make_sparse_tensor(
    onnx.numpy_helper.from_array(ints(3, 2, 1)), onnx.numpy_helper.from_array(ints(0, 2, 1)), [3]
)
ROWS = h.make_sparse_tensor(
    onnx.numpy_helper.from_array(ints(3, 2)),
    onnx.numpy_helper.from_array(np.array([[0, 0], [0, 2]])),
    [1, 3],
)


@pytest.mark.parametrize(
    "attribute, shape",
    [
        ({"value": TENSOR}, (3, 1, 2)),
        ({"value_ints": (4, 2)}, (4, 2)),
        ({"sparse_value": SPARSE}, (3, 1, 2)),
    ],
)
def test_constant(attribute: Any, shape: Any) -> None:
    assert sized_by([("Constant", "", "c", attribute)], "c") == shape


def test_constant_of_one_number() -> None:
    nodes = [
        ("Constant", "", "a", {"value_int": 3}),
        ("Constant", "", "b", {"value_float": 2.0}),
        ("Constant", "", "f", {"value_floats": (4.0, 5.0)}),
        ("Constant", "", "g", {"sparse_value": ROWS}),
        ("Cast", "f", "i", {"to": 7}),
        ("Cast", "b", "k", {"to": 7}),
        ("Mul", "i k", "j"),
        ("Squeeze", "g [0]", "q"),
        ("Add", "q [0,1,1]", "p"),
        ("Reshape", "a [1]", "s"),
        ("Concat", "s j p", "to", {"axis": 0}),
    ]
    assert sized_by(nodes, "to") == (3, 8, 10, 3, 1, 3)


@pytest.mark.parametrize("attribute", [{"value_string": "a"}, {"value_strings": ("a", "b")}])
def test_constant_texts(attribute: Any) -> None:
    shape = () if "value_string" in attribute else (2,)
    nodes = [("Constant", "", "c", attribute), ("Shape", "c", "s")]
    assert sized_by(nodes, "s") == shape


def test_constant_without_a_value() -> None:
    with pytest.raises(EyeshotError, match="without a value"):
        sized_by([("Constant", "", "c", {})], "c")


def test_constant_of_shape() -> None:
    two = onnx.numpy_helper.from_array(ints(2))
    nodes = [("ConstantOfShape", "[3]", "c", {"value": two})]
    assert sized_by(nodes, "c") == (2, 2, 2)
    model, feeds = chain(
        [("Shape", "x", "s"), ("ConstantOfShape", "s", "z"), ("Add", "x z", "out")],
        "out", x=data(2, 3),
    )  # fmt: skip
    assert_agrees(model, feeds)
    for sizes, match in [("[-1,2]", "the shape -1x2"), (str([1] * 65).replace(" ", ""), "65 dims")]:
        with pytest.raises(EyeshotError, match=match):
            sized_by([("ConstantOfShape", sizes, "c")], "[1]")


def test_shape_and_size() -> None:
    x = data(2, 3, 4, 5)
    for more, shape in [({}, (2, 3, 4, 5)), ({"start": 1}, (3, 4, 5)), ({"start": -2, "end": -1}, (4,)),
                        ({"end": 9}, (2, 3, 4, 5)), ({"start": 3, "end": 1}, ())]:  # fmt: skip
        assert sized_by([("Shape", "x", "s", more)], "s", x) == shape
    assert sized_by([("Size", "x", "n"), ("Reshape", "n [1]", "s")], "s", x) == (120,)


@pytest.mark.parametrize(
    "ends, count",
    [
        ((0, 10, 3), 4),
        ((10, 0, -3), 4),
        ((0, 0, 1), 0),
        ((5, 0, 1), 0),
        ((0, 9, 3), 3),
        ((-3, 4, 7), 1),
    ],
)
def test_range(ends: Any, count: int) -> None:
    for dtype in (np.int64, np.int32, np.float32):
        weights = {k: np.asarray(n, dtype) for k, n in zip("abc", ends, strict=True)}
        nodes = [("Range", "a b c", "r"), ("Shape", "r", "s"), ("Add", "s [1]", "t")]
        assert sized_by(nodes, "t", weights=weights) == (count + 1,)


def test_range_that_data_decides() -> None:
    """Where it begins and how it goes on is read; how far it goes is a matter of shape."""
    model, feeds = chain(
        [("Squeeze", "x", "a"), ("Add", "a 4.0", "b"), ("Range", "a b 1.0", "y0")],
        "y0", weights={"4.0": np.float32(4), "1.0": np.float32(1)}, x=data(1),
    )  # fmt: skip
    with pytest.raises(EyeshotError, match="Range"):
        without_numbers(model, feeds)
    report, rows = without_numbers(declared(model, 4), feeds)
    row = report[rows["y0"]]
    assert row.shape == (4,) and report.status == "exact"
    assert [f.input for f in row.fields] == ["x"]


def test_range_that_is_none() -> None:
    for ends in ("0 5 0", f"0 {1 << 62} 1"):
        with pytest.raises(EyeshotError, match="range"):
            sized_by([("Range", ends, "r")], "r")


def test_eye_like() -> None:
    for k in (0, 1, -1, 9, -9):
        nodes = [
            ("EyeLike", "x", "e", {"k": k, "dtype": 7}),
            ("ReduceSum", "e", "n", {"keepdims": 0}),
            ("Add", "n [1]", "s"),
        ]
        ones = int(np.eye(3, 4, k).sum())
        assert sized_by(nodes, "s", data(3, 4)) == (ones + 1,)


def test_what_is_drawn() -> None:
    """Of an input of which only the shape counts nothing is read; a Bernoulli trial reads its chance."""
    for op in ("RandomNormalLike", "RandomUniformLike"):
        model, feeds = chain([(op, "x", "r"), ("Neg", "y", "n"), ("Concat", "n r", "out", {"axis": 0})], "out",
                             x=data(2, 3), y=data(1, 3))  # fmt: skip
        report, rows = without_numbers(model, feeds)
        row = report[rows["out"]]
        seen = {
            f.input for j, f in enumerate(row.fields) if np.ptp(row.boxes()[..., j, :], -1).any()
        }
        assert seen == {"y"}
    for op in ("RandomNormal", "RandomUniform"):
        nodes = [(op, "", "r", {"shape": (2, 3)}), ("Shape", "r", "s")]
        assert sized_by(nodes, "s") == (2, 3)
    chances = np.abs(data(2, 3)) % 1
    report, rows = without_numbers(*node_model("Bernoulli", chances))
    assert report.status == "exact" and report[rows["y0"]].shape == (2, 3)
    report, rows = without_numbers(*node_model("Multinomial", chances, sample_size=5))
    row = report[rows["y0"]]
    assert row.shape == (2, 5) and report.status == "exact"
    boxes = row.boxes()
    assert (boxes.reshape(-1, 2, 2)[:, 1] == (0, 3)).all()


@pytest.mark.parametrize("op", ["Identity", "Dropout"])
def test_dropout(op: str) -> None:
    check(op, data(2, 3))


@pytest.mark.parametrize("opset", [1, 6, 7, 10, 12, 13])
def test_dropout_of_all_versions(opset: int) -> None:
    model, feeds = node_model("Dropout", data(2, 3), opset=opset, outputs=2)
    shape = feeds["x0"].shape
    assert_agrees(model, feeds, run=lambda feeds: [feeds["x0"] + 0, np.ones(shape, bool)])


def test_dropout_in_training() -> None:
    constants = {1: np.float32(0.5), 2: np.bool_(True)}
    check("Dropout", data(4, 4), constants, opset=13, outputs=1, seed=3)


def test_given_tensor_fill() -> None:
    def run(expected: Any, **more: Any) -> Any:
        model, _ = chain(
            [
                ("GivenTensorFill", "", "g", {"values": (1.0, 2.0, 3.0, 4.0), **more}),
                ("Shape", "g", "s"),
                ("Expand", "x s", "out"),
            ],
            "out", opset=8, x=data(1),
        )  # fmt: skip
        report, rows = reported(model, {"x": (1,)}, {"x": 0})
        assert report[rows["out"]].shape == expected

    run((2, 2), shape=(2, 2))
    run((4,))
    with pytest.raises(EyeshotError, match="4 values for 6 elements"):
        run((2, 3), shape=(2, 3))


def test_constant_fill() -> None:
    """The shape from an attribute, of an input, or in an input's numbers, and dims after it."""
    for inputs, more, shape in [
        ("", {"shape": (2, 3)}, (2, 3)),
        ("[5,4]", {"input_as_shape": 1, "extra_shape": (2,)}, (5, 4, 2)),
        ("[5,4,7]", {}, (3,)),
    ]:
        nodes = [("ConstantFill", inputs, "c", more), ("Shape", "c", "s")]
        assert sized_by(nodes, "s", opset=8) == shape


def test_range_from_an_input() -> None:
    """Each number has to do with where the range begins, whose number the user gave."""
    model, feeds = chain(
        [("Range", "x 9 2", "r"), ("Neg", "r", "out")], "out", x=np.int64(3), y=ints(1)
    )
    model.graph.node.append(h.make_node("Add", ["r", "y"], ["sum"]))
    model.graph.output[0].CopyFrom(onnx.ValueInfoProto(name="sum"))
    report, rows = reported(model, feeds, {"y": 0})
    assert report.status == "exact"
    assert report[rows["sum"]].shape == (3,)
