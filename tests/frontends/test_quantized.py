"""Quantised modules, traced on data on the CPU, against what a change of the input changes."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import eyeshot
from tests.frontends.agree import assert_agrees

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.skipif("x86" not in torch.backends.quantized.supported_engines, reason="no engine"),
]


@pytest.fixture(autouse=True)
def engine() -> Any:
    """A backend that packs every kind of convolution."""
    before = torch.backends.quantized.engine
    yield
    torch.backends.quantized.engine = before


def _quantised(x: Tensor) -> Tensor:
    return torch.quantize_per_tensor(x.float(), 0.05, 64, torch.quint8)


def _weight(*shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    w = torch.rand(*shape, generator=generator) * 0.1 + 0.05
    return torch.quantize_per_tensor(w, 0.005, 0, torch.qint8)


def _input(*shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(*shape, dtype=torch.float64, generator=generator) * 2 - 1


def _through(operator: Callable[..., Tensor], *args: Any) -> Callable[[Tensor], Tensor]:
    return lambda x: operator(_quantised(x), *args).dequantize()


def _finite(x: Tensor) -> Tensor:
    """In single precision; minimum and maximum of the rest are refused by PyTorch."""
    return x.float().nan_to_num(1e3)


Q = torch.ops.quantized
OUT = (0.02, 64)  # scale and zero point

CONVOLUTIONS = [
    (1, (4, 1, 3), [2], [1], [2], 2, (1, 2, 11)),
    (2, (4, 2, 3, 2), [2, 1], [0, 1], [1, 2], 1, (1, 2, 7, 6)),
    (2, (4, 1, 3, 3), [1, 1], [1, 1], [1, 1], 4, (1, 4, 5, 6)),
    (3, (2, 2, 1, 3, 2), [1, 2, 1], [0, 1, 0], [1, 1, 1], 1, (1, 2, 2, 5, 4)),
]


@pytest.mark.parametrize("end", ("", "_relu"))
@pytest.mark.parametrize(
    ("axes", "kernel", "stride", "padding", "dilation", "groups", "shape"), CONVOLUTIONS
)
def test_convolution(
    axes: int,
    kernel: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: int,
    shape: Any,
    end: str,
) -> None:
    packed = getattr(Q, f"conv{axes}d_prepack")(
        _weight(*kernel), None, stride, padding, dilation, groups
    )
    operator = getattr(Q, f"conv{axes}d{end}")
    operator = getattr(operator, "new", operator.default)
    report = assert_agrees(_through(operator, packed, *OUT), inputs=[_input(*shape)])
    assert "real-run" in {found.code for found in report.diagnostics}


@pytest.mark.parametrize("axes", (1, 2))
def test_transposed_convolution(axes: int) -> None:
    kernel, shape = ((2, 3, 3), (1, 2, 5)) if axes == 1 else ((2, 3, 3, 2), (1, 2, 4, 3))
    stride, ones = [2, 3][:axes], [1] * axes
    pack = getattr(Q, f"conv_transpose{axes}d_prepack")
    torch.backends.quantized.engine = "qnnpack" if axes == 1 else "fbgemm"
    packed = pack(_weight(*kernel), None, stride, ones, ones, ones, 1)
    operator = getattr(Q, f"conv_transpose{axes}d")
    assert_agrees(_through(operator, packed, *OUT), inputs=[_input(*shape)])


def test_linear() -> None:
    packed = Q.linear_prepack(_weight(5, 4), None)
    x = _input(2, 3, 4)
    for name in ("linear", "linear_relu"):
        assert_agrees(_through(getattr(Q, name), packed, *OUT), inputs=[x], axes=(0, 1, 2))


def test_dynamic_linear_reads_everything_for_its_scale() -> None:
    packed = Q.linear_prepack(_weight(5, 4), None)
    x = _input(2, 3, 4)
    assert_agrees(lambda x: Q.linear_dynamic(_finite(x), packed), inputs=[x], axes=(0, 1, 2))


POINTWISE: list[tuple[str, Callable[[Tensor], Tensor]]] = [
    ("add", lambda q: Q.add(q, q, 0.1, 64)),
    ("add_relu", lambda q: Q.add_relu(q, q, 0.1, 0)),
    ("add_scalar", lambda q: Q.add(q, 0.5)),
    ("mul", lambda q: Q.mul(q, q, 0.1, 0)),
    ("hardswish", lambda q: Q.hardswish(q, 0.05, 64)),
    ("leaky_relu", lambda q: Q.leaky_relu(q, 0.1, False, 0.05, 64)),
    ("sigmoid", lambda q: Q.sigmoid(q, 1 / 256, 0)),
    ("elu", lambda q: Q.elu(q, 0.05, 64)),
    ("celu", lambda q: Q.celu(q, 0.05, 64)),
    ("clamp", lambda q: Q.clamp(q, -0.5, 0.5)),
    ("batch_norm2d", lambda q: Q.batch_norm2d(q, *[torch.full((2,), 0.5)] * 4, 1e-5, 0.05, 64)),
    ("cat", lambda q: Q.cat([q, q], 1, 0.05, 64)),
    ("max_pool2d", lambda q: Q.max_pool2d(q, [3, 2], [2, 1], [1, 0], [1, 1], False)),
    ("quantized_max_pool1d", lambda q: torch.quantized_max_pool1d(q[:, :, 0], 3, 2, 1)),
    ("softmax", lambda q: Q.softmax(q, 3, 1 / 256, 0)),
    ("int_repr", lambda q: q.int_repr().float()),
    ("mul_relu", lambda q: Q.mul_relu(q, q, 0.1, 0)),
    ("mul_scalar", lambda q: Q.mul(q, 0.5)),
    ("mul_scalar_relu", lambda q: Q.mul_relu(q, 0.5)),
    ("add_scalar_relu", lambda q: Q.add_relu(q, 0.5)),
    ("add_out", lambda q: Q.add(q, q, torch.empty_like(q))),
    ("relu6", lambda q: Q.relu6(q, False)),
    ("threshold", lambda q: Q.threshold(q, 0.1, 0.0)),
    ("dropout", lambda q: Q.dropout(q, 0.05, 64)),
    ("batch_norm", lambda q: Q.batch_norm(q, *[torch.full((2,), 0.5)] * 4, 1e-5, 0.05, 64)),
    ("layer_norm", lambda q: Q.layer_norm(q, [5], torch.ones(5), torch.ones(5), 1e-5, 0.05, 64)),
    ("group_norm", lambda q: Q.group_norm(q, 2, torch.ones(2), torch.ones(2), 1e-5, 0.05, 64)),
    ("instance_norm", lambda q: Q.instance_norm(q, torch.ones(2), torch.ones(2), 1e-5, 0.05, 64)),
    ("cat_relu", lambda q: Q.cat_relu([q, q], 1, 0.05, 64)),
    ("max_pool1d", lambda q: Q.max_pool1d(q[:, :, 0], [3], [2], [1], [1], False)),
    ("prelu", lambda q: Q.prelu(q, _quantised(torch.full((2,), 0.25)), 0.05, 64)),
    ("matmul", lambda q: Q.matmul(q, q.permute(0, 1, 3, 2).contiguous(), 0.1, 64)),
    (
        "quantized_batch_norm",
        lambda q: torch.quantized_batch_norm(q, *[torch.full((2,), 0.5)] * 4, 1e-5, 0.05, 64),
    ),
    ("pool", lambda q: torch.nn.functional.adaptive_avg_pool2d(q, (2, 3))),
    ("upsample", lambda q: torch.nn.functional.interpolate(q, scale_factor=2.0)),
]


@pytest.mark.parametrize(("name", "function"), POINTWISE, ids=[name for name, _ in POINTWISE])
def test_operator(name: str, function: Callable[[Tensor], Tensor]) -> None:
    def whole(x: Tensor) -> Tensor:
        y = function(_quantised(x))
        return y.dequantize() if y.is_quantized else y

    assert_agrees(whole, inputs=[_input(1, 2, 6, 5)])


def test_per_channel_and_lists() -> None:
    scales, points = torch.tensor([0.05, 0.1]), torch.tensor([64, 32])
    x = _input(1, 2, 5)
    assert_agrees(
        lambda x: torch.quantize_per_channel(
            x.float(), scales, points, 1, torch.quint8
        ).dequantize(),
        inputs=[x],
    )
    assert_agrees(
        lambda x: torch.dequantize(
            torch.quantize_per_tensor([x.float(), x.float().flip(2)], scales, points, torch.quint8)
        )[1],
        inputs=[x],
    )
    dynamic = torch.quantize_per_tensor_dynamic
    assert_agrees(lambda x: dynamic(_finite(x), torch.quint8, False).dequantize(), inputs=[x])


def test_dynamic_convolution_reads_everything_for_its_scale() -> None:
    ones = [1, 1]
    packed = Q.conv2d_prepack(_weight(3, 2, 3, 3), None, ones, ones, ones, 1)
    x = _input(1, 2, 5, 4)
    assert_agrees(lambda x: Q.conv2d_dynamic(_finite(x), packed), inputs=[x])


def test_convolution_and_addition() -> None:
    ones = [1, 1]
    packed = Q.conv2d_prepack(_weight(2, 2, 3, 3), None, ones, ones, ones, 1)

    def added(x: Tensor) -> Tensor:
        q = _quantised(x)
        return Q.conv2d_add(q, q, packed, *OUT).dequantize()

    torch.backends.quantized.engine = "onednn"
    assert_agrees(added, inputs=[_input(1, 2, 5, 4)])


def test_linear_with_an_activation() -> None:
    x = _input(2, 3, 4)
    torch.backends.quantized.engine = "onednn"
    packed = Q.linear_prepack(_weight(5, 4), None)
    leaky = _through(lambda q, w, s, p: Q.linear_leaky_relu(q, w, s, p, 0.1), packed, *OUT)
    assert_agrees(leaky, inputs=[x], axes=(0, 1, 2))
    assert_agrees(_through(Q.linear_tanh, packed, *OUT), inputs=[x], axes=(0, 1, 2))


def test_embedding_in_bytes() -> None:
    scales, zeros = torch.full((30,), 0.01), torch.zeros(30)
    rows = torch.quantize_per_channel(torch.rand(30, 4), scales, zeros, 0, torch.quint8)
    packed = Q.embedding_bag_prepack(rows)
    assert_agrees(lambda t: Q.embedding_byte(packed, t), inputs=[torch.arange(1, 6)], axes=0)


# --- fake quantisation: on the meta device


def test_fake_quantisation() -> None:
    x, scales, points = (
        _input(1, 2, 5),
        torch.tensor([0.05, 0.1]),
        torch.tensor([3, 2], dtype=torch.int32),
    )
    one, zero = scales[:1], points[:1]
    cases = [
        lambda x: torch.fake_quantize_per_tensor_affine(x.float(), 0.05, 3, -128, 127),
        lambda x: torch.fake_quantize_per_tensor_affine(x.float(), one, zero, -128, 127),
        lambda x: torch.fake_quantize_per_channel_affine(x.float(), scales, points, 1, -128, 127),
        lambda x: torch._fake_quantize_learnable_per_tensor_affine(
            x.float(), one, zero.float(), -128, 127, 1.0
        ),
        lambda x: torch._fake_quantize_learnable_per_channel_affine(
            x.float(), scales, points.float(), 1, -128, 127, 1.0
        ),
    ]
    for function in cases:
        assert_agrees(function, inputs=[x])


def test_a_scale_that_the_input_makes() -> None:
    point = torch.zeros(1, dtype=torch.int32)

    def scaled(x: Tensor) -> Tensor:
        scale = x.float().abs().amax().reshape(1) / 127 + 1e-3
        return torch.fake_quantize_per_tensor_affine(x.float(), scale, point, -128, 127)

    assert_agrees(scaled, inputs=[_input(1, 2, 5)])


@pytest.mark.parametrize("observing", (0, 1))
@pytest.mark.parametrize("rows", (False, True))
@pytest.mark.parametrize("quantising", (0, 1))
def test_observer(observing: int, rows: bool, quantising: int) -> None:
    """An observer that is on makes the scale from all it sees (of the row), before it is used."""
    count = 3 if rows else 1

    def observed(x: Tensor) -> Tensor:
        low, high = torch.full((count,), float("inf")), torch.full((count,), float("-inf"))
        return torch.fused_moving_avg_obs_fake_quant(
            _finite(x), torch.tensor([observing]), torch.tensor([quantising]), low, high,
            torch.full((count,), 0.01), torch.zeros(count, dtype=torch.int32), 0.5, -128, 127, 0, rows, False,
        )  # fmt: skip

    report = assert_agrees(observed, inputs=[_input(3, 2, 4)], axes=(0, 2))
    assert (len(report.outputs[0].unit_dims) > 0) or observing


def test_an_observer_keeps_what_it_saw() -> None:
    """The second call reads what the first one saw."""

    def twice(x: Tensor, y: Tensor) -> Tensor:
        low, high = torch.full((1,), float("inf")), torch.full((1,), float("-inf"))
        state = (low, high, torch.ones(1), torch.zeros(1, dtype=torch.int32))
        on = torch.ones(1, dtype=torch.int64)
        torch.fused_moving_avg_obs_fake_quant(
            _finite(x), on, on, *state, 0.5, -128, 127, 0, False, False
        )
        return torch.fused_moving_avg_obs_fake_quant(
            _finite(y), on, on, *state, 0.5, -128, 127, 0, False, False
        )

    assert_agrees(twice, inputs=[_input(1, 2, 4), _input(1, 2, 3)])


# --- whole models


def test_quantised_resnet_has_the_fields_of_resnet() -> None:
    models = pytest.importorskip("torchvision.models")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        net = models.quantization.resnet18(weights=None, quantize=True)
    report = eyeshot.analyze(net, input=(1, 3, 64, 64))
    plain = eyeshot.analyze(models.resnet18(weights=None), input=(1, 3, 64, 64))
    assert report.outputs[0].status == "exact"

    def fields(found: eyeshot.Report) -> dict[str, Any]:
        return {
            layer.name: [(field.size, field.jump) for field in layer.fields]
            for layer in found.layers
            if layer.name.endswith("conv2") or layer.name == "conv1"
        }

    assert fields(report) == fields(plain)
    assert len(fields(report)) == 9
