"""One check for every model: the report's exact hulls against the poisoned model."""

from __future__ import annotations

import time
from collections.abc import Container, Mapping
from typing import Any

import numpy as np
import onnx

import eyeshot
from eyeshot.analysis.report import Report
from eyeshot.core.canvas import Source
from eyeshot.frontends.onnx import build
from tests.oracles import onnx_poison
from tests.oracles.poison import hulls

__all__ = ["assert_agrees", "bake", "node_model", "reported"]


def node_model(
    op: str,
    *inputs: Any,
    outputs: int = 1,
    opset: int | None = None,
    domain: str = "",
    constants: Mapping[int, Any] | None = None,
    **attributes: Any,
) -> tuple[onnx.ModelProto, dict[str, Any]]:
    """A model of one node, and what to feed it. ``inputs`` are arrays, or None for one that is left out.

    ``constants``: those that are initializers, by place.
    """
    h = onnx.helper
    opset = onnx.defs.onnx_opset_version() if opset is None else opset
    names, infos, weights, feeds = [], [], [], {}
    for k in range(len(inputs) + len(constants or {})):
        if constants and k in constants:
            names.append(f"c{k}")
            weights.append(onnx.numpy_helper.from_array(np.asarray(constants[k]), f"c{k}"))
            continue
        array = inputs[k - sum(j < k for j in constants or {})]
        names.append("" if array is None else f"x{k}")
        if array is not None:
            array = np.asarray(array)
            kind = h.np_dtype_to_tensor_dtype(array.dtype)
            infos.append(h.make_tensor_value_info(f"x{k}", kind, array.shape))
            feeds[f"x{k}"] = array
    made = [f"y{k}" for k in range(outputs)]
    node = h.make_node(op, names, made, "node", domain=domain, **attributes)
    results = [onnx.ValueInfoProto(name=name) for name in made]
    graph = h.make_graph([node], "graph", infos, results, weights)
    versions = [h.make_opsetid("", opset)] + ([h.make_opsetid(domain, 1)] if domain else [])
    return h.make_model(graph, opset_imports=versions, ir_version=10), feeds


def bake(model: onnx.ModelProto, feeds: Mapping[str, Any]) -> onnx.ModelProto:
    """The model with some of its inputs written into it as constants."""
    out = onnx.ModelProto()
    out.CopyFrom(model)
    kept = [i for i in out.graph.input if i.name not in feeds]
    del out.graph.input[:]
    out.graph.input.extend(kept)
    out.graph.initializer.extend(
        onnx.numpy_helper.from_array(np.asarray(v), k) for k, v in feeds.items()
    )
    return out


def reported(model: onnx.ModelProto, shapes: Any, axes: Any) -> tuple[Report, dict[str, str]]:
    """The report, and the row of each output that depends on an input."""
    run = build(model, shapes, axes=axes)
    g = run.graph
    sources = [Source(v, g.prims[v].name, g.prims[v].shape, g.prims[v].axes) for v in g.sources]
    rows = {tensor: row for row, tensor in run.tensors.items()}
    return Report(g, sources, g.layers, "", g.groups), rows


#: Rounds of poisoning, each another change or other data: it goes on until all that is reported was seen, at
#: least so many rounds, and more of them where they are short.
ROUNDS = 48
LONGEST = 800
#: Outputs of fewer elements see every kind of change in any case: what is read and not reported may show late.
SMALL = 400


