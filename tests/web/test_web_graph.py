"""The network as a graph: what is shown is the module tree of the names, joined as the report's graph is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

import eyeshot
from eyeshot.views.table import _ends
from eyeshot.views.web.page import page as page_data
from eyeshot.views.web.single import single_file

PORT = re.compile(r"^(.*) (in|out) (-?\d+|\*)$", re.DOTALL)

#: The graph alone, mounted a second time with a store of its own, so that only it draws.
SHOW = """async ([content, anew]) => {
  const { mount } = await import("eyeshot/graph.js");
  const { Page } = await import("eyeshot/model.js");
  const { START, Store } = await import("eyeshot/store.js");
  if (anew) {
    window.own = new Store(START);
    document.getElementById("graph").replaceChildren();
    mount(document.getElementById("graph"), { store: window.own, say(text) { window.heard = text; } });
  }
  window.own.show(new Page(content));
}"""
LOOK = """async () => {
  // Marks are drawn with the next frame.
  await new Promise((drawn) => requestAnimationFrame(drawn));
  const panel = document.getElementById("graph");
  const svg = panel.querySelector(".graph-svg");
  const scale = svg.getBoundingClientRect().width / svg.viewBox.baseVal.width;
  const nodes = [...panel.querySelectorAll("[role=treeitem]")].map((g) => {
    const box = g.querySelector(".graph-box").getBoundingClientRect();
    return {
      id: g.dataset.id, open: g.getAttribute("aria-expanded"), said: g.getAttribute("aria-label"),
      box: [box.left, box.top, box.right, box.bottom].map((n) => n / scale),
      kinds: [...g.classList], chosen: g.getAttribute("aria-selected"),
    };
  });
  const lines = [...panel.querySelectorAll(".graph-line")].map((g) => [g.dataset.from, g.dataset.to]);
  return { nodes, lines };
}"""
STATE = "() => ({ layer: own.state.layer, pointed: own.state.pointed })"
CHOOSE = "(number) => own.choose(number)"
LEVEL = """() => document.querySelector("#graph button[aria-label^='Open a level']").click()"""
#: Presses the opener of one node, as a person does.
PRESS = """(id) => {
  const node = [...document.querySelectorAll("#graph [role=treeitem]")].find((g) => g.dataset.id === id);
  node.querySelector("[data-opener] rect").dispatchEvent(new MouseEvent("click", { bubbles: true }));
}"""


@pytest.fixture(scope="module")
def board(browser: Any, tmp_path_factory: Any) -> Iterator[tuple[Any, list[str]]]:
    """A tab with a page, in which each test mounts a graph of its own; and what the console says."""
    file = tmp_path_factory.mktemp("graph") / "report.html"
    content = page_data(eyeshot.analyze("example:five-by-five"))
    file.write_text(single_file(content, content), encoding="utf-8")
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    tab = context.new_page()
    said: list[str] = []
    tab.on("console", lambda m: said.append(m.text) if m.type in ("warning", "error") else None)
    tab.on("pageerror", lambda error: said.append(str(error)))
    tab.goto(file.as_uri())
    tab.wait_for_selector("html[data-ready=true]")
    yield tab, said
    context.close()


@pytest.fixture
def show(board: tuple[Any, list[str]]) -> Iterator[Any]:
    """``show(report)``: the tab, now showing that network instead of the one before it.

    ``light``: without the steps from layer to layer, which only the field view follows.
    """
    tab, said = board
    tab.mouse.move(2, 2)
    anew = True

    def at(report: eyeshot.Report | dict[str, Any], *, light: bool = False) -> Any:
        nonlocal anew
        content = report
        if isinstance(report, eyeshot.Report):
            content = unrelated(report) if light else page_data(report)
        tab.evaluate(SHOW, [content, anew])
        anew = False
        return tab

    yield at
    assert not said, said


def flat(names: list[str]) -> eyeshot.Report:
    """A chain of convolutions with these names."""
    layers = [{"op": "conv", "name": name, "kernel": 3} for name in names]
    return eyeshot.analyze({"layers": layers}, input=999)


def edges(report: eyeshot.Report) -> set[tuple[int, int]]:
    """Which layer is made from which: a walk back over the primitives until another layer or an input."""
    graph = report._graph
    known = {source.value: -1 - k for k, source in enumerate(report._sources)}
    found = set()
    for number, layer in enumerate(report):
        left = [layer._value] if layer._value in known else list(graph.inputs[layer._value])
        seen = set()
        while left:
            value = left.pop()
            if value in known:
                found.add((known[value], number))
            elif value not in seen:
                seen.add(value)
                left += graph.inputs[value]
        known[layer._value] = number
    return found


def unrelated(report: eyeshot.Report) -> dict[str, Any]:
    """The page's data as far as the graph reads it."""
    parents: dict[int, list[list[int]]] = {}
    for a, b in sorted(edges(report)):
        parents.setdefault(b, []).append([a, 0])
    small = page_data(eyeshot.analyze("example:five-by-five"))
    names = [layer.name for layer in report]
    layers = [
        {
            "units": list(layer.unit_dims),
            "parents": parents[k],
            "fields": [["canvas", "clip", "box"]] * len(layer.fields),
        }
        for k, layer in enumerate(report)
    ]
    return small | {
        "title": report.title,
        "report": report.to_dict(),
        "outputs": [names.index(layer.name) for layer in report.outputs],
        "groups": [[mark.name, mark.op] for mark in report._groups.values()],
        "layers": layers,
    }


