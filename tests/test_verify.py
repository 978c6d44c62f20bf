"""The proof on real modules: it agrees where the rules are right, and fails where one is broken."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from click.testing import CliRunner
from torch import Tensor, nn

import eyeshot
from eyeshot.analysis.verify import Probe, Target, default_probes, targets
from eyeshot.analysis.verify import verify as compare
from eyeshot.cli import main
from eyeshot.core import families
from eyeshot.core.primitives import Taps

# --- networks


class Block(nn.Module):
    """A residual block as in ResNet-18, in place."""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(out)
        self.conv2 = nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out)
        self.short = nn.Conv2d(channels, out, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)), inplace=True)))
        y += self.short(x)
        return y.relu_()


class Pixels(nn.Module):
    """A stem, two stages, global pooling and a classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 7, 2, 3)
        self.pool = nn.MaxPool2d(3, 2, 1)
        self.stages = nn.Sequential(Block(4, 4, 1), Block(4, 8, 2))
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stages(self.pool(self.stem(x)))
        return self.head(F.adaptive_avg_pool2d(x, 1).flatten(1))


class UNet(nn.Module):
    """Two levels, bilinear upsampling, a skip connection by concatenation."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Conv2d(1, 4, 3, padding=1)
        self.low = nn.Conv2d(4, 4, 3, padding=1)
        self.up = nn.Conv2d(8, 2, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        skip = self.down(x).relu()
        low = self.low(F.max_pool2d(skip, 2)).relu()
        wide = F.interpolate(low, scale_factor=2.0, mode="bilinear", align_corners=False)
        return self.up(torch.cat([skip, wide], 1))


class Attention(nn.Module):
    """Self-attention over tokens of a convolution's patches, or of a signal."""

    def __init__(self, causal: bool = False) -> None:
        super().__init__()
        self.embed = nn.Conv1d(2, 8, 3, 3)
        self.qkv = nn.Linear(8, 24)
        self.out = nn.Linear(8, 8)
        self.causal = causal

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x).transpose(1, 2)
        q, k, v = self.qkv(x).unflatten(-1, (3, 2, 4)).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        return x + self.out(y.transpose(1, 2).flatten(2))


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(1, 3, 3, 2)
        self.lstm = nn.LSTM(3, 4, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.lstm(self.conv(x).transpose(1, 2))[0]


class Tokens(nn.Module):
    """Embedding with positions, then a causal convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.token = nn.Embedding(10, 4)
        self.place = nn.Embedding(32, 4)
        self.conv = nn.Conv1d(4, 4, 3)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.token(ids) + self.place(torch.arange(ids.shape[1]))
        return self.conv(F.pad(x.transpose(1, 2), (2, 0)))


class Batchwise(nn.Module):
    """Samples of a batch are mixed."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(1, 2, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return x - x.mean(0, keepdim=True) * 0.5


NETS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "resnet": (Pixels, (1, 3, 33, 40)),
    "unet": (UNet, (1, 1, 16, 20)),
    "strided": (
        lambda: nn.Sequential(nn.Conv1d(1, 2, 5, 3, 1), nn.GELU(), nn.ConvTranspose1d(2, 1, 4, 2)),
        (1, 1, 47),
    ),
    "3-d": (
        lambda: nn.Sequential(nn.Conv3d(1, 2, 3, dilation=2), nn.AvgPool3d((1, 2, 2))),
        (1, 1, 6, 9, 8),
    ),
    "attention": (Attention, (1, 2, 31)),
    "causal attention": (lambda: Attention(causal=True), (1, 2, 31)),
    "lstm": (Recurrent, (1, 1, 22)),
}


@pytest.fixture(autouse=True)
def one_thread() -> Any:
    torch.manual_seed(0)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("name", NETS)
