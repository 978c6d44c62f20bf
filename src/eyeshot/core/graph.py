"""The graph that every frontend builds: primitives in the order they run, and named layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from eyeshot.core.primitives import Input, Primitive, Shape, text, verify
from eyeshot.errors import EyeshotError

__all__ = ["Diagnostic", "Graph", "LayerMark"]


class Diagnostic(NamedTuple):
    """A stable ``code``, the layer and operator it concerns, and one sentence for people."""

    code: str
    layer: str
    op: str
    message: str


class LayerMark(NamedTuple):
    """A named tensor of the network: layer ``name``, made by operator ``op``, is ``value``."""

    name: str
    op: str
    value: int


class Graph:
    """Values numbered from 0 in the order they are made; value ``v`` is ``prims[v]`` of ``inputs[v]``.

    ``bounds`` maps a value to the diagnostic that says why what it reads is only bounded from above;
    ``notes`` are diagnostics that concern no value. ``groups`` name what comes out of a module that is
    itself made of layers. ``paths`` says of layers by name where in modules they lie, if their names don't.
    """

    def __init__(self) -> None:
        self.prims: list[Primitive] = []
        self.inputs: list[tuple[int, ...]] = []
        self.shapes: list[Shape] = []
        self.layers: list[LayerMark] = []
        self.outputs: list[str] = []
        self.bounds: dict[int, Diagnostic] = {}
        self.notes: list[Diagnostic] = []
        self.groups: list[LayerMark] = []
        self.paths: dict[str, str] = {}
        #: Makes other names that layers and groups go by, if there are any.
        self.renamed: Callable[[], Mapping[str, str]] = dict
        self._aliases: Mapping[str, str] | None = None

    def add(self, prim: Primitive, *inputs: int) -> int:
        """Append ``prim`` of ``inputs`` and return its value's number."""
        shapes = self.shapes
        shape = prim.out_shape([shapes[v] for v in inputs])
        self.prims.append(prim)
        self.inputs.append(inputs)
        shapes.append(shape)
        return len(shapes) - 1

    def mark(self, name: str, op: str, value: int) -> None:
        """Name ``value`` as a layer."""
        self.layers.append(LayerMark(name, op, value))

    def group(self, name: str, op: str, value: int) -> None:
        """Name ``value`` as what comes out of a module made of layers."""
        self.groups.append(LayerMark(name, op, value))

    @property
    def aliases(self) -> Mapping[str, str]:
        """Other names that layers and groups go by, made when first asked for."""
        if self._aliases is None:
            self._aliases = self.renamed()
        return self._aliases

    @property
    def sources(self) -> list[int]:
        """The values that are inputs of the network."""
        return [
            v for v, prim in enumerate(self.prims) if type(prim) is Input and prim.name is not None
        ]

    def verify(self) -> None:
        """Check every primitive against its inputs, and the names. A fault is the frontend's."""
        shapes = self.shapes
        for v, (prim, inputs) in enumerate(zip(self.prims, self.inputs, strict=True)):
            for i in inputs:
                if not 0 <= i < v:
                    raise EyeshotError(
                        f"graph: value {v} reads value {i}, which is not made before it"
                    )
            # Its shape needs no check: `add` had it from the primitive.
            fault = verify(prim, [shapes[i] for i in inputs], shapes[v])
            if fault:
                raise EyeshotError(f"graph: value {v}, {type(prim).__name__}, {fault}")
        names = [mark.name for mark in self.layers]
        if len(set(names)) != len(names):
            raise EyeshotError("graph: two layers share a name")
        missing = set(self.outputs) - set(names)
        if missing:
            raise EyeshotError(f"graph: outputs {sorted(missing)} are no layers")


def shape_text(shape: Shape) -> str:
    """``1x3x224x224``."""
    return text([shape])
