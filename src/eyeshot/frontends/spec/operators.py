"""The spec language's operators: what fields each takes, and the family that builds it.

An operator is one struct: its fields with their types (checked by msgspec), and ``build``, which
calls one of :mod:`eyeshot.core.families`. A new operator is a new struct here (docs/adding-an-operator.md).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import Annotated, ClassVar, Literal, TypeVar

import msgspec

from eyeshot.core import families
from eyeshot.core.graph import Graph
from eyeshot.core.primitives import MAX_SIZE, Border, Shape
from eyeshot.errors import FieldError

__all__ = ["OPERATORS", "POINTWISE", "Operator", "Window", "names"]

Count = Annotated[int, msgspec.Meta(ge=1, le=MAX_SIZE)]
Amount = Annotated[int, msgspec.Meta(ge=0, le=MAX_SIZE)]
Offset = Annotated[int, msgspec.Meta(ge=-MAX_SIZE, le=MAX_SIZE)]
PerAxis = Count | list[Count]
Padding = Amount | str | list[Amount | list[Amount]]
Margins = Offset | list[Offset | list[Offset]]
Pair = tuple[int, int]
WORDS = ("valid", "same", "same_lower", "causal")
PADDING_MODES: dict[str, Border] = {
    "zeros": "drop",
    "constant": "drop",
    "reflect": "reflect",
    "replicate": "clamp",
    "circular": "wrap",
}

T = TypeVar("T")


class Operator(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """The base of all operators: ``build`` appends to the graph and returns a value."""

    arity: ClassVar[tuple[int, float]] = (1, 1)

    def build(self, graph: Graph, inputs: list[int]) -> int:
        raise NotImplementedError


OPERATORS: dict[str, type[Operator]] = {}


def operator(*ops: str) -> Callable[[type[T]], type[T]]:
    """Register a struct under its operator names; a name is taken once."""

    def register(struct: type[T]) -> type[T]:
        for op in ops:
            if op in OPERATORS:
                raise ValueError(f"operator {op!r} is registered twice")
            OPERATORS[op] = struct  # type: ignore[assignment]
        return struct

    return register


def names() -> list[str]:
    """Every operator's name."""
    return sorted(OPERATORS)


# --- helpers


def axes_of(graph: Graph, x: int) -> int:
    """How many axes a tensor has: all dims but batch and channel."""
    axes = len(graph.shapes[x]) - 2
    if axes < 1:
        raise FieldError("inputs", f"a tensor of {axes + 2} dims has no axes")
    return axes


def per_axis(field: str, value: int | Sequence[int], axes: int) -> tuple[int, ...]:
    """One number per axis."""
    if isinstance(value, int):
        return (value,) * axes
    if len(value) != axes:
        raise FieldError(field, f"has {len(value)} numbers for {axes} axes")
    return tuple(value)


def pairs(field: str, value: int | Sequence[int | Sequence[int]], axes: int) -> list[Pair]:
    """One (begin, end) pair per axis."""
    if isinstance(value, int):
        return [(value, value)] * axes
    if len(value) != axes:
        raise FieldError(field, f"has {len(value)} entries for {axes} axes")
    out: list[Pair] = []
    for entry in value:
        if isinstance(entry, int):
            out.append((entry, entry))
        elif len(entry) == 2:
            out.append((entry[0], entry[1]))
        else:
            raise FieldError(field, f"an axis takes a number or [begin, end], not {list(entry)}")
    return out


def padding_pairs(
    value: int | str | Sequence[int | Sequence[int]],
    sizes: Sequence[int],
    kernel: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
) -> list[Pair]:
    """Padding as pairs, words worked out."""
    if not isinstance(value, str):
        return pairs("padding", value, len(sizes))
    if value == "valid":
        return [(0, 0)] * len(sizes)
    each = list(zip(sizes, kernel, stride, dilation, strict=True))
    if value == "causal":
        return [(d * (k - 1), 0) for _, k, _, d in each]
    if value in ("same", "same_lower"):
        lower = value == "same_lower"
        return [families.same_padding(n, k, s, d, lower) for n, k, s, d in each]
    raise FieldError(
        "padding", f"expected a number, a list or one of {', '.join(WORDS)}; got {value!r}"
    )


