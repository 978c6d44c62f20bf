"""Images: every format gives the numbers that are stored, by regions; what is damaged is told in one line."""

from __future__ import annotations

import io
import json
import os
import pickle
import re
import shutil
import struct
import subprocess
import sys
import uuid
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eyeshot.errors import EyeshotError
from eyeshot.tiling.images import open_image, tiffs
from eyeshot.tiling.images.zarrs import refuse_code
from eyeshot.tiling.raw import read_region

tifffile = pytest.importorskip("tifffile")
zarr = pytest.importorskip("zarr")
pillow = pytest.importorskip("PIL.Image")

RNG = np.random.default_rng(7)
GRAY = RNG.integers(0, 255, (100, 150), dtype=np.uint8)
RGB = RNG.integers(0, 255, (100, 150, 3), dtype=np.uint8)
STACK = RNG.integers(0, 60000, (5, 100, 150), dtype=np.uint16)
FIVE = RNG.integers(0, 255, (2, 3, 4, 50, 60), dtype=np.uint8)
PLANAR = np.ascontiguousarray(np.moveaxis(RGB, -1, 0))


def regions(shape: tuple[int, ...], count: int = 12) -> list[tuple[slice, ...]]:
    """The whole, and others of all sizes down to nothing."""
    rng = np.random.default_rng(len(shape))
    some = [
        tuple(slice(*map(int, sorted(rng.integers(0, n + 1, 2)))) for n in shape)
        for _ in range(count)
    ]
    return [tuple(slice(None) for _ in shape), *some]


def check(path: Path, want: np.ndarray, axes: str | None) -> None:
    """The image is this array, also as a copy by way of a pickle."""
    image = open_image(path)
    copied = pickle.loads(pickle.dumps(image))
    assert (image.shape, image.axes) == (want.shape, axes)
    assert image.dtype == want.dtype.newbyteorder("=") and image.dtype.isnative
    for region in regions(want.shape):
        got = copied.read(region)
        assert got.dtype == image.dtype
        np.testing.assert_array_equal(got, want[region])
        got[...] = 0  # an array of its own
    np.testing.assert_array_equal(copied.read(regions(want.shape)[0]), want)
    assert copied.fingerprint == image.fingerprint
    image.close()
    np.testing.assert_array_equal(image.read(regions(want.shape)[0]), want)  # opened again


TIFFS: dict[str, tuple[np.ndarray, str | None, dict[str, Any]]] = {
    "one strip": (GRAY, "yx", {}),
    "strips": (GRAY, "yx", {"rowsperstrip": 7}),
    "tiles": (GRAY, "yx", {"tile": (32, 48)}),
    "rgb": (RGB, "yxc", {"photometric": "rgb"}),
    "rgb predicted": (
        RGB,
        "yxc",
        {"photometric": "rgb", "tile": (16, 16), "compression": "zlib", "predictor": True},
    ),
    "rgb big-endian": (
        RGB,
        "yxc",
        {"photometric": "rgb", "rowsperstrip": 9, "compression": "lzw", "byteorder": ">"},
    ),
    "planar": (
        PLANAR,
        "cyx",
        {"photometric": "rgb", "planarconfig": "separate", "rowsperstrip": 9, "compression": "lzw"},
    ),
    "planar tiles": (
        PLANAR,
        "cyx",
        {"photometric": "rgb", "planarconfig": "separate", "tile": (32, 32)},
    ),
    "one strip, big-endian": (STACK[0], "yx", {"byteorder": ">"}),
    "named pages": (STACK, "zyx", {"metadata": {"axes": "ZYX"}}),
    "unnamed pages": (STACK, None, {}),
    "pages without metadata": (STACK, "iyx", {"metadata": None, "rowsperstrip": 9}),
    "ImageJ": (STACK, "cyx", {"imagej": True, "metadata": {"axes": "CYX"}}),
    "ImageJ, 5 dims": (FIVE, "tzcyx", {"imagej": True}),
    "OME": (
        STACK,
        "cyx",
        {"ome": True, "metadata": {"axes": "CYX"}, "compression": "zstd", "byteorder": ">"},
    ),
    "OME, float, tiles": (
        STACK.astype(np.float32),
        "cyx",
        {"ome": True, "metadata": {"axes": "CYX"}, "tile": (32, 32), "byteorder": ">"},
    ),
    "OME, 5 dims": (
        FIVE,
        "tczyx",
        {"ome": True, "metadata": {"axes": "TCZYX"}, "compression": "zstd", "tile": (16, 16)},
    ),
    "one row": (STACK[0, :1].astype(np.float32), "yx", {"compression": "zlib"}),
    "one column": (STACK[0, :, :1].astype(np.float32), "yx", {"tile": (16, 16)}),
    "volume": (
        STACK[:, :40, :50].astype(np.float64),
        "zyx",
        {
            "tile": (16, 16, 16),
            "volumetric": True,
            "compression": "zlib",
            "metadata": {"axes": "ZYX"},
        },
    ),
    "bits": (GRAY > 100, "yx", {}),
    "BigTIFF": (GRAY, "yx", {"bigtiff": True, "tile": (64, 64)}),
}


