"""The sizes of the input at which every layer works."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from eyeshot.analysis.findings.network import Network
    from eyeshot.analysis.report import Layer
    from eyeshot.core.terms import Number

__all__ = ["InputRange", "input_range", "width_into"]


class InputRange(NamedTuple):
    """Along one axis of an input: the sizes from which, and up to which, every layer works.

    ``smallest``: the width of the narrowest path into any layer with weights; on a smaller input that layer
    is given more than there is. ``largest``: the largest field of these layers; no unit sees a larger input
    whole. ``size`` is what the input has; None for an end that does not exist (global context, a field
    without an end) or is unknown. Layers behind which no unit follows the axis, as a classifier's
    head, don't count, nor do those that have read it whole by every path.

    The definition is that of Richter et al., "Should You Go Deeper?" (2021); the page
    ``docs/findings/unproductive-layers.md`` says where theirs differs.
    """

    input: str
    axis: int
    size: int
    smallest: int | None
    largest: int | None

    def to_dict(self) -> dict[str, Any]:
        """The range as JSON values."""
        return self._asdict()


def input_range(net: Network) -> tuple[InputRange, ...]:
    """See :class:`InputRange`; one per axis of every input, in the order of a layer's fields.

    Both ends rest on closed forms alone and do not depend on the input's size.
    """
    found = []
    for k, (source, axis) in enumerate(net.report._axes):
        smallest: list[Number | None] = []
        largest: list[Number | None] = []
        for layer in net.weighted:
            width, form = width_into(net, layer, k), layer._forms[k]
            if form.dim is None or width == 0 or width == math.inf:
                continue
            smallest.append(width)
            # Without a closed form global context would take a look at every unit, to no avail.
            closed = form.raw.terms is not None and not form.raw.bound and not form.is_global
            canvas = form.canvas if closed else None
            spans = () if canvas is None else zip(canvas.begin, canvas.end, strict=True)
            largest.append(max([end - begin for begin, end in spans], default=None))
        ends = _largest(smallest), _largest(largest)
        found.append(InputRange(source.name, axis, source.shape[axis], *ends))
    return tuple(found)


def _largest(widths: list[Number | None]) -> int | None:
    known = [width for width in widths if width is not None and math.isfinite(width)]
    return int(max(known)) if known and len(known) == len(widths) else None


def width_into(net: Network, layer: Layer, k: int) -> Number | None:
    """The width of the narrowest path into ``layer`` along axis ``k``, as :meth:`Paths.width`."""
    widths = [net.paths.width(v, k) for v in net.inputs(layer)]
    if None in widths:
        return None
    return min([width for width in widths if width], default=0)
