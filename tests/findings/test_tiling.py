"""What keeps a network from running on tiles: against real modules, run on tiles and on the whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

import eyeshot
from eyeshot.analysis.findings import Finding
from eyeshot.analysis.findings.blockers import KINDS, kind_of

SIZE, TILE, GRID, HALO = 32, 16, 4, 12


@pytest.fixture(autouse=True)
def double() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    yield
    torch.set_default_dtype(torch.float32)


class Do(nn.Module):
    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def equals_tiles(net: nn.Module) -> bool:
    """Whether tiles of the input, with an overlap and on the grid of the strides, give what the whole gives."""
    net = net.double().eval()
    x = torch.randn(1, 2, SIZE, SIZE)
    with torch.no_grad():
        whole = net(x)
        out = torch.full_like(whole, torch.nan)
        for a in range(0, SIZE, TILE):
            for b in range(0, SIZE, TILE):
                rows = slice(max(0, a - HALO), min(SIZE, a + TILE + HALO))
                columns = slice(max(0, b - HALO), min(SIZE, b + TILE + HALO))
                part = net(x[..., rows, columns])
                if part.shape[2] != rows.stop - rows.start:
                    return False
                top, left = a - rows.start, b - columns.start
                out[..., a : a + TILE, b : b + TILE] = part[
                    ..., top : top + TILE, left : left + TILE
                ]
    return bool(torch.allclose(whole, out, rtol=1e-9, atol=1e-12))


def tiling(source: Any, shape: Any = (1, 2, SIZE, SIZE), **options: Any) -> list[Finding]:
    found = eyeshot.check(source, shape, select="blocks-tiling", **options)
    assert not found.skipped
    return list(found)


def streaming(source: Any, shape: Any = None, **options: Any) -> list[Finding]:
    found = eyeshot.check(source, shape, select="blocks-streaming", **options)
    assert not found.skipped
    return list(found)


def conv(kernel: int = 3, **more: Any) -> nn.Conv2d:
    return nn.Conv2d(2, 2, kernel, padding=kernel // 2, **more)


def halved() -> nn.Module:
    return nn.Sequential(nn.MaxPool2d(2), conv(), nn.Upsample(scale_factor=2, mode="nearest"))


FREE: dict[str, Callable[[], nn.Module]] = {
    "convolutions": conv,
    "dilated": lambda: nn.Conv2d(2, 2, 3, padding=2, dilation=2),
    "pool and upsample": halved,
    "transposed": lambda: nn.Sequential(
        nn.Conv2d(2, 2, 2, 2), nn.ConvTranspose2d(2, 2, 4, 2, 1)
    ),
    "bilinear": lambda: nn.Sequential(
        nn.AvgPool2d(2), nn.Upsample(scale_factor=2, mode="bilinear")
    ),
    "reflected border": lambda: conv(padding_mode="reflect"),
    "repeated border": lambda: conv(padding_mode="replicate"),
    "batch norm in eval": lambda: nn.BatchNorm2d(2),
    "norm over channels": lambda: Do(lambda x: F.layer_norm(x.permute(0, 2, 3, 1), (2,)).permute(0, 3, 1, 2)),
    "windows": lambda: Do(windows),
    "shuffle": lambda: nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(8, 8, 3, padding=1), nn.PixelShuffle(2)),
}  # fmt: skip


def windows(x: Tensor) -> Tensor:
    """Attention within windows of 4x4."""
    n, c, h, w = x.shape
    y = x.unflatten(2, (-1, 4)).unflatten(4, (-1, 4)).permute(0, 2, 4, 3, 5, 1).flatten(3, 4)
    y = F.scaled_dot_product_attention(y, y, y).unflatten(3, (4, 4))
    return y.permute(0, 5, 1, 3, 2, 4).reshape(n, c, h, w)


def attention(x: Tensor) -> Tensor:
    y = x.flatten(2).mT
    return F.scaled_dot_product_attention(y, y, y).mT.reshape(x.shape)


class Rows(nn.Module):
    """A recurrence along the columns of each row."""

    def __init__(self, both: bool) -> None:
        super().__init__()
        self.gru = nn.GRU(2, 1 if both else 2, batch_first=True, bidirectional=both)

    def forward(self, x: Tensor) -> Tensor:
        rows = x.permute(0, 2, 3, 1)
        return self.gru(rows.flatten(0, 1))[0].unflatten(0, rows.shape[:2]).permute(0, 3, 1, 2)


#: What blocks, its kind, and the axes along which.
BLOCKED: dict[str, tuple[Callable[[], nn.Module], str, list[int]]] = {
    "gate": (lambda: Do(lambda x: x * x.mean((2, 3), keepdim=True)), "pooling", [2, 3]),
    "rows' maximum": (lambda: Do(lambda x: x + x.amax(3, keepdim=True)), "pooling", [3]),
    "instance norm": (lambda: nn.InstanceNorm2d(2), "norm", [2, 3]),
    "group norm": (lambda: nn.GroupNorm(1, 2), "norm", [2, 3]),
    "attention": (lambda: Do(attention), "attention", [2, 3]),
    "columns against columns": (
        lambda: Do(lambda x: F.scaled_dot_product_attention(x, x, x)),  # products of whole rows
        "attention",
        [2, 3],
    ),
    "recurrence": (lambda: Rows(False), "recurrence", [3]),
    "two-way recurrence": (lambda: Rows(True), "two-way recurrence", [3]),
    "running sum": (lambda: Do(lambda x: x.cumsum(2)), "running", [2]),
    "mixer": (lambda: nn.Linear(SIZE, SIZE), "linear", [3]),
    "sorting": (lambda: Do(lambda x: x + x.sort(3)[0][..., :1]), "sorting", [3]),
    "align_corners": (
        lambda: nn.Sequential(
            nn.AvgPool2d(2), nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)
        ),
        "rate",
        [2, 3],
    ),
    "resized to a size": (
        lambda: Do(lambda x: F.interpolate(F.interpolate(x, size=13), size=x.shape[2:])),
        "rate",
        [2, 3],
    ),
    "pyramid": (
        lambda: Do(
            lambda x: x + F.interpolate(nn.AdaptiveAvgPool2d(4)(x), scale_factor=x.shape[2] // 4)
        ),
        "rate",
        [2, 3],
    ),
    "circular": (lambda: conv(padding_mode="circular"), "circular", [2, 3]),
    "mirrored": (lambda: Do(lambda x: x + x.flip(3)), "order", [3]),
}


@pytest.mark.parametrize("name", FREE)
def test_networks_that_tile(name: str) -> None:
    net = nn.Sequential(conv(), FREE[name](), conv())
    assert tiling(net) == [] == tiling(net, tileable=True)
    assert equals_tiles(net)


@pytest.mark.parametrize("name", BLOCKED)
def test_networks_that_do_not_tile(name: str) -> None:
    make, kind, axes = BLOCKED[name]
    net = nn.Sequential(conv(), make(), conv()).double()
    found = tiling(net)
    assert [f.evidence["kind"] for f in found] == [kind]
    assert found[0].evidence["axes"] == axes
    assert found[0].severity == "note" and found[0].exact
    assert found[0].layers[0].startswith(("1", "mean", "amax", "output"))
    assert found[0].remedy == KINDS[kind].instead
    assert [f.severity for f in tiling(net, tileable=True)] == ["error"]
    if name != "mixer":  # it takes no other size at all
        assert not equals_tiles(net)


def test_frozen_statistics_are_the_remedy() -> None:
    net = nn.Sequential(conv(), nn.BatchNorm2d(2), conv())
    (finding,) = tiling(net, training=True)
    assert finding.evidence["kind"] == "norm" and finding.layers == ("1",)
    assert tiling(net) == []


def test_causes_of_one_kind_are_one_finding() -> None:
    """All of them, also those behind the first, where the fields see everything already."""
    block = [m for _ in range(3) for m in (conv(), nn.InstanceNorm2d(2), nn.ReLU())]
    found = tiling(nn.Sequential(*block, Do(lambda x: x * x.mean((2, 3), keepdim=True))))
    assert [(f.evidence["kind"], f.evidence["count"]) for f in found] == [
        ("pooling", 1),
        ("norm", 3),
    ]
    assert found[1].layers == ("1", "4", "7")
    assert found[1].evidence["layers_behind"] == 10  # mean, mul, and all from the first norm on
    assert "as do 4 and 7" in found[1].message


def test_windows_are_not_blamed_for_a_gate_beside_them() -> None:
    (finding,) = tiling(nn.Sequential(conv(), FREE["windows"](), BLOCKED["gate"][0]()))
    assert finding.evidence["kind"] == "pooling"


def test_only_what_the_map_reads_blocks_it() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.map, self.score = conv(), nn.Linear(2, 3)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            x = self.map(x)
            return x, self.score(x.mean((2, 3)))

    assert tiling(Two()) == []


def test_silent_on_networks_without_a_map() -> None:
    net = nn.Sequential(conv(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 3))
    assert tiling(net) == []
    (finding,) = tiling(net, tileable=True)
    assert finding.severity == "error" and finding.layers == ("1",)
    (finding,) = tiling(nn.Flatten(2), tileable=True)
    assert "No output has a dim along each of the 2 axes" in finding.message


def test_the_rate_tells_its_sizes() -> None:
    (finding,) = tiling(BLOCKED["align_corners"][0]())
    assert finding.evidence["resized"] == [16, 32]
    assert "(16 positions become 32)" in finding.message


@pytest.mark.parametrize(
    ("op", "kind"),
    [
        ("adaptive_avg_pool2d", "pooling"),
        ("GlobalAveragePool", "pooling"),
        ("ReduceMean", "pooling"),
        ("LayerNormalization", "norm"),
        ("instance_norm1d", "norm"),
        ("MultiHeadAttention", "attention"),
        ("softmax", "attention"),
        ("Gemm", "linear"),
        ("linear", "linear"),
        ("LSTM", "recurrence"),
        ("fft_r2c", "transform"),
        ("TopK", "sorting"),
        ("something", "mixing"),
    ],
)
def test_kinds_by_name(op: str, kind: str) -> None:
    assert kind_of(op) == kind


@settings(max_examples=30)
@given(st.data())
def test_drawn_networks(data: st.DataObject) -> None:
    """A step that blocks is always found and always shows; without one nothing is found and tiles are exact."""
    names = data.draw(st.lists(st.sampled_from(sorted(FREE)), min_size=1, max_size=2))
    steps = [FREE[name]() for name in names]
    kinds = []
    for name in data.draw(st.lists(st.sampled_from(sorted(set(BLOCKED) - {"mixer"})), max_size=2)):
        make, kind, _ = BLOCKED[name]
        kinds.append(kind)
        steps.insert(data.draw(st.integers(0, len(steps))), make())
    net = nn.Sequential(*steps).double()
    assert sorted({f.evidence["kind"] for f in tiling(net)}) == sorted(set(kinds))
    if not kinds:
        assert equals_tiles(net)


# --- piece by piece


SIGNAL = (1, 2, 24)


def test_what_streams() -> None:
    """A finite past and a finite future are a matter of context and latency."""
    net = nn.Sequential(
        nn.Conv1d(2, 2, 5, padding=2), nn.BatchNorm1d(2), nn.Conv1d(2, 2, 3, stride=2)
    )
    assert streaming(net, SIGNAL) == [] == streaming(net, SIGNAL, streamable=True)
    assert not len(eyeshot.check("example:wavenet", select="tiling", streamable=True))


STATES: dict[str, tuple[nn.Module, tuple[int, ...], int, str]] = {
    "state": (nn.LSTM(3, 4, batch_first=True), (1, 9, 3), 1, "recurrence"),
    "both ways": (nn.LSTM(3, 4, batch_first=True, bidirectional=True), (1, 9, 3), 1, "two-way recurrence"),
    "running sum": (Do(lambda x: x.cumsum(2)), SIGNAL, 2, "running"),
    "causal attention": (
        Do(lambda x: F.scaled_dot_product_attention(x, x, x, is_causal=True)), (1, 9, 3), 1, "causal attention"
    ),
    "attention": (Do(lambda x: F.scaled_dot_product_attention(x, x, x)), (1, 9, 3), 1, "attention"),
    "norm": (nn.Sequential(nn.Conv1d(2, 2, 3), nn.GroupNorm(1, 2)), SIGNAL, 2, "norm"),
}  # fmt: skip


@pytest.mark.parametrize("name", STATES)
def test_what_does_not_stream(name: str) -> None:
    module, shape, axis, kind = STATES[name]
    (finding,) = streaming(module, shape, axes=(axis,))
    assert finding.evidence["kind"] == kind and finding.evidence["axes"] == [axis]
    assert finding.severity == "note" and finding.exact
    assert finding.layers[0] in ("lstm", "output", "cumsum", "scaled_dot_product_attention", "1")
    (finding,) = streaming(module, shape, axes=(axis,), streamable=True)
    assert finding.severity == "error"


def test_images_do_not_stream_unless_they_are_to() -> None:
    net = nn.Sequential(conv(), nn.InstanceNorm2d(2))
    assert streaming(net, (1, 2, SIZE, SIZE)) == []
    with pytest.raises(eyeshot.EyeshotError, match=r"which of the input's axes \[2, 3\] is time"):
        streaming(net, (1, 2, SIZE, SIZE), streamable=True)
    (finding,) = streaming(net, (1, 2, SIZE, SIZE), streamable=True, time=3)
    assert finding.evidence["axes"] == [3]
    whole = nn.Sequential(conv(), nn.AdaptiveAvgPool2d(1))
    (finding,) = streaming(whole, (1, 2, SIZE, SIZE), streamable=True, time=3)
    assert finding.layers == ("1",)
