"""If, Loop, Scan and SequenceMap: exact where what decides is known, elsewhere a bound on the truth."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import parser

import eyeshot
from eyeshot.errors import EyeshotError
from eyeshot.frontends.onnx import build, walk
from eyeshot.frontends.onnx.rules import control
from tests.frontends.onnx import backend
from tests.frontends.onnx.agree import assert_agrees

X = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)


def model(text: str, opset: int = 18, ir: int = 10) -> onnx.ModelProto:
    return parser.parse_model(f'<ir_version: {ir}, opset_import: ["" : {opset}]>\n{text}')


def runtime(proto: onnx.ModelProto) -> Any:
    """The model in onnxruntime, where the reference evaluator lacks something."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    session = ort.InferenceSession(proto.SerializeToString(), options, ["CPUExecutionProvider"])
    return lambda feeds: session.run(None, dict(feeds))


#: Of the input of most models here.
BOTH = {"x": (0, 1)}


def apart(proto: onnx.ModelProto, name: str, axis: int, count: int) -> None:
    """Makes each position along an axis of an output one of its own: rounds have hulls of their own, but a new
    axis that nothing of the input lies along does not tell units apart."""
    names = [f"{name}_{k}" for k in range(count)]
    more = {} if proto.opset_import[0].version < 18 else {"num_outputs": count}
    proto.graph.node.append(onnx.helper.make_node("Split", [name], names, axis=axis, **more))
    proto.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)


def rows(proto: onnx.ModelProto, axes: Any = BOTH) -> list[str]:
    return [mark.name for mark in build(proto, axes=axes).graph.layers]


CASES = [
    name for name in backend.cases()
    if any(word in name for word in ("test_if", "loop", "scan", "sequence_map"))
    # Nothing goes in; the evaluator has no Scan of opset 8.
    and not name.endswith(("test_if", "if_seq", "if_opt", "loop13_seq", "loop16_seq_none", "test_scan_sum"))
    and "extract_shapes" not in name
]  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_cases(name: str) -> None:
    case = backend.load(name)
    assert_agrees(case.model, case.feeds)


# --- If

BRANCHES = """
g (float[4,3] x{more}) => (float[4,3] y) <int64[1] zero = {{0}}, int64[1] one = {{1}}, int64[1] n = {{{n}}}> {{
  {condition}
  y = If (c) <
    then_branch = a () => (float[4,3] u) {{ u = Relu(x) }},
    else_branch = b () => (float[4,3] v) {{ w = Neg(x) r = ReduceMax<keepdims=1>(w, zero) v = Add(w, r) }}>
}}"""
BY_SHAPE = "sh = Shape(x) s0 = Slice(sh, zero, one) c = Equal(s0, n)"


@pytest.mark.parametrize("n", [4, 5])
def test_a_branch_decided_by_shapes(n: int) -> None:
    proto = model(BRANCHES.format(more="", n=n, condition=BY_SHAPE))
    assert_agrees(proto, {"x": X})
    assert rows(proto) == (["y/u"] if n == 4 else ["y/w", "y/r", "y/v"])
    assert [g.name for g in build(proto, axes=BOTH).graph.groups] == ["y"]


@pytest.mark.parametrize("flag", [True, False])
def test_a_branch_decided_by_data(flag: bool) -> None:
    """Whatever number the user gives: it is data, and read."""
    proto = model(BRANCHES.format(more=", bool[1] c", n=0, condition=""))
    report = assert_agrees(proto, {"x": X, "c": np.array([flag])}, "bound")
    assert {d.code for d in report.diagnostics} == {"data-dependent"}
    assert [layer.name for layer in report] == ["y/then/u", "y/else/w", "y/else/r", "y/else/v", "y"]
    assert report["y"].status == "bound" and report["y/then/u"].status == "exact"
    # What the condition reads is read too.
    by_sum = "k = ReduceSum<keepdims=0>(x) h = Constant<value_float=0.0>() c = Greater(k, h)"
    report = assert_agrees(
        model(BRANCHES.format(more="", n=0, condition=by_sum)), {"x": X}, "bound"
    )
    assert report["y"].boxes()[0, 0].tolist() == [[0, 4], [0, 3]]


