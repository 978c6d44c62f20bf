"""Runs in this process: what comes out, what fails and how that is told, and what they take meanwhile."""

from __future__ import annotations

import errno
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eyeshot.errors import EyeshotError
from eyeshot.tiling import header
from eyeshot.tiling.engine import WAVE, Full, Local, Trouble, cause
from eyeshot.tiling.header import balance
from eyeshot.tiling.images import open_image
from eyeshot.tiling.journal import Journal
from eyeshot.tiling.outputs import create
from eyeshot.tiling.outputs.base import Output
from eyeshot.tiling.run import Stopped, run
from eyeshot.tiling.scaling import Scaling
from tests.tiling.runs import Net, image, lines, planned, read_out, whole

SHAPE = (96, 80)


def trapped(folder: Path, y: int, x: int) -> Path:
    """The usual image with the number that springs traps at one place."""
    path = image(folder, SHAPE)
    array = np.load(path)
    array[y, x] = 1000
    np.save(path, array)
    return path


# --- what comes out


@pytest.mark.parametrize(
    ("kind", "tile", "batch", "workers"),
    [("zarr", 32, 1, 1), ("npy", 17, 4, 3), ("tif", 40, 2, 2), ("zarr", 0, 1, 2)],
)
def test_equals_the_whole(tmp_path: Path, kind: str, tile: int, batch: int, workers: int) -> None:
    path, out = image(tmp_path, SHAPE), tmp_path / f"out.{kind}"
    plan = planned(SHAPE, tile, batch)
    seen: list[tuple[Any, ...]] = []
    result = run(
        Net(), path, out, plan=plan, workers=workers, progress=lambda *told: seen.append(told)
    )
    np.testing.assert_array_equal(read_out(out), whole(path))
    assert (result.tiles, result.done, result.skipped) == (len(plan), len(plan), 0)
    assert (result.failed, result.again, result.nans, result.path) == ((), 0, 0, out)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["image.npy", out.name]
    counts = [told[0] for told in seen]
    assert counts == sorted(counts) and counts[0] == 0 and counts[-1] == len(plan)
    assert all(total == len(plan) for _, total, _, _ in seen)
    assert seen[0][3] is None and seen[-1][2] > 0 and seen[-1][3] == 0


def test_other_dims_are_gone_through(tmp_path: Path) -> None:
    """A stack of images, of integers, scaled on the way in and rounded on the way out."""
    path, out = tmp_path / "stack.npy", tmp_path / "out.npy"
    stack = np.random.default_rng(1).integers(0, 255, (3, 50, 40), np.uint8)
    np.save(path, stack)
    scaling = Scaling("1/255", out_dtype="uint8", out_scale=3)
    plan = planned((50, 40), 20)
    result = run(Net(), path, out, plan=plan, axes="tyx", scaling=scaling, workers=2)
    assert result.tiles == 3 * len(plan)
    for image_, got in zip(stack, np.load(out), strict=True):
        want = Net().one(image_[None].astype(np.float32) / np.float32(255)) * 3
        np.testing.assert_array_equal(got, np.clip(np.rint(want), 0, 255).astype(np.uint8))


