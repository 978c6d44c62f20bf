"""From an image's numbers to a model's input, and from its output to the numbers that are written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from eyeshot.errors import EyeshotError

__all__ = ["Scaling", "nans", "parse_scale"]

#: What is written; anything else has no place in an image.
OUT_DTYPES = (
    *("uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64"),
    *("float16", "float32", "float64"),
)


@dataclass(frozen=True)
class Scaling:
    """``(x * scale - mean) / std`` on the way in; ``y * out_scale``, rounded for integers, on the way out.

    ``scale`` and ``out_scale``: numbers or text such as ``1/255``, which is taken exactly. ``mean`` and
    ``std``: one number for all channels, or one per channel of the model's input; in units after ``scale``.
    ``out_dtype``: the dtype that is written; None for the model's own. Raises
    :class:`~eyeshot.errors.EyeshotError` for numbers that aren't finite, a ``scale`` or ``std`` of 0, and
    dtypes that aren't an image's.
    """

    scale: Fraction | int | float | str = Fraction(1)
    mean: tuple[float, ...] | float | None = None
    std: tuple[float, ...] | float | None = None
    out_dtype: str | None = None
    out_scale: Fraction | int | float | str = Fraction(1)

    def __post_init__(self) -> None:
        put = object.__setattr__
        put(self, "scale", parse_scale(self.scale, "scale"))
        put(self, "out_scale", parse_scale(self.out_scale, "out_scale"))
        put(self, "mean", _numbers(self.mean, "mean"))
        put(self, "std", _numbers(self.std, "std"))
        if self.std is not None and 0 in self.std:  # type: ignore[operator]
            raise EyeshotError("std: 0 can't be divided by")
        if self.out_dtype is not None:
            put(self, "out_dtype", _dtype(self.out_dtype))

    @property
    def idle(self) -> bool:
        """Nothing but the dtype changes on the way in."""
        return self.scale == 1 and self.mean is None and self.std is None

    def check(self, channels: int) -> None:
        """Raise :class:`~eyeshot.errors.EyeshotError` if there are not so many means or deviations."""
        for name, values in (("mean", self.mean), ("std", self.std)):
            if isinstance(values, tuple) and len(values) not in (1, channels):
                raise EyeshotError(
                    f"{name}: {len(values)} numbers for the model's {channels} channels"
                )

    def inward(self, array: np.ndarray, dtype: Any, channel: int | None = 0) -> np.ndarray:
        """An image's numbers as the model takes them: a new array of ``dtype``. NaNs stay NaNs.

        ``array``: any shape, with the channels along dim ``channel`` (None: it has none). What is done is done
        in ``dtype``, for float16 in float32; a scale of 1/n divides by n, which rounds once. A model that takes
        integers is given what has been scaled as if it were written (:meth:`outward`); without scaling the
        image has to fit.
        """
        wanted = np.dtype(dtype)
        if wanted.kind not in "fc":
            return self._whole(array, wanted, channel)
        # In 16 bits a uint16 image would be infinite before it is scaled.
        wide = np.dtype(np.float32) if wanted.itemsize < 4 and not self.idle else wanted
        with np.errstate(all="ignore"):
            found = np.array(array, dtype=wide, order="C")
            _scale(found, self.scale)
            if self.mean is not None:
                found -= self._along(self.mean, found, channel)
            if self.std is not None:
                found /= self._along(self.std, found, channel)
            return found.astype(wanted, copy=False)

    def outward(self, array: np.ndarray) -> np.ndarray:
        """A model's numbers as they are written.

        To integers: halves are rounded to even, what lies outside is clipped, and NaN becomes 0 (count with
        :func:`nans` before). The array itself is left as it is.
        """
        wanted = self.dtype(array.dtype)
        if wanted.kind == "f" or (array.dtype.kind not in "f" and self.out_scale == 1):
            return self._kept(array, wanted)
        # Wide enough that the bounds of the integers are numbers of it.
        wide = wanted.itemsize > 2 or array.dtype.kind != "f" or array.dtype.itemsize > 4
        found = np.array(array, dtype=np.float64 if wide else np.float32)
        with np.errstate(all="ignore"):
            _scale(found, self.out_scale)
            np.rint(found, out=found)
            bounds = np.iinfo(wanted)
            low, high = found.dtype.type(bounds.min), found.dtype.type(bounds.max)
            if int(high) > bounds.max:  # 64 bits: the largest number of the format below
                high = np.nextafter(high, found.dtype.type(0))
            np.clip(found, low, high, out=found)
            found[np.isnan(found)] = 0
            return found.astype(wanted)

    def dtype(self, model: Any) -> np.dtype[Any]:
        """The dtype that is written for a model whose output is of dtype ``model``."""
        found = np.dtype(model)
        if found.kind == "c" and not (self.out_dtype is None and self.out_scale == 1):
            name = "out_scale" if self.out_dtype is None else "out_dtype"
            raise EyeshotError(
                f"{name}: the model gives {found}, which is written as it is or not at all"
            )
        return found if self.out_dtype is None else np.dtype(self.out_dtype)

    def to_dict(self) -> dict[str, Any]:
        """The scaling as JSON values, the same for the same scaling."""
        return {
            "scale": str(self.scale),
            "mean": None if self.mean is None else list(self.mean),  # type: ignore[arg-type]
            "std": None if self.std is None else list(self.std),  # type: ignore[arg-type]
            "out_dtype": self.out_dtype,
            "out_scale": str(self.out_scale),
        }

    @classmethod
    def from_dict(cls, held: dict[str, Any]) -> Scaling:
        """The scaling that :meth:`to_dict` tells of."""
        return cls(
            # Not read as options are: what was accepted may be long when it is written out.
            scale=Fraction(held["scale"]),
            mean=None if held["mean"] is None else tuple(held["mean"]),
            std=None if held["std"] is None else tuple(held["std"]),
            out_dtype=held["out_dtype"],
            out_scale=Fraction(held["out_scale"]),
        )

    def _whole(self, array: np.ndarray, wanted: np.dtype[Any], channel: int | None) -> np.ndarray:
        """An image for a model that takes integers (or booleans)."""
        if self.idle and np.can_cast(array.dtype, wanted):
            return np.array(array, dtype=wanted, order="C")
        if self.idle or wanted.name not in OUT_DTYPES:
            raise EyeshotError(
                f"the model takes {wanted}, the image has {array.dtype}; "
                f"store it as {wanted}, or say with --scale how its numbers are brought there"
            )
        return Scaling(out_dtype=wanted.name).outward(self.inward(array, np.float64, channel))

    def _kept(self, array: np.ndarray, wanted: np.dtype[Any]) -> np.ndarray:
        """Without rounding: to floats, or from integers to integers."""
        with np.errstate(all="ignore"):
            if wanted.kind == "f":
                wide = np.result_type(wanted, array.dtype)
                found = np.array(array, dtype=wide)
                _scale(found, self.out_scale)
                return found.astype(wanted, copy=False)
            if wanted.kind in "iu" and array.dtype.kind in "iu":
                bounds, own = np.iinfo(wanted), np.iinfo(array.dtype)
                array = np.clip(array, max(bounds.min, own.min), min(bounds.max, own.max))
            return array.astype(wanted)

    def _along(self, values: Any, array: np.ndarray, channel: int | None) -> np.ndarray:
        found = np.asarray(values, dtype=array.dtype)
        if found.size == 1:
            return found.reshape(())
        if channel is None or array.shape[channel] != found.size:
            count = 1 if channel is None else array.shape[channel]
            raise EyeshotError(f"mean, std: {found.size} numbers for {count} channels")
        shape = [1] * array.ndim
        shape[channel] = found.size
        return found.reshape(shape)


def nans(array: np.ndarray) -> int:
    """How many NaNs there are; nothing is looked at in integers."""
    if array.dtype.kind not in "fc":
        return 0
    return int(np.count_nonzero(np.isnan(array)))


def parse_scale(value: Any, name: str = "scale") -> Fraction:
    """A factor exactly: ``1/255``, ``0.5``, ``1e-3`` as text, or a number.

    Raises :class:`~eyeshot.errors.EyeshotError` for what is no finite number other than 0.
    """
    try:
        if isinstance(value, bool):
            raise ValueError
        if isinstance(value, str):
            above, slash, below = value.partition("/")
            if (
                "/" in below
                or max(len(above), len(below)) > 64
                or len(above.lower().partition("e")[2]) > 4
            ):
                raise ValueError
            found = Fraction(above.strip()) / Fraction(below.strip() if slash else "1")
        else:
            found = Fraction(value)
        size = float(found)
    except (ValueError, TypeError, OverflowError, ZeroDivisionError):
        raise EyeshotError(
            f"{name}: expected a number or a fraction such as 1/255, got {value!r}"
        ) from None
    if not size:  # or so little that no float is as small
        raise EyeshotError(f"{name}: 0 leaves nothing")
    return found


def _scale(array: np.ndarray, scale: Any) -> None:
    """``array * scale`` in place, rounded once if the scale or its inverse is a whole number."""
    if scale == 1:
        return
    if scale.denominator != 1 and abs(scale.numerator) == 1:
        array /= array.dtype.type(scale.denominator * scale.numerator)
    else:
        array *= array.dtype.type(float(scale))


def _numbers(value: Any, name: str) -> tuple[float, ...] | None:
    if value is None:
        return None
    values = value if isinstance(value, Sequence) and not isinstance(value, str) else (value,)
    try:
        found = tuple(float(v) for v in values)
    except (TypeError, ValueError, OverflowError):
        raise EyeshotError(f"{name}: expected numbers, got {value!r}") from None
    if not found or not np.isfinite(found).all():
        raise EyeshotError(f"{name}: expected finite numbers, got {value!r}")
    return found


def _dtype(value: Any) -> str:
    try:
        found = np.dtype(value).name
    except TypeError:
        found = ""
    if found not in OUT_DTYPES:
        raise EyeshotError(f"out_dtype: {value} is none of {', '.join(OUT_DTYPES)}")
    return found
