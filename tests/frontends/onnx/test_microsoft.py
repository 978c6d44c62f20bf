"""com.microsoft and its layouts: what eyeshot says against poisoning in onnxruntime itself."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
import onnx
import pytest

from eyeshot.errors import EyeshotError
from eyeshot.frontends.onnx.walk import Walker
from tests.frontends.onnx.agree import assert_agrees, bake, node_model, reported
from tests.frontends.onnx.ort import session

onnxruntime = pytest.importorskip("onnxruntime")

MS = "com.microsoft"


class Random:
    """An array of random numbers, made of its shape when a case runs."""

    def __init__(self, *shape: int, low: float = -1, high: float = 1, dtype: Any = np.float32):
        self.shape, self.low, self.high, self.dtype = shape, low, high, dtype

    def array(self, rng: np.random.Generator) -> np.ndarray:
        if np.dtype(self.dtype).kind in "iu":
            return rng.integers(int(self.low), int(self.high), self.shape, dtype=self.dtype)
        return rng.uniform(self.low, self.high, self.shape).astype(self.dtype)


R = Random


def ints(*shape: int, below: int) -> Random:
    return Random(*shape, low=0, high=below, dtype=np.int32)


def B8(*shape: int) -> Random:
    return Random(*shape, low=0, high=255, dtype=np.uint8)


def case(op: str, inputs: list[Any], fixed: dict[int, Any] | None = None, **more: Any) -> Any:
    """``fixed``: the inputs that are constants, by place."""
    return op, inputs, fixed or {}, more


def run_case(op: str, inputs: list[Any], fixed: dict[int, Any], more: dict[str, Any]) -> Any:
    rng = np.random.default_rng(zlib.crc32(op.encode()))
    made = [x.array(rng) if isinstance(x, Random) else x for x in inputs]
    constants = {k: x.array(rng) if isinstance(x, Random) else x for k, x in fixed.items()}
    more = dict(more)
    status, finite = more.pop("status", "exact"), more.pop("finite", False)
    watched, domain = more.pop("watched", None), more.pop("domain", MS)
    model, feeds = node_model(op, *made, constants=constants, domain=domain, opset=17, **more)
    return assert_agrees(model, feeds, status=status, run=session(model, finite), outputs=watched)


CASES = [
    case("Gelu", [R(2, 3)]),
    case("QuickGelu", [R(2, 3)], alpha=1.5),
    case("BiasGelu", [R(2, 3, 4), R(4)]),
    case("FastGelu", [R(2, 3, 4), R(4)]),
    case("FastGelu", [R(2, 3)]),
    case("ScaledSiLU", [R(2, 3)]),
    case("GatedAdd", [R(2, 3), R(2, 3), R(2, 1)]),
    case("LinearAttentionGate", [R(1, 3, 4), R(4), R(4), R(1, 3, 4)], outputs=2),
    # Convolutions.
    case("FusedConv", [R(1, 4, 7, 6)], {1: R(6, 2, 3, 3), 2: R(6)}, activation="Relu", group=2,
         strides=[2, 1], pads=[1, 0, 1, 1]),
    case("FusedConv", [R(1, 3, 6, 6), R(1, 4, 6, 6)], {1: R(4, 3, 3, 3), 2: R(4)},
         activation="Relu", auto_pad="SAME_UPPER"),
    case("NhwcMaxPool", [R(1, 7, 6, 2, low=-100, high=100, dtype=np.int8)], kernel_shape=[3, 2], strides=[2, 2],
         pads=[1, 0, 1, 0]),
    case("ConvTransposeWithDynamicPads", [R(1, 2, 4, 3)], {1: R(2, 3, 3, 3), 2: np.array([1, 0, 1, 1])},
         strides=[2, 2]),
    case("MaxpoolWithMask", [R(1, 3, 5, 4, low=0)], {1: np.ones((1, 1, 5, 4), np.int32)}, kernel_shape=[2, 2],
         strides=[2, 1], pads=[0, 0, 0, 0]),
    # Products.
    case("FusedGemm", [R(3, 4), R(5, 4), R(5)], transB=1, activation="Relu"),
    case("FusedGemm", [R(4, 3)], {1: R(4, 5)}, transA=1, activation="LeakyRelu", activation_alpha=0.1),
    case("FusedMatMul", [R(2, 4, 3), R(2, 5, 4)], transA=1, transB=1, alpha=0.5),
    case("FusedMatMul", [R(2, 3, 4)], {1: R(4, 5)}, alpha=0.5),
    case("FusedMatMul", [R(4, 2, 3)], {1: R(2, 3, 5)}, transBatchA=1),
    case("FusedMatMul", [R(3, 2, 5), R(2, 5, 3)], transBatchA=1, transA=1, transB=1, transBatchB=0),
    case("FusedMatMul", [R(2, 4, 3), R(3, 2, 5)], transBatchB=1),
    case("FusedMatMul", [R(4), R(3, 4)], transA=1, transB=1),
    case("TransposeMatMul", [R(4, 3), R(4, 5)], transA=1),
    case("MatMulNBits", [R(2, 3, 32)], {1: R(4, 1, 16, low=0, high=255, dtype=np.uint8), 2: R(4),
         3: R(4, low=0, high=9, dtype=np.uint8)}, K=32, N=4, bits=4, block_size=32),
    case("CDist", [R(3, 4), R(5, 4)], metric="sqeuclidean"),
    case("Inverse", [R(2, 3, 3)]),
    # Windows along a dim.
    case("UnfoldTensor", [R(2, 7, 3)], dim=1, size=3, step=2),
    case("UnfoldTensor", [R(2, 7)], size=4),
    case("CausalConvWithState", [R(1, 3, 6)], {1: R(3, 1, 4), 2: R(3)}, outputs=2),
    case("CausalConvWithState", [R(1, 3, 2)], {1: R(3, 1, 4), 2: R(3)}, outputs=2),
    case("CausalConvWithState", [R(1, 3, 6), R(3, 1, 3), R(3), R(1, 3, 4)], outputs=2, dilation=2),
    case("CausalConvWithState", [R(1, 5, 3), R(1, 3, 3)], {1: R(3, 1, 4), 2: R(3)}, outputs=2, channels_last=1),
    # Norms.
    case("SkipLayerNormalization", [R(2, 3, 4), R(2, 3, 4), R(4), R(4), R(4)], outputs=4, watched=[0, 3]),
    case("SkipLayerNormalization", [R(2, 3, 4), R(3, 4)], {2: R(4)}),
    case("SkipLayerNormalization", [R(2, 3, 4), R(1, 3, 4)], {2: R(4), 3: R(4)}),
    case("SkipSimplifiedLayerNormalization", [R(2, 3, 4), R(2, 3, 4), R(4), R(4)], outputs=4, watched=[0, 3]),
    case("EmbedLayerNormalization", [ints(2, 3, below=9), ints(2, 3, below=2)],
         {2: R(9, 4), 3: R(5, 4), 4: R(2, 4), 5: R(4), 6: R(4)}, outputs=2, watched=[0]),
    case("EmbedLayerNormalization", [ints(2, 3, below=9), ints(2, 3, below=2), None, ints(2, 3, below=4)],
         {2: R(9, 4), 3: R(5, 4), 4: R(2, 4), 5: R(4), 6: R(4)}, outputs=3, watched=[0, 2]),
    case("EmbedLayerNormalization", [ints(2, 3, below=9), R(5, 4), R(4), R(4), ints(2, 3, below=2)],
         {2: R(9, 4), 1: np.zeros((2, 3), np.int32), 4: R(2, 4)}, outputs=2),
    case("QEmbedLayerNormalization", [ints(2, 3, below=9), ints(2, 3, below=2)],
         {2: B8(9, 4), 3: B8(5, 4), 4: B8(2, 4), 5: B8(4), 6: B8(4), 7: ints(2, 3, below=2),
          **{n: np.float32(0.1) for n in range(8, 13)}, **{n: np.uint8(9) for n in range(13, 18)}}, outputs=2,
          watched=[0]),
    case("SimplifiedLayerNormalization", [R(2, 3, 4), R(4)], domain=""),
    case("GridSample", [R(1, 2, 3, 3)], {1: R(1, 2, 4, 2)}, mode="nearest"),
    case("GatedRMSNorm", [R(1, 2, 6), R(3), R(1, 2, 6)]),
    case("BranchwiseRMSNorm", [R(1, 2, 6), R(3)], num_branches=2),
    case("BranchwiseRMSNorm", [R(2, 3, 4), R(12)]),
    # Others.
    case("Pad", [R(2, 4)], {1: np.array([0, 1, 1, 2])}),
    case("Pad", [R(2, 4)], {1: np.array([0, 1, 1, 2])}, mode="reflect"),
    case("Pad", [R(2, 4)], {1: np.array([0, 1, 1, 2])}, mode="wrap"),
    case("Trilu", [R(2, 4, 3)], {1: np.array(-1)}, upper=0),
    case("GatherND", [R(3, 4, 2)], {1: np.array([[0, 1], [2, 3]])}),
    case("ExpandDims", [R(2, 3)], {1: np.array(-1, np.int32)}),
    case("GatherBlockQuantized", [ints(2, 3, below=4)],
         {0: R(4, 16, low=0, high=255, dtype=np.uint8), 2: R(4, 1)}, bits=4, block_size=32,
         gather_axis=0, quantize_axis=1),
    case("EngramGate", [R(1, 2, 3, 4), R(1, 2, 3, 4), R(1, 2, 4), R(3, 4), R(3, 4), R(3, 4)], outputs=2),
    case("HyperConnectionPreMix", [R(1, 2, 3, 4), R(1, 2, 3)]),
    case("HyperConnectionPreMix", [R(1, 2, 12), R(1, 2, 12)], num_branches=3),
    case("HyperConnectionPostMix", [R(1, 2, 3, 4), R(1, 2, 4), R(1, 2, 3, 1), R(1, 2, 3, 3)]),
    case("HyperConnectionPostMix", [R(1, 2, 12), R(1, 2, 4), R(1, 2, 3, 4)], num_branches=3),
    case("LinearAttention", [R(1, 3, 4), R(1, 3, 4), R(1, 3, 6)], q_num_heads=2, kv_num_heads=2, outputs=2,
         update_rule="linear", finite=True),
    case("LinearAttention", [R(1, 3, 4), R(1, 3, 4), R(1, 3, 6), R(1, 2, 2, 3), R(1, 3, 2)], q_num_heads=2,
         kv_num_heads=2, outputs=2, update_rule="gated", finite=True),
    case("NGramRepeatBlock", [R(2, 5)], {0: np.array([[1, 2, 3, 4], [0, 1, 2, 3]])}, ngram_size=2),
    case("MurmurHash3", [ints(2, 3, below=99)]),
    case("MoE", [R(3, 4), R(3, 2)], {2: R(2, 4, 8), 3: R(2, 8), 4: R(2, 8, 4), 5: R(2, 4)}, k=2),
    case("CropAndResize", [R(1, 2, 5, 5)], {1: np.array([[0, 0, 1, 1], [0, 0, 0.5, 0.5]], np.float32),
         2: np.array([0, 0], np.int32), 3: np.array([3, 2], np.int32)}, status="bound"),
]  # fmt: skip

ATTENTION = [
    case("Attention", [R(2, 3, 4)], {1: R(4, 12), 2: R(12)}, num_heads=2),
    case("Attention", [R(2, 3, 4), R(4, 12), R(12)], num_heads=2, finite=True),
    case("Attention", [R(2, 3, 4)], {1: R(4, 12), 2: R(12)}, num_heads=2, unidirectional=1, finite=True),
    case("Attention", [R(1, 3, 5)], {1: R(5, 14), 2: R(14)}, num_heads=2, qkv_hidden_sizes=[4, 4, 6]),
    case("Attention", [R(2, 3, 4), R(2, 2, 2, 2, 2)],
         {1: R(4, 12), 2: R(12), 3: np.ones((2, 5), np.int32)}, num_heads=2, outputs=2),
    case("Attention", [R(2, 3, 4), R(2, 2, 2, 2, 2)],
         {1: R(4, 12), 2: R(12), 3: np.ones((2, 5), np.int32)}, num_heads=2, outputs=2, unidirectional=1,
         finite=True),
    case("Attention", [R(2, 3, 4), None, None, R(2, 2, 3, 3)], {1: R(4, 12), 2: R(12)}, num_heads=2),
    case("Attention", [R(2, 3, 4), np.ones((2, 3), np.int32)], {1: R(4, 12), 2: R(12)}, num_heads=2),
    case("Attention", [R(1, 3, 4), np.ones((1, 3, 3), np.int32)], {1: R(4, 12), 2: R(12)}, num_heads=2),
    case("Attention", [R(1, 2, 4), np.ones((1, 4), np.int32)], {1: R(4, 12), 2: R(12), 4: R(2, 1, 2, 2, 2)},
         num_heads=2, outputs=2, unidirectional=1, finite=True),
    case("MultiHeadAttention", [R(2, 3, 4), R(2, 5, 4), R(2, 5, 6)], num_heads=2),
    case("MultiHeadAttention", [R(2, 3, 4), R(2, 5, 4), R(2, 5, 6), R(14)], num_heads=2, finite=True),
    case("MultiHeadAttention", [R(2, 3, 4), R(2, 2, 5, 2), R(2, 2, 5, 2)], num_heads=2),
    # Only one key is seen by the first query: what its score is does not show.
    case("MultiHeadAttention", [R(1, 3, 4)], {0: R(1, 3, 4), 1: R(1, 3, 4)}, num_heads=2, unidirectional=1,
         finite=True),
    case("MultiHeadAttention", [R(1, 2, 4), R(1, 2, 4), R(1, 2, 4), None, None, None, R(1, 2, 3, 2),
         R(1, 2, 3, 2)],
         num_heads=2, outputs=3, unidirectional=1, finite=True),
    case("MultiHeadAttention", [R(1, 2, 4), R(1, 2, 4), R(1, 2, 4), None, None, R(1, 2, 2, 5), R(1, 2, 3, 2),
         R(1, 2, 3, 2)], num_heads=2, outputs=3),
    case("MultiHeadAttention", [R(1, 2, 4), R(1, 2, 4), R(1, 2, 4), None, None, R(1, 2, 2, 5), R(1, 2, 3, 2),
         R(1, 2, 3, 2)], num_heads=2, outputs=3, unidirectional=1, finite=True),
    case("QAttention", [R(2, 3, 4, low=0, high=255, dtype=np.uint8)],
         {1: R(4, 12, low=0, high=255, dtype=np.uint8), 2: R(12), 3: np.float32(0.02), 4: np.float32(0.02)},
         num_heads=2),
    case("GroupQueryAttention", [R(1, 4, 32), R(1, 4, 16), R(1, 4, 16), None, None],
         {5: np.array([3], np.int32), 6: np.array(4, np.int32)}, num_heads=4, kv_num_heads=2, outputs=3,
         finite=True, smooth_softmax=1),
    case("GroupQueryAttention", [R(1, 4, 32), R(1, 4, 16), R(1, 4, 16), None, None],
         {5: np.array([3], np.int32), 6: np.array(4, np.int32)}, num_heads=4, kv_num_heads=2, outputs=3,
         finite=True, smooth_softmax=1,
         local_window_size=2),
    case("GroupQueryAttention", [R(2, 1, 32), R(2, 1, 16), R(2, 1, 16), R(2, 2, 3, 8), R(2, 2, 3, 8)],
         {5: np.array([3, 3], np.int32), 6: np.array(4, np.int32)}, num_heads=4, kv_num_heads=2, outputs=3,
         finite=True, smooth_softmax=1),
    case("GroupQueryAttention", [R(1, 4, 32), R(1, 4, 16), R(1, 4, 16), R(1, 2, 6, 8), R(1, 2, 6, 8)],
         {5: np.array([3], np.int32), 6: np.array(4, np.int32)}, num_heads=4, kv_num_heads=2, outputs=3,
         finite=True, smooth_softmax=1, status="bound"),
    case("GroupQueryAttention", [R(1, 4, 64), None, None, None, None],
         {5: np.array([3], np.int32), 6: np.array(4, np.int32), 7: R(8, 8), 8: R(8, 8)},
         num_heads=2, kv_num_heads=1, outputs=3,
         finite=True, smooth_softmax=1, do_rotary=1),
    case("RotaryEmbedding", [R(2, 3, 8), R(2, 3, low=0, high=4, dtype=np.int64)], {2: R(5, 2), 3: R(5, 2)}),
    case("RotaryEmbedding", [R(2, 3, 8)], {1: np.array([0]), 2: R(5, 2), 3: R(5, 2)}, interleaved=1),
    case("RotaryEmbedding", [R(2, 2, 3, 6)], {1: np.array([1]), 2: R(5, 2), 3: R(5, 2)}, num_heads=2,
         rotary_embedding_dim=4),
    case("MRotaryEmbedding", [R(1, 3, 8)], {1: np.zeros((3, 1, 3), np.int64), 2: R(5, 2), 3: R(5, 2)},
         mrope_section=[1, 1, 0], num_heads=2),
    case("DecoderMaskedMultiHeadAttention", [R(2, 1, 4), R(2, 2, 5, 2), R(2, 2, 5, 2)], num_heads=2),
]  # fmt: skip
CASES += ATTENTION


@pytest.mark.parametrize("k", range(len(CASES)), ids=lambda k: f"{CASES[k][0]}-{k}")
def test_case(k: int) -> None:
    run_case(*CASES[k])


# --- operators without a kernel for the CPU, written down in NumPy


def softmax(x: np.ndarray, axes: Any) -> np.ndarray:
    e = np.exp(x - x.max(axes, keepdims=True))
    return e / e.sum(axes, keepdims=True)


def normal(x: np.ndarray, axes: Any) -> np.ndarray:
    return (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + 1)


def groups(x: np.ndarray, count: int) -> np.ndarray:
    """Normalised by groups of the last dim's channels."""
    n, channels = x.shape[0], x.shape[-1]
    split = x.reshape(n, -1, count, channels // count)
    return normal(split, (1, 3)).reshape(x.shape)


def conv(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Channels last, weights (out, height, width, in), no padding, steps of one."""
    height, width = w.shape[1:3]
    rows, columns = x.shape[1] - height + 1, x.shape[2] - width + 1
    return sum(
        x[:, i : i + rows, j : j + columns] @ w[:, i, j].T
        for i in range(height)
        for j in range(width)
    )


def attention(x: np.ndarray) -> np.ndarray:
    return softmax(x @ x.transpose(0, 2, 1), (2,)) @ x @ np.ones((4, 4))


def skip_group_norm(x: Any, gamma: Any, beta: Any, skip: Any, bias: Any) -> Any:
    whole = x + skip[:, None, None] + bias
    return groups(whole, 2) * gamma + beta, whole


def halves(x: Any, bias: Any) -> Any:
    a, b = np.split(x + bias, 2, -1)
    return a * np.tanh(b)


def position_bias(q: Any, rel: Any) -> Any:
    heads = np.tanh(q).reshape(1, 3, 2, 2).sum(-1).transpose(0, 2, 1)
    return heads[..., None] * rel


W = np.random.default_rng(5).uniform(0.1, 1, (4, 2, 3, 2)).astype(np.float32)
ONE = np.ones(1, np.float32)
WRITTEN = [
    case("BiasAdd", [R(2, 3, 4), R(4), R(2, 3, 4)], run=lambda x, b, s: x + b + s),
    case("BiasSplitGelu", [R(1, 2, 6), R(6)], run=halves),
    case("SwiGLU", [R(2, 6)], run=lambda x: x[:, :3] * np.tanh(x[:, 3:])),
    case("SwiGLU", [R(2, 3), R(2, 3)], run=lambda a, b: a * b),
    case("BiasSoftmax", [R(2, 2, 3), R(1, 2, 3)], axis=2, run=lambda x, b: softmax(x + b, (2,))),
    case("BiasSoftmax", [R(2, 2, 3), R(2, 1, 1)], axis=1, run=lambda x, b: softmax(x + b, (1, 2))),
    case("ComplexMul", [R(3, 2), R(1, 2)], run=lambda a, b: np.stack(
        [a[:, 0] * b[:, 0] - a[:, 1] * b[:, 1], a[:, 0] * b[:, 1] + a[:, 1] * b[:, 0]], -1)),
    case("GroupNorm", [R(2, 3, 2, 4), R(4), R(4)], groups=2, run=lambda x, g, b: groups(x, 2) * g + b),
    case("GroupNorm", [R(1, 4, 3, 2), R(4), R(4)], groups=2, channels_last=0, run=lambda x, g, b:
         (groups(x.transpose(0, 2, 3, 1), 2) * g + b).transpose(0, 3, 1, 2)),
    case("SkipGroupNorm", [R(2, 3, 2, 4), R(4), R(4), R(2, 4), R(4)], groups=2, outputs=2, run=skip_group_norm),
    case("NhwcConv", [R(1, 5, 6, 2)], {1: W}, run=lambda x: conv(x, W)),
    case("NhwcFusedConv", [R(1, 5, 6, 2), R(1, 4, 4, 4)], {1: W.transpose(0, 3, 1, 2), 2: R(4)},
         run=lambda x, z: conv(x, W) + z),
    case("MaxpoolWithMask", [R(1, 2, 3, 4), np.ones((1, 1, 3, 4), np.int32)], kernel_shape=[2, 2],
         run=lambda x, m: sum((x * m)[..., i : i + 2, j : j + 3] for i in (0, 1) for j in (0, 1))),
    case("GemmFastGelu", [R(2, 3), R(3, 4), R(4)], run=lambda a, b, c: a @ b + c),
    case("MatMulFpQ4", [R(2, 3)], {1: np.zeros(9, np.uint8), 2: np.array([3, 4])},
         run=lambda x: x @ np.ones((3, 4))),
    case("MatMulNBitsQkv", [R(2, 3), R(2, 3)],
         {2: R(3), 3: R(4), 4: R(4), 5: R(4), 6: R(2), 7: R(2), 8: R(2), 9: R(2)},
         outputs=4, Nq=4, Nkv=2, K=3, run=lambda a, s: [
             *(normal(a + s, (1,)) ** 2 @ np.ones((3, n)) for n in (4, 2, 2)), a + s]),
    case("GemmFloat8", [R(2, 3), R(4, 3), R(4), R(1), R(1), R(1)], transB=1,
         run=lambda a, b, c, p, q, r: (a @ b.T * p * q + c) * r),
    case("MatMulNBits", [R(2, 3), R(4, 1, 3), R(4), R(4), R(3), R(4)], N=4, K=3, run=lambda a, b, s, z, g, c:
         a @ np.ones((3, 4)) * (b.sum((1, 2)) * s - z) * g.sum() + c),
    case("NGramRepeatBlock", [ints(2, 4, below=9), R(2, 5)], ngram_size=2, run=lambda i, s: s + i.sum(1)[:,
          None]),
    case("WordConvEmbedding", [ints(3, 5, below=9)], {1: R(4, 1, 2, 6), 2: R(4), 3: R(9, 6)},
         run=lambda w: w.sum(1)[:, None] * np.ones(4)),
    case("Rfft", [R(2, 3, 8)], signal_ndim=1, onesided=1, run=lambda x: np.stack(
        [np.fft.rfft(x).real, np.fft.rfft(x).imag], -1)),
    case("Irfft", [R(2, 5, 2)], signal_ndim=1, onesided=1,
         run=lambda x: np.fft.irfft(x[..., 0] + 1j * x[..., 1], 8)),
    case("QOrderedMatMul", [R(2, 3), R(1), R(3, 4), R(4), R(1), R(4), R(2, 4), R(1)],
         run=lambda a, p, b, q, r, c, d, s: (a * p) @ (b * q) * r + c + d * s),
    case("QOrderedLayerNormalization", [R(2, 3), R(1), R(3), R(3), R(1)],
         run=lambda x, p, g, b, q: (normal(x * p, (1,)) * g + b) * q),
    case("QuantizeWithOrder", [R(2, 3), R(1)], run=lambda x, s: x * s),
    case("GatedRelativePositionBias", [R(1, 3, 4), R(1, 2, 3, 3), R(1, 2, 1, 1)],
         {1: R(4), 3: R(2, 4), 4: R(4)}, num_heads=2, run=lambda q, p, e: position_bias(q, p) * e),
    case("IsAllFinite", [R(3), R(2, 2)], run=lambda a, b: np.isfinite(a).all() & np.isfinite(b).all()),
    case("MulInteger", [ints(2, 3, below=9), ints(1, below=3), ints(3, below=9), ints(1, below=3)],
         run=lambda a, p, b, q: (a - p) * (b - q)),
    case("ReduceSumInteger", [ints(2, 3, below=9)], axes=[1], keepdims=0, run=lambda x: x.sum(1)),
    case("QLinearWhere", [np.array([[True], [False]]), R(2, 3), R(1), R(1), R(2, 1), *(R(1) for _ in range(4))],
         run=lambda c, x, p, q, y, r, s, t, u: np.where(c, x * p + q, y * r + s) * t + u),
    case("Attention", [R(2, 3, 4), ints(2, below=3)], {1: R(4, 12), 2: R(12)}, num_heads=2,
         run=lambda x, m: attention(x) * (m[:, None, None] + 1)),
    case("Attention", [R(2, 3, 4), ints(4, below=3)], {1: R(4, 12), 2: R(12)}, num_heads=2,
         run=lambda x, m: attention(x) * (m.reshape(2, 2).sum(0)[:, None, None] + 1)),
    case("FusedMatMulActivation", [R(3, 2), R(4, 3)], transA=1, transB=1, activation="Softmax",
          activation_axis=0,
         run=lambda a, b: softmax(a.T @ b.T, (0,))),
    case("FusedMatMulActivation", [R(2, 3), R(3, 4)], activation="Relu", run=lambda a, b: a @ b),
    case("BiasDropout", [R(2, 3), R(3), R(2, 3)], outputs=2, run=lambda x, b, r: [x + b + r, np.ones((2, 3),
          bool)]),
    case("BitmaskDropout", [R(2, 3)], outputs=2, run=lambda x: [x, np.ones(1, np.uint32)]),
    case("QLinearReduceMean", [R(2, 3), *(R(1) for _ in range(4))], axes=[1], keepdims=0,
         run=lambda x, p, q, r, s: (x * p + q).mean(1) * r + s),
    case("QAttention", [R(2, 3, 4), R(1), R(1)], {1: R(4, 12), 2: R(12)}, num_heads=2,
         run=lambda x, p, q: attention(x * p) * q),
    case("GemmaRotaryEmbedding", [R(1, 3, 2), *(R(1, 2, 3, 2) for _ in range(4))], outputs=2,
         run=lambda e, q, r, k, s: [q * e[:, None] + r * e[:, None], k * e[:, None] - s * e[:, None]]),
    case("QOrderedAttention", [R(1, 3, 4)], {**{n: R(1) for n in range(1, 17)}, 5: R(4, 4), 6: R(4, 4),
         7: R(4, 4)},
         num_heads=2, run=attention),
    case("TorchEmbedding", [ints(2, 3, below=4)], {0: R(4, 2)}, run=lambda x: np.stack([x * 0.5, x * 2], -1)),
]  # fmt: skip


@pytest.mark.parametrize("k", range(len(WRITTEN)), ids=lambda k: f"{WRITTEN[k][0]}-{k}")
def test_written(k: int) -> None:
    op, inputs, fixed, more = WRITTEN[k]
    more = dict(more)
    function = more.pop("run")
    rng = np.random.default_rng(zlib.crc32(op.encode()))
    made = [x.array(rng) if isinstance(x, Random) else x for x in inputs]
    constants = {n: x.array(rng) if isinstance(x, Random) else x for n, x in fixed.items()}
    model, feeds = node_model(op, *made, constants=constants, domain=MS, opset=17, **more)

    def run(given: Any) -> list[np.ndarray]:
        with np.errstate(all="ignore"):
            out = function(*given.values())
        return [np.asarray(y) for y in (out if isinstance(out, (list, tuple)) else (out,))]

    assert_agrees(model, feeds, run=run)


# --- channels last, which no kernel here has: as the operator between two transpositions

NHWC = [
    ("Conv", (1, 6, 5, 4), [(6, 2, 3, 2)], {"group": 2, "strides": [2, 1], "pads": [1, 0, 0, 1]}),
    ("ConvTranspose", (1, 3, 2, 4), [(4, 3, 3, 3)], {"strides": [2, 2], "pads": [1, 1, 0, 1]}),
    ("MaxPool", (1, 6, 5, 2), [], {"kernel_shape": [3, 2], "strides": [2, 1], "dilations": [1, 2]}),
    ("AveragePool", (1, 6, 5, 2), [], {"kernel_shape": [3, 2], "auto_pad": "SAME_UPPER"}),
    ("LpPool", (1, 6, 5, 2), [], {"kernel_shape": [3, 2]}),
    ("GlobalAveragePool", (2, 3, 4, 2), [], {}),
    ("GlobalMaxPool", (2, 3, 4, 2), [], {}),
    ("InstanceNormalization", (2, 3, 4, 2), [(2,), (2,)], {}),
    ("BatchNormalization", (2, 3, 4, 2), [(2,), (2,), (2,), (2,)], {}),
    ("LRN", (1, 3, 2, 6), [], {"size": 3}),
    ("DepthToSpace", (1, 2, 3, 8), [], {"blocksize": 2, "mode": "CRD"}),
    ("SpaceToDepth", (1, 4, 6, 2), [], {"blocksize": 2}),
    ("Resize", (1, 3, 4, 2), [None, (1, 2, 1.5, 1)], {"mode": "linear"}),
    ("Resize", (1, 3, 4, 2), [None, (2, 1.5)], {"mode": "nearest", "axes": [1, 2]}),
]  # fmt: skip


@pytest.mark.parametrize("k", range(len(NHWC)), ids=lambda k: f"{NHWC[k][0]}-{k}")
def test_channels_last(k: int) -> None:
    op, shape, weights, more = NHWC[k]
    h = onnx.helper
    names, held = ["x"], []
    for n, size in enumerate(weights):
        names.append(f"w{n}" if size is not None else "")
        if op == "Resize" and size is not None:
            held.append(np.array(size, np.float32))
        elif size is not None:
            held.append(np.ones(size, np.float32))

    def model(plain: bool) -> onnx.ModelProto:
        given, nodes, constants = list(names), [], list(held)
        if plain:
            nodes.append(h.make_node("Transpose", ["x"], ["t"], perm=[0, 3, 1, 2]))
            given[0] = "t"
        attributes = dict(more)
        if plain and op == "Resize":
            attributes.pop("axes", None)
            numbers = constants[0] if len(constants[0]) == 4 else np.array([1, *constants[0], 1])
            constants = [numbers[[0, 3, 1, 2]].astype(np.float32)]
        domain = "" if plain else "com.ms.internal.nhwc"
        nodes.append(h.make_node(op, given, ["u" if plain else "y"], domain=domain, **attributes))
        if plain:
            nodes.append(h.make_node("Transpose", ["u"], ["y"], perm=[0, 2, 3, 1]))
        named = zip([n for n in names[1:] if n], constants, strict=True)
        graph = h.make_graph(
            nodes, "graph", [h.make_tensor_value_info("x", 1, shape)], [onnx.ValueInfoProto(name="y")],
            [onnx.numpy_helper.from_array(a, n) for n, a in named],
        )  # fmt: skip
        versions = [h.make_opsetid("", 19), h.make_opsetid("com.ms.internal.nhwc", 19)]
        return h.make_model(graph, opset_imports=versions, ir_version=10)

    found = []
    for plain in (False, True):
        report, rows = reported(model(plain), {"x": shape}, {"x": (0, 1, 2, 3)})
        assert report.status == "exact", report.diagnostics
        layer = report[rows["y"]]
        found.append((layer.shape, layer.fields, layer.boxes().tolist()))
    assert found[0] == found[1]


# --- what only numbers tell, and what is unknown; types

NUMBER = np.array([1], np.int32)
BOUNDS = [
    (case("PackedAttention", [R(5, 4)], {1: R(4, 12), 2: R(12), 3: np.zeros((2, 3), np.int32),
          4: np.array([0, 2, 5], np.int32)}, num_heads=2), [(5, 4)]),
    (case("PackedMultiHeadAttention", [R(5, 4), R(5, 4), R(5, 6)], {3: R(14), 4: np.zeros((2, 3), np.int32),
          5: np.array([0, 2, 5], np.int32)}, num_heads=2), [(5, 6)]),
    (case("LongformerAttention", [R(1, 8, 4), R(4, 12), R(12), R(1, 8), R(4, 12), R(12), R(1, 8)], num_heads=2,
          window=2), [(1, 8, 4)]),
    (case("SparseAttention", [R(1, 2, 8), R(1, 2, 4), R(1, 2, 4), R(1, 2, 5, 2), R(1, 2, 5, 2), ints(1, 3,
          below=2),
          ints(1, 3, below=2), ints(1, below=2), ints(1, below=2)], num_heads=4, kv_num_heads=2,
          sparse_block_size=16,
          outputs=3), [(1, 2, 8), (1, 2, 5, 2), (1, 2, 5, 2)]),
    (case("DecoderMaskedSelfAttention", [R(1, 1, 4), R(2, 1, 2, 5, 2)], {1: R(4, 12), 2: R(12), 3: ints(1, 5,
          below=2),
          5: R(1, 2, 1, 5), 6: NUMBER}, num_heads=2, outputs=2), [(1, 1, 4), (2, 1, 2, 5, 2)]),
    (case("Attention", [R(1, 1, 4), R(2, 1, 2, 5, 2)], {1: R(4, 12), 2: R(12), 3: ints(1, 5, below=2), 5: R(1,
          2, 1, 5),
          6: NUMBER}, num_heads=2, outputs=2, past_present_share_buffer=1), [(1, 1, 4), (2, 1, 2, 5, 2)]),
    (case("GroupQueryAttention", [R(1, 4, 8), R(1, 4, 4), R(1, 4, 4), None, None, ints(1, below=4)],
          {6: NUMBER * 4},
          num_heads=4, kv_num_heads=2, outputs=3), [(1, 4, 8), (1, 2, 4, 2), (1, 2, 4, 2)]),
    (case("Attention", [R(2, 3, 4), ints(8, below=3)], {1: R(4, 12), 2: R(12)}, num_heads=2), [(2, 3, 4)]),
    (case("RestorePadding", [R(5, 4), ints(2, 3, below=5)]), [(2, 3, 4)]),
    (case("RelativePositionBias", [R(8, 2)], {1: NUMBER * 3, 2: NUMBER * 3}), [(1, 2, 3, 3)]),
    (case("DecoderAttention", [R(3, 1, 4), R(3, 1, 4)], {2: R(4, 4), 3: R(4, 8), 4: R(12), 5: np.zeros((1, 3),
          bool),
          6: R(1, 2, 3, 2), 7: R(1, 2, 3, 2), **{n: np.array([False]) for n in (8, 9, 10, 11)}}, num_heads=2,
          outputs=3), [(3, 1, 4), (1, 2, 3, 2), (1, 2, 3, 2)]),
    (case("GreedySearch", [ints(2, 3, below=9)], {1: NUMBER * 7}), [(2, 7)]),
    (case("BeamSearch", [ints(2, 3, below=9)], {1: NUMBER * 7, 2: NUMBER, 3: NUMBER * 4, 4: NUMBER * 2}), [(2,
          2, 7)]),
    (case("MatMulBnb4", [R(2, 3), ints(9, below=2)], {2: R(1)}, N=4, K=3), [(2, 4)]),
    (case("RotaryEmbedding", [R(1, 3, 4), ints(1, below=2), R(5, 2), R(5, 2)]), [(1, 3, 4)]),
    (case("EmbedLayerNormalization", [ints(2, 3, below=9), R(9, 4)], {1: ints(2, 3, below=2), 3: R(5, 4),
          4: R(2, 4),
          5: R(4), 6: R(4)}), [(2, 3, 4)]),
    (case("CropAndResize", [R(1, 2, 5, 5), R(3, 4), ints(3, below=1)], {3: np.array([2, 2], np.int32)}), [(3,
          2, 2, 2)]),
    (case("WordConvEmbedding", [ints(3, 5, below=9), R(9, 6)], {1: R(4, 1, 2, 6), 2: R(4)}), [(3, 4)]),
    (case("GatherBlockQuantized", [ints(2, 3, below=4), ints(4, 1, below=9)], {0: ints(4, 16, below=9),
          2: R(4, 1)},
          gather_axis=0), [(2, 3, 16)]),
    (case("WordConvEmbedding", [ints(3, 5, below=9), R(4, 1, 2, 6)], {2: R(4), 3: R(9, 6)}), [(3, 4)]),
    (case("GatherBlockQuantized", [ints(2, 3, below=4), R(4, 1)], {0: ints(4, 16, below=9)}, gather_axis=0),
     [(2, 3, 16)]),
]  # fmt: skip


@pytest.mark.parametrize("k", range(len(BOUNDS)), ids=lambda k: f"{BOUNDS[k][0][0]}-{k}")
def test_bounds(k: int) -> None:
    """Of the right shape, and every input is read."""
    (op, inputs, fixed, more), shapes = BOUNDS[k]
    rng = np.random.default_rng(0)
    made = [x.array(rng) if isinstance(x, Random) else x for x in inputs]
    constants = {n: x.array(rng) if isinstance(x, Random) else x for n, x in fixed.items()}
    model, feeds = node_model(op, *made, constants=constants, domain=MS, opset=17, **more)
    axes = {n: tuple(range(x.ndim)) for n, x in feeds.items()}
    report, rows = reported(model, {n: x.shape for n, x in feeds.items()}, axes)
    for n, shape in enumerate(shapes):
        layer = report[rows[f"y{n}"]]
        assert (layer.shape, layer.status) == (shape, "bound")
    assert {f.input for f in report[rows["y0"]].fields} == set(feeds)


def test_unknown_operator() -> None:
    """Everything is read, where the file says what shape comes out."""
    model, _ = node_model("NoSuchThing", np.ones((2, 3), np.float32), domain=MS)
    with pytest.raises(EyeshotError, match=r"the shape of what com\.microsoft::NoSuchThing makes"):
        reported(model, {"x0": (2, 3)}, {"x0": (0, 1)})
    del model.graph.output[:]
    model.graph.output.append(onnx.helper.make_tensor_value_info("y0", 1, [4]))
    report, rows = reported(model, {"x0": (2, 3)}, {"x0": (0, 1)})
    assert report.status == "bound"
    assert report[rows["y0"]].boxes().tolist() == [[0, 2, 0, 3]] * 4 or report[rows["y0"]].is_global


@pytest.mark.parametrize("k", range(len(CASES)), ids=lambda k: f"{CASES[k][0]}-{k}")
def test_types(k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Element types are those that onnxruntime makes; shapes too, where all inputs are constants."""
    op, inputs, fixed, more = CASES[k]
    rng = np.random.default_rng(0)
    made = [x.array(rng) if isinstance(x, Random) else x for x in inputs]
    constants = {n: x.array(rng) if isinstance(x, Random) else x for n, x in fixed.items()}
    more = {"domain": MS} | {
        n: x for n, x in more.items() if n not in ("status", "finite", "watched")
    }
    model, feeds = node_model(op, *made, constants=constants, opset=17, **more)
    found = session(model)(feeds)
    still = bake(model, feeds)
    still.graph.input.append(onnx.helper.make_tensor_value_info("x", 1, [2]))
    still.graph.node.append(onnx.helper.make_node("Neg", ["x"], ["z"]))
    still.graph.output.append(onnx.ValueInfoProto(name="z"))
    kept: list[Any] = []
    real = Walker.apply
    monkeypatch.setattr(
        Walker, "apply", lambda self, call: kept.append(real(self, call)) or kept[-1]
    )
    reported(model, {n: x.shape for n, x in feeds.items()}, dict.fromkeys(feeds, (0,)))
    first = kept.pop()
    assert not kept
    reported(still, {"x": (2,)}, {"x": (0,)})
    for value, same, array in zip(first, kept[0], found, strict=False):
        if array.size:  # what is optional comes out empty
            assert onnx.helper.tensor_dtype_to_np_dtype(value.dtype) == array.dtype
            assert value.shape == same.shape == array.shape
            assert (same.at, same.dtype) == (None, value.dtype)
