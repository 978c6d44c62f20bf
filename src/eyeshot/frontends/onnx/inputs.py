"""What the model is given: the sizes of its inputs' dims, by input or by dim name, and which dims are axes."""

from __future__ import annotations

import math
import operator
import re
import reprlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from onnx import GraphProto, TensorProto, TypeProto, ValueInfoProto, helper

from eyeshot.core.primitives import MAX_SIZE
from eyeshot.errors import EyeshotError
from eyeshot.frontends.onnx.calls import MAX_RANK

__all__ = ["Form", "Parts", "Slot", "bind", "fields_along", "sources"]

#: A dim as the file has it: a size, a name, or nothing known.
Dim = int | str | None

FLOATS = frozenset(
    [TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16,
     TensorProto.COMPLEX64, TensorProto.COMPLEX128, 0]
)  # fmt: skip
#: What images are stored as: with four dims a channel is among them.
BYTES = frozenset([TensorProto.UINT8, TensorProto.INT8])


#: So many inputs or dims are told of in a message.
MANY = 6


class Slot(NamedTuple):
    """One input of the model. ``numbers``: those that the user gave."""

    name: str
    shape: tuple[int, ...]
    dtype: int
    numbers: np.ndarray[Any, Any] | None = None


class Parts(NamedTuple):
    """A sequence, or what may be missing (``optional``), made of these."""

    optional: bool
    items: tuple[Any, ...]


#: What an input is made of: a tensor by its name, or parts.
Form = str | Parts


def sources(graph: GraphProto) -> list[ValueInfoProto]:
    """The inputs that are no weights: files up to IR version 3 list those too."""
    weights = {t.name for t in graph.initializer}
    weights.update(t.values.name for t in graph.sparse_initializer)
    return [i for i in graph.input if i.name not in weights]


def bind(graph: GraphProto, input: Any) -> tuple[list[Slot], dict[str, int], dict[str, Form]]:
    """The tensors that go in with all sizes known, the size of each named dim, and what each input is made of.

    ``input``: a shape as a text (``1x3x?x?``, ? for what the file says), a sequence, one number for the size of
    every axis that the file leaves open, an array; a list of these, one an input; or a mapping from names of
    inputs to these, and from names of dims to sizes. A sequence takes a list of them, an item each, which go by
    ``name[0]``, ``name[1]`` …; an optional input may be None.
    """
    infos = sources(graph)
    declared = {info.name: _declared(info) for info in infos}
    if not infos:
        raise EyeshotError("the model has no inputs")
    given, symbols = _given(input, infos, declared)
    infos, given, forms = _leaves(infos, given)
    declared = {info.name: _declared(info) for info in infos}
    shapes: dict[str, list[Dim]] = {}
    for info in infos:
        shapes[info.name] = _shape(info.name, declared[info.name], given.get(info.name))
    # A name stands for one size wherever it occurs.
    for name, shape in shapes.items():
        for k, dim in enumerate(declared[name] or ()):
            n = shape[k] if k < len(shape) else None
            if not dim or not isinstance(dim, str) or not isinstance(n, int):
                continue
            if symbols.setdefault(dim, n) != n:
                raise EyeshotError(
                    f"input {name}: dim {k}, {dim!r}, is {n}, but elsewhere {symbols[dim]}"
                )
    slots, missing = [], []
    for info in infos:
        shape = [symbols.get(d, d) if isinstance(d, str) else d for d in shapes[info.name]]
        unknown = [k for k, d in enumerate(shape) if not isinstance(d, int)]
        if unknown:
            missing.append((info.name, shapes[info.name], unknown))
            continue
        sizes = tuple(d for d in shape if isinstance(d, int))
        if len(sizes) > MAX_RANK:
            raise EyeshotError(f"input {info.name} has {len(sizes)} dims, more than {MAX_RANK}")
        value = given.get(info.name)
        numbers = np.asarray(value) if hasattr(value, "__array__") else None
        if numbers is not None:  # a batch of 1 may be left out
            whole = numbers.size == math.prod(sizes) and numbers.dtype.kind in "biuf"
            numbers = numbers.reshape(sizes) if whole else None
        for k, n in enumerate(sizes):
            if not 0 < n <= MAX_SIZE and (n or not hasattr(value, "__array__")):
                raise EyeshotError(
                    f"input {info.name}: dim {k} has size {n}, outside 1 … {MAX_SIZE}"
                )
        slots.append(Slot(info.name, sizes, info.type.tensor_type.elem_type, numbers))
    if missing:
        raise EyeshotError(_missing(missing))
    return slots, symbols, forms


