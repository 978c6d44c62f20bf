"""Fields: what a tensor's elements read along one input axis, as a union of terms.

Each function here is what one primitive (or one regrouping of factors) does to a field; the canvas engine
keeps track of which factors a tensor is made of and calls them for every input axis alike.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import NamedTuple

from eyeshot.core import terms as algebra
from eyeshot.core.terms import NoClosedForm, Number, Reading, Term

__all__ = ["NOTHING", "Field", "concat", "ranked", "unite"]

Reach = tuple[Number, Number]
Tag = tuple[int, int | None]


class Field(NamedTuple):
    """What a tensor's elements read along one input axis.

    ``terms`` is None where there is no closed form. ``tags`` lists (factor, rank) for the factors
    that follow the axis: rank 0 moves farthest, a minor part that was split off moves less; None for a dim
    that followed the axis until it was mixed. ``bound``: an upper bound only. ``folds``: some border reads are
    folded back inside (reflect, replicate, wrap), which an unbounded canvas does not show.

    ``reach``, where it is known, is the part of the axis such that every element reads exactly the part of
    its hull on the canvas that lies in it, without holes: the exact extent of all elements together.

    ``inside``: no read has met padding or a border, so that the hulls on the canvas are the exact ones.
    """

    terms: tuple[Term, ...] | None = ()
    tags: tuple[Tag, ...] = ()
    bound: bool = False
    folds: bool = False
    reach: Reach | None = None
    inside: bool = False

    @property
    def reads(self) -> bool:
        return self.terms is None or bool(self.terms)

    def uses(self, factor: int) -> bool:
        """Whether elements differ, or may differ, along ``factor``."""
        for tagged, rank in self.tags:
            if tagged == factor and rank is not None:
                return True
        return self.terms is not None and any(term.uses(factor) for term in self.terms)

    def tagged(self, factor: int) -> bool:
        """Whether ``factor`` follows the axis, or did until it was mixed."""
        return any(f == factor for f, _ in self.tags)

    def each(self, act: Callable[[Term], list[Term]]) -> Field:
        """The field with every term replaced by what ``act`` makes of it."""
        if not self.terms:
            return self
        try:
            if len(self.terms) == 1:
                terms = tuple(act(self.terms[0]))
            else:
                terms = algebra.unite_all([new for term in self.terms for new in act(term)])
        except NoClosedForm:
            return self._replace(terms=None, reach=None)
        return self._replace(terms=terms)

    def stencil(self, read: Reading) -> Field:
        """Read through one stencil."""
        terms, tags, bound, folds, reach, inside = self
        if not folds and read.folds and self.uses(read.factor):
            folds = True
        if terms is not None:
            old = terms
            try:
                if len(old) == 1:
                    terms = tuple(algebra.stencil(old[0], read))
                else:
                    terms = algebra.unite_all(
                        [new for term in old for new in algebra.stencil(term, read)]
                    )
            except NoClosedForm:
                terms = reach = None
            if reach is not None and terms is not None and (terms != old or self.uses(read.factor)):
                reach = _reach_through(old, terms, reach, read)
        inside = inside and (read.within or not self.uses(read.factor))
        return Field(terms, tags, bound, folds, reach, inside)

    def mix(self, gone: Collection[int], sizes: Mapping[int, int]) -> Field:
        """All positions of the factors ``gone`` united; ``sizes`` are those of all factors."""
        follows = [f for f, rank in self.tags if rank is not None]
        partly = False

        def act(term: Term) -> list[Term]:
            # The axis is read whole once no factor that follows it is left to tell units apart.
            nonlocal partly
            followed = [f for f, _, _ in term.deps if f in follows]
            lost = any(f in gone and sizes[f] > 1 for f in followed)
            whole = lost and all(f in gone for f in followed)
            partly = partly or (lost and not whole)
            for factor in gone:
                term = algebra.mix(term, factor, sizes[factor])
            return [term._replace(whole=True)] if whole else [term]

        tags = tuple([(f, None if f in gone else rank) for f, rank in self.tags])
        new = self.each(act)
        return new._replace(tags=tags, reach=None if partly else new.reach)

    def causal(self, factor: int, size: int) -> Field:
        """All positions of ``factor`` up to its own united."""
        new = self.each(lambda term: [algebra.causal(term, factor, size)])
        return new._replace(inside=False) if self.uses(factor) else new  # a past without end

    def split(self, factor: int, major: int, minor: int, n1: int, n2: int) -> Field:
        """``factor`` read as two."""
        ranks = dict(self.tags)
        if factor not in ranks and not self.uses(factor):
            return self
        if factor in ranks:
            rank = ranks.pop(factor)
            ranks[major], ranks[minor] = rank, None if rank is None else rank + 1
        new = self._replace(tags=tuple(ranks.items()))
        return new.each(lambda term: algebra.split(term, factor, major, minor, n1, n2))

    def merge(self, major: int, minor: int, n1: int, n2: int, new: int) -> Field:
        """Two neighbouring factors read as one."""
        tags = tuple([(new if f in (major, minor) else f, rank) for f, rank in self.tags])
        field = self._replace(tags=ranked(tags))
        return field.each(lambda term: algebra.merge(term, major, minor, n1, n2, new))

    def drop(self, factor: int) -> Field:
        """Without ``factor``, which has one position."""
        if not self.tagged(factor) and not self.uses(factor):
            return self

        def act(term: Term) -> list[Term]:
            new = algebra.drop(term, factor)
            return [] if new is None else [new]

        return self._replace(tags=tuple([tag for tag in self.tags if tag[0] != factor])).each(act)

    def rename(self, names: Mapping[int, int]) -> Field:
        """The same field over renamed factors."""
        if not names:
            return self
        tags = tuple([(names.get(f, f), rank) for f, rank in self.tags])
        if self.terms is None:
            return self._replace(tags=tags)
        terms = tuple([algebra.relabel(term, names) for term in self.terms])
        return self._replace(tags=tags, terms=terms)


NOTHING = Field()


def unite(a: Field, b: Field) -> Field:
    """The union of two fields over the same factors."""
    if a is b:
        return a
    tags = a.tags if a.tags == b.tags else ranked((*a.tags, *b.tags))
    terms = None
    if a.terms is not None and b.terms is not None:
        try:
            terms = algebra.unite(a.terms, b.terms)
        except NoClosedForm:
            terms = None
    reach = None if terms is None else _joint_reach(a, b)
    inside = (a.inside or not a.reads) and (b.inside or not b.reads)
    return Field(terms, tags, a.bound or b.bound, a.folds or b.folds, reach, inside)


def concat(pieces: list[Field], factor: int, total: int) -> Field:
    """Fields one after another along ``factor``, each already in its place."""
    tags = ranked(tag for piece in pieces for tag in piece.tags)
    terms: tuple[Term, ...] | None = None
    if all(piece.terms is not None for piece in pieces):
        try:
            terms = algebra.coalesce(
                (term for piece in pieces for term in piece.terms or ()), factor, total
            )
        except NoClosedForm:
            terms = None
    reach = None
    if terms is not None and dict(tags).get(factor) is None:
        # Side by side in channels: united, they read like a join.
        joint = NOTHING
        for piece in pieces:
            bare = piece.each(lambda term: [algebra.with_support(term, factor, None)])
            joint = unite(joint, bare)
        reach = joint.reach
    return Field(
        terms,
        tags,
        any(piece.bound for piece in pieces),
        any(piece.folds for piece in pieces),
        reach,
        all(piece.inside or not piece.reads for piece in pieces),
    )


def ranked(tags: Iterable[Tag]) -> tuple[Tag, ...]:
    """One tag a factor, with the best of its ranks."""
    ranks: dict[int, int | None] = {}
    for factor, rank in tags:
        old = ranks.get(factor)
        if old is None or (rank is not None and rank < old):
            ranks[factor] = rank
    return tuple(ranks.items())


# --- the exact extent


def _envelope(terms: tuple[Term, ...]) -> Term | None:
    """One term that is the hull of the local ones, wherever they hold; None if there is none, or no one."""
    if len(terms) == 1 and not terms[0].support and not terms[0].whole:
        return terms[0]
    out = algebra.unite_all([term._replace(support=()) for term in terms if not term.whole])
    return out[0] if len(out) == 1 else None


def _reach_through(
    old: tuple[Term, ...], new: tuple[Term, ...], reach: Reach, read: Reading
) -> Reach | None:
    """The reach behind a stencil that leaves no holes.

    If every input reads its hull's part of ``reach`` and neighbours' hulls adjoin, so does every output
    whose window is contiguous and meets the input; nothing then begins before the first output's hull.
    """
    if not read.contiguous:
        return None
    if len(old) > 1 and [t for t in old if t.whole] != [t for t in new if t.whole]:
        return None
    before, after = _envelope(old), _envelope(new)
    if before is None or after is None:
        return None
    if len(before.deps) != 1 or before.deps[0][0] != read.factor or len(after.deps) > 1:
        return None
    if read.n_in > 1 and not algebra.gapless(before):
        return None
    _, period, advance = after.deps[0] if after.deps else (0, 1, 0)
    turn, phase = divmod(read.n_out - 1, period)
    shrunk = max(reach[0], after.lo[0]), min(reach[1], after.hi[phase] + advance * turn)
    # Global context beside the local field still reads all that it did.
    return None if shrunk != reach and any(term.whole for term in new) else shrunk


def _joint_reach(a: Field, b: Field) -> Reach | None:
    """The reach of a union, where the two overlap everywhere or one covers the other."""
    if not a.reads:
        return b.reach
    if not b.reads:
        return a.reach
    if a.reach is None or b.reach is None or a.terms is None or b.terms is None:
        return None
    local_a = [term for term in a.terms if not term.whole]
    local_b = [term for term in b.terms if not term.whole]
    if not local_a and not local_b:
        return min(a.reach[0], b.reach[0]), max(a.reach[1], b.reach[1])
    within_a = a.reach[0] <= b.reach[0] and b.reach[1] <= a.reach[1]
    within_b = b.reach[0] <= a.reach[0] and a.reach[1] <= b.reach[1]
    if not local_a or not local_b:
        more, inside = (a, within_a) if local_a else (b, within_b)
        return more.reach if inside else None
    one, other = _envelope(a.terms), _envelope(b.terms)
    if one is None or other is None:
        return None
    if within_a and (within_b or algebra.covers(one, other)):
        return a.reach if algebra.overlap(one, other) else None
    if within_b and algebra.covers(other, one):
        return b.reach if algebra.overlap(one, other) else None
    return None
