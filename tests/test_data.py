"""Samples from files, arrays and iterables: numpy and Pillow alone, one clear line for what can't be read."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from eyeshot import EyeshotError
from eyeshot.data import RANDOM, Wanted, samples_of

COLOUR = Wanted("x", (3, 6, 8), (1, 2))
GREY = Wanted("x", (1, 6, 8), (1, 2))
PIXELS = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
MEAN = np.array([0.485, 0.456, 0.406])[:, None, None]
STD = np.array([0.229, 0.224, 0.225])[:, None, None]


def arrays(
    data: Any, wanted: Wanted = COLOUR, window: Any = None, **options: Any
) -> list[np.ndarray]:
    return [sample.array(window) for sample in samples_of(data, wanted, **options).items]


def refused(words: str, data: Any, wanted: Wanted = COLOUR, **options: Any) -> None:
    with pytest.raises(EyeshotError) as caught:
        arrays(data, wanted, **options)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def save(folder: Path, name: str, array: np.ndarray, mode: str | None = None) -> Path:
    image = Image.fromarray(array)
    (image if mode is None else image.convert(mode)).save(folder / name)
    return folder / name


def test_neither_frameworks_nor_pillow_are_loaded_for_arrays() -> None:
    code = (
        "import sys, numpy; from eyeshot.data import *; "
        "samples_of(numpy.zeros((2, 3, 4)), Wanted('x', (3, 4), (1,))); "
        "assert not {'torch', 'PIL', 'matplotlib'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# --- images


def test_a_name_does_not_choose_the_decoder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostScript is a program, and Pillow would hand it to Ghostscript."""
    from PIL import EpsImagePlugin

    opened: list[Any] = []
    monkeypatch.setattr(EpsImagePlugin.EpsImageFile, "_open", lambda image: opened.append(image))
    (tmp_path / "a.png").write_bytes(
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 6\n%%EndComments\n"
    )
    refused("a.png", tmp_path)
    assert not opened


def test_a_folder(tmp_path: Path) -> None:
    for name in ("b.png", "a.PNG", "c.bmp"):
        save(tmp_path, name, np.roll(PIXELS, ord(name[0]), 0))
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / ".hidden.png").write_text("no image")
    (tmp_path / "inner").mkdir()
    save(tmp_path / "inner", "d.png", PIXELS)
    found = samples_of(tmp_path, COLOUR)
    items = list(found.items)
    assert found.number == 3 and [item.name for item in items] == ["a.PNG", "b.png", "c.bmp"]
    assert found.notes == ["images scaled to 0 … 1 and normalised with ImageNet's mean and std"]
    for item in items:
        pixels = np.roll(PIXELS, ord(item.name[0].lower()), 0).transpose(2, 0, 1)
        want = (pixels / 255 - MEAN) / STD
        assert item.array(None).dtype == np.float32
        np.testing.assert_allclose(item.array(None), want, atol=1e-6)
        np.testing.assert_allclose(item.array([(1, 4), (2, 8)]), want[:, 1:4, 2:8], atol=1e-6)
    assert [len(arrays(tmp_path, limit=n)) for n in (1, 2, 9)] == [1, 2, 3]
    assert len(arrays(tmp_path / "c.bmp")) == 1


def test_mean_and_std(tmp_path: Path) -> None:
    save(tmp_path, "a.png", PIXELS)
    plain = PIXELS.transpose(2, 0, 1) / 255
    (got,) = arrays(tmp_path, mean=[0.1, 0.2, 0.3], std=0.5)
    np.testing.assert_allclose(
        got, (plain - np.array([0.1, 0.2, 0.3])[:, None, None]) / 0.5, atol=1e-6
    )
    (got,) = arrays(tmp_path, mean=0, std=1)
    np.testing.assert_allclose(got, plain, atol=1e-6)
    refused("mean: 2 numbers for 3 channels of x", tmp_path, mean=[1, 2])
    refused("std: [1, 0, 1] will not do", tmp_path, std=[1, 0, 1])
    refused("mean: expected numbers", tmp_path, mean="half")


