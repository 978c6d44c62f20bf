"""The plan's numbers against arithmetic by hand and published values; what is refused, and the command."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import torch
from click.testing import CliRunner
from torch import Tensor, nn
from torch.nn import functional as F

import eyeshot
from eyeshot import EyeshotError, NotTileable, StreamPlan
from eyeshot.cli import main
from tests.streaming import signal_nets

SCHEMA = json.loads((files("eyeshot") / "schema" / "stream-1.json").read_text("utf-8"))


def test_wavenet() -> None:
    plan = eyeshot.stream_plan("example:wavenet", rate=16000)
    assert (plan.hop, plan.outputs_per_hop, plan.scale, plan.output_rate) == (1, 1, 1, 16000)
    # One stack of kernels of 2, dilated by 1 to 512: 1024 samples, of which one is the unit's own.
    assert plan.context == 1023 and plan.halo == (1023, 0) and plan.lookahead == 0
    assert plan.latency == 1 and plan.latency_ms == 0.0625 and plan.warm_up == 1
    assert plan.kept == 1023 and plan.state == 4 * 1023
    # A cache holds as many positions of 32 channels: filter and gate slide over the same.
    assert plan.cache == 4 * 32 * 1023
    chunk = plan.chunk(256)
    assert chunk == (256, 256, 1023 + 256, pytest.approx(1023 / 1279), 256)
    assert chunk in plan.chunks


def test_a_codec_at_24_khz_has_its_published_latency() -> None:
    """EnCodec's 24 kHz model: strides 2, 4, 5, 8 give 13.3 ms (Défossez et al. 2022, section 4.4)."""
    causal = [signal_nets.causal(1, 1, 2 * s, s, mode="reflect", whole=True) for s in (2, 4, 5, 8)]
    plan = eyeshot.stream_plan(nn.Sequential(*causal), (1, 1, 24000), rate=24000)
    assert plan.hop == plan.latency == 320
    assert plan.outputs_per_hop == 1 and plan.output_rate == 75 and plan.lookahead == 0
    assert plan.latency_ms == pytest.approx(13.33, abs=0.01)


def conv(*sizes: int, **more: Any) -> nn.Module:
    return nn.Conv1d(*sizes, **more)


@pytest.mark.parametrize(
    ("net", "hop", "outputs", "context", "lookahead", "latency", "warm_up"),
    [
        (conv(1, 1, 5, padding=2), 1, 1, 2, 2, 3, 3),
        (conv(1, 1, 5), 1, 1, 0, 4, 5, 5),
        (conv(1, 1, 5, stride=2), 2, 1, 0, 3, 5, 5),
        (conv(1, 1, 3, dilation=4, padding=4), 1, 1, 4, 4, 5, 5),
        # A delay of 4: cut to the input's length, an output is there when its own sample is, else before.
        (nn.ConstantPad1d((4, -4), 0.0), 1, 1, 4, 0, 1, 1),
        (nn.ConstantPad1d((4, 0), 0.0), 1, 1, 4, 0, 0, 0),
        (nn.Sequential(nn.Upsample(scale_factor=4), conv(1, 1, 3, padding=1)), 1, 4, 1, 1, 2, 1),
        # Windows of 8, 4 apart, overlap-added: a hop is read by the frames that begin in it and before.
        (nn.Sequential(conv(1, 3, 8, stride=4), nn.ConvTranspose1d(3, 1, 8, 4)), 4, 4, 4, 4, 8, 8),
        (nn.AvgPool1d(4), 4, 1, 0, 0, 4, 4),
        # 6 samples give 2 outputs and then 6: 3 samples each.
        (nn.Sequential(nn.AvgPool1d(3), nn.Upsample(scale_factor=3)), 3, 3, 0, 0, 3, 3),
        (nn.Sequential(nn.AvgPool1d(3), nn.Upsample(scale_factor=2)), 3, 2, 0, 0, 3, 3),
    ],
)
def test_by_hand(
    net: nn.Module,
    hop: int,
    outputs: int,
    context: int,
    lookahead: int,
    latency: int,
    warm_up: int,
) -> None:
    plan = eyeshot.stream_plan(net, (1, 1, 64))
    assert (plan.hop, plan.outputs_per_hop) == (hop, outputs)
    assert (plan.context, plan.lookahead) == (context, lookahead)
    assert (plan.latency, plan.warm_up) == (latency, warm_up)