def test_agrees_on_every_end(name: str) -> None:
    make, shape = NETS[name]
    module = make()
    result = eyeshot.verify(module, shape, probes=400)
    assert result.ok, str(result)
    assert result.dtype == "float64"
    assert result.batch > 1
    assert result.bounds == 0 and not result.not_shown and not result.notes
    assert result.pinned == result.ends > 0
    assert len(result.layers) == len(eyeshot.analyze(module, shape))
    assert "agrees" in str(result)


def test_tokens() -> None:
    """A spoilt token is seen through its embedding, whatever the table holds."""
    module = Tokens()
    nn.init.constant_(module.token.weight, 1.0)
    result = eyeshot.verify(module, (1, 20))
    assert result.ok and result.pinned == result.ends > 0, str(result)


def test_few_probes_pin_less() -> None:
    seen: list[tuple[int, int]] = []
    result = eyeshot.verify(
        Pixels(), (1, 3, 64, 64), probes=12, progress=lambda *at: seen.append(at)
    )
    assert result.ok and result.probes == 12
    assert seen == [(k, 12) for k in range(1, 13)]
    assert 0 < result.pinned < result.ends


def test_the_default_fits_the_network() -> None:
    assert [default_probes(n) for n in (0, 10**4, 38 * 10**6, 10**9)] == [256, 256, 28, 24]


def test_chosen_layers_and_the_outputs() -> None:
    result = eyeshot.verify(Pixels(), (1, 3, 32, 32), layers="stages.0.*", probes=20)
    assert all(name.startswith("stages.0.") for name in result.layers[:-1])
    assert result.layers[-1] == "head"
    with pytest.raises(eyeshot.EyeshotError, match="no layer is named like"):
        eyeshot.verify(Pixels(), (1, 3, 32, 32), layers="nothing*")


def test_several_inputs_and_a_batch() -> None:
    class Two(nn.Module):
        def forward(self, a: Tensor, b: Tensor) -> Tensor:
            return F.avg_pool1d(a, 3, 1) + b[..., 1:-1]

    result = eyeshot.verify(Two(), args=(torch.randn(2, 1, 9), torch.randn(2, 1, 9)))
    assert result.ok and result.batch == 1 and result.pinned == result.ends, str(result)


# --- how the module is run


def test_samples_that_mix_run_alone() -> None:
    result = eyeshot.verify(Batchwise(), (1, 1, 12))
    assert result.ok and result.batch == 1
    assert "mixes the samples" in str(result)


