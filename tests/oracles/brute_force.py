"""What every element of every layer reads, by enumeration from the definitions in docs/specs.md.

A set of input elements is a Python int used as a bit mask: bit ``k`` stands for the flat element
``k`` of the inputs, numbered input after input. Nearly every operator reads, in each of its inputs,
a product of positions: one list of positions per dim. So each operator below is a shape and a
function from an output index to such lists. Plain and slow: for small sizes only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import reduce
from operator import or_
from typing import Any

import numpy as np

Shape = tuple[int, ...]
Index = tuple[int, ...]
# What an output element reads: inputs by number, with the positions along each of their dims.
Reads = Callable[[Index], Iterable[tuple[int, Sequence[Sequence[int]]]]]

# fmt: off
POINTWISE = frozenset([
    "pointwise", "identity", "dropout", "batch_norm", "relu", "relu6", "leaky_relu", "elu", "selu",
    "gelu", "silu", "mish", "sigmoid", "tanh", "softplus", "hardswish", "hardsigmoid", "abs", "exp",
    "neg", "sin",
])
# fmt: on
JOINS = frozenset(["add", "sub", "mul", "div", "maximum", "minimum", "pow", "where"])
POOLS = frozenset(["max_pool", "avg_pool", "lp_pool"])


# Reading a spec ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Source:
    """A tensor whose elements are counted: its flat elements have the bits from ``offset`` on."""

    name: str
    shape: Shape
    offset: int

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def axes(self) -> range:
        return range(2, len(self.shape))

    def bits(self) -> np.ndarray:
        """An object array of the source's shape: each element is the set of itself."""
        return _array(self.shape, lambda o: 1 << (self.offset + _flat(o, self.shape)))


def parse_shape(value: Any) -> Shape:
    """Tensor shape ``(1, C, *axes)`` of a spec's shape: a number, a list or ``3x8x8``."""
    if isinstance(value, str):
        value = [int(part) for part in value.split("x")]
    if isinstance(value, int):
        value = [1, value]
    return (1, *map(int, value))


def input_shapes(spec: Mapping, shape: Mapping | None = None) -> dict[str, Shape]:
    """Tensor shapes of the spec's inputs; ``shape`` overrides them, in the spec's own form."""
    found = dict(spec["inputs"]) if _is_full(spec) and "inputs" in spec else {}
    if _is_full(spec) and "input" in spec:
        found["input"] = spec["input"]
    found.update(shape or {})
    return {name: parse_shape(value) for name, value in found.items()}


def layers(spec: Mapping, inputs: Iterable[str]) -> dict[str, dict]:
    """Normalise the layers: name to a dict that always has ``op`` and a list ``inputs``."""
    given = spec["layers"] if _is_full(spec) else spec
    if not isinstance(given, Mapping):
        given = {layer["name"]: layer for layer in given}
    result: dict[str, dict] = {}
    previous = next(iter(inputs))
    for name, layer in given.items():
        if isinstance(layer, str):
            layer = {"op": layer}
        elif not isinstance(layer, Mapping):
            kernel, stride, padding = layer
            layer = {"op": "conv", "kernel": kernel, "stride": stride, "padding": padding}
        names = layer.get("inputs", previous)
        result[name] = {**layer, "inputs": [names] if isinstance(names, str) else list(names)}
        previous = name
    return result


def sources(spec: Mapping, shape: Mapping | None = None, of: str | None = None) -> list[Source]:
    """The tensors that the bits count: the inputs, or the one layer ``of``."""
    if of is not None:
        return [Source(of, shapes(spec, shape)[of], 0)]
    found: list[Source] = []
    for name, size in input_shapes(spec, shape).items():
        found.append(Source(name, size, sum(source.size for source in found)))
    return found


def shapes(spec: Mapping, shape: Mapping | None = None) -> dict[str, Shape]:
    """The tensor shape of every layer."""
    return {name: array.shape for name, array in read_sets(spec, shape).items()}


def _is_full(spec: Mapping) -> bool:
    return "layers" in spec


# The oracle --------------------------------------------------------------------------------------


