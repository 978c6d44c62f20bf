"""The lesson: its numbers are the library's, for the article's example and others; keys go through it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import pytest

import eyeshot

STACKS = """async ([n, all]) => {
  const { stack } = await import("eyeshot/lesson/arithmetic.js");
  const named = ([k, s, p], i) => ({ name: `layer${i + 1}`, k, s, p });
  return all.map((layers) => stack(n, layers.map(named)).slice(1)
    .map((map) => [map.n, map.j, map.r, map.start, map.n > 0 ? Array.from({ length: map.n }, (_, i) =>
      [map.box(i), map.inside(i), map.centre(i)]) : []]));
}"""


# Every position of a walk: what is said, how many units are made, and which one is being made.
WALK = """(count) => Array.from({ length: count }, () => {
  const one = (selector) => document.querySelector(`.lesson ${selector}`);
  const now = [one(".lesson-told").textContent, document.querySelectorAll(".lesson .map .made").length,
    one(".map [aria-pressed=true]").ariaLabel];
  one("[aria-label='Next position']").click();
  return now;
})"""


def kernels() -> Iterator[tuple[int, int, int]]:
    yield from product(range(1, 5), range(1, 4), range(3))


def test_the_formulas_are_the_librarys(opened: Callable[..., Any]) -> None:
    tab = opened("example:alexnet")
    # Every kernel, stride and padding of the first layer, with every third of the second.
    pairs = [(a, b) for a in kernels() for k, b in enumerate(kernels()) if (k + sum(a)) % 3 == 0]
    found = tab.evaluate(STACKS, [5, pairs])
    compared = 0
    for pair, maps in zip(pairs, found, strict=True):
        layers = {f"layer{i + 1}": list(ksp) for i, ksp in enumerate(pair)}
        fits = maps[0][0] > 0 and maps[1][0] > 0
        if not fits:
            with pytest.raises(eyeshot.EyeshotError):
                eyeshot.analyze(layers, input=5)
            continue
        compared += 1
        for layer, (n, j, r, start, units) in zip(
            eyeshot.analyze(layers, input=5), maps, strict=True
        ):
            (field,) = layer.fields
            assert (n, j, r, start) == (field.n, field.jump, field.size, field.start), pair
            exact = layer.boxes()[:, 0].tolist()
            for i, (box, inside, centre) in enumerate(units):
                assert box == list(layer.box((i,))[0]), (pair, i)
                assert inside == exact[i], (pair, i)
                assert centre == start + i * j
    assert compared > 250


def shown(tab: Any) -> dict[str, str]:
    return dict(
        tab.eval_on_selector_all(
            ".lesson [data-value]", "all => all.map((one) => [one.dataset.value, one.textContent])"
        )
    )


def results(tab: Any) -> dict[str, float]:
    found = tab.eval_on_selector_all(
        ".lesson [data-formula]",
        "all => all.map((one) => [one.dataset.formula, one.querySelector('.result').textContent])",
    )
    return {key: float(value) for key, value in found}


def test_a_run_through_the_lesson_by_keys(
    opened: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    report = eyeshot.ReceptiveFieldCalculator().calculate(
        {"layer1": [3, 2, 1], "layer2": [3, 2, 1]}, 5
    )
    printed = dict(re.findall(r"^(\w+): (n = .*)$", capsys.readouterr().out, re.MULTILINE))
    truth = {
        f"{name.replace('input_layer', 'input')}.{key}": float(value)
        for name, line in printed.items()
        for key, value in re.findall(r"(\w+) = ([\d.]+)", line)
    }
    tab = opened("example:alexnet")
    tab.emulate_media(reduced_motion="reduce")
    dialog = tab.locator("dialog.lesson")
    button = tab.get_by_role("button", name="How fields come about")
    button.focus()
    tab.keyboard.press("Enter")
    dialog.wait_for()
    title = dialog.locator("h3")
    learned = ["", "layer1.n", "layer1.j", "layer1.r", "layer1.start", "layer2.n"]
    known = {key for key in truth if key.startswith("input")}
    titles = set()
    for step in range(8):
        assert dialog.get_by_text(f"{step + 1} of 8", exact=True).is_visible()
        assert dialog.locator("[aria-current=step]").text_content() == str(step + 1)
        titles.add(title.text_content())
        known |= set(learned[step : step + 1]) if step < 6 else {k for k in truth if k[5:6] == "2"}
        told = shown(tab)
        assert {k for k, v in told.items() if v != "·"} == known - {""}
        assert all(float(told[key]) == truth[key] for key in known - {""})
        layer = "layer1" if step < 5 else "layer2"
        assert all(value == truth[f"{layer}.{key}"] for key, value in results(tab).items())
        # Two keys that go on; at the last step only the button does.
        tab.keyboard.press("Enter" if step % 2 else "ArrowRight")
    assert len(titles) == 8
    dialog.wait_for(state="detached")
    assert button.evaluate("(button) => button === document.activeElement")
    assert report[-1].size == (7,)


def test_the_kernel_walks_position_by_position(opened: Callable[..., Any]) -> None:
    tab = opened("example:alexnet")
    tab.emulate_media(reduced_motion="reduce")
    report = eyeshot.analyze("example:five-by-five")
    for step, name, below in ((2, "layer1", "pixels"), (6, "layer2", "units of layer1")):
        tab.evaluate(f"location.hash = 'lesson-{step}'")
        tab.locator(f".lesson [aria-current=step]:text-is('{step}')").wait_for()
        n = report[name].shape[-1]
        told = tab.locator(".lesson-told")
        m = 5 if name == "layer1" else report["layer1"].shape[-1]
        for k, (text, made, pressed) in enumerate(tab.evaluate(WALK, n * n)):
            y, x = divmod(k, n)
            rows, columns = ([2 * i - 1, 2 * i + 2] for i in (y, x))
            there = [min(m, high) - max(0, low) for low, high in (rows, columns)]
            span = "[{}, {})".format
            assert f"rows {span(*rows)} and columns {span(*columns)}".replace("-", "−") in text
            assert f"{there[0] * there[1]} {below}" in text, text
            assert made == k and pressed == f"{name}, unit ({y}, {x})"
        # Round again; played, it goes on by itself.
        assert "(0, 0)" in (told.text_content() or "")
        tab.keyboard.press("p")
        tab.get_by_role("button", name="Pause").wait_for()
        tab.locator(".lesson .map .unit.made").first.wait_for()
        tab.keyboard.press("p")
        tab.get_by_role("button", name="Play").wait_for()
    tab.keyboard.press("Escape")
    tab.locator("dialog.lesson").wait_for(state="detached")
    assert "lesson" not in tab.evaluate("location.hash")


def test_now_you(opened: Callable[..., Any]) -> None:
    tab = opened("example:alexnet")
    tab.evaluate("location.hash = 'lesson-8'")
    dialog = tab.locator("dialog.lesson")
    told = dialog.locator(".lesson-told")
    dialog.get_by_role("button", name="layer2, unit (1, 1)").hover()
    assert "rows [1, 8), columns [1, 8)" in (told.text_content() or "")
    assert "rows [1, 5) and columns [1, 5)" in (told.text_content() or "")
    # Arrow keys go over the map; the steps stay where they are.
    dialog.get_by_role("button", name="layer1, unit (0, 0)").focus()
    tab.keyboard.press("ArrowRight")
    tab.keyboard.press("ArrowDown")
    box = eyeshot.analyze("example:five-by-five")["layer1"].box((1, 1))
    assert f"rows [{box[0][0]}, {box[0][1]})" in (told.text_content() or "")
    assert dialog.get_by_text("8 of 8").is_visible()
    changes = {
        "kernel of layer1": "4",
        "stride of layer1": "1",
        "padding of layer2": "2",
        "stride of layer2": "3",
    }
    for label, value in changes.items():
        dialog.get_by_label(label).fill(value)
    report = eyeshot.analyze({"layer1": [4, 1, 1], "layer2": [3, 3, 2]}, input=5)
    dialog.get_by_role("button", name="layer2, unit (0, 1)").hover()
    for layer in report:
        (field,) = layer.fields
        told_numbers = shown(tab)
        numbers = {"n": field.n, "j": field.jump, "r": field.size, "start": field.start}
        for key, number in numbers.items():
            assert told_numbers[f"{layer.name}.{key}"] == str(
                number and float(number)
            ).removesuffix(".0")
    assert results(tab)["r"] == report[-1].fields[0].size
    dialog.get_by_label("kernel of layer2").fill("5")
    dialog.get_by_label("padding of layer2").fill("0")
    assert "does not fit" in (told.text_content() or "")
    assert dialog.locator(".map").count() == 1
    dialog.get_by_role("button", name="As in the article").click()
    assert results(tab)["r"] == 7
    dialog.get_by_role("button", name="Look at this network").click()
    dialog.wait_for(state="detached")


def test_the_first_visit_alone_opens_it(opened: Callable[..., Any]) -> None:
    tab = opened("example:alexnet")
    assert tab.locator("dialog").count() == 0
    ask = "() => import('eyeshot/main.js').then(({ app }) => Boolean(app.firstLesson()))"
    tab.evaluate("localStorage.clear()")
    assert tab.evaluate(ask) is True
    tab.keyboard.press("Escape")
    tab.locator("dialog.lesson").wait_for(state="detached")
    assert tab.evaluate(ask) is False


def test_narrow(opened: Callable[..., Any]) -> None:
    tab = opened("example:alexnet")
    tab.set_viewport_size({"width": 360, "height": 740})
    for step in range(1, 9):
        tab.evaluate(f"location.hash = 'lesson-{step}'")
        tab.locator(f".lesson [aria-current=step]:text-is('{step}')").wait_for(state="attached")
        wide = tab.evaluate(
            """() => { const body = document.querySelector(".lesson .dialog-body");
              const next = document.querySelector(".lesson-foot .main").getBoundingClientRect();
              return [body.scrollWidth - body.clientWidth, next.right <= innerWidth,
                [...document.querySelectorAll(".lesson button")]
                  .filter((b) => b.offsetWidth && Math.min(b.offsetWidth, b.offsetHeight) < 24).length]; }"""
        )
        assert wide == [0, True, 0], step
