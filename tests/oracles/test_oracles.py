"""The two oracles against each other: enumeration from docs/specs.md, and PyTorch with a NaN."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, reject, settings
from strategies import Spec, specs

from . import brute_force

pytest.importorskip("torch")
torch_model = pytest.importorskip(f"{__package__}.torch_model")


def chain(shape: list[int], *layers: Mapping[str, Any]) -> dict[str, Any]:
    """A spec of layers that each read the one before."""
    named = [{"name": f"l{i}", **layer} for i, layer in enumerate(layers)]
    return {"input": shape, "layers": named}


def op(name: str, **fields: Any) -> dict[str, Any]:
    """A layer."""
    return {"op": name, **fields}


CASES: dict[str, dict[str, Any]] = {
    # Windows
    "short form": {"input": [2, 9], "layers": {"a": [3, 2, 1], "b": [2, 1, 0]}},
    "conv 1": chain([2, 9], op("conv", kernel=3, stride=2, padding=1, dilation=2, channels=3)),
    "conv 2": chain([2, 6, 5], op("conv", kernel=[3, 2], stride=[2, 1], padding=[[1, 0], [0, 2]])),
    "conv 3": chain([1, 4, 3, 4], op("conv", kernel=[2, 1, 3], padding=[0, 1, 1], channels=2)),
    "depthwise": chain([4, 4, 4], op("conv", kernel=3, padding=1, groups=4, channels=8)),
    "groups": chain(
        [4, 5], op("conv", kernel=3, groups=2, channels=6), op("conv", kernel=1, groups=3)
    ),
    "same": chain(
        [1, 8, 7],
        op("conv", kernel=4, stride=3, padding="same"),
        op("conv", kernel=2, padding="same"),
    ),
    "same, small kernel": chain([1, 7], op("conv", kernel=1, stride=3, padding="same")),
    "same_lower": chain([1, 8, 7], op("conv", kernel=4, stride=2, padding="same_lower")),
    "causal": chain(
        [1, 9],
        op("conv", kernel=2, padding="causal"),
        op("conv", kernel=3, padding="causal", dilation=2),
    ),
    "valid": chain([1, 9], op("conv", kernel=3, padding="valid", dilation=2)),
    "conv reflect": chain([1, 5, 6], op("conv", kernel=3, padding=2, padding_mode="reflect")),
    "conv replicate": chain(
        [1, 5, 4],
        op("conv", kernel=[3, 2], padding=[[1, 2], [3, 0]], padding_mode="replicate", stride=2),
    ),
    "conv circular": chain(
        [1, 6], op("conv", kernel=3, padding=[[1, 3]], padding_mode="circular", stride=2)
    ),
    "conv circular causal": chain(
        [1, 6], op("conv", kernel=3, dilation=3, padding="causal", padding_mode="circular")
    ),
    "transposed": chain([2, 4], op("conv_transpose", kernel=4, stride=2, padding=1, channels=3)),
    "transposed, holes": chain(
        [1, 4, 3],
        op("conv_transpose", kernel=[2, 1], stride=[3, 2], output_padding=1),
        op("conv", kernel=2, stride=2),
    ),
    "transposed, dilated": chain(
        [4, 5],
        op(
            "conv_transpose",
            kernel=3,
            stride=2,
            dilation=3,
            padding=2,
            output_padding=2,
            groups=2,
            channels=4,
        ),
    ),
    "transposed, uneven crop": chain(
        [1, 5], op("conv_transpose", kernel=3, stride=2, padding=[[0, 2]])
    ),
    "max_pool": chain([2, 7, 6], op("max_pool", kernel=3, stride=2, padding=1)),
    "max_pool, own stride": chain([2, 7], op("max_pool", kernel=3)),
    "max_pool, dilated": chain([1, 9], op("max_pool", kernel=3, stride=1, dilation=2, padding=1)),
    "max_pool, uneven": chain([1, 8], op("max_pool", kernel=3, stride=2, padding=[[0, 1]])),
    "ceil_mode": chain([1, 8, 6], op("max_pool", kernel=3, stride=2, ceil_mode=True)),
    "ceil_mode, padding": chain(
        [1, 7], op("avg_pool", kernel=2, stride=3, padding=1, ceil_mode=True)
    ),
    "ceil_mode, dropped window": chain(
        [1, 4], op("avg_pool", kernel=2, stride=4, padding=1, ceil_mode=True)
    ),
    "ceil_mode, 3 axes": chain([1, 5, 4, 3], op("avg_pool", kernel=2, stride=2, ceil_mode=True)),
    "avg_pool, same": chain([1, 7], op("avg_pool", kernel=4, stride=2, padding="same")),
    "lp_pool": chain([2, 7], op("lp_pool", kernel=3, stride=2, ceil_mode=True)),
    "adaptive_avg_pool": chain([2, 7, 5], op("adaptive_avg_pool", size=[3, 4])),
    "adaptive_max_pool, larger": chain([1, 3, 5], op("adaptive_max_pool", size=[5, 1])),
    "global pools": chain([3, 4, 4], op("global_max_pool"), op("conv", kernel=1, groups=3)),
    # Upsampling
    "nearest": chain([1, 5], op("upsample", scale=2)),
    "nearest, odd": chain([1, 7, 5], op("upsample", size=[10, 3])),
    "nearest, scale": chain([1, 7], op("upsample", scale=1.5)),
    "nearest-exact": chain([1, 7, 5], op("upsample", size=[10, 3], mode="nearest-exact")),
    "linear 1": chain([1, 5], op("upsample", size=8, mode="linear")),
    "linear 1, scale": chain([1, 5], op("upsample", scale=2.5, mode="linear")),
    "linear 2": chain([1, 5, 4], op("upsample", size=[7, 8], mode="linear")),
    "linear 2, smaller": chain([1, 7, 5], op("upsample", size=[3, 2], mode="linear")),
    "linear 2, one axis": chain([1, 4, 5], op("upsample", size=[4, 9], mode="linear")),
    "linear 2, one axis by scale": chain([1, 4, 5], op("upsample", scale=[1, 2], mode="linear")),
    "linear 2, corners": chain(
        [1, 5, 4], op("upsample", size=[9, 6], mode="linear", align_corners=True)
    ),
    "linear 3, corners": chain(
        [1, 3, 2, 4], op("upsample", size=[5, 2, 3], mode="linear", align_corners=True)
    ),
    "linear, corners to one": chain(
        [1, 5], op("upsample", size=1, mode="linear", align_corners=True)
    ),
    "cubic": chain([1, 5, 4], op("upsample", size=[7, 9], mode="cubic")),
    "cubic, smaller": chain([1, 6, 5], op("upsample", size=[3, 2], mode="cubic")),
    "cubic, scale": chain([1, 4, 5], op("upsample", scale=[2, 1.5], mode="cubic")),
    "cubic, corners": chain(
        [1, 5, 4], op("upsample", size=[9, 6], mode="cubic", align_corners=True)
    ),
    "cubic, copied": chain([1, 4, 4], op("upsample", size=[4, 4], mode="cubic")),
    "cubic, one axis copied": chain([1, 4, 4], op("upsample", size=[4, 6], mode="cubic")),
    "area": chain([1, 7, 5], op("upsample", size=[3, 7], mode="area")),
    "nearest, scale but no growth": chain([1, 4], op("upsample", scale=1.2)),
    "linear, scale but no growth": chain([1, 4], op("upsample", scale=1.2, mode="linear")),
    "nearest-exact, scale but no growth": chain(
        [1, 4], op("upsample", scale=1.2, mode="nearest-exact")
    ),
    # Moving elements
    "pad": chain([1, 4, 5], op("pad", padding=[[1, 0], [2, 1]])),
    "pad, cropping": chain([1, 6, 5], op("pad", padding=[[-1, 2], -1])),
    "pad, reflect": chain([1, 5, 4], op("pad", padding=[[1, 4], [3, 0]], mode="reflect")),
    "pad, replicate": chain([1, 3], op("pad", padding=[[5, 1]], mode="replicate")),
    "pad, circular": chain([1, 3, 4], op("pad", padding=[[3, 1], 2], mode="circular")),
    "crop": chain([1, 6, 5], op("crop", margin=[[1, 0], 2])),
    "slice": chain([3, 9], op("slice", dim=-1, start=-8, stop=-1, step=3)),
    "index, select": chain(
        [3, 4, 4], op("index", dim=1, index=[2, 0, 2]), op("select", dim=2, index=1)
    ),
    "flip": chain([2, 3, 4], op("flip"), op("flip", dims=[1, -1])),
    "roll": chain([1, 3, 4], op("roll", shift=[1, -2]), op("roll", shift=5, dims=[3])),
    "pixel_shuffle": chain([8, 2, 3], op("pixel_shuffle", factor=2)),
    "pixel_unshuffle": chain([2, 4, 6], op("pixel_unshuffle", factor=2)),
    "channel_shuffle": chain([6, 2], op("channel_shuffle", groups=2)),
    "flatten": chain([2, 3, 4], op("flatten", start=2), op("slice", dim=2, start=1, step=5)),
    "reshape, permute": chain(
        [1, 4, 6],
        op("reshape", shape=[1, 1, 2, 2, -1, 3]),
        op("permute", order=[0, 2, 4, 1, -3, 5]),
        op("reshape", shape=[4, 1, 2, 3]),
        op("conv", kernel=2),
    ),
    "squeeze, unsqueeze": chain(
        [1, 4], op("squeeze", dim=1), op("unsqueeze", dim=-1), op("unsqueeze", dim=1)
    ),
    "concat": {
        "inputs": {"a": [1, 4], "b": [2, 4]},
        "layers": {
            "joined": {"op": "concat", "inputs": ["a", "b", "a"]},
            "grouped": {"op": "conv", "kernel": 2, "groups": 2},
            "long": {"op": "concat", "dim": 2, "inputs": ["a", "grouped_1"]},
            "grouped_1": {"op": "slice", "dim": 1, "stop": 1, "inputs": "grouped"},
        },
    },
    "joins": {
        "inputs": {"a": [2, 3, 4], "b": [2, 1, 4]},
        "layers": {
            "add": {"op": "add", "inputs": ["a", "b"]},
            "mean": {"op": "mean", "inputs": "b"},
            "line": {"op": "select", "dim": 2, "index": 0, "inputs": "b"},
            "lower": {"op": "mul", "inputs": ["line", "b"]},
            "pow": {"op": "pow", "inputs": ["lower", "line"]},
        },
    },
    # Mixing
    "mean": chain([2, 3, 4], op("mean"), op("unsqueeze", dim=-1)),
    "sum, keepdim": chain([2, 3, 4], op("sum", dims=[1, -1], keepdim=True)),
    "amax, amin": chain([2, 3, 4], op("amax", dims=[-1]), op("amin", dims=[1])),
    "layer_norm": chain([2, 3, 2], op("layer_norm", dims=[1])),
    "layer_norm, all": chain([2, 3, 2], op("layer_norm")),
    "rms_norm": chain([2, 3, 2], op("rms_norm", dims=[1, 3])),
    "group_norm": chain([4, 3], op("group_norm", groups=2)),
    "instance_norm": chain([2, 3, 2], op("instance_norm")),
    "local_response_norm": chain(
        [6, 2], op("local_response_norm", size=4), op("local_response_norm", size=3)
    ),
    "softmax": chain([2, 3, 2], op("softmax"), op("log_softmax", dim=-1)),
    "linear": chain([2, 3, 4], op("linear", features=2), op("linear", features=3, dim=2)),
    "batch_norm, …": chain([2, 3], op("batch_norm"), op("relu"), op("gelu"), op("dropout")),
    "attention": chain([2, 3, 2], op("attention", dims=[3], channels=3)),
    "attention, all axes": chain([2, 2, 3], op("attention")),
    "attention, causal": chain([2, 5, 2], op("attention", kind="causal", dims=[2])),
    "attention, sliding": chain([2, 6], op("attention", kind="sliding", window=3)),
    "attention, window": chain([1, 4, 6], op("attention", kind="window", window=[2, 3])),
    "attention, shifted": chain(
        [1, 4, 6], op("attention", kind="window", window=[2, 3], shift=[1, 2])
    ),
    "attention, tokens first": chain(
        [4, 3], op("attention", dims=[1], channels=2), op("attention", kind="causal", dims=[1])
    ),
    "rnn, steps first": chain([4, 3], op("lstm", dim=1, channels=2, bidirectional=True)),
    "attention, cross": {
        "inputs": {"q": [2, 3, 2], "kv": [3, 4, 2]},
        "layers": {"cross": {"op": "attention", "dims": [2], "inputs": ["q", "kv"]}},
    },
    "rnn": chain([2, 3, 4], op("rnn", channels=3), op("gru", channels=2, dim=2)),
    "lstm": chain([2, 5], op("lstm", channels=2)),
    "rnn, bidirectional": chain(
        [2, 5], op("rnn", channels=2, bidirectional=True), op("slice", dim=1, start=2)
    ),
    "cumsum": chain([1, 3, 4], op("cumsum")),
    "cumprod, cummax, cummin": chain(
        [2, 3], op("cumprod", dim=1), op("cummax"), op("cummin", dim=1)
    ),
    "fft": chain([2, 3, 4], op("fft", dims=[3])),
}


def compare(spec: Mapping[str, Any], expected: Mapping[str, np.ndarray]) -> None:
    """Enumeration equals what the poison reached, element by element."""
    found = brute_force.read_sets(spec)
    total = sum(source.size for source in brute_force.sources(spec))
    assert list(found) == list(expected)
    for layer, sets in found.items():
        assert sets.shape == expected[layer].shape[:-1], layer
        wrong = np.argwhere(brute_force.members(sets, total) != expected[layer])
        assert not len(wrong), f"{layer}: [*element, input element] {wrong[:5].tolist()} …"


@pytest.mark.parametrize("name", CASES)
def test_enumeration_is_what_pytorch_reads(name: str) -> None:
    compare(CASES[name], torch_model.poison_all(CASES[name]))


@settings(
    max_examples=max(1, int(os.environ.get("EYESHOT_FUZZ", "300")) // 5),
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(specs(without=("opaque",)))
def test_enumeration_is_what_pytorch_reads_of_random_specs(spec: Spec) -> None:
    try:
        expected = torch_model.poison_all(spec, strict=True)
    except (NotImplementedError, ValueError):  # no such operator, or 0/0 without any poison
        reject()
    compare(spec, expected)
