"""One stencil in numbers, both directions, against what its taps mean, read by read."""

from __future__ import annotations

import os
from itertools import product
from typing import Any
from unittest import mock

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from eyeshot.core import windows
from eyeshot.core.patches import Patch
from eyeshot.core.primitives import Taps
from eyeshot.errors import EyeshotError

EXAMPLES = int(os.environ.get("EYESHOT_FUZZ", "300"))

#: Bounds that send everything through each of the ways of adding up.
LIMITS: dict[str, dict[str, int]] = {
    "as they are": {"MAX_TAPS": windows.MAX_TAPS},
    "doubling": {"MAX_TAPS": 0},
    "slices": {"MAX_TAPS": 1 << 20, "MAX_SLICES": 1 << 20},
    "matrix": {"MAX_TAPS": 1 << 20, "MAX_SLICES": 0},
    "one by one": {"MAX_TAPS": 1 << 20, "MAX_SLICES": 0, "MAX_MATRIX": 0},
}


def reads(taps: Taps, n: int, i: int) -> tuple[list[tuple[int, float]], bool]:
    """What output ``i`` reads of ``n`` elements: (position, share) for each; and whether it reads padding."""
    first = taps.first[i % taps.period] + taps.advance * (i // taps.period)
    count = taps.counts[i % taps.period]
    shares = [1 / count] * count if count else []
    if taps.weights is not None:
        shares = list(taps.weights[i % taps.period])
        if taps.border == "linear" and first < 0:
            shares = [float(t == 0) for t in range(count)]
    if taps.border == "linear":
        first = min(max(first, 0), n - 1)
    found, outside = [], False
    for t, share in enumerate(shares):
        at = first + taps.step * t
        if taps.border == "wrap":
            at %= n
        elif taps.border in ("clamp", "linear"):
            at = min(max(at, 0), n - 1)
        elif taps.border == "reflect":
            while not 0 <= at < n:
                at = 0 if n == 1 else -at if at < 0 else 2 * (n - 1) - at
        if 0 <= at < n:
            found.append((at, share))
        else:
            outside = True
    if taps.renormalized:
        total = sum(share for _, share in found)
        found = [(at, share / total if total else 0.0) for at, share in found]
    return found, outside


def tables(taps: Taps, n: int, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Per output and position its share, and whether it is read; per output, whether it reads padding."""
    shares, read = np.zeros((size, n)), np.zeros((size, n), bool)
    padding = np.zeros(size, bool)
    for i in range(size):
        found, padding[i] = reads(taps, n, i)
        for at, share in found:
            shares[i, at] += share
            read[i, at] = True
    return shares, read, padding


@st.composite
def stencils(draw: Any) -> tuple[Taps, int, int]:
    """Taps, the size of the dim that they read, and the number of outputs."""
    period = draw(st.integers(1, 5))
    n, size = draw(st.integers(1, 12)), draw(st.integers(1, 20))
    long = draw(st.sampled_from([4, 4, 50]))
    border = draw(st.sampled_from(["drop", "clamp", "reflect", "wrap", "linear"]))
    lists = {"min_size": period, "max_size": period}
    first = draw(st.lists(st.integers(-6, n + 3), **lists))
    counts = draw(st.lists(st.integers(0, long), **lists))
    advance, step = draw(st.integers(-4, 5)), draw(st.integers(1, 3))
    weights = None
    if draw(st.booleans()):
        rng = np.random.default_rng(draw(st.integers(0, 9)))
        rows = [rng.random(count) + 0.1 for count in counts]
        weights = tuple(tuple((row / row.sum()).tolist()) for row in rows)
    renormalized = border == "drop" and draw(st.booleans())
    return (
        Taps(period, advance, tuple(first), tuple(counts), step, border, weights, renormalized),
        n,
        size,
    )


@st.composite
def patches(draw: Any, n: int, boolean: bool) -> tuple[Patch, int]:
    """A patch of a tensor of three dims, one of which has ``n`` elements, and that one."""
    dim = draw(st.integers(0, 2))
    shape = [draw(st.integers(1, 3)) for _ in range(3)]
    shape[dim] = n
    begin = [draw(st.integers(0, m - 1)) for m in shape]
    end = [draw(st.integers(b + 1, m)) for b, m in zip(begin, shape, strict=True)]
    sizes = [1 if draw(st.booleans()) else e - b for b, e in zip(begin, end, strict=True)]
    rng = np.random.default_rng(draw(st.integers(0, 9)))
    array = rng.random(sizes)
    return Patch(tuple(begin), tuple(end), array < 0.6 if boolean else array), dim


def dense(patch: Patch | None, shape: list[int], dim: int, boolean: bool) -> np.ndarray:
    """The whole tensor, ``dim`` first."""
    out = np.zeros(shape, bool if boolean else float)
    if patch is not None:
        box = tuple(map(slice, patch.begin, patch.end))
        assert out[box].shape == tuple(np.subtract(patch.end, patch.begin)), "beyond the tensor"
        out[box] = patch.array
    return np.moveaxis(out, dim, 0)


def sizes_of(patch: Patch, dim: int, n: int) -> list[int]:
    return [n if d == dim else end for d, end in enumerate(patch.end)]


#: A box filter of 50 taps over 40 elements.
LONG = (Taps(1, 1, (-20,), (50,)), 40, 30)


@settings(max_examples=EXAMPLES, deadline=None, print_blob=True)
@given(stencils(), st.booleans(), st.sampled_from(sorted(LIMITS)), st.data())
@example(LONG, False, "as they are", None)
@example(LONG, True, "as they are", None)
def test_back(stencil: tuple[Taps, int, int], boolean: bool, limits: str, more: Any) -> None:
    """What outputs hold, spread over what they read."""
    taps, n, size = stencil
    if more is None:
        rng = np.random.default_rng(0)
        held, dim = rng.random((2, size - 3)) < 0.5, 1
        patch = Patch((0, 2), (2, size - 1), held if boolean else rng.random((2, size - 3)))
    else:
        patch, dim = more.draw(patches(size, boolean))
    with mock.patch.multiple(windows, **LIMITS[limits]):
        found = windows.spread(patch, dim, taps, n)
    shares, read, _ = tables(taps, n, size)
    outputs = dense(patch, sizes_of(patch, dim, size), dim, boolean)
    got = dense(found, sizes_of(patch, dim, n), dim, boolean)
    if boolean:
        np.testing.assert_array_equal(got, np.tensordot(read.T, outputs, 1) > 0)
    else:
        np.testing.assert_allclose(got, np.tensordot(shares.T, outputs, 1), rtol=0, atol=1e-12)


@settings(max_examples=EXAMPLES, deadline=None, print_blob=True)
@given(stencils(), st.booleans(), st.data())
def test_forth(stencil: tuple[Taps, int, int], padding: bool, more: Any) -> None:
    """Which outputs read any of what is marked; padding may count as marked."""
    taps, n, size = stencil
    patch, dim = more.draw(patches(n, True))
    found = windows.any_read(patch, dim, taps, n, size, padding)
    _, read, outside = tables(taps, n, size)
    marked = dense(patch, sizes_of(patch, dim, n), dim, True)
    want = np.tensordot(read, marked, 1) > 0
    if padding:
        want |= outside.reshape(-1, 1, 1)
        # Only what is marked in full along the other dims is asked so.
        here = tuple(
            slice(b, e)
            for d, (b, e) in enumerate(zip(patch.begin, patch.end, strict=True))
            if d != dim
        )
        got = dense(found, sizes_of(patch, dim, size), dim, True)
        np.testing.assert_array_equal(got[(slice(None), *here)], want[(slice(None), *here)])
    else:
        np.testing.assert_array_equal(dense(found, sizes_of(patch, dim, size), dim, True), want)


@pytest.mark.parametrize("advance", [1, 3])
def test_long_windows_are_not_added_tap_by_tap(advance: int) -> None:
    """Ten thousand taps: sums of ones over a window, which are known."""
    taps = Taps(1, advance, (-5000,), (10001,))
    size = 20000
    patch = Patch((0,), (size,), np.ones(size))
    with mock.patch.object(windows, "_slices", side_effect=AssertionError("tap by tap")):
        found = windows.spread(patch, 0, taps, advance * size)
    assert found is not None
    # Position p is read by all outputs i with |advance·i - p| <= 5000.
    p = np.arange(*found.begin, *found.end)
    last = np.minimum((p + 5000) // advance, size - 1)
    count = last - np.maximum(-((5000 - p) // advance), 0) + 1
    np.testing.assert_allclose(found.array, count / 10001, rtol=1e-12)


def test_a_plain_move_is_a_view() -> None:
    """Padding, cropping and slicing copy nothing."""
    patch = Patch((2, 0), (7, 3), np.ones((5, 3)))
    found = windows.spread(patch, 0, Taps(1, 1, (-3,), (1,)), 6)
    assert found is not None
    assert (found.begin, found.end) == ((0, 0), (4, 3))
    assert np.shares_memory(found.array, patch.array)


def test_what_cannot_be_held_is_refused() -> None:
    """Before memory is taken."""
    from eyeshot.errors import EyeshotError

    patch = Patch((0,), (1 << 20,), np.ones(1 << 20))
    with pytest.raises(EyeshotError, match="an array of"):
        windows.spread(patch, 0, Taps(1, 1 << 12, (0,), (40,)), 1 << 33)


def test_all_of_a_long_dim_takes_no_array() -> None:
    """Every window of 3 reads something of 2^40 elements; of a part of them it takes an array."""
    n, taps = 1 << 40, Taps(1, 1, (-1,), (3,))
    whole = Patch((0,), (n,), np.ones(1, bool))
    found = windows.any_read(whole, 0, taps, n, n, padding=False)
    assert found is not None and (found.begin, found.end, found.array.size) == ((0,), (n,), 1)
    part = whole._replace(begin=(1,))
    with pytest.raises(EyeshotError, match="smaller input"):
        windows.any_read(part, 0, taps, n, n, padding=False)
    for array in (np.ones(1, bool), np.ones(1)):
        with pytest.raises(EyeshotError, match="smaller input"):
            windows.spread(whole._replace(array=array), 0, taps, n)


@pytest.mark.parametrize("border", ["drop", "clamp", "wrap", "linear"])
@pytest.mark.parametrize("first", range(-5, 9))
def test_windows_that_miss_all(first: int, border: Any) -> None:
    """Windows before, across, and behind a dim of 4 elements, with gaps that may step over it."""
    for step, count, advance, size in product((1, 3, 5), (0, 1, 2), (-2, 1, 2), (1, 3)):
        taps = Taps(1, advance, (first,), (count,), step, border)
        _, read, _ = tables(taps, 4, size)
        whole = Patch((0,), (4,), np.ones(1, bool))
        found = windows.any_read(whole, 0, taps, 4, size, padding=False)
        assert (dense(found, [size], 0, True) == read.any(axis=1)).all()
        assert windows.misses(taps, 4, size) or read.any(axis=1).all()