def _leaves(
    infos: list[ValueInfoProto], given: dict[str, Any]
) -> tuple[list[ValueInfoProto], dict[str, Any], dict[str, Form]]:
    """The tensors that inputs are made of, and what is said of each."""
    leaves: list[ValueInfoProto] = []
    values: dict[str, Any] = {}

    def unpacked(name: str, kind: TypeProto, value: Any) -> Form:
        what = kind.WhichOneof("value")
        if what == "optional_type":
            inner = None if value is None else unpacked(name, kind.optional_type.elem_type, value)
            return Parts(True, () if inner is None else (inner,))
        if what == "sequence_type":
            if not isinstance(value, (list, tuple)):
                raise EyeshotError(
                    f"input {name} is a sequence; give a list of what is in it, such as [(1, 3, 8, 8)]"
                )
            item = TypeProto()
            item.CopyFrom(kind.sequence_type.elem_type)
            for dim in item.tensor_type.shape.dim:  # a name stands for another size in each item
                dim.ClearField("dim_param")
            return Parts(
                False, tuple(unpacked(f"{name}[{k}]", item, v) for k, v in enumerate(value))
            )
        leaves.append(helper.make_value_info(name, kind))
        if value is not None:
            values[name] = value
        return name

    forms = {info.name: unpacked(info.name, info.type, given.get(info.name)) for info in infos}
    return leaves, values, forms


def _declared(info: ValueInfoProto) -> list[Dim] | None:
    """The dims as the file has them; None if not even their number is known."""
    kind = info.type.WhichOneof("value")
    if kind in ("sequence_type", "optional_type"):
        return None
    if kind not in ("tensor_type", None):
        raise EyeshotError(f"input {info.name} is no tensor but a {kind.removesuffix('_type')}")
    if not info.type.tensor_type.HasField("shape"):
        return None
    dims: list[Dim] = []
    for dim in info.type.tensor_type.shape.dim:
        if dim.HasField("dim_value") and dim.dim_value > 0:
            dims.append(dim.dim_value)
        elif dim.HasField("dim_value") and dim.dim_value < -1:
            raise EyeshotError(f"input {info.name}: a dim has size {dim.dim_value}")
        else:
            dims.append(dim.dim_param or None)
    return dims


def _text(dims: Sequence[Dim] | None) -> str:
    if dims is None:
        return "of unknown shape"
    return "x".join("?" if d is None else str(d) for d in dims) or "scalar"


def _missing(inputs: Sequence[tuple[str, list[Dim], list[int]]]) -> str:
    """What to give for these inputs: the dims that they share by name, once."""
    if len(inputs) == 1:
        return _asked(*inputs[0])
    names = {dims[k]: None for _, dims, unknown in inputs for k in unknown}
    if None in names:
        told = [_asked(*one) for one in inputs[:MANY]]
        return "; ".join(told) + (f"; and {len(inputs) - MANY} more" if inputs[MANY:] else "")
    whole = ", ".join(f"{name} is {_text(dims)}" for name, dims, _ in inputs[:MANY])
    more = f", and {len(inputs) - MANY} more" if inputs[MANY:] else ""
    options = " ".join(f"{n}=…" for n in [*names][:MANY]) + (" …" if len(names) > MANY else "")
    name, dims, _ = inputs[0]
    return f"input {whole}{more}: give {options}, or whole shapes, such as {name}={_filled(dims)}"


