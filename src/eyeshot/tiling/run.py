"""Run a network on an image, tile by tile, into an output that is whole or not there; go on where a run ended.

The output is written beside its place, with a journal of what has been written. A run that was stopped, at
any moment, is gone on with by the same tiles in the same groups with the same threads, so that the result is
the same bit by bit. Results are looked at again then: what does not have the CRC that was recorded is done
again.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eyeshot.errors import EyeshotError
from eyeshot.tiling.engine import Engine, Full, Trouble, connected, open_engine
from eyeshot.tiling.header import (
    Asked,
    balance,
    compare,
    fresh,
    journal_path,
    output,
    threaded,
    work,
)
from eyeshot.tiling.images import Image, open_image
from eyeshot.tiling.journal import Journal
from eyeshot.tiling.outputs import Output
from eyeshot.tiling.outputs.places import aside, check_place, clear, named, staging
from eyeshot.tiling.plan import TilePlan
from eyeshot.tiling.work import Task, Work, Written

if TYPE_CHECKING:
    from eyeshot.tiling.models import Model
    from eyeshot.tiling.scaling import Scaling

__all__ = ["Failure", "Result", "Stopped", "run"]

#: ``progress(done, total, rate, remaining)``: tiles; input positions per second; seconds, None if not known.
Progress = Callable[[int, int, float, float | None], None]


@dataclass(frozen=True)
class Failure:
    """A tile that could not be done: its number and place, what it reads (of the model's input), and why.

    ``item``: the indices of the image's other dims, such as t. ``cause``: one line. Tiles of one batch fail
    together.
    """

    index: int
    place: tuple[int, ...]
    read: tuple[slice, ...]
    cause: str
    item: tuple[int, ...] = ()


@dataclass(frozen=True)
class Result:
    """What a run did. ``tiles`` there are, over all items; ``done`` by this run; ``skipped``: done before.

    ``failed``: if there are any, the output is left at ``PATH.partial``, to be gone on with. ``again``: tiles
    among ``done`` that were found damaged, or whose record was. ``nans``: NaNs among the input's values, each
    counted once. ``seconds``: of this run. ``path``: where the output is. ``plan``: the tiles of one item.
    """

    tiles: int
    done: int
    skipped: int
    failed: tuple[Failure, ...]
    again: int
    nans: int
    seconds: float
    path: Path
    plan: TilePlan


class Stopped(KeyboardInterrupt):
    """The run was interrupted, cleanly; the message is one line that says how to go on."""


def run(
    model: Model,
    image: Any,
    out: str | os.PathLike[str],
    *,
    plan: TilePlan | None = None,
    tile: Sequence[int] | int | None = None,
    memory: str | int | None = None,
    batch: int | None = None,
    axes: str | None = None,
    channels: Sequence[int] | None = None,
    workers: int | None = None,
    scheduler: Any = None,
    resume: bool = False,
    overwrite: bool = False,
    retries: int = 2,
    scaling: Scaling | None = None,
    approximate: Sequence[int] | int | None = None,
    kind: str | None = None,
    settings: dict[str, Any] | None = None,
    trial: bool = True,
    progress: Progress | None = None,
) -> Result:
    """Run ``model`` on all of ``image`` and write ``out``, which does not exist until all of it is there.

    ``image``: a path, or what :func:`~eyeshot.tiling.images.open_image` returned. ``plan``: the tiles;
    otherwise they are planned here, as :func:`eyeshot.tile_plan` does with ``tile``, ``memory``, ``batch``
    and ``approximate``. ``axes`` and ``channels``: as for :class:`~eyeshot.tiling.layout.Layout`;
    ``scaling``: of the numbers. ``kind`` and ``settings``: as for :func:`~eyeshot.tiling.outputs.create`.

    ``workers``: tiles that run at the same time, by default as many as there are cores, but 4 at most, on a
    GPU 1. ``scheduler``: the address of a ``distributed`` cluster, or a ``Client``; its workers read the
    image and write the output themselves and so need to see both under the same paths, and the same eyeshot.
    ``retries``: how often a tile that failed is tried again. Tiles that then still fail are in the result's
    ``failed``, and all others are done.

    ``resume``: go on with a run that did not end. It uses its plan, scaling and all else again; what is given
    here may not contradict it, nor may the model or the image be others. ``overwrite``: replace what is at
    ``out``, when the result is there, and what an unfinished run has left, at once.

    Raises :class:`~eyeshot.errors.EyeshotError`, one line, for what can't be run, for an output that another
    run is writing, and as soon as the disk is full; what is done is kept and gone on with by ``resume``.
    Raises :class:`Stopped` on Ctrl-C.
    """
    begun = time.monotonic()
    path = Path(os.path.abspath(out))
    if retries < 0:
        raise EyeshotError(f"retries: expected a number of at least 0, got {retries}")
    asked = Asked(
        plan=plan,
        tile=tile,
        memory=memory,
        batch=batch,
        axes=axes,
        channels=None if channels is None else tuple(channels),
        scaling=scaling,
        approximate=approximate,
        kind=kind,
        settings=settings,
    )
    workers, threads = balance(workers, model.device, scheduler is not None)
    with (
        _opened(image, axes) as source,
        _apart(path, source, model),
        _held(path, resume, overwrite) as journal,
        connected(scheduler) as cluster,
    ):
        header = journal.header if resume else None
        if header is None:
            model = threaded(model, threads)
            header = fresh(
                model, source, path, asked, workers=workers, overwrite=overwrite, trial=trial
            )
            job = work(header, model, source, _begun(journal, header, path))
        else:
            model = threaded(model, header["model"]["threads"])
            compare(header, model, source, path, asked)
            header["output"]["overwrite"] |= overwrite
            there = os.path.lexists(staging(path))
            if not there and _finishing(journal) and os.path.lexists(path):
                return _tidied(journal, path, begun)
            if there and _recorded(journal):
                made = output(header, path, again=True)
            else:
                # It was removed, or killed before its first record: what is there may be half an output.
                clear(staging(path))
                made = _begun(journal, header, path)
            job = work(header, model, source, made)
        try:
            engine = open_engine(job, workers=workers, retries=retries, scheduler=cluster)
        except BaseException:
            if not resume:  # nothing is done, and nothing is left
                clear(staging(path))
                journal.remove()
            raise
        try:
            return _Coordinator(job, journal, engine, progress, begun).result()
        finally:
            engine.close()


@contextmanager
def _opened(image: Any, axes: str | None) -> Iterator[Image]:
    """The image; one that is opened here is closed, too."""
    if isinstance(image, str | os.PathLike):
        found = open_image(os.path.abspath(image), axes)
        try:
            yield found
        finally:
            found.close()
    else:
        yield image


@contextmanager
def _apart(path: Path, image: Image, model: Model) -> Iterator[None]:
    """Refuse an output that would take the place of what it is made from, or of a part of it."""
    named(path)
    folder = os.path.realpath(path.parent)
    own = [
        os.path.join(folder, place.name)
        for place in (path, staging(path), journal_path(path), aside(path))
    ]
    taken = [(place, "image") for place in getattr(image, "places", ())]
    taken += [(file, "model") for file in getattr(model, "files", ())]
    for name, what in taken:
        # A link that is replaced does no harm to what it leads to, but the name would lead elsewhere then.
        there = os.path.join(os.path.realpath(os.path.dirname(os.path.abspath(name))), "")
        for place in {os.path.realpath(name), there + os.path.basename(os.path.abspath(name))}:
            for mine in own:
                if mine == place or _within(mine, place) or _within(place, mine):
                    raise EyeshotError(
                        f"{path}: would be written over the {what} {name}, or into it; "
                        "give another place for the output"
                    )
    yield


def _within(inner: str, outer: str) -> bool:
    return inner.startswith(os.path.join(outer, ""))


@contextmanager
def _held(path: Path, resume: bool, overwrite: bool) -> Iterator[Journal]:
    """The output's journal, locked; one without a header, of a run that came to nothing, does not stay."""
    place = journal_path(path)
    if not place.exists():
        if resume:
            raise EyeshotError(_nothing(path))
        check_place(path, staging(path), overwrite)
    with Journal(place, exists=resume) as journal:
        try:
            if not resume or journal.header is None:
                # Now that no other run can come between.
                check_place(path, staging(path), overwrite)
            yield journal
        finally:
            if journal.header is None:
                journal.remove()


def _begun(journal: Journal, header: dict[str, Any], path: Path) -> Output:
    """A new output, with its journal begun before."""
    journal.begin(header)
    try:
        return output(header, path, again=False)
    except BaseException:
        journal.remove()
        raise


def _nothing(path: Path) -> str:
    """Why there is nothing to go on with."""
    if os.path.lexists(staging(path)):
        return (
            f"{staging(path)}: has no journal beside it, so that nothing tells what is in it; "
            "begin anew with --overwrite"
        )
    if os.path.lexists(path):
        return f"{path}: is finished; there is nothing to go on with"
    return f"{path}: there is no unfinished run to go on with; leave out --resume"


def _recorded(journal: Journal) -> bool:
    return any("unit" in record for record in journal.records)


def _finishing(journal: Journal) -> bool:
    return any("finishing" in record for record in journal.records)


def _tidied(journal: Journal, path: Path, begun: float) -> Result:
    """The end of a run that was killed when its output was in its place already."""
    header = journal.header or {}
    if header["output"]["overwrite"]:
        clear(aside(path))
    last = next(record for record in journal.records if "finishing" in record)
    journal.remove()
    seconds = time.monotonic() - begun
    count, plan = last["finishing"], TilePlan.from_dict(header["plan"])
    return Result(count, 0, count, (), 0, last["nans"], seconds, path, plan)


class _Coordinator:
    """Keeps track: what is recorded, what is to be done, what failed, and how fast it goes."""

    def __init__(
        self, job: Work, journal: Journal, engine: Engine, progress: Progress | None, begun: float
    ) -> None:
        self._job, self._journal, self._engine = job, journal, engine
        self._progress, self._begun = progress, begun
        self._started = begun
        self._sizes = [len(group) for group in job.groups]
        self._total = len(job.items) * sum(self._sizes)
        self._nans: dict[int, int] = {}
        self._failed: dict[int, str] = {}
        self._skipped = self._done = self._again = 0
        self._positions = self._left = 0

    def result(self) -> Result:
        """Look at what there is, do what there is to do, and put the output in its place."""
        try:
            sound = self._sound()
            rest = (unit for unit in range(self._job.units) if unit not in sound)
            self._started = time.monotonic()
            self._left = self._job.all_positions - sum(map(self._job.positions, sound))
            self._tell()
            self._engine.run(map(Task, rest), self._written)
            path = self._finished()
        except KeyboardInterrupt:
            raise Stopped(
                f"stopped after {self._skipped + self._done} of {self._total} tiles; go on with --resume"
            ) from None
        except Full as error:
            raise EyeshotError(self._full(str(error))) from None
        return Result(
            tiles=self._total,
            done=self._done,
            skipped=self._skipped,
            failed=tuple(self._failures()),
            again=self._again,
            nans=sum(self._nans.values()),
            seconds=time.monotonic() - self._begun,
            path=path,
            plan=self._job.plan,
        )

    def _finished(self) -> Path:
        """Where the output is then: in its place, unless tiles failed."""
        if self._failed:
            return self._job.output.staging
        if not _finishing(self._journal):
            self._record({"finishing": self._total, "nans": sum(self._nans.values())})
        path = self._job.output.finish()
        self._journal.remove()
        return path

    # What an earlier run has done.

    def _sound(self) -> set[int]:
        """The units that are recorded, and whose results are as they were recorded."""
        recorded = {}
        for record in self._journal.records:
            if "unit" in record and 0 <= record["unit"] < self._job.units:
                recorded[record["unit"]] = record
        sound: set[int] = set()

        def looked(task: Task, same: Any) -> None:
            if same is True:
                sound.add(task.unit)
                self._nans[task.unit] = recorded[task.unit]["nans"]
                self._skipped += self._size(task.unit)
            else:  # other numbers, or what can't be read at all
                self._again += self._size(task.unit)
            self._tell()

        tasks = (Task(unit, tuple(record["crcs"])) for unit, record in sorted(recorded.items()))
        self._engine.run(tasks, looked)
        return sound

    # What this run does.

    def _written(self, task: Task, outcome: Written | Trouble) -> None:
        if isinstance(outcome, Trouble):
            self._failed[task.unit] = outcome.cause
            return
        self._record({"unit": task.unit, "crcs": outcome.crcs, "nans": outcome.nans})
        self._nans[task.unit] = outcome.nans
        self._done += self._size(task.unit)
        self._positions += self._job.positions(task.unit)
        self._tell()

    def _record(self, record: dict[str, Any]) -> None:
        try:
            self._journal.append(record)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise Full(f"{self._journal.path}: no space is left") from None
            raise EyeshotError(
                f"{self._journal.path}: can't be written: {error.strerror or error}; "
                "go on with --resume"
            ) from None

    def _full(self, what: str) -> str:
        """A full disk: where, and what to do."""
        hint = "free some, then go on with --resume"
        told = what if hint in what else f"{what}; {hint}"
        return f"{told} ({self._skipped + self._done} of {self._total} tiles are done)"

    def _failures(self) -> Iterator[Failure]:
        for unit, why in sorted(self._failed.items()):
            item, tiles = self._job.unit(unit)
            for tile in tiles:
                yield Failure(tile.index, tile.place, tile.read, why, item)

    # How it goes.

    def _size(self, unit: int) -> int:
        return self._sizes[unit % len(self._sizes)]

    def _tell(self) -> None:
        if self._progress is None:
            return
        seconds = time.monotonic() - self._started
        rate = self._positions / seconds if seconds > 0 else 0.0
        left = max(0, self._left - self._positions) / rate if rate else None
        self._progress(self._skipped + self._done, self._total, rate, left)
