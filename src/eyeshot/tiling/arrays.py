"""Tiles of arrays in memory: numpy, torch and dask in, and the same kind out."""

from __future__ import annotations

import bisect
import itertools
import math
import sys
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from eyeshot.errors import EyeshotError
from eyeshot.tiling.plan import Slices, Tile, TilePlan

if TYPE_CHECKING:
    from eyeshot.tiling.models import Model

__all__ = ["tile"]

#: Given as ``progress``: called after every forward with the tiles that are done and how many there are.
Progress = Callable[[int, int], object]


def tile(
    model: Any,
    array: Any,
    *,
    plan: TilePlan | None = None,
    tile: Sequence[int] | int | None = None,
    memory: int | str | None = None,
    batch: int = 1,
    workers: int = 1,
    axes: Any = None,
    output: str | None = None,
    training: bool = False,
    weights: Any = None,
    device: Any = None,
    dtype: Any = None,
    approximate: Sequence[int] | int | None = None,
    trial: bool = True,
    progress: Progress | None = None,
) -> Any:
    """What ``model`` gives for the whole of ``array``, computed tile by tile.

    ``model``: a PyTorch module, a reference such as ``"package.module:factory"`` (with ``weights``, a file), an
    ONNX model, or together with ``plan`` any function of one array. ``array``: numpy, torch or dask, of the
    model's full input shape, batch and channels included. The result is of the same kind, and a tensor's on the
    same device:

    - *numpy*, *torch*: computed at once. A module runs on tensors directly, in evaluation mode and without
      gradients; it stays as it is, its mode too.
    - *dask*: lazy; one chunk a tile, which depends on the input's chunks that its crop overlaps and no others.
      Leave the module's values as they are until then. Tiles run one by one, as many at a time as its scheduler
      likes: ``batch``, ``workers`` and ``progress`` do nothing.

    ``plan``: made by :func:`eyeshot.tile_plan` for this shape; without it one is made with ``tile``,
    ``memory``, ``batch``, ``axes``, ``training``, ``output``, ``approximate`` and ``trial``, as there
    (the error of an approximation is estimated on the array, unless that is lazy).
    ``workers``: threads that run the model side by side, each on its own tiles. ``device``: where the model
    runs, by default where a module is, otherwise the CPU. ``dtype``: what crops are converted to before the
    model sees them; by default the model's own, and for a function the array's.
    ``progress(done, total)`` is called with numbers of tiles.

    Raises :class:`~eyeshot.errors.EyeshotError` for an array of another shape than the plan's, a model that
    does not give what the plan says, and whatever :func:`eyeshot.tile_plan` refuses.
    """
    kind = _kind(array)
    _numbers(array)
    if not isinstance(workers, int) or isinstance(workers, bool) or workers < 1:
        raise EyeshotError(f"workers: expected a number from 1, got {workers!r}")
    shape = tuple(array.shape)
    if any(not isinstance(n, int) for n in shape):
        raise EyeshotError(
            f"array: chunks of unknown size (shape {shape}); compute its sizes first"
        )
    if plan is not None:
        _fits(plan, shape)
    runner: _Function
    if _is_function(model):
        if plan is None:
            raise EyeshotError(
                "plan: what a plain function reads is not known; give the plan of the network that it runs "
                "(eyeshot.tile_plan)"
            )
        runner = _Function(model, dtype)
    else:
        options = {"axes": axes, "output": output, "training": training, "weights": weights}
        # A lazy array's scheduler has workers of its own.
        side_by_side = 1 if kind == "dask" else workers
        runner = _Loaded.of(model, side_by_side, device=device, dtype=dtype, **options)
    if plan is None:
        from eyeshot.tiling.request import tile_plan

        runner.model.subject.report(shape, exact=True)  # an array has its batch
        plan = tile_plan(
            runner.model,
            shape,
            tile=tile,
            memory=memory,
            batch=batch,
            workers=workers,
            approximate=approximate,
            trial=trial,
            sampler=None if kind == "dask" else lambda place: _host(array[place]),
        )
        _fits(plan, shape)
    if kind == "dask":
        return _lazily(runner, array, plan)
    return _at_once(runner, array, plan, workers, progress)