def _filled(dims: Sequence[Dim]) -> str:
    """A shape such as these might be."""
    return "x".join(
        str(d) if isinstance(d, int) else "224" if k > 1 else "1" for k, d in enumerate(dims)
    )


def _asked(name: str, dims: Sequence[Dim], unknown: list[int]) -> str:
    """What to give, in the words in which to give it."""
    names = [str(dims[k]) for k in unknown if isinstance(dims[k], str)]
    filled = _filled(dims)
    what = f"input {name} is {_text(dims)}: "
    if len(names) == len(unknown):
        options = " ".join(f"{n}=…" for n in dict.fromkeys(names))
        return f"{what}give {options}, or the whole shape, such as {name}={filled}"
    return f"{what}give its shape, such as {name}={filled}"


def _given(
    input: Any, infos: list[ValueInfoProto], declared: Mapping[str, list[Dim] | None]
) -> tuple[dict[str, Any], dict[str, int]]:
    """What the user says of each input, and of each named dim."""
    names = [info.name for info in infos]
    if input is None:
        return {}, {}
    if isinstance(input, Mapping):
        known = {d for dims in declared.values() for d in dims or () if isinstance(d, str)}
        given, symbols = {}, {}
        for key, value in input.items():
            if key in declared:
                given[key] = value
            elif key in known:
                symbols[key] = _size(key, value)
            else:
                dims = f"; dims: {', '.join(sorted(known))}" if known else ""
                raise EyeshotError(
                    f"input: the model has no input or dim {key!r} (inputs: {', '.join(names)}{dims})"
                )
        return given, symbols
    if len(names) == 1 and infos[0].type.WhichOneof("value") in ("sequence_type", "optional_type"):
        return {names[0]: input}, {}
    if isinstance(input, (list, tuple)) and any(_whole(x) for x in input):
        if len(input) != len(names):
            raise EyeshotError(
                f"input: {len(input)} shapes for {len(names)} inputs ({', '.join(names)})"
            )
        return dict(zip(names, input, strict=True)), {}
    if len(names) > 1:
        open_ = {d: None for dims in declared.values() for d in dims or () if isinstance(d, str)}
        sizes = f", or sizes of their dims: {' '.join(f'{d}=…' for d in open_)}" if open_ else ""
        raise EyeshotError(
            f"input: the model has several inputs ({', '.join(names)}); give each as NAME=SHAPE{sizes}"
        )
    return {names[0]: input}, {}


def _whole(x: Any) -> bool:
    """Whether this is an input of its own, and not a dim of one."""
    return (
        isinstance(x, (list, tuple, Mapping))
        or (isinstance(x, str) and x != "?")
        or bool(np.ndim(x))
    )


def _dim_like(n: Any) -> bool:
    return n is None or n == "?" or (hasattr(n, "__index__") and getattr(n, "ndim", 0) == 0)


def _size(name: str, value: Any) -> int:
    if isinstance(value, str) and re.fullmatch(r"\s*\d{1,18}\s*", value):
        value = int(value)
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise EyeshotError(f"input: dim {name!r} takes one size, got {reprlib.repr(value)}")
    return operator.index(value)


