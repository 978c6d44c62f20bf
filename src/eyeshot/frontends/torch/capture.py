"""One row of a report in a plain forward pass: where it comes up, what it holds, and the graph up to it.

A row that is a module's output is found by a hook, without a dispatch mode; one that is an operator inside
a module's ``forward`` by the tracer's own numbering of events, with gradients enabled. Either way the pass
ends as soon as the row is there.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, NamedTuple

import torch
from torch import Tensor

from eyeshot.core.garbage import paused
from eyeshot.core.graph import Graph
from eyeshot.errors import EyeshotError
from eyeshot.frontends.torch.build import _calls, _example, _own_buffers, _own_tensors
from eyeshot.frontends.torch.calls import NeedsData
from eyeshot.frontends.torch.inputs import Arguments, Slot, tensors_in
from eyeshot.frontends.torch.names import Names, Row
from eyeshot.frontends.torch.snapshot import untouched
from eyeshot.frontends.torch.trace import Intercept, Tracer

__all__ = ["Narrow", "Place", "Traced", "capture", "eager", "locate", "traced"]


class Place(NamedTuple):
    """Where a row comes up. ``kind`` is

    - ``call``: it is what comes out of the ``number``-th call (from 0) of the module at ``path``,
    - ``event``: it is the row of event ``number``, in a run under the tracer with gradients,
    - ``output``: it is the ``number``-th tensor that the network returns.
    """

    kind: str
    path: str
    number: int
    op: str


class Narrow(NamedTuple):
    """Keep ``[begin, end)`` along dims of what comes out of the ``number``-th call of the module at ``path``.

    ``slices``: (dim, begin, end).
    """

    path: str
    number: int
    slices: tuple[tuple[int, int, int], ...]


class Traced(NamedTuple):
    """The graph up to a row, and the row's value in it."""

    graph: Graph
    value: int


class _Stop(BaseException):
    """The row has come up. No Exception, so that no model catches it."""


class _Calls(Names):
    """Names that also know which call of which module an event belongs to."""

    def __init__(self, root: torch.nn.Module) -> None:
        super().__init__(root)
        self.places = _places(root)
        self.counts: dict[str, int] = {}
        #: By event: path and number of the call. Modules made while the model runs have none.
        self.calls: dict[int, tuple[str, int]] = {}

    def leave(self, module: torch.nn.Module, value: int | None) -> int | None:
        before = self.events
        event = super().leave(module, value)
        path = self.places.get(id(module))
        if path is not None and self.events != before:
            number = self.counts.get(path, 0)
            self.counts[path] = number + 1
            self.calls[self.events] = (path, number)
        return event


def _places(root: torch.nn.Module) -> dict[int, str]:
    """The path of every module, by its identity; the first of several."""
    found: dict[int, str] = {}
    for path, module in root.named_modules():
        found.setdefault(id(module), path)
    return found


class _Stopping(Tracer):
    """A tracer that ends the pass at the first operator after a row that was waited for."""

    caught: Tensor | None = None

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        # Autograd itself detaches what an operator keeps for the way back, after it has run.
        keeps = func is torch.ops.aten.detach.default
        if self.caught is not None and not self.paused and not keeps:
            raise _Stop
        return super().__torch_dispatch__(func, types, args, kwargs)


@contextmanager
def _tracing(
    module: torch.nn.Module,
    arguments: Arguments,
    training: bool | None,
    fill: Callable[[Slot], Tensor] | None = None,
) -> Iterator[tuple[_Stopping, _Calls, tuple[Any, ...], dict[str, Any]]]:
    """A tracer at work, and the arguments to call the module with. ``fill``: a run on data, with gradients."""
    real = fill is not None
    names = _Calls(module)
    tracer = _Stopping(names, real)
    meta = torch.device("meta")

    def make(slot: Slot) -> Tensor:
        tensor = fill(slot) if fill is not None else _example(slot, meta, False)
        tracer.source(tensor, slot.name, slot.axes)
        return tensor

    with ExitStack() as stack:
        stack.enter_context(untouched(module, training))
        _own_buffers(module, real)
        tracer.foreign(_own_tensors(module))
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.set_grad_enabled(real))
        args, kwargs = arguments.filled(make)
        stack.enter_context(_calls(tracer, names))
        stack.enter_context(eager())
        stack.enter_context(Intercept(tracer))
        stack.enter_context(tracer)
        yield tracer, names, args, kwargs


@contextmanager
def eager() -> Iterator[None]:
    """Compiled submodules run as they were written."""
    if "torch._dynamo" not in sys.modules:
        yield
        return
    with torch.compiler.set_stance("force_eager"):
        yield


