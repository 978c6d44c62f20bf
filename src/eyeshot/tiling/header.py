"""What a run is about, as its journal's header: made for a new run, compared for one that goes on."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import eyeshot
from eyeshot.errors import EyeshotError
from eyeshot.tiling.engine import cores
from eyeshot.tiling.extents import NotTileable
from eyeshot.tiling.journal import SUFFIX
from eyeshot.tiling.layout import Layout
from eyeshot.tiling.outputs import Output, create, reopen
from eyeshot.tiling.outputs.places import kind_of, staging
from eyeshot.tiling.plan import Slices, TilePlan
from eyeshot.tiling.scaling import Scaling
from eyeshot.tiling.work import Work

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from eyeshot.tiling.images import Image
    from eyeshot.tiling.models import Model

__all__ = ["Asked", "balance", "compare", "fresh", "journal_path", "output", "threaded", "work"]

#: Tiles at the same time where nothing is said: on a CPU at most, and on a GPU (one is read as another runs).
WORKERS, GPU_WORKERS = 4, 2


@dataclass(frozen=True)
class Asked:
    """A run's options as they were given; None: not given."""

    plan: TilePlan | None = None
    tile: Sequence[int] | int | None = None
    memory: str | int | None = None
    batch: int | None = None
    axes: str | None = None
    channels: tuple[int, ...] | None = None
    scaling: Scaling | None = None
    approximate: Sequence[int] | int | None = None
    kind: str | None = None
    settings: dict[str, Any] | None = None


def journal_path(path: Path) -> Path:
    """Where the journal of an output is."""
    partial = staging(path)
    return partial.with_name(partial.name + SUFFIX)


