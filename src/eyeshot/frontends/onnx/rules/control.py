"""Control flow: the branch that is taken, and loops round by round.

Where what decides is known without the network's inputs, so is what is read. Otherwise both branches are taken
as read, and a loop as reading everything that goes into it; so are loops too long to be written out.
"""

from __future__ import annotations

from collections.abc import Sequence as Several
from typing import Any

import numpy as np
from onnx import GraphProto, TensorProto

from eyeshot.core import families
from eyeshot.core.primitives import MAX_SIZE, Input, Shape
from eyeshot.errors import EyeshotError
from eyeshot.frontends.onnx import order
from eyeshot.frontends.onnx.calls import Call, NoRule, Sequence, Value, fixed
from eyeshot.frontends.onnx.rules import rule
from eyeshot.frontends.onnx.rules.sequences import either, part, reading, stacked
from eyeshot.frontends.onnx.rules.views import axis_of

__all__ = []

#: A loop is written out up to so many nodes in all its rounds, where the rounds of loops within it don't count.
MAX_UNROLL = 1 << 14
#: So many rounds are looked at for their shapes where all would be too many.
LOOKED_AT = 3
LONG = f"a loop of more than {MAX_UNROLL} nodes in its rounds, or in many loops, is not written out"


def _long(c: Call, nodes: int, done: int = 0) -> bool:
    """Whether a loop of so many nodes, of which some are done, is too long to be written out."""
    return nodes > MAX_UNROLL or not c.walker.room(nodes - done)


@rule("If")
def if_(c: Call, condition: Value) -> list[Any]:
    """The branch that is taken; where that depends on data, either: the condition is read then."""
    known = _flag(c, condition)
    if known is not None:
        graph = c.attr("then_branch" if known else "else_branch")
        return _outputs(c, c.walker.inner(c, graph, ()))
    then, other = (
        _outputs(c, c.walker.inner(c, c.attr(f"{name}_branch"), (), name))
        for name in ("then", "else")
    )
    why = "which branch runs depends on data; both are taken as read"
    return [either(c, pair, (condition,), why) for pair in zip(then, other, strict=True)]


def _outputs(c: Call, found: list[Any]) -> list[Any]:
    """What subgraphs make, if it is as much as the node is to make."""
    if len(found) < len(c.node.output):
        raise c.fail(f"{len(found)} tensors are made for {len(c.node.output)} outputs")
    return found


def _flag(c: Call, x: Value) -> bool | None:
    """A condition, if it is known whatever goes in."""
    if x.size != 1:
        raise c.fail(f"a condition of {x.size} elements")
    numbers = c.constant(x)
    return None if numbers is None else bool(numbers.reshape(-1)[0])


# --- loops


@rule("Loop")
def loop(c: Call, trips: Value | None, condition: Value | None, *states: Any) -> list[Any]:
    """Round by round as long as the condition is known; states first, then what each round adds to a stack."""
    body: GraphProto = c.attr("body")
    count = len(states)
    scans = len(body.output) - 1 - count
    if scans < 0:
        raise c.fail(
            f"its body makes {len(body.output)} tensors for {count} states and a condition"
        )
    most = None if trips is None else c.known(trips)
    go = True if condition is None else _flag(c, condition)
    limit = None if most is None else max(0, int(most.reshape(-1)[0]))
    if go is None or (trips is not None and most is None):
        why = "how often the loop runs depends on data"
        return _endless(c, body, states, None, why, limit)
    each = order.size(body) + 1
    # Where a condition may end it, the limit is often the greatest number there is.
    all_run = limit is not None and not _decides(body)
    state = list(states)
    stacks: list[list[Value]] = [[] for _ in range(scans)]
    turn = 0
    while go and (limit is None or turn < limit):
        if _long(c, (limit if limit is not None and all_run else turn + 1) * each, turn * each):
            return _endless(c, body, states, limit, LONG)
        inputs = [fixed(np.int64(turn)), fixed(np.bool_(True)), *state]
        again, *made = c.walker.inner(c, body, inputs, str(turn))
        state = made[:count]
        for stack, x in zip(stacks, made[count:], strict=True):
            stack.append(x)
        go = _flag(c, again)
        turn += 1
        if go is None:
            why = "when the loop ends depends on data"
            return _endless(c, body, states, limit, why)
    if not turn and scans:
        made = _round(c, body, states)[1 + count :]
        out = state + [Value(None, (0, *x.shape), x.dtype) for x in made]
    else:
        out = state + [stacked(c, stack, 0) for stack in stacks]
    # A number of rounds that the user gave for an input is read as well.
    return _outputs(c, [reading(c, x, trips) for x in out])


