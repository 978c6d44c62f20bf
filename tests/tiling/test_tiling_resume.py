"""Runs that are killed, interrupted or damaged, and gone on with: nothing is lost, the result is the same."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from eyeshot.errors import EyeshotError
from eyeshot.tiling.journal import Journal
from eyeshot.tiling.outputs.base import Output
from eyeshot.tiling.run import Stopped, run
from eyeshot.tiling.scaling import Scaling
from tests.tiling.runs import Net, Runs, image, lines, planned, read_out, whole

SHAPE = (96, 80)


def stop_after(tiles: int):
    """A progress that interrupts the run when so many tiles are done."""

    def progress(done: int, total: int, rate: float, left: float | None) -> None:
        if tiles <= done < total:
            raise KeyboardInterrupt

    return progress


def begun(
    folder: Path, tiles: int = 4, name: str = "out.zarr", **options: object
) -> tuple[Path, Path]:
    """A run that was stopped, of 9 tiles: image and output."""
    path, out = image(folder, SHAPE), folder / name
    with pytest.raises(Stopped):
        run(
            Net(),
            path,
            out,
            plan=planned(SHAPE, 32),
            workers=1,
            progress=stop_after(tiles),
            **options,
        )
    return path, out


def partial(out: Path) -> Path:
    return out.with_name(out.name + ".partial")


def journal(out: Path) -> Path:
    return out.with_name(out.name + ".partial.journal")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# --- killed


@pytest.mark.parametrize(("kind", "kills"), [("zarr", 20), ("npy", 3), ("tif", 3)])
def test_killed_at_any_moment(tmp_path: Path, kind: str, kills: int) -> None:
    """SIGKILL at random moments, then resumed, over and over: each output is the unbroken run's, bit by bit."""
    shape = (192, 160)
    path, out, plan = image(tmp_path, shape), tmp_path / f"out.{kind}", planned(shape, 32, 2)
    unbroken = tmp_path / f"unbroken.{kind}"
    run(Net(), path, unbroken, plan=plan, workers=2)
    want = read_out(unbroken)
    np.testing.assert_array_equal(want, whole(path))
    rng = random.Random(kills)
    runs = Runs(path, out, plan)
    count = partway = 0
    while count < kills:
        resume, known = journal(out).exists(), runs.records()
        if not resume and out.exists():
            np.testing.assert_array_equal(read_out(out), want)
            remove(out)
        partway += known > 0
        # From before its header on to after its last record.
        count += runs.killed(resume, max(-1, known) + rng.randint(0, 5), rng.random() * 0.02)
    if journal(out).exists():
        run(Net(), path, out, resume=True)
    elif not out.exists():
        run(Net(), path, out, plan=plan)
    np.testing.assert_array_equal(read_out(out), want)
    assert partway >= kills // 2
    assert names(tmp_path) == sorted(
        [path.name, out.name, unbroken.name, *(["told"] * runs.told.exists())]
    )


def remove(out: Path) -> None:
    import shutil

    shutil.rmtree(out) if out.is_dir() else out.unlink()


def test_interrupted(tmp_path: Path) -> None:
    """Ctrl-C: tiles under way come to their end, and one line says how to go on."""
    path, out = image(tmp_path, SHAPE), tmp_path / "out.zarr"
    runs = Runs(path, out, planned(SHAPE, 32), slow=0.1)
    process = runs.start(False)
    while not journal(out).exists() or len(journal(out).read_bytes().splitlines()) < 3:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGINT)
    process.join()
    assert process.exitcode == 3
    told = runs.told.read_text()
    done = len(lines(journal(out))) - 1
    # The last record may have been written as the signal came, and not have been counted.
    assert told in [
        f"Stopped: stopped after {n} of 9 tiles; go on with --resume" for n in (done - 1, done)
    ]
    result = run(Net(), path, out, resume=True)
    assert (result.skipped, result.done, result.again) == (done, 9 - done, 0)
    np.testing.assert_array_equal(read_out(out), whole(path))


