"""Constant folding: the shape arithmetic that exporters write, and files that would have it run away."""

from __future__ import annotations

import time
import tracemalloc
from typing import Any

import numpy as np
import onnx
import pytest

from eyeshot.errors import EyeshotError
from eyeshot.frontends.onnx import fold
from eyeshot.frontends.onnx.calls import Pending, Value, fixed
from tests.frontends.onnx.agree import assert_agrees, node_model, reported
from tests.frontends.onnx.nodes import chain, data, ints
from tests.frontends.onnx.ort import session

h = onnx.helper
MOST = np.iinfo(np.int64).max


def agrees(nodes: Any, out: str = "out", status: str = "exact", **kwargs: Any) -> Any:
    model, feeds = chain(nodes, out, **kwargs)
    return assert_agrees(model, feeds, status)


# --- what exporters write


def test_view_by_torchscript() -> None:
    """``x.view(x.size(0), 2, -1, x.size(2) * x.size(3))``."""
    agrees(
        [
            ("Shape", "x", "s"), ("Gather", "s 0", "b", {"axis": 0}),
            ("Shape", "x", "s2"), ("Gather", "s2 2", "h", {"axis": 0}),
            ("Shape", "x", "s3"), ("Gather", "s3 3", "w", {"axis": 0}),
            ("Mul", "h w", "hw"),
            ("Unsqueeze", "b [0]", "b1"), ("Unsqueeze", "hw [0]", "hw1"),
            ("Concat", "b1 [2] [-1] hw1", "to", {"axis": 0}),
            ("Reshape", "x to", "out"),
        ],
        x=data(2, 4, 3, 2),
    )  # fmt: skip


@pytest.mark.parametrize(
    "nodes",
    [
        [("CumSum", "[1,0,1,1] [-1]", "at")],
        [("OneHot", "[1,0,-1] [4] [0,1]", "hot"), ("ArgMax", "hot", "at", {"axis": 1, "keepdims": 0})],
        [("Trilu", "[[4,2],[1,3]] [0]", "at")],
    ],
)  # fmt: skip
def test_lists_of_one_for_numbers(nodes: Any) -> None:
    """``torch.diagonal`` writes CumSum with the axis as a list; onnxruntime takes that."""
    model, feeds = chain([*nodes, ("Gather", "x at", "out")], "out", x=data(5, 2))
    assert_agrees(model, feeds, run=session(model))


def test_view_by_old_torchscript() -> None:
    """Opset 9: axes and slices are attributes."""
    agrees(
        [
            ("Shape", "x", "s"), ("Slice", "s", "c", {"axes": (0,), "starts": (0,), "ends": (1,)}),
            ("Squeeze", "c", "b", {"axes": (0,)}),
            ("Unsqueeze", "b", "b1", {"axes": (0,)}),
            ("Concat", "b1 [-1]", "to", {"axis": 0}),
            ("Reshape", "x to", "out"),
        ],
        opset=9, x=data(2, 3, 2),
    )  # fmt: skip


def test_flatten_by_slices() -> None:
    """``x.flatten(1, 2)``: what comes before and behind, and -1 between."""
    agrees(
        [
            ("Shape", "x", "s"),
            ("Slice", "s [0] [1]", "head"), ("Slice", f"s [3] [{MOST}]", "tail"),
            ("Concat", "head [-1] tail", "to", {"axis": 0}),
            ("Reshape", "x to", "out"),
        ],
        x=data(2, 3, 2, 2),
    )  # fmt: skip


def test_flatten_to_the_end() -> None:
    """The tail of a shape may be empty."""
    agrees(
        [
            ("Shape", "x", "s"), ("Slice", "s [0] [1]", "head"),
            ("Slice", f"s [3] [{MOST}]", "tail"),
            ("Concat", "head [-1] tail", "to", {"axis": 0}),
            ("Reshape", "x to", "out"),
        ],
        x=data(2, 3, 2),
    )  # fmt: skip


