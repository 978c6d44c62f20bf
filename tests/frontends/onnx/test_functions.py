"""Functions: those of the model are written out, those of operators' schemas stand in for rules."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import parser

from eyeshot.errors import EyeshotError
from eyeshot.frontends.onnx import build, rules, walk
from eyeshot.frontends.onnx.calls import Op
from tests.frontends.onnx import backend
from tests.frontends.onnx.agree import assert_agrees
from tests.frontends.onnx.test_control import runtime

X = np.random.default_rng(0).standard_normal((1, 2, 6)).astype(np.float32)
HEAD = '<ir_version: 10, opset_import: ["" : 18, "local" : 1]>\n'
AXES = {"x": (2,)}


def model(text: str) -> onnx.ModelProto:
    return parser.parse_model(HEAD + text)


def rows(proto: onnx.ModelProto) -> list[str]:
    return [mark.name for mark in build(proto, axes=AXES).graph.layers]


POOLED = """
g (float[1,2,6] x) => (float[1,2,n] y) {
  h = local.block<k = [3]>(x)
  y = local.block(h)
}
<domain: "local", opset_import: ["" : 18, "local" : 1]>
block <k: ints = [2]> (a) => (b) { p = local.inner<size: ints = @k>(a) b = Exp(p) }
<domain: "local", opset_import: ["" : 11]>
inner <size> (a) => (b) { n = Neg(a) b = AveragePool<kernel_shape: ints = @size>(n) }
"""


def test_functions_with_attributes() -> None:
    """Handed on from function to function, and by default."""
    report = assert_agrees(model(POOLED), {"x": X}, run=runtime(model(POOLED)))
    assert [(layer.name, layer.shape) for layer in report] == [
        ("h/p/n", (1, 2, 6)),
        ("h/p/b", (1, 2, 4)),
        ("h/b", (1, 2, 4)),
        ("y/p/n", (1, 2, 4)),
        ("y/p/b", (1, 2, 3)),
        ("y/b", (1, 2, 3)),
    ]
    assert report["h"].shape == report["h/p"].shape == (1, 2, 4)
    assert [layer.name for layer in report.outputs] == ["y/b"]


def test_overloads_and_optional_inputs() -> None:
    text = """
    g (float[1,2,6] x) => (float[1,2,n] y) { h = local.f:a(x) y = local.f:b(h, "") }
    <domain: "local", overload: "a", opset_import: ["" : 18]>
    f (a) => (b) { b = MaxPool<kernel_shape = [2]>(a) }
    <domain: "local", overload: "b", opset_import: ["" : 18]>
    f (a, low, high) => (b) { b = Clip(a, low, high) }
    """
    proto = model(text)
    run = build(proto, axes=AXES)
    assert [(m.name, run.graph.shapes[m.value][2]) for m in run.graph.layers] == [
        ("h/b", 5),
        ("y/b", 5),
    ]


def test_attributes_inside_graphs_of_a_function() -> None:
    text = """
    g (float[1,2,6] x) => (float[1,2,n] y) <bool t = {1}> { y = local.f<k = [4]>(x, t) }
    <domain: "local", opset_import: ["" : 18]>
    f <k: ints, unset: int> (a, c) => (b) {
      b = If (c) <then_branch = p () => (float[1,2,n] u)
                    { u = MaxPool<kernel_shape: ints = @k, ceil_mode: int = @unset>(a) },
                  else_branch = q () => (float[1,2,6] v) { v = Neg(a) }>
    }"""
    assert_agrees(model(text), {"x": X}, run=runtime(model(text)))
    assert rows(model(text)) == ["y/b/u"]


def test_the_functions_own_opset() -> None:
    """Squeeze had its axes as an attribute until opset 12."""
    text = """
    g (float[1,2,6] x) => (float[2,6] y) { y = local.f(x) }
    <domain: "local", opset_import: ["" : 11]>
    f (a) => (b) { b = Squeeze<axes = [0]>(a) }"""
    assert_agrees(model(text), {"x": X})


def test_a_function_that_stands_before_an_operator() -> None:
    """What the file says its operator does counts."""
    text = """
    g (float[1,2,6] x) => (float[1,2,5] y) { y = Relu(x) }
    <domain: "", opset_import: ["" : 18]>
    Relu (a) => (b) { b = MaxPool<kernel_shape = [2]>(a) }"""
    assert build(model(text), axes=AXES).graph.shapes[-1] == (1, 2, 5)


def test_functions_of_constants_are_folded() -> None:
    text = """
    g (float[1,2,6] x) => (float[1,2,n] y) <int64[1] two = {2}, int64[1] zero = {0}, int64[1] dim = {2}> {
      e = local.twice(two) y = Slice(x, zero, e, dim)
    }
    <domain: "local", opset_import: ["" : 18]>
    twice (a) => (b) { b = Add(a, a) }"""
    report = assert_agrees(model(text), {"x": X}, run=runtime(model(text)))
    assert report["y"].shape == (1, 2, 4)


def test_several_outputs_and_a_function_in_a_loop() -> None:
    text = """
    g (float[1,2,6] x) => (float[1,2,6] y, float[1,2,6] z) <int64 m = {2}, bool t = {1}> {
      y, z = Loop(m, t, x, x) <body = b (int64 i, bool c, float[1,2,6] p, float[1,2,6] q)
        => (bool c2, float[1,2,6] p2, float[1,2,6] q2) { p2, q2 = local.f(p, q) c2 = Identity(c) }>
    }
    <domain: "local", opset_import: ["" : 18]>
    f (a, b) => (s, r) { s = MaxPool<kernel_shape = [3], pads = [1, 1]>(a) r = Add(s, b) }"""
    assert_agrees(model(text), {"x": X}, run=runtime(model(text)))
    assert rows(model(text)) == ["y/0/p2/s", "y/0/p2/r", "y/1/p2/s", "y/1/p2/r"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("f (a) => (b) { b = local.f(a) }", "function f calls itself"),
        ("f (a) => (b) { c = Neg(a) b = local.h(c) }\n"
         '<domain: "local", opset_import: ["local" : 1]>\nh (a) => (b) { b = local.f(a) }',
         "function f calls itself"),
        ("f () => (b) { b = Constant<value_int = 1>() }", "takes 0 inputs, gets 1"),
        ("f (a) => (b) { b = Add(a, q) }", "Add reads 'q', which nothing makes"),
        ("f (a) => (b) { c = Add(a, b) b = Neg(c) }", "cycle"),
        ("f (a) => (b) { c = Neg(a) }", "reads 'b', which nothing makes"),
        ("f (a, a) => (b) { b = Neg(a) }", "two inputs are called 'a'"),
    ],
)  # fmt: skip
def test_malformed(text: str, message: str) -> None:
    head = '<domain: "local", opset_import: ["" : 18, "local" : 1]>\n'
    proto = model("g (float[1,2,6] x) => (float[1,2,6] y) { y = local.f(x) }\n" + head + text)
    with pytest.raises(EyeshotError, match=message) as caught:
        build(proto, axes=AXES)
    assert "\n" not in str(caught.value)


def test_exponential_nests_stop_at_a_budget() -> None:
    """Each function calls the next ten times: 10 to the 20th nodes, and not an error until then."""
    parts = ["g (float[1,2,6] x) => (float[1,2,6] y) { y = local.f0(x) }"]
    head = '<domain: "local", opset_import: ["" : 18, "local" : 1]>\n'
    for k in range(20):
        calls = " ".join(f"v{j + 1} = local.f{k + 1}(v{j})" for j in range(10))
        parts.append(f"{head}f{k} (v0) => (v10) {{ {calls} }}")
    parts.append(f"{head}f20 (a) => (b) {{ b = Neg(a) }}")
    begun = time.perf_counter()
    with pytest.raises(EyeshotError, match=f"more than {walk.MAX_RUNS} nodes of functions"):
        build(model("\n".join(parts)), axes=AXES)
    assert time.perf_counter() - begun < 60


def test_functions_too_deep_within_each_other() -> None:
    parts = ["g (float[1,2,6] x) => (float[1,2,6] y) { y = local.f0(x) }"]
    head = '<domain: "local", opset_import: ["" : 18, "local" : 1]>\n'
    parts += [f"{head}f{k} (a) => (b) {{ b = local.f{k + 1}(a) }}" for k in range(60)]
    parts.append(f"{head}f60 (a) => (b) {{ b = Neg(a) }}")
    with pytest.raises(EyeshotError, match="more than 32 deep within each other"):
        build(model("\n".join(parts)), axes=AXES)


# --- functions of schemas


@pytest.mark.parametrize(
    ("op", "case"),
    [
        ("Gelu", "node/test_gelu_tanh_1"),
        ("Softplus", "node/test_softplus"),
        ("LayerNormalization", "node/test_layer_normalization_2d_axis1"),
        ("GroupNormalization", "node/test_group_normalization_epsilon"),
        ("ReduceL2", "node/test_reduce_l2_keep_dims_example"),
        ("MeanVarianceNormalization", "node/test_mvn"),
        ("HardSwish", "node/test_hardswish"),
        ("Clip", "node/test_clip_example"),
    ],
)
def test_schemas_with_functions(op: str, case: str, monkeypatch: Any) -> None:
    """As if there were no rule: one row for the node, and what it reads is exact still."""
    monkeypatch.setattr(walk, "operator", Op)  # what is kept of operators knows their rules
    monkeypatch.delitem(rules.load(), op, raising=False)
    found = backend.load(case)
    report = assert_agrees(found.model, found.feeds)
    assert 1 <= len(report) <= len(found.model.graph.node[0].output)


def test_a_function_that_does_not_fit_is_left_aside(monkeypatch: Any) -> None:
    """An operator inside it has no rule: a bound of one row, that names the node."""
    monkeypatch.setattr(walk, "operator", Op)
    for name in ("MeanVarianceNormalization", "ReduceMean"):
        monkeypatch.delitem(rules.load(), name, raising=False)
    found = backend.load("node/test_mvn")
    report = assert_agrees(found.model, found.feeds, "bound")
    assert len(report) == 1
    assert {d.layer for d in report.diagnostics} == {report[0].name}