def dim_of(graph: Graph, x: int, dim: int, field: str = "dim") -> int:
    """``dim`` counted from 0."""
    rank = len(graph.shapes[x])
    if not -rank <= dim < rank:
        raise FieldError(field, f"{dim} is not a dim of a tensor that has {rank}")
    return dim % rank


def dims_of(graph: Graph, x: int, dims: int | Sequence[int] | None) -> tuple[int, ...]:
    """``dims`` counted from 0; all axes where none are given."""
    if dims is None:
        return tuple(range(2, 2 + axes_of(graph, x)))
    if isinstance(dims, int):
        dims = [dims]
    out = tuple(dim_of(graph, x, dim, "dims") for dim in dims)
    if len(set(out)) != len(out) or not out:
        raise FieldError("dims", f"{list(dims)} names a dim twice or none")
    return out


def fraction(field: str, value: float) -> Fraction:
    """The number that was meant, exactly: 1.3 is 13/10, and what a float makes of 1/3 is 1/3."""
    if abs(value) > MAX_SIZE:
        raise FieldError(field, "is out of range")
    try:
        out = Fraction(Decimal(str(value)))
    except (InvalidOperation, ValueError, OverflowError):
        raise FieldError(field, f"{value} is not a number") from None
    near = out.limit_denominator(10_000)
    if out.denominator > 10_000 and float(near) == float(out):
        out = near
    if not Fraction(1, MAX_SIZE) <= out <= MAX_SIZE or out.denominator > 10**9:
        raise FieldError(field, f"{value} is out of range")
    return out


# --- windows


class Window(Operator, frozen=True):
    """The article's short form: a window per axis over all channels, whatever computes over it."""

    kernel: Count
    stride: Count
    padding: Amount

    def build(self, graph: Graph, inputs: list[int]) -> int:
        (x,) = inputs
        axes = axes_of(graph, x)
        channels = graph.shapes[x][1]
        if channels > 1:
            x = families.mix(graph, x, (1,), (channels,))
        pad = ((self.padding, self.padding),) * axes
        return families.pool(
            graph, x, (self.kernel,) * axes, (self.stride,) * axes, pad, (1,) * axes
        )


@operator("conv")
class Conv(Operator, frozen=True):
    kernel: PerAxis
    stride: PerAxis = 1
    padding: Padding = 0
    dilation: PerAxis = 1
    groups: Count = 1
    channels: Count | None = None
    padding_mode: Literal["zeros", "reflect", "replicate", "circular"] = "zeros"

    def build(self, graph: Graph, inputs: list[int]) -> int:
        (x,) = inputs
        axes = axes_of(graph, x)
        shape = graph.shapes[x]
        kernel = per_axis("kernel", self.kernel, axes)
        stride = per_axis("stride", self.stride, axes)
        dilation = per_axis("dilation", self.dilation, axes)
        pad = padding_pairs(self.padding, shape[2:], kernel, stride, dilation)
        border = PADDING_MODES[self.padding_mode]
        channels = self.channels or shape[1]
        return families.conv(graph, x, kernel, stride, pad, dilation, channels, self.groups, border)


@operator("conv_transpose")
class ConvTranspose(Operator, frozen=True):
    kernel: PerAxis
    stride: PerAxis = 1
    padding: Amount | list[Amount | list[Amount]] = 0
    output_padding: Amount | list[Amount] = 0
    dilation: PerAxis = 1
    groups: Count = 1
    channels: Count | None = None

    def build(self, graph: Graph, inputs: list[int]) -> int:
        (x,) = inputs
        axes = axes_of(graph, x)
        return families.conv_transpose(
            graph,
            x,
            per_axis("kernel", self.kernel, axes),
            per_axis("stride", self.stride, axes),
            pairs("padding", self.padding, axes),
            per_axis("output_padding", self.output_padding, axes),
            per_axis("dilation", self.dilation, axes),
            self.channels or graph.shapes[x][1],
            self.groups,
        )


