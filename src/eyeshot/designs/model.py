"""The search as a constraint program: choices of layers, what they make of maps and fields, and their cost.

Along every axis a tensor has *states*: pairs of its advance (how far units that are one period apart lie apart
on the input) and its size. A network whose strides and sizes stay has one state a tensor, and everything but
the choices is linear. The hull of every phase is a pair of integer variables: a window moves both ends by what
it reads, a join takes the least and the greatest.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, NoReturn

from eyeshot.designs.network import GLOBAL, Local, Network, Option
from eyeshot.designs.request import Request
from eyeshot.errors import EyeshotError
from eyeshot.frontends.spec.operators import JOINING, POINTWISE, Concat, Conv, Window

__all__ = ["Model", "OutOfTime", "Solution"]

JOINS = frozenset([*POINTWISE, *JOINING])
#: Beyond these a program takes longer than anyone waits.
MAX_STATES = 1500
MAX_PERIOD = 256
MAX_CASES = 20_000
#: The solver has 64 bits, also for sums.
MAX_NUMBER = 1 << 60


class State(NamedTuple):
    """``advance``: input elements a period (0 where no field is asked for); ``n``: the map's size."""

    advance: int
    n: int


class Grid(NamedTuple):
    """Where an integer may lie: ``offset`` and whole steps from there; a step of 0 where it is known."""

    offset: int
    step: int

    def has(self, n: int) -> bool:
        return (n - self.offset) % self.step == 0 if self.step else n == self.offset

    def plus(self, other: Grid, times: int = 1) -> Grid:
        """Where this and some times the other may lie together."""
        step = math.gcd(self.step, times * other.step)
        return Grid(self.offset + times * other.offset, step)


class Grids(NamedTuple):
    """Where a hull may begin, and the sum of its begin and end, which stays where it is symmetric."""

    begin: Grid
    sum: Grid

    @property
    def end(self) -> Grid:
        return self.sum.plus(self.begin, -1)

    @property
    def size(self) -> Grid:
        return self.sum.plus(self.begin, -2)


class Value(NamedTuple):
    """A tensor along one axis: its states with one literal each, and its hull a phase.

    ``hulls`` is None where no field is asked for, or nothing but a whole axis is read. ``grids``: where each
    may lie; that a size is odd whatever is chosen, the solver does not see.
    """

    states: list[State]
    literals: list[Any]
    hulls: list[tuple[Any, Any]] | None
    low: int = 0
    high: int = 1
    grids: Sequence[Grids] = (Grids(Grid(0, 0), Grid(1, 0)),)

    @property
    def only(self) -> bool:
        return len(self.states) == 1

    @property
    def period(self) -> int:
        return len(self.hulls or (None,))


class _Misfit(Exception):
    """No choice of layers fits together."""


class OutOfTime(Exception):
    """Nothing was found in the time that was given."""


class Solution(NamedTuple):
    """What was chosen, what the program makes of its size and cost, and whether nothing is better."""

    picks: dict[str, Option]
    size: tuple[int, ...]
    cost: int
    proved: bool


