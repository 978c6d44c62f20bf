"""Rotary positions: features in pairs, each turned by the angle of its place (Su et al., arXiv 2104.09864)."""

from __future__ import annotations

from eyeshot.core import families
from eyeshot.core.primitives import Input, Shape
from eyeshot.frontends.onnx.calls import Call, Value
from eyeshot.frontends.onnx.rules import rule

__all__ = ["rotated"]


@rule("RotaryEmbedding")
def rotary(c: Call, x: Value, cos: Value, sin: Value, positions: Value | None = None) -> int:
    """Features in pairs, each pair turned by the angle of its position."""
    split = x.rank == 3
    count = c.attr("num_heads", 0)
    if split and (not count or x.shape[2] % count):
        raise c.fail(f"{x.shape[2]} features for {count} heads")
    shape = (*x.shape[:2], count, x.shape[2] // count) if split else x.shape
    at = c.v(x)
    if at is not None and split:
        at = families.reshape(c.g, at, shape)
    out = rotated(c, at, shape, (cos, sin), positions, 2 if split else 1,
                  c.attr("rotary_embedding_dim", 0), bool(c.attr("interleaved", 0)))  # fmt: skip
    return families.reshape(c.g, out, x.shape) if split else out


def rotated(
    c: Call,
    x: int | None,
    shape: Shape,
    caches: tuple[Value, Value],
    positions: Value | None,
    head: int,
    width: int,
    interleaved: bool,
) -> int:
    """``x`` of four dims, the heads at ``head``, of which the first ``width`` features (0: all) are turned.

    ``caches``: cosine and sine, a row a position, or laid out as (batch, length, half) without ``positions``.
    """
    g = c.g
    width = width or shape[3]
    if width % 2 or width > shape[3] or any(t.shape[-1] != width // 2 for t in caches):
        raise c.fail(f"{width} of {shape[3]} features turned by {list(caches[0].shape)} angles")
    angles = _angles(c, caches, positions, (shape[0], shape[3 - head]))
    parts = []
    if x is not None:
        y = families.narrow(g, x, 3, 0, width)
        split = (*shape[:3], *((width // 2, 2) if interleaved else (2, width // 2)))
        y = families.mix(g, families.reshape(g, y, split), (4 if interleaved else 3,))
        parts.append(families.reshape(g, y, (*shape[:3], width)))
    for a in angles:
        # One angle for both of a pair, and for all heads.
        a = families.repeat(g, a, 2, 2) if interleaved else families.concat(g, (a, a), 2)
        parts.append(families.unsqueeze(g, a, head))
    y = c.join(parts, (*shape[:3], width))
    if width == shape[3]:
        return y
    rest = (*shape[:3], shape[3] - width)
    tail = g.add(Input(rest)) if x is None else families.narrow(g, x, 3, width, shape[3])
    return families.concat(g, (y, tail), 3)


def _angles(
    c: Call, caches: tuple[Value, Value], positions: Value | None, size: tuple[int, int]
) -> list[int]:
    """What is read of caches and positions: values that broadcast to (batch, length, half)."""
    g = c.g
    held = [at for t in caches if (at := c.v(t)) is not None]
    if positions is None:
        return held
    if positions.rank > 2 or positions.size not in (1, size[0] * size[1], size[1]):
        raise c.fail(f"positions {list(positions.shape)} for {size[0]} of length {size[1]}")
    found = []
    half = caches[0].shape[-1]
    laid = positions.shape if positions.rank == 2 else (1, positions.size)
    if (p := c.v(positions)) is not None:
        found.append(families.expand(g, families.reshape(g, p, (*laid, 1)), (*laid, half)))
    numbers = c.constant(positions)
    for at in held:
        rows = g.shapes[at][0]
        if numbers is None:
            at = families.reshape(g, families.mix(g, at, (0,), (1,)), (1, 1, half))
            why = "the positions are not known; all rows of the cache are taken as read"
            found.append(c.bound(at, "data-dependent", why))
            continue
        places = [int(n) % rows for n in numbers.reshape(-1)]
        found.append(families.reshape(g, families.pick(g, at, 0, places), (*laid, half)))
    return found
