"""From a module and what it is called with to the graph."""

from __future__ import annotations

import sys
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn.modules import module as hooks

from eyeshot.core.graph import Diagnostic, Graph
from eyeshot.errors import EyeshotError
from eyeshot.frontends.torch.calls import NeedsData
from eyeshot.frontends.torch.inputs import MAX_ELEMENTS, Arguments, Slot, candidates, tensors_in
from eyeshot.frontends.torch.names import Names
from eyeshot.frontends.torch.snapshot import untouched
from eyeshot.frontends.torch.trace import Intercept, Tracer

__all__ = ["Run", "build", "run"]


class Run:
    """A finished trace: the graph, what the module was called with, and the rows' events by layer name."""

    def __init__(
        self, module: torch.nn.Module, graph: Graph, arguments: Arguments, events: dict[str, int]
    ) -> None:
        self.module = module
        self.graph = graph
        self.arguments = arguments
        self.events = events


class _Failure(Exception):
    """The forward pass raised; ``where`` is the module that ran."""

    def __init__(self, where: str, error: BaseException) -> None:
        super().__init__(str(error))
        self.where = where
        self.error = error


def build(
    module: Any,
    input: Any = None,
    *,
    args: Sequence[Any] | None = None,
    kwargs: Mapping[str, Any] | None = None,
    axes: Any = None,
    training: bool | None = False,
) -> Run:
    """Trace one forward pass. Raises EyeshotError with the module's own message if it fails."""
    module = _module(module)
    options = candidates(module, input, args, kwargs, axes)
    first: _Failure | None = None
    for arguments in options:
        for attempt in _dtypes(arguments):
            try:
                return _attempt(module, attempt, training)
            except _Failure as failure:
                first = first or failure
                if isinstance(failure.error, NeedsData):
                    # It got as far as to ask: not for want of the right shape.
                    raise _explained(module, failure, arguments) from failure.error
    assert first is not None
    raise _explained(module, first, options[0]) from first.error


def _module(source: Any) -> torch.nn.Module:
    if isinstance(source, torch.nn.Module):
        source = getattr(source, "_orig_mod", source)  # what torch.compile wraps
        for tensor in (*source.parameters(), *source.buffers()):
            if torch.nn.parameter.is_lazy(tensor):
                raise EyeshotError(
                    "the module has lazy parameters without a shape; run it once on an input first"
                )
        return source
    if callable(source):
        return _Function(source)
    raise EyeshotError(f"expected a PyTorch module, got {type(source).__name__}")


class _Function(torch.nn.Module):
    """A plain function as a module."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self.forward = function


def _dtypes(arguments: Arguments) -> Iterator[Arguments]:
    """As given; then, where shapes alone were given, as integers."""
    yield arguments
    if any(slot.tensor is None for slot in arguments.slots):
        yield arguments.integers()


def _attempt(module: torch.nn.Module, arguments: Arguments, training: bool | None) -> Run:
    """A run without data; where that fails and it can help, one with data."""
    try:
        return run(module, arguments, training)
    except _Failure as error:
        failure = error
    if not _worth_a_real_run(module, arguments):
        raise failure
    done = run(module, arguments, training, real=True)
    if isinstance(failure.error, NeedsData):
        why = f"{failure.error}; another input may take another path"
    else:
        text = " ".join(str(failure.error).split())[:160]
        why = f"without data it raised {type(failure.error).__name__}: {text}"
    why = f"traced on data, one random input, since {why}"
    done.graph.notes.append(Diagnostic("real-run", failure.where, "", why))
    return done


def _worth_a_real_run(module: torch.nn.Module, arguments: Arguments) -> bool:
    if any(t.is_meta for t in (*module.parameters(), *module.buffers())):
        return False
    return all(_count(slot) <= MAX_ELEMENTS for slot in arguments.slots)


def _count(slot: Slot) -> int:
    count = 1
    for n in slot.shape:
        count *= n
    return count


def _explained(module: torch.nn.Module, failure: _Failure, arguments: Arguments) -> EyeshotError:
    """The module's own error, and where it was raised, in one line."""
    error = failure.error
    if isinstance(error, EyeshotError):
        return error
    text = " ".join(str(error).split())
    shapes = ", ".join(
        f"{s.name} {'x'.join(map(str, s.shape)) or 'scalar'}" for s in arguments.slots
    )
    where = f"{failure.where}: " if failure.where else ""
    if isinstance(error, NeedsData):
        return EyeshotError(
            f"{where}{text}, but the module has none (it is on the meta device): its weights are needed as data"
        )
    return EyeshotError(
        f"{where}the module raised {type(error).__name__} for {shapes}: {text or 'no message'}"
    )


# --- one run