def _decides(body: GraphProto) -> bool:
    """Whether the condition that a round makes has to do with its number, or with what it carries."""
    makers = {name: node for node in body.node for name in node.output}
    varied = {i.name for k, i in enumerate(body.input) if k != 1}
    todo, seen = [body.output[0].name], set()
    while todo:
        name = todo.pop()
        if name in varied:
            return True
        if name in makers and name not in seen:
            todo += [*makers[name].input, *order.captures(makers[name])]
        seen.add(name)
    return False


def _blank(x: Any) -> Any:
    """A tensor of which only the shape is known."""
    if isinstance(x, Sequence):
        return Sequence([_blank(item) for item in x.items], x.optional)
    return x if x is None else Value(x.at, x.shape, x.dtype)


def _round(c: Call, body: GraphProto, states: Several[Any], limit: int | None = None) -> list[Any]:
    """What some round makes: of use for shapes only. What a round hands on as it came keeps its numbers.

    Where the round's number decides shapes (a slice from i to i + 1), all rounds are looked at, if few.
    """
    names = [i.name for i in body.input]
    last = [o.name for o in body.output[1 : 1 + len(states)]]
    given = [
        x if name == end else _blank(x)
        for x, name, end in zip(states, names[2:], last, strict=False)
    ]
    turn, flag = Value(None, (), TensorProto.INT64), Value(None, (), TensorProto.BOOL)
    with c.walker.trial():
        try:
            found = c.walker.inner(c, body, [turn, flag, *given], row=c.name)
        except EyeshotError:
            found = _rounds(c, body, states, limit)
        return [_plain(x) for x in found]


def _rounds(c: Call, body: GraphProto, states: Several[Any], limit: int | None) -> list[Any]:
    """What the last round makes, if all are alike in their shapes.

    Where there are too many, or nobody knows how many, the first few are taken as typical: a loop that goes on
    beyond what it slices would not end well.
    """
    turns = [*range(LOOKED_AT)]
    if limit is not None:
        short = limit <= LOOKED_AT or not _long(c, limit * (order.size(body) + 1))
        if short:
            turns = [*range(max(limit, 1))]
        elif limit <= MAX_SIZE:
            turns.append(limit - 1)
    state, first = list(states), None
    for turn in turns:
        inputs = [fixed(np.int64(turn)), fixed(np.bool_(True)), *state]
        found = c.walker.inner(c, body, inputs, row=c.name)
        state = found[1 : 1 + len(states)]
        shapes = [_shapes(x) for x in found]
        first = shapes if first is None else first
        if shapes != first:
            raise NoRule("the shapes in the loop change from round to round")
    return found


def _shapes(x: Any) -> Any:
    return [_shapes(item) for item in x.items] if isinstance(x, Sequence) else x and x.shape


def _plain(x: Any) -> Any:
    """Without the graph's value, which is gone after a trial."""
    if isinstance(x, Sequence):
        return Sequence([_plain(item) for item in x.items], x.optional)
    return x if x is None else Value(None, x.shape, x.dtype, x.held if x.at is None else None)


def _endless(
    c: Call,
    body: GraphProto,
    states: Several[Any],
    limit: int | None,
    why: str,
    most: int | None = None,
) -> list[Any]:
    """Everything that goes into the loop, for all that comes out of it.

    ``limit``: of rounds, once the first has run; ``most``: where even that may not be.
    """
    count = len(states)
    again, *made = _round(c, body, states, most if limit is None else limit)
    out = []
    for before, after in zip(states, made, strict=False):
        if not isinstance(before, Value) or not isinstance(after, Value):
            raise NoRule(f"{why}, and it carries a sequence")
        if before.shape != after.shape:
            raise NoRule(f"{why}, and the shape of what it carries changes from round to round")
        out.append(_everything(c, after.shape, after.dtype, why))
    for x in made[count:]:
        if limit is None or limit > MAX_SIZE:
            raise NoRule(f"{why}, and so does the shape of what its rounds make")
        cause = (
            why if c.constant(again) is not None else f"{why}; shown as if all {limit} rounds ran"
        )
        out.append(_everything(c, (limit, *x.shape), x.dtype, cause))
    return out


