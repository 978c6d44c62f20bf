"""From an image's dims to a model's and back: which are channels, which the model sees, which are iterated."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from eyeshot.errors import EyeshotError
from eyeshot.tiling.plan import TilePlan

__all__ = ["Item", "Layout", "check_axes"]

#: What a model's axes are called in an image, by their number.
SPATIAL = {1: "x", 2: "yx", 3: "zyx"}
#: Output elements per side of a chunk, by the number of the model's axes.
SIDES = {1: 1 << 18, 2: 1 << 10, 3: 1 << 7}
#: Bytes of a chunk beyond which channels don't share it (four times that where they lie side by side).
CHUNK = 1 << 22

Slices = tuple[slice, ...]
Item = tuple[int, ...]


class Readable(Protocol):
    """What :meth:`Layout.gather` reads."""

    def read(self, slices: Slices) -> np.ndarray: ...


@dataclass(frozen=True)
class Layout:
    """How an image of ``shape`` is given to a model with ``spatial`` axes; ``axes``: a letter per dim, or None.

    The model's axes are the last letters of z, y and x (of a 1-D model x, or else t); ``c`` are channels; the
    image is gone through along all other dims, one *item* (their indices) after another. Without axes, an
    image with the model's number of dims has no channels, and of one dim more the first or the last is the
    channels, if exactly one of them has the model's number of ``expected`` channels.

    ``channels``: the image's channels that are used, in this order; None for all. ``dims``: the model input's
    channel dim (None if it has none) and then its spatial dims; its batch dim is 0. By default
    ``(1, 2, ..., spatial + 1)``. Raises :class:`~eyeshot.errors.EyeshotError` where this does not go together.
    """

    axes: str | None
    shape: tuple[int, ...]
    spatial: int
    channels: tuple[int, ...] | None = None
    expected: int | None = None
    dims: tuple[int | None, ...] | None = None
    _places: tuple[int, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        put = object.__setattr__
        put(self, "shape", tuple(int(n) for n in self.shape))
        if self.spatial not in SPATIAL:
            raise EyeshotError(f"images have 1 to 3 axes; the model has {self.spatial}")
        if self.axes is None:
            put(self, "axes", self._guessed())
        else:
            put(self, "axes", check_axes(self.axes, len(self.shape)))
        put(self, "dims", self._dims())
        put(self, "_places", self._found())
        if self.channels is not None:
            put(self, "channels", self._selected())

    # The image.

    @property
    def letters(self) -> str:
        """The letters of the image's dims."""
        assert self.axes is not None
        return self.axes

    @property
    def channel(self) -> int | None:
        """The image's dim of channels; None if it has none."""
        at = self.letters.find("c")
        return None if at < 0 else at

    @property
    def places(self) -> tuple[int, ...]:
        """The image's dims that the model's axes are, in the model's order."""
        return self._places

    @property
    def iterated(self) -> tuple[int, ...]:
        """The image's dims that are neither channels nor the model's axes."""
        return tuple(
            d for d in range(len(self.shape)) if d not in self.places and d != self.channel
        )

    @property
    def items(self) -> tuple[Item, ...]:
        """The indices over all iterated dims, the last one fastest; one empty one if there is no such dim."""
        return tuple(itertools.product(*(range(self.shape[d]) for d in self.iterated)))

    @property
    def count(self) -> int:
        """The channels that the model is given."""
        if self.channel is None:
            return 1
        return self.shape[self.channel] if self.channels is None else len(self.channels)

    def describe(self) -> str:
        """The image's dims as they were understood: ``c=3, y=512, x=640``."""
        return ", ".join(f"{a}={n}" for a, n in zip(self.letters, self.shape, strict=True))

    # The model's input.

    def input_shape(self, channels: int | None = None) -> tuple[int, ...]:
        """The model's whole input for one item, the batch's 1 included, in the model's order of dims.

        ``channels``: how many the model takes. Raises :class:`~eyeshot.errors.EyeshotError` if it isn't so
        many.
        """
        wanted = self.expected if channels is None else channels
        if self._channel_dim is None:
            wanted = 1
        if wanted is not None and wanted != self.count:
            raise EyeshotError(self._mismatch(wanted))
        assert self.dims is not None
        shape = [1] * (1 + self.spatial + (self._channel_dim is not None))
        for dim, place in zip(self.dims[1:], self.places, strict=True):
            assert dim is not None
            shape[dim] = self.shape[place]
        if self._channel_dim is not None:
            shape[self._channel_dim] = self.count
        return tuple(shape)

    def gather(self, image: Readable, item: Item, read: Slices) -> np.ndarray:
        """What one tile reads of one item, as the model takes it, without the batch dim: ``[C, *S]`` as a rule.

        ``read``: slices over all of the model input's dims, as of a :class:`~eyeshot.tiling.plan.Tile`.
        """
        where: list[slice] = [slice(0, n) for n in self.shape]
        for d, at in zip(self.iterated, item, strict=True):
            where[d] = slice(at, at + 1)
        assert self.dims is not None
        for dim, place in zip(self.dims[1:], self.places, strict=True):
            assert dim is not None
            where[place] = slice(*read[dim].indices(self.shape[place]))
        order = [*self.iterated, *self._source_order()]
        if self.channels is None or self.channel is None:
            return self._squared(image.read(tuple(where)).transpose(order))
        parts = []
        for at in self.channels:
            where[self.channel] = slice(at, at + 1)
            parts.append(image.read(tuple(where)))
        return self._squared(np.concatenate(parts, axis=self.channel).transpose(order))

    def _source_order(self) -> list[int]:
        """The image's channel dim and spatial dims in the order of the model's dims."""
        assert self.dims is not None
        pairs = [(d, p) for d, p in zip(self.dims[1:], self.places, strict=True)]
        if self._channel_dim is not None and self.channel is not None:
            pairs.append((self._channel_dim, self.channel))
        elif self.channel is not None:
            pairs.append((0, self.channel))  # one channel, and the model has no dim for it
        return [place for _, place in sorted(pairs, key=lambda pair: pair[0] or 0)]

    def _squared(self, array: np.ndarray) -> np.ndarray:
        """Iterated dims (of one index each) taken off, a missing channel dim put in."""
        array = array.reshape(array.shape[len(self.iterated) :])
        if self._channel_dim is None:
            return array.reshape(array.shape[1:]) if self.channel is not None else array
        return array if self.channel is not None else np.expand_dims(array, self._channel_dim - 1)

    # The output.

    def out_axes(self, plan: TilePlan) -> str:
        """The letters of the output's dims: the image's, with channels where they were.

        Where the image had none, several channels go before the model's axes, and one is left out.
        """
        letters = self.letters
        count = _out_channels(plan)
        if self.channel is not None:
            return letters if count is not None else letters.replace("c", "")
        if count is None or count == 1:
            return letters
        at = min(self.places)
        return letters[:at] + "c" + letters[at:]

    def out_shape(self, plan: TilePlan) -> tuple[int, ...]:
        """The output's shape, in the order of :meth:`out_axes`."""
        sizes = dict(zip(self.letters, self.shape, strict=True))
        sizes |= self._out_sizes(plan, [axis.out for axis in plan.axes])
        return tuple(sizes[letter] for letter in self.out_axes(plan))

    def out_steps(self, plan: TilePlan) -> tuple[int, ...]:
        """What tiles write at a time along each of the output's dims: their edges are multiples of it."""
        steps = dict.fromkeys(self.letters, 1)
        sizes = [max(e - b for _, _, (b, e) in axis.spans) for axis in plan.axes]
        steps |= self._out_sizes(plan, sizes)
        return tuple(steps[letter] for letter in self.out_axes(plan))

    def out_chunks(self, plan: TilePlan, dtype: Any) -> tuple[int, ...]:
        """Chunks of the output that no two tiles share, of a size that reads well.

        Along the model's axes about 1024 a side (2-D) or 128 (3-D); where that does not divide a tile, the
        tile.
        """
        axes, steps = self.out_axes(plan), self.out_steps(plan)
        shape = self.out_shape(plan)
        spatial = {self.letters[place] for place in self.places}
        side = SIDES[self.spatial]
        chunks = [
            chunk_side(step, size, side) if letter in spatial else step
            for letter, step, size in zip(axes, steps, shape, strict=True)
        ]
        if "c" in axes:
            at = axes.index("c")
            others = math.prod(chunks) // chunks[at] * np.dtype(dtype).itemsize
            most = CHUNK if at < axes.index(self.letters[self.places[-1]]) else 4 * CHUNK
            chunks[at] = max(1, min(chunks[at], most // others))
        return tuple(chunks)

    def where(self, item: Item, write: Slices, plan: TilePlan | None = None) -> Slices:
        """The region of the output that a tile of an item is, as slices over all of the output's dims."""
        axes, order, _ = self._out_order(write, plan)
        at = dict(zip((self.letters[d] for d in self.iterated), item, strict=True))
        found = []
        for letter in axes:
            if letter in at:
                found.append(slice(at[letter], at[letter] + 1))
            elif letter in order:
                found.append(write[order[letter]])
            else:
                found.append(slice(0, 1))
        return tuple(found)

    def placed(
        self, item: Item, array: np.ndarray, write: Slices, plan: TilePlan | None = None
    ) -> tuple[Slices, np.ndarray]:
        """Where a tile's result belongs in the output, and the result with the output's order of dims.

        ``array``: the model's output for one sample, cropped, without the batch dim. ``write``: slices over
        all of the model output's dims. ``plan`` is needed where the output's channels are not its dim 1.
        """
        axes, order, dims = self._out_order(write, plan)
        if array.ndim != dims - 1:
            raise EyeshotError(f"the model's output has {array.ndim + 1} dims, not {dims}")
        known = [letter for letter in axes if letter in order]
        left = [d - 1 for d in range(1, dims) if d not in (order[letter] for letter in known)]
        moved = array.transpose([order[letter] - 1 for letter in known] + left)
        moved = moved.reshape(moved.shape[: len(known)])
        new = tuple(d for d, letter in enumerate(axes) if letter not in order)
        return self.where(item, write, plan), np.expand_dims(moved, new)

    def _out_order(self, write: Slices, plan: TilePlan | None) -> tuple[str, dict[str, int], int]:
        """The output's letters, the model output's dim of each, and the number of the model output's dims."""
        spatial = [self.letters[place] for place in self.places]
        if plan is not None:
            order = dict(zip(spatial, (axis.dim for axis in plan.axes), strict=True))
            channel = _out_channel(plan)
            if channel is not None:
                order["c"] = channel
            axes = self.out_axes(plan)
            return axes, order, len(plan.out_shape)
        if len(write) != self.spatial + 2:
            raise EyeshotError(f"an output of {len(write)} dims needs its plan to be laid out")
        order = {letter: dim + 2 for dim, letter in enumerate(spatial)} | {"c": 1}
        axes = self.letters
        count = write[1].stop
        if self.channel is None and (count is None or count != 1):
            raise EyeshotError("the number of output channels is not known; give the plan")
        return axes, order, len(write)

    def _out_sizes(self, plan: TilePlan, sizes: Sequence[int]) -> dict[str, int]:
        if len(plan.axes) != self.spatial:
            raise EyeshotError(f"the plan has {len(plan.axes)} axes, the layout {self.spatial}")
        found = {self.letters[p]: n for p, n in zip(self.places, sizes, strict=True)}
        count = _out_channels(plan)
        return found if count is None else found | {"c": count}

    # What the arguments mean.

    @property
    def _channel_dim(self) -> int | None:
        assert self.dims is not None
        return self.dims[0]

    def _guessed(self) -> str:
        """The axes of an image that says nothing about them."""
        dims, spatial = len(self.shape), SPATIAL[self.spatial]
        sizes = "x".join(map(str, self.shape))
        if dims == self.spatial:
            return spatial
        if dims == self.spatial + 1 and self.expected is not None and self.channels is None:
            first, last = self.shape[0] == self.expected, self.shape[-1] == self.expected
            if first != last:
                return f"c{spatial}" if first else f"{spatial}c"
        takes = "" if self.expected is None else f", and the model takes {_channels(self.expected)}"
        raise EyeshotError(
            f"the image's dims {sizes} have no names{takes}; "
            f"name them with --image-axes, such as --image-axes {_example(dims, spatial)}"
        )

    def _dims(self) -> tuple[int | None, ...]:
        if self.dims is None:
            return tuple(range(1, self.spatial + 2))
        dims = tuple(self.dims)
        known = sorted(d for d in dims if d is not None)
        if (
            len(dims) != self.spatial + 1
            or known != list(range(1, len(known) + 1))
            or None in dims[1:]
        ):
            raise EyeshotError(
                f"the model's input has dims that are neither batch (dim 0), channels nor its {self.spatial} "
                "axes, or no batch; such a model can't be run on tiles here"
            )
        return dims

    def _found(self) -> tuple[int, ...]:
        """The image's dims that are the model's axes."""
        wanted = SPATIAL[self.spatial]
        if wanted == "x" and "x" not in self.letters and "t" in self.letters:
            wanted = "t"
        missing = [letter for letter in wanted if letter not in self.letters]
        if missing:
            raise EyeshotError(
                f"a model with {self.spatial} axes needs {' and '.join(wanted)}; "
                f"the image has {self.describe()}: say otherwise with --image-axes"
            )
        return tuple(self.letters.index(letter) for letter in wanted)

    def _selected(self) -> tuple[int, ...]:
        assert self.channels is not None
        if self.channel is None:
            raise EyeshotError(f"the image has no channels to choose from ({self.describe()})")
        count = self.shape[self.channel]
        chosen = tuple(self.channels)
        if not chosen:
            raise EyeshotError("no channel is chosen")
        for at in chosen:
            if not 0 <= at < count:
                raise EyeshotError(
                    f"there is no channel {at}: the image has {count}, 0 to {count - 1} ({self.describe()})"
                )
        return chosen

    def _mismatch(self, wanted: int) -> str:
        chosen = "" if self.channels is None else f" ({self.count} chosen)"
        return (
            f"the model takes {_channels(wanted)}, the image has "
            f"{1 if self.channel is None else self.shape[self.channel]}{chosen}: "
            f"its dims are {self.describe()}; "
            "choose channels with --channels, or say what the dims are with --image-axes"
        )


def check_axes(axes: str, dims: int) -> str:
    """``axes`` in lower case: a letter for each of so many dims, none twice.

    Raises :class:`~eyeshot.errors.EyeshotError` otherwise.
    """
    found = axes.strip().lower()
    if not (found.isascii() and found.isalpha()):
        raise EyeshotError(f"axes: expected a letter per dim, such as cyx, got {axes!r}")
    if len(set(found)) != len(found):
        twice = next(letter for letter in found if found.count(letter) > 1)
        raise EyeshotError(f"axes: {twice} is there twice in {axes!r}")
    if len(found) != dims:
        raise EyeshotError(f"axes: {len(found)} letters ({axes}) for the image's {dims} dims")
    return found


def chunk_side(step: int, size: int, side: int) -> int:
    """A chunk's length along an axis of ``size`` where tiles write ``step`` at a time: about ``side``."""
    if step >= size:  # one tile: any chunk will do
        return min(size, side)
    if step <= side:
        return step
    fits = max(n for n in range(1, side + 1) if step % n == 0)
    return fits if fits >= side // 4 else step


def _out_channel(plan: TilePlan) -> int | None:
    """The model output's dim of channels; None if it has none."""
    spatial = {axis.dim for axis in plan.axes}
    left = [d for d in range(len(plan.out_shape)) if d not in spatial]
    if not left or left[0] != 0 or len(left) > 2:
        raise EyeshotError(
            f"the output {plan.output} has dims ({'x'.join(map(str, plan.out_shape))}) that are neither batch, "
            "channels nor the input's axes; it can't be written as an image"
        )
    return left[1] if len(left) == 2 else None


def _out_channels(plan: TilePlan) -> int | None:
    channel = _out_channel(plan)
    return None if channel is None else plan.out_shape[channel]


def _channels(count: int) -> str:
    return f"{count} channel{'s' * (count != 1)}"


def _example(dims: int, spatial: str) -> str:
    return ("tzc"[-(dims - len(spatial)) :] if dims > len(spatial) else "") + spatial
