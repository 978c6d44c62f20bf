"""What the module is called with: shapes, tensors, or whole arguments with nested containers."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import math
import operator
import re
import reprlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from eyeshot.core.primitives import MAX_SIZE
from eyeshot.errors import EyeshotError

__all__ = ["Arguments", "Slot", "candidates", "tensors_in"]

#: A real run, and a probe, make inputs of at most this many elements.
MAX_ELEMENTS = 1 << 28
#: No tensor, not even one without data, may have more; PyTorch counts bytes in 63 bits.
MAX_TENSOR = 1 << 58
MAX_DEPTH = 50


class Slot(NamedTuple):
    """One tensor that the module is given. ``tensor`` is the user's own, if there is one with data.

    ``typed``: somebody said what its dtype is; ``asked``: somebody said what its axes are.
    """

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    axes: tuple[int, ...]
    tensor: Tensor | None = None
    typed: bool = False
    asked: bool = False


class Arguments(NamedTuple):
    """Positional and named arguments, in which a :class:`Slot` stands for each tensor."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    @property
    def slots(self) -> list[Slot]:
        """The tensors, in order."""
        return [s for s in _leaves((self.args, self.kwargs)) if isinstance(s, Slot)]

    def filled(self, make: Callable[[Slot], Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments with tensors in their places."""
        args, kwargs = _rebuilt(
            (self.args, self.kwargs), lambda _, leaf: make(leaf) if isinstance(leaf, Slot) else leaf
        )
        return args, kwargs

    def integers(self) -> Arguments:
        """The same with integers where nobody said what they are: all dims but the batch are axes."""

        def integer(s: Slot) -> Slot:
            if s.typed or s.tensor is not None:
                return s
            axes = s.axes if s.asked else _axes(None, s.name, s.shape, torch.int64)
            return s._replace(dtype=torch.int64, axes=axes)

        return Arguments(*self.filled(integer))


def candidates(
    module: torch.nn.Module,
    input: Any,
    args: Sequence[Any] | None,
    kwargs: Mapping[str, Any] | None,
    axes: Any,
) -> list[Arguments]:
    """What the module may be meant to be called with, likeliest first.

    A shape that begins with 1 is taken as it stands, others get a batch of one in front, and so does the text
    of a signal, ``1x9``; the other reading comes second. One number is the length of a signal, the side of an
    image, or a number of tokens.
    """
    if args is not None or kwargs is not None:
        if input is not None:
            raise EyeshotError("input: give either input or args and kwargs")
        if kwargs is not None and not (
            isinstance(kwargs, Mapping) and all(isinstance(k, str) for k in kwargs)
        ):
            raise EyeshotError(f"kwargs: expected a mapping from names, got {_short(kwargs)}")
        given = tuple(args) if isinstance(args, (list, tuple)) else () if args is None else (args,)
        return [_named(module, given, dict(kwargs or {}), axes)]
    if input is None:
        raise EyeshotError("input: a PyTorch module needs one, such as 3x224x224")
    if isinstance(input, Arguments):
        return [_with_axes(input, axes)]
    if isinstance(input, Tensor):
        return [_named(module, (input,), {}, axes)]
    readings: list[tuple[tuple[Any, ...], dict[str, Any]]]
    if isinstance(input, Mapping):
        known = list(_parameters(module))
        takes_any = any(p.kind is p.VAR_KEYWORD for p in _signature(module))
        for name in input:
            if not isinstance(name, str) or (name not in known and not takes_any):
                raise EyeshotError(
                    f"input: forward has no {name!r} (it has {', '.join(known) or 'none'})"
                )
        shapes = {name: _shapes(value, name) for name, value in input.items()}
        readings = [((), {k: _choice(v, pick) for k, v in shapes.items()}) for pick in range(3)]
    elif isinstance(input, (list, tuple)) and input and not all(_is_number(n) for n in input):
        each = [_shapes(value) for value in input]
        readings = [(tuple(_choice(v, pick) for v in each), {}) for pick in range(3)]
    else:
        readings = [((shape,), {}) for shape in _shapes(input)]
    made = [_named(module, *reading, axes) for reading in readings]
    if _reads_tokens(module):
        # A number alone is their count.
        made.sort(key=lambda one: max(len(s.shape) for s in one.slots))
        made = [*(one.integers() for one in made), *made]
    elif (rank := _rank(module)) is not None:
        # Convolutions take inputs without a batch too; then a channel would pass for it.
        made.sort(key=lambda one: max(abs(len(s.shape) - rank) for s in one.slots))
    return [
        one
        for k, one in enumerate(made)
        if not any(one is other or _same(one, other) for other in made[:k])
    ]


def _same(one: Arguments, other: Arguments) -> bool:
    return [s[:4] for s in one.slots] == [s[:4] for s in other.slots]


def _reads_tokens(module: torch.nn.Module) -> bool:
    """Whether the first layer with weights is an embedding."""
    for m in module.modules():
        if not m._modules and m._parameters:
            return isinstance(m, (torch.nn.Embedding, torch.nn.EmbeddingBag))
    return False


def _rank(module: torch.nn.Module) -> int | None:
    """The number of dims, batch included, that the first convolution takes."""
    for m in module.modules():
        if isinstance(m, torch.nn.modules.conv._ConvNd):
            return len(m.kernel_size) + 2
    return None


def _with_axes(arguments: Arguments, axes: Any) -> Arguments:
    if axes is None:
        return arguments
    _known_names(axes, arguments.slots)

    def act(s: Slot) -> Slot:
        if isinstance(axes, Mapping) and s.name not in axes:
            return s
        return s._replace(axes=_axes(axes, s.name, s.shape, s.dtype), asked=True)

    return Arguments(*arguments.filled(act))


def _known_names(axes: Any, slots: list[Slot]) -> None:
    if isinstance(axes, Mapping):
        known = [s.name for s in slots]
        for name in axes:
            if name not in known:
                raise EyeshotError(
                    f"axes: there is no input {_short(name)} (there is {', '.join(known)})"
                )


def _short(value: Any) -> str:
    """A value in a message: never long, never several lines."""
    if isinstance(value, (str, int, float, list, tuple, dict, type(None))):
        return reprlib.repr(value)
    return f"a {type(value).__module__}.{type(value).__qualname__}"


class _Shape(tuple[int, ...]):
    """A shape that stands for a tensor yet to be made."""


def _is_number(n: Any) -> bool:
    """A whole number, numpy's too."""
    if isinstance(n, (bool, Tensor)) or getattr(n, "ndim", 0) != 0:
        return False
    return hasattr(n, "__index__")


def _choice(options: list[Any], pick: int) -> Any:
    return options[min(pick, len(options) - 1)]


def _shapes(value: Any, name: str = "input") -> list[Any]:
    """The shapes that a text, a number or a sequence may mean, likeliest first; a tensor means itself."""
    as_written = isinstance(value, (list, tuple))
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, str):
        text = value.strip()
        if not re.fullmatch(r"-?\d+(\s*[x×,]\s*-?\d+)*", text) or len(text) > 1000:
            raise EyeshotError(f"{name}: expected a shape such as 3x224x224, got {_short(value)}")
        value = tuple(int(n) for n in re.split(r"\s*[x×,]\s*", text))
    if _is_number(value):
        value = (value,)
    if not isinstance(value, (list, tuple)) or not value or not all(_is_number(n) for n in value):
        raise EyeshotError(
            f"{name}: expected a shape such as (1, 3, 224, 224) or a tensor, got {_short(value)}"
        )
    shape = tuple(operator.index(n) for n in value)
    if any(not 0 < n <= MAX_SIZE for n in shape):
        raise EyeshotError(f"{name}: sizes must be within 1 … {MAX_SIZE}, got {_short(shape)}")
    if len(shape) == 1:
        (n,) = shape
        options = [(1, 1, n), (1, 3, n, n), (1, n)]
    else:
        # A text of two numbers is a signal's channels and length, also where there is one channel.
        whole = shape[0] == 1 and (as_written or len(shape) > 2)
        options = [shape, (1, *shape)] if whole else [(1, *shape), shape]
    fitting = [_Shape(s) for s in options if math.prod(s) <= MAX_TENSOR]
    if not fitting:
        raise EyeshotError(
            f"{name}: {'x'.join(map(str, shape))} has more elements than a tensor can have"
        )
    return fitting


def _signature(module: torch.nn.Module) -> list[inspect.Parameter]:
    try:
        return list(inspect.signature(module.forward).parameters.values())
    except (TypeError, ValueError):
        return []


def _parameters(module: torch.nn.Module, positional: bool = False) -> Iterator[str]:
    """The names of forward's parameters that take one argument: by place, or by name."""
    for p in _signature(module):
        if p.kind is p.POSITIONAL_OR_KEYWORD or p.kind is (
            p.POSITIONAL_ONLY if positional else p.KEYWORD_ONLY
        ):
            yield p.name


def _named(
    module: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], axes: Any
) -> Arguments:
    """Tensors and shapes turned into slots, named after forward's parameters."""
    names = list(_parameters(module, positional=True))
    floating = _dtype(module)

    def slot(name: str, leaf: Any) -> Any:
        if isinstance(leaf, _Shape):
            shape, dtype = tuple(leaf), floating
        elif isinstance(leaf, Tensor):
            shape, dtype = tuple(leaf.shape), leaf.dtype
            if leaf.layout != torch.strided or leaf.is_quantized or leaf.is_nested:
                raise EyeshotError(
                    f"{name}: expected a dense tensor, got a sparse, nested or quantized one"
                )
            if any(not 0 < n <= MAX_SIZE for n in shape):
                raise EyeshotError(
                    f"{name}: sizes must be within 1 … {MAX_SIZE}, got {_short(shape)}"
                )
        else:
            return leaf
        asked = name in axes if isinstance(axes, Mapping) else axes is not None
        data = leaf if isinstance(leaf, Tensor) and not leaf.is_meta else None
        return Slot(
            name,
            shape,
            dtype,
            _axes(axes, name, shape, dtype),
            data,
            isinstance(leaf, Tensor),
            asked,
        )

    places = [names[k] if k < len(names) else f"input{k}" for k in range(len(args))]
    out = tuple(_rebuilt(a, slot, name) for a, name in zip(args, places, strict=True))
    made = Arguments(out, {k: _rebuilt(v, slot, k) for k, v in kwargs.items()})
    slots = made.slots
    if not slots:
        raise EyeshotError("input: there is no tensor among the arguments")
    _known_names(axes, slots)
    return made