def _shape(name: str, declared: list[Dim] | None, value: Any) -> list[Dim]:
    """The dims of one input, those left open as the file has them."""
    if value is None:
        if declared is None:
            raise EyeshotError(
                f"input {name}: its shape is not known; give it as {name}=1x3x224x224"
            )
        return declared
    if isinstance(value, str):
        text = value.strip()
        if (
            not re.fullmatch(r"(-?\d{1,18}|\?)(\s*[x×,]\s*(-?\d{1,18}|\?))*", text)
            or len(text) > 1000
        ):
            raise EyeshotError(
                f"input {name}: expected a shape such as 1x3x224x224, got {reprlib.repr(value)}"
            )
        parts = re.split(r"\s*[x×,]\s*", text)
        value = [None if p == "?" else int(p) for p in parts]
        if len(value) == 1 and value[0] is not None:
            value = value[0]
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        value = tuple(value.shape)
    elif not isinstance(value, (list, tuple)) and _dim_like(value) and value is not None:
        return _square(name, declared, operator.index(value))
    if not isinstance(value, (list, tuple)) or not all(_dim_like(n) for n in value):
        raise EyeshotError(
            f"input {name}: expected a shape such as (1, 3, 224, 224), got {reprlib.repr(value)}"
        )
    dims: list[Dim] = [None if n is None or n == "?" else operator.index(n) for n in value]
    if declared is None:
        return dims
    if len(dims) == len(declared) - 1:
        dims = [declared[0] if isinstance(declared[0], int) else 1, *dims]
    if len(dims) != len(declared):
        raise EyeshotError(f"input {name} is {_text(declared)}; {_text(dims)} has {len(dims)} dims")
    return [old if new is None else new for old, new in zip(declared, dims, strict=True)]


def _square(name: str, declared: list[Dim] | None, n: int) -> list[Dim]:
    """One number: the size of every axis that the file leaves open; of all, if it leaves none open."""
    if declared is None:
        raise EyeshotError(f"input {name}: its shape is not known; give it as {name}=1x3x224x224")
    if len(declared) <= 1:
        return [n] * len(declared)
    # Beyond three channels, a last dim of few and a second of none such speak of channels last.
    channel = 1 if len(declared) > 2 else -1
    if len(declared) > 2 and isinstance(declared[-1], int) and not isinstance(declared[1], int):
        channel = len(declared) - 1
    axes = [k for k in range(1, len(declared)) if k != channel]
    if any(not isinstance(declared[k], int) for k in axes):
        axes = [k for k in axes if not isinstance(declared[k], int)]
    dims = [n if k in axes else d for k, d in enumerate(declared)]
    if not isinstance(dims[0], int):
        dims[0] = 1
    return dims


# --- axes


def fields_along(
    slots: Sequence[Slot], axes: Any, seen: Mapping[str, tuple[int, ...]]
) -> dict[str, tuple[int, ...]]:
    """The dims of each input that fields run along: those asked for, else ``seen``.

    Where neither tells, all but batch and channel; integers have no channels, unless they are an image's.
    """
    names = [slot.name for slot in slots]
    if isinstance(axes, Mapping):
        for name in axes:
            if name not in names:
                raise EyeshotError(
                    f"axes: the model has no input {name!r} (it has {', '.join(names)})"
                )
    out = {}
    for slot in slots:
        rank = len(slot.shape)
        asked = axes.get(slot.name) if isinstance(axes, Mapping) else axes
        if asked is not None:
            out[slot.name] = _asked_for(slot, asked)
        elif slot.name in seen:
            out[slot.name] = seen[slot.name]
        else:
            channels = slot.dtype in FLOATS or (slot.dtype in BYTES and rank > 3)
            out[slot.name] = tuple(range(2 if channels else 1, rank))
    return out


def _asked_for(slot: Slot, axes: Any) -> tuple[int, ...]:
    dims = [axes] if hasattr(axes, "__index__") else axes
    if not isinstance(dims, (list, tuple)) or not all(hasattr(d, "__index__") for d in dims):
        raise EyeshotError(
            f"axes: expected dims of the input such as (2, 3), got {reprlib.repr(axes)}"
        )
    rank = len(slot.shape)
    dims = [operator.index(d) for d in dims]
    if any(not -rank <= d < rank for d in dims):
        raise EyeshotError(f"axes: {tuple(dims)} are not dims of {slot.name} {_text(slot.shape)}")
    return tuple(sorted({d % rank for d in dims}))
