"""Networks of torchvision, exported: the file gives the fields that the module gives, layer by layer."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
import pytest
import torch
import torchvision
from torch import nn

import eyeshot
from eyeshot.views.web.page import page

CLASSES = torchvision.models
SEGMENTATION = torchvision.models.segmentation
BARE: dict[str, Any] = {"weights": None, "weights_backbone": None}

NETWORKS: dict[str, tuple[Any, tuple[int, int], dict[str, Any]]] = {
    "alexnet": (CLASSES.alexnet, (224, 224), {}),
    "vgg16": (CLASSES.vgg16, (224, 224), {"init_weights": False}),
    "resnet18": (CLASSES.resnet18, (65, 97), {}),
    "resnet50": (CLASSES.resnet50, (64, 96), {}),
    "squeezenet1_1": (CLASSES.squeezenet1_1, (65, 64), {}),
    "densenet121": (CLASSES.densenet121, (64, 64), {}),
    "googlenet": (CLASSES.googlenet, (64, 64), {"init_weights": False, "aux_logits": False}),
    "inception_v3": (CLASSES.inception_v3, (96, 96), {"init_weights": False}),
    "mobilenet_v2": (CLASSES.mobilenet_v2, (64, 64), {}),
    "mobilenet_v3_small": (CLASSES.mobilenet_v3_small, (64, 64), {}),
    "shufflenet_v2": (CLASSES.shufflenet_v2_x0_5, (64, 64), {}),
    "mnasnet": (CLASSES.mnasnet0_5, (64, 64), {}),
    "efficientnet_b0": (CLASSES.efficientnet_b0, (64, 64), {}),
    "regnet_y": (CLASSES.regnet_y_400mf, (64, 64), {}),
    "convnext_tiny": (CLASSES.convnext_tiny, (64, 64), {}),
    "swin": (CLASSES.SwinTransformer, (64, 64), {
        "patch_size": [4, 4], "embed_dim": 24, "depths": [2, 2, 2], "num_heads": [2, 4, 6],
        "window_size": [7, 7],
    }),
    "vit": (CLASSES.VisionTransformer, (64, 64), {
        "image_size": 64, "patch_size": 16, "num_layers": 3, "num_heads": 4, "hidden_dim": 64, "mlp_dim": 96,
    }),
    "deeplab": (SEGMENTATION.deeplabv3_mobilenet_v3_large, (64, 64), BARE),
    "lraspp": (SEGMENTATION.lraspp_mobilenet_v3_large, (64, 64), BARE),
}  # fmt: skip

#: Modules of one operator each, which an exporter keeps as they are.
KEPT = (nn.Conv2d, nn.Linear, nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.LayerNorm)


def exported(module: nn.Module, sides: tuple[int, int], dynamo: bool) -> onnx.ModelProto:
    """The module's file without weights: they are declared and not there."""
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    x = torch.zeros(1, 3, *sides)
    content = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if dynamo:
            program = torch.onnx.export(module, (x,), dynamo=True, verbose=False)
            assert program is not None
            return program.model_proto
        torch.onnx.export(
            module, (x,), content, dynamo=False, export_params=False, opset_version=17,
            input_names=["x"],
        )  # fmt: skip
    model = onnx.load_from_string(content.getvalue())
    inputs = list(model.graph.input)
    del model.graph.input[1:]
    for info in inputs[1:]:
        kind = info.type.tensor_type
        model.graph.initializer.add(
            name=info.name, data_type=kind.elem_type, dims=[d.dim_value for d in kind.shape.dim]
        )
    return model


def scope(name: str) -> str:
    """The module that a node stands in: ``/layer1/layer1.0/conv1/Conv`` is ``layer1.0.conv1``."""
    parts: list[str] = []
    for part in name.split("/")[1:-1]:
        if parts and part.startswith(parts[-1] + "."):
            parts[-1] = part
        else:
            parts.append(part)
    return ".".join(parts)


def by_scope(report: eyeshot.Report) -> Iterator[tuple[str, Any]]:
    """The last layer of each module, by the names that the older exporter gives nodes."""
    yield from {scope(layer.name): layer for layer in report}.items()


def fields(layer: Any) -> list[dict[str, Any]]:
    """All that a report says of a layer's fields, but for the input's name.

    Where there is no closed form, whole axes are told from context by how a network is written: a roll, for
    one, becomes slices put together.
    """
    found = []
    for field in layer.fields:
        said = field.to_dict()
        del said["input"]
        if said["canvas"] is None:
            del said["global"]
        found.append(said)
    return found


