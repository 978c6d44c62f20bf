"""Patches against whole arrays."""

from __future__ import annotations

import math
import os
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eyeshot.core.patches import MAX_ELEMENTS, Patch, afford
from eyeshot.errors import EyeshotError

EXAMPLES = int(os.environ.get("EYESHOT_FUZZ", "150"))


def fuzz(test: Any) -> Any:
    return settings(max_examples=EXAMPLES, deadline=None, print_blob=True)(test)


def full(patch: Patch, shape: tuple[int, ...]) -> np.ndarray:
    """The whole tensor's array: zero where the patch is not."""
    out = np.zeros(shape, patch.array.dtype)
    box = tuple(map(slice, patch.begin, patch.end))
    assert out[box].shape == tuple(np.subtract(patch.end, patch.begin)), "beyond the tensor"
    out[box] = patch.array
    return out


@st.composite
def patches(draw: Any, shape: tuple[int, ...], boolean: bool) -> Patch:
    """A patch of a tensor of ``shape``, often over all of a dim, often alike along it."""
    begin, end, sizes = [], [], []
    for n in shape:
        whole = draw(st.booleans())
        b = 0 if whole else draw(st.integers(0, n - 1))
        e = n if whole else draw(st.integers(b + 1, n))
        begin.append(b)
        end.append(e)
        sizes.append(1 if draw(st.booleans()) else e - b)
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    array = rng.integers(0, 3, sizes)
    return Patch(tuple(begin), tuple(end), array > 1 if boolean else array.astype(float))


SHAPES = st.lists(st.integers(1, 5), max_size=4).map(tuple)


@st.composite
def cases(draw: Any, least: int = 0) -> tuple[tuple[int, ...], Patch]:
    """A tensor's shape and a patch of it."""
    shape = draw(SHAPES.filter(lambda s: len(s) >= least))
    return shape, draw(patches(shape, draw(st.booleans())))


def factors(draw: Any, n: int) -> tuple[int, ...]:
    """Sizes that make ``n`` elements."""
    out = []
    while n > 1 or draw(st.booleans()):
        some = draw(st.sampled_from([d for d in range(1, n + 1) if n % d == 0]))
        out.append(some)
        n //= some
    return tuple(draw(st.permutations(out)))


@fuzz
@given(cases(), st.data())
def test_reshaped(case: tuple[tuple[int, ...], Patch], more: Any) -> None:
    shape, patch = case
    new = factors(more.draw, math.prod(shape))
    found = patch.reshaped(shape, new)
    want = full(patch, shape).reshape(new)
    if found is None:
        assert not want.any()
    else:
        assert len(found.begin) == len(found.end) == found.array.ndim == len(new)
        np.testing.assert_array_equal(full(found, new), want)


@fuzz
@given(cases(), st.data())
def test_plus(case: tuple[tuple[int, ...], Patch], more: Any) -> None:
    shape, patch = case
    other = more.draw(patches(shape, patch.array.dtype == bool))
    total = patch.plus(other)
    assert total.array.dtype == patch.array.dtype
    np.testing.assert_array_equal(full(total, shape), full(patch, shape) + full(other, shape))


@fuzz
@given(cases(1), st.data())
def test_cut_and_grown(case: tuple[tuple[int, ...], Patch], more: Any) -> None:
    shape, patch = case
    dim = more.draw(st.integers(0, len(shape) - 1))
    begin = more.draw(st.integers(0, shape[dim]))
    end = more.draw(st.integers(begin, shape[dim]))
    inside = np.zeros(shape[dim], bool)
    inside[begin:end] = True
    want = full(patch, shape)
    want = want * inside.reshape([-1 if d == dim else 1 for d in range(len(shape))])
    cut = patch.cut(dim, begin, end)
    if cut is None:
        assert not want.any()
    else:
        assert begin <= cut.begin[dim] < cut.end[dim] <= end
        np.testing.assert_array_equal(full(cut, shape), want)
    grown = patch.grown(dim, 0, shape[dim])
    assert (grown.begin[dim], grown.end[dim]) == (0, shape[dim])
    np.testing.assert_array_equal(full(grown, shape), full(patch, shape))


@fuzz
@given(cases(), st.data())
def test_sum(case: tuple[tuple[int, ...], Patch], more: Any) -> None:
    """Elements that a size of 1 stands for are counted each."""
    shape, patch = case
    dims = tuple(more.draw(st.sets(st.integers(0, len(shape) - 1)))) if shape else ()
    array = full(patch, shape)
    want = array.any(axis=dims) if array.dtype == bool else array.sum(axis=dims)
    kept = [d for d in range(len(shape)) if d not in dims]
    total = patch.sum(dims)
    assert all(total.shape[d] == 1 for d in dims)
    over = Patch(
        tuple(patch.begin[d] for d in kept),
        tuple(patch.end[d] for d in kept),
        total.reshape([total.shape[d] for d in kept]),
    )
    np.testing.assert_array_equal(full(over, tuple(shape[d] for d in kept)), want)


@fuzz
@given(cases())
def test_trimmed(case: tuple[tuple[int, ...], Patch]) -> None:
    """The same elements, and no zeros at either end of a dim in which it varies."""
    shape, patch = case
    found = patch.trimmed(range(len(shape)))
    if found is None:
        assert not patch.array.any()
        return
    np.testing.assert_array_equal(full(found, shape), full(patch, shape))
    for d in range(len(shape)):
        if found.array.shape[d] > 1:
            assert found.array.take(0, d).any()
            assert found.array.take(-1, d).any()


@fuzz
@given(cases(), st.data())
def test_transposed_and_dense(case: tuple[tuple[int, ...], Patch], more: Any) -> None:
    shape, patch = case
    order = more.draw(st.permutations(range(len(shape))))
    np.testing.assert_array_equal(patch.dense(shape), full(patch, shape))
    np.testing.assert_array_equal(
        patch.transposed(order).dense(tuple(shape[k] for k in order)),
        full(patch, shape).transpose(order),
    )


def test_a_dim_that_stays_keeps_its_part() -> None:
    """A reshape of other dims, or one that only adds dims of size 1, makes nothing longer."""
    patch = Patch((0, 5, 0), (6, 7, 1), np.ones((1, 2, 1)))
    found = patch.reshaped((6, 1 << 30, 1), (2, 3, 1, 1 << 30))
    assert found is not None
    assert found.array.shape == (1, 1, 1, 2)
    assert (found.begin, found.end) == ((0, 0, 0, 5), (2, 3, 1, 7))


def test_what_cannot_be_held_is_refused() -> None:
    for shape in ((MAX_ELEMENTS + 1,), (1 << 20, 1 << 20)):
        with pytest.raises(EyeshotError, match="ask for a smaller input") as error:
            afford(shape)
        assert "\n" not in str(error.value)
    afford((MAX_ELEMENTS,))
    one = Patch((0, 0), (1, 1), np.ones((1, 1)))
    with pytest.raises(EyeshotError):
        one.dense((1 << 20, 1 << 20))
    with pytest.raises(EyeshotError):
        one.grown(0, 0, 1 << 40)