def read_sets(
    spec: Mapping, shape: Mapping | None = None, of: str | None = None
) -> dict[str, np.ndarray]:
    """For every layer an object array of its shape: each element's set of input elements.

    With ``of`` the sets hold elements of that layer, in place of the inputs'.
    """
    inputs = input_shapes(spec, shape)
    todo = layers(spec, inputs)
    values: dict[str, np.ndarray] = {}
    if of is None:
        values.update((source.name, source.bits()) for source in sources(spec, shape))
    else:
        values.update((name, _array(size, lambda o: 0)) for name, size in inputs.items())
        if of in inputs:
            values[of] = Source(of, inputs[of], 0).bits()
    results = {}
    for name in _sorted(todo, inputs):
        value = apply(todo[name], [values[source] for source in todo[name]["inputs"]])
        if name == of:
            value = Source(of, value.shape, 0).bits()
        values[name] = value
        results[name] = value
    return {name: results[name] for name in todo}


def apply(layer: Mapping, xs: Sequence[np.ndarray]) -> np.ndarray:
    """The sets of one layer from its inputs' sets."""
    op = layer["op"]
    out_shape, reads = _rule(op, layer, [x.shape for x in xs])

    def element(o: Index) -> int:
        found = 0
        for which, positions in reads(o):
            found |= reduce(or_, xs[which][np.ix_(*map(list, positions))].flat, 0)
        return found

    return _array(out_shape, element)


def _rule(op: str, layer: Mapping, shapes: Sequence[Shape]) -> tuple[Shape, Reads]:
    if op in POINTWISE:
        return shapes[0], lambda o: [(0, [[i] for i in o])]
    if op in JOINS:
        return _join(shapes)
    return RULES[op](layer, shapes)


def _sorted(todo: Mapping[str, Mapping], inputs: Iterable[str]) -> list[str]:
    done, order, waiting = set(inputs), [], list(todo)
    while waiting:
        ready = [name for name in waiting if done.issuperset(todo[name]["inputs"])]
        if not ready:
            raise ValueError(f"a cycle or an unknown name among {waiting}")
        order += ready
        done.update(ready)
        waiting = [name for name in waiting if name not in done]
    return order


# Hulls -------------------------------------------------------------------------------------------


def hull(bits: int, source: Source, axis: int) -> tuple[int, int]:
    """Half-open hull along a dim of the source; (0, 0) when nothing of it is read."""
    return _hull(bits, _planes(source, axis))


def hulls(
    spec: Mapping,
    layer_name: str,
    unit_dims: Sequence[int],
    shape: Mapping | None = None,
    of: str | None = None,
    sets: Mapping[str, np.ndarray] | None = None,
    axes: Sequence[int] | None = None,
) -> np.ndarray:
    """Hulls of all units, ``[*unit dims, fields, 2]``, united over the dims that are not units'.

    Fields are ordered by input, then axis; an empty one is (0, 0). ``sets`` saves a second run, and
    ``axes`` are the dims to measure along, where they are not all dims from 2 on.
    """
    sets = sets or read_sets(spec, shape, of)
    units = unite(sets[layer_name], unit_dims)
    planes = [_planes(s, axis) for s in sources(spec, shape, of) for axis in axes or s.axes]
    result = np.zeros((*units.shape, len(planes), 2), dtype=np.int64)
    for unit in np.ndindex(units.shape):
        for field, each in enumerate(planes):
            result[(*unit, field)] = _hull(units[unit], each)
    return result


def unite(array: np.ndarray, unit_dims: Sequence[int]) -> np.ndarray:
    """Unite the sets over all dims but the unit dims."""
    rest = [dim for dim in range(array.ndim) if dim not in unit_dims]
    moved = array.transpose(*unit_dims, *rest)
    kept = moved.shape[: len(unit_dims)]
    result = np.zeros(kept, dtype=object)
    for unit in np.ndindex(kept):
        result[unit] = reduce(or_, np.asarray(moved[unit], dtype=object).flat, 0)
    return result


def members(array: np.ndarray, total: int) -> np.ndarray:
    """The sets as a bool array ``[*layer elements, total]``."""
    result = np.zeros((*array.shape, total), dtype=bool)
    for o in np.ndindex(array.shape):
        result[o] = [array[o] >> k & 1 for k in range(total)]
    return result


def _planes(source: Source, axis: int) -> list[int]:
    """For each position along an axis the set of the source's elements there."""
    bits = np.moveaxis(source.bits(), axis, 0)
    return [reduce(or_, np.asarray(plane, dtype=object).flat, 0) for plane in bits]


