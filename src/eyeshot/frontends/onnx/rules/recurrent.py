"""Recurrences: each step reads all steps before it, in closed form, however long the sequence is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from eyeshot.core import families
from eyeshot.core.primitives import Input
from eyeshot.frontends.onnx.calls import Call, Value
from eyeshot.frontends.onnx.rules import rule

__all__ = []

WAYS = ("forward", "reverse", "bidirectional")

#: By operator: how many gates there are, which of them make the state (the rest makes the output from it), and
#: which are read whole at once, since they weigh the hidden state before it is mixed.
GATES = {
    "RNN": (1, (0,), ()),
    "GRU": (3, (0, 1, 2), (1,)),
    "LSTM": (4, (0, 2, 3), ()),  # input, output, forget, cell
}


class _Read(NamedTuple):
    """What is read of something other than the sequence, values that broadcast to (batch, hidden).

    ``first``: by the output of the first step, ``cell`` by its cell state, ``later`` by all steps after it.
    """

    first: int
    cell: int
    later: int


class _Way(NamedTuple):
    """One direction: (steps, batch, hidden), and the last hidden and cell states (batch, hidden)."""

    steps: int
    hidden: int
    cell: int


@rule("RNN", "GRU", "LSTM")
def recurrence(
    c: Call,
    x: Value,
    w: Value,
    r: Value,
    b: Value | None = None,
    lengths: Value | None = None,
    h0: Value | None = None,
    c0: Value | None = None,
    peepholes: Value | None = None,
) -> list[Any]:
    """All steps (steps, directions, batch, hidden), and the last states (directions, batch, hidden)."""
    batched = bool(c.attr("layout", 0))
    if x.rank != 3 or w.rank != 3 or r.rank != 3:
        raise c.fail(f"an input of {x.rank} dims, weights of {w.rank} and {r.rank}")
    direction = c.attr("direction", "forward")
    if direction not in WAYS:
        raise c.fail(f"the direction {direction!r}")
    ways = WAYS.index(direction)
    directions = 2 if ways == 2 else 1
    steps, batch = (x.shape[1], x.shape[0]) if batched else x.shape[:2]
    hidden = r.shape[2]
    gates = GATES[c.op.name][0]
    if w.shape != (directions, gates * hidden, x.shape[2]) or r.shape != (
        directions,
        gates * hidden,
        hidden,
    ):
        raise c.fail(f"weights {list(w.shape)} and {list(r.shape)} for {directions} directions")
    for state in (h0, c0):
        wanted = (batch, directions, hidden) if batched else (directions, batch, hidden)
        if state is not None and state.shape != wanted:
            raise c.fail(f"a first state {list(state.shape)}, not {list(wanted)}")
    g = c.g
    turned = [
        None
        if s is None or (at := c.v(s)) is None
        else families.permute(g, at, (1, 0, 2))
        if batched
        else at
        for s in (x, h0, c0)
    ]
    net = _Net(c, steps, batch, hidden, tuple(turned), (w, r, b, peepholes))
    ends = _ends(c, lengths, steps, batch)
    found = []
    for k in range(directions):
        backward = ways == 1 or k == 1
        found.append(
            net.ragged(k, backward, ends) if ends else net.way(k, backward, net.whole, steps)
        )
    y = _stack(c, [way.steps for way in found], 1)
    last = [_stack(c, [way[j] for way in found], 0) for j in (1, 2)]
    if batched:
        y = families.permute(g, y, (2, 0, 1, 3))
        last = [families.permute(g, s, (1, 0, 2)) for s in last]
    out = [y, *last] if c.op.name == "LSTM" else [y, last[0]]
    if lengths is not None and c.constant(lengths) is None:
        if lengths.size != batch:
            raise c.fail(f"{lengths.size} lengths of {batch} sequences")
        out = [_unsure(c, value, lengths, batch, batched) for value in out]
    return out


def _unsure(c: Call, value: int, lengths: Value, batch: int, batched: bool) -> int:
    """A value that may read less, since where the sequences end is not known; that is read as well."""
    parts = [value]
    if (n := c.v(lengths)) is not None:
        shape = [1] * len(c.g.shapes[value])
        shape[0 if batched else -2] = batch
        parts.append(families.reshape(c.g, n, shape))
    why = "how long the sequences are is not known; all steps are taken as read"
    return c.bound(families.join(c.g, *parts), "data-dependent", why)


def _ends(c: Call, lengths: Value | None, steps: int, batch: int) -> list[int]:
    """The length of each sequence of the batch, none if all are as long as the tensor or it is not known."""
    numbers = c.constant(lengths)
    if numbers is None:
        return []
    ends = [int(n) for n in numbers.reshape(-1)]
    if len(ends) != batch or min(ends) < 0 or max(ends) > steps:
        raise c.fail(f"lengths {ends} of {batch} sequences of {steps} steps")
    return ends if min(ends) < steps else []


def _stack(c: Call, parts: Sequence[int], dim: int) -> int:
    """Parts side by side along a new dim."""
    rows = [families.unsqueeze(c.g, part, dim) for part in parts]
    return families.concat(c.g, rows, dim) if len(rows) > 1 else rows[0]


class _Net:
    """The recurrence of a node: sequence and first states, and weights that all directions have a part of.

    ``whole``: the whole batch.
    """

    def __init__(
        self,
        c: Call,
        steps: int,
        batch: int,
        hidden: int,
        data: tuple[int | None, ...],
        weights: tuple[Value | None, ...],
    ) -> None:
        self.c = c
        self.g = c.g
        self.steps = steps
        self.hidden = hidden
        self.x, self.h0, self.c0 = data
        self.weights = weights
        self.whole = range(batch)

    def ragged(self, k: int, backward: bool, ends: list[int]) -> _Way:
        """Sequences of other lengths: those of each length by themselves, behind their ends nothing."""
        g = self.g
        groups: dict[int, list[int]] = {}
        for b, end in enumerate(ends):
            groups.setdefault(end, []).append(b)
        parts: list[_Way] = []
        for end, items in groups.items():
            if not end:
                nothing = g.add(Input((self.steps, len(items), self.hidden)))
                last = [self._unrun(s, k, items) for s in (self.h0, self.c0)]
                parts.append(_Way(nothing, *last))
                continue
            way = self.way(k, backward, tuple(items), end)
            grown = families.placed(g, way.steps, 0, 0, self.steps)
            parts.append(way._replace(steps=grown))
        order = [b for items in groups.values() for b in items]
        back = sorted(range(len(order)), key=order.__getitem__)
        joined = []
        for j, dim in enumerate((1, 0, 0)):
            columns = [part[j] for part in parts]
            value = families.concat(g, columns, dim) if len(columns) > 1 else columns[0]
            joined.append(families.pick(g, value, dim, back))
        return _Way(*joined)

    def _unrun(self, state: int | None, k: int, items: Sequence[int]) -> int:
        """The last state where no step is run: the first one or zero, the standard does not say."""
        if state is None:
            return self.g.add(Input((len(items), self.hidden)))
        own = families.pick(self.g, families.index(self.g, state, 0, k), 0, items)
        why = "the last state of a sequence of no steps is taken to be its first"
        return self.c.bound(families.join(self.g, own), "unknown-case", why)

    def way(self, k: int, backward: bool, items: Sequence[int], steps: int) -> _Way:
        """Direction ``k`` over the first ``steps`` steps of some sequences of the batch."""
        c, g = self.c, self.g
        size = (len(items), self.hidden)
        reads = [*self._states(k, items), *self._weights(k)]
        parts, cells = [], []
        if reads:
            first = c.join([read.first for read in reads], size)
            later = c.join([read.later for read in reads], size)
            cells.append(c.join([r.cell for r in reads], size) if steps == 1 else later)
            if steps == 1 or all(read.first == read.later for read in reads):
                parts.append(c.shaped(families.unsqueeze(g, first, 0), (steps, *size)))
            else:
                rest = c.shaped(families.unsqueeze(g, later, 0), (steps - 1, *size))
                start = families.unsqueeze(g, first, 0)
                parts.append(families.concat(g, (rest, start) if backward else (start, rest), 0))
        end = 0 if backward else steps - 1
        if self.x is not None:
            x = self._of(families.narrow(g, self.x, 0, 0, steps), 1, items)
            x = families.flip(g, x, (0,)) if backward else x
            x = families.recurrent(g, x, 0, 2, self.hidden, False)
            x = families.flip(g, x, (0,)) if backward else x
            parts.append(x)
            cells.append(families.index(g, x, 0, end))
        if not parts:  # only the lengths depend on the network's input
            parts = [g.add(Input((steps, *size)))]
            cells = [g.add(Input(size))]
        y = c.join(parts)
        return _Way(y, families.index(g, y, 0, end), c.join(cells))

    def _of(self, x: int, dim: int, items: Sequence[int]) -> int:
        """Some sequences of the batch, which may be long."""
        return x if items is self.whole else families.pick(self.g, x, dim, items)

    def _states(self, k: int, items: Sequence[int]) -> list[_Read]:
        """All of the hidden state; of the cell state at first only its own."""
        g, found = self.g, []
        if self.h0 is not None:
            h = self._of(families.index(g, self.h0, 0, k), 0, items)
            mixed = families.mix(g, h, (1,), (1,))
            found.append(_Read(mixed, mixed, mixed))
        if self.c0 is not None:
            own = self._of(families.index(g, self.c0, 0, k), 0, items)
            found.append(_Read(own, own, families.mix(g, own, (1,), (1,))))
        return found

    def _weights(self, k: int) -> list[_Read]:
        """At first the rows of a unit's own gates, then all, since the hidden state has been mixed."""
        c, g = self.c, self.g
        gates, state, ahead = GATES[c.op.name]
        ahead = () if c.attr("linear_before_reset", 0) else ahead
        found = []
        for place, p in enumerate(self.weights):
            if p is None or (at := c.v(p)) is None:
                continue
            at = families.index(g, at, 0, k)
            if p.rank == 3:
                at = families.reduce(g, at, (1,), False)
            count = g.shapes[at][0] // self.hidden
            at = families.reshape(g, at, (count, self.hidden))
            every = families.mix(g, at, (0, 1), (1, 1))
            if place == 3:  # peepholes of the input, output and forget gates
                rows = range(3)
                cell: tuple[int, ...] = (0, 2)
                whole: list[int] = []
            else:
                rows = range(count)
                cell = tuple(j for j in rows if j % gates in state)
                whole = [j for j in rows if j % gates in ahead]
            first = self._rows(at, [j for j in rows if j not in whole])
            if whole:
                mixed = families.mix(g, self._rows(at, whole), (1,), (1,))
                first = c.join([first, mixed])
            found.append(_Read(first, self._rows(at, cell), every))
        return found

    def _rows(self, x: int, gates: Sequence[int]) -> int:
        """What a unit has of some gates: (1, hidden)."""
        g = self.g
        return families.mix(g, families.pick(g, x, 0, gates), (0,), (1,))