def _everything(c: Call, shape: Shape, dtype: int, why: str) -> Value:
    reads = [at for _, at in c.reads()] if c.depends else []
    if not reads or 0 in shape:
        return Value(None, shape, dtype)
    at = families.opaque(c.g, reads, shape)
    return Value(c.bound(at, "data-dependent", why), shape, dtype)


# --- scans


@rule("Scan")
def scan(c: Call, *inputs: Any) -> list[Any]:
    """One round for each element along an axis of the scanned inputs. Until opset 8 the batch comes first."""
    body: GraphProto = c.attr("body")
    count = c.attr("num_scan_inputs", 0)
    if not 0 < count <= len(inputs) - (c.opset < 9):
        raise c.fail(f"{count} of {len(inputs)} inputs are scanned")
    if any(x is None for x in inputs[c.opset < 9 :]):
        raise c.fail("an input is left out")
    if c.opset < 9:
        return _batched(c, body, inputs[0], inputs[1:], count)
    states, xs = inputs[: len(inputs) - count], inputs[len(inputs) - count :]
    axes = _listed(c, "scan_input_axes", count)
    backward = _listed(c, "scan_input_directions", count)
    axes = [axis_of(c, a, x.rank) for a, x in zip(axes, xs, strict=True)]
    results = len(body.output) - len(states)
    if results < 0:
        raise c.fail(f"its body makes {len(body.output)} tensors for {len(states)} states")
    along = _listed(c, "scan_output_axes", results)
    reverse = _listed(c, "scan_output_directions", results)
    lengths = {x.shape[a] for a, x in zip(axes, xs, strict=True)}
    if len(lengths) != 1:
        raise c.fail(f"it scans axes of {sorted(lengths)} elements together")
    (length,) = lengths
    if _long(c, length * (order.size(body) + 1)) or not length:
        return _closed(c, body, states, xs, axes, backward, along, reverse, length)
    state, stacks = _turns(c, body, states, xs, axes, backward, length, "")
    ends = [
        stacked(c, stack[::-1] if back else stack, axis)
        for stack, axis, back in zip(stacks, along, reverse, strict=True)
    ]
    return _outputs(c, state + ends)


def _listed(c: Call, name: str, count: int) -> list[int]:
    """An attribute of one number for each of ``count``, 0 if it is left out."""
    found = list(c.attr(name, (0,) * count))
    if len(found) != count:
        raise c.fail(f"{name} has {len(found)} numbers for {count}")
    return found


def _turns(
    c: Call,
    body: GraphProto,
    states: Several[Any],
    xs: Several[Value],
    axes: Several[int],
    backward: Several[int],
    length: int,
    label: str,
) -> tuple[list[Any], list[list[Value]]]:
    """The rounds written out: the last states, and what each round adds."""
    state = list(states)
    stacks: list[list[Value]] = [[] for _ in range(len(body.output) - len(states))]
    for turn in range(length):
        items = [
            part(c, x, a, length - 1 - turn if back else turn)
            for x, a, back in zip(xs, axes, backward, strict=True)
        ]
        made = c.walker.inner(c, body, [*state, *items], f"{label}{turn}")
        state = made[: len(states)]
        for stack, x in zip(stacks, made[len(states) :], strict=True):
            stack.append(x)
    return state, stacks