def _hull(bits: int, planes: Sequence[int]) -> tuple[int, int]:
    hit = [i for i, plane in enumerate(planes) if bits & plane]
    return (hit[0], hit[-1] + 1) if hit else (0, 0)


# Helpers of the rules ----------------------------------------------------------------------------


def _array(shape: Shape, element: Callable[[Index], int]) -> np.ndarray:
    result = np.zeros(shape, dtype=object)
    for o in np.ndindex(shape):
        result[o] = element(o)
    return result


def _flat(index: Index, shape: Shape) -> int:
    flat = 0
    for i, n in zip(index, shape, strict=True):
        flat = flat * n + i
    return flat


def _unflat(flat: int, shape: Shape) -> Index:
    index = []
    for n in reversed(shape):
        flat, i = divmod(flat, n)
        index.append(i)
    return tuple(reversed(index))


def _with(shape: Shape, dim: int, size: int) -> Shape:
    return (*shape[:dim], size, *shape[dim + 1 :])


def per_axis(value: Any, count: int) -> list:
    """One value per axis from one for all or a list with one each."""
    if isinstance(value, (list, tuple)):
        if len(value) != count:
            raise ValueError(f"expected {count} values, got {value}")
        return list(value)
    return [value] * count


def pairs(value: Any, count: int) -> list[tuple[int, int]]:
    """A begin and an end per axis."""
    return [
        (v[0], v[1]) if isinstance(v, (list, tuple)) else (v, v) for v in per_axis(value, count)
    ]


def one_dim(dim: int, rank: int) -> int:
    """A dim counted from 0."""
    if not -rank <= dim < rank:
        raise ValueError(f"dim {dim} of a tensor with {rank}")
    return dim % rank


def some_dims(value: Any, rank: int, default: Iterable[int]) -> list[int]:
    """A list of dims counted from 0."""
    if value is None:
        return list(default)
    return [one_dim(dim, rank) for dim in (value if isinstance(value, (list, tuple)) else [value])]


def window_padding(layer: Mapping, sizes: Sequence[int], stride_default: Any) -> list:
    """Per axis (kernel, stride, dilation, begin, end) of a sliding window."""
    count = len(sizes)
    kernels = per_axis(layer["kernel"], count)
    default = layer["kernel"] if stride_default == "kernel" else stride_default
    strides = per_axis(layer.get("stride", default), count)
    dilations = per_axis(layer.get("dilation", 1), count)
    padding = layer.get("padding", 0)
    found = []
    for axis, (n, k, s, d) in enumerate(zip(sizes, kernels, strides, dilations, strict=True)):
        total = max((math.ceil(Fraction(n, s)) - 1) * s + d * (k - 1) + 1 - n, 0)
        if padding == "valid":
            begin, end = 0, 0
        elif padding == "same":
            begin, end = total // 2, total - total // 2
        elif padding == "same_lower":
            begin, end = total - total // 2, total // 2
        elif padding == "causal":
            begin, end = d * (k - 1), 0
        else:
            begin, end = pairs(padding, count)[axis]
        found.append((k, s, d, begin, end))
    return found


def padded(position: int, n: int, mode: str) -> list[int]:
    """Which position a place on a padded axis shows: at most one."""
    if 0 <= position < n:
        return [position]
    if mode in ("zeros", "constant"):
        return []
    if mode == "replicate":
        return [0 if position < 0 else n - 1]
    if mode == "circular":
        return [position % n]
    if mode == "reflect":
        return [-position if position < 0 else 2 * (n - 1) - position]
    raise ValueError(f"unknown mode {mode}")


def fraction(value: Any) -> Fraction:
    """The exact fraction that a number in a file stands for."""
    return Fraction(str(value))


# The rules ---------------------------------------------------------------------------------------


def _join(shapes: Sequence[Shape]) -> tuple[Shape, Reads]:
    out = np.broadcast_shapes(*shapes)

    def reads(o: Index) -> list:
        found = []
        for which, shape in enumerate(shapes):
            own = o[len(o) - len(shape) :]
            found.append((which, [[0 if n == 1 else i] for i, n in zip(own, shape, strict=True)]))
        return found

    return out, reads


