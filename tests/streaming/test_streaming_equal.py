"""A stream gives what the network gives for the whole signal, as early as can be, from what it needs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from itertools import cycle
from random import Random
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import eyeshot
from eyeshot import EyeshotError, NotTileable, Stream
from tests.streaming import signal_nets

Array = np.ndarray[Any, Any]

#: By name: what makes the network, and its input's shape.
ZOO: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "wavenet": (signal_nets.wavenet, (1, 1, 64)),
    "tcn": (signal_nets.tcn, (1, 2, 64)),
    "codec": (signal_nets.codec, (1, 1, 128)),
    "separator": (signal_nets.separator, (1, 1, 128)),
    "unet": (signal_nets.unet, (1, 1, 64)),
    "wav2vec": (signal_nets.wav2vec, (1, 1, 128)),
    "cut": (signal_nets.cut, (1, 1, 64)),
    "mirror": (signal_nets.mirror, (1, 1, 64)),
    "tail": (signal_nets.tail, (1, 1, 64)),
    "blocks": (signal_nets.blocks, (1, 1, 64)),
    "folded": (signal_nets.folded, (1, 1, 64)),
    "silent": (signal_nets.silent, (1, 1, 64)),
    "rests": (signal_nets.rests, (1, 1, 80)),
}


@cache
def network(name: str) -> nn.Module:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    return ZOO[name][0]().double().eval()


@cache
def stream_of(name: str) -> Stream:
    return eyeshot.stream(network(name), ZOO[name][1])


def noise(channels: int, n: int, seed: int = 0, batch: int = 1) -> Array:
    return np.random.default_rng(seed).standard_normal((batch, channels, n))


def offline(net: nn.Module, x: Array) -> Array | None:
    """The network on the whole signal; None where it can't take it."""
    with torch.inference_mode():
        try:
            return net(torch.from_numpy(x)).numpy()  # type: ignore[no-any-return]
        except (RuntimeError, ValueError):
            return None


def streamed(stream: Stream, x: Array, sizes: Iterator[int]) -> Array | None:
    """The same by chunks; None where the stream says that the network can't take the signal."""
    stream.reset()
    outs = []
    at = 0
    while at < x.shape[-1]:
        size = next(sizes)
        outs.append(stream.push(x[..., at : at + size]))
        at += size
        assert stream._held is not None
        assert stream._held.shape[-1] <= stream.plan.kept
    try:
        outs.append(stream.flush())
    except EyeshotError:
        return None
    return np.concatenate(outs, axis=-1)


def at_random(random: Random, hop: int) -> Iterator[int]:
    while True:
        yield random.choice((0, 1, 2, hop, 3 * hop, random.randint(1, 60)))


def assert_equal(got: Array | None, want: Array | None) -> None:
    if want is None or got is None:
        assert want is None and got is None
        return
    assert got.shape == want.shape
    assert np.abs(got - want).max(initial=0) <= 1e-10 * max(1.0, np.abs(want).max(initial=0))


@pytest.mark.parametrize("name", ZOO)
def test_any_chunks(name: str) -> None:
    net, stream, (_, channels, _) = network(name), stream_of(name), ZOO[name][1]
    plan, random = stream.plan, Random(name)
    lengths = [1, 2, 3, 7, plan.warm_up - 1, plan.warm_up, plan.warm_up + 1, plan.latency]
    base = 3 * (plan.context + plan.latency)
    lengths += [base + k for k in range(min(plan.hop, 8))] + [base + random.randint(0, 200)]
    for seed, n in enumerate(lengths):
        x = noise(channels, n, seed, batch=1 + seed % 2)
        want = offline(net, x)
        # What no output that is given reads may be anything.
        stream._filler = float("nan") if seed % 2 else 0.0
        assert_equal(streamed(stream, x, at_random(random, plan.hop)), want)
    assert want is not None


