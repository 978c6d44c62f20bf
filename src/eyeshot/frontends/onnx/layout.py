"""Which dims of an input are spatial, where the graph tells: those that lead to what first windows slide along.

So channels-last inputs show, transposed or reshaped as they may be, through functions and subgraphs as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from eyeshot.core.graph import Graph
from eyeshot.core.primitives import Concat, Input, Join, Mix, Primitive, Rearrange, Shape, Stencil
from eyeshot.frontends.onnx.calls import Call, Value

__all__ = ["WINDOWS", "Window", "spatial", "window"]

#: A value, and the dims of it that a window slides along.
Window = tuple[int, tuple[int, ...]]

#: Operators whose first input has batch and channels before the spatial dims.
CHANNELS_FIRST = frozenset(
    """AveragePool BatchNormalization Conv ConvInteger ConvTranspose DeformConv DepthToSpace FusedConv
    GlobalAveragePool GlobalLpPool GlobalMaxPool GridSample GroupNormalization InstanceNormalization LRN LpPool
    MaxPool MaxRoiPool PRelu QLinearAveragePool QLinearConv QLinearGlobalAveragePool RoiAlign SpaceToDepth
    Upsample""".split()
)
#: Those of com.microsoft with the channels last.
CHANNELS_LAST = frozenset(
    ["GroupNorm", "NhwcConv", "NhwcFusedConv", "NhwcMaxPool", "SkipGroupNorm"]
)
WINDOWS = CHANNELS_FIRST | CHANNELS_LAST


def window(call: Call) -> Window | None:
    """The spatial dims of the tensor that an operator of ``WINDOWS`` takes."""
    x = call.inputs[0] if call.inputs else None
    if not isinstance(x, Value) or x.at is None or x.rank < 3:
        return None
    last = call.op.name in CHANNELS_LAST
    last = bool(call.attr("channels_last", last)) if call.op.domain else last
    return x.at, tuple(range(1, x.rank - 1) if last else range(2, x.rank))


def spatial(graph: Graph, windows: Iterable[Window]) -> dict[str, tuple[int, ...]]:
    """Per input the dims that the first window over it slides along; inputs without one are left out."""
    found: dict[str, tuple[int, ...]] = {}
    left = {prim.name for v in graph.sources if isinstance(prim := graph.prims[v], Input)}
    seen: set[int] = set()
    for value, dims in windows:
        if not left:
            break
        # Values are numbered in the order they are made: from the last, all that is read of one is known.
        todo: dict[int, set[int]] = {value: set(dims)}
        while todo:
            v = max(todo)
            here = todo.pop(v)
            if v in seen or not here:
                continue
            # What an earlier window has come by leads to inputs that are found.
            seen.add(v)
            prim = graph.prims[v]
            if isinstance(prim, Input):
                if prim.name is not None and prim.name in left:
                    left.discard(prim.name)
                    # Where channels and axes were one dim on the way they can't be told apart.
                    rank = len(prim.shape)
                    if rank < 4 or len(here) <= len(dims) or here != set(range(1, rank)):
                        found[prim.name] = tuple(sorted(here))
                continue
            for k in graph.inputs[v]:
                todo.setdefault(k, set()).update(back(prim, here, graph.shapes[v], graph.shapes[k]))
    return found


def back(prim: Primitive, dims: set[int], shape: Shape, before: Shape) -> set[int]:
    """The dims of an operator's input that ``dims`` of its output come from."""
    match prim:
        case Stencil() | Concat():
            return dims
        case Mix(mixed, _, _, causal):
            return dims if causal else dims - set(mixed)
        case Join():
            shift = len(shape) - len(before)
            return {d - shift for d in dims if d >= shift and before[d - shift] == shape[d]}
        case Rearrange(split, order, _, expand, parts, merged):
            moved = tuple(split[k] for k in order) if expand is None else expand
            pieces = {k for d in dims for k in _pieces(shape, moved, merged)[d]}
            origin = {order[k] for k in pieces if moved[k] == split[order[k]]}
            return {d for d, held in enumerate(_pieces(before, split, parts)) if origin & set(held)}
    return set()


def _pieces(whole: Shape, split: Shape, counts: Sequence[int] | None) -> list[list[int]]:
    """Per dim of ``whole`` the dims of ``split`` that it is reshaped to, or that share positions with it."""
    if counts is not None:
        ends = [sum(counts[: k + 1]) for k in range(len(counts))]
        return [list(range(end - count, end)) for end, count in zip(ends, counts, strict=True)]
    spans = _spans(split)
    return [
        [k for k, (low, high) in enumerate(spans) if max(low, first) < min(high, last)]
        for first, last in _spans(whole)
    ]


def _spans(shape: Shape) -> list[tuple[int, int]]:
    """Per dim its stride and what it is of the next: elements that lie so far apart differ in it."""
    out, stride = [], 1
    for n in reversed(shape):
        out.append((stride, stride * n))
        stride *= n
    return out[::-1]