def stands(report: eyeshot.Report, number: int, nodes: dict[str, Any]) -> str:
    """The node that should stand for a layer: the outermost closed module around it, or itself."""
    name = report[number].name
    for path in [*(name[:end] for end in _ends(name)), name]:
        if f"m:{path}" in nodes and nodes[f"m:{path}"]["open"] == "false":
            return f"m:{path}"
    return f"l:{number}"


def expected(report: eyeshot.Report, nodes: dict[str, Any]) -> set[tuple[str, str]]:
    place = [stands(report, k, nodes) for k in range(len(report))]
    found = {(f"i:{-1 - a}" if a < 0 else place[a], place[b]) for a, b in edges(report)}
    names = [layer.name for layer in report]
    found |= {(place[names.index(o.name)], f"o:{k}") for k, o in enumerate(report.outputs)}
    return {(a, b) for a, b in found if a != b}


def drawn(lines: list[tuple[str, str]]) -> set[tuple[str, str]]:
    """From node to node, through the edges of opened modules."""
    after: dict[str, list[str]] = {}
    for a, b in lines:
        after.setdefault(a, []).append(b)
    found = set()
    for start in after:
        if PORT.match(start):
            continue
        left = list(after[start])
        while left:
            end = left.pop()
            if PORT.match(end):
                left += after[end]
            else:
                found.add((start, end))
    return found


def apart(nodes: list[Any]) -> bool:
    """Whether no two nodes lie over each other; heads of opened modules are nodes, their frames are not."""
    boxes = sorted((node["box"] for node in nodes), key=lambda box: box[1])
    for k, (left, top, right, bottom) in enumerate(boxes):
        for other in boxes[k + 1 :]:
            if other[1] >= bottom - 0.5:
                break
            if other[0] < right - 0.5 and other[2] > left + 0.5 and other[3] > top:
                return False
    return True


def look(tab: Any) -> tuple[dict[str, Any], Any]:
    seen = tab.evaluate(LOOK)
    return {node["id"]: node for node in seen["nodes"]}, seen