@pytest.mark.parametrize("name", ZOO)
@pytest.mark.parametrize("hops", [None, 1, 4])
def test_chunks_of_one_size(name: str, hops: int | None) -> None:
    """Sample by sample, and in whole hops, each of which gives as many outputs once it has warmed up."""
    net, stream, (_, channels, _) = network(name), stream_of(name), ZOO[name][1]
    plan = stream.plan
    size = 1 if hops is None else hops * plan.hop
    x = noise(channels, plan.context + plan.latency + 12 * plan.hop + 3)
    stream.reset()
    outs = [stream.push(x[..., at : at + size]) for at in range(0, x.shape[-1], size)]
    assert_equal(np.concatenate([*outs, stream.flush()], axis=-1), offline(net, x))
    if hops is not None:
        warm = -(-max(plan.context + plan.latency, plan.warm_up) // size) + 1
        assert {out.shape[-1] for out in outs[warm:-1]} <= {hops * plan.outputs_per_hop}


@pytest.mark.parametrize("name", ZOO)
def test_outputs_come_as_early_as_can_be(name: str) -> None:
    """What has been given is the same however the signal goes on, and the next output is not."""
    net, stream, (_, channels, _) = network(name), stream_of(name), ZOO[name][1]
    plan = stream.plan
    start = plan.warm_up + plan.context
    for t in (plan.warm_up, *range(start, start + plan.hop + 1)):
        x = noise(channels, t)
        stream.reset()
        given = stream.push(x)
        n = given.shape[-1]
        wholes = []
        for more in range(2 * plan.hop + plan.latency + 7):
            for seed in (1, 2):
                whole = offline(net, np.concatenate([x, noise(channels, more, seed)], axis=-1))
                if whole is not None:
                    assert_equal(given, whole[..., :n])
                    wholes.append(whole[..., n : n + 1])
        ends = [whole for whole in wholes if whole.shape[-1]]
        assert len(ends) < len(wholes) or any(np.abs(end - ends[0]).max() > 1e-9 for end in ends)


def test_the_first_output_comes_after_the_warm_up() -> None:
    for name, (_, (_, channels, _)) in ZOO.items():
        stream = stream_of(name)
        stream.reset()
        warm = stream.plan.warm_up
        x = noise(channels, warm)
        assert not stream.push(x[..., : warm - 1]).size, name
        assert stream.push(x[..., warm - 1 :]).size, name


@pytest.mark.parametrize("name", ["wavenet", "tcn"])
def test_the_context_is_tight(name: str) -> None:
    """Where every sample is a hop: with one sample less before it, an output is another."""
    net, plan, (_, channels, _) = network(name), stream_of(name).plan, ZOO[name][1]
    assert plan.hop == 1 and plan.context > 0
    at = 3 * plan.context
    x = noise(channels, at + plan.latency + plan.context)
    whole = offline(net, x)
    assert whole is not None
    for less in (0, 1):
        begin = at - plan.context + less
        crop = offline(net, x[..., begin:])
        assert crop is not None
        gap = np.abs(crop[..., at - begin] - whole[..., at]).max()
        assert (gap < 1e-12) == (less == 0)


@pytest.mark.parametrize("name", ["codec", "unet", "separator"])
def test_the_context_is_tight_to_the_hop(name: str) -> None:
    """With one hop less before it, some output of a hop is another."""
    net, plan = network(name), stream_of(name).plan
    hop, step = plan.hop, plan.outputs_per_hop
    hops = 3 * plan.context // hop
    x = noise(1, (hops + 2) * hop + plan.context + 4 * plan.latency)
    x = x[..., : x.shape[-1] // hop * hop]
    whole = offline(net, x)
    assert whole is not None
    for less in (0, 1):
        begin = hops - plan.context // hop + less
        crop = offline(net, x[..., begin * hop :])
        assert crop is not None
        first = (hops - begin) * step
        gap = np.abs(crop[..., first : first + step] - whole[..., hops * step :][..., :step]).max()
        assert (gap < 1e-12) == (less == 0)


def test_lookahead_is_tight() -> None:
    """A sample that arrives last before an output does change it."""
    for name in ("tcn", "wavenet"):
        net, plan, (_, channels, _) = network(name), stream_of(name).plan, ZOO[name][1]
        x = noise(channels, 200)
        y = x.copy()
        at = 100
        y[..., at + plan.latency - 1] += 1
        a, b = offline(net, x), offline(net, y)
        assert a is not None and b is not None
        assert np.abs(a - b)[..., at].max() > 1e-9
        assert np.abs(a - b)[..., at - 1].max() == 0


CHUNKS = st.lists(st.integers(0, 40), min_size=1, max_size=6).filter(any)


@settings(max_examples=30)
@given(
    chunks=CHUNKS, n=st.integers(1, 200), name=st.sampled_from(sorted(ZOO)), poisoned=st.booleans()
)
def test_random_chunks(chunks: list[int], n: int, name: str, poisoned: bool) -> None:
    net, stream, (_, channels, _) = network(name), stream_of(name), ZOO[name][1]
    stream._filler = float("nan") if poisoned else 0.0
    x = noise(channels, n, n)
    assert_equal(streamed(stream, x, cycle(chunks)), offline(net, x))


@settings(max_examples=12)
@given(
    seed=st.integers(0, 1 << 32),
    chunks=CHUNKS,
    lengths=st.lists(st.integers(1, 150), min_size=1, max_size=3),
    poisoned=st.booleans(),
)
def test_random_networks(seed: int, chunks: list[int], lengths: list[int], poisoned: bool) -> None:
    net = signal_nets.random_net(Random(seed)).double().eval()
    if next(net.parameters(), None) is None or offline(net, noise(2, 200)) is None:
        return
    try:
        stream = eyeshot.stream(net, (1, 2, 200))
    except NotTileable:
        return
    stream._filler = float("nan") if poisoned else 0.0
    for n in lengths:
        x = noise(2, n, seed=n)
        got, want = streamed(stream, x, cycle(chunks)), offline(net, x)
        if got is None and want is not None and not want.shape[-1]:
            continue  # an empty output is an error to some operators only
        assert_equal(got, want)