def test_branches_of_several_shapes() -> None:
    text = """
    g (float[4,3] x, bool c) => (float[n,3] y) <int64[1] zero = {0}> {
      y = If (c) <then_branch = a () => (float[4,3] u) { u = Relu(x) },
                  else_branch = b () => (float[1,3] v) { v = ReduceMax<keepdims=1>(x, zero) }>
      }"""
    with pytest.raises(EyeshotError, match="so does the shape: 4x3 or 1x3"):
        build(model(text), axes=BOTH)
    # The file may say which it is.
    report = build(model(text.replace("[n,3]", "[4,3]")), axes=BOTH).graph
    assert [d.code for d in report.bounds.values()] == ["unknown-case"]


def test_a_branch_that_hands_on_what_is_outside() -> None:
    proto = model("""
    g (float[4,3] x) => (float[4,3] y) <bool t = {1}> {
      h = Relu(x)
      y = If (t) <then_branch = a () => (float[4,3] h) {}, else_branch = b () => (float[4,3] x) {}>
    }""")
    # The evaluator wants a node in each branch.
    assert rows(proto) == ["h", "y"]


# --- Loop

ROW = """i0 = Constant<value_ints=[1]>() z0 = Constant<value_ints=[0]>() b0 = Reshape({k}, i0) e0 = Add(b0, i0)
         r0 = Slice(x, b0, e0, z0) row = Squeeze(r0, z0)"""
LOOP = """
g (float[4,3] x) => (float[3] y, float[n,3] s)
<int64 m = {m}, bool t = {t}, float[3] z = {0, 0, 0}> {
  y, s = Loop({trips}, {start}, z)
      <body = b (int64 i, bool c, float[3] a) => (bool c2, float[3] a2, float[3] o) {
     ROW
     a2 = Add(a, row)
     o = Mul(a, row)
     END
  }>
}"""


def looped(
    m: int = 4, t: int = 1, trips: str = "m", start: str = "t", end: str = "c2 = Identity(c)"
) -> str:
    text = LOOP.replace("ROW", ROW.format(k="i")).replace("END", end)
    for key, value in {"m": m, "t": t, "trips": trips, "start": start}.items():
        text = text.replace(f"{{{key}}}", f"{{{value}}}" if key in "mt" else str(value))
    return text


LESS = (
    "one = Constant<value_int=1>() k = Add(i, one) lim = Constant<value_int=3>() c2 = Less(k, lim)"
)
SMALL = "q = ReduceSum<keepdims=0>(a2) h = Constant<value_float=100.0>() c2 = Less(q, h)"


@pytest.mark.parametrize(
    "text",
    [looped(), looped(1), looped(start='""'), looped(trips='""', end=LESS), looped(9, end=LESS)],
)
def test_loops_written_out(text: str) -> None:
    proto = model(text)
    apart(
        proto,
        "s",
        0,
        4 if text in (looped(), looped(start='""')) else 1 if text == looped(1) else 3,
    )
    assert_agrees(proto, {"x": X}, run=runtime(proto))


def test_rounds_have_names() -> None:
    proto = model(looped(2))
    names = ["y/0/r0", "y/0/row", "y/0/a2", "y/0/o", "y/1/r0", "y/1/row", "y/1/a2", "y/1/o", "s"]
    assert rows(proto) == names
    proto.graph.node[0].name = "loop"
    assert rows(proto) == [
        *(name.replace("y/", "loop/") for name in names[:-1]),
        "loop.1",
    ]


@pytest.mark.parametrize("text", [looped(0), looped(t=0)])
def test_loops_that_never_run(text: str) -> None:
    """The first state comes out; what the rounds make has no elements."""
    text = text.replace("=> (float[3] y, ", "=> (float[4,3] w, float[3] y, ").replace(
        "y, s = ", "w = Relu(x) y, s = "
    )
    report = assert_agrees(model(text), {"x": X}, run=runtime(model(text)))
    assert [layer.name for layer in report] == ["w"]