def test_onnx_is_planned_and_run(tmp_path: Path) -> None:
    """Without a plan the tiles are planned here; an integer output keeps its dtype."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    from eyeshot.tiling.models import load

    helper = onnx.helper
    weight = np.random.default_rng(2).standard_normal((3, 1, 3, 3)).astype(np.float32)
    dims = ["n", 1, "h", "w"]
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]),
            helper.make_node("ArgMax", ["c"], ["y"], axis=1, keepdims=1),
        ],
        "net",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, dims)],
        [helper.make_tensor_value_info("y", onnx.TensorProto.INT64, dims)],
        [onnx.numpy_helper.from_array(weight, "w")],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    (tmp_path / "net.onnx").write_bytes(made.SerializeToString())
    path, out = image(tmp_path, SHAPE), tmp_path / "out.zarr"
    model = load(tmp_path / "net.onnx")
    result = run(model, path, out, tile=32, batch=2)
    assert result.tiles == 9
    got = read_out(out)
    assert got.dtype == np.int64
    padded = np.pad(np.load(path), 1)
    scores = np.zeros((3, *SHAPE))
    for i in range(3):
        for j in range(3):
            scores += weight[:, 0, i, j, None, None] * padded[i : i + SHAPE[0], j : j + SHAPE[1]]
    np.testing.assert_array_equal(got, scores.argmax(0))


def test_what_is_wrong_with_a_tile_is_not_put_down_to_channels(tmp_path: Path) -> None:
    """The first convolution by name may not be the first to run."""
    torch = pytest.importorskip("torch")

    class Named(torch.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.body = torch.nn.Conv2d(4, 1, 3, padding=1)
            self.stem = torch.nn.Conv2d(1, 4, 2, stride=2)

        def forward(self, x: Any) -> Any:
            return self.body(self.stem(x))

    from eyeshot.tiling.models import load

    with pytest.raises(EyeshotError, match="tile: 7 is no whole number of outputs along axis 2"):
        run(load(Named().eval()), image(tmp_path), tmp_path / "out.npy", tile=7, axes="yx")
    with pytest.raises(EyeshotError, match="the model takes 4 channels, the image has 2"):
        run(
            load(torch.nn.Conv2d(4, 1, 3)),
            image(tmp_path, (2, 30, 30), "two.npy"),
            tmp_path / "out.npy",
            axes="cyx",
        )


def test_torch_is_stopped_and_gone_on_with(tmp_path: Path) -> None:
    """Bit by bit as if it had not been stopped, whatever the number of workers; near to the whole image's."""
    torch = pytest.importorskip("torch")
    from eyeshot.tiling.models import load

    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(1, 8, 3, padding=1),
        torch.nn.MaxPool2d(2),
        torch.nn.Conv2d(8, 8, 5, padding=2),
        torch.nn.Upsample(scale_factor=2, mode="bilinear"),
        torch.nn.Conv2d(8, 2, 3, padding=1),
    ).eval()
    path = image(tmp_path, SHAPE)
    run(load(net), path, tmp_path / "unbroken.npy", tile=32, batch=2, workers=2)

    def stop(done: int, *_: object) -> None:
        if done > 2:
            raise KeyboardInterrupt

    with pytest.raises(Stopped):
        run(load(net), path, tmp_path / "out.npy", tile=32, batch=2, workers=2, progress=stop)
    result = run(load(net), path, tmp_path / "out.npy", resume=True, workers=1)
    assert result.skipped > 2 and result.done > 0
    got = np.load(tmp_path / "out.npy")
    np.testing.assert_array_equal(got, np.load(tmp_path / "unbroken.npy"))
    with torch.inference_mode():
        want = net(torch.from_numpy(np.load(path))[None, None])[0].numpy()
    np.testing.assert_allclose(got, want, atol=1e-5)
    with torch.no_grad():
        net[0].weight += 1e-6
    run(load(net), path, tmp_path / "other.npy", tile=32, batch=2)
    with pytest.raises(Stopped):
        run(load(net), path, tmp_path / "out.npy", tile=32, overwrite=True, progress=stop)
    with torch.no_grad():
        net[0].weight += 1e-6
    with pytest.raises(EyeshotError, match="the model was another one"):
        run(load(net), path, tmp_path / "out.npy", resume=True)


def test_nans_are_passed_on_and_counted_once(tmp_path: Path) -> None:
    path, out = tmp_path / "image.npy", tmp_path / "out.npy"
    array = np.random.default_rng(1).standard_normal(SHAPE).astype(np.float32)
    array[30:34, 30:34] = np.nan  # where four tiles read
    array[-1, -1] = np.nan
    np.save(path, array)
    result = run(Net(), path, out, plan=planned(SHAPE, 32))
    assert result.nans == 17
    got = np.load(out)
    assert np.isnan(got[:, 32, 32]).all() and not np.isnan(got[:, 10, 10]).any()
    np.testing.assert_array_equal(got, whole(path))


# --- what fails