@operator("max_pool", "avg_pool", "lp_pool")
class Pool(Operator, frozen=True):
    kernel: PerAxis
    stride: PerAxis | None = None
    padding: Padding = 0
    dilation: PerAxis = 1
    ceil_mode: bool = False

    def build(self, graph: Graph, inputs: list[int]) -> int:
        (x,) = inputs
        axes = axes_of(graph, x)
        kernel = per_axis("kernel", self.kernel, axes)
        stride = kernel if self.stride is None else per_axis("stride", self.stride, axes)
        dilation = per_axis("dilation", self.dilation, axes)
        pad = padding_pairs(self.padding, graph.shapes[x][2:], kernel, stride, dilation)
        return families.pool(graph, x, kernel, stride, pad, dilation, self.ceil_mode)


@operator("adaptive_avg_pool", "adaptive_max_pool")
class AdaptivePool(Operator, frozen=True):
    size: PerAxis

    def build(self, graph: Graph, inputs: list[int]) -> int:
        (x,) = inputs
        return families.adaptive_pool(graph, x, per_axis("size", self.size, axes_of(graph, x)))


@operator("global_avg_pool", "global_max_pool")
class GlobalPool(Operator, frozen=True):
    def build(self, graph: Graph, inputs: list[int]) -> int:
        (x,) = inputs
        return families.adaptive_pool(graph, x, (1,) * axes_of(graph, x))


@operator("mean", "sum", "amax", "amin")
class Reduce(Operator, frozen=True):
    dims: int | list[int] | None = None
    keepdim: bool = False

    def build(self, graph: Graph, inputs: list[int]) -> int:
        (x,) = inputs
        return families.reduce(graph, x, dims_of(graph, x, self.dims), self.keepdim)


@operator("upsample")
class Upsample(Operator, frozen=True):
    scale: int | float | list[int | float] | None = None
    size: PerAxis | None = None
    mode: Literal["nearest", "nearest-exact", "linear", "cubic", "area"] = "nearest"
    align_corners: bool = False

    def build(self, graph: Graph, inputs: list[int]) -> int:
        (x,) = inputs
        axes = axes_of(graph, x)
        shape = graph.shapes[x]
        if (self.scale is None) == (self.size is None):
            raise FieldError("scale", "give either scale or size")
        if self.align_corners and self.mode not in ("linear", "cubic"):
            raise FieldError("align_corners", f"has no meaning for mode {self.mode}")
        scales: list[Fraction | None] = [None] * axes
        if self.size is not None:
            sizes = per_axis("size", self.size, axes)
        else:
            given = self.scale if isinstance(self.scale, list) else [self.scale or 0] * axes
            if len(given) != axes:
                raise FieldError("scale", f"has {len(given)} numbers for {axes} axes")
            factors = [fraction("scale", value) for value in given]
            scales = [1 / factor for factor in factors]
            sizes = tuple(
                math.floor(n * factor) for n, factor in zip(shape[2:], factors, strict=True)
            )
            if min(sizes) < 1:
                raise FieldError("scale", f"leaves nothing of size {min(shape[2:])}")
            if max(sizes) > MAX_SIZE:
                raise FieldError("scale", f"gives size {max(sizes)}, more than {MAX_SIZE}")
        return families.interpolate(graph, x, sizes, scales, self.mode, self.align_corners)


@operator("pad")
class Pad(Operator, frozen=True):
    padding: Margins
    mode: Literal["constant", "reflect", "replicate", "circular"] = "constant"

    def build(self, graph: Graph, inputs: list[int]) -> int:
        (x,) = inputs
        margins = pairs("padding", self.padding, axes_of(graph, x))
        return families.pad(graph, x, margins, PADDING_MODES[self.mode])


@operator("crop")
class Crop(Operator, frozen=True):
    margin: Amount | list[Amount | list[Amount]]

    def build(self, graph: Graph, inputs: list[int]) -> int:
        (x,) = inputs
        axes = axes_of(graph, x)
        margins = pairs("margin", self.margin, axes)
        for n, (begin, end) in zip(graph.shapes[x][2:], margins, strict=True):
            if begin + end >= n:
                raise FieldError("margin", f"{begin} and {end} leave nothing of size {n}")
        return families.pad(graph, x, [(-begin, -end) for begin, end in margins])


# --- one element


@operator("slice")
class Slice(Operator, frozen=True):
    dim: int
    start: Offset = 0
    stop: Offset | None = None
    step: Count = 1

    def build(self, graph: Graph, inputs: list[int]) -> int:
        (x,) = inputs
        dim = dim_of(graph, x, self.dim)
        start, stop, step = slice(self.start, self.stop, self.step).indices(graph.shapes[x][dim])
        return families.narrow(graph, x, dim, start, stop, step)


