"""``eyeshot explore`` on the command line: what it refuses, and how it starts."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from eyeshot.cli import main


def refused(*arguments: str) -> str:
    """The one line on stderr of a command that does not start a server."""
    result = CliRunner().invoke(main, ["explore", "--no-browser", *arguments])
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    return line


def test_a_bad_source_is_told_before_serving(tmp_path: Path) -> None:
    file = tmp_path / "net.yaml"
    file.write_text("input: [1, 9]\nlayers: {a: {op: conv, kernel: 0}}\n")
    assert "net.yaml: layers.a.kernel" in refused(str(file), "--port", "0")


def test_options_without_a_source() -> None:
    assert "--input" in refused("--input", "3x9x9")
    assert "--rate" in refused("--rate", "16000")


@pytest.mark.parametrize("rate", ["0", "-1", "nan", "inf", "1e400", "x"])
def test_a_rate_that_is_none(rate: str) -> None:
    assert "--rate" in refused("example:wavenet", "--rate", rate, "--port", "0")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.invalid"])
def test_others_reach_it_only_when_told(host: str) -> None:
    assert "--public" in refused("--host", host)


def test_a_port_that_is_taken() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert f"127.0.0.1:{port}" in refused("--port", str(port))


def test_small_answers_do_not_wait() -> None:
    """asyncio sends at once only what it knows to be TCP; else an answer takes 40 ms more."""
    from eyeshot.explore.serve import _listening

    with _listening("127.0.0.1", 0) as found:
        assert found.proto == socket.IPPROTO_TCP


def test_a_host_that_is_none() -> None:
    result = CliRunner().invoke(main, ["explore", "--host", "no.such.host.invalid", "--public"])
    assert result.exit_code == 2
    warning, error = result.stderr.splitlines()
    assert "warning" in warning and "--host no.such.host.invalid" in error


@pytest.mark.parametrize("missing", ["starlette", "uvicorn"])
def test_a_missing_extra(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *rest: None if name == missing else find(name, *rest),
    )
    assert refused() == f"eyeshot: explore needs {missing}: pip install 'eyeshot[web]'"


def test_one_that_others_reach(tools: Any, tmp_path: Path) -> None:
    server = tools.explore("--host", "0.0.0.0", "--public", TMPDIR=str(tmp_path))
    assert server.client.get(f"http://127.0.0.1:{server.port}/").status_code == 200
    assert (
        server.client.get("/", headers={"host": f"evil.example:{server.port}"}).status_code == 403
    )
    workers = server.workers
    code, said = server.stop(signal.SIGTERM)
    assert code == 0 and not list(tmp_path.iterdir())
    assert not [worker for worker in workers if tools.alive(worker)]
    assert said.startswith("eyeshot: warning: ") and len(said.splitlines()) == 1


MINE = """
import json, timm, torch, torchvision
print('hello')
zoos = {'torchvision': torchvision.models, 'timm': timm}
with open('names.json', 'w') as file:
    json.dump({name: sorted(zoo.list_models()) for name, zoo in zoos.items()}, file)
def net(): print('hi'); return torch.nn.Conv2d(1, 1, 3, 2)
"""


def test_models(tools: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user's own, named on the command line, whose code runs in a worker; and a zoo's, by its name.

    The names of the zoos, read in the source of the installed packages, are what the packages list.
    """
    (tmp_path / "mine.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)
    server = tools.explore("mine:net", "--input", "1x1x9x7", "--axes", "3")
    answer = server.post("analyze", {"source": {"kind": "given"}}).json()
    (layer,) = answer["page"]["report"]["layers"]
    assert [field["axis"] for field in layer["fields"]] == [3]
    catalog = server.client.get("/api/catalog").json()
    assert catalog["given"]["title"] == "mine:net"
    assert catalog["zoos"] == json.loads((tmp_path / "names.json").read_text())
    zoo = {"kind": "model", "zoo": "torchvision", "name": "resnet18"}
    page = server.post("analyze", {"source": zoo, "input": "3x64x64"}).json()["page"]
    sizes = {layer["name"]: layer["fields"][0]["size"] for layer in page["report"]["layers"]}
    assert sizes["layer4.1.conv2"] == 435
    for name in ("resnet18x", "list_models", "os.system"):
        wrong = server.post("analyze", {"source": {**zoo, "name": name}})
        assert "no model" in wrong.json()["error"]["message"]
    code, said = server.stop()
    assert code == 0 and sorted(set(said.split())) == ["hello", "hi"]


def test_the_command_loads_no_server() -> None:
    """Not even for its help."""
    script = (
        "import sys\nfrom eyeshot.cli import main\nsys.argv = ['eyeshot', 'explore', '--help']\n"
    )
    script += "try:\n    main()\nexcept SystemExit:\n    pass\n"
    script += "assert not {'starlette', 'uvicorn', 'asyncio', 'anyio'} & set(sys.modules)\n"
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)
