"""What puts a shifted step back over the middle of its input: a kernel, padding, or another input size."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from typing import NamedTuple

from eyeshot.analysis.findings.positions import Place, Positions
from eyeshot.core.graph import Graph
from eyeshot.core.primitives import Stencil

__all__ = ["better_size", "centred"]


def centred(graph: Graph, v: int, name: str) -> str:
    """What to change in the layer ``name``, in the course of which ``v`` moves the map.

    A window of ``k`` positions at stride ``s`` over ``s * n`` positions is centred where it is padded by
    ``(k - s) / 2`` at the beginning: only where kernel and stride are both even or both odd.
    """
    prim = graph.prims[v]
    if not isinstance(prim, Stencil):
        return f"move one of the branches of {name} by that much"
    taps = prim.taps
    if taps.weights is not None:
        return f"resize by half-pixel positions in {name} (align_corners=False)"
    if taps.period > 1:
        if max(taps.counts) == 1 and graph.shapes[graph.inputs[v][0]][prim.dim] < prim.size:
            return f"resize by a whole factor in {name}, or linearly (align_corners=False)"
        stride, kernel = taps.period, sum(taps.counts)
        if taps.step > 1 or taps.advance > 1:
            return f"crop what {name} writes by (kernel - stride) / 2 at both ends (its padding)"
        even = max(kernel + (kernel - stride) % 2, stride)
        wider = "" if even == kernel else f"kernel of {even} and a "
        return f"give {name} a {wider}padding of {(even - stride) // 2} at both ends, without output_padding"
    stride, kernel, dilation = taps.advance, taps.counts[0], taps.step
    span = dilation * (kernel - 1) + 1
    if kernel == 1 and stride == 1:
        grown = prim.size - graph.shapes[graph.inputs[v][0]][prim.dim]
        if grown < 0 and grown % 2:
            return (
                f"cut alike at both ends at {name}, or nothing (a transposed convolution of kernel 4, stride 2 "
                "and padding 1 needs no cut)"
            )
        if grown % 2:
            return (
                f"pad evenly in {name}, for a kernel behind it that is as odd or even as its stride"
            )
        if grown:
            how = "pad" if grown > 0 else "crop"
            return f"{how} by {abs(grown) // 2} at both ends in {name}"
        return f"move nothing in {name}"
    if (span - stride) % 2 == 0 and span >= stride:
        n = graph.shapes[graph.inputs[v][0]][prim.dim]
        if -taps.first[0] == (span - stride) // 2 and n % stride:
            return f"feed {name} a multiple of its stride {stride} ({n} is none)"
        return f"give {name} a padding of {(span - stride) // 2} at both ends"
    if dilation > 1:
        return f"give {name} a kernel that is as odd or even as its stride {stride}"
    grown = kernel + 1
    if grown < stride:
        grown = stride
    padding = (grown - stride) // 2
    kind = "odd" if stride % 2 else "even"
    return (
        f"give {name} a kernel of {grown} with padding {padding} at both ends, {kind} like its stride of "
        f"{stride}"
    )


class _Window(NamedTuple):
    """A step on the way from the input: a window, or (``factor`` > 1) a centred enlargement."""

    span: int
    stride: int
    padding: int
    factor: int = 1

    def out(self, n: int) -> int:
        """How many units there are over ``n``."""
        if self.factor > 1:
            return n * self.factor
        return (n + 2 * self.padding - self.span) // self.stride + 1

    def moves(self, n: int) -> Fraction:
        """How far the middle of the units lies from the middle of the ``n``, in positions of these."""
        if self.factor > 1:
            return Fraction(0)
        first = Fraction(self.span - 1, 2) - self.padding
        return first + Fraction(self.stride * (self.out(n) - 1), 2) - Fraction(n - 1, 2)


def better_size(
    positions: Positions, v: int, k: int, filling: bool = False
) -> tuple[int, Fraction] | None:
    """The input size nearest to the present one at which ``v`` drifts least, and that drift.

    ``filling``: only sizes at which ``v`` is as long as its input. Of what is enlarged to the input's size its
    middle lies right at others too, but both ends are as far off as before.

    None where it drifts as much at all sizes near, or where a step on the way is no window that is padded
    alike on both sides: its padding may then depend on the size.
    """
    graph = positions.graph
    way = list(positions.way(v, k))
    length = way[0][1].length
    windows = _windows(graph, way[::-1])
    if windows is None:
        return None
    # Within one unit of the coarsest map sizes repeat, and far ones are another network.
    reach = max(1, min(max(int(place.rate) for _, place in way) + 1, length // 8))
    best = abs(way[0][1].drift)
    found: tuple[int, Fraction] | None = None
    for away in range(1, reach + 1):
        for size in (length + away, length - away):
            drift = _drift(windows, size, filling)
            if drift is not None and abs(drift) < best:
                best, found = abs(drift), (size, drift)
        if best == 0:
            break
    return found


def _windows(graph: Graph, way: Sequence[tuple[int, Place]]) -> list[_Window] | None:
    """The steps of a way that change the number of units or their middle, the first one first."""
    found = []
    for (_, before), (v, after) in pairwise(way):
        prim = graph.prims[v]
        if not isinstance(prim, Stencil) or prim.dim != after.dim:
            if (before.drift, before.n) != (after.drift, after.n):
                return None
            continue
        taps = prim.taps
        if taps.period > 1:
            if (
                after.drift != before.drift
                or taps.advance != 1
                or after.n != before.n * taps.period
            ):
                return None
            found.append(_Window(1, 1, 0, taps.period))
            continue
        window = _Window(taps.step * (taps.counts[0] - 1) + 1, taps.advance, -taps.first[0])
        if window.stride == 1 and window.span == 2 * window.padding + 1 and after.n == before.n:
            continue
        if taps.border != "drop" or window.padding < 0 or window.out(before.n) != after.n:
            return None
        found.append(window)
    return found


def _drift(windows: Sequence[_Window], size: int, filling: bool) -> Fraction | None:
    """The drift behind these steps from an input of ``size``; None where a map gets too small.

    Or, if ``filling``, where the last one has another size than the input.
    """
    n, rate, drift = size, Fraction(1), Fraction(0)
    for window in windows:
        if n + 2 * window.padding < window.span or n < 1:
            return None
        drift += rate * window.moves(n)
        rate = rate * window.stride / window.factor
        n = window.out(n)
    return drift if n > 0 and (n == size or not filling) else None