def test_expand_with_minus_one() -> None:
    """``x.expand(2, -1, 4)``: where -1 stands, 1."""
    one = onnx.numpy_helper.from_array(ints(1))
    agrees(
        [
            ("Constant", "", "to", {"value_ints": (2, -1, 4)}),
            ("Shape", "to", "rank"), ("ConstantOfShape", "rank", "ones", {"value": one}),
            ("Mul", "ones -1", "minus"), ("Equal", "to minus", "kept"),
            ("Where", "kept ones to", "sizes"),
            ("Expand", "x sizes", "out"),
        ],
        x=data(3, 1),
    )  # fmt: skip


def test_pad_by_torchscript() -> None:
    """``F.pad(x, (1, 2, 0, 1))``: widths filled up with zeros, and put in ONNX's order."""
    zero = onnx.numpy_helper.from_array(ints(0))
    agrees(
        [
            ("Shape", "x", "s"), ("Shape", "s", "rank"), ("Mul", "rank 2", "n"),
            ("Sub", "n [4]", "more"),
            ("ConstantOfShape", "more", "zeros", {"value": zero}),
            ("Concat", "[1,2,0,1] zeros", "all", {"axis": 0}),
            ("Reshape", "all [-1,2]", "pairs"),
            ("Slice", f"pairs [-1] [{-MOST}] [0] [-1]", "turned"),
            ("Transpose", "turned", "ends", {"perm": (1, 0)}),
            ("Reshape", "ends [-1]", "flat"), ("Cast", "flat", "widths", {"to": 7}),
            ("Pad", "x widths", "out", {"mode": "reflect"}),
        ],
        x=data(1, 2, 3, 4),
    )  # fmt: skip


def test_arange_by_non_zero() -> None:
    """Old exporters count by the places of as many ones."""
    one = onnx.numpy_helper.from_array(ints(1))
    agrees(
        [
            ("Shape", "x", "s"), ("Gather", "s [1]", "n"),
            ("ConstantOfShape", "n", "ones", {"value": one}),
            ("NonZero", "ones", "nz"), ("Transpose", "nz", "t"), ("Squeeze", "t [1]", "count"),
            ("Mul", "count 2", "even"), ("Mod", "even n", "places"),
            ("Gather", "x places", "out", {"axis": 1}),
        ],
        x=data(2, 5),
    )  # fmt: skip


def test_strided_slice_by_tf2onnx() -> None:
    """Shapes as int32, one dim of them sliced out, scaled as floats, put together and cast back."""
    agrees(
        [
            ("Transpose", "x", "nchw", {"perm": (0, 3, 1, 2)}),
            ("Shape", "x", "s"), ("Cast", "s", "s32", {"to": 6}),
            ("Slice", "s32 [0] [1] [0]", "n1"), ("Squeeze", "n1 [0]", "n"),
            ("Slice", "s32 [1] [3] [0]", "hw"), ("Cast", "hw", "f", {"to": 1}),
            ("Mul", "f half", "g"), ("Floor", "g", "fl"), ("Cast", "fl", "i", {"to": 6}),
            ("Mul", "i two", "even"), ("Cast", "even", "e64", {"to": 7}),
            ("Slice", "nchw [0,0] e64 [2,3]", "cut"),
            ("Unsqueeze", "n [0]", "nn"), ("Cast", "nn", "n64", {"to": 7}),
            ("ReduceProd", "e64", "hw1", {"keepdims": 1}),
            ("Concat", "n64 [-1] hw1", "to", {"axis": 0}),
            ("Reshape", "cut to", "out"),
        ],
        weights={"half": np.float32(0.5), "two": np.int32(2)}, x=data(1, 5, 3, 2),
    )  # fmt: skip


def test_reshape_by_paddle() -> None:
    """Slices of the shape by tensors of axes, with casts between."""
    agrees(
        [
            ("Shape", "x", "s"), ("Cast", "s", "s32", {"to": 6}),
            ("Slice", "s32 [0] [1] [0]", "a"), ("Slice", "s32 [1] [2] [0]", "b"),
            ("Concat", "a b", "ab", {"axis": 0}), ("Cast", "ab", "ab64", {"to": 7}),
            ("Concat", "ab64 [-1]", "to", {"axis": 0}), ("Reshape", "x to", "out"),
        ],
        x=data(2, 3, 2, 2),
    )  # fmt: skip


