"""Outputs: written by regions, by several writers, whole or not there; nothing that is there is lost."""

from __future__ import annotations

import errno
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eyeshot.errors import EyeshotError
from eyeshot.tiling.outputs import Output, create, reopen

tifffile = pytest.importorskip("tifffile")
zarr = pytest.importorskip("zarr")
pillow = pytest.importorskip("PIL.Image")

KINDS = ("zarr", "tif", "npy")
CASES: list[tuple[tuple[int, ...], str, str]] = [
    ((300, 700), "yx", "uint8"),
    ((5, 300, 270), "cyx", "float32"),
    ((300, 270, 3), "yxc", "uint8"),
    ((40, 70, 4), "yxc", "uint16"),
    ((2, 3, 70, 80, 10), "tzyxc", "float32"),
    ((2, 3, 70, 80), "qtyx", "float16"),
    ((1, 1, 70, 80), "tcyx", "int64"),
    ((70, 30, 1), "yxc", "uint8"),
    ((1, 1), "yx", "float64"),
]


def files(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def full(output: Output) -> tuple[slice, ...]:
    return tuple(slice(0, n) for n in output.shape)


def stored(path: Path) -> np.ndarray:
    """What other programs read."""
    if path.suffix == ".npy":
        return np.load(path)
    if path.suffix == ".tif":
        return tifffile.imread(path)
    return zarr.open_array(path, mode="r")[...]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", range(len(CASES)))
def test_regions_in_any_order(tmp_path: Path, kind: str, case: int) -> None:
    shape, axes, dtype = CASES[case]
    rng = np.random.default_rng(case)
    path = tmp_path / f"out.{kind}"
    output = create(path, shape, dtype, axes=axes, chunks=tuple(min(n, 64) for n in shape))
    want = np.zeros(shape, dtype)
    for turn in range(8):
        region = tuple(slice(*map(int, sorted(rng.integers(0, n + 1, 2)))) for n in shape)
        region = tuple(
            slice(None) if r == slice(0, n) else r for r, n in zip(region, shape, strict=True)
        )
        values = (rng.random(want[region].shape) * 100).astype(dtype)
        want[region] = values
        output.write(region, values)
        if turn == 4:
            output = pickle.loads(pickle.dumps(output))
            output = reopen(path, shape, dtype, axes=axes, chunks=output.chunks)
        np.testing.assert_array_equal(output.read(region), values)
    np.testing.assert_array_equal(output.read(full(output)), want)
    assert not path.exists() and output.staging.exists()
    assert output.finish() == path
    assert sorted(os.listdir(tmp_path)) == [f"out.{kind}"]
    got = stored(path)
    assert got.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(got.reshape(shape), want)


def test_a_zarr_array_is_of_version_3_and_names_its_dims(tmp_path: Path) -> None:
    output = create(
        tmp_path / "out",
        (3, 100, 200),
        "float32",
        axes="cyx",
        chunks=(1, 64, 64),
        settings={"level": 1},
    )
    output.write(full(output), np.ones(output.shape))
    output.finish()
    array = zarr.open_array(tmp_path / "out", mode="r")
    assert (array.metadata.zarr_format, array.chunks) == (3, (1, 64, 64))
    assert array.metadata.dimension_names == ("c", "y", "x")
    assert "zstd" in str(array.metadata.to_dict()["codecs"])
    assert array[...].min() == 1


@pytest.mark.parametrize(
    ("shape", "axes", "mode"),
    [
        ((300, 270), "yx", "L"),
        ((300, 270, 3), "yxc", "RGB"),
        ((300, 270, 4), "yxc", "RGBA"),
        ((9, 9), "yx", "I;16"),
    ],
)
def test_a_tiff_opens_in_pillow(
    tmp_path: Path, shape: tuple[int, ...], axes: str, mode: str
) -> None:
    values = (
        np.random.default_rng(0).integers(0, 255, shape).astype("u2" if mode == "I;16" else "u1")
    )
    output = create(tmp_path / "out.tif", shape, values.dtype, axes=axes)
    output.write(full(output), values)
    output.finish()
    with pillow.open(tmp_path / "out.tif") as opened:
        assert opened.mode == mode
        np.testing.assert_array_equal(np.asarray(opened), values)


@pytest.mark.parametrize(
    ("shape", "axes", "dtype", "told"),
    [
        ((2, 3, 30, 40), "tcyx", "uint16", "TCYX"),
        ((5, 30, 40), "zyx", "float32", "ZYX"),
        ((5, 30, 40), "zyx", "float16", "ZYX"),
        ((3, 30, 40, 3), "zyxc", "uint8", "ZYXS"),
        ((30, 40, 7), "yxc", "float32", "YXS"),
    ],
)
def test_a_tiff_tells_its_axes(
    tmp_path: Path, shape: tuple[int, ...], axes: str, dtype: str, told: str
) -> None:
    create(tmp_path / "out.tif", shape, dtype, axes=axes).finish()
    with tifffile.TiffFile(tmp_path / "out.tif") as file:
        assert (file.series[0].axes, file.series[0].shape) == (told, shape)
        assert file.is_ome == (dtype != "float16")
        assert file.pages[0].is_tiled and not file.is_bigtiff


def test_equal_results_are_equal_files(tmp_path: Path) -> None:
    for name in ("a.tif", "b.tif", "a.npy", "b.npy"):
        output = create(tmp_path / name, (3, 50, 60), "float32", axes="cyx")
        output.write(full(output), np.full(output.shape, 7))
        output.finish()
    for kind in ("tif", "npy"):
        assert (tmp_path / f"a.{kind}").read_bytes() == (tmp_path / f"b.{kind}").read_bytes()


WRITER = """
import pickle, sys
outputs = pickle.load(open(sys.argv[1], "rb"))
for output in outputs:
    for part in range(int(sys.argv[2]), 8, 2):
        region = slice(part * 64, part * 64 + 64), slice(None)
        output.write(region, output.read(region) + (part + 1))
"""


def test_several_processes_write(tmp_path: Path) -> None:
    """Parts that lie between each other's, at the same time; a part written twice, or over, would show."""
    outputs = [
        create(tmp_path / f"out.{kind}", (512, 300), "uint8", axes="yx", chunks=(64, 64))
        for kind in KINDS
    ]
    (tmp_path / "pickled").write_bytes(pickle.dumps(outputs))
    command = [sys.executable, "-c", WRITER, str(tmp_path / "pickled")]
    writers = [subprocess.Popen([*command, str(k)]) for k in range(2)]
    assert [writer.wait() for writer in writers] == [0, 0]
    want = np.repeat(np.arange(1, 9, dtype=np.uint8), 64)[:, None] + np.zeros((1, 300), np.uint8)
    for output in outputs:
        np.testing.assert_array_equal(stored(output.finish()), want)


# What is there already.


def fill(path: Path, kind: str) -> None:
    output = create(path, (64, 64), "uint8", axes="yx", chunks=(32, 32), kind=kind)
    output.write(full(output), np.full((64, 64), 9))
    output.finish()


def again(path: Path, overwrite: bool = True) -> Output:
    return create(path, (70, 70), "uint8", axes="yx", chunks=(32, 32), overwrite=overwrite)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_there_stays_until_the_end(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"out.{kind}"
    fill(path, {"tif": "tiff"}.get(kind, kind))
    with pytest.raises(EyeshotError, match="exists; --overwrite replaces it"):
        again(path, overwrite=False)
    output = again(path)
    output.write(full(output), np.ones((70, 70)))
    assert stored(path).shape == (64, 64) and stored(path).min() == 9
    output.finish()
    assert stored(path).shape == (70, 70) and stored(path).max() == 1
    assert os.listdir(tmp_path) == [path.name]


def test_a_file_and_a_folder_replace_each_other(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_text("mine")
    output = again(path)
    assert path.read_text() == "mine"
    output.finish()
    assert zarr.open_array(path, mode="r").shape == (70, 70)
    again_ = create(path, (3, 3), "uint8", axes="yx", kind="npy", overwrite=True)
    again_.finish()
    assert np.load(path).shape == (3, 3)
    assert os.listdir(tmp_path) == ["out"]


@pytest.mark.parametrize("kind", ["mine", "group", "more", "array v2 and more"])
def test_other_folders_are_never_removed(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "out.zarr"
    if kind == "group":
        zarr.create_group(path).create_array("0", shape=(4, 4), dtype="u1")
    elif kind == "mine":
        path.mkdir()
        (path / "notes.txt").write_text("mine")
    else:
        zarr.create_array(path, shape=(4, 4), dtype="u1", zarr_format=2 if "v2" in kind else 3)[
            ...
        ] = 1
        (path / "notes.txt").write_text("mine")
    before = files(tmp_path)
    with pytest.raises(
        EyeshotError, match="holds other things than one Zarr array, and is not replaced"
    ):
        again(path)
    path.rename(tmp_path / "out.zarr.partial")  # nor where the output would be made
    with pytest.raises(EyeshotError, match="and is not replaced"):
        again(path)
    (tmp_path / "out.zarr.partial").rename(path)
    assert files(tmp_path) == before


def test_what_comes_to_be_there_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    output = again(tmp_path / "out.npy", overwrite=False)
    (tmp_path / "out.npy").write_text("mine")
    with pytest.raises(
        EyeshotError, match=r"has come to exist meanwhile; the result is at .*partial"
    ):
        output.finish()
    assert (tmp_path / "out.npy").read_text() == "mine" and output.staging.exists()


def test_a_link_is_replaced_and_what_it_leads_to_is_not(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "notes.txt").write_text("mine")
    (tmp_path / "out").symlink_to(tmp_path / "real")
    again(tmp_path / "out").finish()
    assert (tmp_path / "real" / "notes.txt").read_text() == "mine"
    assert zarr.open_array(tmp_path / "out", mode="r").shape == (70, 70)


@pytest.mark.parametrize("kind", KINDS)
def test_an_unfinished_run_is_gone_on_with_or_begun_anew(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"out.{kind}"
    output = again(path)
    output.write(full(output), np.ones((70, 70)))
    with pytest.raises(
        EyeshotError, match="go on with it by --resume, or begin anew by --overwrite"
    ):
        again(path, overwrite=False)
    options: dict[str, Any] = {"axes": "yx", "chunks": (32, 32)}
    assert reopen(path, (70, 70), "uint8", **options).read(full(output)).min() == 1
    wrong: list[tuple[tuple[int, int], str, str]] = [
        ((70, 71), "uint8", "70x70"),
        ((70, 70), "uint16", "uint8"),
    ]
    for shape, dtype, has in wrong:
        with pytest.raises(EyeshotError, match=f"the unfinished output's .* is {has}, not "):
            reopen(path, shape, dtype, **options)
    if kind == "zarr":
        with pytest.raises(EyeshotError, match="chunks is 32x32, not 16x32"):
            reopen(path, (70, 70), "uint8", axes="yx", chunks=(16, 32))
    assert again(path).read(full(output)).max() == 0
    output.discard()
    with pytest.raises(EyeshotError, match="no unfinished output"):
        reopen(path, (70, 70), "uint8", **options)
    output.staging.write_text("something else")
    with pytest.raises(
        EyeshotError,
        match=r"is no (zarr|tiff) output that could be gone on with: .|is no .npy file",
    ):
        reopen(path, (70, 70), "uint8", **options)


def test_what_a_killed_writer_leaves(tmp_path: Path) -> None:
    """Files of chunks that were being written are no chunks, and don't stay."""
    output = again(tmp_path / "out.zarr")
    output.write(full(output), np.ones((70, 70)))
    (output.staging / "c" / "0" / f"1.{'0af9' * 8}.partial").write_bytes(b"half")
    assert (
        reopen(tmp_path / "out.zarr", (70, 70), "uint8", axes="yx", chunks=(32, 32))
        .read(full(output))
        .min()
        == 1
    )
    output.finish()
    assert not [name for name in files(tmp_path) if name.endswith(".partial")]
    begun = tmp_path / "b.zarr.partial"
    begun.mkdir()
    (begun / f"zarr.{'0af9' * 8}.partial").write_bytes(b"half")
    again(tmp_path / "b.zarr").finish()


def test_a_damaged_chunk_is_noticed(tmp_path: Path) -> None:
    """Any changed byte: chunks have checksums."""
    output = again(tmp_path / "out.zarr")
    output.write(full(output), np.random.default_rng(0).integers(0, 255, (70, 70)))
    chunk = output.staging / "c" / "0" / "0"
    whole = chunk.read_bytes()
    for at in range(0, len(whole), len(whole) // 7):
        data = bytearray(whole)
        data[at] ^= 16
        chunk.write_bytes(data)
        with pytest.raises(EyeshotError, match="can't be read"):
            output.read(full(output))
    chunk.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(EyeshotError, match="can't be read"):
        output.read(full(output))
    output.write(full(output), np.full((70, 70), 3))  # which mends it
    assert output.read(full(output)).min() == 3


# Where nothing can be written.


@pytest.mark.parametrize("kind", KINDS)
def test_places_that_are_none(tmp_path: Path, kind: str) -> None:
    (tmp_path / "file").write_text("mine")
    for place, part in (
        (tmp_path / "no" / f"out.{kind}", "there is no folder"),
        (tmp_path / "file" / f"out.{kind}", "there is no folder"),
        (tmp_path / f"{'n' * 300}.{kind}", "can't be written"),
    ):
        with pytest.raises(EyeshotError, match=part) as raised:
            again(place)
        assert str(place) in str(raised.value) and "\n" not in str(raised.value)
    assert files(tmp_path) == ["file"]


def test_arguments() -> None:
    for path, shape, options, part in (
        ("out.png", (3, 3), {}, "outputs are .zarr, .tif or .npy, not .png"),
        ("out", (3, 3), {"kind": "png"}, "one of zarr, tiff, npy"),
        ("out", (3, 0), {}, "holds nothing"),
        ("out", (3, 3), {"axes": "yxc"}, "3 letters"),
        ("out", (3, 3), {"chunks": (3,)}, "chunks"),
        ("out", (3, 3), {"settings": {"codec": 1}}, "there is no codec"),
        ("out.tif", (3, 3), {"axes": "xc"}, "axes end with yx or yxc"),
        (".", (3, 3), {}, "no name"),
    ):
        with pytest.raises(EyeshotError, match=part):
            create(path, shape, "uint8", **{"axes": "yx", **options})
        assert not os.path.exists(f"{path}.partial")


def test_a_bool_is_no_tiff(tmp_path: Path) -> None:
    with pytest.raises(EyeshotError, match="TIFF of bool is not written"):
        create(tmp_path / "out.tif", (3, 3), bool, axes="yx")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("kind", ["tif", "npy"])
def test_what_can_t_fit_is_not_begun(tmp_path: Path, kind: str) -> None:
    with pytest.raises(EyeshotError, match=r"needs 1e\+03 TB, and .* are free; free some space"):
        create(tmp_path / f"out.{kind}", (10**7, 10**8), "uint8", axes="yx")
    assert os.listdir(tmp_path) == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Any:
    """A disk of 2 MB, where one may be mounted."""
    place = tmp_path / "disk"
    place.mkdir()
    made = None
    if sys.platform == "linux" and os.geteuid() == 0:
        made = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place)], capture_output=True
        )
    if made is None or made.returncode:
        pytest.skip("no disk can be mounted here")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk(small_disk: Path) -> None:
    output = create(small_disk / "out.zarr", (4096, 512), "uint8", axes="yx", chunks=(256, 256))
    values = np.random.default_rng(0).integers(0, 255, (256, 512))
    written = 0
    with pytest.raises(EyeshotError) as raised:
        for row in range(0, 4096, 256):
            output.write((slice(row, row + 256), slice(None)), values)
            written = row + 256
    assert (
        str(raised.value)
        == f"{output.staging}: no space is left; free some, then go on with --resume"
    )
    assert 1024 <= written < 2**12
    for row in range(0, written, 256):
        np.testing.assert_array_equal(output.read((slice(row, row + 256), slice(None))), values)
    for kind in ("tif", "npy"):
        with pytest.raises(EyeshotError, match="free some space, or write elsewhere"):
            create(small_disk / f"out.{kind}", (4096, 512), "uint8", axes="yx")
    assert os.listdir(small_disk) == ["out.zarr.partial"]


LIMITED = """
import resource, sys, numpy as np
from eyeshot.tiling.outputs import create
from eyeshot.errors import EyeshotError
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
for path in sys.argv[1:]:
    try:
        output = create(path, (1024, 1024), "uint8", axes="yx", chunks=(512, 512))
        rng = np.random.default_rng(0)
        output.write((slice(0, 512), slice(0, 512)), rng.integers(0, 255, (512, 512)))
    except EyeshotError as error:
        print(error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no limit on files here")
def test_a_file_that_may_not_grow(tmp_path: Path) -> None:
    """In a process of its own, which has the limit from there on."""
    paths = [str(tmp_path / f"out.{kind}") for kind in KINDS]
    done = subprocess.run([sys.executable, "-c", LIMITED, *paths], capture_output=True, text=True)
    why = "the file would be too large; free some, then go on with --resume"
    assert done.stdout.splitlines() == [f"{path}.partial: {why}" for path in paths]
    assert done.stderr == ""
    assert os.listdir(tmp_path) == ["out.zarr.partial"]


def test_a_disk_that_fails_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What can't be brought to the disk does not take the place of what was there."""
    path = tmp_path / "out.npy"
    fill(path, "npy")
    output = again(path)

    def fail(handle: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(EyeshotError, match="can't be written: Input/output error"):
        output.finish()
    assert np.load(path).min() == 9 and output.staging.exists()
