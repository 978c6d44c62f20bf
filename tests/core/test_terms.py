"""Tables of terms, against the closed form entry by entry."""

from __future__ import annotations

import math
from itertools import product
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from eyeshot.core.terms import Term, aligned


@st.composite
def terms(draw: Any) -> Term:
    deps = tuple(
        (factor, draw(st.integers(1, 4)), draw(st.sampled_from([-2, 1, 2, 3])))
        for factor in sorted(draw(st.sets(st.integers(0, 3), max_size=3)))
    )
    count = math.prod(period for _, period, _ in deps)
    ends = st.one_of(st.integers(-9, 9), st.just(math.inf))
    hi = tuple(draw(st.lists(ends, min_size=count, max_size=count)))
    return Term(deps, tuple(range(-count, 0)), hi, (), False)


@given(terms(), st.data())
def test_aligned_terms_read_the_same_as_before(a: Term, data: st.DataObject) -> None:
    """Against the same rates at other periods: both tables have one row for each of their common phases."""
    times = [data.draw(st.integers(1, 3)) for _ in a.deps]
    deps = tuple((f, p * m, d * m) for (f, p, d), m in zip(a.deps, times, strict=True))
    count = math.prod(period for _, period, _ in deps)
    b = Term(deps, (0,) * count, (1,) * count, (), False)
    both = aligned(a, b)
    assert both is not None and both[0].deps == both[1].deps
    for phases in product(*(range(2 * period) for _, period, _ in both[0].deps)):
        index = {f: i for (f, _, _), i in zip(both[0].deps, phases, strict=True)}
        assert both[0].at(index) == a.at(index)
        assert both[1].at(index) == b.at(index)