def test_split_by_sizes_of_shapes() -> None:
    agrees(
        [
            ("Shape", "x", "s", {"start": -1}), ("Div", "s [2]", "half"), ("Sub", "s half", "rest"),
            ("Concat", "half rest", "sizes", {"axis": 0}),
            ("Split", "x sizes", "a b", {"axis": -1}),
            ("Slice", "b [0] half [1]", "c"), ("Sub", "a c", "out"),
        ],
        x=data(2, 5),
    )  # fmt: skip


def test_positions_of_tokens() -> None:
    """Rows of a table by place: they read nothing; tokens read themselves."""
    report = agrees(
        [
            ("Shape", "ids", "s"), ("Gather", "s 1", "n"), ("Range", "0 n 1", "r"),
            ("Unsqueeze", "r [0]", "p"), ("Expand", "p s", "pos"),
            ("Gather", "table ids", "tokens"), ("Gather", "places pos", "where"),
            ("Add", "tokens where", "out"),
        ],
        weights={"table": data(9, 4), "places": data(16, 4)}, ids=np.array([[1, 5, 0, 8]]),
    )  # fmt: skip
    assert report[-1].shape == (1, 4, 4)


@pytest.mark.parametrize("opset", [13, 21])
def test_causal_mask(opset: int) -> None:
    """A mask from two ranges is known: what it hides is not read."""
    agrees(
        [
            ("Shape", "x", "s"), ("Gather", "s 1", "n"), ("Range", "0 n 1", "r"),
            ("Unsqueeze", "r [1]", "rows"), ("Unsqueeze", "r [0]", "columns"),
            ("LessOrEqual", "columns rows", "seen"), ("Not", "seen", "hidden"),
            ("Where", "hidden low x", "out"),
        ],
        opset=opset, weights={"low": np.float32(-9)}, x=data(2, 4, 4),
    )  # fmt: skip


def test_causal_mask_by_trilu() -> None:
    one = onnx.numpy_helper.from_array(ints(1))
    agrees(
        [
            ("Shape", "x", "s"), ("Slice", "s [1] [3]", "nn"),
            ("ConstantOfShape", "nn", "ones", {"value": one}),
            ("Trilu", "ones", "low", {"upper": 0}), ("Cast", "low", "seen", {"to": 9}),
            ("Where", "seen x zero", "out"),
        ],
        weights={"zero": np.float32(0)}, x=data(1, 4, 4),
    )  # fmt: skip


def test_mesh_by_gather_nd() -> None:
    """``x[:, ::2, [1, 0]]`` by coordinates: ranges expanded and put side by side."""
    agrees(
        [
            ("Shape", "x", "s"), ("Gather", "s 1", "n"), ("Range", "0 n 2", "r"),
            ("Unsqueeze", "r [1]", "r1"), ("Shape", "[1,0]", "k"), ("Shape", "r", "m"),
            ("Concat", "m k", "mk", {"axis": 0}), ("Expand", "r1 mk", "rows"),
            ("Expand", "[1,0] mk", "columns"),
            ("Unsqueeze", "rows [-1]", "a"), ("Unsqueeze", "columns [-1]", "b"),
            ("Concat", "a b", "at", {"axis": -1}),
            ("Transpose", "x", "t", {"perm": (1, 2, 0)}), ("GatherND", "t at", "g"),
            ("Transpose", "g", "out", {"perm": (2, 0, 1)}),
        ],
        x=data(2, 5, 3),
    )  # fmt: skip


def test_windows_by_rolls() -> None:
    """A shifted window: a roll by slices, a split into windows, and their indices known as constants."""
    agrees(
        [
            ("Slice", "x [1] [9] [1]", "tail"), ("Slice", "x [0] [1] [1]", "head"),
            ("Concat", "tail head", "rolled", {"axis": 1}),
            ("Shape", "rolled", "s"), ("Gather", "s 1", "n"), ("Div", "n 2", "count"),
            ("Unsqueeze", "count [0]", "c1"), ("Concat", "[1] c1 [2] [3]", "to", {"axis": 0}),
            ("Reshape", "rolled to", "w"), ("ReduceMax", "w [2]", "out"),
        ],
        x=data(1, 4, 3),
    )  # fmt: skip