def assert_agrees(
    model: onnx.ModelProto,
    feeds: Mapping[str, Any],
    status: str | None = "exact",
    run: onnx_poison.Run | None = None,
    draws: int | None = None,
    outputs: Any = None,
    finite: Container[str] = (),
) -> eyeshot.Report:
    """The hulls of all outputs equal those that poisoning shows, along every dim of every input.

    ``status``: what the report must say, None for either; hulls of a ``bound`` must contain the poisoned ones.
    ``draws``: at most so many data are tried. ``outputs``: their indices, if not all are to be looked at.
    ``finite``: inputs for which NaN shows
    the most that may be read, and only other numbers what must be.
    """
    axes: dict[str, tuple[int, ...]] = {}
    for name, x in feeds.items():
        items = (
            {f"{name}[{k}]": item for k, item in enumerate(x)} if isinstance(x, list) else {name: x}
        )
        axes.update({key: tuple(range(np.ndim(v))) for key, v in items.items() if v is not None})
    report, rows = reported(model, dict(feeds), axes)
    if status is not None:
        assert report.status == status, (report.status, report.diagnostics)
    chosen = [
        (k, info.name)
        for k, info in enumerate(model.graph.output)
        if outputs is None or k in outputs
    ]
    poison = onnx_poison.Poison(run or onnx_poison.evaluator(model), feeds, finite=finite)
    watched = [_Watched(report, rows.get(name), name, k, poison) for k, name in chosen]
    small = sum(np.size(x) for x in poison.outputs if x is not None) < SMALL
    begun = time.process_time()  # a busy machine must not cut it short
    for k in range(LONGEST if draws is None else 8 * draws):
        poison.round()
        if k >= 7 * small and all(one.confirmed() for one in watched):
            break
        if k >= ROUNDS and time.process_time() - begun > 8:
            break
    for one in watched:
        one.check()
    return report


class _Watched:
    """An output: what the report says of it, and what was found."""

    def __init__(
        self, report: Report, row: str | None, name: str, k: int, poison: onnx_poison.Poison
    ) -> None:
        self.name = name
        self.k = k
        self.poison = poison
        self.layer = report[row] if row is not None else None
        self.fields: dict[onnx_poison.Key, tuple[np.ndarray, str]] = {}
        self.dims: tuple[int, ...] = ()
        if self.layer is not None:
            boxes = self.layer.boxes()
            self.dims = self.layer.unit_dims
            for j, f in enumerate(self.layer.fields):
                self.fields[f.input, f.axis] = boxes[..., j, :], f.status
            out = poison.outputs[k]
            if out is not None:
                assert out.shape == self.layer.shape, (name, out.shape, self.layer.shape)

    def _pairs(self) -> Any:
        """Per field: ours, its status, and the least and the most that poisoning says."""
        for key, found in self.poison.found.items():
            seen = found[self.k]
            if seen is None:
                continue
            mine, status = self.fields.get(key, (None, "exact"))
            least = hulls(seen, self.dims) if self.layer else seen
            most = least
            if self.layer and (loose := self.poison.loose.get(key)) is not None:
                most = hulls(seen | loose[self.k], self.dims)
            yield key, mine, status, least, most

    def confirmed(self) -> bool:
        """Whether all that is reported was seen."""
        return all(
            mine is None or status != "exact" or (_within(least, mine) and _within(mine, most))
            for _, mine, status, least, most in self._pairs()
        )

    def check(self) -> None:
        """Raises AssertionError where the report is wrong."""
        for key, mine, status, least, most in self._pairs():
            label = f"{self.name} of {key}, unit dims {self.dims}: eyeshot, then poisoning"
            if mine is None:
                read = least if self.layer is None else least[..., 0] < least[..., 1]
                assert not read.any(), f"{label}: eyeshot says it reads nothing"
            elif status != "exact":
                assert _within(least, mine), (label, mine, least)
            elif least is most:
                np.testing.assert_array_equal(mine, least, err_msg=label)
            else:
                assert _within(least, mine), (label, mine, least)
                assert _within(mine, most), (label, mine, most)


def _within(inner: np.ndarray, outer: np.ndarray) -> bool:
    """Whether each hull lies in the other one; an empty one lies in any."""
    some = inner[..., 0] < inner[..., 1]
    inside = (outer[..., 0] <= inner[..., 0]) & (inner[..., 1] <= outer[..., 1])
    return bool((inside | ~some).all())
