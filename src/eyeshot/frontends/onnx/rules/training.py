"""Losses and optimizers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eyeshot.core import families
from eyeshot.core.primitives import Stencil, Taps
from eyeshot.frontends.onnx.calls import Call, NoRule, Value
from eyeshot.frontends.onnx.rules import rule

__all__ = []

TARGET = "the target is not known: it says which class is read, and all are taken as read"


@rule("NegativeLogLikelihoodLoss")
def likelihood(c: Call, x: Value, target: Value, weight: Value | None = None) -> int:
    """Of each place the class that the target names."""
    classes, numbers, ignored = _target(c, x, target)
    values = _weights(c, weight, target, numbers, ignored)
    if (at := c.v(x)) is not None:
        if numbers is None:
            value = families.reduce(c.g, at, (1,), False)
            values.append(c.bound(value, "data-dependent", TARGET))
        else:
            values.append(_named(c, at, classes, numbers, ignored))
    return _reduced(c, values, target)


@rule("SoftmaxCrossEntropyLoss")
def cross_entropy(c: Call, x: Value, target: Value, weight: Value | None = None) -> list[Any]:
    """Of each place all classes, whatever the target is; their logarithms come out too."""
    _, numbers, ignored = _target(c, x, target)
    values = _weights(c, weight, target, numbers, ignored)
    logs: Any = Value(None, x.shape, x.dtype)
    if (at := c.v(x)) is not None:
        logs = families.norm(c.g, at, (1,))
        value = families.reduce(c.g, at, (1,), False)
        if ignored is not None:
            kept = families.masked(c.g, value, ~ignored)
            if kept is None:
                why = "which places are ignored is long to write down; all are taken as read"
                kept = c.bound(value, "large-mask", why)
            value = kept
        values.append(value)
    return [_reduced(c, values, target), logs]


def _target(
    c: Call, x: Value, target: Value
) -> tuple[int, NDArray[Any] | None, NDArray[np.bool_] | None]:
    """The number of classes, the target if it is known, and which of its places count for nothing."""
    if x.rank < 2 or target.shape != (x.shape[0], *x.shape[2:]):
        raise c.fail(f"a target {list(target.shape)} for {list(x.shape)}")
    numbers = c.constant(target)
    if numbers is None:
        return x.shape[1], None, None
    ignore = c.attr("ignore_index")
    ignored = np.zeros(numbers.shape, bool) if ignore is None else numbers == ignore
    held = numbers[~ignored]
    if held.size and (held.min() < 0 or held.max() >= x.shape[1]):
        raise c.fail(f"classes {held.min()} … {held.max()} among {x.shape[1]}")
    return x.shape[1], numbers, ignored if ignored.any() else None


def _weights(
    c: Call,
    weight: Value | None,
    target: Value,
    numbers: NDArray[Any] | None,
    ignored: NDArray[np.bool_] | None,
) -> list[int]:
    """What each place reads of the target and the classes' weights."""
    found = [] if (at := c.v(target)) is None else [at]
    if weight is not None and weight.rank != 1:
        raise c.fail(f"weights of classes in {weight.rank} dims")
    if weight is None or (at := c.v(weight)) is None:
        return found
    if numbers is None:
        return [*found, c.bound(families.mix(c.g, at, (0,), (1,)), "data-dependent", TARGET)]
    value = _taken(c, at, numbers.reshape(-1), ignored)
    return [*found, families.reshape(c.g, value, target.shape)]


def _named(
    c: Call, x: int, classes: int, numbers: NDArray[Any], ignored: NDArray[np.bool_] | None
) -> int:
    """The elements of (batch, classes, …) that the target names."""
    g = c.g
    rank = len(numbers.shape) + 1
    count = math.prod(numbers.shape)
    x = families.permute(g, x, [0, *range(2, rank), 1])
    x = families.reshape(g, x, (count * classes,))
    places = np.arange(count) * classes + numbers.reshape(-1)
    return families.reshape(g, _taken(c, x, places, ignored), numbers.shape)


def _taken(c: Call, x: int, places: NDArray[Any], ignored: NDArray[np.bool_] | None) -> int:
    """The elements at ``places``, nothing where they are ignored."""
    if ignored is None:
        return families.pick(c.g, x, 0, [int(p) for p in places])
    if len(places) > families.MAX_PERIOD:
        raise NoRule("a long target")
    held = ~ignored.reshape(-1)
    first = tuple(int(p) if kept else 0 for p, kept in zip(places, held, strict=True))
    taps = Taps(len(first), 0, first, tuple(int(kept) for kept in held))
    return c.g.add(Stencil(0, taps, len(first)), x)


def _reduced(c: Call, values: Sequence[int], target: Value) -> int:
    """All places, or one number for them."""
    value = c.join(values, target.shape)
    if c.attr("reduction", "mean") == "none":
        return value
    return families.reduce(c.g, value, range(target.rank), False)


# --- optimizers


def _columns(c: Call, inputs: Sequence[Value], kinds: int) -> list[tuple[Value, ...]]:
    """Per tensor that is optimized: itself, its gradient and what has been summed up."""
    count, rest = divmod(len(inputs), kinds)
    if rest or not count:
        raise c.fail(f"{len(inputs)} tensors are not so many times {kinds}")
    return [tuple(inputs[k * count + j] for k in range(kinds)) for j in range(count)]


def _each(c: Call, x: Value, *reads: Value) -> Any:
    """An output of the shape of a tensor, that reads the same element of others."""
    values = [at for r in (x, *reads) if (at := c.v(r)) is not None]
    return c.join(values, x.shape) if values else Value(None, x.shape, x.dtype)


PREVIEW = "ai.onnx.preview.training"


@rule("Adagrad", domain=PREVIEW)
def adagrad(c: Call, rate: Value, count: Value, *inputs: Value) -> list[Any]:
    """New tensors, and the sums of their squared gradients."""
    columns = _columns(c, inputs, 3)
    new = [_each(c, x, grad, squares, rate, count) for x, grad, squares in columns]
    return new + [_each(c, x, grad, squares) for x, grad, squares in columns]


@rule("Adam", domain=PREVIEW)
def adam(c: Call, rate: Value, count: Value, *inputs: Value) -> list[Any]:
    """New tensors, the means of their gradients, and those of the squares."""
    columns = _columns(c, inputs, 4)
    new = [_each(c, x, grad, mean, squares, rate, count) for x, grad, mean, squares in columns]
    means = [_each(c, x, grad, mean) for x, grad, mean, _ in columns]
    return new + means + [_each(c, x, grad, squares) for x, grad, _, squares in columns]


@rule("Momentum", domain=PREVIEW)
def momentum(c: Call, rate: Value, count: Value, *inputs: Value) -> list[Any]:
    """New tensors and their momentum; the count says only whether this is the first step."""
    columns = _columns(c, inputs, 3)
    new = [_each(c, x, grad, speed, rate, count) for x, grad, speed in columns]
    return new + [_each(c, x, grad, speed, count) for x, grad, speed in columns]


@rule("Gradient", domain=PREVIEW)
def gradient(c: Call, *inputs: Value) -> list[Any]:
    """Of a tensor of the model by some others, at the values that are given for these."""
    read = [at for _, at in c.reads()]
    why = "what a gradient reads is not followed; all that it is taken at is taken as read"
    count = min(len(c.attr("xs", ())), len(inputs))
    return [c.bound(families.opaque(c.g, read, x.shape), "no-rule", why) for x in inputs[:count]]