def test_whole_numbers_of_inputs() -> None:
    """Numbers that the user gives for an input decide shapes, and are no reads."""
    model, feeds = chain(
        [("Concat", "n [2]", "to", {"axis": 0}), ("Reshape", "x to", "out")], "out",
        x=data(6), n=ints(3),
    )  # fmt: skip
    report, rows = reported(model, feeds, {"x": 0, "n": 0})
    assert report[rows["out"]].shape == (3, 2)
    with pytest.raises(EyeshotError, match="n1"):
        reported(model, {"x": (6,), "n": (1,)}, {"x": 0, "n": 0})


@pytest.mark.parametrize(
    "op, constants, more, expected",
    [
        ("Unique", {0: ints(3, 1, 3, 2)}, {"sorted": 0}, (3, 1, 2)),
        ("Unique", {0: ints(3, 1, 3, 2)}, {}, (1, 2, 3)),
        ("Compress", {0: ints(3, 1, 4), 1: np.array([True, False, True])}, {}, (3, 4)),
        ("TopK", {0: ints(3, 1, 4), 1: ints(2)}, {}, (4, 3)),
        ("CumSum", {0: ints(3, 1, 4), 1: np.int64(0)}, {}, (3, 4, 8)),
        ("ScatterElements", {0: ints(3, 1, 4), 1: ints(1), 2: ints(7)}, {}, (3, 7, 4)),
        ("ScatterND", {0: ints(3, 1, 4), 1: np.array([[2]]), 2: ints(7)}, {}, (3, 1, 7)),
        ("GatherElements", {0: ints(3, 1, 4), 1: ints(2, 2)}, {}, (4, 4)),
        ("GatherND", {0: ints(3, 1, 4), 1: np.array([[2], [0]])}, {}, (4, 3)),
        ("Tile", {0: ints(3, 1), 1: ints(2)}, {}, (3, 1, 3, 1)),
        ("Split", {0: ints(3, 1, 4), 1: ints(2, 1)}, {}, (3, 1)),
        ("Pad", {0: ints(3, 1), 1: ints(1, 1), 2: np.int64(5)}, {}, (5, 3, 1, 5)),
        ("ReverseSequence", {0: np.array([[3], [1]]), 1: ints(2)}, {}, None),
        ("ReduceSum", {0: np.array([[3, 1], [1, 2]]), 1: ints(0)}, {"keepdims": 0}, (4, 3)),
        ("ArgMax", {0: np.array([[3, 1], [1, 2]])}, {"axis": 1, "keepdims": 0}, None),
        ("Slice", {0: ints(3, 1, 4), 1: ints(-1), 2: ints(-9), 3: ints(0), 4: ints(-2)}, {}, (4, 3)),
        ("Max", {0: ints(3, 1), 1: ints(2, 2)}, {}, (3, 2)),
        ("Where", {0: np.array([True, False]), 1: ints(3, 1), 2: ints(5, 5)}, {}, (3, 5)),
        ("OneHot", {0: ints(1), 1: np.int64(3), 2: ints(1, 4)}, {}, None),
        ("Expand", {0: ints(3), 1: ints(2)}, {}, (3, 3)),
        ("Flatten", {0: np.array([[3, 2]])}, {"axis": 0}, None),
        ("Clip", {0: ints(9, 1), 1: np.int64(2), 2: np.int64(4)}, {}, (4, 2)),
        ("Neg", {0: ints(-9, -1)}, {}, (9, 1)),
        ("BitShift", {0: np.uint8([9, 1]), 1: np.uint8([1, 0])}, {"direction": "RIGHT"}, (4, 1)),
        ("EyeLike", {0: np.zeros((1, 3), np.int64)}, {"k": 1}, None),
    ],
)  # fmt: skip
def test_numbers(op: str, constants: Any, more: Any, expected: Any) -> None:
    """What an operator makes of constants, seen in the shape that it gives to an input."""
    model, _ = node_model(
        op, constants=constants, outputs=2 if op in ("Split", "TopK") else 1, **more
    )
    want = (
        onnx.reference.ReferenceEvaluator(model).run(None, {})[0] if expected is None else expected
    )
    want = tuple(int(n) + 1 for n in np.reshape(want, -1))
    model.graph.input.append(h.make_tensor_value_info("x", onnx.TensorProto.FLOAT, (1,)))
    model.graph.initializer.append(onnx.numpy_helper.from_array(ints(-1), "flat"))
    model.graph.initializer.append(onnx.numpy_helper.from_array(ints(1), "one"))
    model.graph.node.extend(
        [
            h.make_node("Reshape", ["y0", "flat"], ["r"]),
            h.make_node("Cast", ["r"], ["i"], to=7),
            h.make_node("Add", ["i", "one"], ["to"]),
            h.make_node("Expand", ["x", "to"], ["out"]),
        ]
    )
    del model.graph.output[:]
    model.graph.output.append(onnx.ValueInfoProto(name="out"))
    report, rows = reported(model, {"x": (1,)}, {"x": 0})
    assert report[rows["out"]].shape == want


