"""Terms: closed forms of "what unit i reads", over several indices at once.

A *factor* is an index that a tensor dim is made of; most dims are one factor, a flattened dim is
several. A term maps factor indices to a hull ``[lo, hi)`` on one input axis::

    lo(i) = sum over deps of advance * (i_f // period) + lo_table[i_f % period, …]

and likewise ``hi``; it holds for units inside ``support``. It is *periodic-affine* in each factor: a
plain strided network has periods of 1. A field is the union of its terms, so a join of branches of
unequal rate, or a concatenation, is simply several of them.

Numbers are Python integers (exact at any depth), or ±inf: ``(inf, -inf)`` is the empty hull, an
infinite end is an unbounded one. Functions return new terms and raise :class:`NoClosedForm` where
there is none; the caller then falls back to the image engine.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise, product
from typing import NamedTuple

from eyeshot.core.primitives import Taps
from eyeshot.errors import EyeshotError

__all__ = ["EMPTY", "MAX_COORDINATE", "NoClosedForm", "Number", "Reading", "Term"]

Number = int | float
Deps = tuple[tuple[int, int, int], ...]
EMPTY: tuple[Number, Number] = (math.inf, -math.inf)

#: A table larger than this, or a field of more terms, is no closed form worth the name.
MAX_TABLE = 1 << 16
MAX_TERMS = 256
#: Nor is one that takes more comparisons than this to find.
MAX_WORK = 1 << 20
#: Coordinates stay below this: exact in JSON's doubles, and far from int64's end.
MAX_COORDINATE = 1 << 53


class NoClosedForm(Exception):
    """The result is not a short union of periodic-affine terms."""


class Term(NamedTuple):
    """One closed form; ``deps`` are (factor, period, advance) by factor, the tables row-major over the periods.

    ``support`` gives (factor, begin, end) intervals outside which the term reads nothing; ``whole``
    marks a read of a whole input axis (global context).
    """

    deps: Deps
    lo: tuple[Number, ...]
    hi: tuple[Number, ...]
    support: tuple[tuple[int, int, int], ...] = ()
    whole: bool = False

    def uses(self, factor: int) -> bool:
        """Whether the term varies or is limited along ``factor``."""
        return any(d[0] == factor for d in self.deps) or any(s[0] == factor for s in self.support)

    def at(self, index: dict[int, int]) -> tuple[Number, Number]:
        """The hull that the unit with these factor indices reads."""
        for factor, begin, end in self.support:
            if not begin <= index[factor] < end:
                return EMPTY
        cell = 0
        offset = 0
        for factor, period, advance in self.deps:
            turn, phase = divmod(index[factor], period)
            cell = cell * period + phase
            offset += advance * turn
        return self.lo[cell] + offset, self.hi[cell] + offset


def interval(term: Term, factor: int) -> tuple[int, int] | None:
    """The term's support along ``factor``; None where it is everywhere."""
    for f, begin, end in term.support:
        if f == factor:
            return begin, end
    return None


def with_support(term: Term, factor: int, run: tuple[int, int] | None) -> Term:
    """The term limited to ``run`` along ``factor``; None lifts the limit."""
    deps, lo, hi, support, whole = term
    if not support:
        if run is None:
            return term
        return Term(deps, lo, hi, ((factor, *run),), whole)
    rest = [s for s in support if s[0] != factor]
    if run is not None:
        rest.append((factor, *run))
        rest.sort()
    return Term(deps, lo, hi, tuple(rest), whole)


def _locate(term: Term, factor: int) -> tuple[int, int, int, int]:
    """(position among deps, period, advance, cells inside) of ``factor``; period 1 and advance 0 if absent."""
    inner = 1
    for k in range(len(term.deps) - 1, -1, -1):
        f, period, advance = term.deps[k]
        if f == factor:
            return k, period, advance, inner
        if f < factor:
            return ~(k + 1), 1, 0, inner
        inner *= period
    return ~0, 1, 0, inner


