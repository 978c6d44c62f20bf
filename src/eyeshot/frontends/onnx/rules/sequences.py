"""Sequences and optional values: tensors in a row, known by their places."""

from __future__ import annotations

from collections.abc import Sequence as Several
from itertools import pairwise
from typing import Any

import numpy as np

from eyeshot.core import families
from eyeshot.core.primitives import Input
from eyeshot.frontends.onnx.calls import Call, NoRule, Sequence, Value
from eyeshot.frontends.onnx.fold import MAX_ELEMENTS
from eyeshot.frontends.onnx.rules import rule
from eyeshot.frontends.onnx.rules.views import axis_of

__all__ = ["either", "joined", "part", "reading", "stacked"]


# --- what control flow uses too


def reading(c: Call, x: Any, *deciders: Any) -> Any:
    """``x``, which reads all of the ``deciders`` too, those that depend on an input."""
    values = [d.at for d in deciders if d is not None and d.at is not None]
    if not values or x is None:
        return x
    if isinstance(x, Sequence):
        return Sequence([reading(c, item, *deciders) for item in x.items], x.optional)
    if 0 in x.shape:
        return x
    at = families.opaque(c.g, values, x.shape)
    if x.at is not None:
        at = families.join(c.g, x.at, at)
    return Value(at, x.shape, x.dtype, x.held)


def either(c: Call, options: Several[Any], deciders: Several[Any], why: str) -> Any:
    """One of several, which ``deciders`` choose: all of them are taken as read."""
    first = options[0]
    if all(x is None for x in options):
        return None
    if any(type(x) is not type(first) for x in options):
        raise NoRule(f"{why}, and they are not of one kind")
    if isinstance(first, Sequence):
        if len({len(x.items) for x in options}) > 1:
            raise NoRule(f"{why}, and they are sequences of several lengths")
        items = [
            either(c, row, deciders, why) for row in zip(*(x.items for x in options), strict=True)
        ]
        return Sequence(items, first.optional)
    if len({x.shape for x in options}) > 1:
        shapes = " or ".join(
            dict.fromkeys("x".join(map(str, x.shape)) or "scalar" for x in options)
        )
        raise NoRule(f"{why}, and so does the shape: {shapes}")
    reads = [x.at for x in options if x.at is not None]
    at = None
    if reads and 0 not in first.shape:
        at = families.join(c.g, *reads)
    plain = reading(c, Value(at, first.shape, first.dtype), *deciders)
    if plain.at is not None:
        c.bound(plain.at, "data-dependent", why)
    return plain


def part(c: Call, x: Value, axis: int, at: int | range) -> Value:
    """One position along an axis, which disappears, or a range of them."""
    kept = () if isinstance(at, int) else (len(at),)
    shape = (*x.shape[:axis], *kept, *x.shape[axis + 1 :])
    numbers = c.known(x) if x.size <= MAX_ELEMENTS else None
    held = None
    if numbers is not None:
        held = np.take(numbers, at if isinstance(at, int) else list(at), axis)
    if x.at is None or 0 in shape:
        return Value(None, shape, x.dtype, held)
    if isinstance(at, int):
        value = families.index(c.g, x.at, axis, at)
    else:
        value = families.narrow(c.g, x.at, axis, at.start, at.stop)
    return Value(value, shape, x.dtype, held)


def _alike(c: Call, items: Several[Any], what: str) -> None:
    if not items:
        raise c.fail(f"nothing to {what}")
    if not all(isinstance(x, Value) for x in items):
        raise c.fail("its items are no tensors")


def _numbers(c: Call, items: Several[Value]) -> list[Any] | None:
    """The numbers of all items, if they are known and few."""
    if sum(x.size for x in items) > MAX_ELEMENTS:
        return None
    found = []
    for x in items:
        numbers = c.known(x)
        if numbers is None:
            return None
        found.append(numbers)
    return found


def stacked(c: Call, items: Several[Value], axis: int) -> Value:
    """Tensors of one shape along a new axis."""
    _alike(c, items, "stack")
    if len({x.shape for x in items}) > 1:
        raise c.fail("it stacks tensors of several shapes")
    axis = axis_of(c, axis, items[0].rank + 1)
    one = [Value(x.at, (*x.shape[:axis], 1, *x.shape[axis:]), x.dtype) for x in items]
    numbers = _numbers(c, items)
    held = None if numbers is None else np.stack(numbers, axis)
    values = [
        None if x.at is None or 0 in x.shape else families.unsqueeze(c.g, x.at, axis) for x in items
    ]
    return _in_a_row(c, one, values, axis, held)


def joined(c: Call, items: Several[Value], axis: int) -> Value:
    """Tensors one after another along an axis; empty ones add nothing."""
    _alike(c, items, "concatenate")
    rank = items[0].rank
    if not -rank <= axis < rank or any(x.rank != rank for x in items):
        raise c.fail(f"axis {axis} is not among the dims of all that it concatenates")
    axis %= rank
    items = [x for x in items if x.shape[axis]] or [items[0]]
    numbers = _numbers(c, items)
    held = None if numbers is None else np.concatenate(numbers, axis)
    return _in_a_row(c, items, [x.at for x in items], axis, held)