def _kind(array: Any) -> str:
    """numpy, torch or dask."""
    if isinstance(array, np.ndarray):
        return "numpy"
    for name, module in (("torch", "torch"), ("dask", "dask.array")):
        loaded = sys.modules.get(module)
        if loaded is not None and isinstance(
            array, loaded.Tensor if name == "torch" else loaded.Array
        ):
            return name
    raise EyeshotError(
        f"array: expected a numpy, torch or dask array, got a value of type {type(array).__qualname__}"
    )


def _numbers(array: Any) -> None:
    """Refuse what would be cast with a part of it lost, or can't be cast at all."""
    dtype = array.dtype
    held = getattr(dtype, "is_complex", False) or getattr(dtype, "kind", "f") not in "buif"
    if held:
        raise EyeshotError(f"array: holds {dtype}, not real numbers that a model takes")


def _host(part: Any) -> np.ndarray:
    """A part of an array or tensor, as numpy, which has no bfloat16."""
    if isinstance(part, np.ndarray):
        return part
    part = part.detach().cpu()
    return (part.float() if part.dtype.is_floating_point and part.itemsize == 2 else part).numpy()


def _is_function(model: Any) -> bool:
    """Whether it is called as it stands: no module, loaded network, or name or content of one."""
    from eyeshot.tiling.models import Model

    torch = sys.modules.get("torch")
    if torch is not None and isinstance(model, torch.nn.Module):
        return False
    return callable(model) and not isinstance(model, Model | type)


def _fits(plan: TilePlan, shape: tuple[int, ...]) -> None:
    if not isinstance(plan, TilePlan):
        raise EyeshotError(f"plan: expected a TilePlan, got {type(plan).__qualname__}")
    if plan.shape != shape:
        raise EyeshotError(
            f"plan: made for an input of {_by(plan.shape)}, but the array is {_by(shape)}; make one for it"
        )


def _by(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape)) or "no dims"


# --- the model


class _Function:
    """A plain function, called with what the array is made of."""

    def __init__(self, model: Any, dtype: Any) -> None:
        self.model, self.dtype = model, dtype

    def __call__(self, x: Any) -> Any:
        """The output for one crop or a batch of them, of the kind that the crop is."""
        return self.model(self._copied(x))

    def _copied(self, x: Any) -> Any:
        """What the function does to a crop in place must not reach the user's array."""
        if isinstance(x, np.ndarray):
            return np.array(x, dtype=self.dtype, order="C")
        x = x.detach().clone()
        return x if self.dtype is None else x.to(_torch_dtype(self.dtype))

    def dtype_out(self, plan: TilePlan, dtype: Any) -> Any:
        """The dtype that an array of ``dtype`` gives, at the cost of one forward of the smallest crop."""
        smallest = min(plan, key=lambda tile: math.prod(tile.shape))
        shape = list(plan.shape)
        for axis, n in zip(plan.axes, smallest.shape, strict=True):
            shape[axis.axis] = n
        return getattr(self(np.zeros(shape, dtype)), "dtype", dtype)


def _torch_dtype(dtype: Any) -> Any:
    import torch

    if isinstance(dtype, torch.dtype):
        return dtype
    return torch.from_numpy(np.empty(0, dtype)).dtype