def _rebuild(
    term: Term, factor: int, rows: Sequence[Sequence[tuple[int, int]]], advance: int
) -> Term:
    """The term whose new phase p along ``factor`` is the hull over the positions in ``rows[p]``.

    A position is given as (old phase, offset).
    """
    k, period, _, inner = _locate(term, factor)
    table = len(term.lo)
    outer = table // (period * inner)
    if outer * len(rows) * inner > MAX_TABLE:
        raise NoClosedForm
    lo: list[Number] = []
    hi: list[Number] = []
    for o in range(outer):
        base = o * period * inner
        for row in rows:
            for j in range(inner):
                low, high = EMPTY
                for phase, offset in row:
                    cell = base + phase * inner + j
                    low = min(low, term.lo[cell] + offset)
                    high = max(high, term.hi[cell] + offset)
                lo.append(low)
                hi.append(high)
    deps = list(term.deps)
    entry = (factor, len(rows), advance)
    if k >= 0:
        deps[k] = entry
    else:
        deps.insert(~k, entry)
    return _reduce(term._replace(deps=tuple(deps), lo=tuple(lo), hi=tuple(hi)), factor)


def _reduce(term: Term, factor: int, size: int | None = None) -> Term:
    """The same term with the shortest period along ``factor``; no dependence where it is constant.

    With ``size`` the table covers the whole factor, so a period need not divide it.
    """
    k, period, advance, inner = _locate(term, factor)
    if k < 0:
        return term
    if size is not None and 2 < size <= period:
        for short in range(1, min(size // 2, 64) + 1):
            step = _steady(term, period, inner, short, size)
            if step is not None:
                term = _cut(term, k, period, inner, short, step)
                return _reduce(term, factor)
    for prime in _primes(period):
        while period % prime == 0 and advance * (period // prime) % period == 0:
            short = period // prime
            step = advance * short // period
            if _steady(term, period, inner, short, period) != step:
                break
            term = _cut(term, k, period, inner, short, step)
            period, advance = short, step
    if period == 1 and advance == 0:
        term = term._replace(deps=term.deps[:k] + term.deps[k + 1 :])
    return term


def _steady(term: Term, period: int, inner: int, short: int, size: int) -> int | None:
    """The advance over ``short`` phases if it is the same integer everywhere among the first ``size``."""
    step: Number | None = None
    lo, hi = term.lo, term.hi
    for base in range(0, len(lo), period * inner):
        for cell in range(base, base + (size - short) * inner):
            other = cell + short * inner
            if lo[cell] >= hi[cell] or lo[other] >= hi[other]:
                if (lo[cell] >= hi[cell]) != (lo[other] >= hi[other]):
                    return None
                continue
            for side in (lo, hi):
                if math.isinf(side[cell]) or math.isinf(side[other]):
                    if side[cell] != side[other]:
                        return None
                    continue
                if step is None:
                    step = side[other] - side[cell]
                elif side[other] - side[cell] != step:
                    return None
    return 0 if step is None else int(step)


def _cut(term: Term, k: int, period: int, inner: int, short: int, step: int) -> Term:
    keep = [
        cell
        for base in range(0, len(term.lo), period * inner)
        for cell in range(base, base + short * inner)
    ]
    return term._replace(
        deps=(*term.deps[:k], (term.deps[k][0], short, step), *term.deps[k + 1 :]),
        lo=tuple(term.lo[cell] for cell in keep),
        hi=tuple(term.hi[cell] for cell in keep),
    )


def _primes(n: int) -> list[int]:
    out = []
    p = 2
    while p * p <= n:
        if n % p == 0:
            out.append(p)
            while n % p == 0:
                n //= p
        p += 1
    if n > 1:
        out.append(n)
    return out


def _ends(first: int, count: int, step: int, period: int) -> Iterable[int]:
    """The positions of a window that can be extreme: each residue's first and last.

    Along one residue class a term is affine, so its extremes are at the ends.
    """
    turn = period // math.gcd(step, period)
    if count <= 2 * turn:
        return range(first, first + step * count, step)
    last = first + step * count
    return (
        *range(first, first + step * turn, step),
        *range(last - step * turn, last, step),
    )


class Reading:
    """One stencil along one factor, and what of it is worked out once for all fields."""

    __slots__ = ("_contiguous", "_folds", "_within", "factor", "n_in", "n_out", "taps")

    def __init__(self, factor: int, taps: Taps, n_in: int, n_out: int) -> None:
        self.factor, self.taps, self.n_in, self.n_out = factor, taps, n_in, n_out
        self._folds: bool | None = None
        self._within: bool | None = None
        self._contiguous: bool | None = None

    @property
    def folds(self) -> bool:
        """Whether a border other than padding is read."""
        if self.taps.border == "drop":
            return False
        if self._folds is None:
            self._folds = not self.within
        return self._folds

    @property
    def within(self) -> bool:
        """Whether no output reads beyond the elements that are there."""
        if self._within is None:
            reach = self.taps.reach(self.n_out)
            self._within = reach is None or (reach[0] >= 0 and reach[1] < self.n_in)
        return self._within

    @property
    def contiguous(self) -> bool:
        """Whether every output reads neighbours, some of them inside, and the windows only move on."""
        if self._contiguous is None:
            self._contiguous = self._moves_on()
        return self._contiguous

    def _moves_on(self) -> bool:
        taps = self.taps
        if taps.advance <= 0 or self.folds:
            return False
        if taps.period == 1:
            first, count = taps.first[0], taps.counts[0]
            return (
                (taps.step == 1 or count == 1)
                and first + count > 0 < count
                and first + taps.advance * (self.n_out - 1) < self.n_in
            )
        if not all(taps.counts) or (taps.step > 1 and max(taps.counts) > 1):
            return False
        begins = [*taps.first, taps.first[0] + taps.advance]
        ends = [first + count for first, count in zip(taps.first, taps.counts, strict=True)]
        ends.append(ends[0] + taps.advance)
        return (
            ends[0] > 0
            and taps.window(self.n_out - 1)[0] < self.n_in
            and all(a <= b for a, b in pairwise(begins))
            and all(a <= b for a, b in pairwise(ends))
        )


def stencil(term: Term, read: Reading) -> list[Term]:
    """The term read through ``read``, on an unbounded canvas.

    The factor's new period is Q·P / gcd(S, P) for taps of period Q and advance S (docs/algebra.md).
    A term that does not vary along the factor ends with the tensor, so padding is left out of it.
    """
    factor, taps, n_in, n_out = read.factor, read.taps, read.n_in, read.n_out
    deps = term.deps
    if len(deps) == 1 and taps.period == 1 and not term.support:
        f, period, advance = deps[0]
        count = taps.counts[0]
        if f == factor and period == 1 and count:
            # The textbook case, on which speed depends.
            low = advance * taps.first[0]
            high = low + advance * taps.step * (count - 1)
            if low > high:
                low, high = high, low
            lo, hi = term.lo[0] + low, term.hi[0] + high
            advance *= taps.advance
            if not -MAX_COORDINATE < advance < MAX_COORDINATE:
                raise EyeshotError(
                    f"the jump passes {MAX_COORDINATE}, more than can be counted exactly"
                )
            deps = ((factor, 1, advance),) if advance else ()
            return [Term(deps, (lo,), (hi,), (), term.whole)]
    k, period, advance, _ = _locate(term, factor)
    run = interval(term, factor)
    runs: list[tuple[int, int]] | None = None
    if k < 0:
        if run is not None or taps.border == "drop":
            runs = _hits(taps, run or (0, n_in), n_in, n_out)
        if all(taps.counts):
            return _spread(term, factor, runs)
    elif run is not None:
        # A window that straddles the support's end reads part of it: only single reads stay exact.
        if max(taps.counts) > 1:
            raise NoClosedForm
        runs = _hits(taps, run, n_in, n_out)
    new = _through(term._replace(support=()), factor, taps)
    return _spread(new._replace(support=term.support), factor, runs)


@lru_cache(maxsize=4096)
def _through(term: Term, factor: int, taps: Taps) -> Term:
    """A term's table read through taps. Terms that differ in their support alone share it, hence the cache."""
    _, period, advance, _ = _locate(term, factor)
    turns = period // math.gcd(taps.advance, period) if taps.advance else 1
    widest = min(max(taps.counts), 2 * (period // math.gcd(taps.step, period)))
    cells = turns * taps.period * (len(term.lo) // period)
    if cells > MAX_TABLE or cells * widest > MAX_WORK:
        raise NoClosedForm
    rows = []
    for turn in range(turns):
        for first, count in zip(taps.first, taps.counts, strict=True):
            first += turn * taps.advance
            rows.append(
                [
                    (p % period, advance * (p // period))
                    for p in _ends(first, count, taps.step, period)
                ]
            )
    new_advance = advance * taps.advance * turns // period
    if not -MAX_COORDINATE < new_advance < MAX_COORDINATE:
        raise EyeshotError(f"the jump passes {MAX_COORDINATE}, more than can be counted exactly")
    return _rebuild(term, factor, rows, new_advance)


def _spread(term: Term, factor: int, runs: list[tuple[int, int]] | None) -> list[Term]:
    if runs is None:
        return [with_support(term, factor, None)]
    return [with_support(term, factor, run) for run in runs]


def _hits(taps: Taps, run: tuple[int, int], n_in: int, n_out: int) -> list[tuple[int, int]] | None:
    """The output intervals whose windows meet ``run``; None for all outputs.

    Outputs that read nothing at all count as meeting it: the table already says that they are empty.
    """
    begin, end = run
    step = taps.step
    if taps.border != "drop":
        reach = taps.reach(n_out)
        if reach is not None and (reach[0] < 0 or reach[1] >= n_in):
            raise NoClosedForm
    if end - begin >= step or max(taps.counts) <= 1:
        # No window can step over the run, so meeting it at both ends of a phase means meeting it throughout.
        for phase in range(min(taps.period, n_out)):
            if taps.counts[phase]:
                for i in (phase, phase + (n_out - 1 - phase) // taps.period * taps.period):
                    first, count = taps.window(i)
                    if first >= end or first + step * (count - 1) < begin:
                        break
                else:
                    continue
                break
        else:
            return None
        if taps.period == 1 and taps.advance > 0:
            first, count = taps.first[0], taps.counts[0]
            last = first + step * (count - 1)
            low = max(0, -((last - begin) // taps.advance))
            high = min(n_out, -((first - end) // taps.advance))
            return [(low, high)] if low < high else []
    if n_out > MAX_TABLE:
        raise NoClosedForm
    runs: list[tuple[int, int]] = []
    for i in range(n_out):
        first, count = taps.window(i)
        if count:
            low = max(0, -((first - begin) // step))
            high = min(count, -((first - end) // step))
            if low >= high:
                continue
        if runs and runs[-1][1] == i:
            runs[-1] = (runs[-1][0], i + 1)
        else:
            runs.append((i, i + 1))
    if len(runs) > MAX_TERMS:
        raise NoClosedForm
    return runs


def mix(term: Term, factor: int, size: int) -> Term:
    """The term united over all positions of ``factor`` (or of its support there)."""
    k, period, advance, _ = _locate(term, factor)
    begin, end = interval(term, factor) or (0, size)
    if term.support:
        term = with_support(term, factor, None)
    if k < 0:
        return term
    row = [(p % period, advance * (p // period)) for p in _ends(begin, end - begin, 1, period)]
    return _rebuild(term, factor, [row], 0)


def causal(term: Term, factor: int, size: int) -> Term:
    """The term united over positions up to and including its own, without end into the past."""
    k, period, advance, _ = _locate(term, factor)
    run = interval(term, factor)
    if k < 0:
        return term if run is None else with_support(term, factor, (run[0], size))
    if run is not None or advance == 0 or len(term.lo) * period > MAX_WORK:
        raise NoClosedForm
    past = [
        [(p % period, advance * (p // period)) for p in range(phase - period + 1, phase + 1)]
        for phase in range(period)
    ]
    term = _rebuild(term, factor, past, advance)
    if advance > 0:
        lo = tuple(-math.inf if a < b else a for a, b in zip(term.lo, term.hi, strict=True))
        term = term._replace(lo=lo)
    else:
        hi = tuple(math.inf if a < b else b for a, b in zip(term.lo, term.hi, strict=True))
        term = term._replace(hi=hi)
    return _reduce(term, factor)


def drop(term: Term, factor: int) -> Term | None:
    """The term at position 0 of ``factor``; None where it does not reach there."""
    run = interval(term, factor)
    if run is not None:
        if run[0] > 0:
            return None
        term = with_support(term, factor, None)
    if _locate(term, factor)[0] < 0:
        return term
    return _rebuild(term, factor, [[(0, 0)]], 0)


def split(term: Term, factor: int, major: int, minor: int, n1: int, n2: int) -> list[Term]:
    """``factor`` read as two: i = n2·a + b with a < n1 and b < n2."""
    new = _divided(term._replace(support=()), factor, major, minor, n2)
    new = new._replace(support=term.support)
    run = interval(term, factor)
    if run is None:
        return [new]
    bare = with_support(new, factor, None)
    begin, end = run
    # A run of a row-major index is at most a partial row, whole rows, and a partial row.
    first, last = begin // n2, (end - 1) // n2
    rows: list[tuple[int, int, int, int]] = []
    if first == last:
        rows.append((first, first + 1, begin % n2, end - first * n2))
    else:
        if begin % n2:
            rows.append((first, first + 1, begin % n2, n2))
            first += 1
        if end % n2:
            rows.append((last, last + 1, 0, end % n2))
            last -= 1
        if first <= last:
            rows.append((first, last + 1, 0, n2))
    out = []
    for a, b, c, d in rows:
        piece = bare
        if (a, b) != (0, n1):
            piece = with_support(piece, major, (a, b))
        if (c, d) != (0, n2):
            piece = with_support(piece, minor, (c, d))
        out.append(piece)
    return out


@lru_cache(maxsize=4096)
def _divided(term: Term, factor: int, major: int, minor: int, n2: int) -> Term:
    """A term's table over two factors in place of one; shared by terms that differ in their support alone."""
    k, period, advance, _ = _locate(term, factor)
    if k < 0:
        return term
    # f(n2·a + b): along a the period is P / gcd(P, n2), along b it stays P.
    p1 = period // math.gcd(period, n2)
    a1 = advance * n2 * p1 // period
    others = term.deps[:k] + term.deps[k + 1 :]
    deps = tuple(sorted((*others, (major, p1, a1), (minor, period, advance))))
    new = _tabulate(term, deps, lambda index: {factor: n2 * index[major] + index[minor]})
    return _reduce(_reduce(new, major), minor, n2)


def _tabulate(term: Term, deps: Deps, where: Callable[[dict[int, int]], dict[int, int]]) -> Term:
    """``term`` as a table over other factors; ``where`` gives its own factors' indices from theirs."""
    if math.prod(d[1] for d in deps) > MAX_TABLE:
        raise NoClosedForm
    lo, hi = [], []
    at = term._replace(support=()).at
    for phases in product(*(range(d[1]) for d in deps)):
        index = {d[0]: phase for d, phase in zip(deps, phases, strict=True)}
        low, high = at(index | where(index))
        lo.append(low)
        hi.append(high)
    return term._replace(deps=deps, lo=tuple(lo), hi=tuple(hi))


def merge(term: Term, major: int, minor: int, n1: int, n2: int, new: int) -> list[Term]:
    """Two neighbouring factors read as one: i = n2·a + b."""
    runs: list[tuple[int, int]] | None = None
    run1, run2 = interval(term, major), interval(term, minor)
    if run2 is not None:
        begin, end = run1 or (0, n1)
        if end - begin > MAX_TERMS:
            raise NoClosedForm
        runs = [(n2 * a + run2[0], n2 * a + run2[1]) for a in range(begin, end)]
    elif run1 is not None:
        runs = [(n2 * run1[0], n2 * run1[1])]
    bare = with_support(with_support(term, major, None), minor, None)
    k1, p1, a1, _ = _locate(bare, major)
    k2, p2, a2, _ = _locate(bare, minor)
    if k1 >= 0 or k2 >= 0:
        others = tuple(d for d in bare.deps if d[0] not in (major, minor))
        # Where both halves move at one rate the index is contiguous again: the split's inverse.
        dep = (new, 1, a2) if p1 == p2 == 1 and a1 == n2 * a2 else (new, n2 * p1, a1)

        def where(index: dict[int, int]) -> dict[int, int]:
            a, b = divmod(index[new], n2)
            return {major: a, minor: b}

        bare = _reduce(_tabulate(bare, tuple(sorted((*others, dep))), where), new)
    return _spread(bare, new, runs)


def relabel(term: Term, names: Mapping[int, int]) -> Term:
    """The same term with its factors renamed."""
    if all(d[0] not in names for d in term.deps) and all(s[0] not in names for s in term.support):
        return term
    deps = [(names.get(f, f), period, advance) for f, period, advance in term.deps]
    support = tuple(sorted((names.get(f, f), begin, end) for f, begin, end in term.support))
    if deps == sorted(deps):
        return Term(tuple(deps), term.lo, term.hi, support, term.whole)
    order = sorted(range(len(deps)), key=lambda k: deps[k])
    lo, hi = [], []
    strides = [math.prod(d[1] for d in deps[k + 1 :]) for k in range(len(deps))]
    for phases in product(*(range(deps[k][1]) for k in order)):
        cell = sum(strides[k] * phase for k, phase in zip(order, phases, strict=True))
        lo.append(term.lo[cell])
        hi.append(term.hi[cell])
    return term._replace(
        deps=tuple(deps[k] for k in order), lo=tuple(lo), hi=tuple(hi), support=support
    )


def unite(left: tuple[Term, ...], right: tuple[Term, ...]) -> tuple[Term, ...]:
    """The union of two fields over the same factors; terms of equal rate become one."""
    if left is right or not right:
        return left
    if not left:
        return right
    out = list(left)
    places: dict[tuple[tuple[int, int, int], ...], list[int]] = {}
    for k, term in enumerate(out):
        places.setdefault(term.support, []).append(k)
    for term in right:
        alike = places.setdefault(term.support, [])
        for k in alike:
            one = _merge_pair(out[k], term)
            if one is not None:
                out[k] = one
                break
        else:
            alike.append(len(out))
            out.append(term)
    if len(out) > MAX_TERMS:
        raise NoClosedForm
    return tuple(out)


def unite_all(terms: Sequence[Term]) -> tuple[Term, ...]:
    """The union of terms; those of equal rate become one."""
    return unite(tuple(terms[:1]), tuple(terms[1:]))


def _merge_pair(a: Term, b: Term) -> Term | None:
    if a.whole != b.whole:
        return None
    if a.deps == b.deps:
        if a.lo == b.lo and a.hi == b.hi:
            return a
        if len(a.lo) == 1:
            lo: tuple[Number, ...] = (min(a.lo[0], b.lo[0]),)
            hi: tuple[Number, ...] = (max(a.hi[0], b.hi[0]),)
            return a._replace(lo=lo, hi=hi)
        lo = tuple(map(min, a.lo, b.lo))
        hi = tuple(map(max, a.hi, b.hi))
        new = a._replace(lo=lo, hi=hi)
        for factor, _, _ in a.deps:
            new = _reduce(new, factor)
        return new
    both = aligned(a, b)
    if both is None:
        return None
    new, other = both
    low = tuple(map(min, new.lo, other.lo))
    high = tuple(map(max, new.hi, other.hi))
    new = new._replace(lo=low, hi=high)
    for factor, _, _ in new.deps:
        new = _reduce(new, factor)
    return new


def aligned(a: Term, b: Term) -> tuple[Term, Term] | None:
    """Both terms as tables over the same periods; None where their rates differ."""
    if a.deps == b.deps:
        return a, b
    if rates(a) != rates(b):
        return None
    periods = {f: period for f, period, _ in a.deps}
    for f, period, _ in b.deps:
        periods[f] = math.lcm(periods.get(f, 1), period)
    if math.prod(periods.values()) > MAX_TABLE:
        return None
    rate = rates(a)
    deps = tuple((f, periods[f], int(rate.get(f, 0) * periods[f])) for f in sorted(periods))
    return _repeated(a, deps), _repeated(b, deps)


def _repeated(term: Term, deps: Deps) -> Term:
    """``term`` as a table over multiples of its periods; it has one row of factors that it does not use."""
    own = {f: (period, advance) for f, period, advance in term.deps}
    lo, hi = list(term.lo), list(term.hi)
    inner = 1
    # From the innermost factor on, whose cells are neighbours.
    for factor, period, _ in reversed(deps):
        short, advance = own.get(factor, (1, 0))
        turns = range(0, period // short * advance, advance) if advance else [0] * (period // short)
        block = short * inner
        if period > short:
            lo, hi = (
                [
                    cell + shift
                    for begin in range(0, len(cells), block)
                    for shift in turns
                    for cell in cells[begin : begin + block]
                ]
                for cells in (lo, hi)
            )
        inner *= period
    return term._replace(deps=deps, lo=tuple(lo), hi=tuple(hi))


def covers(a: Term, b: Term) -> bool:
    """Whether ``a`` contains ``b`` at every index, as far as can be told."""
    both = aligned(a, b)
    if both is None:
        return False
    a, b = both
    return all(x <= y for x, y in zip(a.lo, b.lo, strict=True)) and all(
        x >= y for x, y in zip(a.hi, b.hi, strict=True)
    )


def overlap(a: Term, b: Term) -> bool:
    """Whether the two meet or adjoin at every index, as far as can be told."""
    both = aligned(a, b)
    if both is None:
        return False
    a, b = both
    return all(x <= y for x, y in zip(a.lo, b.hi, strict=True)) and all(
        x <= y for x, y in zip(b.lo, a.hi, strict=True)
    )


def gapless(term: Term) -> bool:
    """Whether hulls along the one factor that the term moves with only move on, and leave no gap."""
    ((_, period, advance),) = term.deps
    if period == 1:
        return 0 < advance <= term.hi[0] - term.lo[0]
    begins = [*term.lo, term.lo[0] + advance]
    ends = [*term.hi, term.hi[0] + advance]
    return all(
        begins[k] <= begins[k + 1] <= ends[k] <= ends[k + 1] and begins[k] < ends[k]
        for k in range(len(term.lo))
    )


def rates(term: Term) -> dict[int, Fraction]:
    """Input positions per step along each factor that the term moves with."""
    return {f: Fraction(advance, period) for f, period, advance in term.deps if advance}


def coalesce(terms: Iterable[Term], factor: int, size: int) -> tuple[Term, ...]:
    """The terms of a concatenation, all limited along ``factor``, in order of where they lie.

    Equal terms that adjoin become one; a term that then covers the whole factor is limited no more.
    """
    out: list[Term] = []
    growing: dict[tuple[int, Term], int] = {}
    for term in terms:
        begin, end = interval(term, factor) or (0, size)
        bare = with_support(term, factor, None)
        k = growing.pop((begin, bare), None)
        if k is None:
            k = len(out)
            out.append(term)
        else:
            begin, _ = interval(out[k], factor) or (0, size)
            out[k] = with_support(bare, factor, (begin, end))
        growing[end, bare] = k
    if len(out) > MAX_TERMS:
        raise NoClosedForm
    done: tuple[Term, ...] = ()
    parts = []
    for term in out:
        if interval(term, factor) == (0, size):
            done = unite(done, (with_support(term, factor, None),))
        else:
            parts.append(term)
    return (*done, *parts)


def shift(term: Term, factor: int, size: int, offset: int) -> Term:
    """The term moved up by ``offset`` along ``factor``, and limited to its ``size`` positions there."""
    begin, end = interval(term, factor) or (0, size)
    term = with_support(term, factor, None)
    k, period, advance, _ = _locate(term, factor)
    if k >= 0 and offset:
        rows = [
            [((p - offset) % period, advance * ((p - offset) // period))] for p in range(period)
        ]
        term = _rebuild(term, factor, rows, advance)
    return with_support(term, factor, (begin + offset, end + offset))
