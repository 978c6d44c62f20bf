"""A network on a signal that arrives in chunks: what it gives is what it would give for the whole signal."""

from __future__ import annotations

import sys
from os import PathLike
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from eyeshot.errors import EyeshotError
from eyeshot.streaming.plan import LENGTHS, StreamPlan, made
from eyeshot.tiling.extents import NotTileable

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from eyeshot.tiling.models import Model

__all__ = ["Stream", "stream"]

#: Beyond this, relative to the largest output, a crop's outputs are not those of the whole, by dtype.
TOLERANCE = {"float64": 1e-8, "float32": 1e-4}
#: How much later, in samples, the same has to come out; tables of positions may change slowly.
SHIFT = 1024


class Stream:
    """A network on a signal that arrives in chunks. Made by :func:`eyeshot.stream`.

    ``push(chunk)`` gives the outputs that are ready, ``flush()`` the rest. One after another along time they
    are the network's output for the whole signal, whatever the chunks. A stream keeps the input's context and
    nothing else.
    """

    def __init__(
        self,
        model: Model,
        plan: StreamPlan | None,
        *,
        time: int | None = None,
        rate: float | None = None,
        check: bool = True,
    ) -> None:
        self._model = model
        self._plan = plan
        self._time, self._rate, self._check = time, rate, check
        self._filler: float = 0
        self._out_dtype: np.dtype[Any] | None = None
        self._out_shape: tuple[int, ...] = ()
        self.reset()
        if plan is not None:
            self._accept(plan)

    def __repr__(self) -> str:
        state = "ended" if self._ended else f"{self.received} samples in, {self.given} outputs out"
        return f"<eyeshot.Stream of {self._model.title}: {state}>"

    def reset(self) -> None:
        """Forget the signal, so that another can begin."""
        #: Samples that have been pushed, and outputs that have been given.
        self.received = 0
        self.given = 0
        self._ended = False
        self._held: NDArray[Any] | None = None
        self._begin = 0
        self._form: _Form | None = None

    @property
    def plan(self) -> StreamPlan:
        """What the stream needs.

        Raises :class:`~eyeshot.errors.EyeshotError` before the first chunk where no input's shape was given.
        """
        if self._plan is None:
            raise EyeshotError(
                "the plan is made at the first chunk; give an input's shape to have it before"
            )
        return self._plan

    def push(self, chunk: Any) -> Any:
        """Take the next samples; give the outputs that they make ready, which may be none.

        ``chunk``: a NumPy array or torch tensor shaped as the network's input but for time, of any length,
        also 0; its batch is the first chunk's, and may be left out altogether. The result is of the same kind.

        Raises :class:`~eyeshot.errors.EyeshotError` for a chunk that does not fit, and after :meth:`flush`.
        """
        if self._ended:
            raise EyeshotError("the stream has ended; reset() it for another signal")
        array, form = _taken(chunk)
        if self._plan is None:
            self._first(array)
        plan = self.plan
        array, form = self._fitted(array, form)
        self._form = form
        if self._held is None:
            self._held = np.array(array, order="C")  # the caller may use its own again
        elif array.shape[plan.time]:
            self._held = np.concatenate([self._held, array], axis=plan.time)
        self.received += array.shape[plan.time]
        law = plan.law
        ready = law.ready(self.received) if self.received else 0
        out = self._part(self.given, ready) if ready > self.given else self._empty()
        self.given = max(self.given, ready)
        self._forget(law.first(self.received))
        return form.given(out)

    def flush(self) -> Any:
        """The signal has ended: give the outputs that are still to come.

        Raises :class:`~eyeshot.errors.EyeshotError` where the network can't take a signal of this length.
        """
        if self._ended:
            raise EyeshotError("the stream has ended already; reset() it for another signal")
        plan = self.plan
        if self._held is None:
            shape = list(plan.shape)
            shape[plan.time] = 0
            self._held = np.zeros(shape, dtype=self._model.dtype)
        if self.given or self._begin:
            end = plan.law.end(self.received)
            if end.reason and self._begin:
                raise EyeshotError(f"the network can't take {self.received} samples: {end.reason}")
        out = self._run(self._held, f"a signal of {self.received} samples")
        first = self.given - plan.law.outputs(self._begin)
        if out.shape[plan.dim] < first:
            raise EyeshotError(
                f"{plan.title} gives fewer outputs for {self.received} samples than were given for their begin"
            )
        out = out[_slice(out.ndim, plan.dim, first, None)]
        form = self._form or _Form("numpy", True)
        self.given += out.shape[plan.dim]
        self._ended = True
        self._held = None
        return form.given(out)

    # --- parts of it

    def _first(self, array: NDArray[Any]) -> None:
        """The plan, made for the first chunk's shape, which has a batch then."""
        rank = array.ndim
        if rank < 2:
            raise EyeshotError("push: the first chunk needs its batch, or give the input's shape")
        time = rank - 1 if self._time is None else range(rank)[self._time]
        shape = (1, *array.shape[1:time], LENGTHS[0], *array.shape[time + 1 :])
        kind = self._model.dtype.name
        self._plan = made(self._model.subject, shape, time=self._time, rate=self._rate, dtype=kind)
        self._accept(self._plan)

    def _fitted(self, array: NDArray[Any], form: _Form) -> tuple[NDArray[Any], _Form]:
        """A chunk with a batch, checked."""
        plan = self.plan
        rank = len(plan.shape)
        wanted = "x".join("T" if k == plan.time else str(n) for k, n in enumerate(plan.shape) if k)
        if array.ndim == rank - 1:
            array, form = array[None], form._replace(batched=False)
        shape = array.shape
        if array.ndim != rank or any(
            shape[k] != plan.shape[k] for k in range(1, rank) if k != plan.time
        ):
            given = "x".join(map(str, array.shape[not form.batched :])) or "a scalar"
            raise EyeshotError(
                f"push: a chunk is {wanted} (T: time), with a batch in front or without; this one is {given}"
            )
        if not shape[0]:
            raise EyeshotError("push: a batch of 0")
        if array.dtype != self._model.dtype:
            raise EyeshotError(
                f"push: the chunk is {array.dtype}, {plan.title} takes {self._model.dtype}; convert one of them"
            )
        if self._held is not None and self._held.shape[0] != shape[0]:
            raise EyeshotError(
                f"push: a batch of {shape[0]} after chunks with a batch of {self._held.shape[0]}"
            )
        if self._form is not None and form[:2] != self._form[:2]:
            raise EyeshotError(f"push: {form.told()} after {self._form.told()}")
        return array, form

    def _part(self, first: int, last: int) -> NDArray[Any]:
        """Outputs ``first`` to ``last``, all of them ready."""
        plan, law = self.plan, self.plan.law
        assert self._held is not None
        begin = law.begin(first)
        crop = self._held[_slice(self._held.ndim, plan.time, begin - self._begin, None)]
        length = law.length(begin, last)
        lacking = length - crop.shape[plan.time]
        if lacking > 0:
            shape = list(crop.shape)
            shape[plan.time] = lacking
            filler = np.full(shape, self._filler, dtype=crop.dtype)
            crop = np.concatenate([crop, filler], axis=plan.time)
        crop = crop[_slice(crop.ndim, plan.time, 0, length)]
        out = self._run(crop, f"{length} samples")
        offset = law.outputs(begin)
        if out.shape[plan.dim] < last - offset:
            raise EyeshotError(
                f"{plan.title} gives {out.shape[plan.dim]} outputs for {length} samples, fewer than "
                "its graph tells"
            )
        return out[_slice(out.ndim, plan.dim, first - offset, last - offset)]

    def _run(self, array: NDArray[Any], what: str) -> NDArray[Any]:
        """The network on a crop."""
        try:
            out = self._model(np.ascontiguousarray(array))
        except EyeshotError as error:
            raise EyeshotError(f"{what}: {error}") from error
        self._out_dtype, self._out_shape = out.dtype, out.shape
        return out

    def _empty(self) -> NDArray[Any]:
        """No outputs, in the shape and of the kind of all others."""
        plan = self.plan
        assert self._held is not None
        if self._out_dtype is None or self._out_shape[0] != self._held.shape[0]:
            shape = list(self._held.shape)
            shape[plan.time] = plan.law.least
            self._run(np.zeros(shape, dtype=self._held.dtype), f"{plan.law.least} samples")
        shape = list(self._out_shape)
        shape[plan.dim] = 0
        return np.zeros(shape, dtype=self._out_dtype)

    def _forget(self, first: int) -> None:
        """Drop what is not needed any more."""
        assert self._held is not None
        if first > self._begin:
            drop = _slice(self._held.ndim, self.plan.time, first - self._begin, None)
            self._held = self._held[drop].copy()
            self._begin = first

    def _accept(self, plan: StreamPlan) -> None:
        """What no plan asks."""
        if plan.dim == 0:
            raise EyeshotError(
                f"{plan.title}: the output's first dim is time; a stream needs a batch there"
            )
        if self._check:
            self._trial(plan)

    def _trial(self, plan: StreamPlan) -> None:
        """That the network gives the same elsewhere, which no graph tells: it may go by the position.

        One hop later, which finds what repeats at any other rate; much later; and for signals that end before,
        of other lengths too.
        """
        law = plan.law
        hop, step, size, free = law.hop, law.step, law.run.size, law.run.free
        hops = -(-SHIFT // hop)
        shape = list(plan.shape)
        shape[0], shape[plan.time] = 1, size + hops * hop
        kind = self._model.dtype
        rng = np.random.default_rng(0)
        signal = rng.standard_normal(shape) if kind.kind == "f" else np.zeros(shape)
        signal = signal.astype(kind)
        whole = self._run(signal, f"{shape[plan.time]} samples")

        def compare(begin: int, end: int, first: int, last: int | None) -> None:
            """Outputs ``first`` to ``last`` of a part of the signal."""
            part = signal[_slice(signal.ndim, plan.time, begin, end)]
            out = self._run(part, f"{end - begin} samples")
            more = begin // hop * step
            here = whole[
                _slice(whole.ndim, plan.dim, first + more, None if last is None else last + more)
            ]
            self._alike(here, out[_slice(out.ndim, plan.dim, first, last)], begin, end - begin)

        for turns in {1, hops}:
            compare(turns * hop, shape[plan.time], law.run.settled, None)
        ends = [(size, free), (size + hop, free + step)]
        beside = (size + 1) % hop
        if hop > 1 and beside in law.ends and not law.ends[beside].reason:
            run = law.borders.at(law.base + beside)
            ends.append((run.size, run.free))
        for end, last in ends:
            compare(0, end, 0, last)

    def _alike(self, here: NDArray[Any], there: NDArray[Any], later: int, length: int) -> None:
        """That the whole's outputs are those of a part, which begins so much later."""
        title = self.plan.title
        if here.shape != there.shape:
            raise EyeshotError(f"{title} gives other outputs than its graph tells")
        if here.dtype.kind not in "fc":
            return
        with np.errstate(invalid="ignore"):
            scale = float(np.abs(here).max(initial=0))
            gap = float(np.abs(here - there).max(initial=0))
        if gap > TOLERANCE.get(here.dtype.name, 2e-2) * scale:
            what = (
                f"{later} samples later"
                if later
                else f"where the signal ends after {length} samples"
            )
            raise NotTileable(
                f"no stream equals the whole: {title} gives other outputs {what} "
                f"(by {gap:.3g}, of {scale:.3g}): something in it goes by the "
                "position, such as a table of positions"
            )


class _Form(NamedTuple):
    """How chunks come, and results go: with a batch or without, a tensor's dtype and device."""

    kind: str
    batched: bool
    dtype: Any = None
    device: Any = None

    def given(self, out: NDArray[Any]) -> Any:
        """A result in the form of the chunks."""
        if not self.batched:
            out = out[0]
        # A copy: a part would keep the whole run's outputs in memory.
        out = np.array(out, order="C")
        if self.kind == "numpy":
            return out
        import torch

        tensor = torch.from_numpy(out)
        if self.dtype == torch.bfloat16 and tensor.is_floating_point():
            tensor = tensor.to(self.dtype)
        return tensor.to(self.device)

    def told(self) -> str:
        array = "a NumPy array" if self.kind == "numpy" else "a tensor"
        return f"{array} {'with' if self.batched else 'without'} a batch"


def stream(
    model: Any,
    input: Any = None,
    *,
    time: int | None = None,
    rate: float | None = None,
    weights: str | PathLike[str] | None = None,
    device: str | None = None,
    dtype: Any = None,
    output: str | None = None,
    threads: int | None = None,
    check: bool = True,
) -> Stream:
    """A stream through a network: push chunks of a signal, and get what the network gives for the whole of it.

    ``model``: a PyTorch module, a reference (``package.module:factory``) or an ONNX model. ``input``: its
    input's shape, whose length along time matters little; by default that of the first chunk. ``time``: the
    dim of the input that is time; by default its only axis. ``rate``: samples per second, for the plan.
    ``weights``: a file of tensors for a module or reference. ``device``, ``dtype``: where and in what it
    computes, by default as the module is. ``output``: a layer's name where the network has several outputs.
    ``threads``: how many a forward pass takes. ``check``: run the network once on noise, to see that it goes
    by no table of positions, which no graph tells.

    The network runs in eval mode and without gradients. Raises :class:`~eyeshot.tiling.extents.NotTileable`,
    naming the layers, where no stream can equal the whole, and :class:`~eyeshot.errors.EyeshotError` for what
    can't be run.
    """
    from eyeshot.tiling.models import load

    axes = None if time is None else (time,)
    loaded = load(
        model,
        weights=weights,
        device=device,
        dtype=dtype,
        output=output,
        axes=axes,
        threads=threads,
    )
    plan = None
    if input is not None or loaded.subject.default is not None:
        kind = loaded.dtype.name
        plan = made(loaded.subject, input, time=time, rate=rate, dtype=kind)
    return Stream(loaded, plan, time=time, rate=rate, check=check)


def _taken(chunk: Any) -> tuple[NDArray[Any], _Form]:
    """A chunk as an array, and how it came."""
    if isinstance(chunk, np.ndarray):
        return chunk, _Form("numpy", True)
    torch = sys.modules.get("torch")
    if torch is None or not isinstance(chunk, torch.Tensor):
        raise EyeshotError(
            f"push: expected a NumPy array or a tensor, got {type(chunk).__qualname__}"
        )
    form = _Form("torch", True, chunk.dtype, chunk.device)
    held = chunk.detach()
    if chunk.dtype == torch.bfloat16:
        held = held.float()
    return held.cpu().numpy(), form


def _slice(rank: int, dim: int, begin: int, end: int | None) -> tuple[slice, ...]:
    """Positions ``begin`` to ``end`` of one dim."""
    found = [slice(None)] * rank
    found[dim] = slice(begin, end)
    return tuple(found)
