"""Views of every kind: one element, moved."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

from torch import Tensor

from eyeshot.core import families
from eyeshot.core.primitives import Rearrange, Stencil, Taps
from eyeshot.errors import FieldError
from eyeshot.frontends.torch.calls import Call, NoRule
from eyeshot.frontends.torch.rules import rule
from eyeshot.frontends.torch.rules.shared import the

__all__ = ["as_strided", "cat", "diagonal", "select", "slice_"]


def wrap(dim: int, rank: int) -> int:
    """A dim counted from the end."""
    return dim % rank if rank else 0


@rule("view", "_unsafe_view", "_reshape_alias", "reshape", "_reshape_copy")
def view(c: Call, self: Tensor, size: Any, *args: Any) -> int:
    if not isinstance(size, (list, tuple)):
        return _bitcast(c, self)
    return families.reshape(c.g, the(c, self), tuple(c.out.shape))


def _bitcast(c: Call, self: Tensor) -> int:
    """The bytes read as another dtype: the last dim gets longer or shorter."""
    x = the(c, self)
    old, new = c.g.shapes[x], tuple(c.out.shape)
    if old == new:
        return c.join([x])
    last = len(old) - 1
    many, few = max(old[last], new[last]), min(old[last], new[last])
    ratio = many // few
    if new[last] == few:
        taps = families.window(ratio, ratio, 1, 0)
    else:
        taps = Taps(ratio, 1, (0,) * ratio, (1,) * ratio)
    return c.g.add(Stencil(last, taps, new[last]), x)


@rule("alias", "detach", "lift", "_conj", "_neg_view")
def alias(c: Call, self: Tensor) -> int:
    return the(c, self)


@rule("permute")
def permute(c: Call, self: Tensor, dims: Sequence[int]) -> int:
    return families.permute(c.g, the(c, self), [wrap(d, len(dims)) for d in dims])


@rule("transpose")
def transpose(c: Call, self: Tensor, dim0: int, dim1: int) -> int:
    x = the(c, self)
    rank = len(c.g.shapes[x])
    if not rank:
        return x
    order = list(range(rank))
    a, b = dim0 % rank, dim1 % rank
    order[a], order[b] = b, a
    return families.permute(c.g, x, order)


@rule("t", "numpy_T")
def t(c: Call, self: Tensor) -> int:
    x = the(c, self)
    return families.permute(c.g, x, range(len(c.g.shapes[x]))[::-1])


@rule("squeeze")
def squeeze(c: Call, self: Tensor, dim: int | Sequence[int] | None = None) -> int:
    x = the(c, self)
    shape = c.g.shapes[x]
    chosen = range(len(shape)) if dim is None else (dim,) if isinstance(dim, int) else dim
    dims = tuple(d % len(shape) for d in chosen if shape and shape[d % len(shape)] == 1)
    return families.squeeze(c.g, x, dims) if dims else x


@rule("unsqueeze")
def unsqueeze(c: Call, self: Tensor, dim: int) -> int:
    x = the(c, self)
    return families.unsqueeze(c.g, x, dim % (len(c.g.shapes[x]) + 1))


@rule("expand", "expand_copy")
def expand(c: Call, self: Tensor, size: Sequence[int], *, implicit: bool = False) -> int:
    x = the(c, self)
    old = c.g.shapes[x]
    given = len(size) - len(old)
    shape = [old[k - given] if n == -1 else n for k, n in enumerate(size)]
    return families.expand(c.g, x, shape)


@rule("select", "select_copy")
def select(c: Call, self: Tensor, dim: int, index: int) -> int:
    x = the(c, self)
    shape = c.g.shapes[x]
    dim %= len(shape)
    return families.index(c.g, x, dim, index % shape[dim])


@rule("slice", "slice_copy")
def slice_(
    c: Call,
    self: Tensor,
    dim: int = 0,
    start: int | None = None,
    end: int | None = None,
    step: int = 1,
) -> int:
    x = the(c, self)
    n = c.g.shapes[x][dim]
    dim %= len(c.g.shapes[x])
    start, stop, _ = slice(start, end, 1).indices(n)
    if start >= stop:
        raise NoRule("nothing is left")
    return families.narrow(c.g, x, dim, start, stop, step)


@rule("split", "split_copy", "unsafe_split")
def split(c: Call, self: Tensor, split_size: int, dim: int = 0) -> list[int]:
    x = the(c, self)
    dim %= len(c.g.shapes[x])
    n = c.g.shapes[x][dim]
    return [
        families.narrow(c.g, x, dim, k, min(k + split_size, n)) for k in range(0, n, split_size)
    ]


@rule("split_with_sizes", "split_with_sizes_copy", "unsafe_split_with_sizes")
def split_with_sizes(
    c: Call, self: Tensor, split_sizes: Sequence[int], dim: int = 0
) -> list[int | None]:
    x = the(c, self)
    dim %= len(c.g.shapes[x])
    ends = list(accumulate(split_sizes))
    return [
        families.narrow(c.g, x, dim, end - size, end) if size else None
        for size, end in zip(split_sizes, ends, strict=True)
    ]


@rule("unbind", "unbind_copy")
def unbind(c: Call, self: Tensor, dim: int = 0) -> list[int]:
    x = the(c, self)
    dim %= len(c.g.shapes[x])
    return [families.index(c.g, x, dim, k) for k in range(c.g.shapes[x][dim])]


@rule("unfold")
def unfold(c: Call, self: Tensor, dimension: int, size: int, step: int) -> int:
    """Windows along a dim, their elements last."""
    x = the(c, self)
    shape = c.g.shapes[x]
    if not shape:
        return families.unsqueeze(c.g, x, 0)
    dim = dimension % len(shape)
    count = (shape[dim] - size) // step + 1
    x = c.g.add(Stencil(dim, Taps(size, step, tuple(range(size)), (1,) * size), count * size), x)
    split_ = (*shape[:dim], count, size, *shape[dim + 1 :])
    order = [*range(dim + 1), *range(dim + 2, len(split_)), dim + 1]
    out = (*shape[:dim], count, *shape[dim + 1 :], size)
    each = (1,) * dim
    parts = (*each, 2, *(1,) * (len(shape) - dim - 1))
    return families.rearrange(c.g, x, split_, order, out, parts, (1,) * len(out))


@rule("diagonal", "diagonal_copy")
def diagonal(c: Call, self: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> int:
    x = the(c, self)
    rank = len(c.g.shapes[x])
    try:
        return families.diagonal(c.g, x, dim1 % rank, dim2 % rank, offset)
    except FieldError:
        raise NoRule("an empty diagonal") from None


@rule("view_as_real", "view_as_real_copy")
def view_as_real(c: Call, self: Tensor) -> int:
    """A complex element is one to us: each of its parts is taken to read what both do."""
    x = the(c, self)
    y = families.unsqueeze(c.g, x, len(c.g.shapes[x]))
    y = families.expand(c.g, y, tuple(c.out.shape))
    if not _entangled(c, x):
        why = "real and imaginary part are taken to read what both read"
        c.bound(y, "complex-parts", why)
    return y


#: Operators after which each part of a complex number reads both parts of what it was made from.
ENTANGLING = frozenset(
    "mul div pow exp sin cos tan sqrt rsqrt reciprocal log sigmoid tanh polar matmul linear fft_r2c fft_c2c "
    "conv1d conv2d conv3d".split()
)


def _entangled(c: Call, x: int) -> bool:
    """Whether the parts of a complex value have been multiplied with one another, moves aside."""
    ops = {row.value: row.op for row in c.tracer.names.rows.values()}
    while (
        x not in ops and len(c.g.inputs[x]) == 1 and isinstance(c.g.prims[x], (Rearrange, Stencil))
    ):
        (x,) = c.g.inputs[x]
    return ops.get(x) in ENTANGLING


@rule("view_as_complex", "view_as_complex_copy")
def view_as_complex(c: Call, self: Tensor) -> int:
    x = the(c, self)
    return families.reduce(c.g, x, (len(c.g.shapes[x]) - 1,), False)


@rule("as_strided", "as_strided_copy")
def as_strided(
    c: Call,
    self: Tensor,
    size: Sequence[int],
    stride: Sequence[int],
    storage_offset: int | None = None,
) -> int:
    """Any walk through memory that runs along the dims of what lies there, each on its own."""
    x = the(c, self)
    shape, strides = c.g.shapes[x], self.stride()
    offset = storage_offset if storage_offset is not None else self.storage_offset()
    offset -= self.storage_offset()
    dims = sorted((d for d in range(len(shape)) if shape[d] > 1), key=lambda d: -strides[d])
    if any(strides[d] < 1 for d in dims) or offset < 0:
        raise NoRule("memory that overlaps")
    # Dims of memory without a gap between them are one, unless a walk keeps to each of them.
    for apart in (True, False):
        blocks = [[d] for d in dims] if apart else _gapless(dims, shape, strides)
        try:
            tables, walks = _walks(blocks, shape, strides, size, stride, int(offset))
            break
        except NoRule as error:
            if apart:
                continue
            root = c.tracer.track(self).root.value
            if root is None or root == x:
                raise
            # A view's walk may leave the view for what lies beside it in memory.
            y = families.opaque(c.g, (root,), tuple(size))
            return c.bound(y, "no-rule", f"as_strided: {error}; all of its memory is taken as read")
    x = families.permute(c.g, x, [d for d in range(len(shape)) if shape[d] == 1] + dims)
    x = families.reshape(c.g, x, [math.prod(shape[d] for d in block) for block in blocks])
    order: list[int] = []
    for k, (table, walk) in enumerate(zip(tables, walks, strict=True)):
        x = families.pick(c.g, x, k, table)
        order += walk
    x = families.reshape(c.g, x, [size[k] for k in order])
    rank = sorted(range(len(order)), key=order.__getitem__)
    x = families.permute(c.g, x, rank) if len(order) > 1 else x
    return families.reshape(c.g, x, tuple(size))


def _gapless(dims: Sequence[int], shape: Sequence[int], strides: Sequence[int]) -> list[list[int]]:
    """Dims of memory, widest first, grouped where one begins as the other ends."""
    blocks: list[list[int]] = []
    for d in dims:
        if blocks and strides[blocks[-1][-1]] == shape[d] * strides[d]:
            blocks[-1].append(d)
        else:
            blocks.append([d])
    return blocks


def _walks(
    blocks: Sequence[Sequence[int]], shape: Sequence[int], strides: Sequence[int],
    size: Sequence[int], stride: Sequence[int], offset: int,
) -> tuple[list[list[int]], list[list[int]]]:  # fmt: skip
    """For each block of memory the positions taken, and which dims of the output move along it."""
    units = [strides[block[-1]] for block in blocks]
    tables = []
    walks: list[list[int]] = [[] for _ in blocks]
    for k, (n, step) in enumerate(zip(size, stride, strict=True)):
        if n == 1:
            continue
        along = next((b for b, unit in enumerate(units) if step and step % unit == 0), None)
        if along is None:
            raise NoRule("a stride that is no multiple of any dim's")
        walks[along].append(k)
    for block, unit, walk in zip(blocks, units, walks, strict=True):
        begin, offset = divmod(offset, unit)
        table = [begin]
        for k in walk:
            step = stride[k] // unit
            table = [p + i * step for p in table for i in range(size[k])]
            if len(table) > 1 << 20:
                raise NoRule("a walk of too many steps")
        if max(table) >= math.prod(shape[d] for d in block):
            raise NoRule("a walk that leaves its dim")
        tables.append(table)
    if offset:
        raise NoRule("an offset between elements")
    return tables, walks


@rule("repeat", "tile")
def repeat(c: Call, self: Tensor, repeats: Sequence[int]) -> int:
    """Tiled: each dim seen as (copies, elements)."""
    x = the(c, self)
    old = c.g.shapes[x]
    old = (1,) * (len(repeats) - len(old)) + old
    split_: list[int] = []
    wide: list[int] = []
    for n, r in zip(old, repeats, strict=True):
        split_ += [1, n]
        wide += [r, n]
    out = tuple(n * r for n, r in zip(old, repeats, strict=True))
    if not math.prod(out):
        raise NoRule("nothing is left")
    return c.g.add(Rearrange(tuple(split_), tuple(range(len(split_))), out, tuple(wide)), x)


@rule("flip")
def flip(c: Call, self: Tensor, dims: Sequence[int]) -> int:
    x = the(c, self)
    return families.flip(c.g, x, [d % len(c.g.shapes[x]) for d in dims])


@rule("rot90")
def rot90(c: Call, self: Tensor, k: int = 1, dims: Sequence[int] = (0, 1)) -> int:
    """Quarter turns from the first dim to the second."""
    x = the(c, self)
    rank = len(c.g.shapes[x])
    a, b = (d % rank for d in dims)
    turns = k % 4
    if not turns:
        return c.join([x])
    if turns == 2:
        return families.flip(c.g, x, (a, b))
    order = list(range(rank))
    order[a], order[b] = b, a
    x = families.flip(c.g, x, (b if turns == 1 else a,))
    return families.permute(c.g, x, order)


@rule("diag_embed")
def diag_embed(c: Call, self: Tensor, offset: int = 0, dim1: int = -2, dim2: int = -1) -> int:
    """The last dim along a diagonal of two new ones; elsewhere nothing is read."""
    x = the(c, self)
    g = c.g
    *head, n = g.shapes[x]
    size = n + abs(offset)
    start = offset if offset >= 0 else -offset * size
    at = [start + k * (size + 1) for k in range(n)]
    x = families.spread(g, x, len(head), at, size * size)
    x = families.reshape(g, x, (*head, size, size))
    rank = len(head) + 2
    a, b = dim1 % rank, dim2 % rank
    order = list(range(len(head)))
    for place, source in sorted(((a, rank - 2), (b, rank - 1))):
        order.insert(place, source)
    return families.permute(g, x, order)


@rule("roll")
def roll(c: Call, self: Tensor, shifts: Any, dims: Any = ()) -> int:
    x = the(c, self)
    shape = c.g.shapes[x]
    shifts = (shifts,) if isinstance(shifts, int) else shifts
    dims = (dims,) if isinstance(dims, int) else dims
    if not dims:
        flat = families.reshape(c.g, x, (math.prod(shape),))
        return families.reshape(c.g, families.roll(c.g, flat, (0,), shifts), shape)
    return families.roll(c.g, x, [d % len(shape) for d in dims], shifts)


@rule("cat", "concat", "concatenate")
def cat(c: Call, tensors: Sequence[Tensor], dim: int = 0) -> int:
    parts = [t for t in tensors if t.numel()]
    if len(parts) == 1:
        return c.join([the(c, parts[0])])
    return families.concat(c.g, [c.operand(t) for t in parts], dim % parts[0].ndim)


@rule("stack")
def stack(c: Call, tensors: Sequence[Tensor], dim: int = 0) -> int:
    dim %= tensors[0].ndim + 1
    parts = [families.unsqueeze(c.g, c.operand(t), dim) for t in tensors]
    return families.concat(c.g, parts, dim) if len(parts) > 1 else c.join(parts)


@rule("block_diag")
def block_diag(c: Call, tensors: Sequence[Tensor]) -> int:
    """Each matrix on its own rows and columns."""
    rows, columns = c.out.shape
    parts = []
    top = left = 0
    for t in tensors:
        height, width = (1,) * (2 - t.ndim) + tuple(t.shape)
        if (x := c.v(t)) is not None:
            x = families.reshape(c.g, x, (height, width))
            x = families.placed(c.g, x, 0, top, rows)
            parts.append(families.placed(c.g, x, 1, left, columns))
        top, left = top + height, left + width
    return c.join(parts)


@rule("resize")
def resize(c: Call, self: Tensor, size: Sequence[int], **kwargs: Any) -> int:
    x = the(c, self)
    if math.prod(size) != math.prod(c.g.shapes[x]):
        raise NoRule("memory that grows or shrinks")
    return families.reshape(c.g, x, size)