def test_failing_tile_is_tried_again(tmp_path: Path) -> None:
    path, out, tally = trapped(tmp_path, 5, 5), tmp_path / "out.zarr", tmp_path / "tally"
    tally.mkdir()
    net = Net(trap=1000, fails=2, tally=tally)
    result = run(net, path, out, plan=planned(SHAPE, 32), retries=2)
    assert result.failed == () and result.done == 9
    assert len(list(tally.iterdir())) == 3
    np.testing.assert_array_equal(read_out(out), whole(path))


def test_failing_tile_is_told_and_others_completed(tmp_path: Path) -> None:
    path, out, tally = trapped(tmp_path, 5, 70), tmp_path / "out.npy", tmp_path / "tally"
    tally.mkdir()
    plan = planned(SHAPE, 32)
    net = Net(trap=1000, fails=99, tally=tally)
    result = run(net, path, out, plan=plan, retries=1, workers=3)
    assert len(list(tally.iterdir())) == 2
    (failure,) = result.failed
    tile = plan[2]
    assert (failure.index, failure.place, failure.read, failure.item) == (2, (0, 2), tile.read, ())
    assert failure.cause == "RuntimeError: the trap snapped"
    assert (result.done, result.tiles, result.path) == (8, 9, tmp_path / "out.npy.partial")
    assert not out.exists()
    units = sorted(line["unit"] for line in lines(tmp_path / "out.npy.partial.journal")[1:])
    assert units == [0, 1, 3, 4, 5, 6, 7, 8]
    # What is done is there already, and the rest can be done later.
    part, want = np.load(tmp_path / "out.npy.partial"), whole(path)
    hole = np.zeros(want.shape, bool)
    hole[tile.write[1:]] = True
    np.testing.assert_array_equal(part[~hole], want[~hole])
    assert not part[hole].any()
    again = run(net, path, out, resume=True, retries=0)
    assert [f.index for f in again.failed] == [2] and again.skipped == 8
    result = run(Net(), path, out, resume=True)
    assert (result.done, result.skipped, result.failed) == (1, 8, ())
    np.testing.assert_array_equal(read_out(out), want)


def test_damaged_chunk_of_the_image(tmp_path: Path) -> None:
    """The tiles that read it are told, with the place; all others are done."""
    import zarr

    path, out = tmp_path / "image.zarr", tmp_path / "out.zarr"
    array = np.random.default_rng(3).standard_normal(SHAPE).astype(np.float32)
    made = zarr.create_array(path, shape=SHAPE, chunks=(16, 16), dtype="f4", compressors="auto")
    made[:] = array
    chunk = path / "c" / "1" / "1"  # rows and columns 16 to 32
    chunk.write_bytes(chunk.read_bytes()[:100])
    plan = planned(SHAPE, 32)
    result = run(Net(), path, out, plan=plan, axes="yx", retries=0)
    reading = [t.index for t in plan if all(s.start < 32 and s.stop > 16 for s in t.read[2:])]
    assert [f.index for f in result.failed] == reading and len(reading) > 1
    assert all(str(path) in f.cause and "can't be read at" in f.cause for f in result.failed)
    assert result.done == 9 - len(reading)
    np.save(tmp_path / "whole.npy", array)
    want = whole(tmp_path / "whole.npy")
    got = read_out(tmp_path / "out.zarr.partial")
    for tile in plan:
        same = np.array_equal(got[tile.write[1:]], want[tile.write[1:]])
        assert same == (tile.index not in reading)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (MemoryError(), "out of memory (MemoryError); smaller tiles or fewer workers need less"),
        (
            RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
            "out of memory (Run",
        ),
        (
            EyeshotError("net: the network raised OutOfMemoryError: CUDA out of memory"),
            "out of memory (net",
        ),
        (
            FileNotFoundError(2, "No such file or directory", "/a/b"),
            "/a/b: No such file or directory",
        ),
        (ValueError(), "ValueError"),
        (KeyError("x"), "KeyError: 'x'"),
        (EyeshotError("where: what"), "where: what"),
    ],
)
def test_causes_are_one_line(error: Exception, told: str) -> None:
    assert cause(error).startswith(told)
    assert len(cause(RuntimeError("word " * 1000))) == 300


