"""What a measurement is given: samples one by one, of one shape, normalised, whole or a window of each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from eyeshot.errors import EyeshotError

__all__ = [
    "IMAGENET",
    "Normal",
    "Sample",
    "Samples",
    "Wanted",
    "Window",
    "drawn",
    "floats",
    "is_array",
    "numpy_of",
    "shape_text",
    "window_of",
]

#: Mean and standard deviation per channel that torchvision's and timm's networks are mostly trained with.
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
#: What whole numbers are divided by, so that they lie in 0 … 1.
SCALES = {"uint8": 255.0, "uint16": 65535.0}

#: ``[begin, end)`` along each axis of the input; None for all of it.
Window = Sequence[tuple[int, int]] | None


class Wanted(NamedTuple):
    """The shape of one sample, without a batch, and which of its dims are the input's axes."""

    name: str
    shape: tuple[int, ...]
    axes: tuple[int, ...]

    @property
    def channel(self) -> int | None:
        """The dim of the channels: the one that is no axis; None where there is not exactly one."""
        others = [d for d in range(len(self.shape)) if d not in self.axes]
        return others[0] if len(others) == 1 else None

    @property
    def channels(self) -> int:
        """How many channels there are; 1 where there is no dim for them."""
        return 1 if self.channel is None else self.shape[self.channel]

    @property
    def sizes(self) -> tuple[int, ...]:
        """The sizes along the axes."""
        return tuple(self.shape[d] for d in self.axes)


class Sample(NamedTuple):
    """``array(window)`` makes the numbers, all of them for None; ``name`` is for messages."""

    name: str
    array: Callable[[Window], NDArray[Any]]


class Samples(NamedTuple):
    """``number`` is None where only the end will tell. ``notes``: sentences that say how they were made."""

    number: int | None
    items: Iterator[Sample]
    notes: list[str]


class Normal(NamedTuple):
    """Mean and standard deviation per channel, as arrays that broadcast over a sample; None: not given."""

    mean: NDArray[np.float64] | None
    std: NDArray[np.float64] | None

    @classmethod
    def of(cls, mean: Any, std: Any, wanted: Wanted) -> Normal:
        """Checked and brought into shape."""
        return cls(_per_channel("mean", mean, wanted), _per_channel("std", std, wanted))

    def or_usual(self, wanted: Wanted) -> tuple[Normal, str]:
        """For images: ImageNet's numbers where three channels are not told theirs, and the sentence for it."""
        if self.mean is None and self.std is None and wanted.channels == 3:
            mean, std = IMAGENET
            sentence = "images scaled to 0 … 1 and normalised with ImageNet's mean and std"
            return Normal.of(mean, std, wanted), sentence
        if self.mean is None and self.std is None:
            return self, "images scaled to 0 … 1 and not normalised further"
        return self, "images scaled to 0 … 1 and normalised with the mean and std given"

    def apply(self, array: NDArray[Any]) -> NDArray[Any]:
        """``(array - mean) / std`` in the array's own type."""
        if self.mean is not None:
            array = array - self.mean.astype(array.dtype)
        if self.std is not None:
            array = array / self.std.astype(array.dtype)
        return array


def _per_channel(what: str, numbers: Any, wanted: Wanted) -> NDArray[np.float64] | None:
    if numbers is None:
        return None
    try:
        array = np.asarray(numbers, dtype=np.float64).reshape(-1)
    except (TypeError, ValueError):
        raise EyeshotError(f"{what}: expected numbers, got {numbers!r}") from None
    if array.size not in (1, wanted.channels):
        raise EyeshotError(
            f"{what}: {array.size} numbers for {wanted.channels} channels of {wanted.name}"
        )
    if not np.isfinite(array).all() or (what == "std" and (array <= 0).any()):
        raise EyeshotError(f"{what}: {numbers!r} will not do")
    if array.size == 1 or wanted.channel is None:
        return array.reshape((1,) * len(wanted.shape))
    return array.reshape([n if d == wanted.channel else 1 for d, n in enumerate(wanted.shape)])


def drawn(wanted: Wanted, count: int, seed: int) -> Samples:
    """Standard normal numbers; the first of 20 are those of 5."""

    def items() -> Iterator[Sample]:
        random = np.random.default_rng(seed)
        for k in range(count):
            array = random.standard_normal(wanted.shape, dtype=np.float32)

            def make(window: Window, array: NDArray[Any] = array) -> NDArray[Any]:
                return array[window_of(window, wanted)]

            yield Sample(f"random sample {k}", make)

    return Samples(count, items(), [f"standard normal numbers, seed {seed}"])


def window_of(window: Window, wanted: Wanted) -> tuple[slice, ...]:
    """The slices that cut a window out of a sample."""
    slices = [slice(None)] * len(wanted.shape)
    if window is not None:
        for axis, (begin, end) in zip(wanted.axes, window, strict=True):
            slices[axis] = slice(begin, end)
    return tuple(slices)


def floats(array: NDArray[Any], name: str) -> NDArray[Any]:
    """Floating numbers as they are (at least 32 bits), 8- and 16-bit whole numbers scaled to 0 … 1."""
    scale = SCALES.get(array.dtype.name)
    if scale is not None:
        out: NDArray[Any] = array.astype(np.float32) / np.float32(scale)
    elif array.dtype.kind == "f":
        out = array.astype(np.float32 if array.dtype.itemsize < 8 else np.float64, copy=False)
        if not np.isfinite(out).all():
            raise EyeshotError(f"{name}: holds NaN or infinite numbers")
    else:
        raise EyeshotError(
            f"{name}: numbers of type {array.dtype}; expected floating ones, uint8 or uint16"
        )
    return out


def is_array(value: Any) -> bool:
    """Whether a value is a numpy array, or a tensor of a framework."""
    return isinstance(value, np.ndarray) or (
        hasattr(value, "detach") and hasattr(value, "numpy") and hasattr(value, "dtype")
    )


def numpy_of(value: Any, name: str) -> NDArray[Any]:
    """An array or tensor as a numpy array."""
    if isinstance(value, np.ndarray):
        return value
    try:
        value = value.detach().cpu()
        if "bfloat16" in str(value.dtype):
            value = value.float()
        return np.asarray(value.numpy())
    except (TypeError, RuntimeError, NotImplementedError) as error:
        text = " ".join(str(error).split())
        raise EyeshotError(f"{name}: a tensor without numbers to read: {text}") from None


def shape_text(shape: Sequence[int]) -> str:
    """``3x224x224``."""
    return "x".join(map(str, shape)) or "scalar"
