"""The effective receptive field of a trained module on data: gradients of one unit with respect to the input.

Two protocols, for a unit whose channels c are summed (all of them, or those chosen):

- ``mean-abs`` (Luo et al. 2016, arXiv 1701.04128): the gradient of the sum over c of the unit's values, its
  absolute values added up over the input's channels, averaged over the samples.
- ``positive`` (Ding et al. 2022, RepLKNet, arXiv 2203.06717, ``erf/visualize_erf.py``): the gradient of the
  sum over c of relu(value), its negative part set to 0, added up over the input's channels, averaged over the
  samples.

Gradients come in the module's own type, float32 mostly; sums over samples are in float64.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from itertools import chain, islice
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from eyeshot.analysis.report import Layer, Report
from eyeshot.data import Sample, Samples, Wanted, samples_of
from eyeshot.data.samples import shape_text
from eyeshot.errors import EyeshotError
from eyeshot.frontends.torch.build import _module, _own_buffers
from eyeshot.frontends.torch.capture import Place, capture, eager, locate
from eyeshot.frontends.torch.inputs import Arguments, Slot
from eyeshot.frontends.torch.snapshot import untouched
from eyeshot.gradients.compare import agree, noise
from eyeshot.gradients.crop import Crop, batched_along, find
from eyeshot.gradients.given import chosen, frozen, is_batched, prepared, wanted_of

__all__ = ["GRADIENTS", "Measured", "measure"]

GRADIENTS = ("mean-abs", "positive")
#: The activations of one batch may take about so many bytes.
MEMORY = 1 << 27
#: More samples a pass no longer save time, on a CPU and on a GPU.
MAX_BATCH = 16
MAX_BATCH_GPU = 64
#: Why no crop is used.
OTHERS = "its values in a crop are others, as of a network that knows positions or sizes"


class Measured(NamedTuple):
    """``map``: float64 over the input's axes, the mean over ``samples``; ``notes``: sentences on how."""

    map: NDArray[np.float64]
    samples: int
    interrupted: bool
    notes: tuple[str, ...]


def measure(
    module: Any,
    report: Report,
    layer: str,
    index: Sequence[int],
    *,
    input: Any = None,
    data: Any = None,
    protocol: str = "positive",
    samples: int | None = None,
    channels: Sequence[int] | None = None,
    batch: int | None = None,
    device: Any = None,
    crop: bool = True,
    weights: Any = None,
    resize: bool = False,
    mean: Any = None,
    std: Any = None,
    seed: int = 0,
    axes: Any = None,
    args: Sequence[Any] | None = None,
    kwargs: Mapping[str, Any] | None = None,
    training: bool | None = False,
    progress: Callable[[int, int], None] | None = None,
) -> Measured:
    """How much each position of the input counts for one unit of ``layer``, by gradients over ``data``.

    ``report``: the module's, analysed with the same ``input``, ``axes``, ``args`` and ``kwargs``. ``index``:
    the unit's, along ``report[layer].unit_dims``. ``channels``: numbers along the layer's channel dim; None for
    all. ``batch``: samples a pass, chosen if None. ``device``: where to run, None for where the module is.
    ``crop``: run only the part of the input that the unit reads, where that is proved to give the same.
    ``data`` and what belongs to it: see :func:`eyeshot.data.samples_of`; ``progress(done, total)`` is called
    after every batch, ``total`` being ``done`` where nobody knows.

    Ctrl-C ends the run with what it has, once one sample is done. The module stays as it is.
    Raises EyeshotError for anything that can't be measured.
    """
    if protocol not in GRADIENTS:
        raise EyeshotError(f"protocol: {protocol!r} is none of {', '.join(GRADIENTS)}")
    if batch is not None and (isinstance(batch, bool) or not isinstance(batch, int) or batch < 1):
        raise EyeshotError(f"batch: expected a number from 1 up, got {batch!r}")
    notes: list[str] = []
    module = _module(module)
    row = report[layer]
    at = row._index(index)
    arguments, main = chosen(module, report, input, args, kwargs, axes)
    wanted = wanted_of(main)
    given = samples_of(data, wanted, limit=samples, resize=resize, mean=mean, std=std, seed=seed)
    module = prepared(module, weights, device, notes)
    run = _Run(module, arguments, main, row, at, training, channels, protocol, seed)
    with run.ready():
        run.locate()
        done = run.over(given, wanted, batch, crop, progress, notes)
    total, count, interrupted = done
    if not total.any():
        raise EyeshotError(_all_zero(row, protocol, count))
    return Measured(total / count, count, interrupted, (*given.notes, *notes))