@pytest.mark.parametrize("name", TIFFS)
def test_tiff(tmp_path: Path, name: str) -> None:
    array, axes, options = TIFFS[name]
    path = tmp_path / "image.tif"
    tifffile.imwrite(path, array, **options)
    check(path, array, axes)


def test_tiff_of_several_levels_is_its_first(tmp_path: Path) -> None:
    path = tmp_path / "levels.tif"
    options = {"tile": (32, 32), "compression": "jpeg", "photometric": "rgb"}
    with tifffile.TiffWriter(path) as writer:
        writer.write(RGB, subifds=1, **options)
        writer.write(np.ascontiguousarray(RGB[::2, ::2]), subfiletype=1, **options)
    whole = tifffile.imread(path)  # JPEG changes the numbers
    assert whole.shape == RGB.shape
    check(path, whole, "yxc")


def test_tiff_over_several_files(tmp_path: Path) -> None:
    """OME-XML that says which plane is in which file; a plane in no file is 0."""
    names = [str(uuid.uuid4()) for _ in range(2)]
    planes = "".join(
        f'<TiffData FirstC="{c}" IFD="0" PlaneCount="1">'
        f'<UUID FileName="f{c}.ome.tif">urn:uuid:{names[c]}</UUID></TiffData>'
        for c in range(2)
    )
    for c in range(2):
        text = (
            '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" '
            f'UUID="urn:uuid:{names[c]}"><Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYCZT" '
            'Type="uint16" SizeX="150" SizeY="100" SizeC="3" SizeZ="1" SizeT="1"><Channel ID="a" '
            f'SamplesPerPixel="1"/>{planes}</Pixels></Image></OME>'
        )
        tifffile.imwrite(
            tmp_path / f"f{c}.ome.tif",
            STACK[c],
            description=text,
            metadata=None,
            compression="zlib",
        )
    want = STACK[:3].copy()
    want[2] = 0
    check(tmp_path / "f0.ome.tif", want, "cyx")
    before = open_image(tmp_path / "f0.ome.tif").fingerprint
    os.utime(tmp_path / "f1.ome.tif", ns=(1, 1))
    assert open_image(tmp_path / "f0.ome.tif").fingerprint != before


@pytest.mark.parametrize(
    "array",
    [
        STACK,
        np.asfortranarray(STACK),
        STACK.astype(">f4"),
        RNG.random((3, 4, 5, 6)),
        RNG.random(77).astype(np.float16),
        np.asfortranarray(GRAY > 9),
    ],
)
def test_npy(tmp_path: Path, array: np.ndarray) -> None:
    np.save(tmp_path / "image.npy", array)
    check(tmp_path / "image.npy", array, None)


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("zipped", [False, True])
def test_zarr(tmp_path: Path, version: int, zipped: bool) -> None:
    folder = tmp_path / "image.zarr"
    array = zarr.create_array(
        folder,
        shape=STACK.shape,
        chunks=(1, 32, 40),
        dtype=">u2",
        zarr_format=version,
        fill_value=9,
    )
    array[:, :64] = STACK[:, :64]  # the other chunks aren't there
    want = STACK.copy()
    want[:, 64:] = 9
    path = folder
    if zipped:
        path = tmp_path / "image.zip"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as file:
            for part in sorted(p for p in folder.rglob("*") if p.is_file()):
                file.write(part, part.relative_to(folder).as_posix())
    check(path, want, None)


def test_zarr_of_shards_names_its_dims(tmp_path: Path) -> None:
    array = zarr.create_array(
        tmp_path / "image",
        shape=STACK.shape,
        chunks=(1, 16, 16),
        shards=(1, 64, 64),
        dtype=STACK.dtype,
        dimension_names=("channel", "y", "x"),
    )
    array[...] = STACK
    check(tmp_path / "image", STACK, "cyx")