def test_kinds_of_pixels(tmp_path: Path) -> None:
    grey = PIXELS[:, :, 0]
    save(tmp_path, "grey.png", grey)
    np.testing.assert_allclose(arrays(tmp_path / "grey.png", GREY)[0][0], grey / 255, atol=1e-6)
    three = samples_of(tmp_path / "grey.png", COLOUR, mean=0, std=1)
    (item,) = three.items
    np.testing.assert_allclose(item.array(None), np.stack([grey / 255] * 3), atol=1e-6)
    assert "grey images repeated in three channels" in three.notes
    alpha = np.dstack([PIXELS, grey])
    save(tmp_path, "alpha.png", alpha)
    dropped = samples_of(tmp_path / "alpha.png", COLOUR, mean=0, std=1)
    np.testing.assert_allclose(
        next(dropped.items).array(None), PIXELS.transpose(2, 0, 1) / 255, atol=1e-6
    )
    assert "alpha channels dropped" in dropped.notes
    four = arrays(tmp_path / "alpha.png", Wanted("x", (4, 6, 8), (1, 2)))[0]
    np.testing.assert_allclose(four, alpha.transpose(2, 0, 1) / 255, atol=1e-6)
    save(tmp_path, "palette.gif", PIXELS, "P")
    with Image.open(tmp_path / "palette.gif") as image:
        want = np.asarray(image.convert("RGB")).transpose(2, 0, 1) / 255
    np.testing.assert_allclose(arrays(tmp_path / "palette.gif", mean=0, std=1)[0], want, atol=1e-6)
    deep = np.arange(48, dtype=np.uint16).reshape(6, 8) * 1365
    save(tmp_path, "deep.png", deep)
    np.testing.assert_allclose(arrays(tmp_path / "deep.png", GREY)[0][0], deep / 65535, atol=1e-6)
    last = arrays(tmp_path / "alpha.png", Wanted("x", (6, 8, 3), (0, 1)), mean=0, std=1)[0]
    np.testing.assert_allclose(last, PIXELS / 255, atol=1e-6)
    plane = arrays(tmp_path / "grey.png", Wanted("x", (6, 8), (0, 1)))[0]
    np.testing.assert_allclose(plane, grey / 255, atol=1e-6)


def test_wrong_channels(tmp_path: Path) -> None:
    colour = save(tmp_path, "colour.png", PIXELS)
    refused(f"data: {colour}: the image has 3 channels, but x has 1", colour, GREY)
    refused("the image has 3 channels, but x has 4", colour, Wanted("x", (4, 6, 8), (1, 2)))
    refused("the image has 3 channels, but x has 2", colour, Wanted("x", (2, 6, 8), (1, 2)))
    refused("images need an input with two axes", colour, Wanted("x", (3, 48), (1,)))
    floating = save(tmp_path, "f.tif", PIXELS[:, :, 0].astype(np.float32))
    refused("images of Pillow's mode F are not supported", floating, GREY)
    large = save(tmp_path, "i.tif", np.full((6, 8), 70000, np.int32))
    refused("an image of 32 bits", large, GREY)


def test_broken_files(tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"nothing of the kind")
    refused(f"data: {tmp_path / 'bad.png'}: can't be decoded: it is no image", tmp_path)
    (tmp_path / "bad.png").unlink()
    whole = save(
        tmp_path, "cut.png", np.random.default_rng(1).integers(0, 256, (6, 8, 3), np.uint8)
    )
    whole.write_bytes(whole.read_bytes()[:-60])
    refused("cut.png: can't be decoded", tmp_path)


def test_a_decompression_bomb_is_not_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path, "a.png", PIXELS)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 30)
    refused("a.png: the image is too large to be decoded safely", tmp_path)


def test_folders_without_images(tmp_path: Path) -> None:
    refused(f"data: {tmp_path}: there is no image in this folder", tmp_path)
    (tmp_path / "inner").mkdir()
    save(tmp_path / "inner", "a.png", PIXELS)
    refused("folders in it are not searched", tmp_path)
    refused("nowhere: there is no such file or folder", tmp_path / "nowhere")


