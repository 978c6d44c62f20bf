"""What the units of a network read at one length of the signal, and which of them a border has touched.

A unit is *touched* by the left or the right border where it, or anything that it reads, reads beyond that end
of a tensor: padding, a reflection, a window that is cut. What is not touched by a border does not depend on
where that border is. That tells more than the hulls on the canvas do: a network may cut off outputs and pad
again.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from eyeshot.analysis.field import Canvas
from eyeshot.analysis.findings.blockers import KINDS, Blocker, blockers
from eyeshot.analysis.findings.network import Network
from eyeshot.analysis.findings.text import axes as axes_text
from eyeshot.analysis.report import Report
from eyeshot.errors import EyeshotError
from eyeshot.tiling.crops import Walk
from eyeshot.tiling.extents import Extent, NotTileable, extents
from eyeshot.tiling.subject import Subject, shape_of

if TYPE_CHECKING:
    from numpy import bool_
    from numpy.typing import NDArray

__all__ = ["Borders", "Run", "time_of"]


@dataclass(eq=False)
class Run:
    """The network on ``size`` samples: what its ``out`` units read, and which a border has touched."""

    walk: Walk
    extent: Extent
    left: NDArray[bool_]
    right: NDArray[bool_]

    @property
    def name(self) -> str:
        """The output's."""
        return self.walk.output.name

    @cached_property
    def canvases(self) -> dict[str, Canvas | None]:
        """By layer on the way to the output its closed form."""
        values = set(self.walk.reading)
        return {
            layer.name: layer._forms[0].canvas
            for layer in self.walk.report
            if layer._value in values
        }

    @property
    def size(self) -> int:
        return self.extent.size

    @property
    def out(self) -> int:
        return self.extent.out

    @property
    def settled(self) -> int:
        """The first unit from which on none that the right border leaves alone is touched by the left one."""
        found = np.flatnonzero(self.left[: self.free])
        return int(found[-1]) + 1 if found.size else 0

    @property
    def free(self) -> int:
        """How many units, from the first on, the right border has not touched."""
        found = np.flatnonzero(self.right)
        return int(found[0]) if found.size else self.out


class Borders:
    """Runs of one network at one length after another; ``time`` is the dim of its input that is time.

    Raises :class:`~eyeshot.tiling.extents.NotTileable`, naming the layers, where no pieces can equal the whole.
    """

    def __init__(self, subject: Subject, report: Report, time: int) -> None:
        self.subject = subject
        self.time = time
        self.shape = shape_of(report)
        self._runs: dict[int, Run] = {}

    def at(self, size: int) -> Run:
        """The run on ``size`` samples.

        Raises :class:`~eyeshot.errors.EyeshotError` where the network can't take so many.
        """
        if size not in self._runs:
            if size < 1:
                raise EyeshotError("the network can't take an empty signal")
            shape = (*self.shape[: self.time], size, *self.shape[self.time + 1 :])
            self._runs[size] = self._run(self.subject.report(shape))
        return self._runs[size]

    def _run(self, report: Report) -> Run:
        report = along(report, self.time)
        layer = self.subject.output(report)
        found = blockers(Network(report), [layer], range(len(report._axes)))
        if found:
            raise NotTileable(refusal(found))
        walk = Walk(report, layer)
        try:
            (extent,) = extents(report, layer, walk=walk)
        except NotTileable as error:
            why = str(error).replace("tiles could be parts of", "chunks could follow")
            raise NotTileable(f"no stream equals the whole: {why}") from None
        (edges,) = walk.edges([extent.dim])
        return Run(walk, extent, edges.left, edges.right)


def time_of(report: Report, time: int | None) -> int:
    """The dim of the report's one input that is time: ``time``, or its only axis.

    Raises :class:`~eyeshot.errors.EyeshotError` where that can't be told.
    """
    shape = shape_of(report)
    axes = report._sources[0].axes
    name = report._sources[0].name
    if time is None:
        if len(axes) != 1:
            raise EyeshotError(
                f"which of the axes {list(axes)} of {name} is time? Say which (time)"
            )
        return axes[0]
    dim = time + len(shape) if time < 0 else time
    if dim == 0:
        raise EyeshotError("time: dim 0 is the batch")
    if dim not in axes:
        raise EyeshotError(f"time: {name} has the axes {list(axes)}, not {time}")
    return dim


def along(report: Report, time: int) -> Report:
    """The report along one axis of its input alone."""
    (source,) = report._sources
    if source.axes == (time,):
        return report
    graph = report._graph
    only = source._replace(axes=(time,))
    return Report(graph, [only], report._marks, report.title, graph.groups)


def refusal(found: list[Blocker]) -> str:
    """Why there is no stream: the first layers of every kind, what they do, and what can replace them."""
    lines = []
    for kind in dict.fromkeys(b.kind for b in found):
        some = [b for b in found if b.kind == kind]
        first = some[0].layer
        dims = sorted({first._report._axes[k][1] for b in some for k in b.fields})
        names = ", ".join(b.layer.name for b in some[:4])
        more = f" and {len(some) - 4} more" if len(some) > 4 else ""
        does = KINDS[kind].does.format(axes=axes_text(dims))
        lines.append(f"{names}{more} ({first.op}) {does}. {KINDS[kind].instead}")
    return f"no stream equals the whole: {' '.join(lines)}"
