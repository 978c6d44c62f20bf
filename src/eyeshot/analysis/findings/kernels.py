"""Kernels: which taps of a layer's windows ever land inside its input."""

from __future__ import annotations

import math
import re
from bisect import bisect_left
from collections.abc import Collection, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from eyeshot.analysis.findings.network import Network
from eyeshot.analysis.report import Layer
from eyeshot.core.graph import Graph
from eyeshot.core.primitives import Join, Mix, Stencil, Taps

__all__ = ["Kernel", "Window", "averages", "convolutions", "plain"]

#: A kernel of more taps than this is not written down.
MAX_TAPS = 1 << 16
#: Names of activations that give zero for zero, whatever the framework.
ZERO_KEPT = re.compile(
    r"(?!.*(conv|linear|add|gemm|norm)).*(elu|silu|swish|mish|tanh|dropout|identity)"
)


class Window(NamedTuple):
    """What a layer reads along one dim of its input.

    ``value`` is a tensor with the positions that it reads, ``size`` how many along ``dim`` without padding
    that was put around them before; they lie in ``[low, low + size)`` of what the taps count. ``outputs``: how
    many windows there are.
    """

    value: int
    dim: int
    taps: Taps
    low: int
    size: int
    outputs: int

    @property
    def kernel(self) -> int:
        """How many taps there are: those of all phases, each of which is another."""
        return sum(self.taps.counts)

    @property
    def span(self) -> int:
        """Positions from a window's first tap to its last, the longest phase's."""
        return self.taps.step * (max(self.taps.counts) - 1) + 1

    def used(self, size: int | None = None) -> list[bool]:
        """Tap by tap, phase by phase, whether it lands inside for any output.

        ``size``: as if the input had that many positions, no fewer than it has, between the same padding.
        """
        period, advance, first, counts, step = self.taps[:5]
        size = self.size if size is None else size
        outputs = self.outputs + (size - self.size) // advance * period
        found = []
        for phase in range(period):
            turns = -(-(outputs - phase) // period)
            for t in range(counts[phase]):
                begin = first[phase] + step * t - self.low
                turn = max(0, -(begin // advance))
                found.append(turn < turns and begin + advance * turn < size)
        return found

    def enough(self) -> int:
        """The fewest positions, no fewer than there are, of which every tap reads some."""
        sizes = range(self.size, self.size + self.taps.step * self.kernel + 2 * self.taps.advance
                      + abs(self.low) + max(map(abs, self.taps.first)))  # fmt: skip
        return sizes[0] + bisect_left(sizes, True, key=lambda size: all(self.used(size)))


class Kernel(NamedTuple):
    """The windows of a layer: all combinations of their taps, in order of ``dims``.

    ``dead``: bool array [taps along each dim], which of them never land inside. ``weights``: how many there
    are over all taps and channels; None if that can't be told. ``calls``: the layers that share them.
    """

    layer: Layer
    windows: tuple[Window, ...]
    dead: NDArray[np.bool_]
    weights: int | None
    calls: tuple[Layer, ...]

    @property
    def share(self) -> float:
        """The share of its taps, and of its weights, that are dead."""
        return float(self.dead.mean())

    @property
    def transposed(self) -> bool:
        return "transpose" in self.layer.op.lower()


def convolutions(net: Network) -> list[Kernel]:
    """All convolutions whose windows are known, in order; those of one tap are never dead.

    A layer that runs several times (its calls are named ``conv``, ``conv_1``, …) is one kernel, whose taps are
    dead where they are dead in every call.
    """
    found: dict[tuple[object, ...], Kernel] = {}
    for layer in net.layers:
        if "conv" not in layer.op.lower():
            continue
        windows = _windows(net, layer)
        if windows is None:
            continue
        dead = _dead(windows)
        weights = _weights(net, layer, windows)
        steps = tuple((w.taps.step, w.taps.advance) for w in windows)
        key = (net.called(layer), layer.op, weights, dead.shape, steps)
        known = found.get(key)
        kernel = Kernel(layer, windows, dead, weights, (layer,))
        if known is not None:
            worse = kernel if kernel.share > known.share else known
            calls = (*known.calls, layer)
            kernel = worse._replace(dead=known.dead & dead, calls=calls)
        found[key] = kernel
    return list(found.values())


def averages(net: Network) -> Iterator[Kernel]:
    """All average pools that count padding."""
    for layer in net.layers:
        op = layer.op.lower()
        if "pool" in op and ("avg" in op or "average" in op):
            windows = _windows(net, layer)
            if windows and not any(window.taps.renormalized for window in windows):
                yield Kernel(layer, windows, _dead(windows), None, (layer,))


def _windows(net: Network, layer: Layer) -> tuple[Window, ...] | None:
    """A layer's windows of alike taps, by dim; None where that is not the way in which it reads."""
    graph = net.graph
    found: dict[int, Window] = {}
    own = net.made(layer)
    for v in own:
        prim = graph.prims[v]
        if type(prim) is not Stencil or sum(prim.taps.counts) < 2:
            continue
        taps = prim.taps
        if prim.dim in found or taps.border != "drop" or taps.weights or taps.advance < 1:
            return None
        (x,) = graph.inputs[v]
        value, low, high = _inside(net, own, x, prim.dim)
        found[prim.dim] = Window(value, prim.dim, taps, low, high - low, prim.size)
    if math.prod(window.kernel for window in found.values()) > MAX_TAPS:
        return None
    return tuple(window for _, window in sorted(found.items()))


def _inside(net: Network, own: Collection[int], v: int, dim: int) -> tuple[int, int, int]:
    """Where in ``v`` its positions lie along ``dim`` without padding, ``[low, high)``.

    First the tensor of a layer (or an input) whose positions these are, if there is one, else ``v``. Beyond the
    layer's ``own`` values only padding and cropping are looked through, and activations that keep a zero: a
    bias makes something of it.
    """
    graph, first = net.graph, v
    low, high, at = 0, graph.shapes[v][dim], 0
    named: int | None = None
    while True:
        if named is None and (v in net.sources or net.layer(v) is not None):
            named = v
        layer = net.layer(v)
        through = v in own or _zero_kept(layer)
        padded = plain(graph, v) and (layer is None or "conv" not in layer.op.lower())
        if not (padded or (through and _keeps(graph, v, dim))):
            return first if named is None else named, low, high
        prim = graph.prims[v]
        if type(prim) is Stencil and prim.dim == dim:
            at -= prim.taps.first[0]
        (v,) = graph.inputs[v]
        low, high = max(low, at), min(high, at + graph.shapes[v][dim])


def plain(graph: Graph, v: int) -> bool:
    """Whether a value is its only input, padded or cropped."""
    prim = graph.prims[v]
    if type(prim) is not Stencil or prim.taps.border != "drop" or prim.taps.weights is not None:
        return False
    return (prim.taps.period, prim.taps.advance, prim.taps.counts) == (1, 1, (1,))


def _zero_kept(layer: Layer | None) -> bool:
    return layer is not None and ZERO_KEPT.match(layer.op.lower()) is not None


def _keeps(graph: Graph, v: int, dim: int) -> bool:
    """Whether a value has the positions of its only input along ``dim``."""
    match graph.prims[v]:
        case Stencil(other, _, _):
            return other != dim
        case Mix(dims, _, _, _):
            return dim not in dims
        case Join():
            only = len(graph.inputs[v]) == 1
            return only and graph.shapes[graph.inputs[v][0]] == graph.shapes[v]
    return False


def _dead(windows: tuple[Window, ...]) -> NDArray[np.bool_]:
    used = np.ones((), bool)
    for window in windows:
        used = used[..., None] & np.array(window.used())
    return np.logical_not(used)


def _weights(net: Network, layer: Layer, windows: tuple[Window, ...]) -> int | None:
    """The number of weights of a convolution: each filter has one per tap and channel of its group."""
    graph = net.graph
    mixes = [v for v in net.made(layer) if type(graph.prims[v]) is Mix]
    taps = math.prod(window.kernel for window in windows)
    if not mixes:
        # Each channel by itself.
        plain = len(layer.shape) > 2 and all(window.dim > 1 for window in windows)
        return layer.shape[1] * taps if plain else None
    if len(mixes) > 1:
        return None
    prim = graph.prims[mixes[0]]
    assert type(prim) is Mix
    (x,) = graph.inputs[mixes[0]]
    if len(prim.dims) != 1 or prim.causal:
        return None
    return prim.sizes[0] * graph.shapes[x][prim.dims[0]] // prim.groups * taps