def test_sizes(tmp_path: Path) -> None:
    save(tmp_path, "a.png", PIXELS[:5])
    refused(
        "the images are 5x8, but the input is 6x8; analyse it at that size, or resize with",
        tmp_path,
    )
    refused(f"data: {tmp_path / 'a.png'}: the image is 5x8", tmp_path / "a.png")
    save(tmp_path, "b.png", PIXELS)
    refused(
        "images of 2 sizes (a.png 5x8, b.png 6x8); resize them to 6x8 with resize=True", tmp_path
    )
    found = samples_of(tmp_path, COLOUR, resize=True)
    assert [item.array(None).shape for item in found.items] == [(3, 6, 8)] * 2


@pytest.mark.parametrize("mode", ["RGB", "I;16"])
def test_resizing_covers_and_crops_at_the_centre(tmp_path: Path, mode: str) -> None:
    """A ramp stays a ramp: its middle is the crop's middle, its slope that of the scale."""
    ramp = np.tile(np.arange(60), (20, 1))
    if mode == "RGB":
        save(tmp_path, "a.png", np.repeat(ramp[:, :, None].astype(np.uint8) * 4, 3, 2))
        scale = 4 / 255
    else:
        save(tmp_path, "a.png", ramp.astype(np.uint16) * 1000)
        scale = 1000 / 65535
    wanted = Wanted("x", (3, 10, 10), (1, 2))
    (got,) = arrays(tmp_path, wanted, resize=True, mean=0, std=1)
    # Scaled by a half to 10 x 30, of which columns 10 … 20 are kept; their centres were at 2k + 1 - 1/2.
    want = (2 * np.arange(10, 20) + 0.5) * scale
    np.testing.assert_allclose(got[1, 5], want, atol=0.01)


# --- arrays


def test_arrays_and_their_files(tmp_path: Path) -> None:
    data = np.random.default_rng(2).standard_normal((5, 3, 6, 8))
    for one, kept in (
        (data, np.float64),
        (data.astype(np.float32), np.float32),
        (data.astype(np.float16), np.float32),
    ):
        np.save(tmp_path / "a.npy", one)
        np.savez(tmp_path / "a.npz", some=one)
        np.savez_compressed(tmp_path / "b.npz", some=one, other=one[:1])
        for source in (
            one,
            tmp_path / "a.npy",
            str(tmp_path / "a.npz"),
            f"{tmp_path / 'b.npz'}:some",
        ):
            found = arrays(source, limit=4)
            assert len(found) == 4 and found[0].dtype == kept
            assert all(np.array_equal(a, b) for a, b in zip(found, one, strict=False))
    assert np.array_equal(arrays(data, window=[(2, 3), (0, 8)])[1], data[1, :, 2:3])
    assert np.array_equal(arrays(data[0])[0], data[0])
    assert np.array_equal(arrays(data[:, 0], GREY)[3], data[3, :1])
    assert isinstance(np.load(tmp_path / "a.npy", mmap_mode="r"), np.memmap)


def test_whole_numbers_are_pixels() -> None:
    data = PIXELS.transpose(2, 0, 1)[None]
    np.testing.assert_allclose(arrays(data)[0], (data[0] / 255 - MEAN) / STD, atol=1e-6)
    np.testing.assert_allclose(
        arrays(data.astype(np.uint16) * 257, mean=0, std=1)[0], data[0] / 255, atol=1e-6
    )
    np.testing.assert_allclose(
        arrays(data / 255, mean=0.5, std=2)[0], (data[0] / 255 - 0.5) / 2, atol=1e-6
    )


class Loud:
    def __reduce__(self) -> Any:
        return (exec, ("raise SystemExit('unpickled')",))