@pytest.mark.parametrize(
    "names",
    [
        ("alexnet", "unet", "fpn", "wavenet"),
        ("vgg16", "patchgan", "inception-v3-mixed"),
    ],
)
def test_nodes_and_lines_are_the_networks(show: Any, names: tuple[str, ...]) -> None:
    for name in names:
        report = eyeshot.analyze(f"example:{name}")
        tab = show(report)
        for _ in range(5):
            nodes, seen = look(tab)
            leaves = {i for i, node in nodes.items() if node["open"] != "true" and i[0] in "lm"}
            assert leaves == {stands(report, k, nodes) for k in range(len(report))}, name
            assert drawn(seen["lines"]) == expected(report, nodes), name
            assert apart(seen["nodes"]), name
            if all(node["open"] != "false" for node in nodes.values()):
                break
            tab.evaluate(LEVEL)
        assert {f"l:{k}" for k in range(len(report))} <= set(nodes), name
        tab.get_by_role("button", name="Close all").click()
        nodes, seen = look(tab)
        assert all(node["open"] != "true" for node in nodes.values())
        assert drawn(seen["lines"]) == expected(report, nodes), name


@pytest.mark.parametrize(
    ("name", "names"),
    [
        ("resnet152", "conv1 bn1 relu maxpool layer1 layer2 layer3 layer4 avgpool fc"),
        (
            "densenet121",
            "features.denseblock1 features.denseblock3 features.transition2 classifier",
        ),
        ("inception_v3", "Mixed_5b Mixed_6e Mixed_7c fc"),
    ],
)
def test_deep_networks_begin_readable(show: Any, name: str, names: str) -> None:
    report = eyeshot.analyze(f"torchvision:{name}", "3x224x224")
    tab = show(report, light=True)
    nodes, seen = look(tab)
    assert 8 <= len(nodes) <= 34
    said = {i[2:] for i in nodes if i.startswith("m:")}
    said |= {report[int(i[2:])].name for i in nodes if i.startswith("l:")}
    assert set(names.split()) <= said
    assert apart(seen["nodes"])
    assert drawn(seen["lines"]) == expected(report, nodes)
    if name == "resnet152":
        # Any layer can be opened, and what was opened for it closes when another is chosen elsewhere.
        number = [layer.name for layer in report].index("layer3.20.conv2")
        tab.evaluate(CHOOSE, number)
        tab.wait_for_selector(f"#graph [data-id='l:{number}'].chosen")
        opened = {i for i, node in look(tab)[0].items() if node["open"] == "true"}
        assert {"m:layer3", "m:layer3.20"} < opened and len(
            opened
        ) == 3  # and the run of equal blocks
        assert tab.evaluate(
            """id => { const a = document.querySelector(`[data-id='${id}']`).getBoundingClientRect();
              const b = document.querySelector("#graph .graph-scroll").getBoundingClientRect();
              return a.top >= b.top && a.bottom <= b.bottom && a.left >= b.left && scrollY === 0; }""",
            f"l:{number}",
        )
        tab.evaluate(CHOOSE, 0)
        tab.wait_for_selector("#graph [data-id='l:0'].chosen")
        assert set(look(tab)[0]) == set(nodes)
    if name != "densenet121":
        return
    for _ in range(4):
        tab.evaluate(LEVEL)
    nodes, seen = look(tab)
    assert {f"l:{k}" for k in range(len(report))} <= set(nodes)
    assert apart(seen["nodes"])