class _Loaded(_Function):
    """A network that eyeshot has loaded; a module among them takes tensors without a way round."""

    def __init__(self, model: Model) -> None:
        super().__init__(model, model.dtype)

    @classmethod
    def of(cls, source: Any, workers: int, **options: Any) -> _Loaded:
        """The network of a source, for so many workers at a time, who share the threads that there are."""
        from eyeshot.tiling.models import load

        torch = sys.modules.get("torch")
        if workers > 1 and torch is not None:
            options["threads"] = max(1, torch.get_num_threads() // workers)
        return cls(load(source, **options))

    def __call__(self, x: Any) -> Any:
        if isinstance(x, np.ndarray):
            return self.model(x)
        run = getattr(self.model._network, "tensor", None)
        if run is not None:
            return run(x)
        import torch

        return torch.from_numpy(self.model(x.detach().cpu().numpy()))

    def dtype_out(self, plan: TilePlan, dtype: Any) -> Any:
        """The same without numbers, where it is a module that runs without them."""
        torch = sys.modules.get("torch")
        module = self.model.subject.network
        if torch is None or not isinstance(module, torch.nn.Module):
            return super().dtype_out(plan, dtype)
        held = {
            name: torch.empty_like(t, device="meta")
            for name, t in (*module.named_parameters(), *module.named_buffers())
        }
        kind = self.model.compute if self.dtype.kind == "f" else self.dtype.name
        try:
            x = torch.empty(plan.crop, dtype=getattr(torch, kind), device="meta")
            with torch.no_grad():
                found = torch.func.functional_call(module, held, (x,))
            name = str(found.dtype).removeprefix("torch.")
        except Exception:  # it makes tensors of its own, looks at numbers, has several outputs, …
            return super().dtype_out(plan, dtype)
        return np.dtype("float32" if name == "bfloat16" else name)


# --- at once


def _at_once(
    runner: _Function, array: Any, plan: TilePlan, workers: int, progress: Progress | None
) -> Any:
    """The whole output, in memory."""
    if hasattr(array, "detach"):
        array = array.detach()
    shapes = _Shapes.of(plan)
    groups = _groups(plan)
    out: Any = None
    done = 0

    def keep(k: int) -> None:
        nonlocal out
        tiles = [plan[i] for i in groups[k]]
        parts = _forward(runner, [array[tile.read] for tile in tiles], tiles, shapes)
        if out is None:
            out = _empty(array, plan.out_shape, parts[0])
        for tile, part in zip(tiles, parts, strict=True):
            out[tile.write] = part

    def tell(k: int) -> None:
        nonlocal done
        done += len(groups[k])
        if progress is not None:
            progress(done, len(plan))

    keep(0)
    tell(0)
    if workers > 1:
        _side_by_side(keep, tell, range(1, len(groups)), workers)
    else:
        for k in range(1, len(groups)):
            keep(k)
            tell(k)
    return out


def _side_by_side(
    work: Callable[[int], None], tell: Callable[[int], None], numbers: Iterable[int], workers: int
) -> None:
    """Each number in one of so many threads; the first error is raised when those under way are done."""
    from eyeshot.tiling.engine import open_engine

    def job(k: int) -> Exception | None:
        try:
            work(k)
        except Exception as error:
            return error
        return None

    def done(k: int, error: Any) -> None:
        if error is not None:
            raise error
        tell(k)

    engine = open_engine(job, workers=workers, retries=0)  # type: ignore[arg-type]
    try:
        engine.run(numbers, done)
    finally:
        engine.close()


def _groups(plan: TilePlan) -> list[tuple[int, ...]]:
    """The numbers of the tiles that one forward takes."""
    if all(axis.axis and axis.dim for axis in plan.axes):
        return plan.batches()
    return [(i,) for i in range(len(plan))]  # nothing to stack them along


class _Shapes(NamedTuple):
    """What a forward's output is held against: the whole's shape and the dims that tiles lie along."""

    title: str
    out: tuple[int, ...]
    along: frozenset[int]

    @classmethod
    def of(cls, plan: TilePlan) -> _Shapes:
        return cls(plan.title, plan.out_shape, frozenset(axis.dim for axis in plan.axes))


def _forward(
    runner: _Function, crops: list[Any], tiles: Sequence[Tile], shapes: _Shapes
) -> list[Any]:
    """What is to be written for each of these tiles, from one forward over their crops."""
    count = len(crops)
    x = crops[0]
    if count > 1:
        x = np.concatenate(crops) if isinstance(x, np.ndarray) else sys.modules["torch"].cat(crops)
    found = runner(x)
    if not hasattr(found, "shape"):
        raise EyeshotError(
            f"the model gave a {type(found).__qualname__}, not an array; if it has several outputs, say "
            "which with output="
        )
    _checked(tuple(found.shape), x.shape, tiles[0], count, shapes)
    if count == 1:
        return [found[tiles[0].crop]]
    each = shapes.out[0]
    return [found[k * each : (k + 1) * each][tile.crop] for k, tile in enumerate(tiles)]


def _checked(
    found: Sequence[int], given: Sequence[int], tile: Tile, count: int, shapes: _Shapes
) -> None:
    """Refuse an output that has not the tile's crop in it, or other channels than the plan's."""
    needed = [tile.crop[d].stop if d in shapes.along else n for d, n in enumerate(shapes.out)]
    if count > 1:
        needed[0] *= count
    if len(found) == len(needed) and all(
        n >= need if d in shapes.along else n == need
        for d, (n, need) in enumerate(zip(found, needed, strict=True))
    ):
        return
    raise EyeshotError(
        f"the model gave {_by(found)} for a crop of {_by(given)}; the plan (of {shapes.title}) needs "
        f"{_by(needed)} or more along its axes, and gives {_by(shapes.out)} in the whole"
    )


def _empty(array: Any, shape: Sequence[int], part: Any) -> Any:
    """An output of the array's kind, of the dtype that the model gives."""
    if hasattr(array, "detach"):
        return sys.modules["torch"].empty(shape, dtype=part.dtype, device=array.device)
    return np.empty(shape, np.asarray(part).dtype)


# --- lazily


@dataclass(frozen=True)
class _Task:
    """One tile of a dask array; ``cuts``: what it reads of each chunk that it is given, dim by dim."""

    tile: Tile
    cuts: tuple[Slices, ...]
    shapes: _Shapes


def _lazily(runner: _Function, array: Any, plan: TilePlan) -> Any:
    """A dask array: one task a tile, which is given the chunks that its crop overlaps.

    The model is one entry of the graph, however many tiles there are.
    """
    import dask.array as da
    from dask.highlevelgraph import HighLevelGraph

    shapes = _Shapes.of(plan)
    name = f"eyeshot-tile-{uuid.uuid4().hex}"
    model = f"{name}-model"
    layer: dict[Any, Any] = {model: runner}
    begins = [[0, *itertools.accumulate(sizes)] for sizes in array.chunks]
    for tile in plan:
        place = [0] * len(plan.out_shape)
        for axis, at in zip(plan.axes, tile.place, strict=True):
            place[axis.dim] = at
        numbers, cuts = zip(*map(_overlapped, begins, tile.read), strict=True)
        keys = _nested((array.name,), numbers)
        layer[(name, *place)] = (_one, model, keys, _Task(tile, cuts, shapes))
    chunks: list[tuple[int, ...]] = [(n,) for n in plan.out_shape]
    for axis in plan.axes:
        chunks[axis.dim] = tuple(end - begin for _, _, (begin, end) in axis.spans)
    graph = HighLevelGraph.from_collections(name, layer, dependencies=[array])
    meta = np.empty((0,) * len(chunks), runner.dtype_out(plan, array.dtype))
    return da.Array(graph, name, tuple(chunks), meta=meta)


def _overlapped(begins: Sequence[int], read: slice) -> tuple[range, Slices]:
    """The chunks along one dim that a slice overlaps, and what it takes of each."""
    begin, end = read.start or 0, begins[-1] if read.stop is None else read.stop
    first = bisect.bisect_right(begins, begin) - 1
    last = bisect.bisect_left(begins, end)
    cuts = tuple(
        slice(max(begin, low) - low, min(end, high) - low)
        for low, high in itertools.pairwise(begins[first : last + 1])
    )
    return range(first, last), cuts


def _nested(key: tuple[Any, ...], numbers: Sequence[range]) -> Any:
    """The keys of chunks, in lists that are nested dim by dim."""
    if not numbers:
        return key
    return [_nested((*key, number), numbers[1:]) for number in numbers[0]]


def _one(runner: _Function, chunks: list[Any], task: _Task) -> Any:
    """One tile's output, from the chunks that its crop overlaps."""
    crop = _joined(chunks, task.cuts)
    return np.ascontiguousarray(_forward(runner, [crop], [task.tile], task.shapes)[0])


def _joined(chunks: Any, cuts: Sequence[Slices], taken: Slices = ()) -> Any:
    """Nested chunks, each cut, as one array."""
    if len(taken) == len(cuts):
        return np.asarray(chunks)[taken]
    parts = [
        _joined(part, cuts, (*taken, cut))
        for part, cut in zip(chunks, cuts[len(taken)], strict=True)
    ]
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=len(taken))