def test_loops_that_data_end() -> None:
    text = looped(4, end=SMALL).replace("float[n,3] s", "float[4,3] s")
    report = assert_agrees(model(text), {"x": X}, "bound", run=runtime(model(text)))
    assert {d.code for d in report.diagnostics} == {"data-dependent"}
    assert "as if all 4 rounds ran" in report.diagnostics[-1].message
    assert report["y/0/row"].status == "exact" and report["y"].status == "bound"


def test_rounds_that_data_count() -> None:
    text = looped().replace("<int64 m = {4}, ", "<").replace("] x)", "] x, int64 m)")
    with pytest.raises(EyeshotError, match="how often the loop runs depends on data"):
        build(model(text), axes=BOTH)
    # A number that decides shapes may be given.
    run = build(model(text), {"x": (4, 3), "m": np.int64(2)}, axes=BOTH)
    assert [run.graph.shapes[mark.value] for mark in run.graph.layers][-2:] == [(3,), (2, 3)]
    assert not run.graph.bounds


def test_a_loop_whose_only_dependent_value_is_captured() -> None:
    """Through two graphs within each other."""
    text = """
    g (float[4,3] x) => (float[3] y) <int64 m = {2}, bool t = {1}, float[3] z = {0, 0, 0}> {
      y = Loop(m, t, z) <body = b (int64 i, bool c, float[3] a) => (bool c2, float[3] a2) {
        a2 = If (c) <then_branch = p () => (float[3] u) { ROW u = Add(a, row) },
                     else_branch = q () => (float[3] v) { v = Neg(a) }>
        c2 = Identity(c)
      }>
    }""".replace("ROW", ROW.format(k="i"))
    assert_agrees(model(text), {"x": X}, run=runtime(model(text)))
    # In an order in which what is captured comes later.
    late = text.replace("g (float[4,3] x)", "g (float[4,3] x0)").replace(
        "}>\n    }", "}>\n x = Relu(x0) }"
    )
    assert rows(model(late), axes={"x0": (0, 1)})[0] == "x"


def test_long_loops_are_bounds(monkeypatch: Any) -> None:
    monkeypatch.setattr(control, "MAX_UNROLL", 16)
    text = looped().replace("float[n,3] s", "float[4,3] s")
    report = assert_agrees(model(text), {"x": X}, "bound", run=runtime(model(text)))
    assert [layer.name for layer in report] == ["y", "s"]
    assert all("written out" in d.message for d in report.diagnostics)
    text = looped(trips='""', end=LESS.replace("int=3", "int=300"))
    with pytest.raises(EyeshotError, match="not written out, and so does the shape"):
        build(model(text), axes=BOTH)


def test_a_state_that_grows() -> None:
    text = """
    g (float[4,3] x) => (float[n,3] y) <int64 m = {3}, bool t = {1}> {
      y = Loop(m, t, x) <body = b (int64 i, bool c, float[k,3] a) => (bool c2, float[j,3] a2) {
        a2 = Concat<axis=0>(a, x) c2 = Identity(c)
      }>
    }"""
    assert_agrees(model(text), {"x": X})
    endless = text.replace("c2 = Identity(c)", SMALL)
    with pytest.raises(EyeshotError, match="changes from round to round"):
        build(model(endless), axes=BOTH)


def test_loops_within_loops_stop_at_a_budget(monkeypatch: Any) -> None:
    """50 to the 6th rounds: those that are not written out are bounds."""
    monkeypatch.setattr(walk, "MAX_RUNS", 4000)
    inner, state = "r = Relu(s0)", "r"
    for k in range(6):
        inner = f"""y{k} = Loop(m, t, s{k + 1}) <body = b{k} (int64 i{k}, bool c{k}, float[3] s{k})
                    => (bool d{k}, float[3] {state}) {{ {inner} d{k} = Identity(c{k}) }}>"""
        state = f"y{k}"
    text = f"g (float[3] s6) => (float[3] y5) <int64 m = {{50}}, bool t = {{1}}> {{ {inner} }}"
    begun = time.perf_counter()
    graph = build(model(text), axes=0).graph
    assert time.perf_counter() - begun < 5
    assert len(graph.layers) < 4000
    assert any("not written out" in d.message for d in graph.bounds.values())