def position_of(graph: Graph, x: int, dim: int, index: int) -> int:
    n = graph.shapes[x][dim]
    if not -n <= index < n:
        raise FieldError("index", f"{index} is not a position of size {n}")
    return index % n


@operator("index")
class Index(Operator, frozen=True):
    dim: int
    index: Annotated[list[int], msgspec.Meta(min_length=1)]

    def build(self, graph: Graph, inputs: list[int]) -> int:
        (x,) = inputs
        dim = dim_of(graph, x, self.dim)
        return families.take(graph, x, dim, [position_of(graph, x, dim, i) for i in self.index])


@operator("select")
class Select(Operator, frozen=True):
    dim: int
    index: int

    def build(self, graph: Graph, inputs: list[int]) -> int:
        (x,) = inputs
        dim = dim_of(graph, x, self.dim)
        return families.index(graph, x, dim, position_of(graph, x, dim, self.index))


@operator("flip")
class Flip(Operator, frozen=True):
    dims: int | list[int] | None = None

    def build(self, graph: Graph, inputs: list[int]) -> int:
        (x,) = inputs
        return families.flip(graph, x, dims_of(graph, x, self.dims))


@operator("roll")
class Roll(Operator, frozen=True):
    shift: Offset | list[Offset]
    dims: int | list[int] | None = None

    def build(self, graph: Graph, inputs: list[int]) -> int:
        (x,) = inputs
        dims = dims_of(graph, x, self.dims)
        shifts = self.shift if isinstance(self.shift, list) else [self.shift] * len(dims)
        if len(shifts) != len(dims):
            raise FieldError("shift", f"has {len(shifts)} numbers for {len(dims)} dims")
        return families.roll(graph, x, dims, shifts)


@operator("pixel_shuffle")
class PixelShuffle(Operator, frozen=True):
    factor: PerAxis

    def build(self, graph: Graph, inputs: list[int]) -> int:
        (x,) = inputs
        factors = per_axis("factor", self.factor, axes_of(graph, x))
        return families.pixel_shuffle(graph, x, factors)


@operator("pixel_unshuffle")
class PixelUnshuffle(Operator, frozen=True):
    factor: PerAxis

    def build(self, graph: Graph, inputs: list[int]) -> int:
        (x,) = inputs
        factors = per_axis("factor", self.factor, axes_of(graph, x))
        return families.pixel_unshuffle(graph, x, factors)


@operator("channel_shuffle")
class ChannelShuffle(Operator, frozen=True):
    groups: Count

    def build(self, graph: Graph, inputs: list[int]) -> int:
        (x,) = inputs
        return families.channel_shuffle(graph, x, self.groups)


@operator("flatten")
class Flatten(Operator, frozen=True):
    start: int = 1
    end: int = -1

    def build(self, graph: Graph, inputs: list[int]) -> int:
        (x,) = inputs
        shape = graph.shapes[x]
        start = dim_of(graph, x, self.start, "start")
        end = dim_of(graph, x, self.end, "end")
        if start > end:
            raise FieldError("start", f"dim {start} comes after end, dim {end}")
        flat = math.prod(shape[start : end + 1])
        return families.reshape(graph, x, (*shape[:start], flat, *shape[end + 1 :]))


@operator("reshape")
class Reshape(Operator, frozen=True):
    shape: list[Annotated[int, msgspec.Meta(ge=-1, le=MAX_SIZE)]]

    def build(self, graph: Graph, inputs: list[int]) -> int:
        (x,) = inputs
        shape = list(self.shape)
        if shape.count(-1) > 1:
            raise FieldError("shape", "only one size may be -1")
        if 0 in shape:
            raise FieldError("shape", "a size may not be 0")
        if -1 in shape:
            total = math.prod(graph.shapes[x])
            known = -math.prod(shape)
            if total % known:
                raise FieldError("shape", f"{total} elements don't divide into {shape}")
            shape[shape.index(-1)] = total // known
        return families.reshape(graph, x, shape)


