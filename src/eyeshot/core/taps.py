"""Taps: which positions the ways of looking along one dim read, period by period, and how much each counts.

Windows forwards and backwards, interpolation, adaptive windows, and windows laid out side by side. They
depend on numbers alone, so that layers of one shape share them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache

from eyeshot.core.primitives import Border, Taps
from eyeshot.errors import FieldError

__all__ = [
    "ANTIALIASED_CUBIC",
    "CUBIC",
    "MAX_PERIOD",
    "adaptive",
    "antialiased",
    "cubic",
    "gathered",
    "kernel_weights",
    "sampled",
    "scattered",
    "small",
    "transposed",
    "window",
]

#: The coefficient of PyTorch's and ONNX's cubic kernel.
CUBIC = -0.75
#: The same where PyTorch's kernel is stretched to keep from aliasing.
ANTIALIASED_CUBIC = -0.5

#: Taps are written down for one period, so that it must be of a sensible length.
MAX_PERIOD = 1 << 20


@lru_cache(maxsize=4096)
def window(
    kernel: int,
    stride: int,
    dilation: int,
    begin: int,
    border: Border = "drop",
    renormalized: bool = False,
) -> Taps:
    """A window: output i reads ``stride·i - begin + dilation·t`` for t < kernel."""
    return Taps(1, stride, (-begin,), (kernel,), dilation, border, None, renormalized)


@lru_cache(maxsize=4096)
def transposed(kernel: int, stride: int, dilation: int, begin: int) -> Taps:
    """The window read backwards: output i reads every p with ``stride·p = i + begin - dilation·t``.

    Phase by phase the solutions are an arithmetic progression; a phase without one reads nothing.
    """
    common = math.gcd(stride, dilation)
    turn = stride // common  # t and t + turn read positions dilation/common apart
    step = dilation // common
    inverse = pow(step, -1, turn) if turn > 1 else 0
    first, count = [], []
    for phase in range(stride):
        # The least t with dilation·t = phase + begin (mod stride), if there is one.
        quotient, rest = divmod(phase + begin, common)
        least = quotient * inverse % turn
        taps = range(least, kernel, turn) if not rest else range(0)
        first.append((phase + begin - dilation * taps[-1]) // stride if taps else 0)
        count.append(len(taps))
    return Taps(stride, 1, tuple(first), tuple(count), step)


@lru_cache(maxsize=4096)
def adaptive(n: int, size: int) -> Taps:
    """Adaptive pooling: output i reads [floor(i·n/size), ceil((i+1)·n/size))."""
    common = math.gcd(n, size)
    period = small(size // common)
    first = tuple(i * n // size for i in range(period))
    count = tuple(-(-(i + 1) * n // size) - first[i] for i in range(period))
    return Taps(period, n // common, first, count)


def cubic(rest: float, coefficient: float) -> tuple[float, float, float, float]:
    """Weights of the four elements around a coordinate, the second of which lies ``rest`` before it.

    Keys, "Cubic convolution interpolation for digital image processing", 1981, equations 3 to 5.
    """
    near = [((coefficient + 2) * x - (coefficient + 3)) * x * x + 1 for x in (rest, 1 - rest)]
    far = [coefficient * (((x - 5) * x + 8) * x - 4) for x in (1 + rest, 2 - rest)]
    return far[0], near[0], near[1], far[1]


@lru_cache(maxsize=4096)
def sampled(mode: str, scale: Fraction, offset: Fraction, coefficient: float = CUBIC) -> Taps:
    """Interpolation at the source coordinate ``scale·i + offset``; ``coefficient``: of the cubic kernel."""
    weights: tuple[tuple[float, ...], ...]
    period = small(scale.denominator)
    advance, below = scale.numerator, period * offset.denominator
    slope, shift = advance * offset.denominator, offset.numerator * period
    at = [(slope * i + shift) // below for i in range(period)]
    if mode in ("linear", "cubic"):
        rests = [(slope * i + shift) % below / below for i in range(period)]
        if mode == "linear":
            weights = tuple((1 - rest, rest) for rest in rests)
            return Taps(period, advance, tuple(at), (2,) * period, 1, "linear", weights)
        first = tuple(a - 1 for a in at)
        weights = tuple(cubic(rest, coefficient) for rest in rests)
        return Taps(period, advance, first, (4,) * period, 1, "clamp", weights)
    return Taps(period, advance, tuple(at), (1,) * period, 1, "clamp")


@lru_cache(maxsize=4096)
def antialiased(radius: Fraction, scale: Fraction, coefficient: float = ANTIALIASED_CUBIC) -> Taps:
    """Interpolation whose kernel is stretched to the scale: the elements with centre c within its support.

    Output i reads [floor(c - r + 1/2), floor(c + r + 1/2)), c = scale·(i + 1/2), r = radius·max(scale, 1).
    ``coefficient``: of the cubic kernel, that of radius 2.
    """
    period = small(scale.denominator)
    half = Fraction(1, 2)
    stretch = max(scale, Fraction(1))
    reach = radius * stretch
    centres = [scale * (i + half) + half for i in range(period)]
    first = tuple(math.floor(at - reach) for at in centres)
    count = tuple(math.floor(centres[i] + reach) - first[i] for i in range(period))
    begins = [float(p + 1 - centre) for p, centre in zip(first, centres, strict=True)]
    weights = tuple(
        kernel_weights(int(radius), [(begin + k) / float(stretch) for k in range(n)], coefficient)
        for begin, n in zip(begins, count, strict=True)
    )
    return Taps(period, scale.numerator, first, count, 1, "drop", weights, True)


def kernel_weights(radius: int, at: Sequence[float], coefficient: float) -> tuple[float, ...]:
    """A kernel at these distances, made to add up to 1: triangle, cubic or Lanczos for radius 1, 2 or 3.

    PyTorch's ``HelperInterpLinear``, ``HelperInterpCubic`` and ``HelperInterpLanczos`` (UpSampleKernel.cpp).
    """
    found = []
    for x in map(abs, at):
        if x >= radius:
            found.append(0.0)
        elif radius == 1:
            found.append(1 - x)
        elif radius == 2:
            # Of the four elements around a coordinate, the second's weight within 1, the first's beyond.
            found.append(cubic(x, coefficient)[1] if x < 1 else cubic(x - 1, coefficient)[0])
        else:
            found.append(_sinc(x) * _sinc(x / radius))
    total = sum(found)
    return tuple(weight / total for weight in found)


def _sinc(x: float) -> float:
    return math.sin(math.pi * x) / (math.pi * x) if x else 1.0


@lru_cache(maxsize=4096)
def gathered(kernel: int, stride: int, dilation: int, begin: int) -> Taps:
    """Windows laid out one after another: position i·kernel + t reads stride·i - begin + dilation·t."""
    first = tuple(dilation * t - begin for t in range(small(kernel, "kernel")))
    return Taps(kernel, stride, first, (1,) * kernel)


@lru_cache(maxsize=4096)
def scattered(kernel: int, stride: int, dilation: int, begin: int) -> Taps:
    """The reverse of :func:`gathered`: output p reads each i·kernel + t with stride·i + dilation·t = p + begin.

    As t grows by ``turn``, i falls by dilation/gcd, so that the positions are an arithmetic progression.
    """
    common = math.gcd(stride, dilation)
    turn, fall = stride // common, dilation // common
    step = fall * kernel - turn
    first, count = [], []
    for phase in range(small(stride, "stride")):
        taps = [t for t in range(min(kernel, turn)) if (phase + begin - dilation * t) % stride == 0]
        taps = list(range(taps[0], kernel, turn)) if taps else []
        last = taps[-1] if taps else 0
        first.append((phase + begin - dilation * last) // stride * kernel + last)
        count.append(len(taps))
    # Where the step is not positive, turn >= kernel: there is one tap at most. Nothing is padded.
    return Taps(
        stride, kernel, tuple(first), tuple(count), max(step, 1), "drop", None, renormalized=True
    )


def small(period: int, field: str = "size") -> int:
    if period > MAX_PERIOD:
        raise FieldError(field, f"gives a period of {period} outputs, more than {MAX_PERIOD}")
    return period
