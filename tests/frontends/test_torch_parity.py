"""The spec and the module of one network give equal reports, layer by layer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import networks
import pytest
import torch
from corpus import CORPUS
from oracles import torch_model
from torch import Tensor, nn

import eyeshot
from eyeshot.examples import path
from eyeshot.frontends.spec import load

EXAMPLES = [
    "alexnet",
    "five-by-five",
    "fpn",
    "inception-v3-mixed",
    "patchgan",
    "resnet18",
    "resnet50",
    "unet",
    "vgg16",
    "wavenet",
]
NETWORKS = {
    "inception_v2": networks.inception_v2(224),
    "mobilenet_v1": networks.mobilenet_v1(224),
    "resnet_v1_50": networks.resnet_v1(224, (3, 4, 6, 3)),
    "resnet_v1_50-321": networks.resnet_v1(321, (3, 4, 6, 3)),
    "patchgan": networks.patchgan(256, 3),
    "unet": networks.unet(512, 4),
    "tcn": networks.tcn(2000, 4, 7),
    "sincnet": networks.sincnet(20_000),
}


class Weightless(torch_model.Model):
    """Weights are shapes."""

    def weight(self, name: str, *size: int) -> Tensor:
        if name not in self.weights:
            self.weights[name] = torch.empty(size, dtype=torch.float64, device="meta")
        return self.weights[name]


class Module(nn.Module):
    """A spec as a module, every layer through a submodule of its own."""

    def __init__(self, spec: Mapping[str, Any]) -> None:
        super().__init__()
        self.model = Weightless(spec)
        self.names = {name: f"layer{k}" for k, name in enumerate(self.model.layers)}
        for name in self.names.values():
            self.add_module(name, nn.Identity())

    def forward(self, *inputs: Tensor) -> dict[str, Tensor]:
        out = self.model(*inputs)
        return {name: self.get_submodule(self.names[name])(value) for name, value in out.items()}


#: A table of positions in no order has more than one closed form inside an image.
TABLES = ("scrambled-windows", "reshape-flat", "scan-scrambled")


def assert_parity(spec: Mapping[str, Any], forms: bool = True, hulls: bool = False) -> None:
    """Shapes and status are the same; so are ``forms``, all fields, and ``hulls``, those of all units."""
    expected = eyeshot.analyze(spec)
    net = Module(spec)
    shapes = list(net.model.inputs.values())
    inputs = [torch.empty(shape, dtype=torch.float64, device="meta") for shape in shapes]
    found = eyeshot.analyze(net, args=inputs)
    axes = [(source["shape"], source["axes"]) for source in expected.inputs]
    assert [(source["shape"], source["axes"]) for source in found.inputs] == axes
    for name, inner in net.names.items():
        one, two = expected[name], found[inner]
        assert one.shape == two.shape, name
        assert one.unit_dims == two.unit_dims, name
        assert (one.status, one.is_global) == (two.status, two.is_global), (name, found.diagnostics)
        for a, b in zip(one.to_dict()["fields"], two.to_dict()["fields"], strict=True):
            del a["input"], b["input"]
            assert a == b or not forms, name
        if hulls:
            assert (one.boxes() == two.boxes()).all(), name


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples(name: str) -> None:
    assert_parity(load(path(name)))


@pytest.mark.parametrize("name", NETWORKS)
def test_networks(name: str) -> None:
    assert_parity(NETWORKS[name])


def query_by_query(spec: Mapping[str, Any]) -> bool:
    """Whether the module does some attention one query at a time, and so is another network."""
    return any(
        layer.get("op") == "attention" and layer.get("kind", "full") != "full"
        for layer in spec["layers"].values()
        if isinstance(layer, dict)
    )


@pytest.mark.parametrize("name", [name for name in CORPUS if not query_by_query(CORPUS[name])])
def test_corpus(name: str) -> None:
    try:
        torch_model.sizes(CORPUS[name])
    except NotImplementedError as error:
        pytest.skip(f"PyTorch has no {error}")
    assert_parity(CORPUS[name], forms=name not in TABLES, hulls=True)
