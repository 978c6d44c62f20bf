"""One check for every operator: the report's exact hulls against the poisoned function."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

import eyeshot
from tests.oracles import poison

__all__ = ["assert_agrees"]


def assert_agrees(
    function: Callable[..., Any],
    *shapes: Sequence[int],
    status: str | None = "exact",
    axes: Any = None,
    inputs: Sequence[torch.Tensor] | None = None,
    seed: int = 0,
) -> eyeshot.Report:
    """The hulls of the (first) output of a function or module equal those that poisoning shows.

    ``status``: what the report must say, None for either; hulls of a ``bound`` must contain the poisoned ones.
    """
    generator = torch.Generator().manual_seed(seed)
    if inputs is None:
        inputs = [torch.randn(*s, dtype=torch.float64, generator=generator) for s in shapes]
    if isinstance(function, torch.nn.Module):
        function = function.double().eval()
    report = eyeshot.analyze(function, args=tuple(x.clone() for x in inputs), axes=axes)
    layer = report.outputs[0]

    def first(out: Any) -> torch.Tensor:
        while not isinstance(out, torch.Tensor):
            out = next(iter(out.values())) if isinstance(out, dict) else out[0]
        return out

    if status is not None:
        assert layer.status == status, (layer.status, report.diagnostics)
    ours = layer.boxes()
    names = [source["name"] for source in report.inputs]
    for k, field in enumerate(layer.fields):
        read = poison.reads(function, inputs, names.index(field.input), field.axis, first)
        assert read.shape[1:] == layer.shape, (read.shape, layer.shape)
        real = poison.hulls(read, layer.unit_dims)
        mine = ours[..., k, :]
        label = (
            f"{field.input} axis {field.axis}, unit dims {layer.unit_dims}: eyeshot, then poisoning"
        )
        if layer.status == "exact":
            np.testing.assert_array_equal(mine, real, err_msg=label)
        else:
            some = real[..., 0] < real[..., 1]
            assert (mine[..., 0] <= real[..., 0])[some].all(), (label, mine, real)
            assert (mine[..., 1] >= real[..., 1])[some].all(), (label, mine, real)
    return report