def test_choosing_by_pointer_and_keyboard(show: Any) -> None:
    report = eyeshot.analyze("example:unet")
    tab = show(report)
    names = [layer.name for layer in report]
    head = names.index("head")
    assert tab.evaluate(STATE)["layer"] == head
    nodes, _ = look(tab)
    assert nodes[f"l:{head}"]["chosen"] == "true"
    # Of a module, the layer that comes out of it; it stays closed.
    tab.locator("#graph [data-id='m:enc3'] .graph-name").click()
    assert names[tab.evaluate(STATE)["layer"]] == "enc3.pool"
    nodes, _ = look(tab)
    assert nodes["m:enc3"]["open"] == "false" and nodes["m:enc3"]["chosen"] == "true"
    # What it reads is on the way, what reads it is not.
    assert {i for i, node in nodes.items() if "way" in node["kinds"]} == {
        "i:0",
        "m:enc1",
        "m:enc2",
        "m:enc3",
    }
    assert tab.evaluate(STATE)["pointed"] == names.index("enc3.pool")
    focused = "() => document.activeElement.dataset.id"
    assert tab.evaluate(focused) == "m:enc3"
    keys = tab.keyboard
    keys.press("ArrowRight")
    assert look(tab)[0]["m:enc3"]["open"] == "true"
    assert tab.evaluate(focused) == "m:enc3"
    keys.press("ArrowRight")
    keys.press("ArrowDown")
    assert tab.evaluate(focused) == f"l:{names.index('enc3.conv2')}"
    keys.press("Enter")
    assert names[tab.evaluate(STATE)["layer"]] == "enc3.conv2"
    keys.press("ArrowLeft")
    assert tab.evaluate(focused) == "m:enc3"
    keys.press("ArrowLeft")
    assert look(tab)[0]["m:enc3"]["open"] == "false"
    keys.type("dec2")
    assert tab.evaluate(focused) == "m:dec2"
    keys.press("Home")
    assert tab.evaluate(focused) == "i:0"
    keys.press("End")
    assert tab.evaluate(focused) == "o:0"
    keys.press("Enter")
    assert tab.evaluate(STATE)["layer"] == head
    # One stop of the tab key, and words for what is drawn.
    assert tab.locator("#graph [role=treeitem][tabindex='0']").count() == 1
    said = look(tab)[0]["m:enc3"]["said"]
    assert said == "enc3, 3 layers, last layer enc3.pool, n 32, field 36 of 256"


def test_finding(show: Any) -> None:
    report = eyeshot.analyze("example:resnet50")
    tab = show(report)
    names = [layer.name for layer in report]
    box = tab.get_by_role("searchbox", name="Find a layer")
    box.fill("layer3 down")
    hits = tab.locator("#graph .graph-hits")
    assert hits.inner_text() == "1 of 1: layer3.0.downsample"
    box.press("Enter")
    assert names[tab.evaluate(STATE)["layer"]] == "layer3.0.downsample"
    number = names.index("layer3.0.downsample")
    tab.wait_for_selector(f"#graph [data-id='l:{number}'].chosen")
    box.fill("CONV2")
    box.press("ArrowDown")
    assert hits.inner_text() == "2 of 16: layer1.1.conv2"
    found = """async () => (await import("eyeshot/graph/find.js")).matching({ layers: [
      { number: 0, name: "a", op: "conv2d" }, { number: 1, name: "b.conv2", op: "relu" }] }, "conv2")"""
    assert tab.evaluate(found) == [1]
    box.fill("<img onerror=x> .* \\ [")
    assert hits.inner_text() == "No such layer"
    box.press("Escape")
    assert hits.inner_text() == "" and box.input_value() == ""


def test_hostile_and_odd_names(show: Any) -> None:
    evil = "<img src=x onerror=window.hit=1>"
    odd = ["constructor.__proto__", "a b.c in 3", "__proto__.x", f"{evil}.{evil}", "n" * 300, ".."]
    odd += ["ünï.➊", "/l/M.0/a", "/l/M.0/b", "/l/c", *(f"qq.{k}" for k in range(30))]
    report = flat(odd)
    tab = show(report)
    for _ in range(6):
        tab.evaluate(LEVEL)
    nodes, seen = look(tab)
    assert {f"l:{k}" for k in range(len(report))} <= set(nodes)
    assert apart(seen["nodes"])
    assert nodes["l:3"]["said"].startswith(f"{evil}.{evil}, conv")
    assert not tab.evaluate("window.hit") and tab.locator("#graph img").count() == 0
    assert max(node["box"][2] - node["box"][0] for i, node in nodes.items() if i[0] == "l") <= 250
    assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_long_chains_fold_and_every_layer_opens(show: Any) -> None:
    report = flat([f"conv{k}" for k in range(150)])
    tab = show(report)
    nodes, _ = look(tab)
    assert len(nodes) <= 32
    closed = next(i for i, node in nodes.items() if node["open"] == "false")
    tab.evaluate(PRESS, closed)
    assert set(nodes) < set(look(tab)[0])
    for _ in range(4):
        tab.evaluate(LEVEL)
    nodes, seen = look(tab)
    assert {f"l:{k}" for k in range(150)} <= set(nodes)
    chain = {(f"l:{k}", f"l:{k + 1}") for k in range(149)}
    assert drawn(seen["lines"]) == {("i:0", "l:0"), ("l:149", "o:0"), *chain}