def _conv(layer: Mapping, shapes: Sequence[Shape]) -> tuple[Shape, Reads]:
    batch, channels, *sizes = shapes[0]
    windows = window_padding(layer, sizes, 1)
    groups = layer.get("groups", 1)
    filters = layer.get("channels", channels)
    mode = layer.get("padding_mode", "zeros")
    if channels % groups or filters % groups:
        raise ValueError("channels must be a multiple of groups")
    out = [
        (n + b + e - d * (k - 1) - 1) // s + 1
        for n, (k, s, d, b, e) in zip(sizes, windows, strict=True)
    ]

    def reads(o: Index) -> list:
        group = o[1] // (filters // groups)
        width = channels // groups
        positions: list = [[o[0]], range(group * width, (group + 1) * width)]
        for i, n, (k, s, d, b, _) in zip(o[2:], sizes, windows, strict=True):
            positions.append([p for t in range(k) for p in padded(i * s - b + t * d, n, mode)])
        return [(0, positions)]

    return (batch, filters, *out), reads


def _conv_transpose(layer: Mapping, shapes: Sequence[Shape]) -> tuple[Shape, Reads]:
    batch, channels, *sizes = shapes[0]
    count = len(sizes)
    kernels = per_axis(layer["kernel"], count)
    strides = per_axis(layer.get("stride", 1), count)
    dilations = per_axis(layer.get("dilation", 1), count)
    extras = per_axis(layer.get("output_padding", 0), count)
    crops = pairs(layer.get("padding", 0), count)
    groups = layer.get("groups", 1)
    filters = layer.get("channels", channels)
    if channels % groups or filters % groups:
        raise ValueError("channels must be a multiple of groups")
    out = [
        (n - 1) * s - b - e + d * (k - 1) + extra + 1
        for n, k, s, d, extra, (b, e) in zip(
            sizes, kernels, strides, dilations, extras, crops, strict=True
        )
    ]

    def reads(o: Index) -> list:
        group = o[1] // (filters // groups)
        width = channels // groups
        positions: list = [[o[0]], range(group * width, (group + 1) * width)]
        for axis, i in enumerate(o[2:]):
            # Input j writes to the places j*stride + tap*dilation - begin.
            k, s, d, b = kernels[axis], strides[axis], dilations[axis], crops[axis][0]
            covered = [
                j for j in range(sizes[axis]) if any(j * s + t * d - b == i for t in range(k))
            ]
            positions.append(covered)
        return [(0, positions)]

    return (batch, filters, *out), reads


def _pool(layer: Mapping, shapes: Sequence[Shape]) -> tuple[Shape, Reads]:
    batch, channels, *sizes = shapes[0]
    windows = window_padding(layer, sizes, "kernel")
    out = []
    for n, (k, s, d, b, e) in zip(sizes, windows, strict=True):
        room = n + b + e - d * (k - 1) - 1
        count = room // s + 1
        if layer.get("ceil_mode", False):
            count = math.ceil(Fraction(room, s)) + 1
            if (count - 1) * s >= n + b:
                count -= 1
        out.append(count)

    def reads(o: Index) -> list:
        positions = [[o[0]], [o[1]]]
        for i, n, (k, s, d, b, _) in zip(o[2:], sizes, windows, strict=True):
            positions.append([p for t in range(k) for p in padded(i * s - b + t * d, n, "zeros")])
        return [(0, positions)]

    return (batch, channels, *out), reads


def _adaptive(layer: Mapping, shapes: Sequence[Shape]) -> tuple[Shape, Reads]:
    batch, channels, *sizes = shapes[0]
    out = per_axis(layer["size"], len(sizes))

    def reads(o: Index) -> list:
        positions: list = [[o[0]], [o[1]]]
        for i, n, m in zip(o[2:], sizes, out, strict=True):
            positions.append(_adaptive_window(i, n, m))
        return [(0, positions)]

    return (batch, channels, *out), reads


def _adaptive_window(i: int, n: int, m: int) -> range:
    return range(math.floor(Fraction(i * n, m)), math.ceil(Fraction((i + 1) * n, m)))


def _global_pool(layer: Mapping, shapes: Sequence[Shape]) -> tuple[Shape, Reads]:
    batch, channels, *sizes = shapes[0]
    out = (batch, channels, *[1 for _ in sizes])
    return out, lambda o: [(0, [[o[0]], [o[1]], *map(range, sizes)])]


