"""Lines of a tensor: the positions along one dim, which of them are missing, and in what pattern."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from eyeshot.analysis.findings.text import listed
from eyeshot.analysis.touched import over
from eyeshot.core.patches import Patch
from eyeshot.core.primitives import Shape

__all__ = ["Gaps", "gaps", "missing", "phrase"]

Marks = NDArray[np.bool_]

#: Runs after which a pattern that doesn't repeat is not looked for any longer.
MAX_RUNS = 64


class Gaps(NamedTuple):
    """Which of ``size`` positions are missing, ``lost`` in all.

    ``phases`` of every ``period``, and beside them the first ``begin`` and the last ``end``. Where neither
    tells them all, ``period`` is None and ``other`` counts the rest.
    """

    size: int
    lost: int
    period: int | None
    phases: tuple[int, ...]
    begin: int
    end: int
    other: int

    def to_dict(self) -> dict[str, Any]:
        """The pattern as JSON values."""
        return {**self._asdict(), "phases": list(self.phases)}


def missing(patch: Patch | None, dim: int, shape: Shape) -> Marks:
    """The positions along ``dim`` at which a patch of a tensor marks nothing: bool array [shape[dim]]."""
    out = np.ones(shape[dim], bool)
    if patch is not None:
        out[patch.begin[dim] : patch.end[dim]] = ~over(patch, (dim,)).array
    return out


def gaps(lines: Marks) -> Gaps | None:
    """The pattern of missing positions; None where none is missing."""
    size, count = len(lines), int(lines.sum())
    if not count:
        return None
    there = np.flatnonzero(~lines)
    if not there.size:
        return Gaps(size, count, None, (), size, 0, 0)
    begin, end = int(there[0]), size - 1 - int(there[-1])
    if begin + end == count:
        return Gaps(size, count, None, (), begin, end, 0)
    inner = lines[begin : size - end]
    starts = begin + 1 + np.flatnonzero(inner[1:] & ~inner[:-1])
    for start in starts[1:MAX_RUNS].tolist():
        period = start - int(starts[0])
        if np.array_equal(inner[period:], inner[:-period]):
            whole = np.resize(np.roll(inner[:period], begin), size)
            phases = np.flatnonzero(whole[:period])
            # At the ends more may be missing than the phases say, never less.
            more = lines & ~whole
            begin = begin if more[:begin].any() else 0
            end = end if more[size - end :].any() else 0
            return Gaps(size, count, period, tuple(phases.tolist()), begin, end, 0)
    return Gaps(size, count, None, (), begin, end, count - begin - end)


def phrase(found: Gaps, noun: str = "position") -> str:
    """``2 of every 4 positions and the last 6``."""
    parts: list[str] = []
    plural = f"{noun}s"
    if found.period is not None:
        parts.append(f"{len(found.phases)} of every {found.period} {plural}")
    elif found.other:
        parts.append(f"{found.other} {plural if found.other > 1 else noun} in between")
    for count, which in ((found.begin, "first"), (found.end, "last")):
        if count:
            named = "" if parts else f" {plural}" if count > 1 else f" {noun}"
            parts.append(f"the {which}{f' {count}' if count > 1 or parts else ''}{named}")
    return listed(parts)
