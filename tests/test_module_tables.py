"""Tables of modules: folded by depth, chosen by name, diagnostics on few lines, names in narrow terminals."""

from __future__ import annotations

import json

import torch
from torch import Tensor, nn

import eyeshot
from eyeshot.views import table
from eyeshot.views.terminal import to_text


class Block(nn.Module):
    """What comes out is not what ran last."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(1, 1, 3, padding=1)
        self.side = nn.Conv1d(1, 1, 9, padding=4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x).relu()
        self.side(x)
        return x


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv1d(1, 1, 3, padding=1)
        self.blocks = nn.ModuleList([Block(), Block()])
        self.head = nn.Sequential(nn.Sequential(nn.Conv1d(1, 1, 5, padding=2), nn.ReLU()))

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return self.head(x) + 1


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.block = nn.Sequential(nn.Conv1d(1, 1, 3, padding=1), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        return self.block(self.block(x))


def shown(
    module: nn.Module, pattern: str | None = None, depth: int | None = None
) -> list[tuple[str, str, str]]:
    report = eyeshot.analyze(module, (1, 1, 64))
    rows = table.rows(table.select(report, pattern, depth), depth)
    return [(row.layer, row.op, row.size) for row in rows]


def test_depth_shows_what_comes_out_of_a_module() -> None:
    assert shown(Net(), depth=1) == [
        ("stem", "conv1d", "3"),
        ("blocks", "–", "7"),  # a list is never called itself: its last child's output
        ("head", "sequential", "11"),
        ("add", "add", "11"),
    ]
    assert shown(Net(), depth=2) == [
        ("stem", "conv1d", "3"),
        ("blocks.0", "block", "5"),
        ("blocks.1", "block", "7"),
        ("head.0", "sequential", "11"),
        ("add", "add", "11"),
    ]
    assert shown(Net(), depth=9) == shown(Net())


def test_every_call_of_a_shared_module() -> None:
    assert shown(Twice(), depth=1) == [("block", "sequential", "3"), ("block_1", "sequential", "5")]


def test_layers_and_depth() -> None:
    assert shown(Net(), "blocks.*", 2) == [("blocks.0", "block", "5"), ("blocks.1", "block", "7")]
    assert shown(Net(), "*.conv") == [
        ("blocks.0.conv", "conv1d", "5"),
        ("blocks.1.conv", "conv1d", "7"),
    ]
    assert shown(Net(), "blocks.1") == [("blocks.1", "block", "7")]  # a module, no layer
    assert shown(Net(), "nothing") == []


def test_folded_json_is_that_of_the_rows() -> None:
    from eyeshot.cli.show import _json

    report = eyeshot.analyze(Net(), (1, 1, 64))
    content = json.loads(_json(report, table.select(report, None, 1)))
    assert [layer["name"] for layer in content["layers"]] == ["stem", "blocks.1", "head", "add"]
    assert content["layers"][1]["fields"][0]["size"] == 7


def test_diagnostics_that_several_layers_share_are_one_line() -> None:
    class Picks(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x[..., x.argmax(-1).flatten()]

    net = nn.Sequential(*(Picks() for _ in range(9)))
    report = eyeshot.analyze(net, (1, 1, 9))
    assert report.status == "bound" and len(report.diagnostics) >= 9
    notes = [note for note in table.notes(report, table.rows(report)) if "[" in note]
    assert len(notes) < 4
    assert any(note.startswith("0") and "more layers: " in note for note in notes), notes


def test_names_have_few_folds_in_a_narrow_terminal() -> None:
    class Deep(nn.Module):
        def __init__(self, depth: int) -> None:
            super().__init__()
            self.layer = nn.Conv1d(1, 1, 3, padding=1) if not depth else Deep(depth - 1)

        def forward(self, x: Tensor) -> Tensor:
            return torch.nn.functional.hardswish(self.layer(x))

    report = eyeshot.analyze(Deep(9), (1, 1, 64))
    for width in (60, 80, 100):
        lines = to_text(report, width).splitlines()
        assert max(map(len, lines)) <= width
        body = lines[3:]
        names = [line for line in body if not line.startswith(" ")]
        assert len(names) == len(report)  # what is folded is set in
        for line in body:
            piece = line[2:].split("  ")[0] if line.startswith("  ") else ""
            assert not piece.startswith(".")
    report = eyeshot.analyze(Deep(3), (1, 1, 64))
    assert len(to_text(report, 80).splitlines()) == 3 + len(report)  # the blanks gave way
    assert len(to_text(report, 60).splitlines()) > 3 + len(report)


def test_axes_that_agree_share_a_line() -> None:
    def forward(a: Tensor, b: Tensor) -> Tensor:
        a = nn.functional.avg_pool2d(a, (31, 31), (3, 3), (15, 15))
        b = nn.functional.avg_pool2d(b, (31, 7), (3, 3), (15, 3))
        return a + b

    report = eyeshot.analyze(forward, ["3x1024x1024"] * 2)
    lines = [cells[:3] for cells in table.axis_cells(report, report["add"])]
    assert lines == [("a 2, 3", "342", "31"), ("b 2", "342", "31"), ("b 3", "342", "7")]
