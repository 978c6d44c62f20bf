"""Sequences and optional values: known places exact, unknown ones a bound that contains the truth."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import eyeshot
from eyeshot.errors import EyeshotError
from eyeshot.frontends.onnx import build
from tests.frontends.onnx import backend
from tests.frontends.onnx.agree import assert_agrees
from tests.frontends.onnx.test_control import BOTH, model, runtime

RNG = np.random.default_rng(0)
X = RNG.standard_normal((4, 3)).astype(np.float32)
Y = RNG.standard_normal((4, 3)).astype(np.float32)

#: Nothing goes in, or nothing of it comes out.
EMPTY = ("has_element_empty", "has_element_tensor_input", "has_element_optional_input", "sequence_model6",
         "sequence_model8", "extract_shapes")  # fmt: skip
CASES = [
    name for name in backend.cases()
    if any(word in name for word in ("sequence", "optional_")) and "reversesequence" not in name
    and not any(word in name for word in EMPTY)
]  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_cases(name: str) -> None:
    case = backend.load(name)
    assert_agrees(case.model, case.feeds)


def sequence(nodes: str, outputs: str = "float[4,3] y", **constants: int) -> Any:
    """A model of two inputs, and what they are fed."""
    held = ", ".join(f"int64 {name} = {{{value}}}" for name, value in constants.items())
    text = (
        f"g (float[4,3] a, float[4,3] b) => ({outputs}) {f'<{held}>' if held else ''} {{ {nodes} }}"
    )
    return model(text)


FEEDS = {"a": X, "b": Y}


@pytest.mark.parametrize("at", [0, 1, 2, -1, -3])
@pytest.mark.parametrize(
    "nodes",
    [
        "y = SequenceAt(s, k)",
        "e = SequenceErase(s, k) z = Constant<value_int = 1>() y = SequenceAt(e, z)",
        "e = SequenceInsert(s, q, k) z = Constant<value_int = 1>() y = SequenceAt(e, z)",
        "e = SequenceInsert(s, q, k) y = ConcatFromSequence<axis = 1>(e)",
        "y = ConcatFromSequence<axis = -1, new_axis = 1>(s)",
    ],
)
def test_known_places(nodes: str, at: int) -> None:
    text = f"p = Neg(a) q = Add(a, b) s = SequenceConstruct(a, b, p) {nodes}"
    proto = sequence(text, "float y", k=at)
    # The first dims of the input alone tell items apart.
    proto.graph.output[0].type.tensor_type.ClearField("shape")
    assert_agrees(proto, FEEDS)


PLACE = "r = ReduceMax<keepdims = 0>(a) g = Greater(r, h) k = Cast<to = 7>(g)"


@pytest.mark.parametrize(
    "nodes",
    [
        "y = SequenceAt(s, k)",
        "e = SequenceErase(s, k) y = SequenceAt(e, zero)",
        "e = SequenceInsert(s, b, k) y = SequenceAt(e, zero)",
        "e = SequenceInsert(s, b, k) y = SequenceAt(e, one)",
    ],
)
def test_unknown_places(nodes: str) -> None:
    text = (
        f"h = Constant<value_float = 2.0>() {PLACE} n = Neg(b) s = SequenceConstruct(a, n) {nodes}"
    )
    proto = sequence(text, zero=0, one=1)
    report = assert_agrees(proto, FEEDS, "bound", run=runtime(proto))
    assert {d.code for d in report.diagnostics} == {"data-dependent"}
    # The place is read: all of a.
    fields = [(f.input, f.axis) for f in report["y"].fields]
    assert report["y"].boxes()[0, 0, fields.index(("a", 0))].tolist() == [0, 4]


def test_unknown_places_among_several_shapes() -> None:
    text = f"h = Constant<value_float = 2.0>() {PLACE} n = Neg(r) s = SequenceConstruct(a, n)"
    proto = sequence(f"{text} y = SequenceAt(s, k)")
    proto.graph.output[0].type.tensor_type.ClearField("shape")
    with pytest.raises(EyeshotError, match="so does the shape: 4x3 or scalar"):
        build(proto, axes=0)


@pytest.mark.parametrize(
    ("split", "keep", "shapes"),
    [
        ("", "", [(1, 3)] * 4),
        ("", ", keepdims = 0", [(3,)] * 4),
        (", i3", "", [(3, 3), (1, 3)]),
        (", v", "", [(1, 3), (3, 3)]),
    ],
)
def test_split_to_sequence(split: str, keep: str, shapes: list[tuple[int, ...]]) -> None:
    outs = ", ".join(f"float y{k}" for k in range(len(shapes)))
    nodes = " ".join(
        f"k{k} = Constant<value_int = {k}>() y{k} = SequenceAt(s, k{k})" for k in range(len(shapes))
    )
    text = f"""g (float[4,3] x) => ({outs}) <int64 i3 = {{3}}, int64[2] v = {{1, 3}}> {{
      s = SplitToSequence<axis = 0{keep}>(x{split}) {nodes} }}"""
    proto = model(text)
    for out in proto.graph.output:
        out.type.tensor_type.ClearField("shape")
    report = assert_agrees(proto, {"x": X}, run=runtime(proto))
    assert [layer.shape for layer in report] == shapes


def test_numbers_in_sequences() -> None:
    """The arithmetic of shapes may go through a sequence."""
    text = """g (float[4,3] x) => (float[3,4] y) <int64 zero = {0}, int64 one = {1}> {
      sh = Shape(x) s = SplitToSequence<axis = 0>(sh) n = SequenceLength(s) last = Sub(n, one)
      p = SequenceAt(s, last) q = SequenceAt(s, zero) e = SequenceEmpty() e1 = SequenceInsert(e, p)
      e2 = SequenceInsert(e1, q) to = ConcatFromSequence<axis = 0>(e2) y = Reshape(x, to) }"""
    assert_agrees(model(text), {"x": X})


def test_optional_values() -> None:
    text = """g (float[4,3] x) => (float[4,3] y) {
      n = Neg(x) o = Optional(n) h = OptionalHasElement(o)
      y = If (h) <then_branch = p () => (float[4,3] u) { g = OptionalGetElement(o) u = Relu(g) },
                  else_branch = q () => (float[4,3] v) { v = Identity(x) }> }"""
    report = assert_agrees(model(text), {"x": X}, run=runtime(model(text)))
    assert [layer.name for layer in report] == ["n", "y/g", "y/u"]


def test_sequences_as_inputs_and_outputs() -> None:
    proto = model(
        "g (seq(float[n,3]) s, float[4,3] x) => (seq(float[n,3]) t) { t = SequenceInsert(s, x) }"
    )
    report = eyeshot.analyze(proto, {"s": [(2, 3), X], "x": (4, 3)}, axes=(0, 1))
    assert [i["name"] for i in report.inputs] == ["s[0]", "s[1]", "x"]
    assert [layer.name for layer in report.outputs] == ["t[0]", "t[1]", "t[2]"]
    with pytest.raises(EyeshotError, match="input s is a sequence; give a list of what is in it"):
        build(proto, {"x": (4, 3)}, axes=BOTH)


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ("s = SequenceConstruct(a, b) y = SequenceAt(s, two)", "position 2 in a sequence of 2"),
        ("s = SequenceEmpty() y = SequenceAt(s, two)", "an item of an empty sequence"),
        ("o = Optional<type = float>() y = OptionalGetElement(o)", "(is not there|malformed|no value)"),
        ("s = SequenceConstruct(a, b) y = Relu(s)", "Relu takes tensors, and is given a sequence"),
        ("r = ReduceSum<keepdims = 0>(a) s = SequenceConstruct(a, r) y = ConcatFromSequence<axis = 0>(s)",
         "not among the dims of all"),
        ("y = SequenceLength(a)", "takes a sequence"),
    ],
)  # fmt: skip
def test_malformed(nodes: str, message: str) -> None:
    proto = sequence(nodes.replace("<type = float>", ""), two=2)
    with pytest.raises(EyeshotError, match=message) as caught:
        build(proto, axes=(0, 1))
    assert "\n" not in str(caught.value)
