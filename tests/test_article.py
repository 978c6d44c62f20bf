"""The article's calculator, with its labels where they belong."""

from __future__ import annotations

import pytest

import eyeshot


def test_prints_as_the_article_does(capsys: pytest.CaptureFixture[str]) -> None:
    architecture = {"conv1": [11, 4, 0], "pool1": [3, 2, 0]}
    eyeshot.ReceptiveFieldCalculator().calculate(architecture, 227)
    out = capsys.readouterr()
    assert out.out == (
        "------\n"
        "input_layer: n = 227; r = 1; j = 1; start = 0.5\n"
        "------\n"
        "------\n"
        "conv1: n = 55; r = 11; j = 4; start = 5.5\n"
        "------\n"
        "------\n"
        "pool1: n = 27; r = 19; j = 8; start = 9.5\n"
        "------\n"
    )
    assert out.err == ""


def test_returns_the_report() -> None:
    architecture = {"layer1": [3, 2, 1], "layer2": [3, 2, 1]}
    report = eyeshot.ReceptiveFieldCalculator().calculate(architecture, 5)
    assert isinstance(report, eyeshot.Report)
    assert report["layer2"].size == (7,)
    assert len(report) == 2


def test_the_padding_is_the_one_given(capsys: pytest.CaptureFixture[str]) -> None:
    eyeshot.ReceptiveFieldCalculator().calculate({"conv1": [7, 2, 3]}, 224)
    assert "conv1: n = 112; r = 7; j = 2; start = 0.5\n" in capsys.readouterr().out


def test_whole_numbers_are_printed_as_the_article_does(capsys: pytest.CaptureFixture[str]) -> None:
    eyeshot.ReceptiveFieldCalculator().calculate({"pool": [2, 2, 0]}, 8)
    assert "pool: n = 4; r = 2; j = 2; start = 1.0\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("architecture", "size", "place"),
    [
        ({"a": [7, 1, 0]}, 5, "spec: a.kernel: "),
        ({"a": [3, 0, 1]}, 5, "spec: a.stride: "),
        ({"a": [3, 1]}, 5, "spec: a: "),
        ({}, 5, "spec: "),
        ({"a": [3, 1, 1]}, 0, "input: "),
    ],
)
def test_errors(
    architecture: dict, size: int, place: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(eyeshot.EyeshotError) as caught:
        eyeshot.ReceptiveFieldCalculator().calculate(architecture, size)
    assert str(caught.value).startswith(place)
    assert capsys.readouterr().out == ""
