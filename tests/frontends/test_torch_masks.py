"""The exact set of every unit of PyTorch modules: each position of the input poisoned alone.

A position that turns a unit NaN is read by it, and no other is. Everything runs in float64 on the real module.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, assume, given, settings
from torch import Tensor, nn

import eyeshot
from tests.frontends.modules import Program, programs

EXAMPLES = int(os.environ.get("EYESHOT_FUZZ", "60"))
#: Of a tensor with more units than this only some are looked at.
UNITS = 40


def poisoned(
    function: Callable[..., Any], inputs: Sequence[Tensor], which: int, axes: Sequence[int]
) -> list[np.ndarray]:
    """Per tensor that comes out a bool array [*sizes of the axes, *its shape]: whom each position turns NaN."""
    x = inputs[which]
    sizes = [x.shape[d] for d in axes]
    found: list[np.ndarray] = []
    with torch.no_grad():
        for at in np.ndindex(*sizes):
            spoilt = [t.clone() for t in inputs]
            where: list[Any] = [slice(None)] * x.ndim
            for d, i in zip(axes, at, strict=True):
                where[d] = i
            spoilt[which][tuple(where)] = float("nan")
            outs = _tensors(function(*spoilt))
            if not found:
                found = [np.zeros((*sizes, *t.shape), bool) for t in outs]
            for seen, t in zip(found, outs, strict=True):
                seen[at] = torch.isnan(t).numpy()
    return found


def _tensors(out: Any) -> list[Tensor]:
    """What comes out, the first tensor of each entry of a mapping."""
    if isinstance(out, Tensor):
        return [out]
    if isinstance(out, dict):
        return list(out.values())
    return _tensors(out[0])


def wrong(report: eyeshot.Report, layer: Any, seen: dict[str, np.ndarray]) -> list[str]:
    """Units whose masks are not what poisoning says. ``seen``: of each input."""
    found = []
    extents = [layer.shape[d] for d in layer.unit_dims]
    units = list(np.ndindex(*extents))
    step = max(1, len(units) // UNITS)
    for at in [*units[::step], units[-1]]:
        unit = report.unit(layer.name, at)
        for part in unit.parts:
            turned = seen[part.name]
            rank = len(part.axes)
            here = turned
            for d, i in sorted(zip(layer.unit_dims, at, strict=True), reverse=True):
                here = here.take(i, axis=rank + d)
            want = here.any(axis=tuple(range(rank, here.ndim)))
            right = part.mask == want if layer.status == "exact" else part.mask >= want
            if not right.all():
                found.append(
                    f"{layer.name} ({layer.status}) at {at}, of {part.name}:\n"
                    f"{part.mask.astype(int)}\nbut by poisoning\n{want.astype(int)}"
                )
    return found


def assert_masks(
    function: Callable[..., Any], *shapes: Sequence[int], real: Callable[..., Any] | None = None
) -> None:
    """The masks of the (first) output; ``real``: what to poison in place of the function."""
    if isinstance(function, nn.Module):
        function = function.double().eval()
    generator = torch.Generator().manual_seed(0)
    inputs = [torch.randn(*s, dtype=torch.float64, generator=generator) for s in shapes]
    report = eyeshot.analyze(function, args=tuple(x.clone() for x in inputs))
    layer = report.outputs[0]
    assert layer.status == "exact"
    seen = {}
    for k, source in enumerate(report.inputs):
        seen[source["name"]] = poisoned(real or function, inputs, k, source["axes"])[0]
    found = wrong(report, layer, seen)
    assert not found, "\n".join(found[:2])


class Windows(nn.Module):
    """Attention within windows, shifted: rolled there and back, as in Swin; no mask hides a product."""

    def __init__(self, width: int, shift: int, layers: int = 1) -> None:
        super().__init__()
        self.width, self.shift, self.layers = width, shift, layers

    def forward(self, x: Tensor) -> Tensor:
        w = self.width
        for k in range(self.layers):
            by = self.shift if k % 2 == 0 else 0
            y = x.roll((-by, -by), (2, 3))
            n, c, h, v = y.shape
            tokens = y.reshape(n, c, h // w, w, v // w, w).permute(0, 2, 4, 3, 5, 1)
            tokens = tokens.reshape(-1, w * w, c)
            tokens = F.scaled_dot_product_attention(tokens, tokens, tokens)
            y = tokens.reshape(n, h // w, v // w, w, w, c).permute(0, 5, 1, 3, 2, 4)
            x = x + y.reshape(n, c, h, v).roll((by, by), (2, 3))
        return x


class Recurrent(nn.Module):
    def __init__(self, kind: type[nn.Module], **given: Any) -> None:
        super().__init__()
        self.cell = kind(2, 3, batch_first=True, **given)

    def forward(self, x: Tensor) -> Tensor:
        return self.cell(x.mT)[0].mT


class Attention(nn.Module):
    """``nn.MultiheadAttention`` with a mask that is added: it hides no product."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.MultiheadAttention(4, 2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.mT
        mask = nn.Transformer.generate_square_subsequent_mask(tokens.shape[1], dtype=x.dtype)
        return self.inner(tokens, tokens, tokens, need_weights=False, attn_mask=mask)[0].mT


