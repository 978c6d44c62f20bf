"""Which dims are spatial: channels-last models have the fields of their channels-first twins."""

from __future__ import annotations

from typing import Any

import onnx
import pytest
from onnx import parser

import eyeshot
from eyeshot.frontends.onnx import build

HEAD = '<ir_version: 10, opset_import: ["" : 18, "com.microsoft" : 1, "local" : 1]>\n'
WEIGHTS = "float[3] m = {1, 2, 3}, float[1] one = {1}"
#: What all models come to: two windows of unlike sizes over (1, 3, 9, 8).
TAIL = """h = Conv<pads = [1, 1, 1, 1], strides = [2, 1]>(c, w)
  y = MaxPool<kernel_shape = [1, 2], strides = [1, 2]>(h) }"""
TWIN = f"g (float[1,3,9,8] x, float[4,3,3,3] w) => (float[1,4,n,k] y) {{ c = Identity(x) {TAIL}"


def model(text: str) -> onnx.ModelProto:
    proto = parser.parse_model(HEAD + text)
    _weights(proto)
    return proto


def _weights(proto: onnx.ModelProto) -> None:
    """Inputs called w are weights: their numbers don't matter."""
    for info in list(proto.graph.input):
        if info.name.startswith("w"):
            proto.graph.input.remove(info)
            dims = [d.dim_value for d in info.type.tensor_type.shape.dim]
            tensor = onnx.TensorProto(name=info.name, data_type=1, dims=dims)
            tensor.data_location = onnx.TensorProto.EXTERNAL
            proto.graph.initializer.append(tensor)


def fields(report: eyeshot.Report, name: str) -> Any:
    layer = report[name]
    return layer.size, layer.jump, layer.start, layer.padding


FRONTS = {
    "transposed first": ("float[1,9,8,3]", "c = Transpose<perm = [0, 3, 1, 2]>(x)", (1, 2)),
    "width first": ("float[1,8,9,3]", "c = Transpose<perm = [0, 3, 2, 1]>(x)", (1, 2)),
    "bytes": ("uint8[1,9,8,3]", """f = Cast<to = 1>(x) s = Sub(f, m) d = Div(s, m)
              c = Transpose<perm = [0, 3, 1, 2]>(d)""", (1, 2)),
    "the other operand": ("float[1,9,8,3]", "s = Sub(m, x) c = Transpose<perm = [0, 3, 1, 2]>(s)", (1, 2)),
    "no batch": ("float[9,8,3]", """t = Transpose<perm = [2, 0, 1]>(x) z = Constant<value_ints = [0]>()
                 c = Unsqueeze(t, z)""", (0, 1)),
    "reshaped": ("float[1,9,8,3]", """s = Constant<value_ints = [9, 8, 3]>() r = Reshape(x, s)
                 t = Transpose<perm = [2, 0, 1]>(r) u = Constant<value_ints = [1, 3, 9, 8]>()
                 c = Reshape(t, u)""", (1, 2)),
    "a function": ("float[1,9,8,3]", "c = local.front(x)", (1, 2)),
    "a branch": ("float[1,9,8,3]", """t = Constant<value_int = 1>() b = Cast<to = 9>(t)
                 c = If (b) <then_branch = p () => (float[1,3,9,8] u) { u = Transpose<perm = [0, 3, 1, 2]>(x) },
                             else_branch = q () => (float[1,9,8,3] v) { v = Neg(x) }>""", (1, 2)),
    "swapped in steps": ("float[1,9,8,3]", """a = Transpose<perm = [0, 1, 3, 2]>(x)
                         c = Transpose<perm = [0, 2, 1, 3]>(a)""", (1, 2)),
}  # fmt: skip


@pytest.mark.parametrize("front", FRONTS)
def test_channels_last(front: str) -> None:
    kind, nodes, axes = FRONTS[front]
    tail = (
        TAIL
        + """
    <domain: "local", opset_import: ["" : 18]>
    front (a) => (b) { c = Relu(a) b = Transpose<perm = [0, 3, 1, 2]>(c) }"""
    )
    text = f"g ({kind} x, float[4,3,3,3] w) => (float[1,4,n,k] y) <{WEIGHTS}> {{ {nodes} {tail}"
    report = eyeshot.analyze(model(text))
    twin = eyeshot.analyze(model(TWIN))
    assert report.inputs[0]["axes"] == list(axes)
    turn = [1, 0] if front == "width first" else [0, 1]
    for name in ("h", "y"):
        for mine, theirs in zip(fields(report, name), fields(twin, name), strict=True):
            assert mine == tuple(theirs[k] for k in turn), name
        assert (report[name].boxes()[..., turn, :] == twin[name].boxes()).all()