def test_arrays_that_do_not_fit(tmp_path: Path) -> None:
    data = np.zeros((5, 3, 6, 8), np.float32)
    refused("data: shape 5x3x6x9, but x is 3x6x8: expected Nx3x6x8", np.zeros((5, 3, 6, 9)))
    refused("shape 5x6x8x3", data.transpose(0, 2, 3, 1))
    refused("data: holds no samples", data[:0])
    refused("sample 0: numbers of type int64", data.astype(np.int64))
    refused("sample 0: numbers of type complex128", data.astype(complex))
    refused("sample 2: holds NaN", np.where(np.arange(5)[:, None, None, None] == 2, np.nan, data))
    np.save(tmp_path / "a.npy", np.array([Loud()], dtype=object), allow_pickle=True)
    refused("pickled objects, which are never loaded", tmp_path / "a.npy")
    (tmp_path / "b.npy").write_bytes(pickle.dumps(Loud()))
    refused("b.npy: can't be read", tmp_path / "b.npy")
    np.savez(tmp_path / "c.npz", one=data, two=data)
    refused("holds 2 arrays (one, two); choose one: c.npz:NAME", tmp_path / "c.npz")
    refused("holds no 'three' (it holds one, two)", f"{tmp_path / 'c.npz'}:three")
    (tmp_path / "d.npz").write_bytes(b"nothing of the kind")
    refused("d.npz: can't be read", tmp_path / "d.npz")
    refused("e.npy: there is no such file", tmp_path / "e.npy")
    with open(tmp_path / "g.npy", "wb") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": (-1, 3, 6, 8)}
        np.lib.format.write_array_header_1_0(file, header)
    refused("g.npy: can't be read", tmp_path / "g.npy")
    (tmp_path / "h.npy").touch()
    refused("h.npy: can't be read", tmp_path / "h.npy")
    refused("data: no file or folder is named", "")
    np.save(tmp_path / "f.npy", data[:, :2])
    refused("f.npy: shape 5x2x6x8, but x is 3x6x8", tmp_path / "f.npy")
    for bad in (3, b"x", {"a": data}, object()):
        refused("data: can't read a", bad)
    refused("samples: expected a number from 1 up", data, limit=0)
    refused("seed: expected a number from 0 up", None, seed=-1)
    refused("mean, std: random data", None, mean=0.5)


# --- batches


def test_batches_of_all_kinds() -> None:
    data = np.random.default_rng(2).standard_normal((7, 3, 6, 8))
    kinds: list[Any] = [
        [data[:4], data[4:]],
        [(data[:4], 1), (data[4:], 2)],
        [{"y": 1, "x": [data[:4]]}, {"x": data[4:]}],
        (one for one in data),
        list(zip(data, range(7), strict=True)),
    ]
    for kind in kinds:
        found = arrays(kind, limit=6)
        assert len(found) == 6
        assert all(np.array_equal(a, b) for a, b in zip(found, data, strict=False))
    assert len(arrays([data[:4], data[4:]])) == 7
    endless = (data[:4] for _ in iter(int, 1))
    assert len(arrays(endless, limit=9)) == 9


def test_tensors() -> None:
    torch = pytest.importorskip("torch")
    data = torch.randn(4, 3, 6, 8)
    assert np.array_equal(arrays(data)[2], data[2].numpy())
    half = arrays(data.bfloat16().requires_grad_())[1]
    assert half.dtype == np.float32 and np.array_equal(half, data[1].bfloat16().float().numpy())

    class Indexed:
        def __len__(self) -> int:
            return 4

        def __getitem__(self, k: int) -> Any:
            return data[k], k

    assert np.array_equal(np.stack(arrays(Indexed())), data.numpy())
    refused("a tensor without numbers", data.to("meta"))


def test_batches_that_do_not_fit() -> None:
    data = np.zeros((4, 3, 6, 8))
    refused("data: batch 1: no array or tensor in it (str)", [data, "x"])
    refused("batch 1: shape 4x3x5x8", [data, data[:, :, :5]])
    refused(
        "batch 1, sample 3: holds NaN",
        [data, np.where(np.arange(4)[:, None, None, None] == 3, np.inf, data)],
    )


def test_noise() -> None:
    found = samples_of(None, COLOUR, seed=5)
    every = [item.array(None) for item in found.items]
    assert len(every) == found.number == RANDOM
    few = arrays("random", limit=3, seed=5, window=[(0, 2), (3, 4)])
    assert np.array_equal(few, np.stack(every)[:3, :, 0:2, 3:4])
    assert not np.array_equal(every[0], every[1])
    assert not np.array_equal(every[0], arrays(None, limit=1, seed=6)[0])
    numbers = np.stack(arrays(None, Wanted("x", (1, 50, 50), (1, 2))))
    assert abs(numbers.mean()) < 0.02 and abs(numbers.std() - 1) < 0.02