def test_resumed_counts(tmp_path: Path) -> None:
    path, out = begun(tmp_path)
    held = journal(out).read_bytes()
    assert not out.exists()
    assert len(held.splitlines()) == 5
    seen: list[tuple[int, int]] = []
    result = run(
        Net(), path, out, resume=True, progress=lambda done, total, *_: seen.append((done, total))
    )
    assert (result.tiles, result.skipped, result.done, result.again) == (9, 4, 5, 0)
    assert result.path == out
    assert seen[-1] == (9, 9)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    np.testing.assert_array_equal(read_out(out), whole(path))
    assert names(tmp_path) == ["image.npy", "out.zarr"]


def test_groups_and_threads_are_the_recorded_ones(tmp_path: Path) -> None:
    """Floating-point results may differ from one batch to another, and with the threads."""
    calls: list[int] = []

    class Counting(Net):
        def __call__(self, x: np.ndarray) -> np.ndarray:
            calls.append(len(x))
            return super().__call__(x)

        def threaded(self, threads: int) -> Net:
            made = Counting()
            made.threads = threads
            return made

    path, out = image(tmp_path, SHAPE), tmp_path / "out.npy"
    plan = planned(SHAPE, 32, 3)
    net = Counting()
    net.threads = 5
    with pytest.raises(Stopped):
        run(net, path, out, plan=plan, workers=1, progress=stop_after(1))
    first = calls[1:]  # after the trial for the dtype
    calls.clear()
    net = Counting()
    net.threads = None
    run(net, path, out, resume=True, workers=1)
    assert sorted(first + calls) == sorted(len(group) for group in plan.batches())
    assert max(first + calls) > 1
    net.threads = 4
    _, again = begun(tmp_path, name="again.npy")
    with pytest.raises(EyeshotError, match="another one: the model's threads was 1, now it is 4"):
        run(net, path, again, resume=True)


def test_killed_while_it_began(tmp_path: Path) -> None:
    """The journal has a header, the output is there in part."""
    path, out = begun(tmp_path)
    journal(out).write_bytes(journal(out).read_bytes().splitlines(keepends=True)[0])
    remove(partial(out))
    partial(out).mkdir()
    result = run(Net(), path, out, resume=True)
    assert (result.skipped, result.done) == (0, 9)
    np.testing.assert_array_equal(read_out(out), whole(path))


# --- damaged


