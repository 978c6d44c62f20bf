"""``erf``: the effective receptive field of a unit, of an architecture or of a trained module on data."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from eyeshot.analysis.erf import Erf
from eyeshot.analysis.report import Layer, Report
from eyeshot.api import analyze, is_onnx, resolve
from eyeshot.errors import EyeshotError
from eyeshot.views.effective import percent

if TYPE_CHECKING:
    from eyeshot.analysis.unit import Part

__all__ = ["PROTOCOLS", "erf"]

PROTOCOLS = ("mass", "mean-abs", "positive")
#: Mass in padding below this part goes without a word.
WORTH_SAYING = 1e-4
#: What a dim of a map with so many unit dims is called.
DIM_NAMES = {1: ("position",), 2: ("row", "column"), 3: ("plane", "row", "column")}


class Chosen(NamedTuple):
    """The unit, what it reads of the chosen input, and why it is this one."""

    layer: Layer
    at: tuple[int, ...]
    part: Part
    notes: list[str]


def erf(
    source: Any,
    input: Any = None,
    *,
    layer: str | int | None = None,
    at: Sequence[int] | int | None = None,
    data: Any = None,
    protocol: str | None = None,
    samples: int | None = None,
    channels: Sequence[int] | None = None,
    batch: int | None = None,
    device: str | None = None,
    crop: bool = True,
    weights: Any = None,
    resize: bool = False,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    seed: int = 0,
    axes: Any = None,
    args: Sequence[Any] | None = None,
    kwargs: Mapping[str, Any] | None = None,
    training: bool | None = False,
    progress: Callable[[int, int], None] | None = None,
) -> Erf:
    """How much each position of the input counts for one unit.

    ``source``, ``input``, ``args``, ``kwargs``, ``axes`` and ``training``: as for :func:`~eyeshot.analyze`; by
    the protocol "mass" also a :class:`~eyeshot.Report`. ``layer``: by default the first output, or where that
    has no units along the axes of the input, as of a classifier, the last layer that does. ``at``: the unit's
    index, by default the centre one, ``n // 2`` along each dim.

    ``protocol``: "mass" (the default without ``data``) takes the architecture alone, with every weight alike.
    "mean-abs" (the default with ``data``; Luo et al. 2016) and "positive" (Ding et al. 2022) run a PyTorch
    module and take the gradients of the unit on images: the mean of absolute values, or the sum of what is
    positive.

    For gradients, ``data`` is a folder of images, an ``.npy`` or ``.npz`` file, an array, a DataLoader or
    another iterable of batches, or "random", the default; ``samples``: at most so many images;
    ``channels``: of the unit, by default all; ``batch``: images at a time; ``device``: "cpu" or "cuda";
    ``crop``: run only the crop that the unit reads where it is smaller than the input; ``weights``: a file with
    the module's weights; ``resize``: bring images to the input's size; ``mean``, ``std``: what is taken off and
    divided by, per channel; ``seed``: of random images; ``progress``: called with (images done, images in all).
    Ctrl-C ends the run with the images that it has.

    Raises :class:`~eyeshot.errors.EyeshotError` for what can't be used.
    """
    if protocol is None:
        protocol = "mass" if data is None else "mean-abs"
    if protocol not in PROTOCOLS:
        raise EyeshotError(f"protocol: expected {', '.join(PROTOCOLS)}, got {protocol!r}")
    call: dict[str, Any] = {"args": args, "kwargs": kwargs, "axes": axes, "training": training}
    if protocol == "mass":
        unused = {
            "data": data,
            "samples": samples,
            "channels": channels,
            "batch": batch,
            "device": device,
            "weights": weights,
            "resize": resize or None,
            "mean": mean,
            "std": std,
            "crop": None if crop else False,
        }
        for name, value in unused.items():
            if value is not None:
                raise EyeshotError(
                    f"{name}: the protocol mass takes the architecture alone; "
                    "mean-abs and positive run it on data"
                )
        if isinstance(source, Report):
            for name, value in {"input": input, **call}.items():
                if value is not None and value is not False:
                    raise EyeshotError(f"{name}: the report already has it")
            report = source
        else:
            report = analyze(source, input, **call)
        return _of_architecture(report, layer, at)

    module, title, input = _module(source, input, data, protocol, call)
    report = analyze(module, input, **call)
    chosen = _chosen(report, layer, at)
    from eyeshot.gradients import measure

    scheme = source.partition(":")[0] if isinstance(source, str) else ""
    if weights is None and scheme in ("torchvision", "timm", "hf"):
        chosen.notes.append("the weights are random; a file can be given for trained ones")
    found = measure(
        module,
        report,
        chosen.layer.name,
        chosen.at,
        input=input,
        data="random" if data is None else data,
        protocol=protocol,
        samples=samples,
        channels=channels,
        batch=batch,
        device=device,
        crop=crop,
        weights=weights,
        resize=resize,
        mean=mean,
        std=std,
        seed=seed,
        progress=progress,
        **call,
    )
    return _result(
        report,
        chosen,
        found.map,
        title=title,
        protocol=protocol,
        samples=found.samples,
        interrupted=found.interrupted,
        notes=found.notes,
    )


def _of_architecture(report: Report, layer: str | int | None, at: Any) -> Erf:
    """By the protocol mass."""
    chosen = _chosen(report, layer, at)
    notes = []
    lost = chosen.part._unit.share_in_padding
    if lost >= WORTH_SAYING:
        notes.append(f"{percent(lost)} % of the mass fell into padding")
    return _result(
        report, chosen, chosen.part.mass, title=report.title, protocol="mass", notes=notes
    )


def _result(
    report: Report, chosen: Chosen, array: Any, *, notes: Sequence[str], **more: Any
) -> Erf:
    layer, part = chosen.layer, chosen.part
    source = next(source for source in report._sources if source.name == part.name)
    spread = None
    if layer.status == "exact":
        from eyeshot.analysis.spread import closed_form

        spread = closed_form(report._graph, layer._value, source.value)
    return Erf(
        array,
        layer=layer.name,
        index=chosen.at,
        input=part.name,
        axes=part.axes,
        centre=chosen.part.centre,
        box=part.box,
        clipped=part.clipped,
        notes=[*chosen.notes, *notes],
        closed_form=spread,
        **more,
    )


# --- the unit


def _chosen(report: Report, key: str | int | None, at: Any) -> Chosen:
    """The layer and unit that are asked for, or the default ones."""
    notes = []
    if key is None:
        layer = _last_map(report)
        outputs = [output.name for output in report.outputs]
        if layer.name not in outputs[:1]:
            first = f"the output {outputs[0]}" if outputs else "the last layer"
            notes.append(
                f"{first} has no units along the input's axes; taken is {layer.name}, "
                "the last layer that has"
            )
        elif len(outputs) > 1:
            notes.append(f"of {len(outputs)} outputs the first is taken, {layer.name}")
    else:
        try:
            layer = report[key]
        except IndexError:
            raise EyeshotError(
                f"layer: there is no layer {key}; the network has {len(report)}"
            ) from None
    extents = [layer.shape[d] for d in layer.unit_dims]
    if at is None:
        index = layer.middle
        if any(n % 2 == 0 for n in extents):
            notes.append(
                f"no unit is exactly in the middle; taken is {_place(index, extents)}, "
                "counted from 0"
            )
    else:
        try:
            index = layer._index(at)
        except (IndexError, TypeError) as error:
            if isinstance(error, TypeError):
                raise EyeshotError(f"at: expected whole numbers such as 3,3, got {at!r}") from None
            raise EyeshotError(str(error)) from None
    unit = report.unit(layer.name, index)
    part = next((part for part in unit.parts if part.mask_in_box.any()), unit.parts[0])
    if len(unit.parts) > 1:
        names = ", ".join(part.name for part in unit.parts)
        notes.append(f"of the inputs {names}, {part.name} is taken")
    if any(field.is_global for field in layer.fields if field.input == part.name):
        notes.append("the unit also reads the whole input (pooling, attention, norms)")
    if layer.status == "bound":
        notes.append("the theoretical field is an upper bound")
    return Chosen(layer, index, part, notes)


def _place(index: Sequence[int], extents: Sequence[int]) -> str:
    """``row 4 of 8, column 4 of 8``."""
    names = DIM_NAMES.get(len(index)) or [f"index {k}:" for k in range(len(index))]
    each = zip(names, index, extents, strict=True)
    return ", ".join(f"{name} {i} of {n}" for name, i, n in each)


def _last_map(report: Report) -> Layer:
    """The first output, if its units lie along all axes of an input; else the last layer whose units do."""
    if not len(report):
        raise EyeshotError("layer: the network has none")
    first = report.outputs[0] if report.outputs else report[-1]
    if _is_map(first):
        return first
    for k in range(len(report) - 1, -1, -1):
        layer = report[k]
        if _is_map(layer):
            return layer
    return first


def _is_map(layer: Layer) -> bool:
    """Whether units lie along every axis of some input, and along nothing else (flattened channels)."""
    along: dict[str, list[bool]] = {}
    follows = set()
    for field, form in zip(layer.fields, layer._forms, strict=True):
        along.setdefault(field.input, []).append(field.dim is not None)
        follows |= {factor for factor, rank in form.raw.tags if rank is not None}
    factors = {f for dim in layer.unit_dims for f, n in layer._state.dims[dim] if n > 1}
    return factors <= follows and any(all(several) for several in along.values())


# --- the module


def _module(
    source: Any, input: Any, data: Any, protocol: str, call: Mapping[str, Any]
) -> tuple[Any, str, Any]:
    """The module to run, its title and its input."""
    spec = isinstance(source, Mapping | PathLike | Report)
    if isinstance(source, str):
        scheme, colon, _ = source.partition(":")
        spec = (
            not colon or scheme == "example" or len(scheme) == 1 or bool(set(scheme) & set("/\\"))
        )
    if spec or is_onnx(source):
        what = f"{source}: " if isinstance(source, str | PathLike) else ""
        raise EyeshotError(
            f"{what}the protocol {protocol} takes gradients of a PyTorch module (torchvision:NAME, "
            "timm:NAME, package.module:factory); for anything else there is mass"
        )
    module, title, default = resolve(source, real=True)
    if input is None and call["args"] is None and call["kwargs"] is None:
        input = _size_of(data, default) or default
        if input is None:
            what = f"{source}: " if isinstance(source, str) else ""
            raise EyeshotError(
                f"{what}what it is called with is not known; give an input such as 3x224x224"
            )
    return module, title, input


def _size_of(data: Any, like: Any) -> tuple[int, ...] | None:
    """One sample's shape, with a batch of 1, where data says it without being used up.

    ``like``: a shape of as many dims, if one is known.
    """
    if isinstance(data, str | PathLike):
        from eyeshot.data import size_of_image

        path = Path(data)
        if path.suffix.lower() != ".npy":
            named = like is None and data not in ("", "random")
            return size_of_image(path) if named else None
        import numpy as np

        try:
            shape = np.load(path, mmap_mode="r", allow_pickle=False).shape
        except Exception:
            return None  # what reads it will say why
        return _one_of(shape, like)
    if not hasattr(data, "shape"):
        if data is None or isinstance(data, Iterator) or not hasattr(data, "__iter__"):
            return None
        data = next(iter(data), None)
        if isinstance(data, Sequence) and data:
            data = data[0]
    return _one_of(getattr(data, "shape", ()), like)


def _one_of(shape: Sequence[int], like: Any) -> tuple[int, ...] | None:
    if len(shape) < 2 or (isinstance(like, tuple) and len(like) != len(shape)):
        return None
    return (1, *(int(n) for n in shape[1:]))