def _reduce(layer: Mapping, shapes: Sequence[Shape]) -> tuple[Shape, Reads]:
    shape = shapes[0]
    dims = some_dims(layer.get("dims"), len(shape), range(2, len(shape)))
    keep = layer.get("keepdim", False)
    out = [1 if dim in dims else n for dim, n in enumerate(shape) if keep or dim not in dims]

    def reads(o: Index) -> list:
        rest = iter(o)
        positions: list = []
        for dim, n in enumerate(shape):
            if dim in dims:
                positions.append(range(n))
                if keep:
                    next(rest)
            else:
                positions.append([next(rest)])
        return [(0, positions)]

    return tuple(out), reads


def _mix(dims: Iterable[int], shape: Shape) -> tuple[Shape, Reads]:
    dims = set(dims)

    def reads(o: Index) -> list:
        return [(0, [range(n) if d in dims else [o[d]] for d, n in enumerate(shape)])]

    return shape, reads


def _mix_axes(layer: Mapping, shapes: Sequence[Shape]) -> tuple[Shape, Reads]:
    rank = len(shapes[0])
    return _mix(some_dims(layer.get("dims"), rank, range(2, rank)), shapes[0])


def _layer_norm(layer: Mapping, shapes: Sequence[Shape]) -> tuple[Shape, Reads]:
    rank = len(shapes[0])
    return _mix(some_dims(layer.get("dims"), rank, range(1, rank)), shapes[0])


def _instance_norm(layer: Mapping, shapes: Sequence[Shape]) -> tuple[Shape, Reads]:
    return _mix(range(2, len(shapes[0])), shapes[0])


def _softmax(layer: Mapping, shapes: Sequence[Shape]) -> tuple[Shape, Reads]:
    return _mix([one_dim(layer.get("dim", 1), len(shapes[0]))], shapes[0])


def _group_norm(layer: Mapping, shapes: Sequence[Shape]) -> tuple[Shape, Reads]:
    shape, groups = shapes[0], layer["groups"]
    if shape[1] % groups:
        raise ValueError("channels must be a multiple of groups")
    width = shape[1] // groups

    def reads(o: Index) -> list:
        first = o[1] // width * width
        return [(0, [[o[0]], range(first, first + width), *map(range, shape[2:])])]

    return shape, reads