def _all_zero(layer: Layer, protocol: str, count: int) -> str:
    what = "the sample" if count == 1 else f"all {count} samples"
    hint = "another unit, or other channels"
    if protocol == "positive":
        hint = f"the protocol mean-abs, {hint}"
    return f"{layer.name}: every gradient is 0 on {what} (its ReLUs may be off there); try {hint}"


# --- the run


class _Run:
    """One unit of one module, and how to get its gradient."""

    def __init__(
        self,
        module: torch.nn.Module,
        arguments: Arguments,
        main: Slot,
        layer: Layer,
        index: tuple[int, ...],
        training: bool | None,
        channels: Sequence[int] | None,
        protocol: str,
        seed: int,
    ) -> None:
        self.module = module
        self.arguments = arguments
        self.main = main
        self.layer = layer
        self.index = index
        self.training = training
        self.protocol = protocol
        self.seed = seed
        tensors = [*module.parameters(), *module.buffers()]
        floating = [t for t in tensors if t.is_floating_point()]
        self.device = tensors[0].device if tensors else torch.device("cpu")
        self.dtype = floating[0].dtype if floating else main.dtype
        self.batched = is_batched(main)
        #: The layer's dim along which samples lie, once that is proved.
        self.sample_dim: int | None = None
        self.channels = self._channels(channels)
        self.place: Place
        self.calls: dict[str, tuple[str, int]]

    def _channels(self, channels: Sequence[int] | None) -> tuple[int, list[int]] | None:
        """The layer's channel dim, and the numbers along it."""
        if channels is None:
            return None
        shape, name = self.layer.shape, self.layer.name
        others = [d for d in range(len(shape)) if d not in self.layer.unit_dims]
        if len(others) > 1 and others[0] == 0 and shape[0] == 1 and self.batched:
            others = others[1:]
        wide = [d for d in others if shape[d] > 1] or others
        if not wide:
            raise EyeshotError(f"channels: {name} has no dim for channels")
        dim = 1 if 1 in wide else wide[0]
        try:
            chosen = [int(c) for c in channels]
        except (TypeError, ValueError):
            raise EyeshotError(f"channels: expected numbers, got {channels!r}") from None
        if not chosen:
            raise EyeshotError("channels: none are chosen")
        for c in chosen:
            if not 0 <= c < shape[dim]:
                raise EyeshotError(f"channels: {c} is outside 0 … {shape[dim] - 1} of {name}")
        return dim, chosen

    @contextmanager
    def ready(self) -> Iterator[None]:
        """The module in its mode with parameters that ask for nothing; all as it was afterwards."""
        with ExitStack() as stack:
            stack.enter_context(untouched(self.module, self.training))
            stack.enter_context(frozen(self.module))
            _own_buffers(self.module, True)
            stack.enter_context(torch.inference_mode(False))
            stack.enter_context(torch.enable_grad())
            stack.enter_context(eager())
            if self.device.type == "cuda":
                # No TF32, so that float32 is what it says.
                known = torch.backends.cudnn
                flags = known.flags(
                    enabled=known.enabled,
                    benchmark=known.benchmark,
                    deterministic=known.deterministic,
                    allow_tf32=False,
                )
                stack.enter_context(flags)
            torch.manual_seed(self.seed)
            yield

    def locate(self) -> None:
        """Find the row, without data if the module lets itself be traced so."""
        name = self.layer.name
        try:
            found = locate(self.module, self.arguments, self.training, name)
        except Exception:
            found = None
        if found is None or found[0].kind == "event":
            with self._explained("input"):
                found = locate(self.module, self.arguments, self.training, name, self._example)
        self.place, self.calls = found

    def _example(self, slot: Slot) -> Tensor:
        if slot is not self.main:
            return self._other(slot)
        x = torch.zeros(slot.shape, dtype=self.dtype, device=self.device)
        return x.requires_grad_().clone()

    def _other(self, slot: Slot) -> Tensor:
        assert slot.tensor is not None
        tensor = slot.tensor.detach().to(self.device)
        return tensor.to(self.dtype).clone() if tensor.is_floating_point() else tensor.clone()

    @contextmanager
    def _explained(self, name: str) -> Iterator[None]:
        """The module's own errors as one line."""
        try:
            yield
        except (EyeshotError, MemoryError):
            raise
        except Exception as error:
            text = " ".join(str(error).split())[:300] or "no message"
            raise EyeshotError(
                f"{name}: the module raised {type(error).__name__}: {text}"
            ) from error

    # --- one batch

    def values(
        self, arrays: Sequence[NDArray[Any]], crop: Crop | None, every: bool = False
    ) -> tuple[Tensor, Tensor]:
        """The input as a leaf, and the unit's values, one row a sample. ``every``: of all channels."""
        index, narrows = (self.index, ()) if crop is None else (crop.unit, crop.narrows)
        stacked = np.stack(arrays) if self.batched else arrays[0]
        x = torch.tensor(stacked, dtype=self.dtype, device=self.device).requires_grad_()

        def make(slot: Slot) -> Tensor:
            # Not the leaf itself: a first layer may write to what it is given.
            return x.clone() if slot is self.main else self._other(slot)

        out = capture(self.module, self.arguments, self.training, self.place, make, narrows)
        shape = list(self.layer.shape)
        dims = self.layer.unit_dims
        if self.sample_dim is not None:
            shape[self.sample_dim] = len(arrays)
        if out.ndim != len(shape) or any(
            out.shape[d] != n for d, n in enumerate(shape) if d not in dims
        ):
            raise EyeshotError(
                f"{self.layer.name}: it holds {shape_text(out.shape)} on data, but {shape_text(shape)} in the "
                "report"
            )
        if not out.requires_grad:
            raise EyeshotError(
                f"{self.layer.name}: it has no gradient with respect to the input (it is detached from it, or "
                "made of whole numbers)"
            )
        where: list[Any] = [slice(None)] * len(shape)
        for dim, i in zip(dims, index, strict=True):
            where[dim] = slice(i, i + 1)
        unit = out[tuple(where)]
        if self.channels is not None and not every:
            dim, chosen = self.channels
            unit = unit.index_select(dim, torch.tensor(chosen, device=out.device))
        if self.sample_dim is not None:
            unit = unit.movedim(self.sample_dim, 0)
        return x, unit.reshape(len(arrays), -1)

    def maps(
        self, arrays: Sequence[NDArray[Any]], crop: Crop | None
    ) -> tuple[NDArray[np.float64], Tensor]:
        """Per sample the contribution of every position, [samples, \\*axes], and the unit's values."""
        x, unit = self.values(arrays, crop)
        values = unit.detach()
        positive = self.protocol == "positive"
        if positive:
            unit = unit.relu()
        (grad,) = torch.autograd.grad(unit.sum(), x, allow_unused=True)
        if grad is None:
            grad = torch.zeros_like(x)
        unknown = (
            grad * 0
        )  # NaN where the gradient is NaN or infinite, which must not be clamped away
        grad = (grad.clamp(min=0) if positive else grad.abs()) + unknown
        if grad.device.type == "mps":
            grad = grad.cpu()  # there is no float64
        others = [d for d in range(self.batched, grad.ndim) if d not in self.main.axes]
        if others:
            grad = grad.sum(others, dtype=torch.float64)
        if not self.batched:
            grad = grad[None]
        return np.asarray(grad.detach().to("cpu", torch.float64).numpy()), values

    # --- all of them

    def over(
        self,
        given: Samples,
        wanted: Wanted,
        batch: int | None,
        crop: bool,
        progress: Callable[[int, int], None] | None,
        notes: list[str],
    ) -> tuple[NDArray[np.float64], int, bool]:
        """The sum of the samples' maps, how many they are, and whether the run was interrupted."""
        items, found = given.items, None
        if crop and len(self.arguments.slots) == 1:
            items, found = self._cropped(items, given.number, notes)
        total = np.zeros(wanted.sizes)
        window = None if found is None else found.window
        part = ... if window is None else tuple(slice(begin, end) for begin, end in window)
        size = self._batch_size(batch, total[part].size / max(1, total.size), notes)
        done: tuple[NDArray[np.float64], int] = np.zeros_like(total[part]), 0
        dead, interrupted, sure = 0, False, False
        try:
            while held := list(islice(items, size)):
                maps, values = self._checked(held, found)
                if len(held) > 1 and not sure:
                    sure = bool(values.any())
                    if not self._as_alone(held, found, values):
                        notes.append("one sample a pass, since in a batch its values are others")
                        size = 1
                        maps = np.concatenate([self._checked([one], found)[0] for one in held])
                dead += int((maps.reshape(len(held), -1).sum(1) == 0).sum())
                # In one step: whenever Ctrl-C comes, sum and number belong together.
                done = done[0] + maps.sum(0), done[1] + len(held)
                if progress is not None:
                    progress(done[1], max(done[1], given.number or 0))
        except KeyboardInterrupt:
            if not done[1]:
                raise
            interrupted = True
        total[part], count = done
        if not count:
            raise EyeshotError("data: there are no samples in it")
        if interrupted:
            notes.append(f"interrupted after {count} sample{'s' * (count > 1)}")
        if 0 < dead < count:
            notes.append(f"{dead} of {count} samples gave no gradient at all (ReLUs that are off)")
        return total, count, interrupted

    def _as_alone(self, held: Sequence[Sample], crop: Crop | None, values: Tensor) -> bool:
        """Whether the first and the last sample of a batch have the values that they have alone."""
        window = None if crop is None else crop.window
        for k in (0, -1):
            with self._explained(held[k].name):
                _, alone = self.values([held[k].array(window)], crop)
            if not agree(alone[0], values[k]):
                return False
        return True

    def _checked(
        self, held: Sequence[Sample], crop: Crop | None
    ) -> tuple[NDArray[np.float64], Tensor]:
        """The maps of these samples, which must be numbers, and the unit's values."""
        arrays = [sample.array(None if crop is None else crop.window) for sample in held]
        label = held[0].name if len(held) == 1 else f"{held[0].name} … {held[-1].name}"
        with self._explained(label):
            maps, values = self.maps(arrays, crop)
        for sample, sum_ in zip(held, maps.reshape(len(held), -1).sum(1), strict=True):
            if not math.isfinite(sum_):
                raise EyeshotError(
                    f"{sample.name}: the gradient of {self.layer.name} is NaN or infinite; look at the "
                    "module's weights, and at mean and std"
                )
        return maps, values

    def _cropped(
        self, items: Iterator[Sample], count: int | None, notes: list[str]
    ) -> tuple[Iterator[Sample], Crop | None]:
        """A crop that is proved on the graph, and by the unit's numbers on the first sample and on noise."""
        if not self.main.axes or count == 1:
            return items, None
        try:
            found = find(
                self.module,
                self.arguments,
                self.training,
                self.place,
                self.calls,
                self.layer,
                self.index,
            )
        except EyeshotError as error:  # a field too large to be written down
            found = str(error)
        if isinstance(found, str):
            notes.append(f"run on the whole input: {found}")
            return items, None
        tried: list[Sample] = []
        fault = "its values are 0 on the first samples"
        for sample in islice(items, 3):
            tried.append(sample)
            array = sample.array(None)
            with self._explained(sample.name):
                _, whole = self.values([array], None, True)
            axes = [axis - self.batched for axis in self.main.axes]
            random, part = noise(array, axes, found.window, self.seed)
            try:
                same = self._same(whole, sample.array(found.window), found)
                if same and whole.any():
                    _, awake = self.values([random], None, True)
                    # Where noise gives no numbers it shows nothing.
                    same = not awake.isfinite().all() or self._same(awake, part, found)
            except Exception as error:
                fault = f"the module raised {type(error).__name__} on the crop"
                break
            if not same:
                fault = OTHERS
                break
            if whole.any():
                fault = ""
                break
        items = chain(tried, items)
        if fault:
            notes.append(f"run on the whole input: {fault}")
            return items, None
        if found.why:
            notes.append(f"run on the whole input: {found.why}")
            return items, found
        shown = " × ".join(f"{begin} … {end}" for begin, end in found.window)
        notes.append(f"run on the part {shown} of the input, which is all that the unit depends on")
        return items, found

    def _same(self, whole: Tensor, part: NDArray[Any], crop: Crop) -> bool:
        """Whether the unit has these values, those from the whole input, in the crop too."""
        return agree(whole, self.values([part], crop, True)[1])

    def _batch_size(self, asked: int | None, share: float, notes: list[str]) -> int:
        """Samples a pass: 1 unless samples are proved to be independent."""
        if asked == 1 or not self.batched or len(self.arguments.slots) != 1:
            return 1
        self.sample_dim = batched_along(
            self.module, self.arguments, self.training, self.place, self.layer
        )
        if self.sample_dim is None:
            if asked is not None:
                notes.append("one sample a pass, since it is not sure that samples stay apart")
            return 1
        if asked is not None:
            return asked
        report = self.layer._report
        kept = sum(
            math.prod(report._graph.shapes[mark.value])
            for mark in report._marks
            if mark.value <= self.layer._value
        )
        width = torch.finfo(self.dtype).bits // 8
        most = MAX_BATCH if self.device.type == "cpu" else MAX_BATCH_GPU
        return max(1, min(most, int(MEMORY / max(1, 2 * kept * width * share))))
