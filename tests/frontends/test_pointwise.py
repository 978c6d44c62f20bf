"""Pointwise operators, lists of tensors, and what is drawn at random."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import eyeshot
from tests.frontends.agree import assert_agrees

SHAPE = (2, 3, 5)
ALL = (0, 1, 2)

POINTWISE = {
    **{
        name: getattr(F, name)
        for name in (
            "relu", "gelu", "silu", "hardtanh", "hardswish", "hardsigmoid", "leaky_relu", "elu", "softplus",
            "mish", "celu", "selu", "tanhshrink", "logsigmoid", "relu6", "softsign",
        )
    },
    **{
        name: getattr(torch, name)
        for name in (
            "sigmoid", "tanh", "neg", "exp", "abs", "erf", "sin", "cos", "reciprocal", "floor", "square",
            "nan_to_num",
        )
    },
    "pow": lambda x: x.abs() ** 1.5,
    "clamp": lambda x: x.clamp(-0.5, 0.5) + x.clamp_min(0),
    "add": lambda x: torch.add(x, x[:, :1], alpha=2),
    "sub-integer": lambda x: x - torch.arange(5),
    "mul-wide": lambda x: x[:, :, :1] * x[:1, 0],
    "addcmul": lambda x: torch.addcmul(x, x[:, :1], x[:, 1:2]),
    "lerp": lambda x: torch.lerp(x, x.flip(2), x[:1, :1]),
    "rrelu": lambda x: F.rrelu(x),
    "dropout": lambda x: F.dropout(x, 0.5, training=False),
    "floor_divide": lambda x: torch.floor_divide(x, x[:, :1]),
    "lift": lambda x: torch.ops.aten.lift_fresh(x) + torch.ops.aten.lift(x),
    "pinned": lambda x: x.to(torch.float32, copy=True),
    "resolve": lambda x: x.resolve_conj().resolve_neg().contiguous(),
    "foreach": lambda x: torch._foreach_add([x[0], x[1].flip(1)], [x[1], x[1]])[1],
    "foreach-lone": lambda x: torch._foreach_mul([x[0], x[1]], x[0, 0, 0])[1],
    "foreach-norm": lambda x: torch.stack(torch._foreach_norm([x[0], x[1, :1]])),
    "foreach-max": lambda x: torch.stack(torch._foreach_norm([x[0], x[1, :1]], float("inf"))),
}  # fmt: skip


@pytest.mark.parametrize("f", POINTWISE.values(), ids=POINTWISE)
def test_pointwise(f):
    assert_agrees(f, SHAPE, axes=ALL)


def filled(act):
    """A copy of ``x`` written to by ``act``, beside another element of x."""

    def f(x):
        y = x.clone()
        act(y, x)
        return y + x.flip(2)

    return f


FORGETTING = {
    "foreach_zero": filled(lambda y, x: torch._foreach_zero_([y])),
    "bernoulli": filled(lambda y, x: y.bernoulli_(0.5)),
    "normal": filled(lambda y, x: y.normal_()),
    "uniform": filled(lambda y, x: y.uniform_()),
    "exponential": filled(lambda y, x: y.exponential_()),
    "geometric": filled(lambda y, x: y.geometric_(0.5)),
    "log_normal": filled(lambda y, x: y.log_normal_()),
    "cauchy": filled(lambda y, x: y.cauchy_()),
    "random": filled(lambda y, x: y.random_()),
    "rand_like": lambda x: torch.rand_like(x) + x.flip(2),
    "randn_like": lambda x: torch.randn_like(x) * x.flip(2),
    "randint_like": lambda x: torch.randint_like(x, 5) + x.flip(2),
    "new_empty_strided": lambda x: x.new_empty_strided((2, 3, 5), (15, 5, 1)).zero_() + x.flip(2),
}
READING = {
    "foreach_copy": (
        filled(lambda y, x: torch._foreach_copy_([y], [x.roll(1, 2)])),
        lambda x: x.roll(1, 2) + x.flip(2),
    ),
    "bernoulli": (
        filled(lambda y, x: y.bernoulli_(x.roll(1, 2).sigmoid())),
        lambda x: x.roll(1, 2) + x.flip(2),
    ),
    "bernoulli-new": (lambda x: x.flip(2).sigmoid().bernoulli(), lambda x: x.flip(2)),
    "normal-mean": (lambda x: torch.normal(x.flip(2), 1.0), lambda x: x.flip(2)),
    "normal-deviation": (lambda x: torch.normal(0.0, x.abs()), lambda x: x * 1),
    "normal": (lambda x: torch.normal(x, x.flip(2).abs()), lambda x: x + x.flip(2)),
    "native_dropout": (
        lambda x: torch.native_dropout(x.flip(2), 0.5, True)[0],
        lambda x: x.flip(2),
    ),
    "dropout": (lambda x: F.dropout(x.flip(2), 0.5, training=True), lambda x: x.flip(2)),
    "rrelu": (lambda x: F.rrelu(x.flip(2), training=True), lambda x: x.flip(2)),
}


CASES = [
    *((name, f, lambda x: x.flip(2)) for name, f in FORGETTING.items()),
    *((f"{name}-read", *pair) for name, pair in READING.items()),
]


@pytest.mark.parametrize("f, reference", [case[1:] for case in CASES], ids=[c[0] for c in CASES])
def test_what_is_drawn_or_overwritten(f, reference):
    """Numbers drawn anew read nothing but the parameters of their distribution."""
    x = torch.randn(SHAPE, dtype=torch.float64)
    layer = eyeshot.analyze(f, args=(x,), axes=ALL).outputs[0]
    expected = assert_agrees(reference, SHAPE, axes=ALL).outputs[0]
    assert layer.status == "exact"
    np.testing.assert_array_equal(layer.boxes(), expected.boxes())
