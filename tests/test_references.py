"""References: modules built on the spot, without weights, without a trace, and refused in one line."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import eyeshot
from eyeshot.api import resolve
from eyeshot.frontends.references import is_reference, load
from eyeshot.frontends.references.parse import parse

# --- the text


@pytest.mark.parametrize(
    ("text", "name", "arguments"),
    [
        ("timm:resnet18", "resnet18", {}),
        ("timm:a?", "a", {}),
        (
            "timm:a?n=10&flag=true&no=false&x=null",
            "a",
            {"n": 10, "flag": True, "no": False, "x": None},
        ),
        (
            "timm:a?t=(1,2)&l=[2,%202]&f=.5&s='x'",
            "a",
            {"t": (1, 2), "l": [2, 2], "f": 0.5, "s": "x"},
        ),
        (
            "timm:a?act=gelu&path=a/b.c&e=a%26b&v=1%2B1",
            "a",
            {"act": "gelu", "path": "a/b.c", "e": "a&b", "v": "1+1"},
        ),
        ("timm:a?v=", "a", {"v": ""}),
        ("timm:a?v=__import__('os').getcwd()", "a", {"v": "__import__('os').getcwd()"}),
        ("hf:folder/config.json?n=1", "folder/config.json", {"n": 1}),
        ("package.module:Outer.make", "Outer.make", {}),
    ],
)
def test_arguments(text: str, name: str, arguments: dict[str, Any]) -> None:
    found = parse(text)
    assert (found.name, found.arguments) == (name, arguments)


@pytest.mark.parametrize(
    "text", ["timm:a?n", "timm:a?=1", "timm:a?n=1&n=2", "timm:a?1=2", "timm:", "timm:?n=1"]
)
def test_arguments_that_are_none(text: str) -> None:
    with pytest.raises(eyeshot.EyeshotError, match="timm"):
        load(text)


@pytest.mark.parametrize(
    "text", ["timm:x", "torchvision:x", "hf:a/b.json", "a.b:c", "net:Net.make?x=1/2"]
)
def test_references(text: str) -> None:
    assert is_reference(text)


@pytest.mark.parametrize(
    "text",
    [
        "example:alexnet",
        "net.yaml",
        "C:\\nets\\net.yaml",
        "C:net",
        "a/b:c.yaml",
        "my net:x.yaml",
        "a:",
        ":b",
    ],
)
def test_other_sources(text: str) -> None:
    assert not is_reference(text)


# --- the zoos


@pytest.mark.parametrize(
    ("reference", "shape"),
    [
        ("torchvision:resnet18", (1, 3, 224, 224)),
        ("torchvision:inception_v3", (1, 3, 299, 299)),
        ("torchvision:vit_b_16?image_size=32", (1, 3, 32, 32)),
        ("torchvision:lraspp_mobilenet_v3_large", (1, 3, 520, 520)),
        ("torchvision:r3d_18", (1, 3, 16, 112, 112)),
        ("torchvision:ssdlite320_mobilenet_v3_large", (1, 3, 320, 320)),
        ("torchvision:fasterrcnn_mobilenet_v3_large_320_fpn", (1, 3, 320, 320)),
        (
            "torchvision:regnet_y_400mf",
            (1, 3, 224, 224),
        ),  # can't be built on the meta device as a whole
        ("timm:resnet18", (1, 3, 224, 224)),
        ("timm:resnet18.a1_in1k?in_chans=1", (1, 1, 224, 224)),
        ("timm:test_vit?img_size=64", (1, 3, 64, 64)),
        ("timm:test_vit?img_size=(64,32)", (1, 3, 64, 32)),
        ("timm:test_resnet?features_only=true", (1, 3, 160, 160)),
    ],
)
def test_zoos(reference: str, shape: tuple[int, ...]) -> None:
    module, title, default = load(reference)
    assert isinstance(module, torch.nn.Module) and not module.training
    assert default == shape
    assert title == reference.partition(":")[2]


def test_several_images() -> None:
    assert load("torchvision:raft_small")[2] == [(1, 3, 256, 256)] * 2


def test_weights_wait_and_tables_do_not() -> None:
    """What is drawn takes no memory; what is computed, and indexes by its numbers, is there."""
    module, _, _ = load("timm:swin_tiny_patch4_window7_224")
    assert all(
        p.is_meta for name, p in module.named_parameters() if name.endswith("weight") and p.ndim > 1
    )
    tables = [b for name, b in module.named_buffers() if name.endswith("relative_position_index")]
    assert tables and all(int(t.max()) == 168 for t in tables)
    real, _, _ = load("timm:swin_tiny_patch4_window7_224", real=True)
    assert not any(t.is_meta for t in (*real.parameters(), *real.buffers()))
    for one, other in zip(
        tables, [b for n, b in real.named_buffers() if n.endswith("_index")], strict=True
    ):
        assert torch.equal(one, other)


def test_real_weights_are_the_same_each_time() -> None:
    a, b = (load("timm:test_resnet", real=True)[0].state_dict() for _ in range(2))
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_nothing_in_the_interpreter_changes() -> None:
    import huggingface_hub.constants as hub

    torch.manual_seed(7), random.seed(7), np.random.seed(7)
    expected = torch.rand(1), random.random(), np.random.rand()
    torch.manual_seed(7), random.seed(7), np.random.seed(7)
    before = hub.HF_HUB_OFFLINE, torch.get_default_dtype(), list(sys.path)
    load("timm:test_resnet", real=True)
    with pytest.raises(eyeshot.EyeshotError):
        load("timm:test_resnet?foo=1")
    assert (torch.rand(1), random.random(), np.random.rand()) == expected
    assert (hub.HF_HUB_OFFLINE, torch.get_default_dtype(), list(sys.path)) == before
    assert torch.empty(1).device.type == "cpu"


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("torchvision:resnet51", "no model 'resnet51'; did you mean resnet50"),
        ("timm:convnext_tinny", "no model 'convnext_tinny'; did you mean convnext_tiny"),
        ("timm:hf-hub:someone/model", "no model"),
        ("torchvision:resnet18?num_clases=3", "unexpected keyword argument 'num_clases'"),
        ("timm:resnet18?num_clases=3", "num_clases"),
        ("torchvision:resnet18?weights=DEFAULT", "weights is refused: no weights are fetched"),
        ("torchvision:fcn_resnet50?weights_backbone=DEFAULT", "weights_backbone is refused"),
        ("timm:resnet18?pretrained=true", "pretrained is refused"),
        ("timm:resnet18?checkpoint_path=x.pth", "checkpoint_path is refused"),
        ("timm:test_vit?patch_size=0", "ZeroDivisionError"),
        ("torchvison:resnet50", "did you mean torchvision"),
    ],
)
def test_zoos_refuse(reference: str, message: str) -> None:
    with pytest.raises(eyeshot.EyeshotError) as caught:
        load(reference)
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"{reference}: ") and "\n" not in str(caught.value)


def test_no_weights_can_be_asked_for_politely() -> None:
    assert load("timm:test_resnet?pretrained=false")[0] is not None
    assert load("torchvision:resnet18?weights=null")[0] is not None


def test_a_model_that_needs_its_weights_as_data(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is built once more, in full."""
    import timm

    class Choosy(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = torch.nn.Conv2d(3, 3, 3, padding=1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            steps = 1 + int(self.conv.weight.abs().sum() > 0)
            for _ in range(steps):
                x = self.conv(x)
            return x

    monkeypatch.setattr(timm, "create_model", lambda *args, **kwargs: Choosy())
    assert eyeshot.analyze("timm:resnet18", input=(1, 3, 9, 9))[-1].size == (5, 5)


# --- transformers

SMALL = {
    "num_hidden_layers": 1,
    "hidden_size": 32,
    "num_attention_heads": 2,
    "intermediate_size": 64,
}


def config(folder: Path, **content: Any) -> str:
    path = folder / "config.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return f"hf:{path}"


@pytest.mark.parametrize(
    ("content", "inputs"),
    [
        ({"model_type": "bert", **SMALL}, [("input_ids", [1, 128], [1])]),
        (
            {"model_type": "bert", **SMALL, "max_position_embeddings": 64},
            [("input_ids", [1, 32], [1])],
        ),
        (
            {"model_type": "vit", **SMALL, "image_size": 32},
            [("pixel_values", [1, 3, 32, 32], [2, 3])],
        ),
        ({"model_type": "llama", **SMALL, "dtype": "bfloat16"}, [("input_ids", [1, 128], [1])]),
        ({"model_type": "wav2vec2", **SMALL}, [("input_values", [1, 16000], [1])]),
    ],
)
def test_configs(tmp_path: Path, content: dict[str, Any], inputs: list[Any]) -> None:
    report = eyeshot.analyze(config(tmp_path, **content))
    assert [(i["name"], i["shape"], i["axes"]) for i in report.inputs] == inputs
    assert report.title.lower().startswith(content["model_type"])


@pytest.mark.parametrize(
    ("content", "names"),
    [
        ({"model_type": "t5", "num_layers": 1, "d_model": 32}, ["input_ids", "decoder_input_ids"]),
        (
            {
                "model_type": "clip",
                "text_config": {"num_hidden_layers": 1},
                "vision_config": {"num_hidden_layers": 1},
            },
            ["input_ids", "pixel_values"],
        ),
        ({"model_type": "whisper", "encoder_layers": 1}, ["input_features", "decoder_input_ids"]),
        ({"model_type": "videomae", **SMALL}, ["pixel_values"]),
    ],
)
def test_configs_with_several_inputs(
    tmp_path: Path, content: dict[str, Any], names: list[str]
) -> None:
    _, _, default = load(config(tmp_path, **content))
    assert [slot.name for slot in default.slots] == names


def test_config_arguments_and_folders(tmp_path: Path) -> None:
    config(tmp_path, model_type="bert", **SMALL)
    module, title, _ = load(f"hf:{tmp_path}?num_hidden_layers=2")
    assert len(module.encoder.layer) == 2 and title == "BertModel" and not module.training


def test_a_config_fetches_and_runs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    (tmp_path / "modeling_evil.py").write_text(
        "raise SystemExit('code from the file ran')", encoding="utf-8"
    )
    module, _, _ = load(
        config(
            tmp_path,
            model_type="bert",
            auto_map={"AutoModel": "modeling_evil.Evil", "AutoConfig": "modeling_evil.Config"},
            attn_implementation="someone/kernel",
            quantization_config={"quant_method": "gptq", "bits": 4},
            **SMALL,
        )
    )
    assert type(module).__name__ == "BertModel"
    with pytest.raises(eyeshot.EyeshotError, match=r"config\.json: .*nothing is fetched"):
        load(
            config(
                tmp_path, model_type="detr", backbone="someone/backbone", use_timm_backbone=False
            )
        )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("\x00\x01", "not JSON"),
        ("[" * 100_000, "nested too deeply"),
        ("[]", "expected a transformers configuration"),
        ("{}", "model_type is missing"),
        ('{"model_type": "brt"}', "no model type 'brt'; did you mean"),
        ('{"model_type": 3}', "no model type 3"),
        ('{"model_type": ["bert"]}', "no model type"),
        ('{"model_type": "bert", "hidden_size": "wide"}', "hidden_size"),
        ('{"model_type": "bert", "hidden_size": 10, "num_attention_heads": 3}', "multiple"),
        ('{"model_type": "bert", "hidden_size": -8}', "config.json"),
        ('{"x": "' + "y" * (5 << 20) + '"}', "larger than 4 MiB"),
    ],
    ids=range(13),
)
def test_bad_configs(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "config.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(eyeshot.EyeshotError) as caught:
        load(f"hf:{path}")
    assert message in str(caught.value) and "config.json" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_config_that_is_not_there(tmp_path: Path) -> None:
    for name in ("nothing.json", str(tmp_path), "a\0b"):
        with pytest.raises(eyeshot.EyeshotError):
            load(f"hf:{name}")


# --- factories

FACTORIES = """
import sys
from torch import nn

class Net(nn.Module):
    def __init__(self, kernel=3, mode="plain"):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, kernel)
        self.mode = mode
    def forward(self, image):
        return self.conv(image)
    @classmethod
    def wide(cls):
        return cls(7)

ready = Net(5)
number = 3

def make(kernel=3):
    return Net(kernel)

def fails():
    raise ValueError("no\\nsuch luck")

def leaves():
    sys.exit("bye")

def nothing():
    pass
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current directory with modules of its own."""
    (tmp_path / "own_net.py").write_text(FACTORIES, encoding="utf-8")
    (tmp_path / "broken_net.py").write_text("raise RuntimeError('not today')", encoding="utf-8")
    (tmp_path / "leaving_net.py").write_text("import sys; sys.exit(3)", encoding="utf-8")
    (tmp_path / "needy_net.py").write_text("import a_package_that_is_missing", encoding="utf-8")
    (tmp_path / "syntax_net.py").write_text("def", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    for name in [name for name in sys.modules if name.endswith("_net")]:
        monkeypatch.delitem(sys.modules, name)
    return tmp_path


@pytest.mark.parametrize(
    ("reference", "size"),
    [
        ("own_net:Net", 3),
        ("own_net:Net?kernel=9", 9),
        ("own_net:make?kernel=1", 1),
        ("own_net:Net.wide", 7),
        ("own_net:ready", 5),
    ],
)
def test_factories(here: Path, reference: str, size: int) -> None:
    path = list(sys.path)
    report = eyeshot.analyze(reference, input=(1, 3, 16, 16))
    assert report["conv"].size == (size, size)
    assert report.inputs[0]["name"] == "image"
    assert sys.path == path


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("own_net:Nett", "own_net has no 'Nett'; did you mean Net"),
        ("own_net:Net.thin", "own_net.Net has no 'thin'"),
        ("own_net:number", "expected a module, a class or a function, got int"),
        ("own_net:nothing", "nothing returned None, not a PyTorch module"),
        ("own_net:fails", "calling fails raised ValueError: no such luck"),
        ("own_net:leaves", "calling leaves raised SystemExit: bye"),
        ("own_net:ready?kernel=3", "takes no arguments"),
        ("own_net:Net?kernal=3", "unexpected keyword argument 'kernal'"),
        ("own_nett:Net", "no Python module 'own_nett'; did you mean own_net"),
        ("own_net.py:Net", "did you mean own_net:Net?"),
        ("broken_net:Net", "importing broken_net raised RuntimeError: not today"),
        ("leaving_net:Net", "importing leaving_net raised SystemExit: 3"),
        ("needy_net:Net", "needy_net needs a_package_that_is_missing"),
        ("syntax_net:Net", "importing syntax_net raised SyntaxError"),
        ("own_net:Net", "what it is called with is not known; give an input"),
    ],
)
def test_factories_refuse(here: Path, reference: str, message: str) -> None:
    with pytest.raises(eyeshot.EyeshotError) as caught:
        eyeshot.analyze(reference)
    assert message in str(caught.value) and str(caught.value).startswith(f"{reference}: ")
    assert "\n" not in str(caught.value)


# --- packages that are not there


@pytest.mark.parametrize(
    ("reference", "missing", "message"),
    [
        ("timm:resnet18", "timm", "needs timm: pip install timm"),
        ("torchvision:resnet18", "torchvision", "needs torchvision: pip install torchvision"),
        ("hf:config.json", "transformers", "needs transformers: pip install transformers"),
        ("torchvision:resnet18", "torch", "needs torch: pip install 'eyeshot[torch]'"),
        ("net:Net", "torch", "needs torch: pip install 'eyeshot[torch]'"),
    ],
)
def test_missing_packages(reference: str, missing: str, message: str) -> None:
    """In an interpreter that lacks the package: one line, exit code 2."""
    code = f"import sys; sys.modules[{missing!r}] = None; sys.argv = ['eyeshot', 'show', {reference!r}]\n"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}from eyeshot.cli import main; main()"],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"eyeshot: {reference} {message}\n"


def test_a_module_is_its_own_source() -> None:
    net = torch.nn.ReLU()
    assert resolve(net) == (net, "ReLU", None)