@pytest.mark.parametrize(
    ("op", "axes"),
    [
        ("com.microsoft.NhwcMaxPool<kernel_shape = [3, 3]>(x)", [1, 2]),
        ("MaxPool<kernel_shape = [3, 3]>(x)", [2, 3]),
        ("com.microsoft.QLinearGlobalAveragePool<channels_last = 1>(x, a, z, a, z)", [1, 2]),
        ("com.microsoft.QLinearGlobalAveragePool<channels_last = 0>(x, a, z, a, z)", [2, 3]),
        ("Identity(x)", [2, 3]),  # bytes of four dims are an image's
    ],
)
def test_operators_that_say(op: str, axes: list[int]) -> None:
    weights = "float a = {1}, uint8 z = {0}"
    text = f"g (uint8[1,9,8,7] x) => (uint8[1,n,m,k] y) <{weights}> {{ y = {op} }}"
    run = build(model(text))
    assert list(run.graph.prims[0].axes) == axes


def test_sound_without_channels() -> None:
    """(batch, samples), to which a channel comes."""
    text = """g (float[1,40] x, float[2,1,5] w) => (float[1,2,n] y) <int64[1] one = {1}> {
      u = Unsqueeze(x, one) y = Conv<strides = [3]>(u, w) }"""
    report = eyeshot.analyze(model(text))
    assert report.inputs[0]["axes"] == [1]
    assert report["y"].size == (5,) and report["y"].jump == (3,)


def test_several_inputs() -> None:
    """Each has its own; what reaches no window keeps the rule."""
    text = """g (float[1,9,8,3] a, float[1,3,9,8] b, int64[1,5] i, float[4,3,3,3] w)
      => (float[1,4,n,k] y, int64[1,5] j) {
      t = Transpose<perm = [0, 3, 1, 2]>(a) s = Add(t, b) y = Conv(s, w) j = Neg(i) }"""
    report = eyeshot.analyze(model(text))
    assert {i["name"]: i["axes"] for i in report.inputs} == {"a": [1, 2], "b": [2, 3], "i": [1]}


def test_what_is_asked_for_counts() -> None:
    text = """g (float[1,9,8,3] x, float[4,3,3,3] w) => (float[1,4,n,k] y) {
      t = Transpose<perm = [0, 3, 1, 2]>(x) y = Conv(t, w) }"""
    assert eyeshot.analyze(model(text), axes=(2, 3)).inputs[0]["axes"] == [2, 3]
    assert eyeshot.analyze(model(text)).inputs[0]["axes"] == [1, 2]


def test_a_generators_noise_has_no_space() -> None:
    """All of the noise goes into each pixel: its dims lead to none of the window's."""
    text = """g (float[1,6,7] x, float[240,6] w, float[3,4,3,3] w2) => (float[1,4,n,k] y)
      <int64[4] s = {1, 3, 4, 20}, int64[1] two = {2}> {
      t = ReduceSum(x, two) h = MatMul(w, t) r = Reshape(h, s) y = ConvTranspose(r, w2) }"""
    report = eyeshot.analyze(model(text), axes=None)
    assert report.inputs[0]["axes"] == [2]


def test_channels_that_cannot_be_told_from_axes() -> None:
    """Patches as one dim of channels and axes, taken apart again behind another view: the usual layout."""
    text = """g (float[1,3,8,8] x, float[4,3,3,3] w) => (float[m,4,n,k] y)
      <int64[6] a = {1, 3, 2, 4, 2, 4}, int64[3] b = {1, 48, 4}, int64[4] c = {4, 3, 4, 4}> {
      p = Reshape(x, a) q = Transpose<perm = [0, 1, 3, 5, 2, 4]>(p) r = Reshape(q, b)
      t = Transpose<perm = [0, 2, 1]>(r) u = Reshape(t, c) y = Conv(u, w) }"""
    assert eyeshot.analyze(model(text)).inputs[0]["axes"] == [2, 3]
