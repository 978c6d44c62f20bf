"""Attention: a unit reads its own query, and all keys and values that it may look at.

A mask hides no read: the product with a masked key is computed before the mask is added. What the causal
flag, a window or the number of valid keys leaves out is not computed, or not used.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from eyeshot.core import families
from eyeshot.core.primitives import Input, Shape
from eyeshot.frontends.onnx.calls import Call, NoRule, Value, broadcast
from eyeshot.frontends.onnx.rules import rule

__all__ = ["Keys", "merged", "split_heads"]


#: Which keys queries see is written down up to so many of either.
MAX_ALLOWED = 1 << 24


class Tensor(NamedTuple):
    """A graph's value, None for a constant, and its shape."""

    at: int | None
    shape: Shape


class Keys(NamedTuple):
    """Which keys query i may see: those from i + offset - left to i + offset + right; None: no end.

    ``valid``: how many keys of each example of the batch there are; the offset is then ``valid - queries``.
    """

    offset: int = 0
    left: int | None = None
    right: int | None = None
    valid: tuple[int, ...] | None = None

    def whole(self) -> bool:
        """Whether all queries see all keys."""
        return self.left is None and self.right is None and self.valid is None

    def allowed(self, rows: int, columns: int) -> NDArray[np.bool_]:
        """Whether row i sees column j: (rows, columns), or (batch, 1, rows, columns)."""
        if rows * columns * len(self.valid or (0,)) > MAX_ALLOWED:
            raise NoRule(f"which of {columns} keys {rows} queries see is long to write down")
        i, j = np.arange(rows)[:, None], np.arange(columns)[None, :]

        def one(offset: int, valid: int) -> NDArray[np.bool_]:
            held = np.broadcast_to(j < valid, (rows, columns)).copy()
            if self.left is not None:
                held &= j >= i + offset - self.left
            if self.right is not None:
                held &= j <= i + offset + self.right
            return held

        if self.valid is None:
            return one(self.offset, columns)
        return np.stack([one(n - rows, n) for n in self.valid])[:, None]

    def any(self, rows: int, columns: int) -> NDArray[np.bool_]:
        """Which rows see any column: (rows, 1), or (batch, 1, rows, 1)."""
        if self.valid is None and self.left is None and self.offset + (self.right or 0) >= 0:
            return np.ones((1, 1), bool)  # the first key
        if rows * len(self.valid or (0,)) > MAX_ALLOWED:
            raise NoRule(f"which of {rows} queries see any key is long to write down")
        i = np.arange(rows)[:, None]

        def one(offset: int, valid: int) -> NDArray[np.bool_]:
            low: Any = 0 if self.left is None else np.maximum(0, i + offset - self.left)
            high: Any = valid - 1
            if self.right is not None:
                high = np.minimum(high, i + offset + self.right)
            return np.broadcast_to(low <= high, (rows, 1))

        if self.valid is None:
            return one(self.offset, columns)
        return np.stack([one(n - rows, min(n, columns)) for n in self.valid])[:, None]

    def along(self, c: Call, x: int, rows: int) -> int:
        """What each query reads along dim 2, that of the keys, which then has size 1 or ``rows``."""
        g, dim = c.g, 2
        if self.valid is None:
            return families.banded(g, x, dim, rows, self.offset, self.left, self.right)
        parts = []
        for b, n in enumerate(self.valid):
            one = families.narrow(g, x, 0, b, b + 1)
            shape = list(g.shapes[one])
            if n < 1:
                shape[dim] = rows
                parts.append(g.add(Input(tuple(shape))))
                continue
            one = families.narrow(g, one, dim, 0, min(n, shape[dim]))
            one = families.banded(g, one, dim, rows, n - rows, self.left, self.right)
            shape[dim] = rows
            parts.append(c.shaped(one, shape))
        return families.concat(g, parts, 0) if len(parts) > 1 else parts[0]


# --- heads


