"""Without the onnx package: one line that says what to install."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from eyeshot.cli import main


def test_onnx_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [n for n in sys.modules if n.startswith("eyeshot.frontends.onnx")]:
        monkeypatch.delitem(sys.modules, name)
    import eyeshot.frontends

    monkeypatch.delattr(eyeshot.frontends, "onnx", raising=False)
    monkeypatch.setitem(sys.modules, "onnx", None)  # import then raises
    path = tmp_path / "model.onnx"
    path.write_bytes(b"")
    done = CliRunner().invoke(main, ["show", str(path)])
    assert done.exit_code == 2
    assert done.stderr == (
        "eyeshot: ONNX models need the onnx package: pip install 'eyeshot[onnx]'\n"
    )
