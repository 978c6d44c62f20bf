"""Attention against poisoning.

The evaluator adds -inf where a query may not look, and so lets NaN through; what a structure hides is not used.
Where there is such a structure attention runs here row by row, over the keys that the row sees and no others.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest

from eyeshot.errors import EyeshotError
from tests.frontends.onnx.agree import assert_agrees, node_model

Array = np.ndarray

NAMES = ("q", "k", "v", "mask", "past_key", "past_value", "valid")


def data(*shape: int) -> Array:
    return np.random.default_rng(len(shape)).standard_normal(shape).astype(np.float32)


def four(x: Array, heads: int | None) -> Array:
    """(batch, heads, length, features)."""
    if x.ndim == 4:
        return x
    assert heads
    return x.reshape(*x.shape[:2], heads, -1).swapaxes(1, 2)


def row_by_row(
    places: tuple[str, ...],
    held: dict[str, Array],
    causal: bool = False,
    left: int = -1,
    right: int = -1,
    mode: int = 0,
    heads: tuple[int, int] | None = None,
) -> Callable[[Any], list[Array]]:
    """Attention in which a query has to do with those keys alone that it sees."""

    def run(given: Any) -> list[Array]:
        x = dict(held)
        x.update({NAMES[int(k[1:])]: v for k, v in given.items()})
        q = four(x["q"], heads and heads[0])
        k, v = (four(x[name], heads and heads[1]) for name in "kv")
        past = 0
        if "past_key" in x:
            past = x["past_key"].shape[2]
            k, v = np.concatenate([x["past_key"], k], 2), np.concatenate([x["past_value"], v], 2)
        keys, values = k, v
        times = q.shape[1] // k.shape[1]
        k, v = np.repeat(k, times, 1), np.repeat(v, times, 1)
        batch, count, rows, _ = q.shape
        columns = k.shape[2]
        mask = np.zeros((batch, count, rows, columns), dtype=np.float32)
        if "mask" in x:
            m = x["mask"]
            m = np.where(m, 0, -np.inf) if m.dtype == bool else m
            gap = [(0, 0)] * (m.ndim - 1) + [(0, columns - m.shape[-1])]
            mask = mask + np.pad(m, gap, constant_values=-np.inf)
        y = np.zeros((batch, count, rows, v.shape[3]), dtype=np.float32)
        scores = np.zeros(mask.shape, dtype=np.float32)
        for b in range(batch):
            valid = int(x["valid"][b]) if "valid" in x else columns
            offset = valid - rows if "valid" in x else past
            for h in range(count):
                for i in range(rows):
                    p = i + offset
                    seen = [
                        j for j in range(min(valid, columns))
                        if (left < 0 or j >= p - left) and (right < 0 or j <= p + right)
                        and (not causal or j <= p)
                    ]  # fmt: skip
                    products = (k[b, h] * q[b, h, i]).sum(1)
                    if mode == 0:
                        scores[b, h, i] = products
                    if not seen:
                        continue
                    s = products[seen] + mask[b, h, i, seen]
                    with np.errstate(all="ignore"):
                        w = np.exp(s - s.max())
                        w = w / w.sum()
                    if (mask[b, h, i, seen] == -np.inf).all():
                        w = np.zeros_like(w)  # a row without keys
                    y[b, h, i] = w @ v[b, h][seen]
                    if mode >= 2:
                        scores[b, h, i, seen] = s if mode == 2 else w
        out = y if x["q"].ndim == 4 else y.swapaxes(1, 2).reshape(batch, rows, -1)
        return [out, keys, values, scores]

    return run


def check(
    arrays: dict[str, Array],
    fixed: tuple[str, ...] = (),
    status: str = "exact",
    opset: int | None = None,
    outputs: int = 4,
    **attributes: Any,
) -> None:
    """``fixed``: inputs that are constants."""
    last = max(NAMES.index(name) for name in arrays)
    given = [arrays.get(name) for name in NAMES[: last + 1] if name not in fixed]
    constants = {NAMES.index(name): arrays[name] for name in fixed}
    model, feeds = node_model(
        "Attention", *given, outputs=outputs, opset=opset, constants=constants, **attributes
    )
    heads = None
    if "q_num_heads" in attributes:
        heads = attributes["q_num_heads"], attributes["kv_num_heads"]
    run = row_by_row(
        NAMES,
        {name: arrays[name] for name in fixed},
        bool(attributes.get("is_causal")),
        attributes.get("left_window_size", -1),
        attributes.get("right_window_size", -1),
        attributes.get("qk_matmul_output_mode", 0),
        heads,
    )
    assert_agrees(model, feeds, status=status, run=lambda x: run(x)[:outputs])


def qkv(heads: int = 2, shared: int = 2, rows: int = 3, columns: int = 4) -> dict[str, Array]:
    return {
        "q": data(2, heads, rows, 2),
        "k": data(2, shared, columns, 2),
        "v": data(2, shared, columns, 3),
    }


# --- Attention


@pytest.mark.parametrize("shared", [1, 2, 4])
@pytest.mark.parametrize("opset", [23, 24, 25])
def test_heads(shared: int, opset: int) -> None:
    check(qkv(4, shared), opset=opset)


@pytest.mark.parametrize("shared", [1, 2])
def test_packed_heads(shared: int) -> None:
    arrays = {"q": data(2, 3, 8), "k": data(2, 4, 2 * shared), "v": data(2, 4, 3 * shared)}
    check(arrays, q_num_heads=4, kv_num_heads=shared, is_causal=1)


@pytest.mark.parametrize("fixed", [("q",), ("k", "v"), ("v",), ("q", "k"), ("q", "v")])
def test_constants(fixed: tuple[str, ...]) -> None:
    check(qkv(), fixed, is_causal=1)


@pytest.mark.parametrize("rows, columns", [(3, 3), (2, 4), (4, 2), (1, 3)])
@pytest.mark.parametrize("mode", [0, 1, 2, 3])
def test_causal(rows: int, columns: int, mode: int) -> None:
    outputs = 3 if mode == 1 else 4
    check(qkv(rows=rows, columns=columns), is_causal=1, qk_matmul_output_mode=mode, outputs=outputs)


@pytest.mark.parametrize(
    "left, right", [(0, -1), (1, -1), (-1, 0), (-1, 1), (1, 0), (1, 1), (0, 9)]
)
@pytest.mark.parametrize("rows, columns", [(4, 4), (5, 2), (2, 5)])
@pytest.mark.parametrize("causal", [0, 1])
def test_windows(left: int, right: int, rows: int, columns: int, causal: int) -> None:
    """A row may see nothing, and then reads nothing."""
    arrays = qkv(rows=rows, columns=columns)
    more = {"left_window_size": left, "right_window_size": right}
    check(arrays, is_causal=causal, qk_matmul_output_mode=3, **more)


MASKS = [(3, 4), (2, 1, 1, 4), (2, 1, 3, 4), (1, 2, 3, 1), (4,), (3, 2), (2, 3, 4)]


@pytest.mark.parametrize("shape", MASKS)
@pytest.mark.parametrize("causal", [0, 1])
def test_masks(shape: tuple[int, ...], causal: int) -> None:
    """A mask hides nothing, whatever is in it."""
    check({**qkv(), "mask": data(*shape)}, is_causal=causal, qk_matmul_output_mode=3)
    check({**qkv(), "mask": data(*shape) > 0}, is_causal=causal, outputs=1)


def test_mask_and_scores() -> None:
    arrays = {**qkv(), "mask": data(3, 2)}
    check(arrays, qk_matmul_output_mode=2)
    check(arrays, ("q", "k"), qk_matmul_output_mode=2)


def test_rows_without_keys() -> None:
    """A row that a known mask hides whole is zero; its weights still meet the values."""
    mask = np.array([[True, False, False, True], [False] * 4, [True] * 4])
    check({**qkv(), "mask": mask}, ("mask",), qk_matmul_output_mode=3)
    # Together with the causal flag the first row sees nothing.
    mask = np.array([[False, True, True, True], [True] * 4, [True] * 4])
    check({**qkv(), "mask": mask}, ("mask",), is_causal=1, qk_matmul_output_mode=3)
    far = np.where(mask, 0, -np.inf).astype(np.float32)[:, :3]
    check({**qkv(), "mask": far}, ("mask",), is_causal=1)


@pytest.mark.parametrize("causal", [0, 1])
@pytest.mark.parametrize("fixed", [(), ("past_key", "past_value"), ("k", "v"), ("q",)])
def test_past(causal: int, fixed: tuple[str, ...]) -> None:
    past = {"past_key": data(2, 2, 2, 2), "past_value": data(2, 2, 2, 3)}
    check({**qkv(), **past}, fixed, is_causal=causal, qk_matmul_output_mode=3)


def test_past_and_window() -> None:
    past = {"past_key": data(2, 2, 3, 2), "past_value": data(2, 2, 3, 3)}
    check({**qkv(), **past}, is_causal=1, left_window_size=2)


@pytest.mark.parametrize("lengths", [[4, 4], [3, 4], [1, 2], [0, 3]])
@pytest.mark.parametrize("causal, left", [(0, -1), (1, -1), (1, 1)])
def test_valid(lengths: list[int], causal: int, left: int) -> None:
    """Keys behind the last valid one are not used, and queries count back from it."""
    arrays = {**qkv(), "valid": np.array(lengths)}
    more = {"left_window_size": left, "qk_matmul_output_mode": 3}
    check(arrays, ("valid",), is_causal=causal, **more)
    check({**arrays, "mask": data(2, 1, 3, 4)}, ("valid",), is_causal=causal, outputs=1, **more)


def test_unknown_valid() -> None:
    check({**qkv(), "valid": np.array([2, 3])}, status="bound", is_causal=1)


@pytest.mark.parametrize("softcap", [0.0, 2.0])
def test_without_structure(softcap: float) -> None:
    """The evaluator itself, where nothing is hidden."""
    arrays = [*qkv(4, 2).values(), data(3, 4)]
    for mode in range(4):
        model, feeds = node_model(
            "Attention", *arrays, outputs=4, softcap=softcap, qk_matmul_output_mode=mode
        )
        assert_agrees(model, feeds)


@pytest.mark.parametrize(
    "change, line",
    [
        ({"k": data(2, 3, 4, 2), "v": data(2, 3, 4, 3)}, "2 heads of queries share 3 of keys"),
        ({"k": data(2, 2, 4, 5)}, "queries of 2 features and keys of 5"),
        ({"v": data(2, 2, 5, 3)}, "queries .* keys .* and values"),
        ({"mask": data(3, 5)}, "a mask over 5 keys, there are 4"),
        ({"q": data(2, 3, 8)}, "is not of None heads"),
    ],
)
def test_wrong(change: dict[str, Array], line: str) -> None:
    with pytest.raises(EyeshotError, match=line):
        check({**qkv(), **change})


# --- FlexAttention


def modifier(*nodes: onnx.NodeProto, name: str = "mod") -> onnx.GraphProto:
    info = onnx.helper.make_tensor_value_info
    shape = [2, 2, 3, 4]
    return onnx.helper.make_graph(list(nodes), name, [info("s", 1, shape)], [info("t", 1, shape)])


SCALED = onnx.helper.make_node("Tanh", ["s"], ["t"])
SUMMED = onnx.helper.make_node("CumSum", ["s", "a"], ["t"])
AXIS = onnx.helper.make_node("Constant", [], ["a"], value_int=1)

GRAPHS: list[dict[str, Any]] = [
    {},
    {"score_mod": modifier(SCALED)},
    {"prob_mod": modifier(SCALED)},
    {"prob_mod": modifier(AXIS, SUMMED)},
    {"score_mod": modifier(AXIS, SUMMED), "prob_mod": modifier(SCALED)},
]


@pytest.mark.parametrize("graphs", GRAPHS)
@pytest.mark.parametrize("fixed", [(), (0,), (1, 2), (0, 1)])
def test_flex_attention(graphs: dict[str, Any], fixed: tuple[int, ...]) -> None:
    """Graphs that mix heads are followed."""
    arrays = list(qkv().values())
    given = [x for k, x in enumerate(arrays) if k not in fixed]
    model, feeds = node_model(
        "FlexAttention", *given, domain="ai.onnx.preview",
        constants={k: arrays[k] for k in fixed}, **graphs,
    )  # fmt: skip
    assert_agrees(model, feeds)


# --- LinearAttention


@pytest.mark.parametrize("rule", ["linear", "gated", "delta", "gated_delta"])
@pytest.mark.parametrize("heads, shared", [(2, 2), (4, 2), (2, 1)])
@pytest.mark.parametrize("wide", [False, True])
def test_linear_attention(rule: str, heads: int, shared: int, wide: bool) -> None:
    arrays: list[Any] = [
        data(2, 3, 2 * heads), data(2, 3, 2 * shared), data(2, 3, 3 * shared), data(2, shared, 2, 3)
    ]  # fmt: skip
    gated, delta = "gated" in rule, "delta" in rule
    arrays.append(data(2, 3, shared * (2 if wide else 1)) if gated else None)
    arrays.append(data(2, 3, 1 if wide else shared) if delta else None)
    while arrays[-1] is None:
        arrays.pop()
    model, feeds = node_model(
        "LinearAttention",
        *arrays,
        outputs=2,
        update_rule=rule,
        q_num_heads=heads,
        kv_num_heads=shared,
    )
    assert_agrees(model, feeds)


@pytest.mark.parametrize("fixed", [(0,), (1, 2), (0, 1, 2), (1, 2, 3), (0, 1, 3)])
def test_linear_attention_of_constants(fixed: tuple[int, ...]) -> None:
    arrays = [data(2, 3, 4), data(2, 3, 4), data(2, 3, 6), data(2, 2, 2, 3), data(2, 3, 4)]
    given = [x for k, x in enumerate(arrays) if k not in fixed]
    model, feeds = node_model(
        "LinearAttention", *given, outputs=2, constants={k: arrays[k] for k in fixed},
        update_rule="gated", q_num_heads=2, kv_num_heads=2,
    )  # fmt: skip
    assert_agrees(model, feeds)


# --- RotaryEmbedding

PLACES = np.array([[1, 3, 0], [2, 2, 4]])


@pytest.mark.parametrize("interleaved", [0, 1])
@pytest.mark.parametrize("width", [0, 2, 4])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("placed", [False, True])
def test_rotary(interleaved: int, width: int, packed: bool, placed: bool) -> None:
    half = (width or 6) // 2
    x = data(2, 3, 12) if packed else data(2, 2, 3, 6)
    caches = [data(5, half), data(5, half)] if placed else [data(2, 3, half), data(2, 3, half)]
    more: dict[str, Any] = {"interleaved": interleaved, "rotary_embedding_dim": width}
    if packed:
        more["num_heads"] = 2
    constants = {3: PLACES} if placed else {}
    assert_agrees(*node_model("RotaryEmbedding", x, *caches, constants=constants, **more))
    constants |= {0: x}
    assert_agrees(*node_model("RotaryEmbedding", *caches, constants=constants, **more))


def test_unknown_positions() -> None:
    """With caches that depend on the input any row of them may be read."""
    x, cache = data(2, 2, 3, 6), data(5, 3)
    assert_agrees(*node_model("RotaryEmbedding", x, cache, cache, PLACES), status="bound")
    constants = {1: cache, 2: cache}
    assert_agrees(*node_model("RotaryEmbedding", x, PLACES, constants=constants))
