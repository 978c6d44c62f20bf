"""Words and numbers as findings write them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from fractions import Fraction

__all__ = ["axes", "distance", "listed", "near", "number", "percent", "sizes"]


def number(value: float | Fraction) -> str:
    """``15.5``, ``1/3``, ``0.041``: exact where that is short."""
    if isinstance(value, float):
        if not math.isfinite(value):
            return "unbounded"
        return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"
    value = Fraction(value)
    if value.denominator in (1, 2, 4, 8, 5, 10):
        return f"{float(value):g}" if value.denominator > 1 else str(value.numerator)
    return str(value) if value.denominator < 100 else f"{float(value):.3g}"


def percent(share: float) -> str:
    """``41 %``; ``0.2 %`` where little is left."""
    value = 100 * share
    return f"{value:.0f} %" if value >= 10 or value == 0 else f"{value:.2g} %"


def listed(names: Iterable[str], most: int = 3) -> str:
    """``a, b and c``, or ``a, b, c and 12 more``."""
    names = list(names)
    if len(names) > most:
        return f"{', '.join(names[:most])} and {len(names) - most} more"
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"


def axes(dims: Sequence[int]) -> str:
    """``axis 2``, ``axes 2 and 3``."""
    return f"{'axis' if len(dims) == 1 else 'axes'} {listed(map(str, dims), 9)}"


def sizes(values: Sequence[float | Fraction]) -> str:
    """One number per axis: ``96`` where all are alike, else ``96×64``."""
    shown = list(map(number, values))
    return shown[0] if len(set(shown)) == 1 else "×".join(shown)


def near(value: Fraction) -> str:
    """As :func:`number`, with three digits in place of an unusual fraction: ``3.92``, not ``98/25``."""
    plain = value.denominator in (1, 2, 3, 4, 8)
    return number(value) if plain else number(float(value))


def distance(value: Fraction) -> str:
    """How far, whichever way: ``1 input position``, ``3.92 input positions``."""
    far = near(abs(value))
    return f"{far} input position{'s' * (far != '1')}"