@pytest.mark.parametrize("kind", ["zarr", "npy", "tif"])
def test_damaged_output_is_done_again(tmp_path: Path, kind: str) -> None:
    path, out = begun(tmp_path, name=f"out.{kind}")
    if kind == "zarr":
        chunk = next(p for p in sorted(partial(out).rglob("*")) if p.is_file() and p.name.isdigit())
        data = bytearray(chunk.read_bytes())
        data[len(data) // 2] ^= 0x40
        chunk.write_bytes(data)
    else:
        with open(partial(out), "r+b") as file:
            place = partial(out).read_bytes().find(whole(path)[0, 0, :16].tobytes())
            assert place > 0
            file.seek(place + 5)
            file.write(b"\xff\x00\xff")
    result = run(Net(), path, out, resume=True)
    assert (result.skipped, result.done, result.again) == (3, 6, 1)
    np.testing.assert_array_equal(read_out(out), whole(path))


def test_lost_output_is_done_again(tmp_path: Path) -> None:
    path, out = begun(tmp_path)
    for chunk in partial(out).rglob("0"):
        if chunk.is_file():
            chunk.unlink()
            break
    assert run(Net(), path, out, resume=True).again == 1
    np.testing.assert_array_equal(read_out(out), whole(path))
    path, out = begun(tmp_path, name="gone.zarr")
    remove(partial(out))
    result = run(Net(), path, out, resume=True)
    assert (result.skipped, result.done) == (0, 9)
    np.testing.assert_array_equal(read_out(out), whole(path))


@pytest.mark.parametrize("lines", [0, 1, 2, 4])
@pytest.mark.parametrize("torn", [1, 0.5])
def test_torn_journal_line(tmp_path: Path, lines: int, torn: float) -> None:
    """A journal that ends anywhere: what was recorded whole counts, the rest is done again."""
    path, out = begun(tmp_path, name="out.npy")
    held = journal(out).read_bytes().splitlines(keepends=True)
    cut = held[lines][: int(len(held[lines]) * torn) - 1]
    journal(out).write_bytes(b"".join(held[:lines]) + cut)
    if not lines:  # nothing is known of this run; what is there may be anything
        with pytest.raises(EyeshotError, match="unfinished run"):
            run(Net(), path, out, plan=planned(SHAPE, 32), resume=True)
        remove(partial(out))
        begun(tmp_path, name="out.npy")
        return
    result = run(Net(), path, out, resume=True)
    assert (result.skipped, result.done) == (lines - 1, 10 - lines)
    np.testing.assert_array_equal(read_out(out), whole(path))


def test_damaged_journal_line(tmp_path: Path) -> None:
    """A record that is not what was written does not count; those behind it do."""
    path, out = begun(tmp_path)
    held = journal(out).read_bytes().splitlines(keepends=True)
    wrong = held[2].replace(b'"nans":0', b'"nans":9')
    assert wrong != held[2]
    journal(out).write_bytes(b"".join([*held[:2], wrong, *held[3:]]))
    result = run(Net(), path, out, resume=True)
    assert (result.skipped, result.done, result.nans) == (3, 6, 0)
    np.testing.assert_array_equal(read_out(out), whole(path))


def test_damaged_header(tmp_path: Path) -> None:
    path, out = begun(tmp_path)
    held = journal(out).read_bytes()
    journal(out).write_bytes(held.replace(b'"batch":1', b'"batch":2', 1))
    with pytest.raises(EyeshotError, match="the first line"):
        run(Net(), path, out, resume=True)
    journal(out).write_bytes(b"my notes\nmore of them\n")
    with pytest.raises(EyeshotError, match="not a journal"):
        run(Net(), path, out, resume=True)
    assert journal(out).read_bytes() == b"my notes\nmore of them\n"


def test_killed_while_it_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The output is in its place, the journal still there."""
    path, out = begun(tmp_path)

    class Killed(BaseException):
        pass

    def kill(self: Journal) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "remove", kill)
        with pytest.raises(Killed):
            run(Net(), path, out, resume=True)
    assert out.exists() and journal(out).exists() and not partial(out).exists()
    result = run(Net(), path, out, resume=True)
    assert (result.skipped, result.done, result.path) == (9, 0, out)
    assert not journal(out).exists()
    np.testing.assert_array_equal(read_out(out), whole(path))
    with pytest.raises(EyeshotError, match="is finished"):
        run(Net(), path, out, resume=True)


def test_killed_before_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All is written, but not in its place yet; what it replaces is still there."""
    path, out = image(tmp_path, SHAPE), tmp_path / "out.zarr"
    run(Net(scale=2.0), path, out, plan=planned(SHAPE, 32))

    def kill(self: Output) -> Path:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Output, "finish", kill)
        with pytest.raises(KeyboardInterrupt):
            run(Net(), path, out, plan=planned(SHAPE, 32), overwrite=True)
    np.testing.assert_array_equal(read_out(out), whole(path, 2.0))
    result = run(Net(), path, out, resume=True)  # that it may overwrite is recorded
    assert (result.skipped, result.done) == (9, 0)
    np.testing.assert_array_equal(read_out(out), whole(path))
    assert names(tmp_path) == ["image.npy", "out.zarr"]


# --- refused


