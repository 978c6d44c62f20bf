"""The report: one frozen, versioned result that every view reads."""

from __future__ import annotations

import difflib
import math
import operator
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NoReturn, overload

from eyeshot.analysis.field import Canvas, Field, Form
from eyeshot.analysis.layer import Layer
from eyeshot.core import canvas as engine
from eyeshot.core.graph import Diagnostic, Graph, LayerMark
from eyeshot.errors import UnknownLayerError

if TYPE_CHECKING:
    from numpy import float64, int64
    from numpy.typing import NDArray

    from eyeshot.analysis.findings import Check
    from eyeshot.analysis.touched import Touched
    from eyeshot.analysis.unit import Unit
    from eyeshot.core.image import Span

__all__ = ["SCHEMA", "Canvas", "Field", "Layer", "Report"]

SCHEMA = "eyeshot.report/1"
#: Exact hulls are kept for reuse up to this many array elements.
KEEP_ELEMENTS = 1 << 25


class Report:
    """What every layer of a network reads of its inputs.

    Index it by layer name or by number (``report[-1]`` is the last layer run); iterate over layers. The name of
    a module that is made of layers, ``report["layer4"]``, gives what comes out of it. ONNX tensors have their
    layer's numbers.
    """

    def __init__(
        self,
        graph: Graph,
        sources: list[engine.Source],
        marks: list[LayerMark],
        title: str = "",
        groups: Sequence[LayerMark] = (),
    ) -> None:
        evaluated = engine.Canvas(graph, sources)
        states = evaluated.run({mark.value for mark in (*marks, *groups)})
        names = {mark.name: k for k, mark in enumerate(marks)}
        self.__dict__.update(
            title=title,
            _graph=graph,
            _sources=sources,
            _marks=marks,
            _names=names,
            _groups={mark.name: mark for mark in groups if mark.name not in names},
            _states=states,
            _axes=[(sources[k], axis) for k, axis in evaluated.axes],
            _layers={},
            _forms={},
            _fields={},
            _image={},
            _walks={},
        )

    title: str
    _graph: Graph
    _sources: list[engine.Source]
    _marks: list[LayerMark]
    _names: dict[str, int]
    _groups: dict[str, LayerMark]
    _states: dict[int, engine.State]
    _axes: list[tuple[engine.Source, int]]
    _layers: dict[int, Layer]
    _forms: dict[int, tuple[Form, ...]]
    _fields: dict[int, tuple[Field, ...]]
    _image: dict[int, Any]
    _walks: dict[str, Any]

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError("a report is frozen")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError("a report is frozen")

    # --- access

    def __len__(self) -> int:
        return len(self._marks)

    def __iter__(self) -> Iterator[Layer]:
        return (self._at(k) for k in range(len(self._marks)))

    def __contains__(self, name: object) -> bool:
        return name in self._names or name in self._groups or name in self._graph.aliases

    @overload
    def __getitem__(self, key: str | int) -> Layer: ...

    @overload
    def __getitem__(self, key: slice) -> tuple[Layer, ...]: ...

    def __getitem__(self, key: str | int | slice) -> Layer | tuple[Layer, ...]:
        if isinstance(key, str):
            if key not in self._names and key not in self._groups:
                key = self._graph.aliases.get(key, key)
            if key in self._groups:
                return self.group(key)
            if key not in self._names:
                names = [*self._names, *self._groups, *self._graph.aliases]
                close = difflib.get_close_matches(key, names[:5000], 1, 0.6)
                hint = f"; did you mean {close[0]!r}?" if close else ""
                raise UnknownLayerError(f"there is no layer {key!r}{hint}")
            return self._at(self._names[key])
        if isinstance(key, slice):
            return tuple([self._at(k) for k in range(len(self._marks))[key]])
        return self._at(range(len(self._marks))[operator.index(key)])

    def _at(self, k: int) -> Layer:
        layer = self._layers.get(k)
        if layer is None:
            layer = self._layers[k] = Layer(self, self._marks[k])
        return layer

    def group(self, name: str) -> Layer:
        """What comes out of the module ``name``, which is itself made of layers."""
        return Layer(self, self._groups[name])

    @property
    def layers(self) -> tuple[Layer, ...]:
        """All layers, in the order they run."""
        return tuple(self)

    @property
    def outputs(self) -> tuple[Layer, ...]:
        """The layers that are the network's outputs."""
        return tuple(self[name] for name in self._graph.outputs if name in self._names)

    @property
    def inputs(self) -> tuple[dict[str, Any], ...]:
        """What fields refer to: name, shape and axes of each input."""
        return tuple(
            {"name": s.name, "shape": list(s.shape), "axes": list(s.axes)} for s in self._sources
        )

    @property
    def status(self) -> str:
        """``exact``, or ``bound`` where some layer's field is only an upper bound."""
        return "bound" if any(layer.status == "bound" for layer in self) else "exact"

    @property
    def diagnostics(self) -> tuple[Diagnostic, ...]:
        """Why fields are bounds."""
        found = [*self._graph.notes, *self._graph.bounds.values()]
        for layer in self if self._large else ():
            for field, raw in zip(layer.fields, layer._state.fields, strict=True):
                if field.status == "bound" and not raw.bound:
                    found.append(
                        Diagnostic(
                            "too-large",
                            layer.name,
                            layer.op,
                            f"axis {field.axis} of {field.input} is too long to look at unit by unit; "
                            "the size is that of the whole axis or less",
                        )
                    )
        return tuple(found)

    # --- single units

    def unit(
        self,
        layer: str | int,
        index: Sequence[int | slice] | int | slice | None = None,
        *,
        weights: Any = None,
        of: str | None = None,
    ) -> Unit:
        """What one unit of ``layer`` reads: its exact set, and how much each element counts.

        ``index``: one number per dim of ``layer.unit_dims``; a slice takes a box of units, united, with a mass
        of 1 between them. ``weights`` instead of it: a mass for every unit, an array over the unit dims.
        Channels and samples are united, as in ``boxes``. ``of``: a layer that stands in the place of the input;
        the mass that avoids it is in :attr:`Unit.elsewhere`.

        Raises :class:`~eyeshot.errors.UnknownLayerError`, IndexError for a unit that does not exist, and
        :class:`~eyeshot.errors.EyeshotError` for weights of another shape.
        """
        from eyeshot.analysis.unit import unit

        return unit(self, layer, index, weights, of)

    def touched(self, box: Any) -> dict[str, Touched]:
        """The inverse: per layer, the units that read any of ``box``, which is a part of the input.

        ``box``: per axis of the input a pair ``(begin, end)``, or one position; with several inputs a mapping
        from names to these. Layers that read nothing of it are left out.
        """
        from eyeshot.analysis.touched import touched

        return touched(self, box)

    # --- coordinates

    def centres(
        self, layers: Any = None, convention: str = "half-pixel", input: str | None = None
    ) -> dict[str, NDArray[float64]]:
        """:meth:`Layer.centres` by layer name.

        ``layers``: names, or a mapping from names to indices; None for all layers with unit dims. So too below.
        """
        from eyeshot.analysis.coordinates import centres, of_layers

        return of_layers(self, layers, lambda at, i: centres(at, i, convention, input))

    def boxes_at(
        self, layers: Any = None, clipped: bool = False, input: str | None = None
    ) -> dict[str, NDArray[int64]]:
        """:meth:`Layer.boxes_at` by layer name."""
        from eyeshot.analysis.coordinates import boxes_at, of_layers

        return of_layers(self, layers, lambda at, i: boxes_at(at, i, clipped, input))

    def nearest(
        self,
        position: Any,
        layers: Any = None,
        convention: str = "half-pixel",
        input: str | None = None,
    ) -> dict[str, NDArray[int64]]:
        """:meth:`Layer.nearest` by layer name."""
        from eyeshot.analysis.coordinates import nearest, of_layers

        return of_layers(self, layers, lambda at, _: nearest(at, position, convention, input))

    def seeing(
        self,
        position: Any,
        layers: Any = None,
        clipped: bool = False,
        convention: str = "half-pixel",
        input: str | None = None,
    ) -> dict[str, NDArray[int64]]:
        """:meth:`Layer.seeing` by layer name."""
        from eyeshot.analysis.coordinates import of_layers, seeing

        return of_layers(
            self, layers, lambda at, _: seeing(at, position, clipped, convention, input)
        )

    def transfer(
        self, index: Any, source: str | int, target: str | int, input: str | None = None
    ) -> NDArray[int64]:
        """The units of layer ``target`` nearest to units of ``source``: int [..., unit dims of the target]."""
        from eyeshot.analysis.coordinates import transfer

        return transfer(self, index, source, target, input)

    # --- the image engine

    @property
    def _large(self) -> bool:
        """Whether some tensor has more elements than are ever looked at one by one."""
        known = self._walks.get("large")
        if known is None:
            from eyeshot.core.image import MAX_ELEMENTS

            largest = max(map(math.prod, self._graph.shapes), default=0)
            known = self._walks["large"] = largest > MAX_ELEMENTS
        return bool(known)

    def _spans(self, value: int) -> Any:
        """The image engine's hulls of ``value``, one per axis; those of the other layers are kept too."""
        if value not in self._image:
            from eyeshot.core.image import Image

            # Layers are mostly asked for in their order: those that follow are kept, as many as fit.
            values = [value, *(mark.value for mark in self._marks if mark.value > value)]
            self._image.clear()
            wanted = {v: self._unit_dims(v) for v in values}
            self._image.update(Image(self._graph, self._sources).run(wanted, KEEP_ELEMENTS))
        return self._image[value]

    def _unit_dims(self, value: int) -> tuple[int, ...]:
        return Layer(self, LayerMark("", "", value)).unit_dims

    def _hulls(self, value: int) -> list[Span | None]:
        return [hulls.total() for hulls in self._spans(value)]

    # --- exports

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON values; the schema ships as ``eyeshot/schema/report-1.json``."""
        return {
            "schema": SCHEMA,
            "status": self.status,
            "inputs": list(self.inputs),
            "layers": [layer.to_dict() for layer in self],
            "diagnostics": [d._asdict() for d in self.diagnostics],
        }

    def to_json(self, indent: int | None = None) -> str:
        """JSON text of :meth:`to_dict`."""
        import json

        return json.dumps(self.to_dict(), indent=indent, ensure_ascii=False, allow_nan=False)

    def to_csv(self) -> str:
        """A table with one row per layer and axis."""
        from eyeshot.views.export import to_csv

        return to_csv(self)

    def to_markdown(self) -> str:
        """The terminal's table as Markdown."""
        from eyeshot.views.export import to_markdown

        return to_markdown(self)

    def to_pandas(self) -> Any:
        """A pandas DataFrame with one row per layer and axis. Needs pandas."""
        from eyeshot.views.export import to_pandas

        return to_pandas(self)

    def to_html(
        self,
        *,
        check: Check | bool = True,
        image: Any = None,
        rate: float | None = None,
        title: str | None = None,
    ) -> str:
        """The report as a web page in one file, to look at: the text of an HTML document.

        It asks no network for anything. ``check``: the findings to show beside the layers; True looks for them,
        False leaves them out. ``image``: a path, a Pillow image or an array [rows, columns] or [rows, columns,
        channels], drawn behind an input with two axes. ``rate``: samples a second, where an axis is time.
        ``title``: instead of the report's own.

        Raises :class:`~eyeshot.errors.EyeshotError` for an image or a rate that can't be used.
        """
        from eyeshot.views.web.write import to_html

        return to_html(self, check, image, rate, title)

    def __str__(self) -> str:
        from eyeshot.views.terminal import to_text

        return to_text(self)

    def __repr__(self) -> str:
        shown = ", ".join(f"{s.name} {'x'.join(map(str, s.shape))}" for s in self._sources)
        return f"<eyeshot.Report of {len(self)} layer{'s' * (len(self) != 1)}, input {shown}, {self.status}>"

    def _repr_html_(self) -> str:
        from eyeshot.views.export import to_html

        return to_html(self)