def hidden(x: Tensor) -> Tensor:
    """Attention written by hand, with scores replaced where a mask says so: those keys' products go unread."""
    tokens = x.mT
    scores = tokens @ tokens.mT
    late = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
    # Values are read through weights that are 0 where hidden: 0 times NaN is NaN.
    return (scores.masked_fill(late, -1e9).softmax(-1) @ tokens).mT


CASES: dict[str, tuple[Callable[..., Any], list[tuple[int, ...]]]] = {
    "dilated, with holes": (nn.Conv2d(2, 3, 3, 2, 4, 3), [(1, 2, 9, 8)]),
    "two dilations": (
        nn.Sequential(nn.Conv2d(1, 2, 3, 1, 2, 2), nn.Conv2d(2, 1, 3, 1, 3, 3)), [(1, 1, 9, 9)],
    ),
    "gaps between windows": (nn.Conv1d(1, 1, 2, 5), [(1, 1, 23)]),
    "stride over dilation": (
        nn.Sequential(nn.MaxPool1d(2, 3, dilation=2), nn.Conv1d(2, 2, 3, dilation=2)), [(2, 2, 25)],
    ),
    "reflected": (nn.Conv2d(1, 1, 3, 2, 2, 2, padding_mode="reflect"), [(1, 1, 6, 7)]),
    "replicated": (nn.Conv2d(1, 1, 3, 2, 4, 2, padding_mode="replicate"), [(1, 1, 6, 7)]),
    "circular": (nn.Conv2d(1, 1, 3, 2, 4, 3, padding_mode="circular"), [(1, 1, 6, 7)]),
    "transposed, with holes": (nn.ConvTranspose2d(2, 3, 2, 3), [(1, 2, 3, 3)]),
    "transposed, dilated": (nn.ConvTranspose2d(2, 3, 3, 2, 2, 1, dilation=2), [(1, 2, 4, 5)]),
    "transposed, dilated by 3": (nn.ConvTranspose1d(1, 1, 4, 2, 1, dilation=3), [(1, 1, 9)]),
    "transposed, then windows": (
        nn.Sequential(nn.ConvTranspose1d(1, 1, 1, 3), nn.AvgPool1d(2, 1)), [(1, 1, 7)],
    ),
    "pool over a ragged end": (nn.MaxPool2d(3, 2, 1, 2, ceil_mode=True), [(1, 1, 9, 8)]),
    "adaptive": (nn.AdaptiveMaxPool2d((3, 4)), [(1, 2, 7, 5)]),
    "three axes": (nn.Conv3d(1, 1, 2, 2, 1, 2), [(1, 1, 4, 5, 3)]),
    "bilinear": (nn.Upsample(scale_factor=2, mode="bilinear"), [(1, 1, 4, 3)]),
    "bilinear, corners": (nn.Upsample((7, 5), mode="bilinear", align_corners=True), [(1, 1, 4, 3)]),
    "bicubic": (nn.Upsample(scale_factor=2, mode="bicubic"), [(1, 1, 5, 6)]),
    "antialiased": (
        lambda x: F.interpolate(x, (3, 4), mode="bilinear", antialias=True), [(1, 1, 8, 9)],
    ),
    "shuffled": (nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(4, 4, 3), nn.PixelShuffle(2)),
                 [(1, 1, 8, 10)]),
    "columns laid back": (
        lambda x: F.fold(F.unfold(x, 3, 2, 2), (5, 5), 3, 2, 2), [(1, 1, 5, 5)],
    ),
    "channels that are shuffled apart": (
        lambda x: F.channel_shuffle(torch.cat([x, x.flip(-1), x.roll(1, -1), x * 2], 1), 2)[:, 1:2],
        [(1, 1, 7)],
    ),
    "two inputs": (lambda x, y: x[..., ::2] * y.flip(-1), [(1, 1, 9), (1, 2, 5)]),
    "known positions": (lambda x: x[..., [0, 2, 2, 5]][..., [[3, 0], [1, 2]]], [(1, 2, 6)]),
    "a diagonal": (lambda x: x.unflatten(-1, (3, 4)).diagonal(1, -2, -1), [(1, 1, 12)]),
    "windows": (Windows(2, 0), [(1, 2, 4, 6)]),
    "shifted windows": (Windows(2, 1), [(1, 2, 4, 6)]),
    "shifted windows of 3": (Windows(3, 1), [(1, 1, 6, 6)]),
    "shifted windows, and plain ones": (Windows(2, 1, 2), [(1, 1, 6, 6)]),
    "attention": (lambda x: F.scaled_dot_product_attention(x.mT, x.mT, x.mT), [(1, 2, 7)]),
    "attention, masked by hand": (hidden, [(1, 2, 6)]),
    "attention of torch.nn": (Attention(), [(1, 4, 6)]),
    "running sum": (lambda x: x.flip(-1).cumsum(-1)[..., ::2], [(1, 2, 9)]),
    "recurrence": (Recurrent(nn.RNN), [(1, 2, 6)]),
    "LSTM, backwards too": (Recurrent(nn.LSTM, bidirectional=True), [(1, 2, 6)]),
    "GRU of two layers": (Recurrent(nn.GRU, num_layers=2), [(1, 2, 6)]),
    "recurrence after windows": (
        nn.Sequential(nn.Conv1d(1, 2, 2, 3), Recurrent(nn.GRU)), [(1, 1, 14)],
    ),
    "known grid": (
        lambda x: F.grid_sample(
            x, torch.tensor([[[[-0.9, -0.71], [0.11, -0.71]], [[-0.9, 0.3], [0.11, 0.3]]]], dtype=x.dtype),
            align_corners=False,
        ),
        [(1, 1, 5, 6)],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_cases(name: str) -> None:
    function, shapes = CASES[name]
    assert_masks(function, *shapes)


def test_a_swin_transformer() -> None:
    """Windows of 2 by 2 tokens of 2 by 2 pixels, plain and then shifted; a mask is added, and hides nothing."""
    swin = pytest.importorskip("torchvision").models.swin_transformer
    model = swin.SwinTransformer([2, 2], 8, [2], [2], [2, 2], num_classes=1)
    assert_masks(model.features, (1, 3, 8, 12))


@pytest.mark.parametrize("skipped", [0, 2])
def test_causal_attention(skipped: int) -> None:
    """What later keys give is 0 or never computed, as a kernel likes: query by query nothing is computed."""

    def attention(x: Tensor) -> Tensor:
        keys = x.mT
        return F.scaled_dot_product_attention(keys[:, skipped:], keys, keys, is_causal=True)

    def by_query(x: Tensor) -> Tensor:
        keys = x.mT
        queries = keys[:, skipped:]
        rows = [
            F.scaled_dot_product_attention(
                queries[:, i : i + 1], keys[:, : i + 1], keys[:, : i + 1]
            )
            for i in range(queries.shape[1])
        ]
        return torch.cat(rows, 1)

    assert_masks(attention, (1, 2, 7), real=by_query)


@pytest.mark.filterwarnings("ignore::UserWarning")  # PyTorch says some things once only
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(programs())
def test_programs(program: Program) -> None:
    """All variables of random programs, writes through views included."""
    assume(program.lines)
    try:
        report = eyeshot.analyze(program, args=tuple(program.inputs))
    except eyeshot.errors.EyeshotError as error:
        assume("depends on the input" not in str(error))  # everything has been overwritten
        raise
    seen: dict[str, list[np.ndarray]] = {}
    for k, source in enumerate(report.inputs):
        seen[source["name"]] = poisoned(program, program.inputs, k, source["axes"])
    for k, name in enumerate(program.names):
        if name in report:
            found = wrong(report, report[name], {key: arrays[k] for key, arrays in seen.items()})
            assert not found, "\n".join([repr(program), *found[:2]])


def test_modules_made_of_layers_stand_in_for_the_input_and_for_a_layer() -> None:
    """A block's name is that of what comes out of it, on either side of ``of``."""
    net = torch.nn.Sequential(
        torch.nn.Sequential(torch.nn.Conv1d(1, 1, 3), torch.nn.ReLU()),
        torch.nn.Sequential(torch.nn.Conv1d(1, 1, 3, dilation=2), torch.nn.ReLU()),
    )
    report = eyeshot.analyze(net, input=(1, 1, 16))
    found = report.unit("1", 2, of="0")
    assert np.flatnonzero(found.mask).tolist() == [2, 4, 6]
    assert found.mask.shape == (14,)
    with pytest.raises(eyeshot.EyeshotError, match=r"^0 reads nothing of 1$"):
        report.unit("0", 2, of="1")