def balance(workers: int | None, device: str, cluster: bool) -> tuple[int, int | None]:
    """Tiles that run at the same time here, and the threads of a forward (None: the framework's choice).

    Several tiles with few threads each beat one with many: reading, writing and all that a framework does in
    one thread go on beside. Each worker takes memory, so there are no more than a few unless asked for. On a
    cluster a worker's own number of threads says how many tiles it runs.
    """
    if workers is not None and workers < 1:
        raise EyeshotError(f"workers: expected a number of at least 1, got {workers}")
    if cluster:
        return 1, 1
    if not device.startswith("cpu"):
        return workers or GPU_WORKERS, None
    count = workers or min(cores(), WORKERS)
    return count, max(1, cores() // count)


def threaded(model: Model, threads: int | None) -> Model:
    """The model with so many threads per forward pass, unless it was loaded with a number of its own."""
    if threads is None or model.threads is not None:
        return model
    return model.threaded(threads)


def fresh(
    model: Model,
    image: Image,
    path: Path,
    asked: Asked,
    *,
    workers: int,
    overwrite: bool,
    trial: bool,
) -> dict[str, Any]:
    """The header of a new run, for which the tiles are planned and the model is tried on the smallest of them.

    Raises :class:`~eyeshot.errors.EyeshotError` where model, image and options don't go together.
    """
    scaling = asked.scaling or Scaling()
    layout = _layout(model, image, asked)
    scaling.check(layout.count)
    plan = asked.plan
    if plan is None:
        plan = _planned(model, image, layout, asked, workers, trial)
    if plan.shape != layout.input_shape(plan_channels(plan)):
        raise EyeshotError(
            f"the plan is for {_by(plan.shape)}, and the image gives the model {_by(layout.input_shape())}"
        )
    dtype = scaling.dtype(_probed(model, plan))
    return {
        "version": eyeshot.__version__,
        "token": os.urandom(16).hex(),
        "model": _model(model),
        "image": {"name": image.name, "fingerprint": image.fingerprint},
        "layout": {
            "axes": layout.axes,
            "spatial": layout.spatial,
            "channels": layout.channels,
            "dims": layout.dims,
        },
        "scaling": scaling.to_dict(),
        "plan": plan.to_dict(),
        "asked": _sizes(asked),
        "output": {
            "shape": layout.out_shape(plan),
            "dtype": dtype.str,
            "axes": layout.out_axes(plan),
            "chunks": layout.out_chunks(plan, dtype),
            "kind": asked.kind or kind_of(path),
            "overwrite": overwrite,
            "settings": asked.settings or {},
        },
    }


def compare(header: dict[str, Any], model: Model, image: Image, path: Path, asked: Asked) -> None:
    """Raise :class:`~eyeshot.errors.EyeshotError`, naming what differs, unless this is the header's run."""
    was, now = header["model"], _model(model)
    for name in was:
        if was[name] != now[name] and name != "title":
            what = "the model" if name == "fingerprint" else f"the model's {name}"
            told = "another one" if name == "fingerprint" else f"{was[name]}, now it is {now[name]}"
            raise _other(path, f"{what} was {told}")
    if header["image"]["fingerprint"] != image.fingerprint:
        raise _other(path, f"the image was another one, or has changed ({header['image']['name']})")
    given = {
        "axes": (asked.axes and asked.axes.lower(), header["layout"]["axes"]),
        "channels": (_plain(asked.channels), header["layout"]["channels"]),
        "scaling": (asked.scaling and asked.scaling.to_dict(), header["scaling"]),
        "batch": (asked.batch, header["plan"]["batch"]),
        "kind": (asked.kind, header["output"]["kind"]),
        "settings": (asked.settings, header["output"]["settings"]),
    }
    given |= {name: (value, header["asked"][name]) for name, value in _sizes(asked).items()}
    if asked.plan is not None:
        given["plan"] = (_tiles(asked.plan.to_dict()), _tiles(header["plan"]))
    for name, (value, recorded) in given.items():
        if value is not None and value != recorded:
            shown = (
                ""
                if name in ("plan", "settings")
                else f" was {_shown(recorded)}, now {_shown(value)} is asked for"
            )
            raise _other(path, f"{name}{shown or ' was another one'}")


def work(header: dict[str, Any], model: Model, image: Image, out: Output) -> Work:
    """All that is to be done, as the header tells: the same for a run that begins and one that goes on."""
    held = header["layout"]
    return Work(
        model=model,
        image=image,
        output=out,
        plan=TilePlan.from_dict(header["plan"]),
        layout=Layout(
            held["axes"],
            image.shape,
            held["spatial"],
            channels=None if held["channels"] is None else tuple(held["channels"]),
            dims=tuple(held["dims"]),
        ),
        scaling=Scaling.from_dict(header["scaling"]),
        journal=journal_path(out.path),
        token=header["token"],
    )


def output(header: dict[str, Any], path: Path, *, again: bool) -> Output:
    """The output that the header tells of: opened ``again``, or new."""
    held = dict(header["output"])
    return (reopen if again else create)(path, held.pop("shape"), held.pop("dtype"), **held)


def plan_channels(plan: TilePlan) -> int | None:
    """How many channels a plan's input has; None if none of its dims is of channels."""
    along = {0, *(axis.axis for axis in plan.axes)}
    left = [n for dim, n in enumerate(plan.shape) if dim not in along]
    return left[0] if left else None


# --- what goes into a header


def _layout(model: Model, image: Image, asked: Asked) -> Layout:
    axes = asked.axes or image.axes
    plan = asked.plan
    if plan is not None:
        spatial = tuple(axis.axis for axis in plan.axes)
        expected = plan_channels(plan)
    else:
        spatial = _spatial(model, axes, len(image.shape))
        expected = _expected(model) if axes is None else None
    channel = next((d for d in range(1, len(spatial) + 2) if d not in spatial), None)
    if plan is not None and channel == len(plan.shape):
        channel = None
    return Layout(
        axes,
        image.shape,
        len(spatial),
        channels=asked.channels,
        expected=expected,
        dims=(channel, *spatial),
    )


def _planned(
    model: Model,
    image: Image,
    layout: Layout,
    asked: Asked,
    workers: int,
    trial: bool,
) -> TilePlan:
    from eyeshot.tiling.request import tile_plan

    try:
        return tile_plan(
            model,
            layout.input_shape(),
            tile=asked.tile,
            memory=asked.memory,
            batch=asked.batch or 1,
            workers=workers,
            approximate=asked.approximate,
            trial=trial,
            sampler=partial(_sampled, model, image, layout, asked.scaling or Scaling()),
        )
    except NotTileable:
        raise
    except EyeshotError:
        # What the network's first layer makes of a wrong number of channels says nothing about the image.
        if not _takes(model, layout):
            replace(layout, expected=_expected(model)).input_shape()
        raise


def _sampled(
    model: Model, image: Image, layout: Layout, scaling: Scaling, place: Slices
) -> NDArray[Any]:
    """What the model gets of the image's first item at some slices of its input."""
    channel = (layout.dims or (1,))[0]
    raw = layout.gather(image, layout.items[0], place)
    return scaling.inward(raw, model.dtype, None if channel is None else channel - 1)[None]


def _takes(model: Model, layout: Layout) -> bool:
    """Whether the whole image has a shape that the model can be given."""
    try:
        model.subject.report(layout.input_shape())
    except EyeshotError:
        return False
    return True


def _probed(model: Model, plan: TilePlan) -> np.dtype[Any]:
    """The dtype of the model's output, by running it on the smallest crop: what does not fit shows early."""
    shape = list(plan.shape)
    for axis in plan.axes:
        shape[axis.axis] = min(end - begin for (begin, end), _, _ in axis.spans)
    return np.asarray(model(np.zeros(shape, model.dtype))).dtype


def _model(model: Model) -> dict[str, Any]:
    return {
        "title": model.title,
        "fingerprint": model.fingerprint,
        "dtype": model.dtype.str,
        "compute": getattr(model, "compute", None),
        "device": model.device,
        "output": getattr(model, "output", None),
        "training": getattr(model, "training", None),
        "threads": model.threads,
    }


def _sizes(asked: Asked) -> dict[str, Any]:
    """What tiles were asked for."""
    from eyeshot.tiling.memory import parsed

    return {
        "tile": _plain(asked.tile),
        "memory": None if asked.memory is None else parsed(asked.memory),
        "approximate": _plain(asked.approximate),
    }


def _plain(sizes: Sequence[int] | int | None) -> Any:
    return sizes if sizes is None or isinstance(sizes, int) else [int(n) for n in sizes]


def _tiles(plan: dict[str, Any]) -> dict[str, Any]:
    """A plan as far as it matters to a result."""
    import json

    held = {name: plan[name] for name in ("shape", "out_shape", "batch", "axes")}
    return dict(json.loads(json.dumps(held)))


# --- what a model takes


def _spatial(model: Model, axes: str | None, dims: int) -> tuple[int, ...]:
    """The dims of the model's input along which tiles lie, as far as the model tells."""
    given = model.subject._options.get("axes")
    if given is not None and not isinstance(given, dict):
        return tuple(sorted(int(d) for d in ([given] if isinstance(given, int) else given)))
    default = model.subject.default
    count = _rank(model.subject.network)
    if count is None and default is not None:
        count = len(model.subject.report()._sources[0].axes)
    if count is None:
        letters = axes or "yx"
        count = sum(letter in "zyx" for letter in letters) or 1
    return tuple(range(2, count + 2))


def _rank(network: Any) -> int | None:
    """The number of a network's spatial axes, by its first layer that says so."""
    if hasattr(network, "modules"):
        for module in network.modules():
            if isinstance(getattr(module, "kernel_size", None), tuple) and hasattr(
                module, "in_channels"
            ):
                return len(module.kernel_size)
    shape = _declared(network)
    return None if shape is None or len(shape) < 3 else len(shape) - 2


def _expected(model: Model) -> int | None:
    """The channels that a network takes, by its first layer that says so."""
    network = model.subject.network
    if hasattr(network, "modules"):
        return next((m.in_channels for m in network.modules() if hasattr(m, "in_channels")), None)
    shape = _declared(network)
    return (shape[1] or None) if shape is not None and len(shape) > 2 else None


def _declared(network: Any) -> tuple[int, ...] | None:
    """The shape of an ONNX graph's one input, 0 for what is open."""
    graph = getattr(network, "graph", None)
    if graph is None or not hasattr(graph, "initializer"):
        return None
    held = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in held]
    if len(inputs) != 1 or not inputs[0].type.tensor_type.HasField("shape"):
        return None
    return tuple(int(d.dim_value) for d in inputs[0].type.tensor_type.shape.dim)


# --- messages


def _other(path: Path, what: str) -> EyeshotError:
    return EyeshotError(f"{path}: the unfinished run is another one: {what}")


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(
            f"{name} {_shown(held)}" for name, held in value.items() if held is not None
        )
    return _by(value) if isinstance(value, list) else "not given" if value is None else str(value)


def _by(sizes: Any) -> str:
    return "x".join(map(str, sizes))