@operator("permute")
class Permute(Operator, frozen=True):
    order: list[int]

    def build(self, graph: Graph, inputs: list[int]) -> int:
        (x,) = inputs
        return families.permute(graph, x, [dim_of(graph, x, d, "order") for d in self.order])


@operator("squeeze")
class Squeeze(Operator, frozen=True):
    dim: int

    def build(self, graph: Graph, inputs: list[int]) -> int:
        (x,) = inputs
        shape = graph.shapes[x]
        dim = dim_of(graph, x, self.dim)
        if shape[dim] != 1:
            raise FieldError("dim", f"dim {dim} has size {shape[dim]}, not 1")
        return families.squeeze(graph, x, (dim,))


@operator("unsqueeze")
class Unsqueeze(Operator, frozen=True):
    dim: int

    def build(self, graph: Graph, inputs: list[int]) -> int:
        (x,) = inputs
        rank = len(graph.shapes[x]) + 1
        if not -rank <= self.dim < rank:
            raise FieldError("dim", f"{self.dim} is not a dim of a tensor that has {rank}")
        return families.unsqueeze(graph, x, self.dim % rank)


# --- several tensors


@operator("concat")
class Concat(Operator, frozen=True):
    arity: ClassVar[tuple[int, float]] = (1, math.inf)
    dim: int = 1

    def build(self, graph: Graph, inputs: list[int]) -> int:
        return families.concat(graph, inputs, dim_of(graph, inputs[0], self.dim))


POINTWISE = """
    identity dropout batch_norm relu relu6 leaky_relu prelu elu selu celu gelu silu swish mish sigmoid
    hard_sigmoid hard_swish hard_tanh tanh softplus softsign log_sigmoid exp log sqrt rsqrt square abs
    neg sign reciprocal clamp threshold sin cos erf floor ceil round scale bias cast quantize glu_gate
    pointwise
""".split()
JOINING = "add sub mul div pow maximum minimum where lerp".split()


@operator(*POINTWISE, *JOINING)
class Pointwise(Operator, frozen=True):
    """Any pointwise operator, of one tensor or of several that broadcast."""

    arity: ClassVar[tuple[int, float]] = (1, math.inf)

    def build(self, graph: Graph, inputs: list[int]) -> int:
        return inputs[0] if len(inputs) == 1 else families.join(graph, *inputs)


# --- mixing


@operator("layer_norm", "rms_norm")
class LayerNorm(Operator, frozen=True):
    dims: int | list[int] | None = None

    def build(self, graph: Graph, inputs: list[int]) -> int:
        (x,) = inputs
        rank = len(graph.shapes[x])
        dims = tuple(range(1, rank)) if self.dims is None else dims_of(graph, x, self.dims)
        return families.norm(graph, x, dims)


@operator("group_norm")
class GroupNorm(Operator, frozen=True):
    groups: Count

    def build(self, graph: Graph, inputs: list[int]) -> int:
        (x,) = inputs
        if len(graph.shapes[x]) < 2:
            raise FieldError("inputs", "the tensor has no channels")
        return families.group_norm(graph, x, self.groups)


@operator("instance_norm")
class InstanceNorm(Operator, frozen=True):
    def build(self, graph: Graph, inputs: list[int]) -> int:
        (x,) = inputs
        return families.norm(graph, x, dims_of(graph, x, None))


@operator("local_response_norm")
class LocalResponseNorm(Operator, frozen=True):
    size: Count

    def build(self, graph: Graph, inputs: list[int]) -> int:
        (x,) = inputs
        if len(graph.shapes[x]) < 2:
            raise FieldError("inputs", "the tensor has no channels")
        return families.channel_window(graph, x, self.size)


@operator("softmax", "log_softmax")
class Softmax(Operator, frozen=True):
    dim: int = 1

    def build(self, graph: Graph, inputs: list[int]) -> int:
        (x,) = inputs
        return families.norm(graph, x, (dim_of(graph, x, self.dim),))


@operator("linear")
class Linear(Operator, frozen=True):
    features: Count
    dim: int = -1

    def build(self, graph: Graph, inputs: list[int]) -> int:
        (x,) = inputs
        return families.mix(graph, x, (dim_of(graph, x, self.dim),), (self.features,))