@pytest.mark.parametrize(
    ("names", "axes"),
    [
        (("channel", "y", "x"), "cyx"),
        (("time", "Height", "width"), "tyx"),
        (("dim_0", "dim_1", "dim_2"), None),
    ],
)
def test_names_of_dims_of_a_zarr_array(
    tmp_path: Path, names: tuple[str, ...], axes: str | None
) -> None:
    """As version 3 has them, and as xarray writes them into version 2."""
    options: dict[str, Any] = {"shape": (2, 3, 4), "dtype": "u1"}
    zarr.create_array(tmp_path / "three", dimension_names=names, **options)
    zarr.create_array(
        tmp_path / "two", zarr_format=2, attributes={"_ARRAY_DIMENSIONS": list(names)}, **options
    )
    assert open_image(tmp_path / "three").axes == open_image(tmp_path / "two").axes == axes


AXES = [{"name": n, "type": "space"} for n in "zyx"]


@pytest.mark.parametrize(
    ("version", "attributes", "axes"),
    [
        (2, {"multiscales": [{"axes": AXES, "datasets": [{"path": "0"}, {"path": "1"}]}]}, "zyx"),
        (2, {"multiscales": [{"version": "0.3", "axes": ["t", "y", "x"], "datasets": [{"path": "0"}]}]}, "tyx"),
        (2, {"multiscales": [{"datasets": [{"path": "0"}]}]}, None),
        (3, {"ome": {"version": "0.5", "multiscales": [{"axes": AXES, "datasets": [{"path": "0"}]}]}}, "zyx"),
    ],
)  # fmt: skip
def test_ome_zarr_is_its_first_level(
    tmp_path: Path, version: int, attributes: dict[str, Any], axes: str
) -> None:
    group = zarr.create_group(tmp_path / "image.zarr", zarr_format=version, attributes=attributes)
    for level, array in (("0", STACK), ("1", STACK[:, ::2, ::2])):
        made = group.create_array(level, shape=array.shape, chunks=(2, 32, 32), dtype=array.dtype)
        made[...] = array
    check(tmp_path / "image.zarr", STACK, axes)
    held = open_image(tmp_path / "image.zarr")
    before = held.fingerprint
    shutil.rmtree(tmp_path / "image.zarr" / "1")  # not what is read
    assert held.fingerprint == before