def test_deep_nesting_is_one_line(monkeypatch: Any) -> None:
    """As deep as protocol buffers go, and one more."""
    h = onnx.helper

    def nested(depth: int) -> onnx.ModelProto:
        node = h.make_node("Relu", ["x"], ["y"])
        for _ in range(depth):
            graph = h.make_graph([node], "g", [], [onnx.ValueInfoProto(name="y")])
            node = h.make_node("If", ["t"], ["y"], then_branch=graph)
        info = h.make_tensor_value_info("x", 1, [4, 3])
        t = onnx.numpy_helper.from_array(np.array(True), "t")
        return h.make_model(h.make_graph([node], "g", [info], [onnx.ValueInfoProto(name="y")], [t]))

    assert len(rows(nested(28))) == 1
    monkeypatch.setattr(walk, "MAX_DEPTH", 10)
    with pytest.raises(EyeshotError, match="more than 10 deep"):
        build(nested(11), axes=BOTH)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "int64 i, bool c, float[3] a)",
            "int64 i, bool c, float[3] a, bool d)",
            "takes 4 inputs, gets 3",
        ),
        ("Add(a, row)", "Add(a, nowhere)", "reads 'nowhere', which nothing makes"),
        ("float[3] a2, float[3] o)", "float[3] a2)", "1 tensors are made for 2 outputs"),
        ("o = Mul(a, row)", "o = Mul(a2, p)\n p = Neg(o)", "cycle"),
        ("o = Mul(a, row)", "o = Mul(a, row) a2 = Neg(o)", "'a2' is made twice"),
        ("bool t = {1}", "bool[2] t = {1, 0}", "a condition of 2 elements"),
    ],
)
def test_malformed(old: str, new: str, message: str) -> None:
    text = looped()
    assert old in text
    with pytest.raises(EyeshotError, match=message) as caught:
        build(model(text.replace(old, new)), axes=BOTH)
    assert "\n" not in str(caught.value)


# --- Scan

SCAN = """
g (float[2] s, float[{shape}] x, float[{other}] w) => (float[2] t, float[{made}] y, float[{same}] u) {{
  t, y, u = Scan(s, x, w) <num_scan_inputs = 2{more}, body = b (float[2] a, float[2] p, float[3] q)
      => (float[2] a2, float[2] o, float[2,3] o2) {{
    h = Add(a, p)
    a2 = Identity(h)
    o = Mul(h, h)
    one = Constant<value_ints=[1]>()
    p2 = Unsqueeze(p, one)
    o2 = Add(p2, q)
  }}>
}}"""


@pytest.mark.parametrize("limit", [control.MAX_UNROLL, 8])
@pytest.mark.parametrize(
    ("more", "made", "same"),
    [
        ("", "4,2", "4,2,3"),
        (", scan_input_directions = [1, 0], scan_output_directions = [0, 1]", "4,2", "4,2,3"),
        (", scan_input_axes = [1, -2], scan_output_axes = [1, -1]", "2,4", "2,3,4"),
        (
            ", scan_input_axes = [1, 0], scan_output_axes = [-1, 1], scan_input_directions = [1, 1]",
            "2,4",
            "2,4,3",
        ),
    ],
)
def test_scan(more: str, made: str, same: str, limit: int, monkeypatch: Any) -> None:
    monkeypatch.setattr(control, "MAX_UNROLL", limit)
    rng = np.random.default_rng(1)
    across = "scan_input_axes" in more
    x = rng.standard_normal((2, 4) if across else (4, 2)).astype(np.float32)
    w = rng.standard_normal((4, 3)).astype(np.float32)
    text = SCAN.format(
        shape="2,4" if across else "4,2", other="4,3", made=made, same=same, more=more
    )
    feeds = {"s": rng.standard_normal(2).astype(np.float32), "x": x, "w": w}
    status = "exact" if limit > 8 else "bound"
    proto = model(text)
    apart(proto, "y", int(across), 4)
    apart(proto, "u", same.split(",").index("4"), 4)
    report = assert_agrees(proto, feeds, status, run=runtime(proto))
    if status == "bound":
        # Rounds read the rounds up to their own only.
        y = report["y"]
        k = [(f.input, f.axis) for f in y.fields].index(("x", int(across)))
        ends = y.boxes()[..., k, :].reshape(-1, 2)
        assert len({tuple(end) for end in ends}) == 4


