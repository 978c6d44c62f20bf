"""torchvision's operators by the PyTorch frontend: bounds that hold, and rules that need no torchvision."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import Tensor, nn

import eyeshot
from tests.frontends.agree import assert_agrees

ops = pytest.importorskip("torchvision.ops")


def _random(*shape: int, low: float = -1.0, high: float = 1.0, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(*shape, dtype=torch.float64, generator=generator) * (high - low) + low


def _placed(x: Tensor) -> Tensor:
    """Coordinates that torchvision's kernels survive: they turn what is not a number into an address."""
    return x.nan_to_num(1e3)


BOXES = torch.tensor([[0, 1, 1, 5, 6], [1, 0, 2, 3, 4], [0, 2, 0, 7, 7]], dtype=torch.float64)


def test_rules_do_not_import_torchvision() -> None:
    code = (
        "import sys; from eyeshot.frontends.torch import rules; known = rules.load(); "
        "assert 'torchvision::deform_conv2d' in known and 'torchvision' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(("groups", "offset_groups"), [(1, 1), (2, 1), (1, 2)])
@pytest.mark.parametrize("masked", (False, True))
def test_deform_conv2d(groups: int, offset_groups: int, masked: bool) -> None:
    x = _random(1, 4, 5, 6)
    weight = _random(2, 4 // groups, 3, 3, low=0.5)
    offset = _random(1, 2 * offset_groups * 9, 3, 6)
    mask = _random(1, offset_groups * 9, 3, 6, low=0.1) if masked else None

    def deformed(x: Tensor, offset: Tensor) -> Tensor:
        return ops.deform_conv2d(x, _placed(offset), weight, None, (2, 1), 1, 1, mask)

    report = assert_agrees(deformed, inputs=[x, offset], status="bound", axes=(1, 2, 3))
    assert "data-dependent" in {found.code for found in report.diagnostics}


def test_deform_conv2d_reads_its_own_offsets_and_mask() -> None:
    """Without an input that depends on anything, this is exact."""
    x, weight = _random(1, 4, 5, 5), _random(2, 4, 3, 3, low=0.5)
    offset = _random(1, 18, 5, 5)
    assert_agrees(
        lambda mask: ops.deform_conv2d(x, offset, weight, None, 1, 1, 1, mask), (1, 9, 5, 5)
    )


class _Deformable(nn.Module):
    """Offsets made by a convolution of the same input, as in deformable networks."""

    def __init__(self) -> None:
        super().__init__()
        self.offset = nn.Conv2d(2, 18, 3, padding=1)
        self.conv = ops.DeformConv2d(2, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x, _placed(self.offset(x)))


def test_deformable_module() -> None:
    assert_agrees(_Deformable(), (1, 2, 5, 6), status="bound")


@pytest.mark.parametrize("name", ("roi_align", "roi_pool"))
def test_regions(name: str) -> None:
    function = getattr(ops, name)
    assert_agrees(lambda x: function(x, BOXES, 2), (2, 3, 8, 8), status="bound", axes=(0, 1, 2, 3))


@pytest.mark.parametrize("name", ("ps_roi_align", "ps_roi_pool"))
def test_position_sensitive_regions(name: str) -> None:
    """Each bin has channels of its own."""
    function = getattr(ops, name)
    report = assert_agrees(
        lambda x: function(x, BOXES, 2), (2, 8, 8, 8), status="bound", axes=(0, 1, 2, 3)
    )
    layer = report.outputs[0]
    (channel,) = [k for k, field in enumerate(layer.fields) if field.axis == 1]
    boxes = layer.boxes()
    assert boxes.reshape(-1, len(layer.fields), 2)[:, channel].tolist() == [[0, 4], [4, 8]]


def test_regions_that_the_input_makes() -> None:
    x = _random(1, 2, 8, 8)
    assert_agrees(
        lambda boxes: ops.roi_align(x, [_placed(boxes)], 2),
        inputs=[BOXES[:, 1:]],
        axes=(0,),
        status="bound",
    )


def test_nms() -> None:
    """How many boxes remain hangs on the data: the trace runs on some."""
    boxes, scores = BOXES[:, 1:].clone(), _random(3)
    report = assert_agrees(
        lambda boxes, scores: boxes * ops.nms(boxes, scores, 0.9).sum(),
        inputs=[boxes, scores],
        axes=(0,),
        status="bound",
    )
    assert {"data-dependent", "real-run"} <= {found.code for found in report.diagnostics}


def test_feature_pyramid() -> None:
    """Nearest upsampling to the next level's size: exact."""
    pyramid = ops.FeaturePyramidNetwork([2, 3], 2)
    make = nn.Conv2d(2, 3, 3, 2, 1)

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.pyramid, self.make = pyramid, make

        def forward(self, x: Tensor) -> Tensor:
            return self.pyramid({"fine": x, "coarse": self.make(x)})["fine"]

    assert_agrees(Net(), (1, 2, 7, 9))


@pytest.mark.parametrize("mode", ("batch", "row"))
def test_stochastic_depth_and_frozen_norm(mode: str) -> None:
    net = nn.Sequential(
        ops.StochasticDepth(0.5, mode), ops.FrozenBatchNorm2d(2), nn.Conv2d(2, 2, 3)
    )
    assert_agrees(net, (1, 2, 5, 6))


def test_rotated_boxes() -> None:
    """Element (i, j) reads box i of one and box j of the other."""
    operator = torch.ops.torchvision.box_iou_rotated
    boxes = torch.tensor([[3.0, 3, 4, 2, 30], [4, 3, 2, 5, 10], [2, 2, 3, 3, 70]])
    found = eyeshot.analyze(lambda x: operator(x, x[:2].clone()), args=(boxes,), axes=0)
    same = eyeshot.analyze(lambda x: x.sum(1)[:, None] + x[:2].sum(1), args=(boxes,), axes=0)
    assert (found.outputs[0].boxes() == same.outputs[0].boxes()).all()
