"""Recurrences: each step reads all steps before it, in closed form, however long the sequence is.

``torch.lstm``, ``gru``, ``rnn_tanh`` and ``rnn_relu`` are translated whole. A packed batch is laid out as
(time, batch, features) first, where the ends of shorter sequences read nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from eyeshot.core import families
from eyeshot.core.graph import Graph
from eyeshot.core.primitives import Input, Stencil, Taps
from eyeshot.frontends.torch.calls import Call, NeedsData
from eyeshot.frontends.torch.rules import function, rule
from eyeshot.frontends.torch.rules.shared import the, values_of
from eyeshot.frontends.torch.trace import Tracer

__all__ = []

WEIGHTS = "weights that depend on the input; all of them are taken as read"


class _Net(NamedTuple):
    """What the four functions are called with: input (T, B, F), states (layers · directions, B, features)."""

    x: int | None
    states: list[int | None]
    steps: int
    batch: int
    layers: int
    directions: int
    hidden: int
    output: int

    @property
    def lstm(self) -> bool:
        return len(self.states) == 2


@function(torch.lstm, torch.gru, torch.rnn_tanh, torch.rnn_relu)
def recurrence(tracer: Tracer, func: Any, args: Any, kwargs: Any) -> Any:
    """Padded: (input, hx, params, biases, layers, dropout, train, bidirectional, batch_first).

    Packed: (data, batch_sizes, hx, params, biases, layers, dropout, train, bidirectional).
    """
    if kwargs or len(args) != 9:
        return func(*args, **kwargs)
    packed = isinstance(args[8], bool) and isinstance(args[3], (list, tuple))
    data, sizes = args[0], args[1] if packed else None
    hx, params, _, layers, _, _, both = args[2:9] if packed else args[1:8]
    first = not packed and bool(args[8])
    states = list(hx) if isinstance(hx, (list, tuple)) else [hx]
    c = Call(tracer, None, func, args, kwargs)
    lengths = None if sizes is None else c.known(sizes)
    if any(t.dtype != data.dtype for t in (*states, *params)) or (packed and lengths is None):
        return func(*args, **kwargs)
    steps, batch = (
        (len(lengths), int(lengths[0])) if lengths is not None
        else (data.shape[1], data.shape[0]) if first
        else (data.shape[0], data.shape[1])
    )  # fmt: skip
    net = _Net(
        _laid_out(c, data, lengths, first), [c.v(s) for s in states], steps, batch, layers,
        1 + both, states[-1].shape[2], states[0].shape[2],
    )  # fmt: skip
    if tracer.real:
        out = tracer.pausing(func, *args, **kwargs)
    else:
        out = tracer.pausing(_empty, net, data, [tuple(s.shape) for s in states], first)
    y, *last = _network(c, net)
    if y is not None:
        y = _as_before(c, y, lengths, first)
    values = [y, *last]
    if extra := values_of(c, *params):
        for k, value in enumerate(values):
            shape = tuple(out[k].shape)
            more = families.opaque(c.g, extra, shape)
            value = c.join([more] if value is None else [value, more], shape)
            values[k] = c.bound(value, "data-dependent", WEIGHTS)
    return tracer.emit(func.__name__, out, values)


def _empty(
    net: _Net, data: Tensor, states: Sequence[tuple[int, ...]], first: bool
) -> tuple[Tensor, ...]:
    """The outputs without data."""
    made = (*data.shape[:-1], net.directions * net.output)
    if first:  # as PyTorch: computed with time in front
        out = torch.empty((made[1], made[0], made[2]), dtype=data.dtype, device="meta").transpose(
            0, 1
        )
    else:
        out = torch.empty(made, dtype=data.dtype, device="meta")
    return (out, *(torch.empty(s, dtype=data.dtype, device="meta") for s in states))


# --- layout


def _laid_out(c: Call, data: Tensor, lengths: Any, first: bool) -> int | None:
    """(time, batch, features)."""
    x = c.v(data)
    if x is None:
        return None
    if first:
        return families.permute(c.g, x, (1, 0, 2))
    if lengths is None:
        return x
    return _unpacked(c.g, x, [int(n) for n in lengths])


def _as_before(c: Call, y: int, lengths: Any, first: bool) -> int:
    """The inverse of :func:`_laid_out`."""
    if first:
        return families.permute(c.g, y, (1, 0, 2))
    if lengths is None:
        return y
    return _packed(c.g, y, [int(n) for n in lengths])


def _unpacked(graph: Graph, x: int, sizes: Sequence[int]) -> int:
    """(rows, features) packed step by step, as (time, batch, features)."""
    batch, features = sizes[0], graph.shapes[x][1]
    first, counts = [], []
    at = 0
    for size in sizes:
        for b in range(batch):
            first.append(at + b if b < size else 0)
            counts.append(int(b < size))
        at += size
    if not all(counts):
        n = len(first)
        x = graph.add(Stencil(0, Taps(n, 0, tuple(first), tuple(counts)), n), x)
    return families.reshape(graph, x, (len(sizes), batch, features))


def _packed(graph: Graph, x: int, sizes: Sequence[int]) -> int:
    """The inverse of :func:`_unpacked`."""
    steps, batch, features = graph.shapes[x]
    x = families.reshape(graph, x, (steps * batch, features))
    return families.pick(
        graph, x, 0, [t * batch + b for t, n in enumerate(sizes) for b in range(n)]
    )


# --- the network


def _network(c: Call, net: _Net) -> list[int | None]:
    """Values of the output (time, batch, features) and of the last states."""
    g = c.g
    x = net.x
    ends: list[list[int | None]] = [[] for _ in net.states]
    for layer in range(net.layers):
        outs = []
        for way in range(net.directions):
            k = layer * net.directions + way
            starts = [None if s is None else families.index(g, s, 0, k) for s in net.states]
            y, last = _direction(c, net, x, starts, way == 1)
            outs.append(y)
            for column, value in zip(ends, last, strict=True):
                column.append(value)
        x = _concat(g, outs, (net.steps, net.batch, net.output), 2)
    state = [net.output, net.hidden] if net.lstm else [net.output]
    final = []
    for column, n in zip(ends, state, strict=True):
        rows = [None if v is None else families.unsqueeze(g, v, 0) for v in column]
        final.append(_concat(g, rows, (1, net.batch, n), 0))
    return [x, *final]


def _concat(g: Graph, parts: Sequence[int | None], shape: tuple[int, ...], dim: int) -> int | None:
    """``parts`` of one shape along ``dim``; None among them reads nothing."""
    if all(part is None for part in parts):
        return None
    held = [g.add(Input(shape)) if part is None else part for part in parts]
    return families.concat(g, held, dim) if len(held) > 1 else held[0]


def _direction(
    c: Call, net: _Net, x: int | None, starts: Sequence[int | None], backward: bool
) -> tuple[int | None, list[int | None]]:
    """One direction of one layer: what comes out at each step, and its last states (batch, features)."""
    g = c.g
    shape = (net.steps, net.batch, net.output)
    parts: list[int] = []
    cell: list[int] = []  # the LSTM's last cell state
    if x is not None:
        y = families.flip(g, x, (0,)) if backward else x
        y = families.recurrent(g, y, 0, 2, net.output, False)
        y = families.flip(g, y, (0,)) if backward else y
        parts.append(y)
        done = families.index(g, y, 0, 0 if backward else net.steps - 1)
        cell.append(families.mix(g, done, (1,), (net.hidden,)))
    h0, c0 = starts[0], starts[1] if net.lstm else None
    if h0 is not None:
        # Every step reads all features of the first state.
        h = families.mix(g, h0, (1,), (1,))
        parts.append(c.shaped(families.unsqueeze(g, h, 0), shape))
        cell.append(c.shaped(h, (net.batch, net.hidden)))
    if c0 is not None:
        # The first step takes over its own cell; only the next reads the others, unless there is a projection.
        mixed = families.mix(g, c0, (1,), (1,))
        own = c0 if net.output == net.hidden else mixed
        first = c.shaped(families.unsqueeze(g, own, 0), (1, *shape[1:]))
        if net.steps > 1:
            rest = c.shaped(families.unsqueeze(g, mixed, 0), (net.steps - 1, *shape[1:]))
            first = families.concat(g, (rest, first) if backward else (first, rest), 0)
            own_end = c.shaped(mixed, (net.batch, net.hidden))
        else:
            own_end = c0
        parts.append(first)
        cell.append(own_end)
    if not parts:
        return None, [None] * len(starts)
    y = c.join(parts)
    last: list[int | None] = [families.index(g, y, 0, 0 if backward else net.steps - 1)]
    if net.lstm:
        last.append(c.join(cell))
    return y, last


# --- packing


def _packed_outputs(c: Call, values: Any) -> Any:
    """The data without numbers; the batch sizes follow from known lengths."""
    input, lengths = c.args[:2]
    known = c.known(lengths)
    if known is None:
        return None
    counts = [sum(1 for n in known if n > t) for t in range(int(known[0]))]
    data = torch.empty((sum(counts), *input.shape[2:]), dtype=input.dtype, device="meta")
    return data, torch.tensor(counts)


@rule("_pack_padded_sequence", kernel=_packed_outputs)
def pack_padded_sequence(
    c: Call, input: Tensor, lengths: Tensor, batch_first: bool
) -> list[int | None]:
    known = c.known(lengths)
    if known is None:
        if c.out is None:
            raise NeedsData("packing sequences needs their lengths")
        values = [value for _, value in c.reads()]
        why = "lengths depend on the input; all is taken as read"
        x = c.bound(families.opaque(c.g, values, tuple(c.out[0].shape)), "data-dependent", why)
        return [x, families.opaque(c.g, values, tuple(c.out[1].shape))]
    g, x = c.g, the(c, input)
    if batch_first:
        x = families.permute(g, x, (1, 0, *range(2, input.ndim)))
    steps, batch, *rest = g.shapes[x]
    x = families.reshape(g, x, (steps * batch, *rest))
    ends = [int(n) for n in known]
    at = [t * batch + b for t in range(ends[0]) for b, end in enumerate(ends) if end > t]
    return [families.pick(g, x, 0, at), None]