class Model:
    """All that ``options`` allow, without a target. Raises EyeshotError for what has no plain arithmetic."""

    def __init__(
        self, net: Network, options: Mapping[str, list[Option]], target: str, wanted: Request
    ) -> None:
        from ortools.sat.python import cp_model

        self.cp = cp_model
        self.net = net
        self.options = options
        self.target = target
        self.wanted = wanted
        self.model = cp_model.CpModel()
        self.x: dict[str, list[Any]] = {}
        self.joint: dict[tuple[int, ...], Any] = {}
        for name, several in options.items():
            self.x[name] = [self.model.new_bool_var("") for _ in several]
            self.model.add_exactly_one(self.x[name])
        self.way = net.before(target)
        self.groups = self._groups()
        self.limits = [self._advance(axes) for axes in self.groups]
        self.values = [
            self._fitting(axes, limit) for axes, limit in zip(self.groups, self.limits, strict=True)
        ]
        self.grids: list[Grid] = []
        self.sizes = [self._size(values) for values in self.values]
        for values, limit in zip(self.values, self.limits, strict=True):
            at = values[target]
            assert at is not None
            for state, literal in zip(at.states, at.literals, strict=True):
                if state.advance != limit:
                    self.model.add(literal == 0)
        self.floor = self.ceiling = 0
        self.cost = self._cost()
        self.changes = self._changes()
        if wanted.most is not None:
            self.model.add(sum(1 - literals[0] for literals in self.x.values()) <= wanted.most)

    # --- axes

    def _groups(self) -> list[tuple[int, ...]]:
        """Axes that behave alike in everything are one."""
        net, wanted = self.net, self.wanted
        (source,) = [n for n in net.inputs if self._reaches(n)]
        axes = tuple(range(len(net.shapes[source]) - 2))
        alike = wanted.square
        for name in net.order:
            entry = net.entries[name]
            shapes = [net.shapes[name], *(net.shapes[read] for read in entry.reads)]
            if any(len(shape) != len(axes) + 2 for shape in shapes):
                continue
            alike = alike and all(len(set(shape[2:])) == 1 for shape in shapes)
            if alike and len(entry.reads) == 1 and name in self.way:
                alone = net.alone(name, net.shapes[entry.reads[0]][2:])
                alike = alone is not None and len(set(alone.axes)) == 1
        for several in self.options.values():
            for option in several:
                pads = [()] if isinstance(option.padding, str) else option.padding
                rows = (option.kernel, option.stride, option.dilation, pads)
                alike = alike and all(len(set(row)) == 1 for row in rows)
        return [axes] if alike else [(axis,) for axis in axes]

    def _reaches(self, name: str) -> bool:
        return any(name in self.net.entries[each].reads for each in self.way)

    def _advance(self, axes: tuple[int, ...]) -> int:
        """The advance that the target must have along an axis: its jump times its period."""
        value = self._walk(axes, None)[self.target]
        if value is None or value.hulls is None:
            raise EyeshotError(
                f"{self.target}: its units have no field of their own along the axes of the input"
            )
        (state,) = value.states
        jump = None if self.wanted.jump is None else self.wanted.jump[axes[0]]
        return state.advance if jump is None else jump * value.period

    # --- one axis, from the input on

    def _fitting(self, axes: tuple[int, ...], limit: int) -> dict[str, Value | None]:
        try:
            return self._walk(axes, limit)
        except _Misfit:
            # Nothing is a solution, whatever the rest of the program is about.
            self.model.add_bool_or([])
            return self._walk(axes, None)

    def _walk(self, axes: tuple[int, ...], limit: int | None) -> dict[str, Value | None]:
        """Every tensor along ``axes``; None where it no longer has them.

        ``limit``: the advance that the target shall have; None: every layer as it is.
        """
        net, axis = self.net, axes[0]
        values: dict[str, Value | None] = {}
        for name in net.inputs:
            shape = net.shapes[name]
            if self._reaches(name):
                values[name] = Value([State(1, shape[2 + axis])], [1], [(0, 1)])
            else:
                known = len(shape) > 2 + axis
                values[name] = Value([State(0, shape[2 + axis])], [1], None) if known else None
        for name in net.order:
            entry = net.entries[name]
            inputs = [values[read] for read in entry.reads]
            plain = len(net.shapes[name]) == len(net.shapes[net.inputs[0]])
            joins = entry.op in JOINS or (
                isinstance(entry.struct, Concat)
                and entry.struct.dim in (1, 1 - len(net.shapes[name]))
            )
            if not plain or None in inputs or not (joins or len(inputs) == 1):
                if name in self.way:
                    self._refuse(name)
                values[name] = None
            elif len(inputs) == 1:
                (x,) = (value for value in inputs if value)
                if name in self.options:
                    choice = list(zip(self.options[name], self.x[name], strict=True))
                    if limit is None:
                        choice = [(self.options[name][0], 1)]
                    values[name] = self._choice(name, axes, x, choice, limit)
                else:
                    values[name] = self._fixed(name, axes, x, limit)
            else:
                values[name] = self._join(name, [value for value in inputs if value], limit)
        return values

    def _refuse(self, name: str) -> NoReturn:
        op = self.net.entries[name].op
        raise EyeshotError(
            f"{name}: what {op} reads has no plain arithmetic, so that nothing before it can be designed for "
            f"{self.target}; ask for a layer before it"
        )

    def _sizes(self, name: str, axes: Iterable[int], n: int) -> tuple[int, ...]:
        """The sizes of the map that a layer reads, ``n`` along ``axes``; as it is now along others."""
        found = list(self.net.shapes[self.net.entries[name].reads[0]][2:])
        for axis in axes:
            found[axis] = n
        return tuple(found)

    def _fixed(self, name: str, axes: tuple[int, ...], x: Value, limit: int | None) -> Value | None:
        """A layer that stays as it is: by its own closed form, whatever that is."""
        asked = name in self.way
        out: list[State | None] = []
        locals_: list[Local] = []
        for state in x.states:
            alone = self.net.alone(name, self._sizes(name, axes, state.n))
            if alone is None:
                out.append(None)
                continue
            if not alone.axes:
                if asked:
                    self._refuse(name)
                return None
            local = alone.axes[axes[0]]
            advance = 0
            if asked:
                if local is None:
                    self._refuse(name)
                if local == GLOBAL or x.hulls is None:
                    x = x._replace(hulls=None)
                else:
                    assert isinstance(local, Local)
                    locals_.append(local)
                    advance = state.advance * local.advance
            out.append(State(advance, alone.shape[2 + axes[0]]))
        rates = {(local.period, local.advance) for local in locals_}
        if len(rates) > 1:
            self._refuse(name)
        if not locals_ or x.hulls is None:
            return self._settled(name, x, [out], [None], None)
        ((period, step),) = rates
        turns = x.period // math.gcd(x.period, step)
        if period * turns > MAX_PERIOD:
            self._refuse(name)
        # In one period of the result, the input's phases come round a whole number of times.
        out = [state and State(state.advance * turns // x.period, state.n) for state in out]
        rest = iter(locals_)
        ends = [None if state is None else next(rest) for state in out]

        def reads(s: int, _: int) -> list[tuple[int, int]]:
            local = ends[s]
            assert local is not None
            found = []
            for i in range(period * turns):
                turn, phase = divmod(i, period)
                found.append((step * turn + local.begin[phase], step * turn + local.end[phase] - 1))
            return found

        return self._settled(name, x, [out], [None], reads, limit)

    def _choice(
        self,
        name: str,
        axes: tuple[int, ...],
        x: Value,
        choice: Sequence[tuple[Option, Any]],
        limit: int | None,
    ) -> Value | None:
        """A window that may be any of several."""
        asked = name in self.way and x.hulls is not None
        effects: dict[Hashable, int] = {}
        members: list[list[Any]] = []
        table: list[list[tuple[State, int, int, int] | None]] = []
        for option, literal in choice:
            row = [self._window(name, axes, state, option, asked) for state in x.states]
            at = effects.setdefault(tuple(row), len(table))
            if at == len(table):
                table.append(row)
                members.append([])
            members[at].append(literal)
        groups = [self._any(literals) for literals in members]
        outs = [[effect and effect[0] for effect in row] for row in table]
        period = x.period

        def reads(s: int, g: int) -> list[tuple[int, int]]:
            effect = table[g][s]
            assert effect is not None
            _, stride, begin, end = effect
            return [(p * stride - begin, p * stride + end) for p in range(period)]

        return self._settled(name, x, outs, groups, reads if asked else None, limit)

    def _window(
        self, name: str, axes: tuple[int, ...], state: State, option: Option, asked: bool
    ) -> tuple[State, int, int, int] | None:
        """The state behind a window, its stride, and how far it reads before and after its place."""
        if option.copies < 0:
            return state, 1, 0, 0
        sizes = self._sizes(name, axes, state.n)
        struct = self.net.entries[name].struct
        axis = axes[0]
        if isinstance(struct, Window) or (
            isinstance(struct, Conv) and struct.padding_mode == "zeros"
        ):
            begin, end = option.pads(sizes)[axis]
            reach = option.dilation[axis] * (option.kernel[axis] - 1)
            room = state.n + begin + end - reach - 1
            if room < 0:
                return None
            n, after = room // option.stride[axis] + 1, reach - begin
        else:
            alone = self.net.alone(name, sizes, option)
            if alone is None:
                return None
            local = alone.axes[axis]
            if not isinstance(local, Local) or local.period > 1:
                return None
            n, begin, after = alone.shape[2 + axis], -local.begin[0], local.end[0] - 1
        times = 1 + option.copies
        stride = option.stride[axis] if asked else 1
        return State(state.advance * stride, n), stride, begin * times, after * times

    def _join(self, name: str, inputs: list[Value], limit: int | None) -> Value:
        """The same element of several tensors, or one of them."""
        asked = name in self.way
        if any(state.n > 1 for value in inputs for state in value.states):
            small = [all(state.n == 1 for state in value.states) for value in inputs]
        else:
            small = [False] * len(inputs)
        if asked and any(s and v.hulls is not None for s, v in zip(small, inputs, strict=True)):
            self._refuse(name)
        inputs = [value for s, value in zip(small, inputs, strict=True) if not s]
        local = [value for value in inputs if value.hulls is not None]
        period = math.lcm(*(value.period for value in local))
        if period > MAX_PERIOD:
            self._refuse(name)

        def key(value: Value, state: State) -> State:
            return State(state.advance * period // value.period, state.n)

        leading = local or inputs
        common = [{key(value, state) for state in value.states} for value in leading]
        states = sorted(set.intersection(*common))
        if not states and limit is None:
            self._refuse(name)  # units that lie differently far apart
        if not states:
            raise _Misfit
        literals = self._literals(len(states))
        for value in inputs:
            whole = value.hulls is None and bool(local)
            for found in {s.n if whole else key(value, s) for s in value.states} | {
                s.n if whole else s for s in states
            }:
                here = [
                    lit
                    for s, lit in zip(value.states, value.literals, strict=True)
                    if (s.n if whole else key(value, s)) == found
                ]
                there = [
                    lit
                    for s, lit in zip(states, literals, strict=True)
                    if (s.n if whole else s) == found
                ]
                self.model.add(sum(here) == sum(there))
        if not local:
            return Value(states, literals, None)
        low, high = min(v.low for v in local), max(v.high for v in local)
        reach = max(abs(s.advance) for s in states)
        low, high = low - reach, high + reach
        hulls = []
        grids = []
        for p in range(period):
            grids.append(
                _joined([_read(value, s.advance, p, p) for value in local for s in value.states])
            )
            ends = [self._at(value, p, low, high) for value in local]
            lows, highs = [e[0] for e in ends], [e[1] for e in ends]
            hulls.append(
                (self._extreme(lows, low, high, min), self._extreme(highs, low, high, max))
            )
        return Value(states, literals, hulls, low, high, grids)

    def _at(self, value: Value, i: int, low: int, high: int) -> tuple[Any, Any]:
        """The hull of unit ``i`` of a tensor, which may lie in a later period than the first."""
        assert value.hulls is not None
        turn, phase = divmod(i, value.period)
        begin, end = value.hulls[phase]
        if turn == 0:
            return begin, end
        if value.only:
            return begin + value.states[0].advance * turn, end + value.states[0].advance * turn
        found = []
        for side in (begin, end):
            moved = self.model.new_int_var(low, high, "")
            for state, literal in zip(value.states, value.literals, strict=True):
                self._add(moved == side + state.advance * turn, [literal])
            found.append(moved)
        return found[0], found[1]

    def _extreme(self, ends: list[Any], low: int, high: int, pick: Callable[..., Any]) -> Any:
        if all(isinstance(end, int) for end in ends):
            return pick(ends)
        if len(ends) == 1:
            return ends[0]
        found = self.model.new_int_var(low, high, "")
        (self.model.add_min_equality if pick is min else self.model.add_max_equality)(found, ends)
        return found

    def _settled(
        self,
        name: str,
        x: Value,
        outs: Sequence[Sequence[State | None]],
        groups: Sequence[Any],
        reads: Callable[[int, int], list[tuple[int, int]]] | None,
        limit: int | None = None,
    ) -> Value | None:
        """The tensor behind a layer: ``outs[g][s]`` is its state where choice ``g`` meets state ``s``.

        ``reads(s, g)``: the first and last unit of the input that each phase of the output reads.
        """
        lasting = [
            [
                out if out is not None and not (limit and reads and limit % out.advance) else None
                for out in row
            ]
            for row in outs
        ]
        states = sorted({out for row in lasting for out in row if out is not None})
        if len(states) > MAX_STATES:
            raise EyeshotError(
                f"{name}: its map may have more than {MAX_STATES} sizes; let fewer layers change (--only, "
                "--kernels)"
            )
        if not states:
            raise _Misfit
        index = {state: t for t, state in enumerate(states)}
        literals = self._follow(x, lasting, groups, index)
        if reads is None:
            return Value(states, literals, None)
        assert x.hulls is not None
        return self._moved(name, x, states, literals, lasting, groups, reads)

    def _follow(
        self,
        x: Value,
        outs: Sequence[Sequence[State | None]],
        groups: Sequence[Any],
        index: Mapping[State, int],
    ) -> list[Any]:
        """One literal a state of the output."""
        literals = self._literals(len(index))
        for g, row in enumerate(outs):
            for s, out in enumerate(row):
                held = [lit for lit in (x.literals[s], groups[g]) if lit is not None]
                left = [lit.negated() for lit in held if not isinstance(lit, int)]
                if out is None:
                    self.model.add_bool_or(left)
                elif not isinstance(literals[index[out]], int):
                    self.model.add_bool_or([*left, literals[index[out]]])
        return literals

    def _moved(
        self,
        name: str,
        x: Value,
        states: list[State],
        literals: list[Any],
        outs: Sequence[Sequence[State | None]],
        groups: Sequence[Any],
        reads: Callable[[int, int], list[tuple[int, int]]],
    ) -> Value:
        """The hull of every phase, from the first and last unit of the input that it reads."""
        assert x.hulls is not None
        period = x.period
        places = {
            (s, g): reads(s, g)
            for g, row in enumerate(outs)
            for s, out in enumerate(row)
            if out is not None
        }
        phases = len(next(iter(places.values())))
        low, high = x.low, x.high
        for (s, _), each in places.items():
            advance = x.states[s].advance
            for first, last in each:
                low = min(low, x.low + advance * (first // period))
                high = max(high, x.high + advance * (last // period))
        if high - low > MAX_NUMBER:
            self._too_large(f"{name}: its field may become")
        found = [
            [_read(x, x.states[s].advance, *each[p]) for (s, _), each in places.items()]
            for p in range(phases)
        ]
        grids = [
            Grids(_union(g.begin for g in each), _union(g.sum for g in each)) for each in found
        ]
        hulls: list[tuple[Any, Any]] = []
        steps = {(x.states[s].advance, tuple(each)) for (s, _), each in places.items()}
        if len(steps) == 1:
            ((advance, only),) = steps
            for first, last in only:
                begin = x.hulls[first % period][0] + advance * (first // period)
                end = x.hulls[last % period][1] + advance * (last // period)
                hulls.append((begin, end))
            return Value(states, literals, hulls, low, high, grids)
        hulls = [
            (self.model.new_int_var(low, high, ""), self.model.new_int_var(low, high, ""))
            for _ in range(phases)
        ]
        advances = {state.advance for state in x.states}
        if (
            period == phases == 1
            and len(advances) == 1
            and len(places) == len(groups) * len(x.states)
        ):
            alike = all(
                len({places[s, g][0] for s in range(len(x.states))}) == 1
                for g in range(len(groups))
            )
            if alike:
                (advance,) = advances
                for side in (0, 1):
                    moved = sum(
                        advance * places[0, g][0][side] * lit for g, lit in enumerate(groups)
                    )
                    self.model.add(hulls[0][side] == x.hulls[0][side] + moved)
                return Value(states, literals, hulls, low, high, grids)
        for side in (0, 1):
            # States of equal advance and choices of equal reads are one case.
            cases: dict[tuple[int, tuple[int, ...]], list[tuple[int, int]]] = {}
            for (s, g), each in places.items():
                cases.setdefault((x.states[s].advance, tuple(e[side] for e in each)), []).append(
                    (s, g)
                )
            for (advance, units), pairs in cases.items():
                chosen = self._case(x, groups, pairs)
                for p, unit in enumerate(units):
                    turn, phase = divmod(unit, period)
                    self._add(hulls[p][side] == x.hulls[phase][side] + advance * turn, chosen)
        return Value(states, literals, hulls, low, high, grids)

    def _case(self, x: Value, groups: Sequence[Any], pairs: list[tuple[int, int]]) -> list[Any]:
        """Literals that all hold where one of these pairs (state, choice) does."""
        at, chosen = sorted({s for s, _ in pairs}), sorted({g for _, g in pairs})
        if len(at) * len(chosen) == len(pairs):
            found = []
            if len(at) < len(x.states):
                found.append(self._any([x.literals[s] for s in at]))
            if len(chosen) < len(groups):
                found.append(self._any([groups[g] for g in chosen]))
            return found
        return [self._any([self._all([x.literals[s], groups[g]]) for s, g in pairs])]

    # --- small pieces

    def _literals(self, count: int) -> list[Any]:
        if count == 1:
            return [1]
        found = [self.model.new_bool_var("") for _ in range(count)]
        self.model.add_exactly_one(found)
        return found

    def _any(self, literals: Sequence[Any]) -> Any:
        """A literal that holds where one of these does, of which at most one may."""
        if len(literals) == 1:
            return literals[0]
        found = self.model.new_bool_var("")
        self.model.add(sum(literals) == found)
        return found

    def _all(self, literals: Sequence[Any]) -> Any:
        """A literal that holds where all of these do; None and 1 always do."""
        held = [lit for lit in literals if lit is not None and not isinstance(lit, int)]
        if len(held) < 2:
            return held[0] if held else 1
        key = tuple(sorted(lit.index for lit in held))
        if key not in self.joint:
            found = self.joint[key] = self.model.new_bool_var("")
            self.model.add_bool_or([found, *(lit.negated() for lit in held)])
            for lit in held:
                self.model.add_implication(found, lit)
        return self.joint[key]

    def _too_large(self, what: str) -> NoReturn:
        raise EyeshotError(f"{what} larger than 2^60, which the search can't count; allow less")

    def _add(self, constraint: Any, literals: Sequence[Any]) -> None:
        added = self.model.add(constraint)
        if not isinstance(constraint, bool) and len(constraint.vars) == 1:
            # The value of one variable, under several literals: with such OR-tools 9.15 was seen to call a
            # program infeasible that is not.
            literals = [self._all(literals)]
        held = [literal for literal in literals if not isinstance(literal, int)]
        if held:
            added.only_enforce_if(held)

    # --- what is asked for

    def _size(self, values: Mapping[str, Value | None]) -> Any:
        """The size of the largest unit of the target."""
        at = values[self.target]
        assert at is not None and at.hulls is not None
        count = min(at.period, max(state.n for state in at.states))
        sizes = [end - begin for begin, end in at.hulls[:count]]
        self.grids.append(_union(grids.size for grids in at.grids[:count]))
        return self._extreme(sizes, 0, at.high - at.low, max)

    def _cost(self) -> Any:
        """What layers add to the cost; what one saves pays for another where the whole is counted."""
        parts: list[Any] = []
        for name in self.net.order:
            weights = self.net.weights(name)
            several = self.options.get(name)
            if not weights:
                continue
            each = [
                self.net.weights(name, option.kernel) * (1 + option.copies)
                for option in several or ()
            ] or [weights]
            places = self._places(name)
            own = weights * math.prod(self._now(name))
            if all(value.only for _, value in places):
                times = math.prod(value.states[0].n ** power for power, value in places)
                more = [self._counted(weight * times - own) for weight in each]
                self._limit(more)
                if several is None:
                    parts += more
                else:
                    parts += [c * lit for c, lit in zip(more, self.x[name], strict=True) if c]
                continue
            parts.append(self._spent(name, each, own, places))
        return sum(parts)

    def _limit(self, costs: list[int]) -> None:
        """Add what one layer may add to the bounds of the whole."""
        self.floor += min(costs)
        self.ceiling += max(map(abs, costs))
        if self.ceiling > MAX_NUMBER:
            self._too_large(f"the cost ({self.wanted.cost}) may become")

    def _counted(self, more: int) -> int:
        return more if self.wanted.counted == "total" else max(0, more)

    def _now(self, name: str) -> tuple[int, ...]:
        """The map at whose positions a layer's weights count, as it is; parameters count once."""
        if self.wanted.cost == "params":
            return ()
        return self.net.shapes[self.net.positions(name)][2:]

    def _places(self, name: str) -> list[tuple[int, Value]]:
        """The same map as it may become: along how many axes, and its sizes there."""
        if self.wanted.cost == "params":
            return []
        found = []
        for axes, values in zip(self.groups, self.values, strict=True):
            value = values[self.net.positions(name)]
            if value is None:
                n = self._now(name)[axes[0]]
                value = Value([State(0, n)], [1], None)
            found.append((len(axes), value))
        return found

    def _spent(
        self, name: str, weights: list[int], own: int, places: list[tuple[int, Value]]
    ) -> Any:
        """What a layer adds whose map may have several sizes: a literal for each case, and no products."""
        classes: dict[int, list[Any]] = {}
        for weight, literal in zip(weights, self.x.get(name, [1]), strict=True):
            classes.setdefault(weight, []).append(literal)
        chosen = [(weight, self._any(literals)) for weight, literals in classes.items()]
        sizes = [
            [
                (state.n**power, literal)
                for state, literal in zip(value.states, value.literals, strict=True)
            ]
            for power, value in places
        ]
        if len(chosen) * math.prod(map(len, sizes)) > MAX_CASES:
            raise EyeshotError(
                f"{name}: its map may have too many sizes to count multiply-adds; let fewer layers change "
                "(--only), or count parameters (--cost params)"
            )
        cases = list(itertools.product(chosen, *sizes))
        costs = [self._counted(math.prod(factor for factor, _ in case) - own) for case in cases]
        self._limit(costs)
        held = [self._all([literal for _, literal in case]) for case in cases]
        self.model.add_exactly_one(held)
        return sum(cost * literal for cost, literal in zip(costs, held, strict=True))

    def _changes(self) -> Any:
        """After the cost: fewer layers, then smaller changes, then later layers."""
        names = list(self.options)
        ranks = len(names) * (len(names) + 1) // 2 + 1
        amounts = {name: [amount(option, several[0]) for option in several]
                   for name, several in self.options.items()}  # fmt: skip
        whole = sum(max(each) for each in amounts.values()) + 1
        total = 0
        for k, name in enumerate(names):
            for literal, much in zip(self.x[name][1:], amounts[name][1:], strict=True):
                total += (whole * ranks + much * ranks + len(names) - k) * literal
        return total

    # --- solving

    def target_met(self) -> None:
        """Ask for the size."""
        for axes, size, grid in zip(self.groups, self.sizes, self.grids, strict=True):
            goal = self.wanted.size[axes[0]]
            if self.wanted.mode == "exactly":
                self.model.add(size == goal if grid.has(goal) else False)
            elif self.wanted.mode == "at-least":
                self.model.add(size >= goal)
            else:
                self.model.add(size <= goal)

    def without(self, picks: Mapping[str, Option]) -> None:
        """Nothing more with these options of these layers."""
        self.model.add_bool_or(
            self.x[name][self.options[name].index(pick)].negated() for name, pick in picks.items()
        )

    def dense(self) -> None:
        """Let no window be dilated so far that its taps leave gaps between what they read.

        What a later layer may fill is lost with it.
        """
        for axes, values in zip(self.groups, self.values, strict=True):
            for name, several in self.options.items():
                x = values[self.net.entries[name].reads[0]]
                if x is None or x.hulls is None:
                    continue
                by_dilation: dict[int, list[Any]] = {}
                for option, literal in zip(several, self.x[name], strict=True):
                    d = option.dilation[axes[0]]
                    if option.copies >= 0 and d > several[0].dilation[axes[0]]:
                        by_dilation.setdefault(d, []).append(literal)
                for d, literals in by_dilation.items():
                    chosen = self._any(literals) if len(literals) < len(several) else 1
                    for begin, end in x.hulls:
                        for state, literal in zip(x.states, x.literals, strict=True):
                            far = state.advance * d // x.period
                            self._add(end - begin >= far, [chosen, literal])

    def not_beyond(self, picks: Mapping[str, Option]) -> None:
        """Some layer must reach less far than with these, along some axis."""
        less = []
        for name, several in self.options.items():
            reach = several[several.index(picks[name])].reach
            for option, literal in zip(several, self.x[name], strict=True):
                if any(a < b for a, b in zip(option.reach, reach, strict=True)):
                    less.append(literal)
        self.model.add_bool_or(less)

    def best(self, seconds: float, level: int | None) -> Solution | None:
        """The best that is left, which costs ``level`` or more; None where there is none.

        Raises :class:`OutOfTime` where none was found in time.
        """
        found = self._solve(self.changes, self.floor if level is None else level, seconds)
        if found is not None:
            return found
        cheapest = self._solve(self.cost, None, seconds)
        if cheapest is None:
            return None
        try:
            found = self._solve(self.changes, cheapest.cost, seconds)
        except OutOfTime:
            found = None
        if found is None:
            return cheapest._replace(proved=False)
        return found._replace(proved=found.proved and cheapest.proved)

    def impossible(self, seconds: float) -> bool:
        """Whether nothing is a solution."""
        return bool(self._solver(seconds).solve(self.model) == self.cp.INFEASIBLE)

    def nearest(self, seconds: float) -> list[tuple[int, ...]]:
        """Sizes that can be reached: the largest below the target and the smallest above it, along all axes.

        The target itself can't be. What was not proved to be nearest in time is left out.
        """
        found = []
        goals = [self.wanted.size[axes[0]] for axes in self.groups]
        sides = {"at-least": (False,), "at-most": (True,), "exactly": (False, True)}
        beyond = int(len(goals) == 1)
        for above in sides[self.wanted.mode]:
            model = self.model.clone()
            for size, goal in zip(self.sizes, goals, strict=True):
                model.add(size >= goal + beyond if above else size <= goal - beyond)
            total = sum(self.sizes)
            (model.minimize if above else model.maximize)(total)
            solver = self._solver(seconds)
            if solver.solve(model) == self.cp.OPTIMAL:
                found.append(self._shown(solver))
        return found

    def _solver(self, seconds: float) -> Any:
        solver = self.cp.CpSolver()
        # One worker and one seed: the same answer every time.
        solver.parameters.num_workers = 1
        solver.parameters.random_seed = 0
        # The programs are small and solved sooner as they are (measured); and OR-tools 9.15's presolve was seen
        # to call one infeasible that was not.
        solver.parameters.cp_model_presolve = False
        solver.parameters.linearization_level = 0
        solver.parameters.max_time_in_seconds = max(seconds, 0.01)
        return solver

    def _solve(self, goal: Any, level: int | None, seconds: float) -> Solution | None:
        model = self.model.clone()
        if level is not None:
            model.add(self.cost == level)
        model.minimize(goal)
        solver = self._solver(seconds)
        status = solver.solve(model)
        certain = True
        if status == self.cp.INFEASIBLE and level is None:
            # Nothing is left at all: that shall not rest on one way to solve it.
            solver.parameters.cp_model_presolve = True
            status = solver.solve(model)
            certain = False
        if status == self.cp.INFEASIBLE:
            return None
        if status == self.cp.MODEL_INVALID:
            self._too_large("numbers may become")
        if status not in (self.cp.OPTIMAL, self.cp.FEASIBLE):
            raise OutOfTime
        picks = {
            name: next(o for o, lit in zip(several, self.x[name], strict=True) if solver.value(lit))
            for name, several in self.options.items()
        }
        proved = certain and status == self.cp.OPTIMAL
        return Solution(picks, self._shown(solver), solver.value(self.cost), proved)

    def _shown(self, solver: Any) -> tuple[int, ...]:
        """The size per axis."""
        found = [0] * sum(map(len, self.groups))
        for axes, size in zip(self.groups, self.sizes, strict=True):
            for axis in axes:
                found[axis] = solver.value(size)
        return tuple(found)


def _union(grids: Iterable[Grid]) -> Grid:
    """The finest grid that has all of these."""
    first, *rest = grids
    step = math.gcd(first.step, *(n for g in rest for n in (g.step, g.offset - first.offset)))
    return Grid(first.offset, step)


def _joined(several: Sequence[Grids]) -> Grids:
    """Of the hull of several hulls."""
    begin = _union(grids.begin for grids in several)
    sums = {grids.sum for grids in several}
    if len(sums) == 1 and all(grid.step == 0 for grid in sums):
        # All lie about one centre.
        return Grids(begin, sums.pop())
    return Grids(begin, begin.plus(_union(grids.end for grids in several)))


def _read(x: Value, advance: int, first: int, last: int) -> Grids:
    """Of the hull of units ``first`` to ``last`` of a tensor."""
    turn, begin = divmod(first, x.period)
    more, end = divmod(last, x.period)
    start = x.grids[begin].begin
    total = x.grids[end].sum if begin == end else start.plus(x.grids[end].end)
    return Grids(start.plus(Grid(turn * advance, 0)), total.plus(Grid((turn + more) * advance, 0)))


def amount(option: Option, own: Option) -> int:
    """How far an option's numbers are from the layer's own; a copy or a removed layer counts as its reach."""
    found = 0
    for field in ("kernel", "stride", "dilation"):
        pairs = zip(getattr(option, field), getattr(own, field), strict=True)
        found += max(abs(a - b) for a, b in pairs)
    return found + abs(option.copies) * max(own.kernel)