def feature_dim(shape: Shape, steps: Sequence[int]) -> int | None:
    """Where features lie beside ``steps``: dim 1, or the last dim of (batch, step, feature)."""
    for dim in (1, len(shape) - 1):
        if 0 < dim < len(shape) and dim not in steps:
            return dim
    return None


@operator("attention")
class Attention(Operator, frozen=True):
    arity: ClassVar[tuple[int, float]] = (1, 3)
    kind: Literal["full", "causal", "window", "sliding"] = "full"
    dims: int | list[int] | None = None
    window: PerAxis | None = None
    shift: Amount | list[Amount] = 0
    channels: Count | None = None

    def build(self, graph: Graph, inputs: list[int]) -> int:
        query, *rest = inputs
        dims = dims_of(graph, query, self.dims)
        shape = graph.shapes[query]
        blocks = self.kind in ("window", "sliding")
        if blocks and self.window is None:
            raise FieldError("window", f"attention of kind {self.kind} needs one")
        if not blocks and self.window is not None:
            raise FieldError("window", f"has no meaning for attention of kind {self.kind}")
        if self.shift and self.kind != "window":
            raise FieldError("shift", f"has no meaning for attention of kind {self.kind}")
        if self.kind == "causal" and len(dims) != 1:
            raise FieldError("dims", f"causal attention takes one dim, not {len(dims)}")
        features = feature_dim(shape, dims)
        if features is not None:
            query = families.mix(graph, query, (features,), (self.channels or shape[features],))
        elif self.channels:
            raise FieldError("channels", "the tensor has no dim for them")
        out = [query]
        for x in rest or inputs[:1]:
            out.append(self._keys(graph, x, inputs[0], dims, features))
        return families.join(graph, *out)

    def _keys(
        self,
        graph: Graph,
        x: int,
        query: int,
        dims: tuple[int, ...],
        features: int | None,
    ) -> int:
        shape, like = graph.shapes[x], graph.shapes[query]
        if len(shape) != len(like):
            raise FieldError("inputs", f"keys have {len(shape)} dims, queries {len(like)}")
        if self.kind != "full" and any(shape[d] != like[d] for d in dims):
            raise FieldError("inputs", "keys and queries differ in size along the attended dims")
        if features is not None:
            x = families.mix(graph, x, (features,), (1,))
        if self.kind == "full":
            return families.mix(graph, x, dims, (1,) * len(dims))
        if self.kind == "causal":
            return families.causal_mix(graph, x, dims[0])
        width = per_axis("window", self.window or 1, len(dims))
        if self.kind == "sliding":
            return families.sliding(graph, x, dims, width)
        return families.attention_block(
            graph, x, dims, width, per_axis("shift", self.shift, len(dims))
        )


@operator("rnn", "lstm", "gru")
class Recurrent(Operator, frozen=True):
    channels: Count | None = None
    dim: int = -1
    bidirectional: bool = False

    def build(self, graph: Graph, inputs: list[int]) -> int:
        (x,) = inputs
        shape = graph.shapes[x]
        dim = dim_of(graph, x, self.dim)
        features = feature_dim(shape, (dim,))
        if dim == 0 or features is None:
            raise FieldError("dim", "the steps need a dim beside batch and channels")
        hidden = self.channels or shape[features]
        return families.recurrent(graph, x, dim, features, hidden, self.bidirectional)


@operator("cumsum", "cumprod", "cummax", "cummin")
class Cumulative(Operator, frozen=True):
    dim: int = -1

    def build(self, graph: Graph, inputs: list[int]) -> int:
        (x,) = inputs
        return families.causal_mix(graph, x, dim_of(graph, x, self.dim))


@operator("sort", "fft", "mix")
class MixAll(Operator, frozen=True):
    dims: int | list[int] | None = None

    def build(self, graph: Graph, inputs: list[int]) -> int:
        (x,) = inputs
        return families.mix(graph, x, dims_of(graph, x, self.dims))


@operator("opaque")
class Opaque(Operator, frozen=True):
    """An operator that nobody translated; the spec frontend records the bound."""

    arity: ClassVar[tuple[int, float]] = (1, math.inf)
    shape: list[Count] | None = None
    function: str = "opaque"

    def build(self, graph: Graph, inputs: list[int]) -> int:
        return families.opaque(graph, inputs, self.shape or graph.shapes[inputs[0]])