def _local_response_norm(layer: Mapping, shapes: Sequence[Shape]) -> tuple[Shape, Reads]:
    shape, size = shapes[0], layer["size"]

    def reads(o: Index) -> list:
        near = [c for c in range(shape[1]) if -(size // 2) <= c - o[1] <= (size - 1) // 2]
        return [(0, [[o[0]], near, *[[i] for i in o[2:]]])]

    return shape, reads


def _linear(layer: Mapping, shapes: Sequence[Shape]) -> tuple[Shape, Reads]:
    shape = shapes[0]
    dim = one_dim(layer.get("dim", -1), len(shape))
    out = (*shape[:dim], layer["features"], *shape[dim + 1 :])
    return out, lambda o: [(0, [range(n) if d == dim else [o[d]] for d, n in enumerate(shape)])]


def _upsample(layer: Mapping, shapes: Sequence[Shape]) -> tuple[Shape, Reads]:
    batch, channels, *sizes = shapes[0]
    mode, corners = layer.get("mode", "nearest"), layer.get("align_corners", False)
    count = len(sizes)
    if "size" in layer:
        out = per_axis(layer["size"], count)
        scales = [Fraction(n, m) for n, m in zip(sizes, out, strict=True)]
    else:
        factors = [fraction(scale) for scale in per_axis(layer["scale"], count)]
        out = [math.floor(n * factor) for n, factor in zip(sizes, factors, strict=True)]
        scales = [1 / factor for factor in factors]

    def axis_reads(i: int, n: int, m: int, scale: Fraction) -> Iterable[int]:
        if mode == "linear" and n == m:
            return [i]  # PyTorch copies, even where a scale such as 1.2 only rounds to n
        if mode == "area":
            return _adaptive_window(i, n, m)
        if mode == "nearest":
            return [min(math.floor(i * scale), n - 1)]
        if mode == "nearest-exact":
            return [min(math.floor((i + Fraction(1, 2)) * scale), n - 1)]
        if corners:
            at = i * Fraction(n - 1, m - 1) if m > 1 else Fraction(0)
        else:
            at = (i + Fraction(1, 2)) * scale - Fraction(1, 2)
        if mode == "linear":
            low = math.floor(max(at, Fraction(0)))
            return [min(p, n - 1) for p in (low, low + 1)]
        if mode == "cubic":
            low = math.floor(at)
            return [min(max(p, 0), n - 1) for p in range(low - 1, low + 3)]
        raise ValueError(f"unknown mode {mode}")

    def reads(o: Index) -> list:
        positions: list = [[o[0]], [o[1]]]
        for i, n, m, scale in zip(o[2:], sizes, out, scales, strict=True):
            positions.append(list(axis_reads(i, n, m, scale)))
        return [(0, positions)]

    return (batch, channels, *out), reads


def _pad(layer: Mapping, shapes: Sequence[Shape]) -> tuple[Shape, Reads]:
    batch, channels, *sizes = shapes[0]
    edges = pairs(layer["padding"], len(sizes))
    mode = layer.get("mode", "constant")
    out = [n + b + e for n, (b, e) in zip(sizes, edges, strict=True)]

    def reads(o: Index) -> list:
        positions = [[o[0]], [o[1]]]
        for i, n, (b, _) in zip(o[2:], sizes, edges, strict=True):
            positions.append(padded(i - b, n, mode))
        return [(0, positions)]

    return (batch, channels, *out), reads


def _crop(layer: Mapping, shapes: Sequence[Shape]) -> tuple[Shape, Reads]:
    margins = [(-b, -e) for b, e in pairs(layer["margin"], len(shapes[0]) - 2)]
    return _pad({"padding": margins}, shapes)


def _pick(shape: Shape, dim: int, positions: Sequence[int]) -> tuple[Shape, Reads]:
    out = (*shape[:dim], len(positions), *shape[dim + 1 :])
    return out, lambda o: [(0, [[positions[i]] if d == dim else [i] for d, i in enumerate(o)])]


def _slice(layer: Mapping, shapes: Sequence[Shape]) -> tuple[Shape, Reads]:
    dim = one_dim(layer["dim"], len(shapes[0]))
    whole = range(shapes[0][dim])
    return _pick(
        shapes[0], dim, whole[layer.get("start", 0) : layer.get("stop") : layer.get("step", 1)]
    )


def _index(layer: Mapping, shapes: Sequence[Shape]) -> tuple[Shape, Reads]:
    return _pick(shapes[0], one_dim(layer["dim"], len(shapes[0])), layer["index"])


def _select(layer: Mapping, shapes: Sequence[Shape]) -> tuple[Shape, Reads]:
    shape = shapes[0]
    dim = one_dim(layer["dim"], len(shape))
    out = shape[:dim] + shape[dim + 1 :]
    return out, lambda o: [(0, [[i] for i in (*o[:dim], layer["index"], *o[dim:])])]


def _flip(layer: Mapping, shapes: Sequence[Shape]) -> tuple[Shape, Reads]:
    shape = shapes[0]
    dims = some_dims(layer.get("dims"), len(shape), range(2, len(shape)))

    def reads(o: Index) -> list:
        return [(0, [[shape[d] - 1 - i if d in dims else i] for d, i in enumerate(o)])]

    return shape, reads


def _roll(layer: Mapping, shapes: Sequence[Shape]) -> tuple[Shape, Reads]:
    shape = shapes[0]
    dims = some_dims(layer.get("dims"), len(shape), range(2, len(shape)))
    shifts = dict(zip(dims, per_axis(layer["shift"], len(dims)), strict=True))
    return shape, lambda o: [(0, [[(i - shifts.get(d, 0)) % shape[d]] for d, i in enumerate(o)])]


def _pixel_shuffle(layer: Mapping, shapes: Sequence[Shape]) -> tuple[Shape, Reads]:
    batch, channels, *sizes = shapes[0]
    factors = per_axis(layer["factor"], len(sizes))
    if channels % math.prod(factors):
        raise ValueError("channels must be a multiple of the factors' product")
    out = (batch, channels // math.prod(factors), *map(math.prod, zip(sizes, factors, strict=True)))

    def reads(o: Index) -> list:
        channel, positions = o[1], []
        for i, factor in zip(o[2:], factors, strict=True):
            channel = channel * factor + i % factor
            positions.append([i // factor])
        return [(0, [[o[0]], [channel], *positions])]

    return out, reads


def _pixel_unshuffle(layer: Mapping, shapes: Sequence[Shape]) -> tuple[Shape, Reads]:
    batch, channels, *sizes = shapes[0]
    factors = per_axis(layer["factor"], len(sizes))
    if any(n % factor for n, factor in zip(sizes, factors, strict=True)):
        raise ValueError("sizes must be a multiple of the factor")
    small = [n // factor for n, factor in zip(sizes, factors, strict=True)]

    def reads(o: Index) -> list:
        channel, *offsets = _unflat(o[1], (channels, *factors))
        positions = [[i * f + x] for i, f, x in zip(o[2:], factors, offsets, strict=True)]
        return [(0, [[o[0]], [channel], *positions])]

    return (batch, channels * math.prod(factors), *small), reads


def _channel_shuffle(layer: Mapping, shapes: Sequence[Shape]) -> tuple[Shape, Reads]:
    shape, groups = shapes[0], layer["groups"]
    if shape[1] % groups:
        raise ValueError("channels must be a multiple of groups")

    def reads(o: Index) -> list:
        member, group = divmod(o[1], groups)
        return [(0, [[o[0]], [group * (shape[1] // groups) + member], *[[i] for i in o[2:]]])]

    return shape, reads


def _same_order(shape: Shape, out: Shape) -> tuple[Shape, Reads]:
    if math.prod(shape) != math.prod(out):
        raise ValueError(f"{shape} does not fit {out}")
    return out, lambda o: [(0, [[i] for i in _unflat(_flat(o, out), shape)])]


def _flatten(layer: Mapping, shapes: Sequence[Shape]) -> tuple[Shape, Reads]:
    shape = shapes[0]
    start = one_dim(layer.get("start", 1), len(shape))
    end = one_dim(layer.get("end", -1), len(shape)) + 1
    return _same_order(shape, (*shape[:start], math.prod(shape[start:end]), *shape[end:]))


def _reshape(layer: Mapping, shapes: Sequence[Shape]) -> tuple[Shape, Reads]:
    known = math.prod(n for n in layer["shape"] if n != -1)
    out = tuple(math.prod(shapes[0]) // known if n == -1 else n for n in layer["shape"])
    return _same_order(shapes[0], out)


def _squeeze(layer: Mapping, shapes: Sequence[Shape]) -> tuple[Shape, Reads]:
    dim = one_dim(layer["dim"], len(shapes[0]))
    return _same_order(shapes[0], shapes[0][:dim] + shapes[0][dim + 1 :])


def _unsqueeze(layer: Mapping, shapes: Sequence[Shape]) -> tuple[Shape, Reads]:
    dim = one_dim(layer["dim"], len(shapes[0]) + 1)  # as in PyTorch: a dim of the result
    return _same_order(shapes[0], (*shapes[0][:dim], 1, *shapes[0][dim:]))


def _permute(layer: Mapping, shapes: Sequence[Shape]) -> tuple[Shape, Reads]:
    order = some_dims(layer["order"], len(shapes[0]), ())
    out = tuple(shapes[0][dim] for dim in order)
    return out, lambda o: [(0, [[o[order.index(d)]] for d in range(len(o))])]


def _concat(layer: Mapping, shapes: Sequence[Shape]) -> tuple[Shape, Reads]:
    dim = one_dim(layer.get("dim", 1), len(shapes[0]))
    places = [(which, i) for which, shape in enumerate(shapes) for i in range(shape[dim])]
    out = (*shapes[0][:dim], len(places), *shapes[0][dim + 1 :])

    def reads(o: Index) -> list:
        which, place = places[o[dim]]
        return [(which, [[place] if d == dim else [i] for d, i in enumerate(o)])]

    return out, reads


def _attention(layer: Mapping, shapes: Sequence[Shape]) -> tuple[Shape, Reads]:
    shape, kind = shapes[0], layer.get("kind", "full")
    dims = some_dims(layer.get("dims"), len(shape), range(2, len(shape)))
    windows = dict(zip(dims, per_axis(layer.get("window"), len(dims)), strict=True))
    shifts = dict(zip(dims, per_axis(layer.get("shift", 0), len(dims)), strict=True))
    features = len(shape) - 1 if 1 in dims else 1
    # Self-attention: the one input also gives the keys.
    keys = list(range(1, len(shapes))) or [0]

    def seen(i: int, dim: int, n: int) -> Iterable[int]:
        if kind == "full":
            return range(n)
        if kind == "causal":
            return range(i + 1)
        if kind == "sliding":
            return [p for p in range(n) if abs(p - i) <= windows[dim] // 2]
        if kind == "window":
            first = (i - shifts[dim]) // windows[dim] * windows[dim] + shifts[dim]
            return sorted({p % n for p in range(first, first + windows[dim])})
        raise ValueError(f"unknown kind {kind}")

    def reads(o: Index) -> list:
        def lists(which: int, along: Callable[[int, int, int], Iterable[int]]) -> list:
            found: list = []
            for dim, n in enumerate(shapes[which]):
                if dim == features:
                    found.append(range(n))
                else:
                    found.append(list(along(o[dim], dim, n)) if dim in dims else [o[dim]])
            return found

        return [(0, lists(0, lambda i, dim, n: [i])), *[(w, lists(w, seen)) for w in keys]]

    return _with(shape, features, layer.get("channels", shape[features])), reads


def _rnn(layer: Mapping, shapes: Sequence[Shape]) -> tuple[Shape, Reads]:
    shape, both = shapes[0], layer.get("bidirectional", False)
    dim = one_dim(layer.get("dim", -1), len(shape))
    features = len(shape) - 1 if dim == 1 else 1
    filters = layer.get("channels", shape[features]) * (2 if both else 1)

    def reads(o: Index) -> list:
        # The second half of the features is the backward direction's.
        backward = both and o[features] >= filters // 2
        positions: list = [[i] for i in o]
        positions[features] = range(shape[features])
        positions[dim] = range(o[dim], shape[dim]) if backward else range(o[dim] + 1)
        return [(0, positions)]

    return _with(shape, features, filters), reads


def _scan(layer: Mapping, shapes: Sequence[Shape]) -> tuple[Shape, Reads]:
    dim = one_dim(layer.get("dim", -1), len(shapes[0]))
    return shapes[0], lambda o: [(0, [range(i + 1) if d == dim else [i] for d, i in enumerate(o)])]


def _opaque(layer: Mapping, shapes: Sequence[Shape]) -> tuple[Shape, Reads]:
    everything = [(which, [range(n) for n in shape]) for which, shape in enumerate(shapes)]
    return tuple(layer.get("shape", shapes[0])), lambda o: everything


Rule = Callable[[Mapping, Sequence[Shape]], tuple[Shape, Reads]]
RULES: dict[str, Rule] = {
    "conv": _conv,
    "conv_transpose": _conv_transpose,
    **dict.fromkeys(POOLS, _pool),
    **dict.fromkeys(["adaptive_avg_pool", "adaptive_max_pool"], _adaptive),
    **dict.fromkeys(["global_avg_pool", "global_max_pool"], _global_pool),
    **dict.fromkeys(["mean", "sum", "amax", "amin"], _reduce),
    "upsample": _upsample,
    "pad": _pad,
    "crop": _crop,
    "slice": _slice,
    "index": _index,
    "select": _select,
    "flip": _flip,
    "roll": _roll,
    "pixel_shuffle": _pixel_shuffle,
    "pixel_unshuffle": _pixel_unshuffle,
    "channel_shuffle": _channel_shuffle,
    "flatten": _flatten,
    "reshape": _reshape,
    "permute": _permute,
    "squeeze": _squeeze,
    "unsqueeze": _unsqueeze,
    "concat": _concat,
    **dict.fromkeys(["layer_norm", "rms_norm"], _layer_norm),
    "group_norm": _group_norm,
    "instance_norm": _instance_norm,
    "local_response_norm": _local_response_norm,
    **dict.fromkeys(["softmax", "log_softmax"], _softmax),
    "linear": _linear,
    "attention": _attention,
    **dict.fromkeys(["rnn", "lstm", "gru"], _rnn),
    **dict.fromkeys(["cumsum", "cumprod", "cummax", "cummin"], _scan),
    **dict.fromkeys(["sort", "fft", "mix"], _mix_axes),
    "opaque": _opaque,
}
