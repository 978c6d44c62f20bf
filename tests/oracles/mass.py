"""How much every element of every layer counts each input element, by enumeration, forwards.

Each layer is worked out from the layers before it, with whole arrays ``[*shape, input elements]``: an element's
masses are an average of the masses of what it reads. Where the definitions in docs/specs.md leave open what
counts how much, docs/algebra.md says it:

* a window's taps count alike, those that lie in padding too, which is lost; but not what a window of ceil mode
  reads beyond the padding,
* interpolation counts by its kernel,
* a transposed window counts all positions alike that could write to its place,
* attention, norms, reductions and everything else that mixes whole dims count all that is *alive* alike: what
  reads any of the inputs, or their padding,
* what joins several tensors counts those alike that are alive at its place,
* attention and norms join an element with the mixture that it is compared with.

Views (slices, shuffles, reshapes, …) take the one element that :mod:`~oracles.brute_force` says. Slow and
plain: for small sizes only. There is no operator in docs/specs.md for which this is not possible.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np

from . import brute_force

__all__ = ["State", "masses"]

#: Per output position along a dim, what it reads: a position (None: padding) and its share.
Table = list[list[tuple[int | None, float]]]


class State(NamedTuple):
    """``mass`` is [*shape, input elements]; ``alive`` is [*shape]: does it read anything, padding included?"""

    mass: np.ndarray
    alive: np.ndarray


def masses(spec: Mapping, of: str | None = None) -> dict[str, State]:
    """For every layer (and input) its state. With ``of`` the elements of that layer come after the inputs'.

    The masses of the inputs' elements are then those that avoid that layer.
    """
    inputs = brute_force.input_shapes(spec)
    shapes = {**inputs, **brute_force.shapes(spec)}
    total = sum(math.prod(shape) for shape in inputs.values())
    more = 0 if of is None else math.prod(shapes[of])
    states: dict[str, State] = {}
    for source in brute_force.sources(spec):
        states[source.name] = _marked(source.shape, source.offset, total + more)
    if of in inputs:
        states[of] = _marked(inputs[of], total, total + more)
    todo = brute_force.layers(spec, inputs)
    for name in brute_force._sorted(todo, inputs):
        layer = todo[name]
        state = apply(layer, [states[source] for source in layer["inputs"]])
        assert state.alive.shape == shapes[name], name
        if name == of:
            state = State(_marked(shapes[name], total, total + more).mass, state.alive)
            state.mass[~state.alive] = 0
        states[name] = state
    return states


def _marked(shape: tuple[int, ...], offset: int, total: int) -> State:
    """Elements of which each is itself: one of ``total``, from ``offset`` on."""
    count = math.prod(shape)
    mass = np.zeros((count, total))
    mass[range(count), range(offset, offset + count)] = 1
    return State(mass.reshape(*shape, total), np.ones(shape, bool))


# Ways of reading ---------------------------------------------------------------------------------


def windowed(x: State, dim: int, table: Table) -> State:
    """Positions along one dim, each with its share."""
    mass = np.moveaxis(x.mass, dim, 0)
    alive = np.moveaxis(x.alive, dim, 0)
    out = np.zeros((len(table), *mass.shape[1:]))
    held = np.zeros((len(table), *alive.shape[1:]), bool)
    for i, reads in enumerate(table):
        for place, share in reads:
            if place is None:
                held[i] |= alive.any()
            else:
                out[i] += share * mass[place]
                held[i] |= alive[place]
    return State(np.moveaxis(out, 0, dim), np.moveaxis(held, 0, dim))


def mixed(x: State, dims: Iterable[int]) -> State:
    """Everything that is alive along some dims, alike; the dims have size 1."""
    dims = tuple(dims)
    held = np.where(x.alive[..., None], x.mass, 0).sum(axis=dims, keepdims=True)
    count = x.alive.sum(axis=dims, keepdims=True)
    return State(held / np.maximum(count, 1)[..., None], count > 0)


def spread(x: State, shape: Sequence[int]) -> State:
    """A broadcast."""
    shape = tuple(shape)
    return State(
        np.broadcast_to(x.mass, (*shape, x.mass.shape[-1])), np.broadcast_to(x.alive, shape)
    )


def past(x: State, dim: int) -> State:
    """Everything that is alive up to its own position along a dim, alike."""
    held = np.where(x.alive[..., None], x.mass, 0).cumsum(axis=dim)
    count = x.alive.cumsum(axis=dim)
    return State(held / np.maximum(count, 1)[..., None], count > 0)


def joined(*xs: State) -> State:
    """Those that are alive at a place, alike."""
    shape = np.broadcast_shapes(*(x.alive.shape for x in xs))
    xs = tuple(spread(x, shape) for x in xs)
    count = np.sum([x.alive for x in xs], axis=0)
    total = np.sum([np.where(x.alive[..., None], x.mass, 0) for x in xs], axis=0)
    return State(total / np.maximum(count, 1)[..., None], count > 0)


def grouped(x: State, dim: int, groups: int, size: int) -> State:
    """All of its group along a dim, which then has ``size`` positions."""
    parts = [
        spread(mixed(_part(x, dim, part), (dim,)), _with(x.alive.shape, dim, size // groups))
        for part in np.split(np.arange(x.alive.shape[dim]), groups)
    ]
    return beside(parts, dim)


def beside(xs: Sequence[State], dim: int) -> State:
    return State(
        np.concatenate([x.mass for x in xs], axis=dim),
        np.concatenate([x.alive for x in xs], axis=dim),
    )


def _part(x: State, dim: int, places: np.ndarray) -> State:
    return State(x.mass.take(places, dim), x.alive.take(places, dim))


def _with(shape: Sequence[int], dim: int, size: int) -> tuple[int, ...]:
    return (*shape[:dim], size, *shape[dim + 1 :])


def _flipped(x: State, dim: int) -> State:
    return State(np.flip(x.mass, dim), np.flip(x.alive, dim))


# Operators ---------------------------------------------------------------------------------------


def apply(layer: Mapping, xs: Sequence[State]) -> State:
    """One layer."""
    op, x = layer["op"], xs[0]
    if op in brute_force.JOINS:
        return joined(*xs)
    if op in OPERATORS:
        return OPERATORS[op](layer, x)
    if op == "concat":
        return beside(xs, layer.get("dim", 1) % x.alive.ndim)
    if op == "attention":
        return _attention(layer, xs)
    if op == "opaque":
        rank = x.alive.ndim if "shape" not in layer else len(layer["shape"])
        shape = tuple(layer.get("shape", x.alive.shape))
        parts = []
        for each in xs:
            one = mixed(each, range(each.alive.ndim))
            parts.append(State(one.mass.reshape(*(1,) * rank, -1), one.alive.reshape((1,) * rank)))
        return spread(joined(*parts), shape)
    return _view(layer, xs)


def _view(layer: Mapping, xs: Sequence[State]) -> State:
    """One element of one tensor, or padding."""
    shapes = [x.alive.shape for x in xs]
    shape, reads = brute_force._rule(layer["op"], layer, shapes)
    mass = np.zeros((*shape, xs[0].mass.shape[-1]))
    alive = np.zeros(shape, bool)
    for o in np.ndindex(shape):
        ((which, positions),) = reads(o)
        assert all(len(p) <= 1 for p in positions), layer
        if all(positions):
            at = tuple(p[0] for p in positions)
            mass[o], alive[o] = xs[which].mass[at], xs[which].alive[at]
        else:
            # Padding is there where what it surrounds is.
            near = tuple(p[0] if len(p) else slice(None) for p in positions)
            alive[o] = xs[which].alive[near].any()
    return State(mass, alive)


def _conv(layer: Mapping, x: State) -> State:
    channels, sizes = x.alive.shape[1], x.alive.shape[2:]
    filters, groups = layer.get("channels", channels), layer.get("groups", 1)
    x = grouped(x, 1, groups, filters)
    mode = layer.get("padding_mode", "zeros")
    for axis, (k, s, d, b, e) in enumerate(brute_force.window_padding(layer, sizes, 1)):
        n = sizes[axis]
        count = (n + b + e - d * (k - 1) - 1) // s + 1
        table: Table = []
        for i in range(count):
            places = [brute_force.padded(i * s - b + d * t, n, mode) for t in range(k)]
            table.append([(p[0] if p else None, 1 / k) for p in places])
        x = windowed(x, 2 + axis, table)
    return x


def _pool(layer: Mapping, x: State) -> State:
    sizes = x.alive.shape[2:]
    shape, _ = brute_force._pool(layer, [x.alive.shape])
    for axis, (k, s, d, b, e) in enumerate(brute_force.window_padding(layer, sizes, "kernel")):
        n = sizes[axis]
        table: Table = []
        for i in range(shape[2 + axis]):
            places = [p for t in range(k) if (p := i * s - b + d * t) < n + e]
            table.append([(p if 0 <= p < n else None, 1 / len(places)) for p in places])
        x = windowed(x, 2 + axis, table)
    return x


def _conv_transpose(layer: Mapping, x: State) -> State:
    channels, sizes = x.alive.shape[1], x.alive.shape[2:]
    shape, _ = brute_force._conv_transpose(layer, [x.alive.shape])
    x = grouped(x, 1, layer.get("groups", 1), layer.get("channels", channels))
    count = len(sizes)
    for axis, n in enumerate(sizes):
        k = brute_force.per_axis(layer["kernel"], count)[axis]
        s = brute_force.per_axis(layer.get("stride", 1), count)[axis]
        d = brute_force.per_axis(layer.get("dilation", 1), count)[axis]
        b = brute_force.pairs(layer.get("padding", 0), count)[axis][0]
        table: Table = []
        for i in range(shape[2 + axis]):
            places = [(i + b - d * t) // s for t in range(k) if (i + b - d * t) % s == 0]
            table.append([(p if 0 <= p < n else None, 1 / len(places)) for p in places])
        x = windowed(x, 2 + axis, table)
    return x


def _adaptive(layer: Mapping, x: State, field: str = "size") -> State:
    sizes = x.alive.shape[2:]
    out = brute_force.per_axis(layer[field], len(sizes))
    for axis, (n, m) in enumerate(zip(sizes, out, strict=True)):
        if m > 1:
            windows = [brute_force._adaptive_window(i, n, m) for i in range(m)]
            x = windowed(x, 2 + axis, [[(p, 1 / len(w)) for p in w] for w in windows])
    return mixed(x, [2 + axis for axis, m in enumerate(out) if m == 1])


def _upsample(layer: Mapping, x: State) -> State:
    mode, corners = layer.get("mode", "nearest"), layer.get("align_corners", False)
    sizes = x.alive.shape[2:]
    shape, _ = brute_force._upsample(layer, [x.alive.shape])
    if mode == "area":
        return _adaptive({"size": list(shape[2:])}, x)
    for axis, (n, m) in enumerate(zip(sizes, shape[2:], strict=True)):
        scale = Fraction(n, m)
        if "size" not in layer:
            scale = 1 / brute_force.fraction(brute_force.per_axis(layer["scale"], len(sizes))[axis])
        if mode == "linear" and n == m:
            continue
        table: Table = []
        for i in range(m):
            if mode in ("nearest", "nearest-exact"):
                at = (i + (Fraction(1, 2) if mode == "nearest-exact" else 0)) * scale
                table.append([(min(math.floor(at), n - 1), 1.0)])
                continue
            at = (i + Fraction(1, 2)) * scale - Fraction(1, 2)
            if corners:
                at = i * Fraction(n - 1, m - 1) if m > 1 else Fraction(0)
            if mode == "linear":
                at = max(at, Fraction(0))
            near = range(math.floor(at) - 1, math.floor(at) + 3)
            kernel = hat if mode == "linear" else keys
            table.append([(min(max(p, 0), n - 1), kernel(float(at - p))) for p in near])
        x = windowed(x, 2 + axis, table)
    return x


def hat(x: float) -> float:
    return max(0.0, 1 - abs(x))


def keys(x: float, a: float = -0.75) -> float:
    """Keys 1981, equation 15 with its parameter free: the cubic convolution kernel."""
    x = abs(x)
    if x <= 1:
        return (a + 2) * x**3 - (a + 3) * x**2 + 1
    return a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a if x < 2 else 0.0


def _norm(x: State, dims: Iterable[int]) -> State:
    return joined(x, mixed(x, dims))


def _dims(layer: Mapping, x: State, first: int = 2) -> list[int]:
    return brute_force.some_dims(layer.get("dims"), x.alive.ndim, range(first, x.alive.ndim))


def _group_norm(layer: Mapping, x: State) -> State:
    shape = x.alive.shape
    y = mixed(x, range(2, len(shape)))
    return joined(x, grouped(y, 1, layer["groups"], shape[1]))


def _response_norm(layer: Mapping, x: State) -> State:
    n, size = x.alive.shape[1], layer["size"]
    near = [[p for p in range(n) if -(size // 2) <= p - c <= (size - 1) // 2] for c in range(n)]
    return windowed(x, 1, [[(p, 1 / len(places)) for p in places] for places in near])


def _reduce(layer: Mapping, x: State) -> State:
    dims = _dims(layer, x)
    y = mixed(x, dims)
    if layer.get("keepdim", False):
        return y
    return State(y.mass.squeeze(tuple(dims)), y.alive.squeeze(tuple(dims)))


def _linear(layer: Mapping, x: State) -> State:
    dim = layer.get("dim", -1) % x.alive.ndim
    return spread(mixed(x, (dim,)), _with(x.alive.shape, dim, layer["features"]))


def _attention(layer: Mapping, xs: Sequence[State]) -> State:
    shape = xs[0].alive.shape
    dims = brute_force.some_dims(layer.get("dims"), len(shape), range(2, len(shape)))
    features = next((d for d in (1, len(shape) - 1) if d > 0 and d not in dims), None)
    query, keys_ = xs[0], list(xs[1:]) or [xs[0]]
    if features is not None:
        size = layer.get("channels", shape[features])
        query = spread(mixed(query, (features,)), _with(shape, features, size))
        keys_ = [mixed(key, (features,)) for key in keys_]
    return joined(query, *(_seen(layer, key, dims) for key in keys_))


def _seen(layer: Mapping, key: State, dims: Sequence[int]) -> State:
    """What a query sees of the keys."""
    kind = layer.get("kind", "full")
    if kind == "full":
        return mixed(key, dims)
    if kind == "causal":
        return past(key, dims[0])
    widths = brute_force.per_axis(layer["window"], len(dims))
    shifts = brute_force.per_axis(layer.get("shift", 0), len(dims))
    for dim, width, shift in zip(dims, widths, shifts, strict=True):
        n = key.alive.shape[dim]
        if kind == "sliding":
            near = [[p for p in range(n) if abs(p - i) <= width // 2] for i in range(n)]
        elif width == n:
            key = spread(mixed(key, (dim,)), key.alive.shape)
            continue
        else:
            begins = [(i - shift) // width * width + shift for i in range(n)]
            near = [[p % n for p in range(begin, begin + width)] for begin in begins]
        key = windowed(key, dim, [[(p, 1 / len(places)) for p in places] for places in near])
    return key


def _recurrent(layer: Mapping, x: State) -> State:
    shape = x.alive.shape
    dim = layer.get("dim", -1) % len(shape)
    features = len(shape) - 1 if dim == 1 else 1
    size = layer.get("channels", shape[features])
    x = spread(mixed(x, (features,)), _with(shape, features, size))
    if not layer.get("bidirectional", False):
        return past(x, dim)
    return beside([past(x, dim), _flipped(past(_flipped(x, dim), dim), dim)], features)


def _same(layer: Mapping, x: State) -> State:
    return x


def _all(layer: Mapping, x: State) -> State:
    return spread(mixed(x, _dims(layer, x)), x.alive.shape)


Operator = Callable[[Mapping, State], State]
OPERATORS: dict[str, Any] = {
    **dict.fromkeys(brute_force.POINTWISE, _same),
    "conv": _conv,
    "conv_transpose": _conv_transpose,
    **dict.fromkeys(brute_force.POOLS, _pool),
    **dict.fromkeys(["adaptive_avg_pool", "adaptive_max_pool"], _adaptive),
    **dict.fromkeys(
        ["global_avg_pool", "global_max_pool"],
        lambda layer, x: mixed(x, range(2, x.alive.ndim)),
    ),
    **dict.fromkeys(["mean", "sum", "amax", "amin"], _reduce),
    "upsample": _upsample,
    **dict.fromkeys(["layer_norm", "rms_norm"], lambda layer, x: _norm(x, _dims(layer, x, 1))),
    "instance_norm": lambda layer, x: _norm(x, range(2, x.alive.ndim)),
    "group_norm": _group_norm,
    "local_response_norm": _response_norm,
    **dict.fromkeys(
        ["softmax", "log_softmax"],
        lambda layer, x: _norm(x, (layer.get("dim", 1) % x.alive.ndim,)),
    ),
    "linear": _linear,
    **dict.fromkeys(["rnn", "lstm", "gru"], _recurrent),
    **dict.fromkeys(
        ["cumsum", "cumprod", "cummax", "cummin"],
        lambda layer, x: past(x, layer.get("dim", -1) % x.alive.ndim),
    ),
    **dict.fromkeys(["sort", "fft", "mix"], _all),
}