def test_the_length_of_the_input_does_not_matter() -> None:
    net = signal_nets.wav2vec()[2:]  # type: ignore[index]
    short, long = (eyeshot.stream_plan(net, (1, 3, n)) for n in (20, 1001))
    assert {**short.to_dict(), "shape": None} == {**long.to_dict(), "shape": None}


def test_a_cache_counts_what_windows_share() -> None:
    inner = [conv(2, 8, 1), conv(8, 8, 5, padding=2, groups=8), conv(8, 3, 3, stride=2)]
    assert eyeshot.stream_plan(nn.Sequential(*inner), (1, 2, 64)).cache == 4 * (8 * 4 + 8 * 1)
    pooled = nn.Sequential(conv(2, 8, 1), nn.AvgPool1d(3, 1))
    assert eyeshot.stream_plan(pooled, (1, 2, 64)).cache == 4 * (8 * 2)
    up = nn.ConvTranspose1d(4, 2, 8, 4)
    assert eyeshot.stream_plan(up, (1, 4, 64)).cache == 4 * (4 * 1)
    double = eyeshot.stream_plan(up, (1, 4, 64), dtype="float64")
    assert (double.cache, double.state % 32) == (8 * 4, 0)


class Same(nn.Module):
    """TensorFlow's SAME, whose padding on the left goes by the length."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(1, 1, 5, 3)

    def forward(self, x: Tensor) -> Tensor:
        n = x.shape[-1]
        total = max(0, (-(-n // 3) - 1) * 3 + 5 - n)
        return self.conv(F.pad(x, (total // 2, total - total // 2)))  # type: ignore[no-any-return]


class Recurrent(nn.Module):
    def __init__(self, both: bool) -> None:
        super().__init__()
        self.rnn = nn.LSTM(1, 2, batch_first=True, bidirectional=both)

    def forward(self, x: Tensor) -> Tensor:
        return self.rnn(x.transpose(1, 2))[0]  # type: ignore[no-any-return]


class Attention(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        y = x.transpose(1, 2)
        return F.scaled_dot_product_attention(y, y, y)


class Resize(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(F.avg_pool1d(x, 2), size=x.shape[-1])


class Norm(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(conv(1, 4, 3), nn.GroupNorm(2, 4))


class Pool(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(conv(1, 4, 3), nn.AdaptiveAvgPool1d(1), nn.Flatten())


@pytest.mark.parametrize(
    ("net", "names"),
    [
        (Same(), ["constant_pad_nd", "the begin"]),
        (Recurrent(False), ["rnn", "carries a state"]),
        (Recurrent(True), ["rnn", "both directions"]),
        (Attention(), ["attention", "attends"]),
        (Resize(), ["upsample", "resamples"]),
        (Norm(), ["1 (group_norm)", "statistics"]),
        (Pool(), ["1 (adaptive_avg_pool1d)", "reduces"]),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else None,
)
def test_refusals_name_the_layers(net: nn.Module, names: list[str]) -> None:
    with pytest.raises(NotTileable, match="no stream equals the whole") as caught:
        eyeshot.stream_plan(net, (1, 1, 60))
    for name in names:
        assert name in str(caught.value)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"rate": 0}, "rate"),
        ({"rate": float("nan")}, "rate"),
        ({"rate": True}, "rate"),
        ({"chunks": [6]}, "the hop is 4: take 4 or 8"),
        ({"chunks": [3]}, "take 4, say"),
        ({"chunks": [0]}, "the hop is 4"),
        ({"time": 5}, "5"),
        ({"time": 0}, "batch"),
        ({"dtype": "nonsense"}, "dtype"),
        ({"output": "nothing"}, "nothing"),
    ],
)
def test_bad_requests(options: dict[str, Any], says: str) -> None:
    with pytest.raises(EyeshotError, match=says):
        eyeshot.stream_plan(nn.AvgPool1d(4), (1, 1, 64), **options)


def test_time_has_to_be_said_where_there_are_several_axes() -> None:
    net = nn.Conv2d(1, 2, (3, 5), padding=(1, 0))
    with pytest.raises(EyeshotError, match=r"\[2, 3\] of input is time"):
        eyeshot.stream_plan(net, (1, 1, 8, 64))
    plan = eyeshot.stream_plan(net, (1, 1, 8, 64), time=-1)
    assert (plan.time, plan.dim, plan.lookahead, plan.state) == (3, 3, 4, 4 * 8 * plan.kept)
    # The batch may be left out; dims are counted with it all the same.
    for shape in ((1, 8, 64), "1x8x64"):
        assert eyeshot.stream_plan(net, shape, time=3).to_dict() == plan.to_dict()
    # A spec's axes can't be chosen, but looked at one by one.
    spec = {"input": [1, 8, 64], "layers": {"a": {"op": "conv", "kernel": [3, 5]}}}
    assert eyeshot.stream_plan(spec, time=3).lookahead == 4
    assert eyeshot.stream_plan(spec, time=2).lookahead == 2


# --- views


def test_json_follows_its_schema() -> None:
    for rate in (None, 8000):
        plan = eyeshot.stream_plan(signal_nets.wavenet(2), (1, 1, 64), rate=rate)
        jsonschema.validate(json.loads(json.dumps(plan.to_dict())), SCHEMA)


TABLE = """\
AvgPool1d · input 1x1x64 → avg_pool1d · 8,000 Hz
hop        4 samples (0.5 ms) for 1 output (2,000 a second)
latency    4 samples (0.5 ms): the hop
context    0 samples before a hop
lookahead  0 samples after it
warm-up    4 samples (0.5 ms) until the first output
chunks     any size gives the whole's outputs; multiples of 4 give as many for
           each chunk