def test_flat_names_lie_in_modules_where_the_file_says_so(show: Any) -> None:
    """As of a file of PyTorch's exporter: nodes are counted, and their modules stand beside them."""
    content = page_data(flat([f"node_conv2d_{k}" for k in range(24)]))
    for k, layer in enumerate(content["layers"]):
        layer["path"] = f"layer{1 + k // 6}.{k // 3 % 2}.conv{1 + k % 3}"
    tab = show(flat(["other"]))
    show(content)
    tab.get_by_role("button", name="Close all").click()
    nodes, _ = look(tab)
    assert [i for i in nodes if i[0] in "ml"] == [f"m:layer{k}" for k in (1, 2, 3, 4)]
    assert nodes["m:layer2"]["said"].startswith("layer2, 2 blocks, last layer node_conv2d_11")
    tab.get_by_role("searchbox", name="Find a layer").fill("layer3.1.conv2")
    hits = tab.locator("#graph .graph-hits")
    assert hits.inner_text() == "1 of 1: node_conv2d_16"
    tab.get_by_role("searchbox", name="Find a layer").press("Enter")
    tab.wait_for_selector("#graph [data-id='l:16'].chosen")
    said = look(tab)[0]["l:16"]["said"]
    assert said.startswith("layer3.1.conv2, conv, called node_conv2d_16, n ")


def test_modules_that_feed_each_other_in_turn(show: Any) -> None:
    """Lists of encoders and of pools, each in a module of its own: closed, they make a circle."""
    names = [
        f"{part}.{k}.{one}" for k in range(6) for part in ("encoders", "pools") for one in "ab"
    ]
    report = flat(names)
    tab = show(report)
    nodes, seen = look(tab)
    assert nodes["m:encoders"]["open"] == nodes["m:pools"]["open"] == "true"
    assert drawn(seen["lines"]) == expected(report, nodes)
    tab.get_by_role("button", name="Close all").click()
    nodes, seen = look(tab)
    assert {("m:encoders", "m:pools"), ("m:pools", "m:encoders")} < drawn(seen["lines"])
    assert drawn(seen["lines"]) == expected(report, nodes) and apart(seen["nodes"])
    assert tab.locator("#graph .graph-back").count() == 1


def test_in_the_page_beside_the_others(opened: Any, axe: Any) -> None:
    """Findings have a mark and words, what is chosen anywhere is shown here, and axe finds nothing."""
    report = eyeshot.analyze("example:unet")
    found = eyeshot.check(report)
    tab = opened(report, check=True)
    names = {name for finding in found.findings for name in finding.layers}
    assert names
    tab.evaluate(LEVEL)
    nodes, _ = look(tab)
    for k, layer in enumerate(report):
        assert ("finding" in nodes[f"l:{k}"]["said"]) == (layer.name in names), layer.name
    assert tab.locator("#graph .graph-layer .graph-badge").count() == len(names)
    tab.evaluate("""async () => (await import("eyeshot/main.js")).app.store.choose(0)""")
    tab.wait_for_selector("#graph [data-id='l:0'].chosen")
    assert axe(tab, "#graph") == []
    tab.emulate_media(media="print")
    assert tab.locator("#graph .graph-svg").is_visible()
    assert not tab.get_by_role("searchbox", name="Find a layer").is_visible()
    tab.emulate_media(media="screen", color_scheme="dark")
    for width in (360, 800):
        tab.set_viewport_size({"width": width, "height": 800})
        inside = tab.locator("#graph .graph-scroll").bounding_box()
        assert inside and inside["x"] >= 0 and inside["x"] + inside["width"] <= width
        assert inside["height"] <= 560
    assert axe(tab, "#graph") == []