def locate(
    module: torch.nn.Module,
    arguments: Arguments,
    training: bool | None,
    layer: str,
    fill: Callable[[Slot], Tensor] | None = None,
) -> tuple[Place, dict[str, tuple[str, int]]]:
    """Where the row or module ``layer`` comes up: one whole pass under the tracer.

    Also the path and number of the call of every row and module that is one.

    Without ``fill`` one without data. Raises what the module raises.
    """
    with paused(), _tracing(module, arguments, training, fill) as (tracer, names, args, kwargs):
        out = module(*args, **kwargs)
        tensors = tensors_in(out)
        values = [tracer.returned(t) for t in tensors]
        if tracer.asked:
            raise NeedsData(tracer.asked)
    outputs = [tracer.controlled(value) for value in values if value is not None]
    events = names.finish(tracer.graph, outputs, tracer.last_op)
    rows = dict(names.rows)
    grouped: list[Row] = [row for row in names.modules if row.path]
    for mark, row in zip(tracer.graph.groups, grouped, strict=True):
        if mark.name not in events:
            events[mark.name] = row.event
            rows[row.event] = row
    calls = {name: names.calls[event] for name, event in events.items() if event in names.calls}
    if layer in calls:
        return Place("call", *calls[layer], rows[events[layer]].op), calls
    if layer in events:
        return Place("event", "", events[layer], rows[events[layer]].op), calls
    for mark in tracer.graph.layers:
        if mark.name == layer:
            for k, value in enumerate(values):
                if value is not None and tracer.controlled(value) == mark.value:
                    return Place("output", "", k, mark.op), calls
    raise EyeshotError(f"{layer}: it did not come up when the module was run")


@contextmanager
def _narrowed(module: torch.nn.Module, narrows: Sequence[Narrow]) -> Iterator[None]:
    """For one pass, some modules give a part of what comes out of them."""
    handles = []
    try:
        for narrow in narrows:
            target = module.get_submodule(narrow.path)
            handles.append(target.register_forward_hook(_Narrowing(narrow)))
        yield
    finally:
        for handle in handles:
            handle.remove()


class _Narrowing:
    """A forward hook that counts calls, and cuts what the wanted one returns."""

    def __init__(self, narrow: Narrow) -> None:
        self.narrow = narrow
        self.calls = 0

    def __call__(self, module: torch.nn.Module, args: Any, out: Any) -> Any:
        self.calls += 1
        if self.calls != self.narrow.number + 1 or not isinstance(out, Tensor):
            return None
        for dim, begin, end in self.narrow.slices:
            out = out.narrow(dim, begin, end - begin)
        return out


def traced(
    module: torch.nn.Module,
    arguments: Arguments,
    training: bool | None,
    place: Place,
    narrows: Sequence[Narrow] = (),
) -> Traced:
    """The graph up to the row, for other arguments, without data."""
    found: int | None = None
    with paused(), _tracing(module, arguments, training) as (tracer, names, args, kwargs):
        if place.kind == "call":
            left = names.leave

            def leave(module: torch.nn.Module, value: int | None) -> int | None:
                nonlocal found
                event = left(module, value)
                if names.calls.get(names.events) == (place.path, place.number):
                    found = value
                    raise _Stop
                return event

            names.leave = leave  # type: ignore[method-assign]
        elif place.kind == "event":

            def watch(event: int, tensor: Tensor) -> None:
                nonlocal found
                if event == place.number:
                    found = tracer.value(tensor)
                    raise _Stop

            tracer.watch = watch
        try:
            with _narrowed(module, narrows):
                out = module(*args, **kwargs)
            if place.kind == "output":
                found = tracer.returned(tensors_in(out)[place.number])
        except _Stop:
            pass
    if found is None:
        raise EyeshotError("the layer does not come up")
    return Traced(tracer.graph, found)


def capture(
    module: torch.nn.Module,
    arguments: Arguments,
    training: bool | None,
    place: Place,
    make: Callable[[Slot], Tensor],
    narrows: Sequence[Narrow] = (),
) -> Tensor:
    """The row's tensor for the inputs that ``make`` gives, with its history for gradients.

    For a call or an output the module runs as it is, in the mode it is in; the pass ends at the row.
    """
    if place.kind == "event":
        return _by_event(module, arguments, training, place, make)
    args, kwargs = arguments.filled(make)
    if place.kind == "output":
        tensors = tensors_in(module(*args, **kwargs))
        if place.number >= len(tensors):
            raise EyeshotError("the module's output is not what it was when it was traced")
        return tensors[place.number]
    target = module.get_submodule(place.path)
    with _narrowed(module, narrows):
        return _by_call(module, target, place, args, kwargs)


def _by_call(
    module: torch.nn.Module, target: torch.nn.Module, place: Place, args: Any, kwargs: Any
) -> Tensor:
    calls = 0
    found: Tensor | None = None

    def after(m: torch.nn.Module, given: Any, out: Any) -> None:
        nonlocal calls, found
        calls += 1
        if calls == place.number + 1:
            # As the tracer does: the first that depends on the input.
            tensors = sorted(tensors_in(out), key=lambda t: not t.requires_grad)
            found = tensors[0] if tensors else None
            raise _Stop

    handle = target.register_forward_hook(after)
    try:
        module(*args, **kwargs)
    except _Stop:
        pass
    finally:
        handle.remove()
    if found is None:
        raise EyeshotError(f"{place.path}: it did not run, or returned no tensor")
    return found


def _by_event(
    module: torch.nn.Module,
    arguments: Arguments,
    training: bool | None,
    place: Place,
    make: Callable[[Slot], Tensor],
) -> Tensor:
    """Below autograd a new tensor has no history yet; it has once its operator has returned."""
    with paused(), _tracing(module, arguments, training, make) as (tracer, _, args, kwargs):

        def watch(event: int, tensor: Tensor) -> None:
            if event == place.number:
                tracer.caught = tensor

        tracer.watch = watch
        with suppress(_Stop):
            module(*args, **kwargs)
        caught, tracer.caught = tracer.caught, None
    if caught is None:
        raise EyeshotError("the layer did not come up")
    return caught