state      7 samples of the input at most, 28 bytes (float32), and nothing else
cached     0 bytes if every layer kept its own context; then nothing would be
           computed again

chunk   ms   outputs   latency   ms   run on   again
────────────────────────────────────────────────────
    8    1         2         8    1        8   0.0 %"""


def pooled(chunks: list[int] | None = None) -> StreamPlan:
    return eyeshot.stream_plan(nn.AvgPool1d(4), (1, 1, 64), rate=8000, chunks=chunks)


def test_text() -> None:
    assert str(pooled([8])) == TABLE


def test_command(tmp_path: Path) -> None:
    run = CliRunner().invoke
    done = run(main, ["stream", "plan", "example:wavenet", "--rate", "16000", "--chunk", "160"])
    assert done.exit_code == 0, done.output
    assert "context    1,023 samples (63.94 ms) before a hop" in done.output
    assert done.output.splitlines()[-1].split() == "160 10 160 160 10 1,183 86.5 %".split()
    file = tmp_path / "plan.json"
    done = run(main, ["stream", "plan", "example:wavenet", "-f", "json", "-o", str(file)])
    assert done.exit_code == 0 and done.output == ""
    held = json.loads(file.read_text("utf-8"))
    jsonschema.validate(held, SCHEMA)
    assert held["context"] == 1023 and held["rate"] is None


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["example:vgg16", "--time", "2"], "fc6 (linear) has a weight for every position"),
        (["example:unet"], "which of the axes [2, 3]"),
        (["example:wavenet", "--chunk", "0"], "--chunk"),
        (["example:wavenet", "--rate", "-1"], "rate"),
        (["example:wavenet", "--input", "a=1x16", "--input", "b=1x16"], "one input"),
        (["nowhere.yaml"], "nowhere.yaml"),
    ],
)
def test_bad_commands(words: list[str], says: str) -> None:
    done = CliRunner().invoke(main, ["stream", "plan", *words])
    assert done.exit_code == 2
    assert says in done.output and done.output.count("\n") == 1


def test_nothing_is_run() -> None:
    """The plan needs no weights: a module without data will do."""
    with torch.device("meta"):
        net = signal_nets.wavenet(3)
    assert eyeshot.stream_plan(net, (1, 1, 64)).context == 7
