"""The canvas engine: closed forms, independent of the input's size.

It carries one :class:`State` per value through the graph: how the tensor's dims are made of factors,
and per input axis the field's terms (see :mod:`~eyeshot.core.terms`). Reads of padding are *not*
dropped here: a hull lives on an unbounded input and may reach outside the real one.

A reduction over a whole axis turns terms into ``whole`` ones, the global context, so that the local
field beside it stays visible. Where there is no closed form a field's terms are None, and the image
engine has the answer.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from itertools import count, pairwise
from typing import NamedTuple, cast

from eyeshot.core import terms as algebra
from eyeshot.core.fields import NOTHING, Field, concat, unite
from eyeshot.core.graph import Graph
from eyeshot.core.primitives import (
    Concat,
    Join,
    Mix,
    Rearrange,
    Shape,
    Stencil,
)
from eyeshot.core.terms import Term
from eyeshot.errors import EyeshotError

__all__ = ["Canvas", "Field", "Source", "State"]

Factor = tuple[int, int]
"""(identity, size)."""
Dims = tuple[tuple[Factor, ...], ...]
"""Per tensor dim the factors it is made of, row-major."""


class Source(NamedTuple):
    """What fields refer to: dims ``axes`` of ``value``, under ``name``."""

    value: int
    name: str
    shape: Shape
    axes: tuple[int, ...]


class State(NamedTuple):
    """A value's factors, and its field per input axis (the engine's ``axes``, in order)."""

    dims: Dims
    fields: tuple[Field, ...]


class Canvas:
    """Evaluates a graph's closed forms relative to ``sources``."""

    # What becomes of fields where branches meet; another reading of "several" changes these alone.
    _unite = staticmethod(unite)
    _concat_fields = staticmethod(concat)

    def __init__(self, graph: Graph, sources: list[Source]) -> None:
        self.graph = graph
        self.sources = sources
        self.axes = [(k, axis) for k, source in enumerate(sources) for axis in source.axes]
        self._fresh: Iterator[int] = count()
        self._blank = (NOTHING,) * len(self.axes)

    def run(self, keep: Iterable[int]) -> dict[int, State]:
        """The states of the values in ``keep``; the others are freed after their last use."""
        graph = self.graph
        kept = set(keep)
        origins = {source.value: k for k, source in enumerate(self.sources)}
        last: dict[int, int] = {}
        for v, inputs in enumerate(graph.inputs):
            for i in inputs:
                last[i] = v
        states: dict[int, State] = {}
        v = 0
        try:
            for v, inputs in enumerate(graph.inputs):
                if v not in last and v not in kept:
                    continue
                state = self._origin(origins[v]) if v in origins else self._apply(v, states)
                if v in graph.bounds:
                    fields = tuple(f._replace(bound=True) if f.reads else f for f in state.fields)
                    state = State(state.dims, fields)
                states[v] = state
                for i in inputs:
                    if last[i] == v and i not in kept:
                        states.pop(i, None)
        except EyeshotError as error:
            name = next((mark.name for mark in graph.layers if mark.value >= v), "")
            raise EyeshotError(f"{name}: {error}" if name else str(error)) from None
        return {v: states[v] for v in kept}

    def _apply(self, v: int, states: dict[int, State]) -> State:
        graph = self.graph
        prim, inputs = graph.prims[v], graph.inputs[v]
        kind = type(prim)
        if kind is Stencil:
            return self._stencil(states[inputs[0]], cast(Stencil, prim))
        if kind is Mix:
            return self._mix(states[inputs[0]], cast(Mix, prim))
        if kind is Join:
            return self._join([states[i] for i in inputs], graph.shapes[v])
        if kind is Rearrange:
            return self._rearrange(states[inputs[0]], cast(Rearrange, prim))
        if kind is Concat:
            return self._concat([states[i] for i in inputs], cast(Concat, prim).dim)
        return State(self._plain(graph.shapes[v]), self._blank)

    # --- leaves

    def _plain(self, shape: Shape) -> Dims:
        fresh = self._fresh
        return tuple(((next(fresh), size),) for size in shape)

    def _origin(self, k: int) -> State:
        source = self.sources[k]
        dims = self._plain(source.shape)
        fields = []
        for j, axis in self.axes:
            if j == k:
                factor = dims[axis][0][0]
                term = Term(((factor, 1, 1),), (0,), (1,))
                whole = (0, source.shape[axis])
                fields.append(Field((term,), ((factor, 0),), reach=whole, inside=True))
            else:
                fields.append(NOTHING)
        return State(dims, tuple(fields))

    # --- one dim made of one factor

    def _single(self, state: State, dim: int) -> State:
        """The state with ``dim`` made of one factor."""
        while len(state.dims[dim]) != 1:
            group = state.dims[dim]
            if not group:
                new = (next(self._fresh), 1)
                dims = (*state.dims[:dim], (new,), *state.dims[dim + 1 :])
                return State(dims, state.fields)
            (major, n1), (minor, n2) = group[-2:]
            new = (next(self._fresh), n1 * n2)
            dims = (*state.dims[:dim], (*group[:-2], new), *state.dims[dim + 1 :])
            state = State(
                dims,
                tuple([f.merge(major, minor, n1, n2, new[0]) for f in state.fields]),
            )
        return state

    # --- the five primitives

    def _stencil(self, state: State, prim: Stencil) -> State:
        dim, taps, size = prim
        if len(state.dims[dim]) != 1:
            state = self._single(state, dim)
        dims, fields = state
        factor, n_in = dims[dim][0]
        read = algebra.Reading(factor, taps, n_in, size)
        fields = tuple([field.stencil(read) if field.reads else field for field in fields])
        if size != n_in:
            dims = (*dims[:dim], ((factor, size),), *dims[dim + 1 :])
        return State(dims, fields)

    def _mix(self, state: State, prim: Mix) -> State:
        dims, sizes, groups, causal = prim
        if groups > 1 and any(
            field.uses(f) for f, _ in state.dims[dims[0]] for field in state.fields
        ):
            return self._mix_groups(state, dims[0], sizes[0], groups)
        if causal:
            state = self._single(state, dims[0])
            factor, n = state.dims[dims[0]][0]
            return State(
                state.dims,
                tuple([field.causal(factor, n) for field in state.fields]),
            )
        mixed = [factor for dim in dims for factor in state.dims[dim]]
        layout = list(state.dims)
        for dim, size in zip(dims, sizes, strict=True):
            old = layout[dim]
            # A factor's identity may live on: no term uses it any more.
            layout[dim] = ((old[0][0] if old else next(self._fresh), size),)
        fields = state.fields
        if any(field.uses(f) for f, _ in mixed for field in fields):
            sizes_of = {f: n for group in state.dims for f, n in group}
            gone = [f for f, _ in mixed]
            fields = tuple([field.mix(gone, sizes_of) for field in fields])
        return State(tuple(layout), fields)

    def _mix_groups(self, state: State, dim: int, size: int, groups: int) -> State:
        """Channels as (group, member): the members are mixed, the groups stay apart."""
        each = _size(state.dims[dim]) // groups
        if each == 1:
            group, member = list(state.dims[dim]), next(self._fresh)
        else:
            state = self._refactor(state, dim, (groups, each))
            *group, (member, _) = state.dims[dim]
            sizes = {f: n for factors in state.dims for f, n in factors}
            state = State(state.dims, tuple([field.mix([member], sizes) for field in state.fields]))
        inner = (*group, (member, size // groups)) if size > groups else tuple(group)
        return State((*state.dims[:dim], inner, *state.dims[dim + 1 :]), state.fields)

    def _rearrange(self, state: State, prim: Rearrange) -> State:
        split, order, shape, expand, parts, merged = prim
        state = self._reshape(state, split) if parts is None else self._take_apart(state, prim)
        state = State(tuple(state.dims[k] for k in order), state.fields)
        moved: Shape = tuple(split[k] for k in order)
        if expand is not None:
            for k, (n, m) in enumerate(zip(moved, expand, strict=True)):
                if n != m:
                    state = self._widen(state, k, m)
        return self._reshape(state, shape) if merged is None else self._put_together(state, merged)

    def _take_apart(self, state: State, prim: Rearrange) -> State:
        """Each dim split into as many as ``prim.parts`` says."""
        dims: list[tuple[Factor, ...]] = []
        fields = state.fields
        for k, pieces in enumerate(prim.parts or ()):
            sizes = prim.split[len(dims) : len(dims) + pieces]
            group = state.dims[k]
            if pieces == 1:
                dims.append(group)
                continue
            if pieces and len(group) > 1:
                part = self._regroup((group,), fields, sizes)
                dims += part.dims
                fields = part.fields
                continue
            for factor, n in group:
                for size in sizes[:-1]:
                    major, minor, n = next(self._fresh), next(self._fresh), n // size
                    fields = tuple([f.split(factor, major, minor, size, n) for f in fields])
                    dims.append(((major, size),))
                    factor = minor
                if sizes:
                    dims.append(((factor, n),))
                else:
                    fields = tuple([field.drop(factor) for field in fields])
        return State(tuple(dims), fields)

    def _put_together(self, state: State, merged: tuple[int, ...]) -> State:
        """As many dims made one as ``merged`` says for each."""
        dims: list[tuple[Factor, ...]] = []
        fields = state.fields
        at = 0
        for pieces in merged:
            factors = [factor for group in state.dims[at : at + pieces] for factor in group]
            at += pieces
            group = factors
            if len(factors) > 1:
                group = []
                for factor, n in factors:
                    # Of an axis of one unit only the dim is kept, in front of what it is merged with.
                    if n > 1 or (not group and any(f.uses(factor) for f in fields)):
                        group.append((factor, n))
                    else:
                        fields = tuple([field.drop(factor) for field in fields])
            dims.append(tuple(group) or ((next(self._fresh), 1),))
        return State(tuple(dims), fields)

    def _reshape(self, state: State, shape: Shape) -> State:
        """Regroup the flat list of factors, splitting and merging where a boundary falls inside one."""
        if len(shape) == len(state.dims) and all(
            n == _size(group) and (n > 1 or len(group) == 1)
            for n, group in zip(shape, state.dims, strict=True)
        ):
            return state
        # Trailing dims that stay are left alone; it also tells a new dim of size 1 from an axis of one unit.
        dims = state.dims
        same = 0
        for n, group in zip(reversed(shape), reversed(dims), strict=False):
            if n != _size(group) or (n == 1 and len(group) != 1):
                break
            same += 1
        if (
            0 < same < len(dims)
            and _size(dims[-same - 1]) == 1
            and shape[-same - 1 : -same] != (1,)
        ):
            same -= 1  # an axis of one unit, which becomes part of the dim behind it
        if not same:
            return self._regroup(dims, state.fields, shape)
        front = self._regroup(dims[:-same], state.fields, shape[:-same])
        return State((*front.dims, *dims[-same:]), front.fields)

    def _regroup(self, old: Dims, fields: tuple[Field, ...], shape: Shape) -> State:
        pending = [factor for group in reversed(old) for factor in reversed(group)]
        dims: list[tuple[Factor, ...]] = []
        for k, n in enumerate(shape):
            if n == 1:
                spare = len(pending) - (len(shape) - k)
                if spare > 0 and all(m == 1 for _, m in pending):
                    # More 1s than dims left for them: those that follow no axis go first.
                    idle = [
                        p for p in reversed(pending) if not any(f.tagged(p[0]) for f in fields)
                    ][:spare]
                    pending = [p for p in pending if p not in idle]
                    for factor, _ in idle:
                        fields = tuple([field.drop(factor) for field in fields])
                one = pending.pop() if pending and pending[-1][1] == 1 else (next(self._fresh), 1)
                dims.append((one,))
                continue
            group: list[Factor] = []
            done = 1
            while done < n:
                factor, size = pending.pop()
                rest = n // done
                if size == 1 and not group and any(f.uses(factor) for f in fields):
                    # A map of one unit keeps its axis when it is upsampled by rearranging.
                    group.append((factor, 1))
                elif size == 1:
                    fields = tuple([field.drop(factor) for field in fields])
                elif rest % size == 0:
                    group.append((factor, size))
                    done *= size
                elif size % rest == 0:
                    major, minor = next(self._fresh), next(self._fresh)
                    fields = tuple(
                        field.split(factor, major, minor, rest, size // rest) for field in fields
                    )
                    group.append((major, rest))
                    pending.append((minor, size // rest))
                    done = n
                else:
                    other, more = pending.pop()
                    if more == 1:
                        fields = tuple([field.drop(other) for field in fields])
                        pending.append((factor, size))
                        continue
                    new = next(self._fresh)
                    fields = tuple(field.merge(factor, other, size, more, new) for field in fields)
                    pending.append((new, size * more))
            dims.append(tuple(group))
        for factor, _ in pending:
            fields = tuple([field.drop(factor) for field in fields])
        return State(tuple(dims), fields)

    def _widen(self, state: State, dim: int, size: int) -> State:
        """A size-1 dim broadcast: its one position is meant everywhere."""
        new = next(self._fresh)
        gone = [factor for factor, _ in state.dims[dim]]
        followed = [any(field.tagged(f) for f in gone) for field in state.fields]
        fields = state.fields
        for factor in gone:
            fields = tuple([field.drop(factor) for field in fields])
        fields = tuple(
            field._replace(tags=(*field.tags, (new, None))) if was else field
            for field, was in zip(fields, followed, strict=True)
        )
        return State((*state.dims[:dim], ((new, size),), *state.dims[dim + 1 :]), fields)

    def _join(self, states: list[State], shape: Shape) -> State:
        if len(states) == 1:
            return states[0]
        states = [state for state in states if any(f.reads or f.tags for f in state.fields)]
        if not states:
            return State(self._plain(shape), self._blank)
        first, *others = (self._broadcast(state, shape) for state in states)
        for other in others:
            first, other = self._align(first, other)
            first = State(first.dims, tuple(map(self._unite, first.fields, other.fields)))
        return first

    def _broadcast(self, state: State, shape: Shape) -> State:
        """Size-1 dims widened, missing leading dims added."""
        dims = list(state.dims)
        if len(dims) == len(shape) and all(
            _size(group) == n for group, n in zip(dims, shape, strict=True)
        ):
            return state
        dims = [((next(self._fresh), 1),) for _ in range(len(shape) - len(dims))] + dims
        state = State(tuple(dims), state.fields)
        for k, n in enumerate(shape):
            if _size(state.dims[k]) != n:
                state = self._widen(state, k, n)
        return state

    def _align(self, a: State, b: State, but: int = -1) -> tuple[State, State]:
        """The two states over the same factors, except for those of dim ``but``."""
        if a.dims == b.dims:
            return a, b
        for k in range(len(a.dims)):
            if k != but and _sizes(a.dims[k]) != _sizes(b.dims[k]):
                shape = _refine(_sizes(a.dims[k]), _sizes(b.dims[k]))
                a, b = self._refactor(a, k, shape), self._refactor(b, k, shape)
        return a, self._conform(a, b, but)

    def _conform(self, a: State, b: State, but: int = -1) -> State:
        """State ``b`` over the factors of ``a``, except for those of dim ``but``."""
        if a.dims[:but] == b.dims[:but] and a.dims[but + 1 :] == b.dims[but + 1 :] and but >= 0:
            return b
        for k in range(len(a.dims)):
            if k != but and _sizes(a.dims[k]) != _sizes(b.dims[k]):
                b = self._refactor(b, k, _sizes(a.dims[k]))
        names = {
            old[0]: new[0]
            for k, (group_a, group_b) in enumerate(zip(a.dims, b.dims, strict=True))
            if k != but
            for new, old in zip(group_a, group_b, strict=True)
            if old[0] != new[0]
        }
        dims = a.dims
        if but >= 0:
            # The dim in question keeps factors of its own, clear of the names given.
            for factor, _ in b.dims[but]:
                names[factor] = next(self._fresh)
            own = tuple((names[f], n) for f, n in b.dims[but])
            dims = (*dims[:but], own, *dims[but + 1 :])
        return State(dims, tuple([field.rename(names) for field in b.fields]))

    def _refactor(self, state: State, dim: int, sizes: Shape) -> State:
        """``dim`` made of one factor of each of these sizes."""
        part = self._regroup((state.dims[dim],), state.fields, sizes)
        for k in range(len(sizes)):
            part = self._single(part, k)
        group = tuple(factors[0] for factors in part.dims)
        return State((*state.dims[:dim], group, *state.dims[dim + 1 :]), part.fields)

    def _concat(self, states: list[State], dim: int) -> State:
        states = [self._single(state, dim) for state in states]
        total = sum(state.dims[dim][0][1] for state in states)
        reading = [any(f.reads or f.tags for f in state.fields) for state in states]
        base = states[reading.index(True)] if any(reading) else states[0]
        factor = next(self._fresh)
        parts: list[list[Field]] = [[] for _ in base.fields]
        offset = 0
        for state, reads in zip(states, reading, strict=True):
            if reads:  # first, for aligning may regroup the base
                base, _ = self._align(base, state, but=dim)
        for state, reads in zip(states, reading, strict=True):
            n = state.dims[dim][0][1]
            if reads:
                state = self._conform(base, state, but=dim)
                own = state.dims[dim][0][0]
                for k, field in enumerate(state.fields):
                    parts[k].append(_place(field, own, factor, n, offset))
            offset += n
        fields = tuple([self._concat_fields(pieces, factor, total) for pieces in parts])
        return State((*base.dims[:dim], ((factor, total),), *base.dims[dim + 1 :]), fields)


# --- fields


def _size(group: tuple[Factor, ...]) -> int:
    return group[0][1] if len(group) == 1 else math.prod(n for _, n in group)


def _sizes(group: tuple[Factor, ...]) -> tuple[int, ...]:
    return tuple(n for _, n in group)


def _refine(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...]:
    """The coarsest row-major factors that both factorisations are made of; one factor if there are none."""
    strides = set()
    for sizes in (a, b):
        stride = 1
        for n in reversed(sizes):
            strides.add(stride)
            stride *= n
    ladder = [*sorted(strides), math.prod(a)]
    steps = list(pairwise(ladder))
    if any(high % low for low, high in steps):
        return (math.prod(a),)
    return tuple(high // low for low, high in reversed(steps)) or (1,)


def _place(field: Field, own: int, factor: int, n: int, offset: int) -> Field:
    """One input of a concatenation, moved to its place along the new ``factor``."""
    return field.rename({own: factor}).each(lambda term: [algebra.shift(term, factor, n, offset)])
