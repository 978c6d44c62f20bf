"""From a spec's plain values to a graph. Every fault is one line that begins with its place."""

from __future__ import annotations

import difflib
import math
import operator
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NoReturn, get_args, get_type_hints

import msgspec

from eyeshot.core.graph import Diagnostic, Graph, shape_text
from eyeshot.core.primitives import MAX_SIZE, Input, Join, Shape
from eyeshot.errors import EyeshotError, FieldError, SpecError
from eyeshot.frontends.spec.operators import OPERATORS, Opaque, Operator, Window

__all__ = ["InputSizes", "build"]

InputSizes = int | str | Sequence[int] | Mapping[str, "int | str | Sequence[int]"]
MAX_LAYERS = 200_000
MAX_DIMS = 16
TOP = ("name", "description", "axes", "input", "inputs", "layers", "outputs")


def build(spec: Any, sizes: InputSizes | None = None, where: str = "spec") -> Graph:
    """The graph of ``spec`` at input ``sizes``; ``where`` names the spec in messages.

    ``spec`` is the value that a spec file holds: the full form, or ``{name: [kernel, stride, padding]}``.
    Raises :class:`SpecError`.
    """
    if not isinstance(spec, Mapping):
        raise SpecError(f"{where}: expected a mapping of layers, got {_kind(spec)}")
    if "layers" in spec and not isinstance(spec["layers"], Mapping | list | tuple):
        raise SpecError(
            f"{where}: layers: expected a mapping or a list, got {_kind(spec['layers'])}"
        )
    full = "layers" in spec and not _is_window(spec["layers"])
    builder = _Builder(where)
    if full:
        for key in spec:
            if key not in TOP:
                builder.fail("", f"unknown field {_show(key)}{_near(key, TOP)}")
        for key in ("name", "description"):
            if not isinstance(spec.get(key, ""), str):
                builder.fail(key, f"expected a text, got {_kind(spec[key])}")
        layers = builder.entries(spec["layers"], "layers")
        prefix = "layers."
    else:
        for key, value in spec.items():
            if isinstance(value, Mapping) and "op" not in value and _near(key, ("layers",)):
                builder.fail("", f"unknown field {_show(key)}; did you mean 'layers'?")
        layers = builder.entries(spec, "")
        prefix = ""
    builder.prefix = prefix
    builder.short = not full
    declared = spec.get("axes") if full else None
    if declared is not None and (
        isinstance(declared, bool) or not isinstance(declared, int) or not 1 <= declared <= MAX_DIMS
    ):
        builder.fail("axes", f"expected a whole number from 1 to {MAX_DIMS}, got {declared!r}")
    if not layers:
        raise SpecError(f"{where}: there are no layers")
    if len(layers) > MAX_LAYERS:
        raise SpecError(
            f"{where}: {len(layers)} layers are more than {MAX_LAYERS}, the most for a spec"
        )
    defaults = builder.defaults(spec) if full else {}
    builder.inputs(defaults, sizes, declared)
    builder.layers(layers)
    builder.outputs(spec.get("outputs") if full else None, [name for name, _ in layers])
    builder.graph.verify()
    return builder.graph


def _axes(count: int) -> str:
    return "axis" if count == 1 else "axes"


def _count(shape: Any) -> int:
    """How many numbers a shape is written with."""
    return len(shape) if isinstance(shape, list | tuple) else len(re.split(r"[x×,]", str(shape)))


def _is_window(value: Any) -> bool:
    """Whether a layer called "layers" is meant: a short-form stack may name it so."""
    return (
        isinstance(value, list | tuple)
        and len(value) == 3
        and all(isinstance(n, int) for n in value)
    )


def _kind(value: Any) -> str:
    match value:
        case None:
            return "nothing"
        case bool():
            return "a truth value"
        case int() | float():
            return "a number"
        case str():
            return "a text"
        case list() | tuple():
            return "a list" if value else "an empty list"
        case Mapping():
            return "a mapping" if value else "an empty mapping"
    return type(value).__name__


