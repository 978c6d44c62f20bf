"""Attention in all its variants.

Kernels hide or smear a NaN: the CPU's flash kernel drops one in a query, the plain one multiplies masked
values by zero. So the reference is written out here: a loop over queries and the keys that each may look at.
"""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import eyeshot
from tests.frontends.agree import assert_agrees
from tests.oracles import poison

sdpa = F.scaled_dot_product_attention


def reference(q, k, v, mask=None, causal=False):
    """Unit (…, i, f): a weighted sum over the keys that query i may look at."""
    heads = max(t.shape[-3] if t.ndim > 2 else 1 for t in (q, k, v))
    if q.ndim > 2:
        k, v = (t.repeat_interleave(heads // t.shape[-3], -3) for t in (k, v))
    rows = []
    for i in range(q.shape[-2]):
        seen = min(i + 1, k.shape[-2]) if causal else k.shape[-2]
        # Far from saturation, so that every read shows as a change.
        score = (q[..., i : i + 1, :] * k[..., :seen, :]).sum(-1) * 1e-6
        if mask is not None:
            score = score + 1e-6 * mask[..., min(i, mask.shape[-2] - 1), :seen]
        rows.append((score.sigmoid()[..., None] * v[..., :seen, :]).sum(-2))
    return torch.stack(rows, -2)


def assert_reads(f, expected, *shapes, status="exact"):
    """The hulls of ``f`` over all dims of all inputs equal those of a poisoned reference."""
    torch.manual_seed(0)
    inputs = [torch.randn(*shape, dtype=torch.float64) for shape in shapes]
    axes = {n: tuple(range(len(s))) for n, s in zip(("q", "k", "v", "mask"), shapes, strict=False)}
    report = eyeshot.analyze(f, args=inputs, axes=axes)
    layer = report.outputs[0]
    assert layer.status == status, report.diagnostics
    names = [source["name"] for source in report.inputs]
    ours = layer.boxes()
    for k, field in enumerate(layer.fields):
        read = poison.reads(expected, inputs, names.index(field.input), field.axis)
        assert read.shape[1:] == layer.shape
        real = poison.hulls(read, layer.unit_dims)
        np.testing.assert_array_equal(ours[..., k, :], real, err_msg=f"{field.input} {field.axis}")
    return report


Q, K, V = (2, 4, 5, 3), (2, 4, 6, 3), (2, 4, 6, 2)

CASES = {
    "plain": (lambda q, k, v: sdpa(q, k, v), reference, Q, K, V),
    "rank-2": (lambda q, k, v: sdpa(q, k, v), reference, Q[2:], K[2:], V[2:]),
    "rank-3": (
        lambda q, k, v: sdpa(query=q, key=k, value=v, scale=0.3),
        reference,
        Q[1:],
        K[1:],
        V[1:],
    ),
    "broadcast": (lambda q, k, v: sdpa(q, k, v), reference, Q, (1, 4, 6, 3), (2, 1, 6, 2)),
    "causal": (
        lambda q, k, v: sdpa(q, k, v, is_causal=True),
        lambda q, k, v: reference(q, k, v, causal=True),
        Q,
        (2, 4, 5, 3),
        (2, 4, 5, 2),
    ),
    "causal-more-keys": (
        lambda q, k, v: sdpa(q, k, v, is_causal=True),
        lambda q, k, v: reference(q, k, v, causal=True),
        Q,
        K,
        V,
    ),
    "causal-fewer-keys": (
        lambda q, k, v: sdpa(q, k, v, is_causal=True),
        lambda q, k, v: reference(q, k, v, causal=True),
        Q,
        (2, 4, 3, 3),
        (2, 4, 3, 2),
    ),
    "mask-known": (
        lambda q, k, v: sdpa(q, k, v, torch.ones(5, 6, dtype=torch.bool).tril()),
        reference,
        Q,
        K,
        V,
    ),
    "mask-dependent": (
        lambda q, k, v, mask: sdpa(q, k, v, mask),
        reference,
        Q,
        K,
        V,
        (2, 1, 5, 6),
    ),
    "mask-of-keys": (
        lambda q, k, v, mask: sdpa(q, k, v, attn_mask=mask),
        reference,
        Q,
        K,
        V,
        (1, 6),
    ),
    "mask-bool-dependent": (
        lambda q, k, v, mask: sdpa(q, k, v, mask > 0),
        reference,
        Q,
        K,
        V,
        (5, 6),
    ),
    "shared-heads": (
        lambda q, k, v: sdpa(q, k, v, enable_gqa=True),
        reference,
        Q,
        (2, 2, 6, 3),
        (2, 2, 6, 2),
    ),
    "shared-heads-causal": (
        lambda q, k, v: sdpa(q, k, v, is_causal=True, enable_gqa=True),
        lambda q, k, v: reference(q, k, v, causal=True),
        Q,
        (2, 2, 6, 3),
        (2, 1, 6, 2),
    ),
    "dropout": (lambda q, k, v: sdpa(q, k, v, dropout_p=0.5), reference, Q, K, V),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_the_function(case):
    assert_reads(*case)


def test_keys_without_a_dependent_query():
    fixed = torch.ones(1, 1, 4, 3, dtype=torch.float64)
    for f in (
        lambda q: sdpa(fixed, q, q),
        lambda q: sdpa(q, fixed, fixed),
        lambda q: sdpa(fixed, fixed, q),
    ):
        report = assert_agrees(f, (1, 2, 4, 3), axes=(1, 2, 3))
        assert [layer.op for layer in report] == ["scaled_dot_product_attention"]


KERNELS = {
    "cpu": lambda q, k, v: torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
        q, k, v, 0.0, False
    )[0],
    "cpu-causal": lambda q, k, v: torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
        q, k, v, 0.0, True
    )[0],
    "math": lambda q, k, v: torch.ops.aten._scaled_dot_product_attention_math(
        q, k, v, None, 0.0, False
    )[0],
    "flash": lambda q, k, v: torch.ops.aten._scaled_dot_product_flash_attention(q, k, v, 0.0, True)[
        0
    ],
    "efficient": lambda q, k, v: torch.ops.aten._scaled_dot_product_efficient_attention(
        q, k, v, None, False, 0.0, True
    )[0],
    "efficient-all": lambda q, k, v: torch.ops.aten._scaled_dot_product_efficient_attention(
        q, k, v, None, True
    )[0],
    "cudnn": lambda q, k, v: torch.ops.aten._scaled_dot_product_cudnn_attention(
        q, k, v, None, True, 0.0, True
    )[0],
    "fused": lambda q, k, v: torch.ops.aten._scaled_dot_product_fused_attention_overrideable(
        q, k, v, None, 0.0, True
    )[0],
}


@pytest.mark.parametrize("name", KERNELS)
def test_kernels(name):
    causal = name not in ("cpu", "math", "efficient-all")
    shapes = ((2, 4, 5, 8),) * 3
    assert_reads(KERNELS[name], lambda q, k, v: reference(q, k, v, causal=causal), *shapes)


@pytest.mark.parametrize(
    "shapes",
    [((2, 4, 5, 3), (2, 4, 6, 4), (2, 4, 6, 4)), ((5,), (5,), (5,))],
)
def test_shapes_that_do_not_fit_raise_pytorchs_error(shapes):
    with pytest.raises(eyeshot.EyeshotError, match="the module raised"):
        eyeshot.analyze(sdpa, args=[torch.randn(s) for s in shapes], axes=0)


def test_a_mask_beside_the_causal_flag_is_pytorchs_error():
    with pytest.raises(eyeshot.EyeshotError, match="attn_mask"):
        eyeshot.analyze(
            lambda q: sdpa(q, q, q, torch.ones(5, 5), is_causal=True), input=(1, 2, 5, 3)
        )


# --- modules


class Self(nn.Module):
    """Self-attention, one of its two outputs."""

    def __init__(self, pick=0, mask=None, call=None, **options):
        super().__init__()
        torch.manual_seed(0)
        self.attention = nn.MultiheadAttention(8, 2, **options)
        self.pick, self.mask, self.call = pick, mask, call or {}

    def forward(self, x):
        return self.attention(x, x, x, attn_mask=self.mask, **self.call)[self.pick]


MASK = (
    torch.zeros(5, 5)
    .masked_fill(torch.ones(5, 5, dtype=torch.bool).triu(1), float("-inf"))
    .double()
)
EVERYTHING = {
    "plain": {},
    "batch_first": {"batch_first": True},
    "no-weights": {"call": {"need_weights": False}},
    "no-weights-batch_first": {"call": {"need_weights": False}, "batch_first": True},
    "weights": {"pick": 1, "batch_first": True},
    "weights-each": {"pick": 1, "call": {"average_attn_weights": False}},
    "bias_kv": {"add_bias_kv": True},
    "zero": {"add_zero_attn": True, "batch_first": True},
    "no-bias": {"bias": False, "batch_first": True},
    "padding": {
        "call": {"key_padding_mask": torch.zeros(2, 5, dtype=torch.bool)},
        "batch_first": True,
    },
}


@pytest.mark.parametrize("options", EVERYTHING.values(), ids=EVERYTHING)
def test_multihead_attention(options):
    shape = (2, 5, 8) if options.get("batch_first") else (5, 2, 8)
    net = Self(**options)
    before = set(net.state_dict()), dict(net.attention.__dict__)
    assert_agrees(net, shape, axes=(0, 1, 2))
    assert before[0] == set(net.state_dict()) and before[1].keys() == net.attention.__dict__.keys()


def all_tokens(x):
    """Every token and feature of the same sample (batch first)."""
    return x.sum((1, 2), keepdim=True) + 0 * x.detach().nan_to_num(0, 0, 0)


def up_to(x):
    return x.sum(2, keepdim=True).cumsum(1) + 0 * x.detach().nan_to_num(0, 0, 0)


def test_masks_of_multihead_attention():
    """A mask hides no read. With the causal flag and no weights to return, it gives way to the kernel's own."""
    causal = {"is_causal": True, "need_weights": False}
    for training in (False, True):
        assert_same(Self(mask=MASK, batch_first=True), all_tokens, (2, 5, 8), training)
        assert_same(Self(mask=MASK, call=causal, batch_first=True), up_to, (2, 5, 8), training)


def assert_same(net, expected, shape, training=False):
    """The report of a network equals the poisoned reference."""
    torch.manual_seed(0)
    x = torch.randn(shape, dtype=torch.float64)
    net = net.double().train(training)
    layer = eyeshot.analyze(net, args=(x,), axes=(0, 1, 2), training=training).outputs[0]
    assert layer.status == "exact"
    for axis in (0, 1, 2):
        read = poison.reads(expected, [x], 0, axis)
        np.testing.assert_array_equal(
            layer.boxes()[..., axis, :], poison.hulls(read, layer.unit_dims)
        )


class Cross(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.attention = nn.MultiheadAttention(8, 2, kdim=6, vdim=4, batch_first=True)

    def forward(self, q, k, v):
        return self.attention(q, k, v)[0]


def test_cross_attention():
    every = dict.fromkeys("qkv", (0, 1, 2))
    assert_agrees(Cross(), (2, 3, 8), (2, 5, 6), (2, 5, 4), axes=every)


@pytest.mark.parametrize("norm_first", [False, True])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
@pytest.mark.parametrize("layers", [1, 2])
def test_transformer_encoders(norm_first, activation, layers):
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(
        8, 2, 12, norm_first=norm_first, activation=activation, batch_first=True
    )
    net = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
    assert_same(net, all_tokens, (2, 5, 8))
    for module in net.modules():
        assert not module._forward_hooks and not module._forward_pre_hooks and not module.training


def test_a_causal_transformer():
    torch.manual_seed(0)

    class Causal(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.TransformerEncoderLayer(8, 2, 12, batch_first=True)

        def forward(self, x):
            return self.layer(x, src_mask=MASK, is_causal=True)

    for training in (False, True):
        assert_same(Causal(), up_to, (2, 5, 8), training)


def test_a_decoder():
    torch.manual_seed(0)
    net = nn.TransformerDecoder(nn.TransformerDecoderLayer(8, 2, 12, batch_first=True), 2)

    class Decoded(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net

        def forward(self, q, k):
            return self.net(q, k)

    assert_agrees(Decoded(), (2, 3, 8), (2, 5, 8), axes={"q": (0, 1, 2), "k": (0, 1, 2)})


FAST = {
    "multihead": lambda q, k, v, w, b, o, p: torch.ops.aten._native_multi_head_attention(
        q, k, v, 8, 2, w, b, o, p
    )[0],
    "weights": lambda q, k, v, w, b, o, p: torch.ops.aten._native_multi_head_attention(
        q, k, v, 8, 2, w, b, o, p, None, True, False
    )[1],
}


@pytest.mark.parametrize("f", FAST.values(), ids=FAST)
def test_the_fast_path_of_multihead_attention(f):
    torch.manual_seed(0)
    w, b, o, p = (torch.randn(*s).double() * 0.1 for s in ((24, 8), (24,), (8, 8), (8,)))
    assert_agrees(lambda x: f(x, x, x, w, b, o, p), (2, 5, 8), axes=(0, 1, 2))
