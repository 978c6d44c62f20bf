"""The spread of an effective receptive field in closed form, for plain stacks of layers.

With every weight alike, what a unit reads is a random walk backwards: at each layer one of the taps is taken at
random. The steps are independent, so that their variances add up. A window of k taps that lie d apart, over
elements that lie j input pixels apart, adds ``j**2 * d**2 * (k**2 - 1) / 12``: the variance of a uniform
distribution over k points. (Luo et al. 2016, arXiv 1701.04128, sum the same variances for stacks of
one kernel, where they grow like the depth, and the spread like its square root.)

This is the variance of a unit that reads no padding. It says nothing about the shape of the distribution.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from fractions import Fraction
from typing import NamedTuple

from eyeshot.core.graph import Graph
from eyeshot.core.primitives import Concat, Input, Join, Mix, Primitive, Rearrange, Shape, Stencil

__all__ = ["closed_form"]

#: Numbers along the way are exact, unless a stencil has weights.
Exact = Fraction | float


class Walk(NamedTuple):
    """Along one axis of the input: element i of ``dim`` reads about ``start + i * jump``, with a variance."""

    dim: int
    start: Exact
    jump: Exact
    variance: Exact


Walks = tuple[Walk, ...]


class NotPlain(Exception):
    """Elements of the tensor read in different ways, or the ways in which one reads don't add up."""


def closed_form(graph: Graph, value: int, source: int) -> tuple[float, ...] | None:
    """The standard deviation of what an interior unit of tensor ``value`` reads of input ``source``, per axis.

    In input pixels, with every weight alike. None where the tensor is no plain stack of windows over the axes:
    where it joins tensors that read differently, mixes a whole axis, or has phases, as after a transposed
    convolution.
    """
    needed = {value}
    for v in range(value, -1, -1):
        if v in needed:
            needed.update(graph.inputs[v])
    prim = graph.prims[source]
    assert isinstance(prim, Input)
    # None: reads nothing of the input. What is not plain is left out.
    known: dict[int, Walks | None] = {}
    for v in sorted(needed):
        if v == source:
            half = Fraction(1, 2)
            known[v] = tuple(Walk(d, half, Fraction(1), Fraction(0)) for d in prim.axes)
            continue
        if all(i in known for i in graph.inputs[v]):
            with suppress(NotPlain):
                known[v] = _after(graph, v, [known[i] for i in graph.inputs[v]])
    walks = known.get(value)
    if walks is None:
        return None
    return tuple(math.sqrt(max(0.0, float(walk.variance))) for walk in walks)


def _after(graph: Graph, v: int, before: Sequence[Walks | None]) -> Walks | None:
    """The walks of value ``v`` from those of its inputs."""
    prim: Primitive = graph.prims[v]
    shapes = [graph.shapes[i] for i in graph.inputs[v]]
    if all(walks is None for walks in before):
        return None
    match prim:
        case Join():
            return _alike(
                [_broadcast(w, s, graph.shapes[v]) for w, s in zip(before, shapes, strict=True)]
            )
        case Concat(dim):
            if any(walk.dim == dim for walks in before for walk in walks or ()):
                raise NotPlain
            return _alike(before)
    (walks,) = before
    assert walks is not None
    match prim:
        case Stencil(dim):
            return tuple(_read(walk, prim) if walk.dim == dim else walk for walk in walks)
        case Mix(dims):
            if any(walk.dim in dims for walk in walks):
                raise NotPlain
            return walks
        case Rearrange():
            return tuple(walk._replace(dim=_moved(prim, walk.dim, shapes[0])) for walk in walks)
    raise NotPlain


def _alike(several: Sequence[Walks | None]) -> Walks:
    """What tensors that read the input in the same way, or not at all, have in common."""
    found = {walks for walks in several if walks is not None}
    if len(found) != 1:
        raise NotPlain
    return found.pop()


def _broadcast(walks: Walks | None, shape: Shape, wide: Shape) -> Walks | None:
    if walks is None:
        return None
    more = len(wide) - len(shape)
    if any(shape[walk.dim] != wide[walk.dim + more] for walk in walks):
        raise NotPlain
    return tuple(walk._replace(dim=walk.dim + more) for walk in walks)


def _read(walk: Walk, prim: Stencil) -> Walk:
    """One step back through a window."""
    taps = prim.taps
    if taps.period != 1 or not taps.counts[0]:
        raise NotPlain
    count, step = taps.counts[0], taps.step
    middle: Exact
    variance: Exact
    if taps.weights is None:
        middle = Fraction(step * (count - 1), 2)
        variance = Fraction(step**2 * (count**2 - 1), 12)
    else:
        shares = list(enumerate(taps.weights[0]))
        middle = sum(weight * step * t for t, weight in shares)
        variance = sum(weight * (step * t - middle) ** 2 for t, weight in shares)
    return Walk(
        walk.dim,
        walk.start + walk.jump * (taps.first[0] + middle),
        walk.jump * taps.advance,
        walk.variance + walk.jump**2 * variance,
    )


def _moved(prim: Rearrange, dim: int, shape: Shape) -> int:
    """Where a dim is after a rearrangement that leaves it whole."""
    moved = tuple(prim.split[k] for k in prim.order)
    if shape[dim] == 1:
        # Dims of size 1 are told apart by nothing but their place.
        if prim.split == shape == prim.shape and prim.order == tuple(range(len(shape))):
            return dim
        raise NotPlain
    part = _same(shape, dim, prim.split)
    place = prim.order.index(part)
    wide = moved if prim.expand is None else prim.expand
    return _same(wide, place, prim.shape)


def _same(before: Shape, dim: int, after: Shape) -> int:
    """The dim of ``after``, a reshape of ``before``, that has just the elements of ``dim`` there."""
    size, ahead = before[dim], math.prod(before[:dim])
    at = 1
    for k, n in enumerate(after):
        if at == ahead and n == size:
            return k
        at *= n
    raise NotPlain
