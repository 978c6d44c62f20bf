"""The narrowest paths: closed forms of what single paths through a graph read.

A field is all that its paths read together; where branches meet, it is their union. Here a tensor's field
keeps its paths apart: its terms are *alternatives*. Where branches meet, a path goes through one of them, so
an element has the alternatives of all its branches, less those that another is narrower than, here and
whatever follows. Behind a convolution of a concatenation, too, a path has come through one of its parts.

All else is as on the canvas, whose engine does the work: phases, reshapes, windows and shuffles stay exact.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import lru_cache

from eyeshot.core import terms as algebra
from eyeshot.core.canvas import Canvas, Source, State
from eyeshot.core.fields import Field, ranked
from eyeshot.core.graph import Graph
from eyeshot.core.terms import NoClosedForm, Reading, Term

__all__ = ["Narrowest", "Ways", "never_wider"]

#: More alternatives than this are given up: which of them is the narrowest is then not known.
MAX_WAYS = 64


class Ways(Field):
    """What single paths to a tensor's elements read along one input axis: one term each.

    An element's alternatives are the terms that hold there. None: unknown, as on the canvas.
    """

    __slots__ = ()

    def each(self, act: Callable[[Term], list[Term]]) -> Ways:
        if not self.terms:
            return self
        try:
            terms = narrow([new for term in self.terms for new in act(term)])
        except NoClosedForm:
            return self._replace(terms=None, reach=None)
        return self._replace(terms=terms)

    def stencil(self, read: Reading) -> Ways:
        if self.terms is None or len(self.terms) < 2:
            return Ways(*super().stencil(read))
        read_through = self.each(lambda term: algebra.stencil(term, read))
        return read_through._replace(
            folds=self.folds or (read.folds and self.uses(read.factor)),
            reach=None,
            inside=self.inside and (read.within or not self.uses(read.factor)),
        )

    def mix(self, gone: Collection[int], sizes: Mapping[int, int]) -> Ways:
        """As on the canvas, but a map of one position, too, is read whole where it is pooled away.

        So gates lose against what they gate at every size of the input.
        """
        follows = {f for f, rank in self.tags if rank is not None}

        def act(term: Term) -> list[Term]:
            followed = follows.intersection(f for f, _, _ in term.deps)
            for factor in gone:
                term = algebra.mix(term, factor, sizes[factor])
            return [term._replace(whole=True)] if followed and followed <= set(gone) else [term]

        new = Ways(*super().mix(gone, sizes))
        return new._replace(terms=self.each(act).terms)


NO_WAY = Ways()


class Narrowest(Canvas):
    """Evaluates a graph's single paths relative to ``sources``; a state's fields are :class:`Ways`.

    A path starts at an input: constants are none. One that has read a whole axis (global context) gives way
    to any local one.
    """

    def __init__(self, graph: Graph, sources: list[Source]) -> None:
        super().__init__(graph, sources)
        self._blank = (NO_WAY,) * len(self.axes)
        self._wanted: set[int] = set()

    def run(self, keep: Iterable[int]) -> dict[int, State]:
        """The states of the values in ``keep``; only what they are made from is worked out."""
        kept = set(keep)
        self._wanted = set(kept)
        stack = list(kept)
        while stack:
            new = set(self.graph.inputs[stack.pop()]) - self._wanted
            self._wanted |= new
            stack += new
        return super().run(kept)

    def _apply(self, v: int, states: dict[int, State]) -> State:
        if v in self._wanted:
            return super()._apply(v, states)
        return State(self._plain(self.graph.shapes[v]), self._blank)

    def _origin(self, k: int) -> State:
        dims, fields = super()._origin(k)
        return State(dims, tuple([Ways(*field) for field in fields]))

    @staticmethod
    def _unite(a: Field, b: Field) -> Field:
        """The ways of either."""
        if a is b:
            return a
        tags = a.tags if a.tags == b.tags else ranked((*a.tags, *b.tags))
        if not a.reads or not b.reads:
            return (a if a.reads else b)._replace(tags=tags)
        terms = None
        if a.terms is not None and b.terms is not None:
            try:
                terms = narrow((*a.terms, *b.terms))
            except NoClosedForm:
                terms = None
        # What a single path reads of its hull is known only where the ways are those of one branch.
        reach = None
        if terms is not None and terms in (a.terms, b.terms):
            reach = a.reach if terms == a.terms else b.reach
        bound, folds = a.bound or b.bound, a.folds or b.folds
        return Ways(terms, tags, bound, folds, reach, a.inside and b.inside)

    @staticmethod
    def _concat_fields(pieces: list[Field], factor: int, total: int) -> Field:
        """The ways of all pieces, each limited to its place along ``factor``."""
        terms: tuple[Term, ...] | None = None
        known = [piece.terms for piece in pieces if piece.terms is not None]
        if len(known) == len(pieces):
            try:
                terms = _side_by_side(known, factor, total)
            except NoClosedForm:
                terms = None
        reading = [piece for piece in pieces if piece.reads]
        return Ways(
            terms,
            ranked(tag for piece in pieces for tag in piece.tags),
            any(piece.bound for piece in pieces),
            any(piece.folds for piece in pieces),
            reading[0].reach if len(reading) == 1 and terms else None,
            all(piece.inside for piece in reading),
        )


def _side_by_side(pieces: Sequence[tuple[Term, ...]], factor: int, total: int) -> tuple[Term, ...]:
    if all(len(terms) < 2 for terms in pieces):
        # Equal neighbours become one again, as after a split.
        return algebra.coalesce((term for terms in pieces for term in terms), factor, total)
    whole = (0, total)
    return narrow(
        [
            algebra.with_support(term, factor, None)
            if algebra.interval(term, factor) == whole
            else term
            for terms in pieces
            for term in terms
        ]
    )


def narrow(terms: Iterable[Term]) -> tuple[Term, ...]:
    """The alternatives, less those that another, which holds wherever they do, is never wider than."""
    terms = tuple(terms)
    if len(terms) < 2:
        return terms
    kept: dict[tuple[tuple[int, int, int], ...], list[Term]] = {}
    for term in sorted(terms, key=lambda term: len(term.support)):
        rivals = kept.setdefault(term.support, [])
        if any(never_wider(other, term) for other in (*rivals, *kept.get((), ()))):
            continue
        rivals[:] = [other for other in rivals if not never_wider(term, other)]
        rivals.append(term)
    out = tuple([term for rivals in kept.values() for term in rivals])
    if len(out) > MAX_WAYS:
        raise NoClosedForm
    return out


@lru_cache(maxsize=4096)
def never_wider(a: Term, b: Term) -> bool:
    """Whether ``a`` reads no wider than ``b``, nor will whatever comes of both; as far as can be told.

    It does where ``a``, moved along the axis by one and the same distance at every index, lies inside ``b``:
    what follows joins hulls alike on both sides. A local read is narrower than that of a whole axis.
    """
    if a.whole != b.whole:
        return b.whole
    both = algebra.aligned(a, b)
    if both is None:
        return False
    low, high = -math.inf, math.inf
    for begin, end, outer_begin, outer_end in zip(
        both[0].lo, both[0].hi, both[1].lo, both[1].hi, strict=True
    ):
        if begin >= end:
            continue  # nothing is read
        if outer_begin >= outer_end:
            return False
        if outer_begin != -math.inf:
            low = max(low, outer_begin - begin)
        if outer_end != math.inf:
            high = min(high, outer_end - end)
    return low <= high