def same(ours: Any, theirs: Any) -> None:
    assert ours.shape == theirs.shape
    assert ours.unit_dims == theirs.unit_dims, (ours.name, ours.unit_dims, theirs.unit_dims)
    assert fields(ours) == fields(theirs), ours.name
    np.testing.assert_array_equal(ours.boxes(), theirs.boxes(), err_msg=ours.name)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_file_gives_what_the_module_gives(name: str) -> None:
    make, sides, options = NETWORKS[name]
    with torch.device("cpu"):
        module = make(**options).eval()
    file = eyeshot.analyze(exported(module, sides, dynamo=False))
    real = eyeshot.analyze(module, (1, 3, *sides))
    assert file.status == real.status == "exact", (file.diagnostics, real.diagnostics)
    found = dict(by_scope(file))
    rows = {layer.name for layer in real}
    compared = 0
    for path, part in module.named_modules():
        if not isinstance(part, KEPT) or path not in rows or path not in found:
            continue
        same(found[path], real[path])
        compared += 1
    kept = [p for p, part in module.named_modules() if isinstance(part, KEPT) and p in rows]
    assert compared >= 0.95 * len(kept) and compared >= 6, (compared, len(kept))
    for ours, theirs in zip(file.outputs, real.outputs, strict=False):
        same(ours, theirs)


class UNet(nn.Module):
    """Two levels, joined with what lies beside them; sizes that do not divide, and three ways up."""

    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Conv2d(3, 4, 3, padding=1)
        self.down = nn.Conv2d(4, 8, 3, 2, 1)
        self.deep = nn.Conv2d(8, 8, 3, 2, 1)
        self.up = nn.ConvTranspose2d(8, 8, 4, 2, 1)
        self.middle = nn.Conv2d(16, 8, 3, padding=1)
        self.leave = nn.Conv2d(12, 2, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        a = self.enter(x)
        b = self.down(a).relu()
        c = self.deep(b).relu()
        c = nn.functional.interpolate(self.up(c), b.shape[2:], mode="nearest")
        d = self.middle(torch.cat([b, c], 1))
        d = nn.functional.interpolate(d, a.shape[2:], mode="bilinear", align_corners=False)
        return self.leave(torch.cat([a, d], 1))


@pytest.mark.parametrize(
    ("sides", "dynamo"), [((32, 32), False), ((31, 45), False), ((31, 45), True)]
)
def test_a_unet(sides: tuple[int, int], dynamo: bool) -> None:
    module = UNet().eval()
    file = eyeshot.analyze(exported(module, sides, dynamo))
    real = eyeshot.analyze(module, (1, 3, *sides))
    assert file.status == real.status == "exact"
    ours = [x for x in file if x.op in ("Conv", "ConvTranspose", "Resize")]
    theirs = [x for x in real if "conv" in x.op or "interpolate" in x.op or "upsample" in x.op]
    assert len(ours) == len(theirs) == 8, ([x.op for x in file], [x.op for x in real])
    for mine, other in zip(ours, theirs, strict=True):
        same(mine, other)


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small"])
def test_the_newer_exporter(name: str) -> None:
    """Its nodes are named otherwise: convolutions and linear layers are compared in their order."""
    make, sides, options = NETWORKS[name]
    module = make(**options).eval()
    file = eyeshot.analyze(exported(module, sides, dynamo=True))
    real = eyeshot.analyze(module, (1, 3, *sides))
    assert file.status == real.status == "exact", file.diagnostics
    ours = [x for x in file if x.op in ("Conv", "LayerNormalization")]
    theirs = [x for x in real if x.op in ("conv2d", "layer_norm")]
    assert len(ours) == len(theirs) >= 20
    for mine, other in zip(ours, theirs, strict=True):
        same(mine, other)
    same(file.outputs[0], real.outputs[0])
    # Its names are flat; the page knows which modules they lie in.
    paths = [layer.get("path") for layer in page(file)["layers"]]
    assert len({*paths} - {None}) == len(paths) - paths.count(None) >= len(paths) - 2
    modules = dict(module.named_modules())
    for mine, path in zip(file, paths, strict=True):
        inner = path or ""
        while inner not in modules:
            inner = inner.rpartition(".")[0]
        assert inner or mine.op == "Reshape", (mine.name, path)
    tops = [path.partition(".")[0] for path in paths if path]
    assert list(dict.fromkeys(tops)) == [
        k for k in (name for name, _ in module.named_children()) if k in tops
    ]


@pytest.mark.parametrize("name", ["mobilenet_v3_small", "lraspp", "swin", "vit"])
def test_the_file_against_poisoning(name: str) -> None:
    """What the file gives holds in onnxruntime too, with random weights."""
    make, sides, options = NETWORKS[name]
    result = eyeshot.verify(exported(make(**options).eval(), sides, dynamo=False), probes=6)
    assert result.ok, str(result)
    assert not result.bounds and not result.not_shown and result.pinned