def _in_a_row(
    c: Call, items: Several[Value], values: Several[int | None], axis: int, held: Any
) -> Value:
    first = items[0].shape
    if any(x.shape[:axis] + x.shape[axis + 1 :] != first[:axis] + first[axis + 1 :] for x in items):
        raise c.fail(f"it concatenates tensors of shapes that differ in more than axis {axis}")
    shape = (*first[:axis], sum(x.shape[axis] for x in items), *first[axis + 1 :])
    if all(v is None for v in values) or 0 in shape:
        return Value(None, shape, items[0].dtype, held)
    parts = [
        c.g.add(Input(x.shape)) if v is None else v for x, v in zip(items, values, strict=True)
    ]
    at = families.concat(c.g, parts, axis) if len(parts) > 1 else parts[0]
    return Value(at, shape, items[0].dtype, held)


# --- sequences


@rule("SequenceEmpty")
def sequence_empty(c: Call) -> Sequence:
    return Sequence(())


@rule("SequenceConstruct")
def sequence_construct(c: Call, *items: Value) -> Sequence:
    return Sequence(items)


def _place(c: Call, position: Value, count: int) -> int | None:
    """A known position, counted from the front; None where it depends on data."""
    numbers = c.constant(position)
    if numbers is None:
        return None
    at = int(numbers.reshape(-1)[0])
    if not -count <= at < count:
        raise c.fail(f"position {at} in a sequence of {count}")
    return at % count


SOME = "the position depends on data; each that it may be is taken as read"


@rule("SequenceAt")
def sequence_at(c: Call, sequence: Sequence, position: Value) -> Any:
    items = sequence.items
    if not items:
        raise c.fail("an item of an empty sequence")
    at = _place(c, position, len(items))
    return either(c, items, (position,), SOME) if at is None else items[at]


@rule("SequenceErase")
def sequence_erase(c: Call, sequence: Sequence, position: Value | None = None) -> Sequence:
    items = sequence.items
    if not items:
        raise c.fail("an item taken out of an empty sequence")
    at = len(items) - 1 if position is None else _place(c, position, len(items))
    if at is None:
        _few(c, len(items))
        return Sequence([either(c, pair, (position,), SOME) for pair in pairwise(items)])
    return Sequence(items[:at] + items[at + 1 :])


@rule("SequenceInsert")
def sequence_insert(
    c: Call, sequence: Sequence, item: Value, position: Value | None = None
) -> Sequence:
    """Position n is the end."""
    items = sequence.items
    count = len(items)
    at: int | None = count
    if position is not None:
        numbers = c.constant(position)
        at = None if numbers is None else int(numbers.reshape(-1)[0])
        if at is not None and not -count <= at <= count:
            raise c.fail(f"position {at} in a sequence of {count}")
    if at is not None:
        return Sequence((*items[:at], item, *items[at:]))
    _few(c, count)
    ways = zip((*items, item), (item, *items), strict=True)
    return Sequence(
        [either(c, [*dict.fromkeys((*pair, item))], (position,), SOME) for pair in ways]
    )


@rule("SequenceLength")
def sequence_length(c: Call, sequence: Sequence) -> Any:
    return np.asarray(len(sequence.items), np.int64)


@rule("ConcatFromSequence")
def concat_from_sequence(c: Call, sequence: Sequence) -> Value:
    _few(c, len(sequence.items))
    along = stacked if c.attr("new_axis", 0) else joined
    return along(c, sequence.items, c.attr("axis"))


@rule("SplitToSequence")
def split_to_sequence(c: Call, x: Value, split: Value | None = None) -> Sequence:
    """Into single positions, parts of one length (the last may be shorter), or parts of given lengths."""
    axis = axis_of(c, c.attr("axis", 0), x.rank)
    n = x.shape[axis]
    if split is not None and split.rank:
        _few(c, split.size)
    if split is None and not c.attr("keepdims", 1):
        return Sequence([part(c, x, axis, k) for k in range(_few(c, n))])
    sizes = [1] if split is None else c.ints(split)
    assert sizes is not None
    if split is None or not split.rank:
        each = sizes[0]
        if each < 1:
            raise c.fail(f"parts of {each}")
        sizes = [min(each, n - k * each) for k in range(_few(c, -(-n // each)))]
    if sum(sizes) != n or min(sizes, default=0) < 0:
        raise c.fail(f"parts of {sizes} do not make {n}")
    out, start = [], 0
    for size in sizes:
        out.append(part(c, x, axis, range(start, start + size)))
        start += size
    return Sequence(out)


#: Of fewer tensors no account is kept.
SHORT = 1 << 6


def _few(c: Call, count: int) -> int:
    """As many tensors, if they may be written out: all together no more than nodes."""
    if count > SHORT:
        if not c.walker.room(count):
            raise NoRule(f"a sequence of {count} tensors, with those before it, is too long")
        c.walker.runs += count
    return count


# --- optional values


@rule("Optional")
def optional(c: Call, x: Any = None) -> Sequence:
    return Sequence(() if x is None else (x,), True)


@rule("OptionalHasElement")
def optional_has_element(c: Call, x: Any = None) -> Any:
    """What is no optional value is there."""
    return np.asarray(bool(x.items) if isinstance(x, Sequence) and x.optional else x is not None)


@rule("OptionalGetElement")
def optional_get_element(c: Call, x: Any) -> Any:
    if not isinstance(x, Sequence) or not x.optional:
        return x
    if not x.items:
        raise c.fail("an optional value that is not there")
    return x.items[0]
