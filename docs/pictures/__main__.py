"""Draw the pictures of ``docs/pictures.md``, and the page's, anew: ``python -m docs.pictures`` in a clone."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image, ImageDraw, ImageFilter

FOLDER = Path(__file__).parent
PAGE = FOLDER.with_suffix(".md")


def cat() -> Image.Image:
    """A cat before a wall, 400 wide and 300 high, for pictures that lie on an image."""
    image = Image.new("RGB", (400, 300))
    draw = ImageDraw.Draw(image)
    for y in range(300):
        draw.line([(0, y), (400, y)], (222 - y // 5, 214 - y // 6, 190 - y // 8))
    for row in range(0, 230, 46):
        for x in range(-60 + (row // 46 % 2) * 40, 400, 80):
            draw.rectangle(
                [x, row, x + 76, row + 42], (188 - row // 6, 150 - row // 6, 124 - row // 8)
            )
    draw.rectangle([0, 230, 400, 300], (96, 110, 86))
    fur, dark, light = (92, 84, 80), (58, 52, 50), (214, 204, 192)
    draw.ellipse([110, 170, 320, 330], fur)
    for side in (-1, 1):
        ear = [(214 + side * 84, 30), (214 + side * 76, 120), (214 + side * 18, 72)]
        draw.polygon(ear, fur)
        draw.polygon(
            [(214 + side * 76, 50), (214 + side * 68, 100), (214 + side * 32, 72)], (196, 142, 132)
        )
    draw.ellipse([132, 52, 296, 202], fur)
    for k in (-1, 0, 1):
        draw.line([(214 + 14 * k, 58), (214 + 10 * k, 92)], dark, 7)
    draw.ellipse([174, 136, 254, 198], light)
    for side in (-1, 1):
        x = 214 + side * 40
        draw.ellipse([x - 20, 98, x + 20, 136], (196, 190, 70))
        draw.ellipse([x - 6, 99, x + 6, 135], (20, 20, 20))
        draw.ellipse([x - 8, 103, x - 1, 111], (250, 250, 250))
        for k in (-1, 0, 1):
            draw.line([(214 + side * 36, 164 + 5 * k), (214 + side * 108, 160 + 16 * k)], light, 2)
        draw.arc([214 + side * 14 - 14, 152, 214 + side * 14 + 14, 182], 0, 180, dark, 3)
    draw.polygon([(202, 148), (226, 148), (214, 162)], (190, 110, 110))
    return image.filter(ImageFilter.GaussianBlur(0.8))


def commands() -> list[str]:
    """The page's commands that write a picture."""
    return re.findall(r"^\$ (eyeshot .*)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)


def reduce(path: Path) -> None:
    """Write a PNG with 192 colours, for a small repository."""
    with Image.open(path) as image:
        small = image.convert("RGB").quantize(
            192, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE
        )
    small.save(path, optimize=True)


def page() -> None:
    """A report as a browser shows it."""
    from playwright.sync_api import sync_playwright

    with TemporaryDirectory() as folder, sync_playwright() as driver:
        file = Path(folder) / "report.html"
        command = "eyeshot report torchvision:resnet50 --input 3x224x224 --image cat.jpg -o"
        subprocess.run([*command.split(), str(file)], cwd=FOLDER, check=True)
        executable = shutil.which("chromium") or shutil.which("chromium-browser")
        browser = driver.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": 1280, "height": 900})
        tab.goto(f"{file.as_uri()}#layer=layer2.3.relu_2&unit=12,9")
        tab.wait_for_selector("html[data-ready=true]")
        tab.wait_for_timeout(500)
        tab.screenshot(path=FOLDER.parent / "page.png")
        browser.close()
    reduce(FOLDER.parent / "page.png")


if __name__ == "__main__":
    cat().save(FOLDER / "cat.jpg", quality=80)
    for command in commands():
        print(command)
        subprocess.run(command, shell=True, cwd=FOLDER, check=True)
        reduce(FOLDER / command.split()[-1])
    page()