@pytest.mark.parametrize(
    ("mode", "pixels", "suffix"),
    [
        ("L", GRAY, "png"),
        ("RGB", RGB, "png"),
        ("RGB", RGB, "bmp"),
        ("I;16", STACK[0], "png"),
        ("RGBA", np.concatenate([RGB, GRAY[..., None]], axis=2), "png"),
        ("1", np.where(GRAY > 100, 255, 0).astype(np.uint8), "png"),
        ("P", np.stack([GRAY, 255 - GRAY, GRAY // 2], axis=2), "png"),
    ],
)
def test_pillow(tmp_path: Path, mode: str, pixels: np.ndarray, suffix: str) -> None:
    path = tmp_path / f"image.{suffix}"
    if mode == "P":  # a palette means its colours
        made = pillow.fromarray(GRAY, "L").convert("P")
        made.frombytes(GRAY.tobytes())
        made.putpalette(bytes(v for i in range(256) for v in (i, 255 - i, i // 2)))
    elif mode == "1":
        made = pillow.fromarray(pixels).convert("1")
    else:
        made = pillow.fromarray(pixels)
    assert made.mode == mode
    made.save(path)
    check(path, pixels, "yx" if pixels.ndim == 2 else "yxc")


def test_a_photographs_turn_is_not_applied(tmp_path: Path) -> None:
    exif = pillow.Exif()
    exif[0x0112] = 6
    pillow.fromarray(RGB).save(tmp_path / "turned.png", exif=exif)
    check(tmp_path / "turned.png", RGB, "yxc")


def test_axes_of_the_user(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", STACK)
    image = open_image(tmp_path / "a.npy", "CYX")
    assert image.axes == "cyx"
    assert pickle.loads(pickle.dumps(image)).axes == "cyx"
    image.close()
    assert image.read(regions(STACK.shape)[0]).shape == STACK.shape
    assert image.axes == "cyx"
    tifffile.imwrite(tmp_path / "a.tif", STACK, metadata={"axes": "ZYX"})
    assert open_image(tmp_path / "a.tif", axes="cyx").axes == "cyx"
    for axes, part in (
        ("yx", "2 letters (yx) for the image's 3 dims"),
        ("cyy", "y is there twice in 'cyy'"),
        ("c1x", "expected a letter per dim"),
        ("", "expected a letter per dim"),
    ):
        with pytest.raises(EyeshotError) as raised:
            open_image(tmp_path / "a.npy", axes)
        assert part in str(raised.value) and str(tmp_path / "a.npy") in str(raised.value)


# What can't be read.


def _npy(array: Any, pickled: bool = False) -> Callable[[Path], None]:
    return lambda path: np.save(path, array, allow_pickle=pickled)


def _cut(
    name: str, part: float, array: np.ndarray = STACK, **options: Any
) -> Callable[[Path], None]:
    """A file of which only a part is there."""

    def make(path: Path) -> None:
        whole = path.with_name(f"whole.{name}")
        if name == "tif":
            tifffile.imwrite(whole, array, **options)
        elif name == "png":
            pillow.fromarray(RGB).save(whole)
        else:
            np.save(whole, array)
        data = whole.read_bytes()
        path.write_bytes(data[: int(len(data) * part)])

    return make


def _group(path: Path) -> None:
    zarr.create_group(path).create_array("inside", shape=(4, 4), dtype="u1")


def _ome(held: Any) -> Callable[[Path], None]:
    return lambda path: zarr.create_group(path, attributes={"ome": held}) and None


def _v2(**fields: Any) -> Callable[[Path], None]:
    """A Zarr array of version 2 by hand."""
    told = {
        "zarr_format": 2, "shape": [4], "chunks": [4], "dtype": "<f4", "compressor": None,
        "fill_value": 0, "order": "C", "filters": None,
    }  # fmt: skip

    def make(path: Path) -> None:
        path.mkdir()
        (path / ".zarray").write_text(json.dumps(told | fields))

    return make


ZLIB = {"compression": "zlib"}
OME = {"ome": True, "metadata": {"axes": "CYX"}}
LEVELS = {"multiscales": [{"datasets": [{"path": "0"}]}]}
POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"
BAD: dict[str, tuple[str, Callable[[Path], Any], str]] = {
    "missing": ("a.tif", lambda path: None, "there is no such image"),
    "folder": ("a", lambda path: path.mkdir(), "is a folder, and no Zarr array"),
    "empty file": ("a.png", lambda path: path.write_bytes(b""), "is no image that can be read"),
    "empty TIFF": ("a.tif", lambda path: path.write_bytes(b""), "is no TIFF, it is empty"),
    "text": ("a.jpg", lambda path: path.write_text("hello"), "is no image that can be read"),
    "text as TIFF": ("a.tif", lambda path: path.write_text("hello"), "is no TIFF"),
    "PostScript": ("a.eps", lambda path: path.write_bytes(POSTSCRIPT), "is no image that can be read"),
    "TIFF of 8 bytes": ("a.tif", lambda path: path.write_bytes(b"II*\0\x08\0\0\0"), "is truncated"),
    "TIFF without a page": ("a.tif", lambda path: path.write_bytes(b"II*\0\0\0\0\0" * 4), "it has no page"),
    "TIFF cut at the end": ("a.tif", _cut("tif", 0.99, GRAY, tile=(32, 32)), "is truncated"),
    "TIFF cut in its pages": ("a.tif", _cut("tif", 0.5, metadata=None, **ZLIB), "is truncated: a page begins"),
    "TIFF cut in its one strip": ("a.tif", _cut("tif", 0.3, GRAY), "is truncated"),
    "OME-TIFF cut in its text": ("a.tif", _cut("tif", 0.95, **OME), "is truncated: "),
    "npy cut": ("a.npy", _cut("npy", 0.5), "is truncated: "),
    "npy cut in its header": ("a.npy", _cut("npy", 0.0001), "is no .npy file"),
    "npy of text": ("a.npy", lambda path: path.write_text("hello"), "is no .npy file"),
    "PNG cut": ("a.png", _cut("png", 0.5), "can't be read: image file is truncated"),
    "npz": ("a.npz", lambda path: np.savez(path, a=GRAY), "holds several arrays"),
    "zip": ("a.zip", lambda path: zipfile.ZipFile(path, "w").writestr("a", "b"), "is no Zarr array"),
    "complex": ("a.npy", _npy(np.ones((3, 3), complex)), "holds complex numbers"),
    "records": ("a.npy", _npy(np.ones(3, "f4,i2")), "holds records"),
    "strings": ("a.npy", _npy(np.array(["a", "b"])), "holds text"),
    "objects": ("a.npy", _npy(np.array([1, None]), True), "holds Python objects"),
    "empty": ("a.npy", _npy(np.ones((3, 0, 4))), "is empty (3x0x4)"),
    "no dims": ("a.npy", _npy(np.float32(3)), "is empty (no dims)"),
    "Zarr of nothing": ("a.zarr", _v2(shape=[0]), "is empty (0)"),
    "complex Zarr": ("a.zarr", _v2(dtype="<c8", fill_value=[0.0, 0.0]), "holds complex numbers"),
    "group": ("a.zarr", _group, "give the path of an array; it holds inside"),
    "OME-Zarr without level": ("a.zarr", _ome(LEVELS), "its first level 0 can't be read"),
    "OME-Zarr of nonsense": ("a.zarr", _ome({"multiscales": "x"}), "without OME-Zarr's multiscales"),
    "Zarr of nonsense": ("a.zarr", _v2(zarr_format="x", shape="y"), "is no Zarr array that can be read"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad(tmp_path: Path, name: str) -> None:
    file, make, part = BAD[name]
    path = tmp_path / file
    make(path)
    with pytest.raises(EyeshotError) as raised:
        open_image(path)
    text = str(raised.value)
    assert text.startswith(str(path)) and part in text and "\n" not in text


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads everything")
def test_unreadable(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    np.save(path, GRAY)
    path.chmod(0)
    with pytest.raises(EyeshotError, match="can't be read: Permission denied"):
        open_image(path)


@pytest.mark.parametrize("dtype", ["<f4", "|O"])
@pytest.mark.parametrize("field", ["filters", "compressor"])
def test_nothing_is_unpickled(tmp_path: Path, field: str, dtype: str) -> None:
    """A pickled chunk, which would leave a file behind if it were read."""

    class Bad:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(tmp_path / "executed"),)

    codec = {"id": "pickle", "protocol": 5}
    path = tmp_path / "a.zarr"
    _v2(dtype=dtype, **{field: [codec] if field == "filters" else codec})(path)
    (path / "0").write_bytes(pickle.dumps(Bad()))
    with pytest.raises(EyeshotError, match=r"pickle|objects"):
        open_image(path)
    for told in ({"codecs": [{"name": "numcodecs.pickle"}]}, {"filters": ({"id": "Pickle"},)}):
        with pytest.raises(EyeshotError, match="pickled, which could run code"):
            refuse_code("a.zarr", told)  # a package that would read it may come
    np.save(tmp_path / "a.npy", np.array([Bad()], object), allow_pickle=True)
    with pytest.raises(EyeshotError, match="Python objects"):
        open_image(tmp_path / "a.npy")
    assert not (tmp_path / "executed").exists()


def test_what_is_decoded_at_once_is_limited(tmp_path: Path) -> None:
    pillow.fromarray(RGB).save(tmp_path / "a.png")
    tifffile.imwrite(
        tmp_path / "a.tif", RGB, photometric="rgb", compression="zlib", rowsperstrip=100
    )
    zarr.create_array(tmp_path / "a", shape=RGB.shape, chunks=RGB.shape, dtype="u1")
    tifffile.imwrite(tmp_path / "fine.tif", RGB, photometric="rgb")  # is read in part
    for name, what in (("a.png", "the image"), ("a.tif", "a strip"), ("a", "a chunk")):
        with pytest.raises(EyeshotError, match=f"{what} takes [0-9]+ bytes when decoded"):
            open_image(tmp_path / name, limit=40_000)
        assert open_image(tmp_path / name).shape == RGB.shape
    part = open_image(tmp_path / "fine.tif", limit=40_000).read(regions(RGB.shape)[1])
    np.testing.assert_array_equal(part, RGB[regions(RGB.shape)[1]])


# What goes wrong while reading.


@pytest.mark.parametrize("version", [2, 3])
def test_a_damaged_chunk_is_named(tmp_path: Path, version: int) -> None:
    path = tmp_path / "a.zarr"
    array = zarr.create_array(
        path, shape=GRAY.shape, chunks=(50, 50), dtype="u1", zarr_format=version
    )
    array[...] = GRAY
    chunk = path / ("c/1/2" if version == 3 else "1.2")
    data = bytearray(chunk.read_bytes())
    data[: len(data) // 2] = bytes(len(data) // 2)
    chunk.write_bytes(data)
    image = open_image(path)
    np.testing.assert_array_equal(image.read((slice(0, 50), slice(None))), GRAY[:50])
    name = "c/1/2" if version == 3 else "1[./]2"
    with pytest.raises(
        EyeshotError, match=rf"^{re.escape(str(path))}: can't be read at chunk {name}: ."
    ):
        image.read((slice(None), slice(None)))


def test_a_damaged_tile_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, GRAY, tile=(64, 64), compression="zlib")
    with tifffile.TiffFile(path) as file:
        offset, count = file.pages[0].dataoffsets[4], file.pages[0].databytecounts[4]
    data = bytearray(path.read_bytes())
    data[offset : offset + count // 2] = bytes(count // 2)
    path.write_bytes(data)
    image = open_image(path)
    np.testing.assert_array_equal(image.read((slice(0, 64), slice(None))), GRAY[:64])
    with pytest.raises(EyeshotError, match=r"tile 4 of page 0 can't be decoded"):
        image.read((slice(None), slice(None)))


@pytest.mark.parametrize("name", ["a.npy", "a.tif", "strips.tif", "a.zarr"])
def test_an_image_that_goes_while_it_is_read(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name == "a.npy":
        np.save(path, GRAY)
    elif name == "a.zarr":
        zarr.create_array(path, shape=GRAY.shape, chunks=(50, 50), dtype="u1")[...] = GRAY
    else:
        options = {} if name == "a.tif" else {"compression": "zlib", "rowsperstrip": 10}
        tifffile.imwrite(path, GRAY, **options)
    image = open_image(path)
    whole = (slice(None), slice(None))
    if path.is_file():
        data = path.read_bytes()
        with open(path, "r+b") as file:
            file.truncate(len(data) // 2)
        with pytest.raises(EyeshotError, match="truncated") as raised:
            image.read(whole)
        assert str(path) in str(raised.value)
        path.unlink()
    else:
        shutil.rmtree(path)
    with pytest.raises(EyeshotError, match=f"^{re.escape(str(path))}"):
        image.read(whole)
    with pytest.raises(EyeshotError, match=f"^{re.escape(str(path))}"):
        _ = image.fingerprint


def test_fingerprints(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    np.save(path, GRAY)
    first = open_image(path).fingerprint
    assert first == open_image(path).fingerprint == open_image(path, "yx").fingerprint
    stat = path.stat()
    np.save(path, GRAY + 1)
    assert open_image(path).fingerprint != first
    np.save(path, GRAY.reshape(150, 100))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert open_image(path).fingerprint != first
    folder = tmp_path / "a.zarr"
    array = zarr.create_array(folder, shape=GRAY.shape, chunks=(50, 50), dtype="u1")
    array[...] = GRAY
    second = open_image(folder).fingerprint
    os.utime(folder / "c" / "1" / "1", ns=(5, 5))
    assert open_image(folder).fingerprint != second
    third = open_image(folder).fingerprint
    (folder / "c" / "1" / "1").unlink()
    assert open_image(folder).fingerprint != third
    stat = path.stat()
    fourth = open_image(path).fingerprint
    with open(path, "ab") as file:
        file.write(b"more")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert open_image(path).fingerprint != fourth


def test_what_is_kept_of_a_tiff_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages of 15 kB of which 40 kB may be kept: two, and the next one decoded when it comes."""
    monkeypatch.setattr(tiffs, "KEPT", 40_000)
    pages = np.random.default_rng(0).integers(0, 255, (9, 100, 150), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", pages, compression="zlib", metadata={"axes": "ZYX"})
    image = open_image(tmp_path / "a.tif")
    assert isinstance(image, tiffs.TiffImage) and image.held == 40_000
    for z in (0, 1, 2, 3, 8, 7, 0, 0, 8):
        np.testing.assert_array_equal(
            image.read((slice(z, z + 1), slice(5), slice(None))), pages[z : z + 1, :5]
        )
        sizes = [part.nbytes for part in image._cache.values() if part is not None]
        assert sum(sizes) <= 40_000 and 1 <= len(sizes) <= 2


class Counted:
    """A file that counts what is read of it."""

    def __init__(self, data: bytes) -> None:
        self.file, self.calls, self.bytes = io.BytesIO(data), 0, 0

    def seek(self, at: int) -> None:
        self.file.seek(at)

    def readinto(self, target: Any) -> int:
        count = self.file.readinto(target)
        self.calls, self.bytes = self.calls + 1, self.bytes + count
        return count


def test_no_more_is_read_than_is_worth_it() -> None:
    """Long rows one by one and nothing else; what lies scattered closely in few reads, not one by one."""
    array = np.random.default_rng(0).random((200, 2000, 3)).astype(np.float32)
    for region, calls, size in (
        ((slice(50, 60), slice(1000, 1500), slice(0, 3)), 10, 10 * 500 * 3 * 4),
        ((slice(50, 60), slice(1000, 1500), slice(1, 2)), 10, 10 * (499 * 3 + 1) * 4),
        ((slice(50, 60), slice(0, 2000), slice(0, 3)), 1, 10 * 2000 * 3 * 4),
        ((slice(0, 200), slice(7, 8), slice(0, 3)), 200, 200 * 3 * 4),
    ):
        file = Counted(array.tobytes())
        got = read_region(file, 0, array.shape, array.dtype, region)  # type: ignore[arg-type]
        np.testing.assert_array_equal(got, array[region])
        assert (file.calls, file.bytes) == (calls, size)


def test_many_threads(tmp_path: Path) -> None:
    big = np.arange(600 * 700, dtype=np.uint32).reshape(600, 700)
    tifffile.imwrite(tmp_path / "a.tif", big, compression="zlib", rowsperstrip=16)
    image = open_image(tmp_path / "a.tif")
    places = [
        (slice(y, y + 64), slice(x, x + 64)) for y in range(0, 600, 60) for x in range(0, 700, 70)
    ]
    with ThreadPoolExecutor(8) as pool:
        for place, got in zip(places, pool.map(image.read, places), strict=True):
            np.testing.assert_array_equal(got, big[place])


MEASURE = """
import re, sys
from eyeshot.tiling.images import open_image
def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])
for path in sys.argv[1:]:
    image = open_image(path)
    for y in range(0, image.shape[0], 512):
        for x in range(0, image.shape[1], 512):
            image.read((slice(y, y + 512), slice(x, x + 512)))
    print(peak())
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="peaks of memory are Linux's")
def test_memory_does_not_grow_with_the_image(tmp_path: Path) -> None:
    """64 times the pixels (64 MB each), and less than 6 MB more memory for all of them."""
    paths: dict[int, list[str]] = {1024: [], 8192: []}
    for side, some in paths.items():
        shape = (side, side)
        some += [str(tmp_path / f"{side}.{kind}") for kind in ("npy", "tif", "zarr")]
        with open(some[0], "wb") as file:
            np.lib.format.write_array_header_1_0(
                file, {"descr": "|u1", "fortran_order": False, "shape": shape}
            )
            file.truncate(file.tell() + side * side)
        tifffile.imwrite(some[1], shape=shape, dtype="u1", data=None)  # one strip
        zarr.create_array(some[2], shape=shape, chunks=(512, 512), dtype="u1")
    command = [sys.executable, "-c", MEASURE, *paths[1024], *paths[8192]]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    peaks = [int(line) for line in done.stdout.split()]
    assert peaks[5] - peaks[2] < 6000, peaks  # kB


def test_a_page_offset_beyond_the_file_is_not_passed_over(tmp_path: Path) -> None:
    """Of three pages the last is cut off: the two that are there are not all of the image."""
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, STACK[:3], metadata=None, photometric="minisblack", byteorder="<")
    data = path.read_bytes()
    at = struct.unpack_from("<I", data, 4)[0]
    offsets = []
    while at:
        offsets.append(at)
        at = struct.unpack_from("<I", data, at + 2 + 12 * struct.unpack_from("<H", data, at)[0])[0]
    assert len(offsets) == 3
    path.write_bytes(data[: offsets[2]])
    with pytest.raises(EyeshotError, match="is truncated: a page begins at byte"):
        open_image(path)
    path.write_bytes(data[: offsets[2] + 20])
    with pytest.raises(EyeshotError, match="is truncated: within the page"):
        open_image(path)
