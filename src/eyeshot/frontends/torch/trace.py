"""The trace: one forward pass under a dispatch mode, every operator translated as it runs.

Tensors that depend on an input live on the ``meta`` device: shapes without data. Constants keep their
numbers where they are small, so that an index computed by the model is known. Where the rule of an operator
tells the output's shape, PyTorch's own kernel is not run at all.

In a ``real`` run every kernel runs on data; it serves modules whose control flow needs some, and the proof.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch._C._functorch import is_functorch_wrapped_tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from eyeshot.core import families
from eyeshot.core.graph import Diagnostic, Graph
from eyeshot.core.primitives import Input
from eyeshot.errors import FieldError
from eyeshot.frontends.torch import rules
from eyeshot.frontends.torch.alias import Track, read, write
from eyeshot.frontends.torch.calls import Call, NeedsData, NoRule, Op, flat, tensors_among
from eyeshot.frontends.torch.names import Names

__all__ = ["Intercept", "Tracer"]

#: Constants of integers are computed for real up to this many elements, others up to the second number:
#: indices matter, weights do not.
MAX_INDICES = 1 << 22
MAX_NUMBERS = 1 << 14

#: Functions that make a tensor from numbers.
MAKERS = frozenset([torch.tensor, torch.as_tensor, torch.asarray])


class Tracer(TorchDispatchMode):
    """Translates every operator that runs under it. ``real``: on data."""

    def __init__(self, names: Names, real: bool = False) -> None:
        super().__init__()
        self.graph = Graph()
        self.names = names
        self.real = real
        self.tracks: dict[int, Track] = {}
        self.twins: dict[int, tuple[Tensor, Tensor]] = {}
        self.ops: dict[Any, Op] = {}
        self.paused = False
        self.control: int | None = None
        #: What the module has asked for in vain, also if it went on after that.
        self.asked = ""
        self.last_op = "output"
        #: Called with (event, tensor) for every row of a real run.
        self.watch: Callable[[int, Tensor], None] | None = None

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Not asked for, and PyTorch would spend seconds on importing its compiler."""
        return False

    # --- tensors

    def source(self, tensor: Tensor, name: str, axes: tuple[int, ...]) -> None:
        """``tensor`` is an input of the network."""
        self._remember(tensor, self.graph.add(Input(tuple(tensor.shape), name, axes)))

    def foreign(self, tensors: Iterable[Tensor]) -> None:
        """Tensors that are there before the trace, such as buffers."""
        for tensor in tensors:
            self._remember(tensor, None).foreign = True

    def _remember(
        self,
        tensor: Tensor,
        value: int | None,
        parent: Track | None = None,
        replay: Callable[[int], int | None] | None = None,
    ) -> Track:
        track = Track(tensor, value, parent, replay)
        key = id(tensor)
        self.tracks[key] = track
        if self.real:
            # Activations must not outlive their use; a tensor without data costs nothing.
            track.tensor = weakref.ref(tensor, lambda _: self.tracks.pop(key, None))
        return track

    def track(self, tensor: Tensor) -> Track:
        """The track of a tensor; one not seen before is foreign."""
        track = self.tracks.get(id(tensor))
        if track is None:
            owner = self._sharing(tensor)
            if owner is not None:
                return self._remember(tensor, read(owner), owner, lambda value: value)
            if tensor.is_meta and not self.real and tensor.numel():
                # It has no data, so the trace made it, and out of our sight (in another thread, say).
                return self._remember(tensor, self._untold(tuple(tensor.shape)))
            track = self._remember(tensor, None)
            track.foreign = True
        return track

    def _untold(self, shape: tuple[int, ...]) -> int:
        """A tensor of unknown origin, which may have read all of every input."""
        value = families.opaque(self.graph, self.graph.sources, shape)
        self.bound(
            value, "unknown-origin", "", "a tensor that came about where no operator was seen"
        )
        return value

    def adopt(self, tensor: Tensor, other: Tensor) -> None:
        """``tensor`` becomes another name of ``other``'s memory, in the trace; a foreign one stays as it is."""
        if self.real and not self.track(tensor).foreign:
            self.pausing(setattr, tensor, "data", other)
        owner = self.track(other)
        self._remember(tensor, read(owner), owner, lambda value: value)

    def _sharing(self, tensor: Tensor) -> Track | None:
        """The track of ``x`` for ``x.data`` and the like, which share its memory without an operator."""
        if not (self.real or tensor.is_meta) or tensor.layout is not torch.strided:
            return None
        shape = tuple(tensor.shape)
        where = tensor.untyped_storage()._cdata
        for track in list(self.tracks.values()):
            if track.shape != shape:
                continue
            other = track.tensor() if self.real else track.tensor
            if (
                other is not None
                and other.stride() == tensor.stride()
                and other.storage_offset() == tensor.storage_offset()
                and other.untyped_storage()._cdata == where
            ):
                return track
        return None

    def value(self, tensor: Any) -> int | None:
        """The graph's value that a tensor holds; None for a constant."""
        track = self.tracks.get(id(tensor))
        if track is None:
            if not isinstance(tensor, Tensor):
                return None
            track = self.track(tensor)
        return read(track)

    def among(self, args: Any) -> list[tuple[Tensor, int]]:
        """The tensors among arguments that depend on an input, with their values."""
        return [(t, value) for t in tensors_among(args, {}) if (value := self.value(t)) is not None]

    def numbers(self, tensor: Any) -> Any:
        """The numbers of a constant tensor as a numpy array; None if they are not known."""
        track = self.tracks.get(id(tensor))
        if tensor.is_meta or (track is not None and (read(track) is not None or track.root.lost)):
            return None
        try:
            return self.pausing(lambda: tensor.detach().cpu().numpy())
        except TypeError:  # a dtype that numpy lacks: no index
            return None

    def bound(self, value: int, code: str, op: str, why: str) -> None:
        """``value`` is an upper bound; the layer is named when the trace is over."""
        self.graph.bounds.setdefault(value, Diagnostic(code, self.names.where, op, why))

    # --- dispatch

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if self.paused:
            return func(*args, **kwargs)
        op = self.ops.get(func)
        if op is None:
            op = self.ops[func] = Op(func)
        if op.composite:
            # Under inference mode it arrives whole.
            with self:
                out = func.decompose(*args, **kwargs)
            if out is not NotImplemented:
                return out
        if op.name == "aten::lift_fresh" and id(args[0]) not in self.tracks:
            self._remember(args[0], None)  # made by torch.tensor, from numbers
        for a in args:
            if isinstance(a, Tensor):
                if self._reads(a):
                    return self._dependent(op, func, args, kwargs)
            elif isinstance(a, (list, tuple)) and any(
                isinstance(b, Tensor) and self._reads(b) for b in a
            ):
                return self._dependent(op, func, args, kwargs)
        for name, a in kwargs.items():
            if name in op.outs:
                continue
            if isinstance(a, Tensor) and self._reads(a):
                return self._dependent(op, func, args, kwargs)
        return self._constant(op, func, args, kwargs)

    def _reads(self, tensor: Tensor) -> bool:
        track = self.tracks.get(id(tensor))
        if track is None:
            track = self.track(tensor)
        if track.version != track.root.version:
            return read(track) is not None
        return track.value is not None

    def _dependent(self, op: Op, func: Any, args: Any, kwargs: Any) -> Any:
        if op.to_python:
            self.escapes(op.title, Call(self, op, func, args, kwargs).reads())
            return func(*args, **kwargs)
        given = {name: a for name, a in kwargs.items() if name not in op.outs}
        call = Call(self, op, func, args, given)
        out: Any = None
        values: Any = None
        if op.sized and not self._by_integers(op, call):
            self.escapes(op.title, call.reads())
        if op.inplace and not self.real and not op.moves:
            out = args[op.writes[0]]
        elif op.kernel is not None and not self.real and not op.outs:
            values = self._translate(op, call)
            out = op.kernel(call, values)
        if out is None:
            out = self._run(op, func, args, kwargs)
        if values is None:
            call.out = out
            if (
                out is not None
                and not op.inplace
                and not any(t.numel() for t in tensors_among(flat(out), {}))
            ):
                values = [None] * len(out) if isinstance(out, (list, tuple)) else None
            else:
                values = self._translate(op, call)
        return self._register(op, call, out, values, kwargs)

    def _by_integers(self, op: Op, call: Call) -> bool:
        """Whether an indexing gives a number of elements that the input does not decide."""
        if not op.name.startswith(("aten::index", "aten::masked_select")):
            return False
        indices = tensors_among(call.args[1:2], {})
        masks = (torch.bool, torch.uint8)
        return not any(t.dtype in masks and self.value(t) is not None for t in indices)

    def _translate(self, op: Op, call: Call) -> Any:
        rule = op.rule
        code, why = "unknown-op", f"{op.name} is not known"
        if rule is not None:
            try:
                return rule(call, *call.args, **call.kwargs)
            except NoRule as error:
                code, why = "no-rule", f"{op.name}: {error}"
            except FieldError as error:
                code, why = "no-rule", f"{op.name}: {error}"
            except NeedsData:
                raise
            except Exception as error:  # a rule that fails must not cost the user the report
                code, why = "rule-failed", f"{op.name}: {type(error).__name__}: {error}"
        return self._opaque(call, code, f"{why}; everything it is given is taken as read")

    def _opaque(self, call: Call, code: str, why: str) -> Any:
        if call.out is None:
            assert call.op is not None
            call.out = self._run(call.op, call.func, call.args, call.kwargs)
        values = [value for _, value in call.reads()]
        out = []
        for tensor in flat(call.out):
            value = None
            if isinstance(tensor, Tensor) and tensor.numel():
                value = families.opaque(self.graph, values, tuple(tensor.shape))
                call.bound(value, code, why)
            out.append(value)
        return out if isinstance(call.out, (list, tuple)) else out[0]

    def _register(self, op: Op, call: Call, out: Any, values: Any, kwargs: Any) -> Any:
        """Note the outputs' values, carry out writes, make a row."""
        outs: Sequence[Any]
        if out is None:
            outs = ()
        elif not isinstance(out, (list, tuple)):
            outs, values = (out,), [values]
        else:
            outs = out
            if not isinstance(values, (list, tuple)):
                raise AssertionError(f"{op.name}: one value for {len(outs)} outputs")
        if op.moves:
            self._move(op, call, values[0])
        elif op.inplace or op.outs:
            targets = [call.args[k] for k in op.writes] if op.inplace else []
            targets += [kwargs[name] for name in op.outs if kwargs.get(name) is not None]
            outs = targets
            values = [
                self.assign(call, target, value)
                for target, value in zip(outs, values, strict=False)
            ]
            out = outs[0] if len(outs) == 1 else out if op.inplace else tuple(outs)
        elif out is None and not op.writes:
            return None  # a check
        elif op.writes and out is None:
            # Written to and not returned.
            targets = tensors_among([call.args[k] for k in op.writes], {})
            if not isinstance(values, list) or len(values) != len(targets):
                values = [self._anything(call, target) for target in targets]
            for target, value in zip(targets, values, strict=True):
                self.assign(call, target, value)
        else:
            values = [
                self._note(op, call, tensor, value, k)
                for k, (tensor, value) in enumerate(zip(outs, values, strict=True))
            ]
        if op.silent:
            if op.view:
                self.last_op = op.title
            return out
        for tensor, value in zip(outs, values, strict=False):
            if value is not None:
                self._row(call.title, tensor, value)
                break
        return out

    def emit(self, title: str, out: Any, values: Any) -> Any:
        """Outputs of a function that was translated whole, with their values, and their row."""
        found = []
        for tensor, value in zip(flat(out), flat(values), strict=True):
            held = None
            if value is not None and tensor.numel():
                held = self.controlled(value)
                found.append((tensor, held))
            self._remember(tensor, held)
        if found:
            self._row(title, *found[0])
        return out

    def _row(self, title: str, tensor: Tensor, value: int) -> None:
        self.last_op = title
        event = self.names.operator(title, value)
        if self.watch is not None:
            self.watch(event, tensor)

    def _move(self, op: Op, call: Call, value: int | None) -> None:
        """``x.transpose_()``: the same tensor is now another view of its memory."""
        tensor = call.args[0]
        old = self.track(tensor)
        if value is None or value in self.graph.bounds:
            self._remember(tensor, value)  # other memory, as far as we know
        else:
            self._remember(tensor, value, old, _Replay(self, op, call, tensor, 0))

    def _anything(self, call: Call, target: Tensor) -> int:
        values = [value for _, value in call.reads()]
        value = families.opaque(self.graph, values, tuple(target.shape))
        return call.bound(value, "rule-failed", "what this reads is not known")

    def pausing(self, act: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call a function of PyTorch's without taking note of it."""
        paused, self.paused = self.paused, True
        try:
            return act(*args, **kwargs)
        finally:
            self.paused = paused

    def _note(self, op: Op, call: Call, tensor: Any, value: int | None, k: int) -> int | None:
        """A new output; returns the value that it holds."""
        if not isinstance(tensor, Tensor):
            return None
        if not tensor.numel():
            self._remember(tensor, None)
            return None
        if value is not None:
            if self.graph.shapes[value] != tuple(tensor.shape):
                value = self._anything(call, tensor)
            value = self.controlled(value, call.title)
        parent = None
        if op.view:
            base = call.args[0] if call.args else None
            if isinstance(base, Tensor):
                parent = self.track(base)
        if parent is None:
            self._remember(tensor, value)
        elif self.tracks.get(id(tensor)) is not parent:
            self._remember(tensor, value, parent, _Replay(self, op, call, tensor, k))
        return value

    def assign(self, call: Call, target: Tensor, value: int | None) -> int | None:
        """A write to a tensor; returns the value that it holds."""
        if value is not None:
            value = self.controlled(value)
            shape = self.graph.shapes[value]
            if not target.numel() and shape != tuple(target.shape):
                # An empty ``out=`` grows.
                self.tracks.pop(id(target), None)
                if not self.real:
                    self.pausing(target.resize_, shape)
            elif shape != tuple(target.shape):
                value = call.shaped(value, target.shape)
        if not target.numel():
            return None
        if not write(self.graph, self.track(target), value):
            where = self.track(target).root.value
            assert where is not None
            call.bound(
                where, "overlapping-write", "a write through memory that overlaps or is too large"
            )
        return value

    def _told(self, shape: tuple[int, ...], op: str) -> int:
        """A constant that may hold numbers that Python has read."""
        assert self.control is not None
        value = families.expand(self.graph, self.control, shape)
        value = families.join(self.graph, value)
        why = (
            "is made after Python has read a number that depends on the input, and may depend on it"
        )
        self.bound(value, "data-dependent", op, why)
        return value

    def returned(self, tensor: Tensor) -> int | None:
        """The value of an output of the network."""
        value = read(self.track(tensor))
        if value is None and self.control is not None and tensor.numel():
            value = self._told(tuple(tensor.shape), "")
        return value

    def controlled(self, value: int, op: str = "") -> int:
        """Once Python has seen a number that depends on the input, all that follows may depend on it."""
        if self.control is None:
            return value
        why = "runs after Python has read a number that depends on the input, and may depend on it"
        shape = self.graph.shapes[value]
        extra = families.expand(self.graph, self.control, shape)
        value = families.join(self.graph, value, extra)
        self.bound(value, "data-dependent", op, why)
        return value

    def escapes(self, title: str, reads: list[tuple[Tensor, int]]) -> None:
        """Python gets to know numbers that depend on the input: what follows may depend on them."""
        if not self.real:
            self.asked = f"{title} needs numbers"
            raise NeedsData(self.asked)
        seen = families.opaque(self.graph, [value for _, value in reads], ())
        if self.control is not None:
            seen = families.join(self.graph, self.control, seen)
        self.control = seen

    # --- kernels

    def _run(self, op: Op, func: Any, args: Any, kwargs: Any) -> Any:
        """PyTorch's own kernel; on the meta device unless this is a real run."""
        if self.real:
            return func(*args, **kwargs)
        args = [self._meta(a) for a in args]
        kwargs = {name: self._meta(a) for name, a in kwargs.items()}
        if kwargs.get("device") is not None:
            # A copy of a dependent tensor stays without data; what is made new beside it is a constant.
            kwargs["device"] = "cpu" if op.fresh else "meta"
        elif op.fresh and "like" in op.name:
            kwargs["device"] = "cpu"
        return func(*args, **kwargs)

    def _meta(self, a: Any) -> Any:
        if isinstance(a, Tensor):
            return a if a.is_meta else self.twin(a)
        if isinstance(a, (list, tuple)):
            return (
                type(a)([self._meta(b) for b in a]) if any(isinstance(b, Tensor) for b in a) else a
            )
        return a

    def twin(self, tensor: Tensor) -> Tensor:
        """A tensor like this one, without data."""
        found = self.twins.get(id(tensor))
        if found is None:
            made = torch.empty_strided(
                tensor.shape, tensor.stride(), dtype=tensor.dtype, device="meta"
            )
            found = self.twins[id(tensor)] = (tensor, made)
        return found[1]

    def _constant(self, op: Op, func: Any, args: Any, kwargs: Any) -> Any:
        """An operator that no input reaches."""
        tensors = tensors_among(args, kwargs)
        written = [args[k] for k in op.writes if k < len(args)]
        written += [kwargs[name] for name in op.outs if name in kwargs]
        overwritten = [t for t in written if isinstance(t, Tensor) and self._reads(t)]
        if overwritten and not self.real:
            for target in overwritten:
                write(self.graph, self.track(target), None)
            return overwritten[0] if len(overwritten) == 1 else tuple(overwritten)
        for target in written:
            if not isinstance(target, Tensor):
                continue
            if self._reads(target):
                write(self.graph, self.track(target), None)
            root = self.track(target).root
            if root.foreign and not self.real:
                root.lost = True  # the module's own: left as it is
        out = (
            self._evaluate(op, func, args, kwargs, tensors)
            if not self.real
            else func(*args, **kwargs)
        )
        parent = self.track(args[0]) if op.view and args and isinstance(args[0], Tensor) else None
        if not op.inplace:
            call = None
            for k, tensor in enumerate(flat(out)):
                if not isinstance(tensor, Tensor) or id(tensor) in self.tracks:
                    continue
                if self.control is not None and tensor.numel():
                    # Python may have put in what it has read.
                    self._remember(tensor, self._told(tuple(tensor.shape), op.title))
                elif parent is None:
                    self._remember(tensor, None)
                else:
                    call = call or Call(self, op, func, args, kwargs)
                    self._remember(tensor, None, parent, _Replay(self, op, call, tensor, k))
        return out

    def _evaluate(self, op: Op, func: Any, args: Any, kwargs: Any, tensors: list[Tensor]) -> Any:
        """A constant with its numbers where that is cheap, else its shape."""
        known = True
        for tensor in tensors:
            if tensor.is_meta or self.track(tensor).root.lost:
                known = False
            size = tensor.numel()
            exact = not (tensor.is_floating_point() or tensor.is_complex())
            if not op.view and size > (MAX_INDICES if exact else MAX_NUMBERS):
                known = False
        device = kwargs.get("device")
        if not tensors and args and not _affordable(args):
            known = False
        if known:
            if device is not None and torch.device(device).type != "cpu":
                kwargs = {**kwargs, "device": "cpu"}
            return func(*args, **kwargs)
        if op.to_python:
            self.asked = f"{op.title} needs the numbers of a constant"
            raise NeedsData(self.asked)
        if op.inplace:
            return args[op.writes[0]]
        args = [self._meta(a) for a in args]
        kwargs = {name: self._meta(a) for name, a in kwargs.items()}
        if device is not None or not tensors:
            kwargs["device"] = "meta"
        return func(*args, **kwargs)


class _Replay:
    """A view's rule, run again on another value of what it looks at."""

    __slots__ = ("args", "func", "k", "kwargs", "op", "shape", "tracer")

    def __init__(self, tracer: Tracer, op: Op, call: Call, tensor: Tensor, k: int) -> None:
        self.tracer, self.op, self.func, self.k = tracer, op, call.func, k
        self.args, self.kwargs = call.args, call.kwargs
        self.shape = tuple(tensor.shape)

    def __call__(self, value: int) -> int | None:
        tracer = self.tracer
        call = _Again(tracer, self.op, self.func, self.args, self.kwargs)
        call.base, call.value = self.args[0], value
        call.out = _Outputs(self.shape)
        values = tracer._translate(self.op, call)
        return values[self.k] if isinstance(values, (list, tuple)) else values


class _Again(Call):
    """A call in which the first tensor holds a given value."""

    __slots__ = ("base", "value")

    base: Tensor
    value: int

    def v(self, tensor: Any) -> int | None:
        return self.value if tensor is self.base else super().v(tensor)


class _Outputs:
    """Stands for the output of a view that is replayed: its shape is all that rules ask for."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape
        self.ndim = len(shape)


class Intercept(TorchFunctionMode):
    """Functions that are translated whole, before PyTorch takes them apart."""

    def __init__(self, tracer: Tracer) -> None:
        super().__init__()
        self.tracer = tracer
        rules.load()
        self.table = rules.FUNCTIONS

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in MAKERS and not self.tracer.real and kwargs.get("device") is not None:
            kwargs = {**kwargs, "device": "cpu"}  # there its numbers stay known
        whole = self.table.get(func)
        if whole is None or self.tracer.paused:
            return func(*args, **kwargs)
        tracer = self.tracer
        given = tensors_among(args, kwargs)
        if any(is_functorch_wrapped_tensor(t) for t in given):
            return func(*args, **kwargs)  # under vmap: its operators are seen one by one
        if not any(tracer.value(t) is not None for t in given):
            return func(*args, **kwargs)
        return whole(tracer, func, args, kwargs)


def _affordable(args: Any) -> bool:
    """Whether what a factory makes is small: the product of its sizes, or the span of a range."""
    count = 1
    for a in args:
        for n in a if isinstance(a, (list, tuple)) else (a,):
            if isinstance(n, int | float) and n == n and abs(n) > 1:
                count *= max(1, int(min(abs(n), 1e12)))
    return count <= MAX_INDICES
