"""``verify``: a report proved on the real network."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any

from eyeshot.api import analyze, is_onnx, onnx_run, onnx_title, resolve
from eyeshot.errors import EyeshotError

if TYPE_CHECKING:
    from eyeshot.analysis.report import Report
    from eyeshot.analysis.verify import Verification

__all__ = ["verify"]


def verify(
    source: Any,
    input: Any = None,
    *,
    args: Sequence[Any] | None = None,
    kwargs: Mapping[str, Any] | None = None,
    axes: Any = None,
    training: bool | None = False,
    layers: str | None = None,
    probes: int | None = None,
    seed: int = 0,
    report: Report | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Verification:
    """Poison the input of the real network, and compare what turns dirty with the report.

    A copy of the module runs on the CPU in float64. Each probe sets some positions along one axis of an input
    to NaN; by the report, units whose box lies outside stay clean, and units whose first or last position is
    among them turn NaN. ``source``, ``input``, ``args``, ``kwargs``, ``axes`` and ``training``: as for
    :func:`~eyeshot.analyze`, but there has to be a module or an ONNX model. The latter runs in onnxruntime, in
    float32 where that lacks kernels for float64; weights that lie outside of the file are random.

    ``layers``: a glob that the names of the layers to compare match, besides the outputs; by default all.
    ``probes``: how many at most, by default 24 to 256 by the network's size; where that suffices for every
    position all are taken. ``seed``: for sampled units, inputs and, on the meta device, weights. ``report``:
    the one to check, in place of a new one. ``progress``: called with (probes done, probes in all).

    Raises :class:`~eyeshot.errors.EyeshotError` if the module can't be run.
    """
    from eyeshot.analysis import verify as comparison

    started = time.monotonic()
    modeled = is_onnx(source)
    if isinstance(source, Mapping | PathLike) and not modeled:
        raise EyeshotError("a spec has no weights to run, so that only a module can be verified")
    if probes is not None and (
        not isinstance(probes, int) or isinstance(probes, bool) or probes < 1
    ):
        raise EyeshotError(f"probes: expected a whole number of at least 1, got {probes!r}")
    if layers is not None and not isinstance(layers, str):
        raise EyeshotError(f"layers: expected a glob such as 'layer4.*', got {layers!r}")
    call: dict[str, Any] = {"args": args, "kwargs": kwargs, "axes": axes, "training": training}
    runner: Any
    if modeled:
        built = onnx_run(source, input, **call)
        from eyeshot.frontends.onnx.probe import OnnxRunner

        if report is None:
            report = analyze(source, input, **call)
        targets, notes = comparison.targets(report, layers)
        if probes is None:
            probes = comparison.default_probes(sum(math.prod(layer.shape) for layer in report))
        runner = OnnxRunner(built, targets, seed)
        return comparison.verify(
            report, runner, targets, probes, seed, notes, progress, started=started,
            title=onnx_title(source),
        )  # fmt: skip
    if isinstance(source, str):
        scheme, colon, _ = source.partition(":")
        if not colon or scheme == "example" or len(scheme) == 1 or set(scheme) & set("/\\"):
            raise EyeshotError(
                f"{source}: a spec has no weights to run, so that only a module can be verified "
                "(torchvision:NAME, timm:NAME, package.module:factory)"
            )
    module, title, default = resolve(source, real=True)
    if input is None and args is None and kwargs is None:
        if default is None and isinstance(source, str):
            raise EyeshotError(
                f"{source}: what it is called with is not known; give an input such as 3x224x224"
            )
        input = default
    from eyeshot.frontends import torch as frontend
    from eyeshot.frontends.torch.probe import TorchRunner

    if report is None:
        report = analyze(module, input, **call)
    arguments = frontend.build(module, input, **call).arguments
    targets, notes = comparison.targets(report, layers)
    elements = sum(math.prod(layer.shape) for layer in report)
    if probes is None:
        probes = comparison.default_probes(elements)
    runner = TorchRunner(module, arguments, training, targets, elements, seed)
    return comparison.verify(
        report, runner, targets, probes, seed, notes, progress, started=started, title=title
    )