def heads(c: Call, x: Value, count: int | None) -> Tensor:
    """(batch, heads, length, features), of that or of (batch, length, heads · features)."""
    at = c.v(x)
    if x.rank == 4:
        return Tensor(at, x.shape)
    if x.rank != 3 or not count or x.shape[2] % count:
        raise c.fail(f"{list(x.shape)} is not of {count} heads")
    batch, length, features = x.shape
    shape = (batch, count, length, features // count)
    if at is not None:
        at = split_heads(c, at, count)
    return Tensor(at, shape)


def split_heads(c: Call, x: int, count: int) -> int:
    """(batch, heads, length, features) of (batch, length, heads · features)."""
    batch, length, features = c.g.shapes[x]
    if count < 1 or features % count:
        raise c.fail(f"{features} features do not make {count} heads")
    split = (batch, length, count, features // count)
    shape = (batch, count, length, features // count)
    return families.rearrange(c.g, x, split, (0, 2, 1, 3), shape, (1, 1, 2), (1, 1, 1, 1))


def merged(c: Call, x: int) -> int:
    """(batch, length, heads · features) of (batch, heads, length, features)."""
    batch, count, length, features = c.g.shapes[x]
    split = (batch, count, length, features)
    shape = (batch, length, count * features)
    return families.rearrange(c.g, x, split, (0, 2, 1, 3), shape, (1, 1, 1, 1), (1, 1, 2))


def _shared(c: Call, x: int, count: int) -> int:
    """Each head of keys serves several of queries, which follow one another."""
    has = c.g.shapes[x][1]
    if count % has:
        raise c.fail(f"{count} heads of queries share {has} of keys")
    return families.repeat(c.g, x, 1, count // has)


# --- scores


class Setting(NamedTuple):
    """What the scores are made of: queries and keys (batch, heads, length, features), a mask, the keys seen.

    ``rows``: which rows of scores count, broadcasting to (batch, heads, queries, 1); None: all.
    """

    queries: Tensor
    keys: Tensor
    mask: Value | None
    seen: Keys
    rows: NDArray[np.bool_] | None

    @property
    def shape(self) -> Shape:
        """(batch, heads, queries, keys)."""
        return (*self.queries.shape[:3], self.keys.shape[2])


def setting(c: Call, queries: Tensor, keys: Tensor, mask: Value | None, seen: Keys) -> Setting:
    """With the rows that count: one that sees no key is zero, whatever its scores are."""
    rows, columns = queries.shape[2], keys.shape[2]
    if queries.shape[3] != keys.shape[3]:
        raise c.fail(f"queries of {queries.shape[3]} features and keys of {keys.shape[3]}")
    if mask is not None and mask.rank and mask.shape[-1] > columns:
        raise c.fail(f"a mask over {mask.shape[-1]} keys, there are {columns}")
    allowed = seen.any(rows, columns)
    numbers = c.constant(mask)
    if numbers is not None:
        held = numbers if numbers.dtype == bool else ~np.isneginf(numbers.astype(np.float64))
        if held.ndim and held.size // max(1, held.shape[-1]) * columns > MAX_ALLOWED:
            raise NoRule(f"which of {columns} keys are masked is long to write down")
        if held.ndim and held.shape[-1] < columns:  # what it lacks is masked
            held = np.pad(held, [(0, 0)] * (held.ndim - 1) + [(0, columns - held.shape[-1])])
        if not held.all():
            if math.prod(np.broadcast_shapes(held.shape, (rows, columns))) > MAX_ALLOWED:
                raise NoRule(f"which of {columns} keys {rows} queries see is long to write down")
            whole = True if seen.whole() else seen.allowed(rows, columns)
            allowed = allowed & np.atleast_1d(whole & held).any(-1, keepdims=True)
    return Setting(queries, keys, mask, seen, None if allowed.all() else allowed)


def _masked(c: Call, x: int, held: NDArray[np.bool_]) -> int:
    """The elements where ``held`` is true, nothing elsewhere, if that can be written down."""
    found = families.masked(c.g, x, held)
    if found is not None:
        return found
    why = "which keys are hidden is long to write down; all are taken as read"
    return c.bound(families.join(c.g, x), "large-mask", why)


def scores(c: Call, s: Setting) -> int | None:
    """Each product of a query and a key: (batch, heads, queries, keys), none of them hidden."""
    g = c.g
    parts = []
    if s.queries.at is not None:
        parts.append(families.mix(g, s.queries.at, (3,), (1,)))
    if s.keys.at is not None:
        k = families.mix(g, s.keys.at, (3,), (1,))
        parts.append(_shared(c, families.permute(g, k, (0, 1, 3, 2)), s.shape[1]))
    return c.join(parts, s.shape) if parts else None


def _biased(c: Call, s: Setting) -> int | None:
    """The scores with the mask, and without what is hidden."""
    x = scores(c, s)
    parts = [] if x is None else [x]
    if s.mask is not None and (m := c.v(s.mask)) is not None:
        missing = s.shape[3] - s.mask.shape[-1] if s.mask.rank else 0
        if missing:
            m = families.placed(c.g, m, s.mask.rank - 1, 0, s.shape[3])
        parts.append(m)
    if not parts:
        return None
    x = c.join(parts, s.shape)
    return x if s.seen.whole() else _masked(c, x, s.seen.allowed(*s.shape[2:]))


def _probabilities(c: Call, s: Setting) -> int | None:
    """The scores after softmax: a row each, and nothing where they are zero."""
    x = _biased(c, s)
    if x is None:
        return None
    x = families.norm(c.g, x, (3,))
    if not s.seen.whole():
        x = _masked(c, x, s.seen.allowed(*s.shape[2:]))
    return x if s.rows is None else _masked(c, x, s.rows)


def attended(c: Call, s: Setting, values: Tensor) -> int | None:
    """Each of (batch, heads, queries, features): one feature of the values, and what weighs them."""
    g = c.g
    batch, count, rows, _ = s.shape
    parts = []
    if s.queries.at is not None:
        parts.append(families.mix(g, s.queries.at, (3,), (1,)))
    if s.keys.at is not None:
        k = families.mix(g, s.keys.at, (3,), (1,))
        parts.append(_shared(c, s.seen.along(c, k, rows), count))
    # Joined as they are computed: queries with keys, then with the mask, and these scores with the values.
    if s.mask is not None and (m := c.v(s.mask)) is not None:
        parts = [*_one(c, parts), _mask_read(c, s, m)]
    if s.rows is not None and parts:
        parts = [_masked(c, c.join(parts, (batch, count, rows, 1)), s.rows)]
    parts = _one(c, parts)
    if values.at is not None:
        parts.append(_shared(c, s.seen.along(c, values.at, rows), count))
    return c.join(parts, (batch, count, rows, values.shape[3])) if parts else None


def _one(c: Call, parts: list[int]) -> list[int]:
    """These as one, if there are any."""
    return [c.join(parts)] if parts else []


def _mask_read(c: Call, s: Setting, m: int) -> int:
    """What each row reads of the mask: (…, rows, 1)."""
    shape = c.g.shapes[m]
    if not shape or shape[-1] == 1:
        return m
    if not s.seen.whole():
        allowed = s.seen.allowed(s.shape[2], s.shape[3])[..., : shape[-1]]
        m = _masked(c, c.shaped(m, broadcast(shape, allowed.shape)), allowed)
    return families.mix(c.g, m, (len(c.g.shapes[m]) - 1,), (1,))


# --- operators


def cached(c: Call, past: Value | None, new: Tensor) -> Tensor:
    """The keys or values of the past, and the new ones after them."""
    if past is None:
        return new
    if past.rank != 4 or past.shape[:2] != new.shape[:2] or past.shape[3] != new.shape[3]:
        raise c.fail(f"a past {list(past.shape)} for {list(new.shape)}")
    shape = (*new.shape[:2], past.shape[2] + new.shape[2], new.shape[3])
    if not past.shape[2]:
        return new
    before = c.v(past)
    if before is None and new.at is None:
        return Tensor(None, shape)
    before = c.operand(past) if before is None else before
    after = c.g.add(Input(new.shape)) if new.at is None else new.at
    return Tensor(families.concat(c.g, (before, after), 2), shape)


def _visible(c: Call, past: Value | None, valid: Value | None) -> Keys | None:
    """Which keys the attributes and the number of valid keys let be seen; None if that number is not known."""
    left = c.attr("left_window_size", -1)
    right = c.attr("right_window_size", -1)
    ends = [right] if right >= 0 else []
    ends += [0] if c.attr("is_causal", 0) else []
    keys = Keys(
        past.shape[2] if past is not None else 0,
        left if left >= 0 else None,
        min(ends, default=None),
    )
    if valid is None:
        return keys
    numbers = c.constant(valid)
    if numbers is None:
        return None
    return keys._replace(valid=tuple(int(n) for n in numbers.reshape(-1)))


@rule("Attention")
def attention(
    c: Call,
    q: Value,
    k: Value,
    v: Value,
    mask: Value | None = None,
    past_key: Value | None = None,
    past_value: Value | None = None,
    valid: Value | None = None,
) -> list[Any]:
    """Scores from queries and keys, and the values weighed by them."""
    shared = c.attr("kv_num_heads")
    queries = heads(c, q, c.attr("q_num_heads"))
    keys = cached(c, past_key, heads(c, k, shared))
    values = cached(c, past_value, heads(c, v, shared))
    if keys.shape[:3] != values.shape[:3] or keys.shape[0] != queries.shape[0]:
        raise c.fail(f"queries {list(q.shape)}, keys {list(k.shape)} and values {list(v.shape)}")
    seen = _visible(c, past_key, valid)
    s = setting(c, queries, keys, mask, Keys() if seen is None else seen)
    y = attended(c, s, values)
    found = [y]
    mode = c.attr("qk_matmul_output_mode", 0)
    if len(c.node.output) > 3 and c.node.output[3]:
        found.append((scores, scores, _biased, _probabilities)[mode](c, s))
    if seen is None and valid is not None:
        found = [_counted(c, x, valid) for x in found]
    y = found[0]
    shape = (*s.shape[:3], values.shape[3])
    if q.rank == 3:
        shape = (shape[0], shape[2], shape[1] * shape[3])
        y = None if y is None else merged(c, y)
    out: list[Any] = [y, keys.at, values.at, found[1] if len(found) > 1 else None]
    shapes = (shape, keys.shape, values.shape, s.shape)
    types = (q.dtype, k.dtype, v.dtype, q.dtype)
    return [
        Value(None, size, dtype) if x is None else x
        for x, size, dtype in zip(out, shapes, types, strict=True)
    ]


def _counted(c: Call, x: int | None, valid: Value) -> int | None:
    """As it is where the number of valid keys is not known: that is read, and may hide keys."""
    if x is None and c.v(valid) is None:
        return None
    parts = [] if x is None else [x]
    if (n := c.v(valid)) is not None:
        parts.append(families.reshape(c.g, n, (valid.size, 1, 1, 1)))
    why = "how many keys are valid is not known; all are taken as read"
    return c.bound(families.join(c.g, *parts), "data-dependent", why)


@rule("FlexAttention", domain="ai.onnx.preview")
def flex_attention(c: Call, q: Value, k: Value, v: Value) -> int:
    """Scores and what softmax makes of them each go through a graph of the model's own."""
    g = c.g
    if not q.rank == k.rank == v.rank == 4:
        raise c.fail(f"queries {list(q.shape)}, keys {list(k.shape)} and values {list(v.shape)}")
    queries, keys, values = (heads(c, x, None) for x in (q, k, v))
    s = setting(c, queries, keys, None, Keys())
    x = Value(scores(c, s), s.shape, q.dtype)
    x = _modified(c, x, "score_mod")
    if x.at is not None:
        x = Value(families.norm(g, x.at, (3,)), s.shape, q.dtype)
    x = _modified(c, x, "prob_mod")
    parts = [] if x.at is None else [families.mix(g, x.at, (3,), (1,))]
    if values.at is not None:
        parts.append(_shared(c, families.mix(g, values.at, (2,), (1,)), s.shape[1]))
    shape = (*s.shape[:3], values.shape[3])
    if not parts:  # both graphs throw away what they are given
        raise NoRule("attention that reads nothing")
    return c.join(parts, shape)


def _modified(c: Call, x: Value, name: str) -> Value:
    """What one of the node's graphs makes of the scores."""
    graph = c.attr(name)
    if graph is None:
        return x
    if not c.depends:  # only the shape is wanted, and it stays
        return x
    found = c.walker.inner(c, graph, [x], name)
    if len(found) != 1 or not isinstance(found[0], Value) or found[0].shape != x.shape:
        raise c.fail(f"{name} does not keep the shape {list(x.shape)}")
    return found[0]


@rule("LinearAttention")
def linear_attention(
    c: Call,
    q: Value,
    k: Value,
    v: Value,
    past: Value | None = None,
    decay: Value | None = None,
    beta: Value | None = None,
) -> list[Any]:
    """A state of (features, values) a head that each step adds to: queries read what is there by then.

    Each feature of the values has its own column of the state. What is forgotten is so by every feature of the
    keys; only where the state is corrected by what it holds (the delta rules) do they mix within it.
    """
    g = c.g
    count, shared = c.attr("q_num_heads"), c.attr("kv_num_heads")
    queries, keys, values = heads(c, q, count), heads(c, k, shared), heads(c, v, shared)
    if q.rank != 3 or queries.shape[3] != keys.shape[3] or count % shared:
        raise c.fail(f"queries {list(q.shape)} of {count} heads, keys {list(k.shape)} of {shared}")
    batch, _, steps, width = queries.shape
    features = values.shape[3]
    gates = []
    if decay is not None:
        gates.append(heads(c, decay, shared).at)
    if beta is not None:
        gates.append(heads(c, beta, beta.shape[-1]).at)
    # What comes by each step, (batch, heads, steps, features of the values or 1), and in the end, with the
    # features of the keys before those of the values.
    come = []
    if keys.at is not None:
        come.append(families.mix(g, keys.at, (3,), (1,)))
    if values.at is not None:
        come.append(values.at)
    come += [families.mix(g, x, (3,), (1,)) for x in gates if x is not None]
    parts = [_shared_or_one(c, families.causal_mix(g, x, 2), count) for x in come]
    if past is not None and (at := c.v(past)) is not None:
        parts.append(_shared(c, families.mix(g, at, (2,), (1,)), count))
    if queries.at is not None:
        parts.append(families.mix(g, queries.at, (3,), (1,)))
    y = merged(c, c.join(parts, (batch, count, steps, features)))
    shape = (batch, shared, width, features)
    end = _state(c, [keys.at, *gates], values.at, past)
    if end is None:
        return [y, Value(None, shape, past.dtype if past is not None else q.dtype)]
    return [y, c.shaped(end, shape)]


def _shared_or_one(c: Call, x: int, count: int) -> int:
    """As :func:`_shared`; what all heads have in common stays as it is."""
    return x if c.g.shapes[x][1] == 1 else _shared(c, x, count)


def _state(
    c: Call, columns: list[int | None], values: int | None, past: Value | None
) -> int | None:
    """What the state reads in the end: ``columns`` (batch, heads, steps, features of the keys or 1)."""
    g = c.g
    mixed = "delta" in c.attr("update_rule", "gated_delta")
    parts = []
    for x in columns:
        if x is None:
            continue
        # (batch, heads, features, 1): a row of the state each, if rows keep apart.
        x = families.reduce(g, x, (2,), False)
        x = families.mix(g, x, (2,), (1,)) if mixed and g.shapes[x][2] > 1 else x
        parts.append(families.unsqueeze(g, x, 3))
    if values is not None:
        parts.append(families.mix(g, values, (2,), (1,)))
    if past is not None and (at := c.v(past)) is not None:
        parts.append(families.mix(g, at, (2,), (1,)) if mixed else at)
    return c.join(parts) if parts else None