def test_nothing_to_go_on_with(tmp_path: Path) -> None:
    path, out = image(tmp_path, SHAPE), tmp_path / "out.zarr"
    with pytest.raises(EyeshotError, match="no unfinished run to go on with"):
        run(Net(), path, out, resume=True)
    path, out = begun(tmp_path)
    journal(out).unlink()
    with pytest.raises(EyeshotError, match="has no journal beside it"):
        run(Net(), path, out, resume=True)
    with pytest.raises(EyeshotError, match="go on with it by --resume"):
        run(Net(), path, out, plan=planned(SHAPE, 32))
    assert names(tmp_path) == ["image.npy", "out.zarr.partial"]


def test_another_run_is_refused(tmp_path: Path) -> None:
    path, out = begun(tmp_path)
    before = journal(out).read_bytes()
    plan = planned(SHAPE, 32)
    other = Net()
    other.device = "cuda"
    cases = {
        "the model was another one": (Net(scale=2.0), {}),
        "the model's device was cpu, now it is cuda": (other, {}),
        "plan was another one": (Net(), {"plan": planned(SHAPE, 48)}),
        "batch was 1, now 2": (Net(), {"batch": 2}),
        "tile was not given, now 48": (Net(), {"tile": 48}),
        "memory was not given, now 2000000000": (Net(), {"memory": "2GB"}),
        "approximate was not given, now 3": (Net(), {"approximate": 3}),
        "scaling was .*, now scale 1/255": (Net(), {"scaling": Scaling("1/255")}),
        "axes was yx, now xy": (Net(), {"axes": "xy"}),
        "kind was zarr, now npy": (Net(), {"kind": "npy"}),
    }
    for message, (net, options) in cases.items():
        with pytest.raises(EyeshotError, match=f"the unfinished run is another one: {message}"):
            run(net, path, out, resume=True, **options)
    assert journal(out).read_bytes() == before
    array = np.load(path)
    time.sleep(0.01)
    np.save(path, array + 1)
    with pytest.raises(EyeshotError, match="the image was another one, or has changed"):
        run(Net(), path, out, resume=True)
    assert journal(out).read_bytes() == before
    # What is given and is the same is no contradiction.
    _, again = begun(tmp_path, name="again.zarr")
    assert (
        run(
            Net(), path, again, resume=True, plan=plan, batch=1, axes="yx", scaling=Scaling()
        ).skipped
        == 4
    )


def test_two_at_once(tmp_path: Path) -> None:
    path, out = image(tmp_path, SHAPE), tmp_path / "out.zarr"
    refused: list[str] = []

    def second(done: int, total: int, *_: object) -> None:
        if refused or not done:
            return
        for options in ({"resume": True}, {"overwrite": True}, {}):
            with pytest.raises(EyeshotError) as error:
                run(Net(), path, out, plan=planned(SHAPE, 32), **options)
            refused.append(str(error.value))

    run(Net(), path, out, plan=planned(SHAPE, 32), progress=second)
    assert refused == [f"{out}: another run is writing it"] * 3
    np.testing.assert_array_equal(read_out(out), whole(path))


def test_a_run_that_comes_to_nothing_leaves_nothing(tmp_path: Path) -> None:
    path, out = image(tmp_path, SHAPE), tmp_path / "out.zarr"
    with pytest.raises(EyeshotError, match="the plan is for 1x1x64x64"):
        run(Net(), path, out, plan=planned((64, 64), 32))
    with pytest.raises(EyeshotError, match="no folder"):
        run(Net(), path, tmp_path / "no" / "out.zarr", plan=planned(SHAPE, 32))
    assert names(tmp_path) == ["image.npy"]


def test_nans_are_counted_over_all_runs(tmp_path: Path) -> None:
    path, out = tmp_path / "image.npy", tmp_path / "out.npy"
    array = np.zeros(SHAPE, np.float32)
    array[::7, ::5] = np.nan  # in the middles and margins of all tiles
    np.save(path, array)
    with pytest.raises(Stopped):
        run(Net(), path, out, plan=planned(SHAPE, 32), progress=stop_after(3))
    result = run(Net(), path, out, resume=True)
    assert result.skipped >= 3
    assert result.nans == np.isnan(array).sum()