def run(
    module: torch.nn.Module,
    arguments: Arguments,
    training: bool | None = False,
    real: bool = False,
    fill: Any = None,
    watch: Any = None,
) -> Run:
    """One forward pass under the tracer. ``fill`` makes the input tensors, ``watch`` sees every row's."""
    names = Names(module)
    tracer = Tracer(names, real)
    tracer.watch = watch
    device = _device(module) if real else torch.device("meta")

    def make(slot: Slot) -> Tensor:
        tensor = fill(slot) if fill is not None else _example(slot, device, real)
        tracer.source(tensor, slot.name, slot.axes)
        return tensor

    with ExitStack() as stack:
        stack.enter_context(untouched(module, training))
        _own_buffers(module, real)
        tracer.foreign(_own_tensors(module))
        args, kwargs = arguments.filled(make)
        stack.enter_context(_calls(tracer, names))
        if "torch._dynamo" in sys.modules:
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        stack.enter_context(torch.inference_mode(False))  # under it operators are not taken apart
        stack.enter_context(torch.no_grad())
        stack.enter_context(Intercept(tracer))
        stack.enter_context(tracer)
        try:
            out = module(*args, **kwargs)
        except EyeshotError:
            raise
        except Exception as error:
            raise _Failure(names.raised_in(error), error) from None
        if tracer.asked:
            raise _Failure("", NeedsData(tracer.asked))  # the module went on without an answer
    return _finish(module, tracer, names, arguments, out)


def _finish(
    module: torch.nn.Module, tracer: Tracer, names: Names, arguments: Arguments, out: Any
) -> Run:
    if not any(slot.axes for slot in arguments.slots):
        shapes = ", ".join(
            f"{s.name} {'x'.join(map(str, s.shape)) or 'scalar'}" for s in arguments.slots
        )
        raise EyeshotError(
            f"input: {shapes} has no field axes: all dims but batch and channel are; name others with axes="
        )
    tensors = tensors_in(out)
    if not tensors:
        raise EyeshotError(f"the module returns no tensor ({type(out).__name__})")
    values = [tracer.returned(t) for t in tensors]
    outputs = [tracer.controlled(value) for value in values if value is not None]
    graph = tracer.graph
    if not outputs and all(t.numel() for t in tensors):
        raise EyeshotError("no output of the module depends on the input")
    if not outputs:
        # A detector that has found nothing; its layers are there all the same.
        why = "the module returns tensors without elements: the report has no outputs"
        graph.notes.append(Diagnostic("empty-output", "", "", why))
    events = names.finish(graph, outputs, tracer.last_op)
    by_value = {mark.value: mark for mark in reversed(graph.layers)}
    for value, found in list(graph.bounds.items()):
        mark = by_value.get(value)
        layer = mark.name if mark else ".".join(filter(None, [found.layer, found.op]))
        graph.bounds[value] = found._replace(layer=layer, op=found.op or (mark.op if mark else ""))
    graph.verify()
    return Run(module, graph, arguments, events)


def _device(module: torch.nn.Module) -> torch.device:
    for tensor in (*module.parameters(), *module.buffers()):
        return tensor.device
    return torch.device("cpu")


def _example(slot: Slot, device: torch.device, real: bool) -> Tensor:
    if not real and slot.tensor is not None and slot.tensor.layout is torch.strided:
        stride = slot.tensor.stride()
        return torch.empty_strided(slot.shape, stride, dtype=slot.dtype, device="meta")
    if not real:
        return torch.empty(slot.shape, dtype=slot.dtype, device="meta")
    if slot.tensor is not None:
        return slot.tensor.detach().clone()
    if slot.dtype.is_floating_point:
        return torch.randn(slot.shape, device=device).to(slot.dtype)
    return torch.zeros(slot.shape, dtype=slot.dtype, device=device)


def _own_buffers(module: torch.nn.Module, real: bool) -> None:
    """Buffers and plain tensors for the run to write to; the module's own come back afterwards.

    Without data nothing is written, yet PyTorch counts the attempt in the tensor's version.
    """
    for m in module.modules():
        for held in (m._buffers, m.__dict__):
            for name, tensor in list(held.items()):
                if isinstance(tensor, Tensor):
                    held[name] = tensor.clone() if real else tensor.data


def _own_tensors(module: torch.nn.Module) -> list[Tensor]:
    """The tensors that are there before the run: all that the module and its containers hold."""
    found = [*module.parameters(), *module.buffers()]
    for m in module.modules():
        pending = list(m.__dict__.values())
        for held in pending[: 1 << 16]:
            if isinstance(held, Tensor):
                found.append(held)
            elif type(held) in (dict, OrderedDict):
                found += [v for v in held.values() if isinstance(v, Tensor)]
            elif type(held) in (list, tuple):
                found += [v for v in held if isinstance(v, Tensor)]
    return found


@contextmanager
def _calls(tracer: Tracer, names: Names) -> Iterator[None]:
    """Module calls of this thread reported to ``names``."""
    thread = threading.get_ident()

    def enter(module: Any, args: Any) -> None:
        if threading.get_ident() == thread:
            names.enter(module)

    def leave(module: Any, args: Any, out: Any) -> None:
        if threading.get_ident() == thread:
            names.note(sys.exc_info()[1])
            tensors = tensors_in(out)
            made = next((t for t in tensors if tracer.value(t) is not None), None)
            event = names.leave(module, None if made is None else tracer.value(made))
            if event is not None and made is not None and tracer.watch is not None:
                tracer.watch(event, made)

    handles = [
        hooks.register_module_forward_pre_hook(enter),
        hooks.register_module_forward_hook(leave, always_call=True),
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
