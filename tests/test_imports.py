"""What is loaded, and what is public; in fresh interpreters."""

from __future__ import annotations

import ast
import inspect
import json
import subprocess
import sys
from pathlib import Path

import pytest

import eyeshot

HEAVY = set(
    "torch torchvision timm transformers onnx onnxruntime onnxscript google ortools pandas matplotlib "
    "dask distributed zarr tifffile psutil PIL imagecodecs starlette uvicorn "
    "playwright httpx h11 anyio jax tensorflow".split()
)
SOURCE = Path(eyeshot.__file__).parent


def modules(code: str) -> set[str]:
    """The names of the top-level modules that a fresh interpreter has loaded after ``code``."""
    script = f"{code}\nimport json, sys\nprint('\\n' + json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return {name.partition(".")[0] for name in json.loads(done.stdout.splitlines()[-1])}


SHOW = """
import io, sys
from eyeshot.cli import main
sys.argv = ["eyeshot", *{args!r}]
sys.stdout, kept = io.StringIO(), sys.stdout
try:
    main()
except SystemExit as done:
    assert not done.code, done.code
text = sys.stdout.getvalue()
sys.stdout = kept
assert "conv1" in text
"""


def test_import_is_light() -> None:
    found = modules("import eyeshot")
    assert "eyeshot" in found
    assert not found & HEAVY
    assert not found & {"yaml", "rich", "click", "jsonschema", "hypothesis"}


@pytest.mark.parametrize("form", ["table", "json", "csv", "markdown"])
def test_show_is_light(form: str) -> None:
    found = modules(SHOW.format(args=["show", "example:alexnet", "--format", form]))
    assert not found & HEAVY


def test_analysing_a_spec_is_light() -> None:
    code = "import eyeshot\nreport = eyeshot.analyze({'a': [3, 1, 1]}, input=5)\n"
    rest = "str(report), report['a'].boxes(), report.to_json(), report._repr_html_()"
    assert not modules(code + rest) & HEAVY


def test_refusing_a_reference_is_light() -> None:
    """What no package is needed for, none is loaded for."""
    code = "import eyeshot\ntry:\n    eyeshot.analyze({source!r})\nexcept eyeshot.EyeshotError:\n    pass"
    for source in ("timm:", "timm:a?b", "net.py", "example:none", 3, None):
        assert not modules(code.format(source=source)) & HEAVY, source


ONNX = """
import onnx
import eyeshot
model = onnx.parser.parse_model(
    '<ir_version: 8, opset_import: ["": 17]> g (float[1, 1, 8, 8] x) => (y) <int64[4] s = {{1, 1, 64, 1}}>'
    " {{ p = MaxPool<kernel_shape = [2, 2]>(x) n = Shape(x) y = Reshape(x, s) }}"
)
assert eyeshot.analyze(model{content})["y"].shape == (1, 1, 64, 1)
"""


@pytest.mark.parametrize("content", ["", ".SerializeToString()"])
def test_an_onnx_model_needs_onnx_only(content: str) -> None:
    found = modules(ONNX.format(content=content))
    assert "onnx" in found
    assert not found & (HEAVY - {"onnx", "google"})


def test_a_module_does_not_need_onnx() -> None:
    code = "import torch\nbefore = {name.partition('.')[0] for name in __import__('sys').modules}\n"
    code += "import eyeshot\neyeshot.analyze(torch.nn.Conv1d(1, 1, 3), (1, 1, 9))\n"
    code += "assert 'onnx' in before or 'eyeshot.frontends.onnx' not in __import__('sys').modules\n"
    assert "onnxruntime" not in modules(code)


COMPLETE = """
import os
os.environ.update(_EYESHOT_COMPLETE="bash_complete", COMP_WORDS="eyeshot show tim", COMP_CWORD="2")
from eyeshot.cli import main
try:
    main(prog_name="eyeshot")
except SystemExit:
    pass
"""


def test_completion_is_light() -> None:
    assert not modules(COMPLETE) & HEAVY


def test_the_heavy_ones_would_be_seen() -> None:
    """pandas is loaded by to_pandas, so the tests above can fail."""
    assert "pandas" in modules(
        "import eyeshot; eyeshot.analyze({'a': [3, 1, 1]}, input=5).to_pandas()"
    )


def test_the_core_needs_numpy_only() -> None:
    """By its imports: the standard library, numpy, the core itself, and the exceptions."""
    for path in (SOURCE / "core").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            found = []
            if isinstance(node, ast.Import):
                found = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, path
                found = [node.module or ""]
            for name in found:
                top = name.partition(".")[0]
                ours = name.startswith("eyeshot.core") or name == "eyeshot.errors"
                assert ours or top == "numpy" or top in sys.stdlib_module_names, (path.name, name)


@pytest.mark.parametrize(
    ("folder", "not_from"),
    [("frontends", ("analysis", "views", "cli")), ("analysis", ("frontends", "cli"))],
)
def test_dependencies_run_one_way(folder: str, not_from: tuple[str, ...]) -> None:
    for path in (SOURCE / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                name = node.module or ""
                late = "views" in name and folder == "analysis"  # to_csv() and the like
                assert late or not name.startswith(tuple(f"eyeshot.{x}" for x in not_from)), path


def test_public_surface() -> None:
    assert sorted(eyeshot.__all__) == [
        "Canvas",
        "Check",
        "Design",
        "Disagreement",
        "Erf",
        "EyeshotError",
        "Field",
        "Finding",
        "InputRange",
        "Layer",
        "NotTileable",
        "ReceptiveFieldCalculator",
        "Report",
        "SpecError",
        "Stream",
        "StreamPlan",
        "StrictError",
        "Tile",
        "TilePlan",
        "Touched",
        "Unit",
        "UnknownLayerError",
        "Verification",
        "__version__",
        "analyze",
        "check",
        "design",
        "erf",
        "pictures",
        "stream",
        "stream_plan",
        "testing",
        "tile",
        "tile_plan",
        "verify",
    ]
    public = {
        name
        for name in dir(eyeshot)
        if not name.startswith("_")
        and not inspect.ismodule(getattr(eyeshot, name))
        and name != "annotations"
    }
    assert public | {"__version__", "pictures", "testing"} == set(eyeshot.__all__)


def test_everything_public_is_documented() -> None:
    for name in eyeshot.__all__:
        thing = getattr(eyeshot, name)
        if name == "__version__":
            continue
        assert inspect.getdoc(thing), name
        if inspect.isclass(thing) and not issubclass(thing, Exception):
            for attribute, value in vars(thing).items():
                if not attribute.startswith("_") and (
                    callable(value) or isinstance(value, property)
                ):
                    assert inspect.getdoc(value), f"{name}.{attribute}"


def test_every_module_says_what_it_exports() -> None:
    for path in SOURCE.rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        assert ast.get_docstring(tree), path
        if path.name in ("__init__.py", "__main__.py"):
            continue
        names = [
            target.id
            for node in tree.body
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name)
        ]
        assert "__all__" in names, path


def test_version_is_that_of_the_distribution() -> None:
    from importlib.metadata import version

    assert eyeshot.__version__ == version("eyeshot")


def test_typed() -> None:
    assert (SOURCE / "py.typed").exists()