# --- files that mean harm


def pending(
    op: str, *inputs: Value, shape: Any, dtype: int = 7, opset: int = 18, **more: Any
) -> Value:
    names = [f"i{k}" for k in range(len(inputs))]
    node = h.make_node(op, names, ["o"], **more)
    return Value(None, shape, dtype, Pending(node, opset, inputs, 0))


def test_long_chains() -> None:
    """As long as a file may have them; each node twice the one before, which is worked out once."""
    folder = fold.Folder()
    x = fixed(ints(1, 2))
    for _ in range(3000):
        x = pending("BitwiseXor", x, x, shape=(2,))
    found = folder.numbers(x)
    assert found is not None and found.tolist() == [0, 0]


def test_what_cannot_be_known_costs_nothing() -> None:
    """What would go with it is not worked out either."""
    unknown = Value(0, (2,), 7)
    beside = pending("Neg", fixed(ints(1, 2)), shape=(2,))
    assert fold.Folder().numbers(pending("Add", beside, unknown, shape=(2,))) is None
    assert type(beside.held) is Pending


def test_what_is_large_is_not_worked_out() -> None:
    folder = fold.Folder()
    wide = pending("Expand", fixed(ints(1)), fixed(ints(1 << 30)), shape=(1 << 30,))
    assert folder.numbers(wide) is None
    n = fold.MAX_ELEMENTS + 1
    assert folder.numbers(pending("Expand", fixed(ints(1)), fixed(ints(n)), shape=(n,))) is None
    small = pending("ReduceSum", wide, shape=())
    assert folder.numbers(small) is None
    assert folder.left == fold.MAX_TOTAL


def test_all_together_is_limited() -> None:
    """Thousands of constants, none of them large."""
    folder = fold.Folder()
    n = fold.MAX_ELEMENTS // 4
    base = fixed(np.zeros(n, np.int64))
    tracemalloc.start()
    begin = time.perf_counter()
    done = 0
    for _ in range(500):
        done += folder.numbers(pending("Neg", base, shape=(n,))) is not None
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert 0 < done < 20
    assert peak < fold.MAX_TOTAL * 8 and time.perf_counter() - begin < 5


def test_a_part_of_a_large_mask() -> None:
    """As language models hold them: for 1024 tokens, of which a few are used."""
    full = np.tri(1024, dtype=bool)[None, None]
    agrees(
        [
            ("Shape", "x", "s"), ("Gather", "s [2]", "n"),
            ("Slice", "full [0] n [2]", "rows"), ("Slice", "rows [0] n [3]", "seen"),
            ("Where", "seen x low", "out"),
        ],
        weights={"full": full, "low": np.float32(-9)}, x=data(1, 2, 3, 3),
    )  # fmt: skip


def test_shapes_that_lie() -> None:
    """Numbers count only if they have the shape that was worked out before."""
    assert fold.Folder().numbers(pending("Neg", fixed(ints(1, 2)), shape=(3,))) is None


def test_no_file_is_opened() -> None:
    """Not by an attribute either."""
    tensor = onnx.TensorProto(data_type=7, dims=[1], data_location=onnx.TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="weights.bin")
    made = pending("ConstantOfShape", fixed(ints(2)), shape=(2,), value=tensor)
    assert fold.Folder().numbers(made) is None
    assert fold.Folder().numbers(Value(None, (1,), 7, tensor)) is None