@pytest.mark.parametrize("lengths", [None, [2, 3]])
@pytest.mark.parametrize("directions", ["", ", directions = [1]"])
def test_scan_of_opset_8(lengths: Any, directions: str) -> None:
    held = "" if lengths is None else "<int64[2] n = {2, 3}>"
    text = f"""
    g (float[2,2] s, float[2,3,2] x) => (float[2,2] t, float[2,3,2] y) {held} {{
      t, y = Scan({'""' if lengths is None else "n"}, s, x) <num_scan_inputs = 1{directions},
        body = b (float[2] a, float[2] p) => (float[2] a2, float[2] o) {{ a2 = Add(a, p) o = Identity(a2) }}>
    }}"""
    rng = np.random.default_rng(2)
    feeds = {
        "s": rng.standard_normal((2, 2)).astype(np.float32),
        "x": rng.standard_normal((2, 3, 2)).astype(np.float32),
    }
    proto = model(text, 8, 3)
    apart(proto, "y", 1, 3)
    for k in range(3):
        apart(proto, f"y_{k}", 0, 2)
    report = assert_agrees(proto, feeds, run=runtime(proto))
    assert report[0].name == "t/0/0/a2"


def test_a_scan_of_nothing_known() -> None:
    text = SCAN.format(shape="5,2", other="4,3", made="4,2", same="4,2,3", more="")
    with pytest.raises(EyeshotError, match=r"scans axes of \[4, 5\] elements together"):
        build(model(text), axes=BOTH)


# --- SequenceMap


def test_sequence_map_with_what_is_captured() -> None:
    text = """
    g (float[4,3] x, float[3] w) => (float[4,3] y) {
      s = SplitToSequence<axis=0, keepdims=0>(x)
      m = SequenceMap(s) <body = b (float[3] p) => (float[3] q) { q = Add(p, w) }>
      y = ConcatFromSequence<axis=0, new_axis=1>(m)
    }"""
    run = runtime(model(text))  # the evaluator's SequenceMap sees nothing outside
    report = assert_agrees(model(text), {"x": X, "w": X[0]}, run=run)
    assert [layer.name for layer in report] == ["m/0/q", "m/1/q", "m/2/q", "m/3/q", "y"]


LATE = """
g (float[4,3] x, bool t) => ({out} y) <int64 n={{6}}, int64 four={{4}}, int64[1] z={{0}}, int64[1] one={{1}}> {{
  y = Loop(n, t, x) <
    body = b (int64 i, bool c, float[a,3] s) => (bool cc, float[a,3] o) {{
      cc = Identity(c) k = Equal(i, four)
      o = If(k) <
        then_branch = p () => (float[b,3] u) {{ u = Slice(s, z, one, z) }},
        else_branch = q () => (float[b,3] v) {{ v = Neg(s) }}>}}>}}"""


def test_a_late_round_that_changes_shapes() -> None:
    """Round 4 cuts the state: no shape is made up from the rounds before it."""
    with pytest.raises(EyeshotError, match="change from round to round"):
        rows(model(LATE.format(out="float[m,3]")))
    report = eyeshot.analyze(model(LATE.format(out="float[1,3]")), axes={"x": (0,)})
    assert report.status == "bound" and report.outputs[0].shape == (1, 3)


def test_a_while_loop_of_scripts() -> None:
    """TorchScript writes the greatest number for how often, and a condition that ends it."""
    proto = model("""
    g (float[5,2] x) => (y, i) <int64 n = {9223372036854775807}, bool t = {1}, int64 i0 = {0},
        int64 one = {1}, int64 three = {3}, int64[2] parts = {1, 4}> {
      i, y = Loop(n, t, i0, x) <
        body = b (int64 k, bool c, int64 j, float[5,2] s) => (bool cc, int64 j1, float[5,2] o) {
          j1 = Add(j, one) cc = Less(j1, three)
          a, z = Split<axis = 0>(s, parts) o = Concat<axis = 0>(z, a)}>}""")
    assert_agrees(proto, {"x": np.ones((5, 2), np.float32)}, run=runtime(proto))
