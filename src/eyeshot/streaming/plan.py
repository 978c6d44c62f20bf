"""What a stream through a network needs: context, lookahead, hop, latency, and what its chunks cost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np

from eyeshot.errors import EyeshotError
from eyeshot.streaming.borders import Borders, Run, time_of
from eyeshot.streaming.cached import cached
from eyeshot.streaming.law import Law
from eyeshot.tiling.subject import Subject, shape_of

__all__ = ["Chunk", "StreamPlan", "made", "stream_plan"]

SCHEMA = "eyeshot.stream/1"
#: So many sizes of chunks are told of at most.
SIZES = 9
#: Lengths at which a network is looked at whose input's length is not known.
LENGTHS = (1 << 12, 1 << 14)


class Chunk(NamedTuple):
    """What chunks of one size cost once a stream has warmed up.

    Every push of ``size`` samples gives ``outputs`` outputs; the network then runs on ``run`` samples, of
    which it has seen the share ``again`` before. ``latency``: samples from a chunk's first until all outputs
    that belong to the chunk can be computed.
    """

    size: int
    outputs: int
    run: int
    again: float
    latency: int


@dataclass(frozen=True)
class StreamPlan:
    """What a stream needs. Times and lengths are in samples of the input unless said otherwise.

    ``shape`` is the input's, of one sample of the batch, ``time`` the dim that is time and ``dim`` that of the
    output; ``rate`` is in samples per second, None if not known.

    ``hop``: the step at which everything repeats; so many samples give ``outputs_per_hop`` outputs. ``halo``:
    how far a hop's outputs read beyond it, before and after. ``context``: how much of the signal before a hop
    the network has to be run on for these outputs to be those of the whole: the halo, and what is needed on
    top for the layers' padding to stay out of the way, in whole hops. ``lookahead``: how much after a hop has
    to arrive before its outputs can be computed. ``latency``: from the arrival of a hop's first sample until
    all outputs that belong to it can be computed (``hop + lookahead``; less if they don't read the hop's last
    samples). ``warm_up``: how much arrives before the first output; more than ``latency`` where layers reflect
    at the signal's begin, so that the first outputs read further ahead than all others.

    ``kept``: how much of the input a stream keeps between pushes, at most, and ``state`` the bytes of it; it
    keeps nothing else. ``cache``: the bytes that an implementation would keep instead that keeps each layer's
    own context, and so computes nothing again. Both are for numbers of ``dtype`` and for one sample of the
    batch. ``chunks``: sizes at which every push gives whole hops of outputs, and what they cost.
    """

    title: str
    input: str
    output: str
    shape: tuple[int, ...]
    time: int
    dim: int
    rate: float | None
    dtype: str
    hop: int
    outputs_per_hop: int
    halo: tuple[int, int]
    context: int
    lookahead: int
    latency: int
    warm_up: int
    kept: int
    state: int
    cache: int
    chunks: tuple[Chunk, ...]
    law: Law = field(repr=False, compare=False)

    @property
    def scale(self) -> Fraction:
        """Outputs per sample."""
        return Fraction(self.outputs_per_hop, self.hop)

    @property
    def output_rate(self) -> float | None:
        """Outputs per second."""
        return None if self.rate is None else float(self.rate * self.scale)

    def ms(self, samples: float) -> float | None:
        """How long so many samples last, in milliseconds; None where the rate is not known."""
        return None if self.rate is None else 1000 * samples / self.rate

    @property
    def latency_ms(self) -> float | None:
        """``latency`` in milliseconds."""
        return self.ms(self.latency)

    def chunk(self, size: int) -> Chunk:
        """What chunks of ``size`` samples cost.

        Raises :class:`~eyeshot.errors.EyeshotError` where that is no multiple of the hop.
        """
        if size < 1 or size % self.hop:
            low = max(1, size // self.hop) * self.hop
            near = f"{low} or {low + self.hop}" if low < size else str(low)
            raise EyeshotError(
                f"chunks of {size} samples give unequal numbers of outputs; the hop is {self.hop}: "
                f"take {near}, say (any size gives the same stream)"
            )
        return _chunk(self.law, size, self.latency - self.hop)

    def to_dict(self) -> dict[str, Any]:
        """The plan as JSON values."""
        return {
            "schema": SCHEMA,
            "title": self.title,
            "input": self.input,
            "output": self.output,
            "shape": list(self.shape),
            "time": self.time,
            "dim": self.dim,
            "rate": self.rate,
            "output_rate": self.output_rate,
            "scale": [self.scale.numerator, self.scale.denominator],
            "hop": self.hop,
            "outputs_per_hop": self.outputs_per_hop,
            "halo": list(self.halo),
            "context": self.context,
            "lookahead": self.lookahead,
            "latency": {"samples": self.latency, "ms": self.latency_ms},
            "warm_up": {"samples": self.warm_up, "ms": self.ms(self.warm_up)},
            "dtype": self.dtype,
            "state": {"samples": self.kept, "bytes": self.state},
            "cached": {"bytes": self.cache},
            "chunks": [
                {**chunk._asdict(), "latency_ms": self.ms(chunk.latency)} for chunk in self.chunks
            ],
        }

    def __str__(self) -> str:
        from eyeshot.views.streams import to_text

        return to_text(self)


def stream_plan(
    source: Any,
    input: Any = None,
    *,
    time: int | None = None,
    rate: float | None = None,
    chunks: Sequence[int] | None = None,
    output: str | None = None,
    training: bool | None = False,
    dtype: str = "float32",
) -> StreamPlan:
    """What a stream through a network needs: see :class:`StreamPlan`. Nothing is run, and no weights are read.

    ``source`` and ``input``: as for :func:`eyeshot.analyze`; the input's length along time matters little.
    ``time``: the dim of the input that is time; by default its only axis. ``rate``: samples per second.
    ``chunks``: sizes of chunks to tell of, multiples of the hop. ``output``: a layer's name where the network
    has several outputs. ``training``: the mode in which a module runs. ``dtype``: of the numbers that
    ``state`` and ``cache`` count.

    Raises :class:`~eyeshot.tiling.extents.NotTileable`, naming the layers, where no stream can equal the whole,
    and :class:`~eyeshot.errors.EyeshotError` for an unusable source or input.
    """
    subject = Subject(
        source, axes=None if time is None else (time,), output=output, training=training
    )
    return made(subject, input, time=time, rate=rate, chunks=chunks, dtype=dtype)


def made(
    subject: Subject,
    input: Any = None,
    *,
    time: int | None = None,
    rate: float | None = None,
    chunks: Sequence[int] | None = None,
    dtype: str = "float32",
) -> StreamPlan:
    """The plan for a network that was looked at already."""
    if rate is not None and not (
        isinstance(rate, int | float) and not isinstance(rate, bool) and 0 < rate < math.inf
    ):
        raise EyeshotError(f"rate: expected samples per second, got {rate!r}")
    try:
        each = np.dtype(dtype).itemsize
    except TypeError:
        raise EyeshotError(f"dtype: {dtype!r} is no kind of number") from None
    report = subject.report(_batched(input, time))
    dim = time_of(report, time)
    borders = Borders(subject, report, dim)
    law = Law(borders, first := _first(borders, shape_of(report)[dim]))
    step, hop = law.step, law.hop
    # Times at which nothing of the signal's begin is left.
    far = law.base // hop + law.run.settled // step + 4
    ready = _arrival(law, far * step + step)
    context = far * hop - law.begin(far * step)
    latency = max(0, ready - far * hop)
    warm_up = _arrival(law, 1)
    begin = range(max(0, warm_up - 1), warm_up + hop)
    kept = max(t - law.first(t) for t in (*begin, *range(2 * far * hop, 2 * far * hop + hop)))
    shape = borders.shape
    items = math.prod(shape[k] for k in range(1, len(shape)) if k != dim)
    plan = StreamPlan(
        title=subject.title or "network",
        input=report._sources[0].name,
        output=first.name,
        shape=shape,
        time=dim,
        dim=first.extent.dim,
        rate=rate,
        dtype=np.dtype(dtype).name,
        hop=hop,
        outputs_per_hop=step,
        halo=first.extent.halo(),
        context=context,
        lookahead=max(0, latency - hop),
        latency=latency,
        warm_up=warm_up,
        kept=kept,
        state=kept * items * each,
        cache=cached(law.run) // shape[0] * each,
        chunks=(),
        law=law,
    )
    sizes = _sizes(hop, context + latency) if chunks is None else chunks
    object.__setattr__(plan, "chunks", tuple(map(plan.chunk, sizes)))
    return plan


def _batched(input: Any, time: int | None) -> Any:
    """An input's shape with the batch in front that ``time`` counts, where it was left out."""
    if isinstance(input, str) and time == input.count("x") + 1:
        return f"1x{input}"
    if isinstance(input, tuple | list) and time == len(input):
        return (1, *input)
    return input


def _first(borders: Borders, size: int) -> Run:
    """The network on ``size`` samples, or more where it does otherwise on so few."""
    try:
        return borders.at(size)
    except EyeshotError as error:
        for longer in LENGTHS:
            if longer > size:
                with suppress(EyeshotError):
                    return borders.at(longer)
        raise error


def _arrival(law: Law, outputs: int) -> int:
    """The least time at which so many outputs are ready."""
    low, high = 0, law.hop
    while law.ready(high) < outputs:
        low, high = high, 2 * high
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if law.ready(middle) >= outputs else (middle + 1, high)
    return low


def _chunk(law: Law, size: int, lag: int) -> Chunk:
    at = 4 * law.run.size // law.hop * law.hop
    before, after = law.ready(at), law.ready(at + size)
    begin = law.begin(before)
    run = law.length(begin, after)
    return Chunk(size, after - before, run, 1 - size / run, max(0, size + lag))


def _sizes(hop: int, context: int) -> list[int]:
    """Sizes from a hop to what makes context small beside them."""
    most = max(1, math.ceil(8 * context / hop))
    factor = 2
    while factor**SIZES < most:
        factor *= 2
    return [hop * factor**k for k in range(SIZES) if not k or factor ** (k - 1) < most]