def test_no_graph_is_run() -> None:
    graph = h.make_graph([], "g", [], [])
    assert fold.Folder().numbers(pending("Neg", fixed(ints(2)), shape=(1,), body=graph)) is None


def test_texts_are_left_alone() -> None:
    """As arrays all would get as long as the longest."""
    tensor = h.make_tensor("t", onnx.TensorProto.STRING, [2], ["a", "b" * 1000])
    value = Value(None, (2,), onnx.TensorProto.STRING, tensor)
    assert fold.Folder().numbers(value) is None
    assert fold.Folder().numbers(pending("Cast", fixed(ints(2)), shape=(1,), dtype=8, to=8)) is None
    value = Value(None, (2,), onnx.TensorProto.STRING, np.array(["a", "b"]))
    assert fold.Folder().numbers(pending("Identity", value, shape=(2,))) is None


def test_tensors_that_are_not_what_they_say() -> None:
    short = onnx.TensorProto(data_type=7, dims=[4], raw_data=b"123")
    assert fold.Folder().numbers(Value(None, (4,), 7, short)) is None
    odd = onnx.TensorProto(data_type=99, dims=[4], raw_data=b"123")
    assert fold.Folder().numbers(Value(None, (4,), 99, odd)) is None


def test_void_dims() -> None:
    """Of nothing the numbers are known, unless it is nothing of too much."""
    found = fold.Folder().numbers(Value(None, (0, 3), 7))
    assert found is not None and found.shape == (0, 3) and found.dtype == np.int64
    assert fold.Folder().numbers(Value(None, (0, 1 << 40, 1 << 40), 7)) is None
    assert fold.Folder().numbers(Value(None, (0,), 99)).shape == (0,)  # type: ignore[union-attr]


def test_old_broadcasting_is_not_folded_wrongly() -> None:
    """Until opset 6 sums lay along an axis of the first, of which the evaluator knows nothing."""
    square, row = fixed(np.zeros((2, 2), np.int64)), fixed(ints(1, 2))
    made = pending("Add", square, row, shape=(2, 2), opset=6, axis=0, broadcast=1)
    assert fold.Folder().numbers(made) is None


@pytest.mark.parametrize("op", ["Add", "Sub", "Mul", "Div", "Pow"])
def test_old_broadcasting(op: str) -> None:
    """The second input lies along the first from an axis on."""

    def run(axis: int) -> Any:
        ufunc = {"Sub": np.subtract, "Mul": np.multiply, "Div": np.divide, "Pow": np.power}.get(
            op, np.add
        )

        def made(feeds: Any) -> Any:
            y = feeds["x1"]
            y = y.reshape((1,) * axis + y.shape + (1,) * (3 - axis - y.ndim))
            return [ufunc(np.abs(feeds["x0"]) + 2, y)]

        return made

    for shape, axis, more in [
        ((3,), 1, {"axis": 1}),
        ((2, 3), 0, {"axis": 0}),
        ((3, 4), 1, {}),
        ((), 3, {}),
    ]:
        model, feeds = node_model(op, data(2, 3, 4), data(*shape), opset=6, broadcast=1, **more)
        assert_agrees(model, feeds, run=run(axis))


def test_range_of_absurd_length_is_refused() -> None:
    model, feeds = chain(
        [("Range", f"0 {1 << 60} 1", "r"), ("Gather", "x r", "out")], "out", x=data(4)
    )
    with pytest.raises(EyeshotError, match="n0: a range of"):
        reported(model, feeds, {"x": 0})


def test_a_long_index_over_and_over() -> None:
    """One constant index for thousands of gathers: past a limit their places are bounds."""
    at = np.random.default_rng(0).integers(0, 50, 1 << 15)
    nodes = [("Gather", "x at", f"g{k}") for k in range(300)] + [("Sum", "g0 g1", "out")]
    model, _ = chain(nodes, "out", weights={"at": at}, x=data(50))
    begin = time.perf_counter()
    report, _ = reported(model, {"x": (50,)}, {"x": 0})
    assert time.perf_counter() - begin < 10
    assert {d.code for d in report.diagnostics} == {"data-dependent"}