def test_a_batch_of_one_only() -> None:
    class One(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return F.avg_pool1d(x.view(1, 1, 12), 3, 1)

    result = eyeshot.verify(One(), (1, 1, 12))
    assert result.ok and result.batch == 1 and "batch of one only" in str(result)


def test_training_mode() -> None:
    net = nn.Sequential(nn.Conv1d(1, 2, 3), nn.BatchNorm1d(2), nn.Dropout(0.3))
    result = eyeshot.verify(net, (1, 1, 14), training=True)
    assert result.ok and result.batch == 1
    assert result.pinned == result.ends


def test_meta_device() -> None:
    with torch.device("meta"):
        module = Pixels()
    result = eyeshot.verify(module, (1, 3, 32, 32), probes=30)
    assert result.ok and "random weights" in str(result)
    assert all(p.is_meta for p in module.parameters())


def test_integers_on_the_meta_device_are_missed() -> None:
    class Table(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("order", torch.arange(8, device="meta"))

        def forward(self, x: Tensor) -> Tensor:
            return x[..., self.order]

    with pytest.raises(eyeshot.EyeshotError, match="order: a buffer of int64 on the meta device"):
        eyeshot.verify(Table(), (1, 1, 8))


def test_half_precision() -> None:
    module = UNet().to(torch.bfloat16)
    result = eyeshot.verify(module, (1, 1, 16, 16), probes=40)
    assert result.ok and result.dtype == "float64"
    assert {p.dtype for p in module.parameters()} == {torch.bfloat16}


def test_a_module_that_needs_float32() -> None:
    class Fixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.kernel = [torch.randn(1, 1, 3)]

        def forward(self, x: Tensor) -> Tensor:
            return F.conv1d(x, self.kernel[0].to(torch.float32))

    result = eyeshot.verify(Fixed(), (1, 1, 12))
    assert result.ok and result.dtype == "float32" and result.pinned == result.ends
    assert "float64 raised" in str(result)


def test_the_module_stays_as_it_was() -> None:
    class Counts(Pixels):
        calls = 0

        def forward(self, x: Tensor) -> Tensor:
            self.calls += 1
            return super().forward(x)

    module = Counts().train()
    module.stem.weight.grad = torch.ones_like(module.stem.weight)
    before = copy.deepcopy(module)
    state, default = torch.random.get_rng_state(), torch.get_default_dtype()
    enabled = torch._C._get_mkldnn_enabled()
    eyeshot.verify(module, (1, 3, 32, 32), probes=5, training=None)
    assert torch.equal(state, torch.random.get_rng_state())
    assert torch.get_default_dtype() == default and torch._C._get_mkldnn_enabled() == enabled
    assert module.training and module.calls == 0 and not module._forward_hooks
    assert torch.equal(module.stem.weight.grad, torch.ones_like(module.stem.weight))
    for name, tensor in before.state_dict().items():
        now = module.state_dict()[name]
        assert now.dtype == tensor.dtype and torch.equal(now, tensor), name


# --- what swallows poison


def test_comparisons_are_probed_with_numbers() -> None:
    """A mask drops NaN; a finite change shows where it reads."""

    class Gate(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return (F.avg_pool1d(x, 3, 1) > 0.0).to(x.dtype)

    result = eyeshot.verify(Gate(), (1, 3, 24))
    assert result.ok and result.bounds == 0, str(result)
    assert result.pinned + result.not_shown >= result.ends * 0.9, str(result)


def test_what_no_poison_shows_is_counted() -> None:
    class Saturated(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return (F.avg_pool1d(x, 3, 1) > math.inf).to(x.dtype)

    result = eyeshot.verify(Saturated(), (1, 1, 24), layers="gt")
    assert result.layers == ("gt", "output")
    assert result.ok and result.not_shown > 0 and result.pinned == 0 < result.ends
    assert "not shown" in str(result)


# --- it can fail

CONV = families.conv


def narrower(g: Any, x: int, kernel: Any, stride: Any, pads: Any, *rest: Any, **kw: Any) -> int:
    """Windows too small by one on either side."""
    return CONV(
        g, x, [k - 2 for k in kernel], stride, [(a - 1, b - 1) for a, b in pads], *rest, **kw
    )


def wider(g: Any, x: int, kernel: Any, stride: Any, pads: Any, *rest: Any, **kw: Any) -> int:
    """Windows too large by one on either side."""
    return CONV(
        g, x, [k + 2 for k in kernel], stride, [(a + 1, b + 1) for a, b in pads], *rest, **kw
    )


def shifted(g: Any, x: int, kernel: Any, stride: Any, pads: Any, *rest: Any, **kw: Any) -> int:
    """Windows one position too early."""
    return CONV(g, x, kernel, stride, [(a + 1, b - 1) for a, b in pads], *rest, **kw)


def plain() -> nn.Module:
    return nn.Sequential(nn.ReLU(), nn.Conv1d(1, 2, 5, 2, 2), nn.ReLU())


@pytest.mark.parametrize(
    ("broken", "reported", "probes"),
    [(narrower, (5, 8), 400), (wider, (3, 10), 400), (shifted, (3, 8), 400),
     (narrower, None, 12), (wider, None, 12), (shifted, None, 12)],
)  # fmt: skip
def test_a_broken_window(
    broken: Any, reported: tuple[int, int] | None, probes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(families, "conv", broken)
    result = eyeshot.verify(plain(), (1, 1, 40), probes=probes)
    assert not result.ok and "DISAGREES" in str(result)
    assert {d.layer for d in result.disagreements} == {"1", "2"}
    for found in result.disagreements:
        (i,) = found.unit
        assert found.input == "input" and found.axis == 2 and found.units >= 1
        assert found.real == (max(0, 2 * i - 2), min(40, 2 * i + 3))
        assert found.reported != found.real
        start, end = found.reported
        assert f"eyeshot [{start}, {end}), the module [{found.real[0]}, {found.real[1]})" in str(
            found
        )
    if reported is not None:
        wrong = eyeshot.analyze(plain(), (1, 1, 40))["1"].boxes()
        assert tuple(wrong[3, 0]) == reported


def test_a_wrong_phase(monkeypatch: pytest.MonkeyPatch) -> None:
    real = families.conv_transpose

    def one_off(g: Any, x: int, *rest: Any, **kw: Any) -> int:
        y = real(g, x, *rest, **kw)
        n = g.shapes[y][2]
        # Every fourth position reads what its neighbour does.
        moved = Taps(4, 4, (0, 1, 2, 2), (1, 1, 1, 1))
        from eyeshot.core.primitives import Stencil

        return g.add(Stencil(2, moved, n), y)

    net = nn.Sequential(nn.Conv1d(1, 1, 1), nn.ConvTranspose1d(1, 1, 4, 2, 1), nn.Conv1d(1, 1, 1))
    assert eyeshot.verify(net, (1, 1, 64)).ok
    monkeypatch.setattr(families, "conv_transpose", one_off)
    for probes in (24, 400):
        result = eyeshot.verify(net, (1, 1, 64), probes=probes)
        assert not result.ok
        assert {d.layer for d in result.disagreements} == {"1", "2"}


def test_a_missed_global(monkeypatch: pytest.MonkeyPatch) -> None:
    from eyeshot.frontends.torch.rules import RULES

    class Squeeze(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return F.avg_pool1d(x, 3, 1) * F.softmax(x, 1).amax(2, keepdim=True)

    def without_context(c: Any, self: Tensor, *rest: Any, **kw: Any) -> int:
        # Of all positions only the first.
        return families.narrow(c.g, c.v(self), 2, 0, 1)

    assert eyeshot.verify(Squeeze(), (1, 2, 20)).ok
    monkeypatch.setitem(RULES, "aten::amax", without_context)
    result = eyeshot.verify(Squeeze(), (1, 2, 20), probes=10)
    assert not result.ok
    assert all(d.real == (0, 20) for d in result.disagreements)


def test_a_bound_is_checked_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Too large a bound is none of its business; one too small is."""

    def bounded(by: int) -> Any:
        def conv(g: Any, x: int, kernel: Any, stride: Any, pads: Any, *rest: Any, **kw: Any) -> int:
            y = CONV(g, x, [k + 2 * by for k in kernel], stride,
                     [(a + by, b + by) for a, b in pads], *rest, **kw)  # fmt: skip
            g.bounds[y] = eyeshot.analysis.report.Diagnostic("no-rule", "", "", "by design")
            return y

        return conv

    monkeypatch.setattr(families, "conv", bounded(1))
    result = eyeshot.verify(plain(), (1, 1, 40))
    assert result.ok and result.bounds == 2 and "only bounded" in str(result)
    monkeypatch.setattr(families, "conv", bounded(-1))
    assert not eyeshot.verify(plain(), (1, 1, 40)).ok


def test_a_given_report_is_checked() -> None:
    shape = (1, 1, 40)
    other = nn.Sequential(nn.ReLU(), nn.Conv1d(1, 2, 3, 2, 1), nn.ReLU())
    assert eyeshot.verify(plain(), shape, report=eyeshot.analyze(plain(), shape)).ok
    assert not eyeshot.verify(plain(), shape, report=eyeshot.analyze(other, shape)).ok


def test_any_runner_will_do() -> None:
    """The comparison knows nothing of PyTorch: a runner that answers from known windows."""

    class Windows:
        dtype, passes, notes, batch = "float64", 0, (), 4

        def __init__(self, width: int) -> None:
            self.width = width

        def hidden(self, layer: str) -> bool:
            return False

        def dirty(self, probes: Any, *, harder: bool = False) -> Any:
            first = np.arange(8)
            for probe in probes:
                yield {"a": (first < probe.end) & (first + self.width > probe.begin)}

    report = eyeshot.analyze({"a": [3, 1, 0]}, input=10)
    chosen, _ = targets(report)
    assert chosen == [Target("a", (1, 1, 8), (2,))]
    assert Probe("input", 2, 0, 3).end == 3
    assert compare(report, Windows(3), chosen, 100).ok
    for width, real in ((2, (0, 2)), (4, (0, 4))):
        (found,) = compare(report, Windows(width), chosen, 100).disagreements
        assert found.reported == (found.unit[0], found.unit[0] + 3)
        assert found.real == (found.unit[0], found.unit[0] + real[1])


# --- the command


@pytest.fixture
def net(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "eyeshot_verify_net.py").write_text(
        "from torch import nn\n"
        "def small():\n    return nn.Sequential(nn.Conv1d(1, 2, 3, 2), nn.ReLU())\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    return "eyeshot_verify_net:small"


def run(*args: str) -> Any:
    return CliRunner().invoke(main, ["verify", *args])


def test_command(net: str) -> None:
    done = run(net, "--input", "1x30", "--probes", "200", "--seed", "3")
    assert done.exit_code == 0, done.output
    first, second, third = done.stdout.splitlines()
    assert first.endswith("agrees")
    assert "probes in" in second and "(float64, 16 at a time)" in second
    assert third == "2 layers, 28 units; all 56 ends of exact hulls placed to the position"
    assert done.stderr == ""


def test_command_json(net: str) -> None:
    done = run(net, "--input", "1x30", "--layers", "0", "--format", "json")
    found = json.loads(done.stdout)
    assert done.exit_code == 0 and found["ok"] and found["layers"] == ["0", "1"]
    assert found["disagreements"] == [] and found["pinned"] == found["ends"] == 56


@pytest.mark.parametrize("form", ["text", "json"])
def test_command_fails(net: str, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(families, "conv", wider)
    done = run(net, "--input", "1x30", "--format", form)
    assert done.exit_code == 1
    if form == "json":
        found = json.loads(done.stdout)
        assert (
            not found["ok"]
            and found["disagreements"][0]["real"] != found["disagreements"][0]["reported"]
        )
    else:
        assert "DISAGREES" in done.stdout and "the module [" in done.stdout


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["example:alexnet"], "a spec has no weights"),
        (["net.yaml"], "a spec has no weights"),
        (["NET"], "give an input"),
        (["NET", "--input", "1x30", "--layers", "x*"], "no layer is named like 'x*'"),
        (["NET", "--input", "2x30"], "input"),
        (["NET", "--input", "1x30", "--probes", "0"], "--probes"),
    ],
)
def test_command_refuses(net: str, args: list[str], message: str) -> None:
    done = run(*[net if a == "NET" else a for a in args])
    assert done.exit_code == 2 and message in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    "options", [{"probes": 0}, {"probes": True}, {"layers": 3}, {"input": None}]
)
def test_bad_arguments(options: dict[str, Any]) -> None:
    with pytest.raises(eyeshot.EyeshotError):
        eyeshot.verify(plain(), **{"input": (1, 1, 9), **options})


def test_a_spec_has_no_module() -> None:
    with pytest.raises(eyeshot.EyeshotError, match="a spec has no weights"):
        eyeshot.verify({"a": [3, 1, 1]}, 9)


def test_a_module_that_fails_says_so() -> None:
    class Broken(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise RuntimeError("no such luck")

    with pytest.raises(eyeshot.EyeshotError, match="no such luck"):
        eyeshot.verify(Broken(), (1, 1, 9))