def _text(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "scalar"


def _dtype(module: torch.nn.Module) -> torch.dtype:
    for tensors in (module.parameters(), module.buffers()):
        for tensor in tensors:
            if tensor.is_floating_point():
                return tensor.dtype
    return torch.get_default_dtype()


def _axes(axes: Any, name: str, shape: tuple[int, ...], dtype: torch.dtype) -> tuple[int, ...]:
    """The dims that fields run along: those asked for, else all but batch and channel."""
    if isinstance(axes, Mapping):
        axes = axes.get(name)
    if axes is None:
        floats = dtype.is_floating_point or dtype.is_complex
        return tuple(range(2 if floats else 1, len(shape)))
    dims = (axes,) if _is_number(axes) else axes
    if not isinstance(dims, (list, tuple)) or not all(_is_number(d) for d in dims):
        raise EyeshotError(f"axes: expected dims of the input such as (2, 3), got {_short(axes)}")
    dims = [operator.index(d) for d in dims]
    if any(not -len(shape) <= d < len(shape) for d in dims):
        raise EyeshotError(f"axes: {_short(tuple(dims))} are not dims of {name} {_text(shape)}")
    return tuple(sorted({d % len(shape) for d in dims}))


# --- containers


def _rebuilt(
    value: Any, act: Callable[[str, Any], Any], name: str = "input", depth: int = 0
) -> Any:
    """The same containers with every leaf replaced by ``act(name, leaf)``."""
    if depth > MAX_DEPTH:
        raise EyeshotError(
            f"input: the arguments are nested more than {MAX_DEPTH} deep, or hold themselves"
        )

    def inner(value: Any, place: str) -> Any:
        return _rebuilt(value, act, place, depth + 1)

    if isinstance(value, (_Shape, Slot)):
        return act(name, value)
    if isinstance(value, Mapping):
        items = {k: inner(v, f"{name}.{k}") for k, v in value.items()}
        if type(value) is dict:
            return items
        try:
            return type(value)(items)  # type: ignore[call-arg]
        except Exception:  # a class with a constructor of its own
            return items
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(
            *(inner(v, f"{name}.{k}") for k, v in zip(value._fields, value, strict=True))
        )
    if isinstance(value, (list, tuple)):
        made = [inner(v, f"{name}[{k}]") for k, v in enumerate(value)]
        return made if isinstance(value, list) else tuple(made)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        # A constructor might look at what is not a tensor yet.
        twin = copy.copy(value)
        for f in dataclasses.fields(value):
            if hasattr(value, f.name):
                object.__setattr__(twin, f.name, inner(getattr(value, f.name), f"{name}.{f.name}"))
        return twin
    return act(name, value)


def _leaves(value: Any, depth: int = 0) -> Iterator[Any]:
    if depth > MAX_DEPTH:
        return
    if isinstance(value, Slot):
        yield value
    elif isinstance(value, Mapping):
        for v in value.values():
            yield from _leaves(v, depth + 1)
    elif isinstance(value, (list, tuple)):
        for v in value:
            yield from _leaves(v, depth + 1)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for f in dataclasses.fields(value):
            yield from _leaves(getattr(value, f.name, None), depth + 1)
    else:
        yield value


def tensors_in(value: Any) -> list[Tensor]:
    """All tensors in an output, containers and dataclasses opened."""
    return [leaf for leaf in _leaves(value) if isinstance(leaf, Tensor)]