def _closed(
    c: Call,
    body: GraphProto,
    states: Several[Any],
    xs: Several[Value],
    axes: Several[int],
    backward: Several[int],
    along: Several[int],
    reverse: Several[int],
    length: int,
) -> list[Any]:
    """A bound in closed form: a round reads all of the rounds up to its own, and all that does not change."""
    g, count = c.g, len(states)
    with c.walker.trial():
        items = [
            Value(x.at, x.shape[:a] + x.shape[a + 1 :], x.dtype)
            for x, a in zip(xs, axes, strict=True)
        ]
        # A placeholder of its own shape for each: the graph's value has another.
        items = [
            x if x.at is None else Value(g.add(Input(x.shape)), x.shape, x.dtype) for x in items
        ]
        found = c.walker.inner(c, body, [*map(_blank, states), *items], row=c.name)
        made = [_plain(x) for x in found]
    out = []
    for before, after in zip(states, made, strict=False):
        if before.shape != after.shape:
            raise NoRule(f"{LONG}, and the shape of what it carries changes from round to round")
        out.append(before if not length else _everything(c, after.shape, after.dtype, LONG))
    # What does not change from round to round: first states, and what the body takes from outside.
    whole = [at for x in (*states, *c.captured) if x is not None and (at := x.at) is not None]
    lines = []
    for x, a, back in zip(xs, axes, backward, strict=True):
        if x.at is None or not length:
            continue
        others = [d for d in range(x.rank) if d != a]
        line = families.reduce(g, x.at, others, False) if others else x.at
        lines.append(families.flip(g, line, (0,)) if back else line)
    past = families.causal_mix(g, families.join(g, *lines), 0) if lines else None
    for x, axis, back in zip(made[count:], along, reverse, strict=True):
        axis = axis_of(c, axis, x.rank + 1)
        shape = (*x.shape[:axis], length, *x.shape[axis:])
        reads = [families.opaque(g, whole, shape)] if whole and 0 not in shape else []
        if past is not None and 0 not in shape:
            line = families.flip(g, past, (0,)) if back else past
            line = families.reshape(g, line, (length, *(1,) * (len(shape) - axis - 1)))
            reads.append(families.expand(g, line, shape))
        if not reads:
            out.append(Value(None, shape, x.dtype))
            continue
        at = families.join(g, *reads)
        out.append(Value(c.bound(at, "data-dependent", LONG), shape, x.dtype))
    return out


def _batched(
    c: Call, body: GraphProto, lengths: Value | None, rest: Several[Value], count: int
) -> list[Any]:
    """Opset 8: each element of the batch has rounds of its own, as many as ``lengths`` says, along dim 1."""
    states, xs = rest[: len(rest) - count], rest[len(rest) - count :]
    backward = _listed(c, "directions", count)
    if any(x.rank < 2 for x in xs):
        raise c.fail("what is scanned has no batch and no length")
    batch, length = xs[0].shape[:2]
    if _long(c, batch):
        raise NoRule(LONG)
    ends = [length] * batch if lengths is None else c.ints(lengths)
    assert ends is not None
    if any(x.shape[:2] != (batch, length) for x in xs) or len(ends) != batch:
        raise c.fail("the batch is not the same throughout")
    if any(not 0 < n <= length for n in ends):
        raise c.fail(f"lengths of {ends} in {length}")
    if _long(c, sum(ends) * (order.size(body) + 1)):
        raise NoRule(LONG)
    last: list[list[Value]] = [[] for _ in states]
    results: list[list[Value]] = [[] for _ in range(len(body.output) - len(states))]
    for b, end in enumerate(ends):
        own = [part(c, x, 0, b) for x in xs]
        own = [part(c, x, 0, range(end)) for x in own]
        first = [part(c, x, 0, b) for x in states]
        state, stacks = _turns(c, body, first, own, [0] * count, backward, end, f"{b}/")
        for held, x in zip(last, state, strict=True):
            held.append(x)
        for held, stack in zip(results, stacks, strict=True):
            blank = Value(None, stack[0].shape, stack[0].dtype)
            held.append(stacked(c, stack + [blank] * (length - end), 0))
    return _outputs(c, [stacked(c, held, 0) for held in (*last, *results)])


@rule("SequenceMap")
def sequence_map(c: Call, sequence: Sequence, *others: Any) -> list[Any]:
    """The body once for each item."""
    body: GraphProto = c.attr("body")
    lists = (sequence, *others)
    count = len(sequence.items)
    if any(isinstance(x, Sequence) and len(x.items) != count for x in lists):
        raise c.fail("its sequences are not of one length")
    made: list[list[Any]] = [[] for _ in body.output]
    for k in range(count):
        items = [x.items[k] if isinstance(x, Sequence) else x for x in lists]
        for column, x in zip(made, c.walker.inner(c, body, items, str(k)), strict=True):
            column.append(x)
    return _outputs(c, [Sequence(column) for column in made])