def _native(value: Any, depth: int = 3) -> Any:
    """The same value with integers of other libraries (NumPy's) as Python's; no field nests deeper."""
    if isinstance(value, list | tuple) and depth:
        return [_native(entry, depth - 1) for entry in value]
    if hasattr(value, "__index__") and not isinstance(value, bool):
        return operator.index(value)
    return value


def _near(name: Any, names: Iterable[str]) -> str:
    if not isinstance(name, str):
        return ""
    close = difflib.get_close_matches(name, list(names), 1, 0.6)
    return f"; did you mean {close[0]!r}?" if close else ""


def _show(value: Any) -> str:
    try:
        out = repr(value)
    except (ValueError, RecursionError):  # an int of too many digits, a list in a list in a list …
        out = f"{'a huge number' if isinstance(value, int) else _kind(value)}"
    return out if len(out) <= 60 else f"{out[:57]}..."


def _odd(name: str) -> str:
    """What is wrong with a name, or nothing: names go to terminals, files and other programs."""
    if not name:
        return "a name may not be empty"
    if not name.isprintable():
        for char in name:
            if unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp"):
                return f"a name may not hold control characters, got {_cut(name)!a}"
    return ""


def _cut(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}..."


class _Builder:
    def __init__(self, where: str) -> None:
        self.where = where
        self.prefix = ""
        self.short = False
        self.graph = Graph()
        self.values: dict[str, int] = {}
        self.read: set[str] = set()

    def fail(self, place: str, why: str) -> NoReturn:
        raise SpecError(f"{self.where}: {place}: {why}" if place else f"{self.where}: {why}")

    # --- the outline

    def entries(self, layers: Any, place: str) -> list[tuple[str, Any]]:
        """(name, layer) in the order of the file."""
        if isinstance(layers, Mapping):
            for name in layers:
                if not isinstance(name, str):
                    hint = " (quote it)" if isinstance(name, bool | int | float) else ""
                    self.fail(place, f"a layer's name must be a text, got {_show(name)}{hint}")
                if odd := _odd(name):
                    self.fail(place, odd)
            return list(layers.items())
        out: list[tuple[str, Any]] = []
        seen: set[str] = set()
        for k, layer in enumerate(layers):
            if not isinstance(layer, Mapping):
                self.fail(f"{place}[{k}]", f"expected a mapping with a name, got {_kind(layer)}")
            name = layer.get("name")
            if not isinstance(name, str):
                self.fail(f"{place}[{k}].name", f"expected a text, got {_kind(name)}")
            if odd := _odd(name):
                self.fail(f"{place}[{k}].name", odd)
            if name in seen:
                self.fail(f"{place}[{k}].name", f"{name!r} is there twice")
            seen.add(name)
            out.append((name, {key: value for key, value in layer.items() if key != "name"}))
        return out

    def defaults(self, spec: Mapping[str, Any]) -> dict[str, Any]:
        """Spec inputs and their default sizes (None where there is none)."""
        if "input" in spec and "inputs" in spec:
            self.fail("inputs", "give either input or inputs")
        if "inputs" not in spec:
            return {"input": spec.get("input")}
        given = spec["inputs"]
        if not isinstance(given, Mapping) or not given:
            self.fail("inputs", f"expected a mapping from name to shape, got {_kind(given)}")
        for name in given:
            if not isinstance(name, str):
                self.fail("inputs", f"an input's name must be a text, got {_show(name)}")
            if odd := _odd(name):
                self.fail("inputs", odd)
        return dict(given)

    def inputs(self, defaults: dict[str, Any], sizes: InputSizes | None, axes: int | None) -> None:
        defaults = defaults or {"input": None}
        given: dict[str, Any] = {}
        if isinstance(sizes, Mapping):
            for name in sizes:
                if name not in defaults:
                    raise EyeshotError(
                        f"input {name!r}: {self.where} has no such input{_near(name, defaults)}"
                    )
            given = dict(sizes)
        elif sizes is not None:
            if len(defaults) > 1:
                raise EyeshotError(
                    f"input: {self.where} has {len(defaults)} inputs ({', '.join(defaults)}); "
                    "give a size by name for each"
                )
            given = dict.fromkeys(defaults, sizes)
        for name, default in defaults.items():
            place = "input" if list(defaults) == ["input"] else f"inputs.{name}"
            shape = None
            if default is not None:
                shape = self.shape(default, axes, False, f"{self.where}: {place}")
                if (
                    axes is not None
                    and not isinstance(default, int)
                    and len(shape) == _count(default)
                ):
                    self.fail(
                        place,
                        f"{_show(default)} does not fit a spec of {axes} {_axes(axes)}: a shape "
                        "lists the channels, then the axes",
                    )
            if name in given:
                label = "input" if len(defaults) == 1 else f"input {name}"
                wanted = axes if shape is None else len(shape) - 2
                batched = not isinstance(given[name], str)
                shape = self.shape(given[name], wanted, batched, label, (shape or (1, 1))[1])
            if shape is None:
                raise EyeshotError(
                    f"{self.where}: the size of {name} is not known; give one (--input 3x224x224, "
                    "or input: in the spec)"
                )
            prim = Input(shape, name, tuple(range(2, len(shape))))
            self.values[name] = self.graph.add(prim)

    def shape(
        self, value: Any, axes: int | None, batched: bool, place: str, channels: int = 1
    ) -> Shape:
        """A whole tensor shape from what people write: 227, 3x224x224, (1, 3, 224, 224).

        Where the number of ``axes`` is known, one number stands for every axis, and what is missing before
        the axes is the batch (1), or batch and ``channels``. Otherwise a text or a spec's own shape begins
        with the channels, and a tuple is a whole tensor's.
        """
        numbers: list[Any]
        if isinstance(value, str):
            parts = re.split(r"[x×,]", value.strip())
            if not all(re.fullmatch(r"\s*\d{1,15}\s*", part) for part in parts):
                raise SpecError(f"{place}: expected a shape like 3x224x224, got {_show(value)}")
            numbers = [int(part) for part in parts]
        elif isinstance(value, list | tuple):
            numbers = [_native(n) for n in value]
        elif isinstance(_native(value), int) and not isinstance(value, bool):
            numbers = [_native(value)]
        else:
            raise SpecError(f"{place}: expected a shape like 3x224x224, got {_kind(value)}")
        for n in numbers:
            if isinstance(n, bool) or not isinstance(n, int) or not 1 <= n <= MAX_SIZE:
                raise SpecError(
                    f"{place}: a size must be a whole number from 1 to 2^40, got {_show(n)}"
                )
        count = len(numbers)
        if not 1 <= count <= MAX_DIMS:
            raise SpecError(f"{place}: a shape of {count} numbers")
        if axes is None:
            # The short form knows no channels, so two numbers are two axes there. A tuple is a whole tensor's
            # shape, unless its batch would not be 1.
            bare = count == 1 or (count == 2 and (batched or self.short))
            missing = 2 if bare else int(not batched or numbers[0] != 1)
        else:
            shown = "x".join(map(str, numbers))
            if count == 1:
                numbers = numbers * axes
            missing = axes + 2 - len(numbers)
            if not 0 <= missing <= 2:
                raise SpecError(f"{place}: {shown} does not fit a spec of {axes} {_axes(axes)}")
        return ((), (1,), (1, channels))[missing] + tuple(numbers)

    # --- the layers

    def layers(self, layers: list[tuple[str, Any]]) -> None:
        names = {name for name, _ in layers}
        for name in self.values:
            if name in names:
                self.fail(f"{self.prefix}{name}", "is also the name of an input")
        previous = next(iter(self.values))
        jobs: list[tuple[str, Any, list[str]]] = []
        late = False
        seen = set(self.values)
        for name, layer in layers:
            reads = [previous]
            if isinstance(layer, Mapping) and "inputs" in layer:
                reads = self.reads(name, layer["inputs"], names)
            late = late or any(read not in seen for read in reads)
            seen.add(name)
            jobs.append((name, layer, reads))
            self.read.update(reads)
            previous = name
        if late:
            jobs = self.ordered(jobs)
        graph, values = self.graph, self.values
        for name, layer, reads in jobs:
            struct, op = self.operator(name, layer)
            inputs = [values[read] for read in reads]
            low, high = struct.arity
            if not low <= len(inputs) <= high:
                most = "" if high == low else " or more" if high == math.inf else f" to {high}"
                self.fail(
                    f"{self.prefix}{name}.inputs",
                    f"{op} reads {low}{most} tensor{'s' if (low, high) != (1, 1) else ''}, got {len(inputs)}",
                )
            before = len(graph.shapes)
            try:
                value = struct.build(graph, inputs)
            except FieldError as error:
                place = (
                    f"{self.prefix}{name}.{error.field}" if error.field else f"{self.prefix}{name}"
                )
                self.fail(place, error.why)
            if max(graph.shapes[value], default=1) > MAX_SIZE:
                self.fail(
                    f"{self.prefix}{name}",
                    f"gives a tensor of {shape_text(graph.shapes[value])}; "
                    "a size may be at most 2^40",
                )
            if value < before:
                # Nothing to do; still a tensor of its own, which `of=` can name apart from its input.
                value = graph.add(Join(), value)
            if type(struct) is Opaque:
                op = struct.function
                if odd := _odd(op):
                    self.fail(f"{self.prefix}{name}.function", odd)
                graph.bounds[value] = Diagnostic(
                    "unknown-op",
                    name,
                    op,
                    f"what {op} reads is not known; it is taken to read everything",
                )
            values[name] = value
            graph.mark(name, op, value)

    def reads(self, name: str, given: Any, names: set[str]) -> list[str]:
        place = f"{self.prefix}{name}.inputs"
        reads = [given] if isinstance(given, str) else given
        if not isinstance(reads, list | tuple) or not reads:
            self.fail(place, f"expected a name or a list of names, got {_kind(given)}")
        for read in reads:
            if not isinstance(read, str) or (read not in names and read not in self.values):
                known = [*self.values, *names] if len(names) < 5000 else self.values
                self.fail(place, f"there is no layer {_show(read)}{_near(read, known)}")
        return list(reads)

    def ordered(self, jobs: list[tuple[str, Any, list[str]]]) -> list[tuple[str, Any, list[str]]]:
        """Jobs after those that they read, in the order of the file where that allows."""
        byname = {job[0]: job for job in jobs}
        begun: set[str] = set()
        done: set[str] = set()
        out: list[tuple[str, Any, list[str]]] = []
        for start, _, _ in jobs:
            stack = [] if start in done else [(start, iter(byname[start][2]))]
            begun.add(start)
            while stack:
                name, rest = stack[-1]
                for read in rest:
                    if read not in byname or read in done:
                        continue
                    if read in begun:
                        path = [name for name, _ in stack]
                        loop = path[path.index(read) :]
                        shown = " → ".join([*loop[:6], *(["…"] if len(loop) > 6 else []), read])
                        self.fail(f"{self.prefix}{name}.inputs", f"a cycle: {shown}")
                    begun.add(read)
                    stack.append((read, iter(byname[read][2])))
                    break
                else:
                    done.add(name)
                    out.append(byname[name])
                    stack.pop()
        return out

    def operator(self, name: str, layer: Any) -> tuple[Operator, str]:
        """The checked parameters of one layer, and its operator's name."""
        place = f"{self.prefix}{name}"
        if isinstance(layer, list | tuple):
            if len(layer) != 3:
                self.fail(place, f"expected [kernel, stride, padding], got {len(layer)} values")
            kernel, stride, padding = layer
            if (
                type(kernel) is type(stride) is type(padding) is int
                and 1 <= kernel <= MAX_SIZE
                and 1 <= stride <= MAX_SIZE
                and 0 <= padding <= MAX_SIZE
            ):
                return Window(kernel, stride, padding), "window"
            layer = {"kernel": kernel, "stride": stride, "padding": padding}
            return self.convert(place, layer, Window, "window"), "window"
        if isinstance(layer, str):
            layer = {"op": layer}
        if not isinstance(layer, Mapping):
            self.fail(
                place,
                f"expected an operator, {{op: …}} or [kernel, stride, padding], got {_kind(layer)}",
            )
        op: Any = layer.get("op")
        if "op" not in layer:
            self.fail(
                f"{place}.op", f"is missing{_near('op', [k for k in layer if isinstance(k, str)])}"
            )
        struct = OPERATORS.get(op) if isinstance(op, str) else None
        if struct is None:
            self.fail(f"{place}.op", f"unknown operator {_show(op)}{_near(op, OPERATORS)}")
        fields = {key: value for key, value in layer.items() if key not in ("op", "inputs")}
        return self.convert(place, fields, struct, op), op

    def convert(
        self, place: str, fields: dict[Any, Any], struct: type[Operator], op: str
    ) -> Operator:
        known = struct.__struct_fields__
        for key in fields:
            if key not in known:
                options = [*known, "op", "inputs"]
                near = _near(key, options) or f"; {op} takes {', '.join(known) or 'none'}"
                self.fail(place, f"unknown field {_show(key)}{near}")
        try:
            try:
                return msgspec.convert(fields, struct)
            except msgspec.ValidationError:
                # NumPy's integers are as good; they are looked for only where something did not fit.
                fields = {key: _native(value) for key, value in fields.items()}
                return msgspec.convert(fields, struct)
        except msgspec.ValidationError as error:
            problem, _, path = str(error).partition(" - at `$")
            path = path.rstrip("`")
            missing = re.fullmatch(r"Object missing required field `(\w+)`", problem)
            if missing:
                self.fail(f"{place}.{missing[1]}", f"{op} needs it")
            value: Any = fields
            for part in re.findall(r"\.(\w+)|\[(\d+)\]", path):
                value = value[part[0]] if part[0] else value[int(part[1])]
            if problem.startswith("Invalid enum value"):
                words = get_args(get_type_hints(struct)[path.lstrip(".")])
                problem = f"expected one of {', '.join(words)}"
                near = _near(value, words)
                self.fail(f"{place}{path}", f"{problem}; got {_show(value)}{near}")
            self.fail(f"{place}{path}", f"{_plain(problem)}, got {_show(value)}")

    def outputs(self, given: Any, order: list[str]) -> None:
        graph = self.graph
        names = {mark.name for mark in graph.layers}
        if given is None:
            graph.outputs = [name for name in order if name not in self.read]
            return
        if isinstance(given, str):
            given = [given]
        if not isinstance(given, list | tuple) or not given:
            self.fail("outputs", f"expected a list of layers, got {_kind(given)}")
        for name in given:
            if not isinstance(name, str) or name not in names:
                self.fail("outputs", f"there is no layer {_show(name)}{_near(name, names)}")
        graph.outputs = list(given)


def _plain(problem: str) -> str:
    """msgspec's words for people who don't write Python."""
    problem = problem.replace("`int`", "a whole number").replace("`float`", "a number")
    problem = (
        problem.replace("`str`", "a text")
        .replace("`array`", "a list")
        .replace("`bool`", "true or false")
    )
    problem = re.sub(
        r"`(int|float|str|array|bool|null)( \| (?:int|float|str|array|bool|null))+`",
        _union,
        problem,
    )
    problem = re.sub(r", got .*$", "", problem)
    problem = problem.replace(f"<= {MAX_SIZE}", "of at most 2^40")
    problem = problem.replace(f">= {-MAX_SIZE}", "of at least -2^40")
    problem = problem.replace(" >= ", " of at least ").replace(" <= ", " of at most ")
    return problem[:1].lower() + problem[1:]


def _union(match: re.Match[str]) -> str:
    words = {
        "int": "a whole number",
        "float": "a number",
        "str": "a text",
        "array": "a list",
        "bool": "true or false",
    }
    kinds = [words[kind] for kind in match[0].strip("`").split(" | ") if kind in words]
    return " or ".join(dict.fromkeys(kinds))
