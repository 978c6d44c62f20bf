"""Hypothesis strategies for valid specs of every operator in docs/specs.md.

A spec is drawn layer by layer. The drawer keeps every tensor's shape with its own size formulas, so
a drawn spec is valid by construction; a layer that would be too large becomes a plain `relu`, which
keeps rejections (and so slow or failing shrinks) away. Simplest choices come first, to shrink to.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from hypothesis import strategies as st

Shape = tuple[int, ...]
Draw = Callable[[st.SearchStrategy], Any]
Spec = dict[str, Any]

LIMIT = 240  # elements of a tensor
MAX_RANK = 6

POINTWISE = ["relu", "identity", "gelu", "sigmoid", "tanh", "dropout", "batch_norm", "pointwise"]
JOINS = ["add", "mul", "sub", "div", "maximum", "minimum", "pow"]
SCALES = [2, 3, 1, 1.5, 0.5, 1.3, 1.2, 2.5, 0.75, 0.4, 1.7]


@dataclass
class Net:
    """A spec being drawn: the layers so far, and the shape of every tensor by name."""

    draw: Draw
    inputs: dict[str, Shape]
    layers: dict[str, dict] = field(default_factory=dict)
    shapes: dict[str, Shape] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.shapes.update(self.inputs)

    def add(self, shape: Sequence[int], reads: Sequence[str], op: str, /, **fields: Any) -> str:
        """Add a layer; one that is too large becomes a relu instead."""
        shape = tuple(shape)
        if math.prod(shape) > LIMIT or len(shape) > MAX_RANK:
            shape, reads, op, fields = self.shapes[reads[0]], reads[:1], "relu", {}
        name = f"{op}{len(self.layers)}"
        self.layers[name] = {"op": op, **fields, "inputs": list(reads)}
        self.shapes[name] = shape
        return name

    def int(self, low: int, high: int) -> int:
        return self.draw(st.integers(low, high))

    def flag(self) -> bool:
        return self.draw(st.booleans())

    def pick(self, options: Iterable) -> Any:
        return self.draw(st.sampled_from(list(options)))

    @property
    def last(self) -> str:
        return list(self.shapes)[-1]

    def tensor(self) -> str:
        """A tensor to read: mostly the last one."""
        names = list(self.shapes)
        return names[-1 - self.pick([0, 0, 0, *range(len(names))])]

    def fitting(self, fits: Callable[[Shape], bool]) -> str | None:
        """A tensor whose shape fits, if there is one."""
        names = [name for name, shape in self.shapes.items() if fits(shape)]
        return self.pick(reversed(names)) if names else None

    def another(self, fits: Callable[[Shape], bool], reads: Sequence[str]) -> str | None:
        """A tensor whose shape fits; one that is not read yet where there is one."""
        names = [name for name, shape in self.shapes.items() if fits(shape)]
        fresh = [name for name in names if name not in reads]
        return self.pick(reversed(fresh or names)) if names else None

    def per_axis(self, values: Sequence) -> Any:
        """Values per axis as a list, or as one number where they are equal."""
        values = list(values)
        if all(value == values[0] for value in values) and not isinstance(values[0], list):
            return values[0] if not self.flag() else values
        return values

    def edges(self, values: Sequence[tuple[int, int]]) -> Any:
        """Begins and ends per axis: pairs, or numbers where both are equal."""
        each: list = [b if b == e and not self.flag() else [b, e] for b, e in values]
        return self.per_axis(each)

    def dim(self, dim: int, rank: int) -> int:
        """A dim, counted from either end."""
        return dim - rank if self.flag() else dim

    def dims(self, shape: Shape, first: int = 1) -> list[int]:
        """Some dims of a shape, not none."""
        return sorted(self.draw(st.sets(st.integers(first, len(shape) - 1), min_size=1)))

    def named(self, dims: Iterable[int], rank: int) -> list[int]:
        return [self.dim(dim, rank) for dim in dims]


def divisors(n: int) -> list[int]:
    """All divisors, 1 first."""
    return [d for d in range(1, n + 1) if n % d == 0]


# Operators: each adds one layer (or a few) that reads x ------------------------------------------


def pointwise(net: Net, x: str) -> None:
    shape = net.shapes[x]
    op = net.pick([op for op in POINTWISE if op != "batch_norm" or len(shape) > 1])
    net.add(shape, [x], op)


def _window(net: Net, sizes: Sequence[int], words: bool = True) -> tuple[dict, list[tuple]]:
    """Fields of a sliding window, and per axis (kernel, stride, dilation, begin, end)."""
    word = net.pick([None, None, None, "same", "valid", "same_lower", "causal"]) if words else None
    dilate = net.pick([False, False, True])
    big = len(sizes) == 1 and sizes[0] > 8 and net.pick([False, False, True])
    windows, edges = [], []
    for n in sizes:
        k, s = net.int(1, 20 if big else 4), net.int(1, 3)
        d = net.int(1, 3) if dilate else 1
        reach = max(2, k // 2)
        b, e = (0, 0) if word else (net.int(0, reach), net.int(0, reach))
        if word == "causal":
            b = d * (k - 1)
        elif word in ("same", "same_lower"):
            total = max((-(-n // s) - 1) * s + d * (k - 1) + 1 - n, 0)
            b, e = total // 2, total - total // 2
            if word == "same_lower":
                b, e = e, b
        else:
            while d * (k - 1) + 1 > n + b + e:
                k, d = (k - 1, d) if d == 1 else (k, d - 1)
        windows.append((k, s, d, b, e))
        edges.append((b, e))
    fields: dict[str, Any] = {"kernel": net.per_axis([w[0] for w in windows])}
    strides = [w[1] for w in windows]
    if any(s != 1 for s in strides) or net.flag():
        fields["stride"] = net.per_axis(strides)
    if dilate:
        fields["dilation"] = net.per_axis([w[2] for w in windows])
    if word or any(b or e for b, e in edges):
        fields["padding"] = word or net.edges(edges)
    return fields, windows


def conv(net: Net, x: str) -> None:
    batch, channels, *sizes = net.shapes[x]
    fields, windows = _window(net, sizes)
    reach = [max(b, e) for *_, b, e in windows]
    modes = ["zeros", "zeros", "replicate"]
    if all(p < n for p, n in zip(reach, sizes, strict=True)):
        modes.append("reflect")
    if all(p <= n for p, n in zip(reach, sizes, strict=True)):
        modes.append("circular")
    mode = net.pick(modes)
    if mode != "zeros":
        fields["padding_mode"] = mode
    filters = _channels(net, channels, fields)
    out = [
        (n + b + e - d * (k - 1) - 1) // s + 1
        for n, (k, s, d, b, e) in zip(sizes, windows, strict=True)
    ]
    net.add((batch, filters, *out), [x], "conv", **fields)


def _channels(net: Net, channels: int, fields: dict) -> int:
    groups = net.pick(divisors(channels))
    if groups > 1:
        fields["groups"] = groups
    if not net.flag():
        return channels
    fields["channels"] = filters = groups * net.int(1, max(1, 4 // groups))
    return filters


def conv_transpose(net: Net, x: str) -> None:
    batch, channels, *sizes = net.shapes[x]
    windows, out = [], []
    for n in sizes:
        k, s, d = net.int(1, 4), net.int(1, 4), net.int(1, 2)
        extra = net.int(0, max(s, d) - 1)
        b, e = net.int(0, 2), net.int(0, 2)
        whole = (n - 1) * s + d * (k - 1) + extra + 1
        while whole - b - e < 1:
            b, e = (b - 1, e) if b else (b, e - 1)
        windows.append((k, s, d, extra, b, e))
        out.append(whole - b - e)
    fields: dict[str, Any] = {"kernel": net.per_axis([w[0] for w in windows])}
    for at, (name, default) in enumerate([("stride", 1), ("dilation", 1), ("output_padding", 0)]):
        values = [w[at + 1] for w in windows]
        if any(value != default for value in values):
            fields[name] = net.per_axis(values)
    if any(w[4] or w[5] for w in windows):
        fields["padding"] = net.edges([(w[4], w[5]) for w in windows])
    filters = _channels(net, channels, fields)
    net.add((batch, filters, *out), [x], "conv_transpose", **fields)


def pool(net: Net, x: str) -> None:
    batch, channels, *sizes = net.shapes[x]
    op = net.pick(["max_pool", "avg_pool", "lp_pool"])
    fields, windows = _window(net, sizes)
    if "stride" not in fields:  # the default is the kernel here
        fields["stride"] = 1
    if all(k == s for k, s, *_ in windows) and net.flag():
        del fields["stride"]
    ceil = net.flag()
    if ceil:
        fields["ceil_mode"] = True
    out = []
    for n, (k, s, d, b, e) in zip(sizes, windows, strict=True):
        room = n + b + e - d * (k - 1) - 1
        m = (-(-room // s) if ceil else room // s) + 1
        out.append(m - 1 if ceil and (m - 1) * s >= n + b else m)
    net.add((batch, channels, *out), [x], op, **fields)


def adaptive_pool(net: Net, x: str) -> None:
    batch, channels, *sizes = net.shapes[x]
    out = [net.int(1, n + 2) for n in sizes]
    op = net.pick(["adaptive_avg_pool", "adaptive_max_pool"])
    net.add((batch, channels, *out), [x], op, size=net.per_axis(out))


def global_pool(net: Net, x: str) -> None:
    batch, channels, *sizes = net.shapes[x]
    op = net.pick(["global_avg_pool", "global_max_pool"])
    net.add((batch, channels, *[1 for _ in sizes]), [x], op)


def reduction(net: Net, x: str) -> None:
    shape = net.shapes[x]
    rank = len(shape)
    fields: dict[str, Any] = {}
    dims = list(range(2, rank))
    if rank < 3 or net.flag():
        dims = net.dims(shape, first=0 if shape[0] > 1 else 1)
        fields["dims"] = net.named(dims, rank)
    keep = net.flag()
    if keep:
        fields["keepdim"] = True
    out = [1 if dim in dims else n for dim, n in enumerate(shape) if keep or dim not in dims]
    if not out:  # a tensor keeps at least one dim
        fields["keepdim"], out = True, [1 for _ in shape]
    net.add(out, [x], net.pick(["mean", "sum", "amax", "amin"]), **fields)


def upsample(net: Net, x: str) -> None:
    batch, channels, *sizes = net.shapes[x]
    fields: dict[str, Any] = {}
    mode = net.pick(["nearest", "nearest-exact", "linear", "cubic", "area"])
    if mode != "nearest" or net.flag():
        fields["mode"] = mode
    if net.flag():
        out = [net.int(1, 2 * n + 1) for n in sizes]
        fields["size"] = net.per_axis(out)
    else:
        scales = [
            net.pick([scale for scale in SCALES if n * Fraction(str(scale)) >= 1]) for n in sizes
        ]
        out = [math.floor(n * Fraction(str(scale))) for n, scale in zip(sizes, scales, strict=True)]
        fields["scale"] = net.per_axis(scales)
    if mode in ("linear", "cubic") and net.flag():
        fields["align_corners"] = True
    net.add((batch, channels, *out), [x], "upsample", **fields)


def pad(net: Net, x: str) -> None:
    batch, channels, *sizes = net.shapes[x]
    mode = net.pick(["constant", "reflect", "replicate", "circular"])
    edges = []
    for n in sizes:
        top = {"constant": 3, "reflect": n - 1, "replicate": n + 2, "circular": n}[mode]
        low = -2 if mode == "constant" else 0
        b, e = net.int(low, min(top, 3)), net.int(low, min(top, 3))
        left = n + min(b, 0) + min(e, 0)  # cropping comes first, and leaves something
        edges.append((b, e) if left > 0 else (max(b, 0), max(e, 0)))
    fields: dict[str, Any] = {"padding": net.edges(edges)}
    if mode != "constant" or net.flag():
        fields["mode"] = mode
    out = [n + b + e for n, (b, e) in zip(sizes, edges, strict=True)]
    net.add((batch, channels, *out), [x], "pad", **fields)


def crop(net: Net, x: str) -> None:
    batch, channels, *sizes = net.shapes[x]
    edges = []
    for n in sizes:
        b = net.int(0, min(2, n - 1))
        edges.append((b, net.int(0, min(2, n - 1 - b))))
    out = [n - b - e for n, (b, e) in zip(sizes, edges, strict=True)]
    net.add((batch, channels, *out), [x], "crop", margin=net.edges(edges))


def slice_(net: Net, x: str) -> None:
    shape = net.shapes[x]
    dim = net.int(1 if shape[0] == 1 and len(shape) > 1 else 0, len(shape) - 1)
    n = shape[dim]
    start = net.int(0, n - 1)
    stop, step = net.int(start + 1, n), net.int(1, 3)
    fields: dict[str, Any] = {"dim": net.dim(dim, len(shape))}
    if start or net.flag():
        fields["start"] = start - n if net.flag() else start
    if stop < n:
        fields["stop"] = stop - n if net.flag() else stop
    elif net.flag():
        fields["stop"] = n + 3  # beyond the end, as Python allows
    if step > 1:
        fields["step"] = step
    out = (*shape[:dim], len(range(start, stop, step)), *shape[dim + 1 :])
    net.add(out, [x], "slice", **fields)


def index(net: Net, x: str) -> None:
    shape = net.shapes[x]
    dim = net.int(1, len(shape) - 1)
    places = net.draw(st.lists(st.integers(0, shape[dim] - 1), min_size=1, max_size=5))
    out = (*shape[:dim], len(places), *shape[dim + 1 :])
    net.add(out, [x], "index", dim=net.dim(dim, len(shape)), index=places)


def select(net: Net, x: str) -> None:
    shape = net.shapes[x]
    dim = net.int(1, len(shape) - 1)
    place = net.int(0, shape[dim] - 1)
    out = shape[:dim] + shape[dim + 1 :]
    net.add(out, [x], "select", dim=net.dim(dim, len(shape)), index=place)


def _some_dims(net: Net, shape: Shape, fields: dict, first: int = 1) -> list[int]:
    """Dims for an operator whose default is all axes."""
    if len(shape) > 2 and not net.flag():
        return list(range(2, len(shape)))
    dims = net.dims(shape, first)
    fields["dims"] = net.named(dims, len(shape))
    return dims


def flip(net: Net, x: str) -> None:
    fields: dict[str, Any] = {}
    _some_dims(net, net.shapes[x], fields)
    net.add(net.shapes[x], [x], "flip", **fields)


def roll(net: Net, x: str) -> None:
    fields: dict[str, Any] = {}
    dims = _some_dims(net, net.shapes[x], fields)
    fields["shift"] = net.per_axis([net.int(-4, 4) for _ in dims])
    net.add(net.shapes[x], [x], "roll", **fields)


def pixel_shuffle(net: Net, x: str) -> None:
    batch, channels, *sizes = net.shapes[x]
    factors = _factors(net, channels, sizes)
    if math.prod(factors) == 1:
        # Make the channels that it needs first; else it would seldom be drawn.
        factors = _factors(net, LIMIT // math.prod(net.shapes[x]), sizes, exactly=False)
        filters = channels * math.prod(factors)
        x = net.add(
            (batch, filters, *sizes),
            [x],
            "conv",
            kernel=net.int(1, 2),
            padding="same",
            groups=net.pick(divisors(channels)),
            channels=filters,
        )
    _shuffle(net, x, factors)


def _factors(net: Net, room: int, sizes: Sequence[int], exactly: bool = True) -> list[int]:
    """A factor per axis; their product divides the room, or at least fits in it."""
    same = net.flag()
    factors: list[int] = []
    for left in range(len(sizes), 0, -1):
        count = left if same else 1
        fits = [f for f in (2, 3, 1) if f**count <= room and not (exactly and room % f**count)]
        factor = net.pick(fits or [1])
        factors += [factor] * count
        room //= factor**count
        if same:
            break
    return factors


def _shuffle(net: Net, x: str, factors: Sequence[int]) -> None:
    batch, channels, *sizes = net.shapes[x]
    out = (n * f for n, f in zip(sizes, factors, strict=True))
    factor = net.per_axis(factors)
    net.add((batch, channels // math.prod(factors), *out), [x], "pixel_shuffle", factor=factor)


def pixel_unshuffle(net: Net, x: str) -> None:
    batch, channels, *sizes = net.shapes[x]
    if net.flag():
        factor = net.pick([f for f in (2, 3, 1) if all(n % f == 0 for n in sizes)])
        factors = [factor for _ in sizes]
    else:  # up to the size itself, which leaves one unit
        factors = [net.pick([*divisors(n)[1:], 1]) for n in sizes]
    out = (n // f for n, f in zip(sizes, factors, strict=True))
    factor = net.per_axis(factors)
    net.add((batch, channels * math.prod(factors), *out), [x], "pixel_unshuffle", factor=factor)


def channel_shuffle(net: Net, x: str) -> None:
    shape = net.shapes[x]
    net.add(shape, [x], "channel_shuffle", groups=net.pick(divisors(shape[1])))


def flatten(net: Net, x: str) -> None:
    shape = net.shapes[x]
    rank = len(shape)
    start = net.pick([1, 2, 0] if rank > 2 else [1, 0])
    end = net.int(start, rank - 1) if net.flag() else rank - 1
    fields: dict[str, Any] = {}
    if start != 1 or net.flag():
        fields["start"] = net.dim(start, rank)
    if end != rank - 1 or net.flag():
        fields["end"] = net.dim(end, rank)
    out = (*shape[:start], math.prod(shape[start : end + 1]), *shape[end + 1 :])
    net.add(out, [x], "flatten", **fields)


def reshape(net: Net, x: str) -> None:
    """Split some dims and merge some neighbours; the batch may take part."""
    shape = net.shapes[x]
    first = net.pick([1, 1, 0]) if len(shape) > 1 else 0
    parts: list[int] = []
    for n in shape[first:]:
        factor = net.pick(divisors(n)) if net.flag() else 1
        parts += [n] if factor == 1 else [factor, n // factor]
    out = list(shape[:first])
    for n in parts:
        if len(out) > first and net.flag():
            out[-1] *= n
        else:
            out.append(n)
    while len(out) > MAX_RANK:
        out[-2:] = [out[-2] * out[-1]]
    written = list(out)
    if net.flag():
        written[net.int(0, len(out) - 1)] = -1
    net.add(out, [x], "reshape", shape=written)


def permute(net: Net, x: str) -> None:
    shape = net.shapes[x]
    first = net.pick([1, 1, 0])
    order = [*range(first), *net.draw(st.permutations(range(first, len(shape))))]
    out = [shape[dim] for dim in order]
    net.add(out, [x], "permute", order=net.named(order, len(shape)))


def squeeze(net: Net, x: str) -> None:
    shape = net.shapes[x]
    dim = net.pick([dim for dim, n in enumerate(shape) if n == 1])
    out = shape[:dim] + shape[dim + 1 :]
    net.add(out, [x], "squeeze", dim=net.dim(dim, len(shape)))


def unsqueeze(net: Net, x: str) -> None:
    shape = net.shapes[x]
    dim = net.int(0, len(shape))
    net.add((*shape[:dim], 1, *shape[dim:]), [x], "unsqueeze", dim=net.dim(dim, len(shape) + 1))


def concat(net: Net, x: str) -> None:
    shape = net.shapes[x]
    rank = len(shape)
    dim = 1 if rank > 1 and net.flag() else net.int(0, rank - 1)

    def fits(other: Shape) -> bool:
        return len(other) == rank and all(
            a == b for d, (a, b) in enumerate(zip(other, shape, strict=True)) if d != dim
        )

    reads = [x]
    for _ in range(net.int(1, 2)):
        reads.append(net.another(fits, reads) or x)
    reads = net.draw(st.permutations(reads))
    total = sum(net.shapes[name][dim] for name in reads)
    fields = {} if dim == 1 and net.flag() else {"dim": net.dim(dim, rank)}
    net.add((*shape[:dim], total, *shape[dim + 1 :]), reads, "concat", **fields)


def _broadcast(a: Shape, b: Shape) -> Shape | None:
    rank = max(len(a), len(b))
    a, b = (1,) * (rank - len(a)) + a, (1,) * (rank - len(b)) + b
    if any(m != n and 1 not in (m, n) for m, n in zip(a, b, strict=True)):
        return None
    return tuple(n if m == 1 else m for m, n in zip(a, b, strict=True))


def join(net: Net, x: str) -> None:
    reads, shape = [x], net.shapes[x]
    op = net.pick([*JOINS, "where"])
    more = {"where": 2}.get(op) or (net.int(1, 2) if op in ("add", "mul") else 1)
    for _ in range(more):

        def fits(other: Shape, shape: Shape = shape) -> bool:
            both = _broadcast(shape, other)
            return both is not None and math.prod(both) <= LIMIT

        name = net.another(fits, reads) or x
        reads.append(name)
        shape = _broadcast(shape, net.shapes[name]) or shape
    reads = net.draw(st.permutations(reads))
    net.add(shape, reads, op)


def layer_norm(net: Net, x: str) -> None:
    shape = net.shapes[x]
    op = net.pick(["layer_norm", "rms_norm"])
    fields = {"dims": net.named(net.dims(shape), len(shape))} if net.flag() else {}
    net.add(shape, [x], op, **fields)


def group_norm(net: Net, x: str) -> None:
    shape = net.shapes[x]
    net.add(shape, [x], "group_norm", groups=net.pick(divisors(shape[1])))


def instance_norm(net: Net, x: str) -> None:
    net.add(net.shapes[x], [x], "instance_norm")


def local_response_norm(net: Net, x: str) -> None:
    net.add(net.shapes[x], [x], "local_response_norm", size=net.int(1, 5))


def softmax(net: Net, x: str) -> None:
    shape = net.shapes[x]
    fields = {"dim": net.dim(net.int(1, len(shape) - 1), len(shape))} if net.flag() else {}
    net.add(shape, [x], net.pick(["softmax", "log_softmax"]), **fields)


def linear(net: Net, x: str) -> None:
    shape = net.shapes[x]
    fields: dict[str, Any] = {"features": net.int(1, 4)}
    dim = len(shape) - 1
    if net.flag():
        dim = net.int(1, len(shape) - 1)
        fields["dim"] = net.dim(dim, len(shape))
    net.add((*shape[:dim], fields["features"], *shape[dim + 1 :]), [x], "linear", **fields)


def attention(net: Net, x: str) -> None:
    shape = net.shapes[x]
    rank = len(shape)
    kind = net.pick(["full", "causal", "window", "sliding"])
    fields: dict[str, Any] = {} if kind == "full" and net.flag() else {"kind": kind}
    features = 1
    if rank > 2 and net.pick([False, False, True]):  # tokens first, features last, as in a ViT
        features = rank - 1
        dims = [1]
        if rank > 3 and kind != "causal" and net.flag():
            dims.append(2)
        fields["dims"] = net.named(dims, rank)
    elif kind == "causal" and rank > 3:
        dims = [net.int(2, rank - 1)]
        fields["dims"] = net.named(dims, rank)
    else:
        dims = _some_dims(net, shape, fields, first=2)
    if kind == "window":
        windows = [net.pick(divisors(shape[dim])) for dim in dims]
        fields["window"] = net.per_axis(windows)
        if net.flag():
            fields["shift"] = net.per_axis([net.int(0, 2 * w) for w in windows])
    elif kind == "sliding":
        fields["window"] = net.per_axis([net.int(1, 5) for _ in dims])

    def fits(other: Shape) -> bool:
        free = (features, *dims) if kind == "full" else (features,)
        return len(other) == rank and all(
            a == b for d, (a, b) in enumerate(zip(other, shape, strict=True)) if d not in free
        )

    # A context: the keys and values of cross-attention.
    reads = [x]
    if not net.pick([True, True, False]):
        reads.append(net.fitting(fits) or x)
    filters = shape[features]
    if net.flag():
        filters = fields["channels"] = net.int(1, 4)
    net.add((*shape[:features], filters, *shape[features + 1 :]), reads, "attention", **fields)


def recurrent(net: Net, x: str) -> None:
    shape = net.shapes[x]
    rank = len(shape)
    filters = net.int(1, 3)
    fields: dict[str, Any] = {"channels": filters}
    features = 1
    if net.flag():
        dim = net.int(1, rank - 1)
        fields["dim"] = net.dim(dim, rank)
        features = rank - 1 if dim == 1 else 1
    if net.flag():
        fields["bidirectional"] = True
        filters *= 2
    out = (*shape[:features], filters, *shape[features + 1 :])
    net.add(out, [x], net.pick(["rnn", "lstm", "gru"]), **fields)


def scan(net: Net, x: str) -> None:
    shape = net.shapes[x]
    fields = {"dim": net.dim(net.int(1, len(shape) - 1), len(shape))} if net.flag() else {}
    net.add(shape, [x], net.pick(["cumsum", "cumprod", "cummax", "cummin"]), **fields)


def mix(net: Net, x: str) -> None:
    fields: dict[str, Any] = {}
    _some_dims(net, net.shapes[x], fields)
    net.add(net.shapes[x], [x], net.pick(["mix", "sort", "fft"]), **fields)


def opaque(net: Net, x: str) -> None:
    reads = [x] if not net.flag() else [x, net.tensor()]
    shape = net.shapes[x]
    fields: dict[str, Any] = {}
    if net.flag():
        shape = (1, net.int(1, 3), *(net.int(1, 4) for _ in range(net.int(0, 2))))
        fields["shape"] = list(shape)
    net.add(shape, reads, "opaque", **fields)


# Small structures that single draws would seldom make --------------------------------------------


def squeeze_excitation(net: Net, x: str) -> None:
    shape = net.shapes[x]
    rank = len(shape)
    dims = list(range(2, rank)) if net.flag() else net.dims(shape)
    reduced = [1 if dim in dims else n for dim, n in enumerate(shape)]
    mean = net.add(reduced, [x], "mean", dims=dims, keepdim=True)
    gate = net.add(reduced, [mean], "linear", features=reduced[1], dim=1)
    net.add(shape, net.draw(st.permutations([x, gate])), "mul")


def branches(net: Net, x: str) -> None:
    """Two windows over one tensor, concatenated, then perhaps a group or slice of the result."""
    for _ in range(2):
        net.pick([conv, pool, pad, upsample, flip])(net, x)
    a, b = list(net.shapes)[-2:]
    first, second = net.shapes[a], net.shapes[b]
    keep = [min(m, n) for m, n in zip(first[2:], second[2:], strict=True)]
    ends = []
    for name in (a, b):
        for axis, n in enumerate(keep):
            shape = net.shapes[name]
            if shape[axis + 2] != n:
                out = (*shape[: axis + 2], n, *shape[axis + 3 :])
                name = net.add(out, [name], "slice", dim=axis + 2, stop=n)
        ends.append(name)
    channels = sum(net.shapes[name][1] for name in ends)
    net.add((net.shapes[a][0], channels, *keep), ends, "concat")
    net.pick([pointwise, conv, slice_, channel_shuffle, pixel_shuffle])(net, list(net.shapes)[-1])


def residual(net: Net, x: str) -> None:
    shape = net.shapes[x]
    kernel = net.pick([3, 1, 2, 5])
    body = net.add(shape, [x], "conv", kernel=kernel, padding="same")
    net.add(shape, net.draw(st.permutations([x, body])), "add")


def windows(net: Net, x: str) -> None:
    """Windows of every axis moved to the batch, or each to a token; and perhaps back."""
    batch, channels, *sizes = net.shapes[x]
    count = len(sizes)
    parts = [net.pick(divisors(n)) for n in sizes]
    blocks = [n // w for n, w in zip(sizes, parts, strict=True)]
    split = [batch, channels, *(v for pair in zip(blocks, parts, strict=True) for v in pair)]
    if len(split) > MAX_RANK:
        return pointwise(net, x)
    y = net.add(split, [x], "reshape", shape=split)
    outer = [2 + 2 * i for i in range(count)]
    inner = [3 + 2 * i for i in range(count)]
    order = [0, *outer, 1, *inner] if net.flag() else [0, 1, *outer, *inner]
    moved = [split[dim] for dim in order]
    y = net.add(moved, [y], "permute", order=order)
    if order[-1 - count] == 1:  # windows in the batch
        shape = [batch * math.prod(blocks), channels, *parts]
    else:  # a window is a row of tokens
        shape = [batch, channels, math.prod(blocks), math.prod(parts)]
    y = net.add(shape, [y], "reshape", shape=shape)
    net.pick([pointwise, conv, attention, global_pool])(net, y)
    y = list(net.shapes)[-1]
    if net.shapes[y] == tuple(shape) and net.flag():
        y = net.add(moved, [y], "reshape", shape=moved)
        back = [order.index(dim) for dim in range(len(order))]
        y = net.add(split, [y], "permute", order=back)
        net.add(net.shapes[x], [y], "reshape", shape=list(net.shapes[x]))


def tokens(net: Net, x: str) -> None:
    """Flatten the axes to tokens, mix or pick some, and perhaps return to the axes."""
    batch, channels, *sizes = net.shapes[x]
    count = math.prod(sizes)
    y = net.add((batch, channels, count), [x], "flatten", start=2)
    net.pick([slice_, pointwise, attention, select, conv, scan])(net, y)
    y = list(net.shapes)[-1]
    shape = net.shapes[y]
    if shape[2:] == (count,) and net.flag():
        out = [*shape[:2], *sizes]
        net.add(out, [y], "reshape", shape=out)


def unshuffle_and_back(net: Net, x: str) -> None:
    """Blocks to channels, perhaps changed there, and to the axes again."""
    sizes = net.shapes[x][2:]
    factors = [net.pick([*divisors(n)[1:], 1]) for n in sizes]
    batch, channels, *sizes = net.shapes[x]
    filters = channels * math.prod(factors)
    out = (n // f for n, f in zip(sizes, factors, strict=True))
    factor = net.per_axis(factors)
    net.add((batch, filters, *out), [x], "pixel_unshuffle", factor=factor)
    net.pick([pointwise, conv, channel_shuffle, index, flip])(net, net.last)
    filters = net.shapes[net.last][1]
    if filters % math.prod(factors) == 0 and net.flag():
        _shuffle(net, net.last, factors)
    else:
        _shuffle(net, net.last, _factors(net, filters, sizes))


def two_sources(net: Net, x: str) -> None:
    """Channels that read different tensors, one operator over them, and perhaps one channel of it."""
    shape = net.shapes[x]
    other = net.another(lambda o: o[:1] + o[2:] == shape[:1] + shape[2:], [x]) or x
    if net.flag():
        x = net.add(shape, [x], "conv", kernel=3, padding="same", groups=shape[1])
    reads = net.draw(st.permutations([x, other]))
    channels = shape[1] + net.shapes[other][1]
    net.add((shape[0], channels, *shape[2:]), reads, "concat")
    shape = net.shapes[net.last]
    net.pick(
        [
            conv,
            group_norm,
            local_response_norm,
            channel_shuffle,
            index,
            flip,
            roll,
            linear,
            softmax,
            layer_norm,
            scan,
            recurrent,
            attention,
            conv_transpose,
            pixel_shuffle,
            pixel_unshuffle,
            mix,
            reshape,
        ]
    )(net, net.last)
    shape = net.shapes[net.last]
    if len(shape) > 1 and net.flag():
        place = net.int(0, shape[1] - 1)
        net.add((shape[0], 1, *shape[2:]), [net.last], "index", dim=1, index=[place])


def cat_maps(net: Net, x: str) -> None:
    """Maps side by side along an axis, then a window or a cut across the seam."""
    shape = net.shapes[x]
    dim = net.int(2, len(shape) - 1)

    def fits(other: Shape) -> bool:
        return len(other) == len(shape) and all(
            a == b for d, (a, b) in enumerate(zip(other, shape, strict=True)) if d != dim
        )

    reads = [x, net.another(fits, [x]) or x]
    if net.flag():  # a part of it only
        stop = net.int(1, shape[dim])
        cut = (*shape[:dim], stop, *shape[dim + 1 :])
        reads[0] = net.add(cut, [x], "slice", dim=dim, stop=stop)
    reads = net.draw(st.permutations(reads))
    total = sum(net.shapes[name][dim] for name in reads)
    net.add((*shape[:dim], total, *shape[dim + 1 :]), reads, "concat", dim=dim)
    windows = [conv, pool] if len(shape) <= 5 else []
    net.pick([slice_, *windows, flip, pad, scan, reduction, reshape])(net, net.last)


@dataclass(frozen=True)
class Op:
    """An operator with the least rank that it takes, and what else it needs of a shape."""

    draw: Callable[[Net, str], None]
    rank: int = 2
    needs: Callable[[Shape], bool] = lambda shape: True
    weight: int = 1


def _at_most_3_axes(shape: Shape) -> bool:
    return len(shape) <= 5


# The order is the order of shrinking: the simplest first.
OPS: dict[str, Op] = {
    "pointwise": Op(pointwise, 1),
    "conv": Op(conv, 3, _at_most_3_axes, weight=4),
    "pool": Op(pool, 3, _at_most_3_axes, weight=2),
    "join": Op(join, 1),
    "concat": Op(concat, 1),
    "slice": Op(slice_, 1),
    "crop": Op(crop, 3),
    "pad": Op(pad, 3),
    "select": Op(select),
    "index": Op(index),
    "flip": Op(flip),
    "roll": Op(roll),
    "squeeze": Op(squeeze, 2, lambda shape: 1 in shape),
    "unsqueeze": Op(unsqueeze, 1),
    "flatten": Op(flatten, 2),
    "permute": Op(permute),
    "reshape": Op(reshape, 1),
    "linear": Op(linear),
    "softmax": Op(softmax),
    "layer_norm": Op(layer_norm),
    "group_norm": Op(group_norm),
    "instance_norm": Op(instance_norm, 3),
    "local_response_norm": Op(local_response_norm, 3),
    "channel_shuffle": Op(channel_shuffle, 3),
    "reduction": Op(reduction),
    "global_pool": Op(global_pool, 3),
    "adaptive_pool": Op(adaptive_pool, 3, _at_most_3_axes),
    "conv_transpose": Op(conv_transpose, 3, _at_most_3_axes, weight=4),
    "pixel_shuffle": Op(pixel_shuffle, 3, _at_most_3_axes, weight=2),
    "pixel_unshuffle": Op(pixel_unshuffle, 3, _at_most_3_axes),
    "upsample": Op(upsample, 3, _at_most_3_axes, weight=4),
    "scan": Op(scan),
    "mix": Op(mix),
    "recurrent": Op(recurrent, 3),
    "attention": Op(attention, 3, weight=2),
    "residual": Op(residual, 3, _at_most_3_axes, weight=2),
    "squeeze_excitation": Op(squeeze_excitation, 3, weight=2),
    "branches": Op(branches, 3, _at_most_3_axes, weight=2),
    "windows": Op(windows, 3, weight=2),
    "tokens": Op(tokens, 3, weight=2),
    "unshuffle_and_back": Op(unshuffle_and_back, 3, _at_most_3_axes),
    "two_sources": Op(two_sources, 3, _at_most_3_axes, weight=2),
    "cat_maps": Op(cat_maps, 3, weight=2),
    "opaque": Op(opaque, 1),
}


@st.composite
def input_shapes(draw: Draw, axes: int | None = None) -> Shape:
    """The shape of an input tensor, batch first."""
    axes = axes or draw(st.sampled_from([1, 2, 2, 3]))
    # A long axis has room for big windows.
    low, high = {1: (1, draw(st.sampled_from([16, 16, 41]))), 2: (1, 7), 3: (1, 4)}[axes]
    channels = draw(st.sampled_from([1, 2, 3, 4]))
    # Not a multiple of 16 by chance: draw odd sizes as often as even ones.
    return (1, channels, *(draw(st.integers(low, high)) for _ in range(axes)))


@st.composite
def specs(
    draw: Draw,
    max_layers: int = 8,
    ops: Sequence[str] = tuple(OPS),
    without: Sequence[str] = (),
    axes: int | None = None,
    max_inputs: int = 3,
) -> Spec:
    """A valid spec in the full form. ``ops`` and ``without`` choose from ``OPS``."""
    count = min(max_inputs, draw(st.sampled_from([1, 1, 1, 1, 2, 2, 3])))
    first = draw(input_shapes(axes=axes))
    inputs = {"input": first}
    if count > 1:
        inputs = {"in0": first}
        for i in range(1, count):
            same = draw(st.sampled_from([True, True, False]))
            inputs[f"in{i}"] = first if same else draw(input_shapes(axes=axes))
    net = Net(draw, inputs)
    allowed = {name: op for name, op in OPS.items() if name in ops and name not in without}
    _grow(net, allowed.values(), max_layers)
    return _written(draw, net)


def _grow(net: Net, ops: Iterable[Op], most: int) -> None:
    """Add operators, mostly several, to a net."""
    ops = list(ops)
    for _ in range(net.pick([1, *range(2, most + 1), *range(3, most + 1)])):
        x = net.tensor()
        shape = net.shapes[x]
        fitting = [
            op for op in ops if len(shape) >= op.rank and op.needs(shape) for _ in range(op.weight)
        ]
        if fitting:
            net.pick(fitting).draw(net, x)
    if not net.layers:
        pointwise(net, next(iter(net.inputs)))


# Specs that never read outside -------------------------------------------------------------------


@st.composite
def plain_specs(draw: Draw, max_layers: int = 7) -> Spec:
    """A spec in which nothing ever reads outside: windows without padding, no border of any kind.

    Here the closed form of every layer is its exact field, for every unit.
    """
    net = Net(draw, {"input": draw(input_shapes())})
    _grow(net, PLAIN, max_layers)
    return _written(draw, net)


def _valid_window(net: Net, x: str) -> None:
    batch, channels, *sizes = net.shapes[x]
    op = net.pick(["conv", "max_pool"])
    top = net.pick([3, 3, 12]) if len(sizes) == 1 else 3
    kernel = [net.int(1, min(top, n)) for n in sizes]
    stride = [net.int(1, 3) for _ in sizes]
    dilation = [
        net.int(1, min(2, (n - 1) // (k - 1))) if k > 1 else 1
        for n, k in zip(sizes, kernel, strict=True)
    ]
    out = [
        (n - d * (k - 1) - 1) // s + 1
        for n, k, s, d in zip(sizes, kernel, stride, dilation, strict=True)
    ]
    fields: dict[str, Any] = {}
    filters = _channels(net, channels, fields) if op == "conv" else channels
    net.add(
        (batch, filters, *out),
        [x],
        op,
        kernel=net.per_axis(kernel),
        stride=net.per_axis(stride),
        dilation=net.per_axis(dilation),
        **fields,
    )


def _valid_branch(net: Net, x: str) -> None:
    shape = net.shapes[x]
    other = net.fitting(lambda o: o[0] == shape[0] and o[2:] == shape[2:]) or x
    if net.shapes[other] == shape and net.flag():
        net.add(shape, [x, other], net.pick(["add", "maximum"]))
    else:
        net.add((shape[0], shape[1] + net.shapes[other][1], *shape[2:]), [x, other], "concat")


def _copied(net: Net, x: str) -> None:
    """Upsampling that reads whole elements only."""
    batch, channels, *sizes = net.shapes[x]
    if net.flag():
        scale = net.int(1, 3)
        out = [n * scale for n in sizes]
        net.add((batch, channels, *out), [x], "upsample", scale=scale)
    else:
        out = [net.int(1, 2 * n + 1) for n in sizes]
        mode = net.pick(["nearest", "area"])
        net.add((batch, channels, *out), [x], "upsample", size=net.per_axis(out), mode=mode)


def _shuffled(net: Net, x: str) -> None:
    _, channels, *sizes = net.shapes[x]
    _shuffle(net, x, _factors(net, channels, sizes))


def _window_attention(net: Net, x: str) -> None:
    shape = net.shapes[x]
    window = net.per_axis([net.pick(divisors(n)) for n in shape[2:]])
    net.add(shape, [x], "attention", kind="window", window=window)


def _parts(net: Net, x: str) -> None:
    """A dim cut in two, one part perhaps mirrored, and joined again in either order."""
    shape = net.shapes[x]
    dim = net.int(1, len(shape) - 1)
    n = shape[dim]
    if n < 2:
        return pointwise(net, x)
    cut = net.int(1, n - 1)
    first = net.add((*shape[:dim], cut, *shape[dim + 1 :]), [x], "slice", dim=dim, stop=cut)
    rest = (*shape[:dim], n - cut, *shape[dim + 1 :])
    second = net.add(rest, [x], "slice", dim=dim, start=cut)
    net.pick([pointwise, flip])(net, second)
    net.add(shape, net.draw(st.permutations([first, net.last])), "concat", dim=dim)


PLAIN = [
    Op(pointwise, 1),
    Op(_valid_window, 3, _at_most_3_axes, weight=4),
    Op(_valid_branch, 3, weight=2),
    Op(join, 1),
    Op(concat, 1),
    Op(slice_, 1),
    Op(crop, 3),
    Op(select),
    Op(index),
    Op(flip),
    Op(unsqueeze, 1),
    Op(flatten),
    Op(permute),
    Op(reshape, 1, weight=2),
    Op(linear),
    Op(scan),
    Op(channel_shuffle, 3),
    Op(pixel_unshuffle, 3, _at_most_3_axes),
    Op(_shuffled, 3, _at_most_3_axes),
    Op(_copied, 3, _at_most_3_axes, weight=2),
    Op(adaptive_pool, 3, _at_most_3_axes),
    Op(_window_attention, 3),
    Op(_parts, weight=2),
]


def _written(draw: Draw, net: Net) -> Spec:
    """The spec as a user may write it: defaults left out, a mapping or a list, any order."""
    layers = {name: dict(layer) for name, layer in net.layers.items()}
    style = draw(st.sampled_from(["mapping", "list", "backwards"]))
    if style == "backwards":
        layers = dict(reversed(layers.items()))
    else:
        previous = next(iter(net.inputs))
        for name, layer in layers.items():
            if layer["inputs"] == [previous] and draw(st.booleans()):
                del layer["inputs"]
            previous = name
    written: dict[str, Any] = {}
    for name, layer in layers.items():
        if len(layer.get("inputs", ())) == 1:
            layer["inputs"] = layer["inputs"][0]
        bare = style == "mapping" and list(layer) == ["op"]
        written[name] = layer["op"] if bare else layer
    spec: Spec = {}
    if list(net.inputs) == ["input"]:
        spec["input"] = list(net.inputs["input"][1:])
    else:
        spec["inputs"] = {name: list(shape[1:]) for name, shape in net.inputs.items()}
    if style == "list":
        spec["layers"] = [{"name": name, **layer} for name, layer in written.items()]
    else:
        spec["layers"] = written
    return spec
