"""What a streaming implementation that keeps every layer's own context would hold."""

from __future__ import annotations

import math

from eyeshot.core.primitives import Mix, Stencil, Taps
from eyeshot.streaming.borders import Run

__all__ = ["cached"]


def cached(run: Run) -> int:
    """How many elements of its tensors such an implementation keeps between chunks.

    Per tensor that windows slide over: as many positions as the longest of the windows overlaps the one before.
    What lies between branches of unequal lookahead until they meet is not counted.
    """
    walk = run.walk
    graph, inputs = walk.graph, walk.graph.inputs
    kept: dict[int, int] = {}
    for v in walk.reading:
        prim = graph.prims[v]
        if not isinstance(prim, Stencil):
            continue
        (held,) = inputs[v]
        if not walk.follows(held, prim.dim, 0):
            continue
        length = graph.shapes[held][prim.dim]
        if isinstance(graph.prims[held], Mix) and walk.name(held) == walk.name(v):
            # A convolution mixes channels first; what it keeps is its input.
            (held,) = inputs[held]
        each = math.prod(graph.shapes[held]) // length
        kept[held] = max(kept.get(held, 0), _overlap(prim.taps) * each)
    return sum(kept.values())


def _overlap(taps: Taps) -> int:
    """How many positions a period's windows share with those of the period before."""
    windows = [
        (first, first + taps.step * (count - 1) + 1)
        for first, count in zip(taps.first, taps.counts, strict=True)
        if count
    ]
    if not windows or taps.advance <= 0:
        return 0
    return max(0, max(e for _, e in windows) - min(b for b, _ in windows) - taps.advance)
