"""What resampling reads along an axis, and how much each element counts.

Source coordinates are worked out as onnxruntime does, in float32: a coordinate that should be a whole number
may fall just short of it, and its neighbours are then others. The closed form is taken where it says the same.

The specification does not say which elements of weight 0 are read. As in onnxruntime and PyTorch, linear
interpolation reads the element at or before its coordinate and the one after it. (The onnx package's evaluator
pairs a whole coordinate with the element before it, and nearest reads two.)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from eyeshot.core import families
from eyeshot.core.primitives import Taps
from eyeshot.frontends.onnx.calls import NoRule

__all__ = ["COORDINATES", "NEAREST", "Sampling", "sampling_taps"]

Array = NDArray[Any]

#: So many positions are looked at at a time.
STRETCH = 1 << 18


class Sampling(NamedTuple):
    """How an axis is resampled; ``roi``: the part of the input that tf_crop_and_resize takes.

    ``coefficient``: of the cubic kernel. ``exclude``: its weights outside the input go to those inside.
    """

    mode: str
    coordinates: str
    nearest: str
    antialias: bool
    roi: tuple[float, float]
    coefficient: float = families.CUBIC
    exclude: bool = False


# --- source coordinates, in float32 and as fractions

F = np.float32

#: As onnxruntime computes them: of output indices (floats), for scale, input size, output size and roi.
COORDINATES: dict[str, Callable[[Array, Any, Any, Any, tuple[Any, Any]], Array]] = {
    "asymmetric": lambda i, s, n, m, r: i / s,
    "half_pixel": lambda i, s, n, m, r: (i + F(0.5)) / s - F(0.5),
    "pytorch_half_pixel": lambda i, s, n, m, r: (
        (i + F(0.5)) / s - F(0.5) if m > 1 else np.zeros_like(i)
    ),
    "tf_half_pixel_for_nn": lambda i, s, n, m, r: (i + F(0.5)) / s,
    "align_corners": lambda i, s, n, m, r: (
        i * (n - F(1)) / (m - F(1)) if m > 1 else np.zeros_like(i)
    ),
    "tf_crop_and_resize": lambda i, s, n, m, r: _cropped(i, n, m, r),
    "half_pixel_symmetric": lambda i, s, n, m, r: (
        (n / F(2) * (F(1) - m / (s * n))).astype(np.float64)
        + (i.astype(np.float64) + 0.5) / np.float64(s)
        - 0.5
    ).astype(F),
}


def _cropped(i: Array, n: Any, m: Any, roi: tuple[Any, Any]) -> Array:
    start, end = F(roi[0]), F(roi[1])
    if m > 1:
        return start * (n - F(1)) + (i * (end - start) * (n - F(1))) / (m - F(1))
    middle = 0.5 * np.float64(start + end) * np.float64(n - F(1))
    return np.full_like(i, middle)


#: What is so close to the middle between two elements is taken to lie there, as by onnxruntime.
TIE = 1e-6

#: The nearest element, by coordinate and scale; ``simple`` is that of opsets before 11.
NEAREST: dict[str, Callable[[Array, float], Array]] = {
    "round_prefer_floor": lambda x, s: np.ceil(x.astype(np.float64) - 0.5 - TIE),
    "round_prefer_ceil": lambda x, s: np.floor(x.astype(np.float64) + 0.5 + TIE),
    "floor": lambda x, s: np.floor(x),
    "ceil": lambda x, s: np.ceil(x),
    "simple": lambda x, s: np.ceil(x) if s < 1 else np.trunc(x),
}


def _exact(n: int, size: int, scale: float, how: Sampling) -> tuple[Fraction, Fraction] | None:
    """Step and offset of the coordinates as numbers mean them; None where the scale is no simple fraction."""
    half = Fraction(1, 2)
    if how.coordinates == "align_corners":
        return (Fraction(n - 1, size - 1) if size > 1 else Fraction(0)), Fraction(0)
    if how.coordinates == "tf_crop_and_resize":
        return None
    outputs = _fraction(scale)
    if outputs is None:
        return None
    step = 1 / outputs
    if how.coordinates == "asymmetric":
        return step, Fraction(0)
    if how.coordinates == "tf_half_pixel_for_nn":
        return step, half * step
    if how.coordinates == "pytorch_half_pixel" and size == 1:
        return step, Fraction(0)
    if how.coordinates == "half_pixel_symmetric":
        return step, Fraction(n, 2) * (1 - Fraction(size) / (outputs * n)) + half * step - half
    return step, half * step - half


def _fraction(scale: float) -> Fraction | None:
    """A simple fraction that is this number in float32: its period is written down, with weights."""
    for most in (1 << bits for bits in range(4, 22, 2)):
        found = Fraction(scale).limit_denominator(most)
        if F(found.numerator) / F(found.denominator) == F(scale):
            return found
    return None


@lru_cache(maxsize=4096)
def sampling_taps(n: int, size: int, scale: float, how: Sampling) -> Taps:
    """What each of ``size`` outputs of an axis of ``n`` elements reads."""
    closed = (_closed_stretch if how.antialias else _closed)(n, size, scale, how)
    if closed is not None and all(
        _same(closed, n, i, *_windows(i, n, size, scale, how)) for i in _stretches(size)
    ):
        return closed
    if size > families.MAX_PERIOD:
        raise NoRule(f"{size} positions without a closed form")
    at = np.arange(size)
    low, count = _windows(at, n, size, scale, how)
    weights = _weights(_coordinates(at, n, size, scale, how), low, count, n, scale, how)
    linear = how.mode == "linear" and not how.antialias
    border: Any = "drop" if how.exclude else "linear" if linear else "clamp"
    return Taps(
        size, n, tuple(low.tolist()), tuple(count.tolist()), 1, border, weights, how.exclude
    )


def _stretches(size: int) -> Iterator[Array]:
    """All indices, so many at a time."""
    for start in range(0, size, STRETCH):
        yield np.arange(start, min(start + STRETCH, size))


def _windows(i: Array, n: int, size: int, scale: float, how: Sampling) -> tuple[Array, Array]:
    """The first element that outputs read, before the border, and how many."""
    x = _coordinates(i, n, size, scale, how)
    if how.antialias:
        low, high = _stretch(x, scale, how)
        count = high - low
    else:
        low = _lowest(x, n, scale, how)
        count = np.full(len(i), {"nearest": 1, "linear": 2, "cubic": 4}[how.mode])
    if how.coordinates == "tf_crop_and_resize":
        count = np.where((x < 0) | (x > n - 1), 0, count)
    return low, count


def _coordinates(i: Array, n: int, size: int, scale: float, how: Sampling) -> Array:
    """Where outputs lie among the elements, in float32."""
    with np.errstate(over="ignore"):
        x = COORDINATES[how.coordinates](i.astype(F), F(scale), F(n), F(size), how.roi)
    # Far outside, where nothing is told apart any more.
    return np.clip(x, -(2.0**40), 2.0**40)


def _weights(
    x: Array, low: Array, count: Array, n: int, scale: float, how: Sampling
) -> tuple[tuple[float, ...], ...] | None:
    """What the elements that outputs at coordinates ``x`` read count, each; None where they read one."""
    if how.mode == "nearest":
        return None
    if how.antialias:
        stretch = max(1 / float(F(scale)), 1.0)
        return tuple(
            families.kernel_weights(
                RADII[how.mode],
                [(p - centre) / stretch for p in range(begin, begin + many)],
                how.coefficient,
            ) if many else ()
            for centre, begin, many in zip(x.tolist(), low.tolist(), count.tolist(), strict=True)
        )  # fmt: skip
    if how.mode == "linear":
        rest = np.clip(x.astype(np.float64), 0, n - 1) - low
        rows = np.stack([1 - rest, rest], -1)
    else:
        past: Any = x.astype(np.float64) - np.floor(x)
        rows = np.stack(list(families.cubic(past, how.coefficient)), -1)
    return tuple(
        tuple(row) if many else () for row, many in zip(rows.tolist(), count.tolist(), strict=True)
    )


def _same(taps: Taps, n: int, i: Array, low: Array, count: Array) -> bool:
    """Whether taps read ``count`` elements from ``low`` on, of n, as far as the border lets tell."""
    phase = i % taps.period
    first = np.array(taps.first)[phase] + taps.advance * (i // taps.period)
    last = first + np.array(taps.counts)[phase]
    high = low + count
    if taps.border == "drop":
        low, high, first, last = (np.clip(at, 0, n) for at in (low, high, first, last))
    else:
        low, high, first, last = (np.clip(at, 0, n - 1) for at in (low, high - 1, first, last - 1))
    # The second element of a pair follows from the first.
    return bool((first == low).all() and (taps.border == "linear" or (last == high).all()))


def _lowest(x: Array, n: int, scale: float, how: Sampling) -> Array:
    """The first element that each output reads, before the border."""
    if how.mode == "nearest":
        return NEAREST[how.nearest](x, scale).astype(np.int64)
    low = np.floor(x).astype(np.int64)
    return np.clip(low, 0, n - 1) if how.mode == "linear" else low - 1


def _closed(n: int, size: int, scale: float, how: Sampling) -> Taps | None:
    """The closed form of :func:`_lowest`."""
    exact = _exact(n, size, scale, how)
    if exact is None or exact[0].denominator > families.MAX_PERIOD:
        return None
    step, offset = exact
    if how.mode == "nearest":
        # ceil(a/b) = floor((a + b - 1)/b): coordinates are multiples of 1/b.
        short = 1 - Fraction(1, 2 * math.lcm(step.denominator, offset.denominator))
        nearest = how.nearest
        if nearest == "simple":
            nearest = "ceil" if scale < 1 else "floor"
        offset += {
            "floor": Fraction(0),
            "ceil": short,
            "round_prefer_ceil": Fraction(1, 2),
            "round_prefer_floor": short - Fraction(1, 2),
        }[nearest]
    taps = families.sampled(how.mode, step, offset, how.coefficient)
    return taps._replace(border="drop", renormalized=True) if how.exclude else taps


RADII = {"linear": 1, "cubic": 2}


def _stretch(x: Array, scale: float, how: Sampling) -> tuple[Array, Array]:
    """First element, and that after the last, under a kernel stretched to the scale where that is below 1."""
    step = F(1) / F(scale)
    reach = F(RADII[how.mode]) * max(step, F(1))
    centre = F(0.5) + x.astype(F)
    low = np.floor(centre - reach + F(0.5)).astype(np.int64)
    high = np.floor(centre + reach + F(0.5)).astype(np.int64)
    return low, high


def _closed_stretch(n: int, size: int, scale: float, how: Sampling) -> Taps | None:
    exact = _exact(n, size, scale, how)
    if exact is None or exact[0].denominator > families.MAX_PERIOD:
        return None
    step, offset = exact
    if offset != step / 2 - Fraction(1, 2):
        return None
    taps = families.antialiased(Fraction(RADII[how.mode]), step, how.coefficient)
    # As onnxruntime: what the kernel has outside is the last element's, where it is not left out.
    return taps if how.exclude else taps._replace(border="clamp", renormalized=False)
