"""Which tensors share memory, so that a write through one is read through the others.

Every tensor seen in a trace has a :class:`Track`. A view's track knows the tensor it looks at and the call
that made it. A write to a view is carried up to the tensor that owns the memory, by running the view's
primitives backwards; other views notice by the owner's version and are looked up anew when they are read.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from eyeshot.core.graph import Graph
from eyeshot.core.indexing import put
from eyeshot.core.primitives import Input, Shape

__all__ = ["Track", "read", "write"]


class Track:
    """One tensor of the trace: the graph's value that it holds, and what it is a view of.

    ``value`` is None for a constant: a tensor that no input reaches. ``replay`` makes a view's value from
    its parent's. ``foreign`` marks a tensor that was there before the trace, such as a parameter. The owner
    of memory is ``lost`` once its numbers are no longer those that the module would see. ``tensor`` keeps a
    tensor without data alive, so that its identity stays its own; one with data is left to the module.
    """

    __slots__ = (
        "foreign",
        "lost",
        "parent",
        "replay",
        "root",
        "shape",
        "tensor",
        "value",
        "version",
    )

    def __init__(
        self,
        tensor: Any,
        value: int | None,
        parent: Track | None = None,
        replay: Callable[[int], int | None] | None = None,
    ) -> None:
        self.tensor = tensor
        self.shape: Shape = tuple(tensor.shape)
        self.value = value
        self.parent = parent
        self.replay = replay
        self.root: Track = self if parent is None else parent.root
        self.version: int = 0 if parent is None else parent.root.version
        self.foreign = False
        self.lost = False


def read(track: Track) -> int | None:
    """The value that the tensor holds now."""
    root = track.root
    if track.version == root.version:
        return track.value
    assert track.parent is not None and track.replay is not None
    whole = read(track.parent)
    track.value = None if whole is None else track.replay(whole)
    track.version = root.version
    return track.value


def write(graph: Graph, track: Track, value: int | None) -> bool:
    """The tensor now holds ``value`` (None: a constant). False if that could only be bounded."""
    exact = True
    view, new = track, value
    while view.parent is not None:
        owner = view.parent
        old = read(owner)
        if old is None:
            if new is None:
                return True
            old = graph.add(Input(owner.shape))
        if new is None:
            new = graph.add(Input(view.shape))
        assert view.replay is not None
        seen = view.replay(old)
        assert seen is not None
        new, fits = put(graph, old, seen, new)
        exact = exact and fits
        view = owner
    if view.value is None and new is None:
        return True
    view.value = new
    view.version += 1
    view.lost = True
    track.value = value
    track.version = view.version
    return exact
