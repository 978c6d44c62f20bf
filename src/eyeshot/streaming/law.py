"""When outputs are ready, from where they have to be computed, and what a signal's end needs: for any time.

Everything is read off runs at a few lengths that are long enough for their middle to be free of borders, one
for each residue of the length modulo the hop, and holds for any time since it repeats from hop to hop. The
lengths' residues count because a network may do with its input's last samples as it likes (cut them, or pad to
a whole number of strides): an output is ready when no end that may still come would change it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eyeshot.core.primitives import Stencil
from eyeshot.errors import EyeshotError
from eyeshot.streaming.borders import Borders, Run
from eyeshot.tiling.crops import difference
from eyeshot.tiling.extents import NotTileable

__all__ = ["Law"]

#: Up to this many all residues of the length are looked at, beyond some of them.
ALL = 64
#: So many of them, evenly spread, beside those that tell strides, halves and rests apart.
SPREAD = 16
#: So often runs are made longer until their middle is free of borders.
DOUBLINGS = 5

#: By what the hop is multiplied where a network asks what its input's length is a multiple of.
COARSER = (1, 2, 4, 8, 16, 32, 64)

Array = NDArray[np.int64]


class Unsettled(Exception):
    """The run is too short for its middle to be free of borders."""


@dataclass(frozen=True)
class End:
    """What an end at lengths of one residue does.

    ``late``: how many of the outputs whose reads have all arrived it still changes; ``keep``: how many samples
    before it have to be there. ``reason``: why the network can't take such lengths, if it can't.
    """

    late: int = 0
    keep: int = 0
    reason: str = ""


class Law:
    """The law of one network. Times count samples from the signal's begin; outputs too are counted from there.

    ``hop`` samples give ``step`` outputs, whatever they are. ``residue``: crops are as long, modulo the hop.
    """

    def __init__(self, borders: Borders, first: Run) -> None:
        self.borders = borders
        if not (first.extent.low < first.extent.high).any():
            raise NotTileable(
                f"no stream equals the whole: {first.name} reads nothing of its input"
            )
        settled: tuple[int, Run] | None = None
        why = ""
        for times in COARSER:
            self.hop = first.extent.grid * times
            self.step = int(first.extent.scale * self.hop)
            base, run = self._base(first)
            other = difference(borders.at(run.size + self.hop).walk, run.walk)
            if other is None:
                settled = base, run
                break
            why = why or f"{other} on {run.size + self.hop} samples than on {run.size}"
        if settled is None:
            raise NotTileable(f"no stream equals the whole: {why}")
        self.base, self.run = settled
        self.residue = self.run.size % self.hop
        self.settled = self.run.settled
        self._ready = _ready(self.run)[: self.run.free]
        self.ends: dict[int, End] = {}
        residues = list(_residues(self.hop))
        runs: dict[int, Run] = {}
        for residue in residues:
            found = self._length(residue)
            if isinstance(found, End):
                self.ends[residue] = found
            else:
                runs[residue] = found
        # Residues that were not looked at are taken to need what the worst of the others does.
        late = {r: self._late(run) for r, run in runs.items()}
        self._lates = np.full(self.hop, max(late.values()))
        self._taken = np.ones(self.hop, dtype=bool)
        for residue, count in late.items():
            self._lates[residue] = count
        self._taken[list(self.ends)] = False
        self._outs = self._counts(runs)
        self._apart = self._unfolded()
        keep = {r: self._keep(run) for r, run in runs.items()}
        self._keeps = np.full(self.hop, max(keep.values()) + self.hop)
        for residue, count in keep.items():
            self._keeps[residue] = count
        self.ends |= {r: End(late[r], keep[r]) for r in runs}
        self.least = self._least()

    # --- what a stream asks

    def ready(self, time: int) -> int:
        """How many outputs no sample from ``time`` on, and no end from there on, can change."""
        read = int(self._reads(np.array([time]))[0])
        ends = np.arange(time, time + self.hop)
        ends = ends[self._taken[ends % self.hop]]
        residues = ends % self.hop
        if time < self.base:
            # Outputs that read nothing, such as those of padding, are none before the signal is as long.
            turns = (ends - self.base) // self.hop
            read = max(0, min(read, int((self._outs[residues] + turns * self.step).min())))
        if not self._lates.any():
            return read
        free = min(read, int((self._reads(ends) - self._lates[residues]).min()))
        return free if free >= self._apart else 0

    def begin(self, output: int) -> int:
        """Where a crop may begin at the latest for ``output``, and all behind it, to be as in the whole."""
        return max(0, (output - self.settled) // self.step * self.hop)

    def first(self, time: int) -> int:
        """The first of the samples before ``time`` that are still needed, whatever comes."""
        ends = np.arange(time, time + self.hop)
        held = (ends - self._keeps[ends % self.hop])[self._taken[ends % self.hop]]
        return min(self.begin(self.ready(time)), max(0, int(held.min())) // self.hop * self.hop)

    def length(self, begin: int, output: int) -> int:
        """How long a crop from ``begin`` on has to be for outputs up to ``output`` to be as in the whole."""
        count = output - begin // self.hop * self.step
        short = self.run.free - count
        size = self.run.size - short // self.step * self.hop
        if not begin and output:
            # What is reflected at the real border has to be inside.
            size = max(size, self._grown(int(self._arrival(output - 1))))
        return max(size, self.least)

    def outputs(self, begin: int) -> int:
        """The number of the first output of a crop from ``begin`` on."""
        return begin // self.hop * self.step

    def end(self, time: int) -> End:
        """What an end of the signal at ``time`` does; its residue is looked at now if it was not yet.

        Raises :class:`~eyeshot.errors.EyeshotError` where what is out already would have been something else.
        """
        residue = time % self.hop
        if residue not in self.ends:
            found = self._length(residue)
            if isinstance(found, End):
                self.ends[residue] = found
            else:
                end = End(self._late(found), self._keep(found))
                if end.late > self._lates[residue] or end.keep > self._keeps[residue]:
                    raise EyeshotError(
                        f"a signal of {time} samples is treated otherwise than what was seen before"
                    )
                self.ends[residue] = end
        return self.ends[residue]

    # --- how it is found

    def _reads(self, times: Array) -> Array:
        """How many outputs read nothing from each of ``times`` on."""
        ready = self._ready
        turns = np.maximum(0, (times - ready[-1]) // self.hop + 1)
        return np.searchsorted(ready, times - turns * self.hop, "right") + turns * self.step

    def _arrival(self, output: int) -> int:
        """By when all that ``output``, and those before it, read has arrived."""
        turns = max(0, (output - len(self._ready)) // self.step + 1)
        return int(self._ready[output - turns * self.step]) + turns * self.hop

    def _grown(self, size: int) -> int:
        return size + (self.residue - size) % self.hop

    def _base(self, first: Run) -> tuple[int, Run]:
        """A length of whole hops at which the middle is free of borders, and the run that shows it."""
        reach: list[float] = [self.hop]
        for canvas in first.canvases.values():
            if canvas is not None:
                reach += [-b for b in canvas.begin if math.isfinite(b)]
                reach += [e - canvas.advance for e in canvas.end if math.isfinite(e)]
        base = -(-2 * int(max(reach)) // self.hop) * self.hop + 4 * self.hop
        why = ""
        for _ in range(DOUBLINGS):
            why = f"outputs in the middle of {base} samples depend on the ends"
            for residue in dict.fromkeys((0, first.size % self.hop, *_residues(self.hop))):
                try:
                    run = self.borders.at(base + residue)
                    self._check(run)
                    return base, run
                except NotTileable:
                    raise
                except Unsettled:
                    break
                except EyeshotError as error:  # no such lengths, or too short
                    why = f"at {base + residue} samples: {error}"
            base *= 2
        raise NotTileable(f"no stream equals the whole: {why}")

    def _check(self, run: Run) -> None:
        """That the middle of a run repeats from hop to hop."""
        ready, step = _ready(run), self.step
        free = run.free
        if free < run.settled + 2 * step or free < 3 * step:
            raise Unsettled
        if (ready[free - step : free] - self.hop != ready[free - 2 * step : free - step]).any():
            raise Unsettled
        if run.left[free:].any():
            raise Unsettled

    def _length(self, residue: int) -> Run | End:
        """The long run of one residue, or why there is none."""
        size = self.base + residue
        try:
            run = self.borders.at(size)
            self._check(run)
        except NotTileable:
            raise
        except Unsettled:
            raise NotTileable(
                f"no stream equals the whole: {size} samples are treated otherwise than {self.run.size}"
            ) from None
        except EyeshotError as error:
            return End(reason=str(error))
        self._alike(run)
        return run

    def _alike(self, run: Run) -> None:
        """That a run reads what the law's own run does, wherever its end does not matter."""
        known = self.run.canvases
        for name, canvas in run.canvases.items():
            if name in known and known[name] != canvas:
                raise NotTileable(
                    f"no stream equals the whole: {name} treats {self.run.size} and {run.size} samples "
                    "otherwise, also far from the end. Pad the begin by what does not depend on the length"
                )
        n = min(run.free, self.run.free)
        here, there = run.extent, self.run.extent
        some = here.low[:n] < here.high[:n]
        same = (some == (there.low[:n] < there.high[:n])) & (
            (here.low[:n] == there.low[:n]) & (here.high[:n] == there.high[:n]) | ~some
        )
        if not same.all() or here.dim != there.dim:
            raise NotTileable(
                f"no stream equals the whole: output {int(np.argmin(same))} reads otherwise at "
                f"{run.size} than at {self.run.size} samples"
            )

    def _late(self, run: Run) -> int:
        return max(0, int(self._reads(np.array([run.size]))[0]) - run.free)

    def _keep(self, run: Run) -> int:
        """How many samples before an end of this residue what is then still to come needs."""
        output = self.ready(run.size)
        extent = run.extent
        low = extent.low[output:][extent.low[output:] < extent.high[output:]]
        least = int(low.min()) if low.size else run.size
        begin = min(least, run.size - 1) // self.hop * self.hop
        while begin > 0:
            try:
                crop = self.borders.at(run.size - begin)
                first = output - self.outputs(begin)
                alike = difference(run.walk, crop.walk) is None
                if alike and first >= 0 and not crop.left[first:].any():
                    return crop.size
            except EyeshotError:
                pass  # too short for the network
            begin -= self.hop
        return run.size

    def _counts(self, runs: dict[int, Run]) -> Array:
        """How many outputs ``base`` samples and each residue give.

        Those not looked at are taken to give as many as fewer samples do.
        """
        counts = np.full(self.hop, min(run.out for run in runs.values()) - self.step)
        for residue in sorted(runs):
            counts[residue:] = runs[residue].out
        return counts

    def _unfolded(self) -> int:
        """How many outputs have to be free of the end for those near the begin to be free of it as well.

        A border that reflects or repeats makes the first outputs read further ahead in some tensor than their
        place there tells. An end leaves them alone where it leaves alone a hop of others that begin to read
        behind all that they read.
        """
        run, settled = self.run, self.settled
        folds = any(
            isinstance(prim, Stencil) and prim.taps.border != "drop"
            for prim in (run.walk.graph.prims[v] for v in run.walk.reading)
        )
        if not folds or not settled or not self._lates.any():
            return 0
        low, high = run.extent.low[: run.free], run.extent.high[: run.free]
        some = low < high
        behind = int(high[:settled][some[:settled]].max(initial=0))
        period = slice(settled, settled + self.step)
        least = int(low[period][some[period]].min(initial=behind))
        return settled + (1 + -(-(behind - least) // self.hop)) * self.step

    def _least(self) -> int:
        """A short length, of the crops' residue, that the network takes."""
        hops = 0
        while True:
            size = self.residue + hops * self.hop
            if size >= self.run.size:
                return self.run.size
            try:
                if size and difference(self.run.walk, self.borders.at(size).walk) is None:
                    return size
            except EyeshotError:
                pass
            hops = 2 * hops or 1


def _ready(run: Run) -> Array:
    """By when all that each unit, and those before it, read has arrived."""
    extent = run.extent
    high = np.where(extent.low < extent.high, extent.high, 0)
    return np.asarray(np.maximum.accumulate(high), dtype=np.int64)


def _residues(hop: int) -> Iterable[int]:
    """Residues of a length modulo the hop: all, or those that tell strides, halves and rests apart."""
    if hop <= ALL:
        return range(hop)
    found = {0, 1, hop // 2, hop // 2 + 1, hop - 1}
    found |= {k * hop // SPREAD for k in range(SPREAD)}
    found |= {hop // d for d in range(2, 10) if hop % d == 0}
    return sorted(found)