def test_full_disk_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At once, with one line; after space is made it goes on with what was done."""
    path, out = image(tmp_path, SHAPE), tmp_path / "out.npy"
    plan = planned(SHAPE, 16)
    writes: list[int] = []
    made = type(Output.write)  # a plain function

    def full(self: Output, slices: Any, array: np.ndarray) -> None:
        writes.append(1)
        if len(writes) > 6:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(self, slices, array)

    from eyeshot.tiling.outputs.npys import NpyOutput

    write = NpyOutput._write
    assert isinstance(write, made)
    with monkeypatch.context() as patch:
        patch.setattr(NpyOutput, "_write", full)
        with pytest.raises(EyeshotError) as error:
            run(Net(), path, out, plan=plan, workers=2, retries=5)
    assert str(error.value).startswith(f"{out}.partial: no space is left; free some")
    assert str(error.value).endswith(
        f"({len(lines(Path(f'{out}.partial.journal'))) - 1} of 30 tiles are done)"
    )
    assert len(writes) < 10  # not tried again and again
    result = run(Net(), path, out, resume=True)
    assert 4 <= result.skipped <= 6 and result.again == 0
    np.testing.assert_array_equal(read_out(out), whole(path))


def test_full_disk_of_the_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A record that does not fit is taken back, so that the journal stays whole."""
    import os

    path, out = image(tmp_path, SHAPE), tmp_path / "out.npy"
    real = os.write
    count: list[int] = []

    def write(handle: int, data: Any) -> int:
        count.append(1)
        if len(count) > 4:
            if len(count) == 5:
                return real(handle, bytes(data)[:10])
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(handle, data)

    with monkeypatch.context() as patch:
        patch.setattr("eyeshot.tiling.journal.os.write", write)
        with pytest.raises(
            EyeshotError, match=r"journal: no space is left; free some.*\(3 of 9 tiles are done\)"
        ):
            run(Net(), path, out, plan=planned(SHAPE, 32), workers=1)
    assert (tmp_path / "out.npy.partial.journal").read_bytes().endswith(b"\n")
    result = run(Net(), path, out, resume=True)
    assert (result.skipped, result.done) == (3, 6)
    np.testing.assert_array_equal(read_out(out), whole(path))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with 1 MB of room, where this process may make one."""
    place = tmp_path / "disk"
    place.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)], capture_output=True
    )
    if made.returncode:
        pytest.skip("no file system can be mounted here")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_disk_that_is_really_full(tmp_path: Path, small_disk: Path) -> None:
    shape = (512, 448)
    path, out, ballast = image(tmp_path, shape), small_disk / "out.zarr", small_disk / "ballast"
    ballast.write_bytes(bytes(900_000))
    plan = planned(shape, 64)

    class Coarse(Net):
        """What compresses so well that it fits once the ballast is gone."""

        def one(self, x: np.ndarray) -> np.ndarray:
            return np.round(super().one(x) / 8)

    with pytest.raises(
        EyeshotError, match=r"no space is left; free some, then go on with --resume \(\d+ of 56"
    ):
        run(Coarse(), path, out, plan=plan)
    ballast.unlink()
    result = run(Coarse(), path, out, resume=True)
    assert result.skipped > 0 and result.done > 0
    np.testing.assert_array_equal(read_out(out), Coarse().one(np.load(path)[None]))


# --- refused before anything is written


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    path, out = image(tmp_path, SHAPE), tmp_path / "out.npy"
    out.write_bytes(b"dear")
    with pytest.raises(EyeshotError, match="exists"):
        run(Net(), path, out, plan=planned(SHAPE, 32))
    assert out.read_bytes() == b"dear"
    net = Net(trap=np.load(path).max())
    result = run(net, path, out, plan=planned(SHAPE, 32), overwrite=True, retries=0)
    assert result.failed and out.read_bytes() == b"dear"  # until the new one is whole
    result = run(Net(), path, out, plan=planned(SHAPE, 32), overwrite=True)
    assert (result.skipped, result.done) == (0, 9)
    np.testing.assert_array_equal(read_out(out), whole(path))


@pytest.mark.parametrize("kind", ["npy", "zarr", "tif"])
def test_the_image_is_not_replaced(tmp_path: Path, kind: str) -> None:
    """Not by itself, not by a link to it, not by what lies beside an output, and not from within."""
    path = image(tmp_path, SHAPE)
    source, link = tmp_path / f"image.{kind}", tmp_path / f"link.{kind}"
    if kind != "npy":
        kept = create(source, SHAPE, np.float32, axes="yx")
        kept.write((slice(None), slice(None)), np.load(path))
        kept.finish()
    (tmp_path / "link").symlink_to(tmp_path)
    link.symlink_to(source)
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    cases = [
        (source, source),
        (link, source),
        (link, link),
        (source, tmp_path / "link" / source.name),
    ]
    if kind == "zarr":
        cases += [(source, source / "out.zarr"), (source, source / "c" / "0")]
    for name, out in cases:
        with pytest.raises(EyeshotError, match=r"written over the image .*, or into it"):
            run(Net(), name, out, plan=planned(SHAPE, 32), overwrite=True)
    partial = tmp_path / f"out.{kind}.partial"
    source.rename(partial)
    with pytest.raises(EyeshotError, match="would be written over the image"):
        run(Net(), partial, tmp_path / f"out.{kind}", plan=planned(SHAPE, 32), overwrite=True)
    partial.rename(source)
    assert before == {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    # A link to something else than the image is replaced, and a result beside the image is fine.
    link.unlink()
    link.symlink_to(tmp_path / "elsewhere")
    run(Net(), source, link, plan=planned(SHAPE, 32), overwrite=True)
    np.testing.assert_array_equal(read_out(link), whole(path))


def test_a_result_beside_the_levels_of_an_image(tmp_path: Path) -> None:
    """OME-Zarr has a place for more than the image; the image's own levels and metadata are let alone."""
    zarr = pytest.importorskip("zarr")
    path, group = image(tmp_path, SHAPE), tmp_path / "ome.zarr"
    levels = [{"axes": [{"name": "y"}, {"name": "x"}], "datasets": [{"path": "0"}]}]
    made = zarr.open_group(
        group, mode="w", zarr_format=3, attributes={"ome": {"multiscales": levels}}
    )
    made.create_array("0", data=np.load(path), chunks=(32, 32))
    for name in ("0", "zarr.json", "0/c"):
        with pytest.raises(EyeshotError, match="would be written over the image"):
            run(Net(), group, group / name, plan=planned(SHAPE, 32), overwrite=True, kind="zarr")
    run(Net(), group, group / "labels", plan=planned(SHAPE, 32))
    np.testing.assert_array_equal(read_out(group / "labels"), whole(path))
    np.testing.assert_array_equal(made["0"][:], np.load(path))


