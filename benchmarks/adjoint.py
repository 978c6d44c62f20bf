"""The part on single units: against one backward pass of PyTorch's autograd from the same unit.

eyeshot's side reads a spec in torchvision's layout; a process of its own shows that it gets by without torch.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import eyeshot
from benchmarks.measure import Ratio, Task, best, child

__all__ = ["adjoint", "resnet"]

#: The aim that the project set itself: five times as fast.
AIM = 0.2
NETS = {"ResNet-50": (3, 4, 6, 3), "ResNet-152": (3, 8, 36, 3)}
LAST = "layer4.2.conv3"
INPUT = (1, 3, 224, 224)
CENTRE = (3, 3)
#: How many of torch's modules are loaded once a spec has been read and a unit been asked for.
ALONE = """# modules of torch
import sys
import eyeshot
unit = eyeshot.analyze({spec}).unit({layer!r}, {index})
assert unit.mass.sum() > 0 and unit.mask.any()
sys.stderr.write(str(sum(name.split(".")[0] == "torch" for name in sys.modules)))
"""


def resnet(blocks: tuple[int, ...]) -> dict[str, Any]:
    """A ResNet with bottlenecks (He et al. 2015, arXiv 1512.03385) torchvision's, up to its pooling."""
    layers: dict[str, Any] = {
        "conv1": {"op": "conv", "kernel": 7, "stride": 2, "padding": 3, "channels": 64},
        "maxpool": {"op": "max_pool", "kernel": 3, "stride": 2, "padding": 1},
    }
    before = "maxpool"
    for stage, count in enumerate(blocks):
        width = 64 << stage
        for k in range(count):
            at = f"layer{stage + 1}.{k}"
            stride = 2 if stage and not k else 1
            kept = before
            layers[f"{at}.conv1"] = {"op": "conv", "kernel": 1, "channels": width}
            layers[f"{at}.conv2"] = {
                "op": "conv", "kernel": 3, "stride": stride, "padding": 1, "channels": width,
            }  # fmt: skip
            layers[f"{at}.conv3"] = {"op": "conv", "kernel": 1, "channels": 4 * width}
            if not k:
                kept = f"{at}.downsample.0"
                layers[kept] = {
                    "op": "conv", "kernel": 1, "stride": stride, "channels": 4 * width, "inputs": before,
                }  # fmt: skip
            before = f"{at}.add"
            layers[before] = {"op": "add", "inputs": [f"{at}.conv3", kept]}
    return {"input": list(INPUT[1:]), "layers": layers}


class Module:
    """A torchvision network of which weights need no gradients, run up to its last convolution."""

    def __init__(self, name: str) -> None:
        import torch
        import torchvision

        # Sums of one thread, as eyeshot's; what more threads would do depends on the machine.
        torch.set_num_threads(1)
        torch.manual_seed(0)
        self.model = torchvision.models.get_model(name, weights=None).eval().requires_grad_(False)
        self.input = torch.randn(INPUT, requires_grad=True)
        self.kept: list[Any] = []
        self.model.get_submodule(LAST).register_forward_hook(self._keep)

    def _keep(self, module: Any, args: Any, out: Any) -> None:
        self.kept = [out]

    def forward(self) -> Any:
        """The centre unit, its channels added up."""
        self.model(self.input)
        (out,) = self.kept
        return out[(0, slice(None), *CENTRE)].sum()

    def backward(self, unit: Any) -> Any:
        """Its gradient with respect to the input."""
        import torch

        (found,) = torch.autograd.grad(unit, self.input)
        return found


def adjoint(quick: bool) -> list[Ratio]:
    """Mass and set of one unit to one backward pass."""
    rows = []
    for title, blocks in list(NETS.items())[: 1 if quick else 2]:
        spec = resnet(blocks)
        module = Module(title.lower().replace("-", ""))
        report = eyeshot.analyze(spec)
        traced = eyeshot.analyze(module.model, INPUT)
        _agree(report, traced, module)

        def fresh(spec: Any = spec) -> eyeshot.Report:
            return eyeshot.analyze(spec)

        def both(_: object, module: Module = module) -> None:
            module.backward(module.forward())

        taken = best(
            {
                f"{title}, backward": Task(module.backward, module.forward),
                f"{title}, forward and backward": Task(both),
                f"{title}, mass": Task(partial(_mass, report)),
                f"{title}, mask": Task(partial(_mask, report)),
                f"{title}, mass, fresh report": Task(_first, fresh),
                f"{title}, mass, traced module": Task(partial(_mass, traced)),
                f"{title}, spec to mass": Task(partial(_whole, spec)),
            },
            3 if quick else 15,
            60,
        )
        backward, forth, mass, mask, first, traced_mass, whole = taken.values()
        to = "to one backward pass"
        rows += [
            Ratio(f"{title}: `report.unit(…).mass`, {to}", mass / backward, AIM),
            Ratio(f"{title}: `report.unit(…).mask`, {to}", mask / backward, AIM),
            Ratio(f"{title}: the first unit of a report, {to}", first / backward, AIM),
            Ratio(f"{title}: of the traced module's report, {to}", traced_mass / backward, AIM),
            Ratio(f"{title}: `report.unit(…).mass`, to forward and backward", mass / forth),
            Ratio(f"{title}: analysis and mass, to forward and backward", whole / forth),
        ]
        loaded = child(ALONE.format(spec=spec, layer=LAST, index=CENTRE))
        rows.append(
            Ratio(f"{title}: modules of torch that the analysis and a unit load", loaded, 0, "")
        )
    return rows


def _mass(report: eyeshot.Report, _: object) -> object:
    return report.unit(LAST, CENTRE).mass


def _mask(report: eyeshot.Report, _: object) -> object:
    return report.unit(LAST, CENTRE).mask


def _first(report: eyeshot.Report) -> object:
    return report.unit(LAST, CENTRE).mass


def _whole(spec: Any, _: object) -> object:
    return _first(eyeshot.analyze(spec))


def _agree(report: eyeshot.Report, traced: eyeshot.Report, module: Module) -> None:
    """A race counts only where all sides speak of the same: one mass, and gradients nowhere but in the set."""
    import numpy as np

    unit, other = report.unit(LAST, CENTRE), traced.unit(LAST, CENTRE)
    if not np.allclose(unit.mass, other.mass, rtol=0, atol=1e-12):
        raise AssertionError("the spec's mass is not the module's")
    gradient = module.backward(module.forward()).numpy()
    if (gradient != 0).any(axis=(0, 1))[~unit.mask].any():
        raise AssertionError("a gradient where nothing is read")