def test_the_weights_are_not_replaced(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from eyeshot.tiling.models import load

    path, weights = image(tmp_path, SHAPE), tmp_path / "net.pt"
    torch.save(torch.nn.Conv2d(1, 1, 3).state_dict(), weights)
    model = load(torch.nn.Conv2d(1, 1, 3), weights=weights)
    model._recipe["weights"] = str(weights)  # as of a reference
    with pytest.raises(EyeshotError, match="would be written over the model"):
        run(model, path, weights, plan=planned(SHAPE, 32), overwrite=True, kind="npy")


@pytest.mark.parametrize("name", ["/", "a" * 242 + ".npy", "out\0.npy"])
def test_names_that_are_none(tmp_path: Path, name: str) -> None:
    path = image(tmp_path, SHAPE)
    with pytest.raises(EyeshotError, match="no name for an output"):
        run(Net(), path, tmp_path / name, plan=planned(SHAPE, 32), overwrite=True)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_a_scale_that_is_long_in_full(tmp_path: Path) -> None:
    """What is accepted is also taken up again, by the journal of the run."""
    path, out = image(tmp_path, SHAPE), tmp_path / "out.npy"
    run(Net(), path, out, plan=planned(SHAPE, 64), scaling=Scaling("1e-30", out_scale="1e-70"))
    assert not read_out(out).any()


def test_a_model_that_does_not_fit(tmp_path: Path) -> None:
    class Wide(Net):
        def __call__(self, x: np.ndarray) -> np.ndarray:
            return super().__call__(x)[:, :1]

    path, out = image(tmp_path, SHAPE), tmp_path / "out.npy"
    result = run(Wide(), path, out, plan=planned(SHAPE, 0), retries=0)
    assert "which is not what the plan was made for" in result.failed[0].cause
    for options in ({"workers": 0}, {"retries": -1}):
        with pytest.raises(EyeshotError, match="expected a number of at least"):
            run(Net(), path, tmp_path / "other.npy", plan=planned(SHAPE, 0), **options)


# --- what it takes


def test_tiles_at_the_same_time(tmp_path: Path) -> None:
    """No more crops are held than there are workers, and there are so many at times."""
    lock = threading.Lock()
    now, most = 0, 0

    class Counting(Net):
        def __call__(self, x: np.ndarray) -> np.ndarray:
            nonlocal now, most
            with lock:
                now += 1
                most = max(most, now)
            try:
                return super().__call__(x)
            finally:
                with lock:
                    now -= 1

    path = image(tmp_path, SHAPE)
    run(Counting(slow=0.01), path, tmp_path / "out.npy", plan=planned(SHAPE, 16), workers=3)
    assert most == 3


def test_tasks_are_handed_over_in_waves() -> None:
    """However many there are, only so many are known at a time; taken up in order, told in this thread."""
    handed, told, ran = 0, 0, []
    main = threading.current_thread()

    def tasks() -> Iterator[int]:
        nonlocal handed
        for n in range(3 * WAVE + 7):
            handed += 1
            assert handed - told <= WAVE
            yield n

    class Work:
        def ready(self) -> None: ...

        def __call__(self, task: int) -> int:
            ran.append(task)
            if task == 5:
                raise ValueError("no five")
            return 2 * task

    found: dict[int, Any] = {}

    def done(task: int, outcome: Any) -> None:
        nonlocal told
        told += 1
        assert threading.current_thread() is main
        found[task] = outcome

    Local(Work(), 1, 0).run(tasks(), done)
    assert ran == list(range(3 * WAVE + 7))
    assert found.pop(5) == Trouble("ValueError: no five")
    assert found == {n: 2 * n for n in range(3 * WAVE + 7) if n != 5}


def test_what_is_told_can_end_it() -> None:
    ran: list[int] = []

    class Work:
        def ready(self) -> None: ...

        def __call__(self, task: int) -> int:
            ran.append(task)
            return task

    def stop(task: int, outcome: Any) -> None:
        if task == 10:
            raise Full("there")

    with pytest.raises(Full):
        Local(Work(), 2, 0).run(range(10_000), stop)
    assert len(ran) < 40
    assert not [t for t in threading.enumerate() if t.name.startswith("eyeshot-tile")]


def test_workers_and_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(header, "cores", lambda: 16)
    assert balance(None, "cpu", False) == (4, 4)
    assert balance(8, "cpu", False) == (8, 2)
    assert balance(32, "cpu", False) == (32, 1)
    assert balance(None, "cuda:0", False) == (2, None)
    assert balance(5, "cpu", True) == (1, 1)
    monkeypatch.setattr(header, "cores", lambda: 2)
    assert balance(None, "cpu", False) == (2, 1)


def test_image_that_is_open_stays_open(tmp_path: Path) -> None:
    path = image(tmp_path, SHAPE)
    opened = open_image(path)
    run(Net(), opened, tmp_path / "out.npy", plan=planned(SHAPE, 32))
    np.testing.assert_array_equal(opened.read((slice(0, 9), slice(0, 9))), np.load(path)[:9, :9])


def test_journal_is_held_by_one(tmp_path: Path) -> None:
    place = tmp_path / "out.npy.partial.journal"
    with Journal(place) as journal:
        journal.begin({"a": (1, 2)})
        journal.append({"unit": 1})
        with pytest.raises(EyeshotError, match=r"out\.npy: another run is writing it"):
            Journal(place)
    with Journal(place, exists=True) as journal:
        assert (journal.header, journal.records) == ({"a": [1, 2]}, [{"unit": 1}])
        journal.remove()
    assert not place.exists()
    with pytest.raises(EyeshotError, match="No such file"):
        Journal(place, exists=True)
