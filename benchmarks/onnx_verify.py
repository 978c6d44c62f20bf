"""``python -m benchmarks.onnx_verify``: prove the report on ONNX files by poisoning them in onnxruntime."""

from __future__ import annotations

import io
import logging
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.__main__ import renew
from benchmarks.onnx_files import LIGHT, light
from benchmarks.tasks import FOLDER, Record, stamp
from benchmarks.zoo import carry_out, checked, chosen, parser, versions_of
from benchmarks.zoo_verify import outcome

__all__ = ["SAMPLE", "main", "measure"]

RESULTS = FOLDER / "onnx_verify.jsonl"
PROBES = 96
"""Input positions to poison in a model, at most."""

COUNTS = ("layers", "units", "probes", "ends", "pinned", "not_shown", "disagreements")

SAMPLE: dict[str, tuple[int, ...]] = {
    "alexnet": (3, 224, 224),
    "vgg16": (3, 224, 224),
    "googlenet": (3, 64, 64),
    "inception_v3": (3, 96, 96),
    "resnet18": (3, 65, 97),
    "resnet50": (3, 64, 96),
    "resnet152": (3, 64, 64),
    "resnext50_32x4d": (3, 64, 64),
    "densenet121": (3, 64, 64),
    "squeezenet1_0": (3, 64, 64),
    "shufflenet_v2_x0_5": (3, 64, 64),
    "mobilenet_v2": (3, 64, 64),
    "mobilenet_v3_small": (3, 64, 64),
    "mnasnet0_5": (3, 64, 64),
    "efficientnet_b0": (3, 64, 64),
    "regnet_y_400mf": (3, 64, 64),
    "convnext_tiny": (3, 64, 64),
    "swin_t": (3, 64, 64),
    "swin_v2_t": (3, 64, 64),
    "vit_b_16?image_size=64": (3, 64, 64),
    "fcn_resnet50": (3, 64, 64),
    "deeplabv3_mobilenet_v3_large": (3, 64, 64),
    "lraspp_mobilenet_v3_large": (3, 64, 64),
    "r3d_18": (3, 8, 48, 48),
    "r2plus1d_18": (3, 8, 48, 48),
}
"""Networks of torchvision, exported, and an input [channels, *sides] that is small."""

OPSET = 17


def made_with(task: str) -> dict[str, str]:
    """The versions that a record depends on."""
    exported = ("torch", "torchvision") if task.startswith("torchvision") else ()
    return stamp("onnx", "onnxruntime", *exported)


def file(task: str) -> Any:
    """The model of a task: a path, or the content of a file."""
    kind, _, name = task.partition(":")
    if kind == "light":
        return light(name)
    import torch

    from eyeshot.frontends.references import load

    module, _, _ = load(task, True)
    content = io.BytesIO()
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module.eval(), (torch.zeros(1, *SAMPLE[name]),), content, dynamo=False,
            opset_version=OPSET, input_names=["x"],
        )  # fmt: skip
    return content.getvalue()


def measure(task: str) -> Record:
    """Poison one model at sampled units, and compare; in a worker."""
    import eyeshot

    done = eyeshot.verify(file(task), probes=PROBES, seed=0)
    return outcome(done)


def table(records: Sequence[Record]) -> str:
    """Totals, and one row a model."""
    compared = [r for r in records if r["status"] != "failed"]
    sums = {name: sum(r[name] for r in compared) for name in COUNTS}
    wrong, failed = sums["disagreements"], len(records) - len(compared)
    lines = [
        f"{len(compared):,} models, {sums['layers']:,} layers, {sums['units']:,} units, "
        f"{sums['probes']:,} probes, {sums['pinned']:,} of {sums['ends']:,} ends of exact hulls placed to the "
        f"position, {sums['not_shown']:,} not shown: {wrong or 'no'} disagreement{'s' * (wrong != 1)}"
        + (f"; {failed} could not be compared." if failed else "."),
        "",
        "| model | layers | units | probes | in | ends placed | |",
        "|---|---:|---:|---:|---|---:|---|",
    ]
    for record in records:
        task = record["task"]
        if record["status"] == "failed":
            lines.append(f"| {task} | | | | | | failed: {record['error'].replace('|', '/')} |")
            continue
        wrong = record["disagreements"]
        verdict = "agrees" if not wrong else f"{wrong} units disagree: {record['first'][0]}"
        ends = f"{record['pinned'] / max(1, record['ends']):.0%}"
        counts = " | ".join(f"{record[name]:,}" for name in ("layers", "units", "probes"))
        lines.append(f"| {task} | {counts} | {record['dtype']} | {ends} | {verdict} |")
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is asked for; 1 where a model disagrees or could not be compared."""
    made = parser(
        "benchmarks.onnx_verify",
        "Poison the graphs that the onnx package ships, and exported networks, and compare with the report.",
        RESULTS,
    )
    made.set_defaults(jobs=1, timeout=1800)
    options = made.parse_args(arguments)
    limits = checked(made, options)
    every = chosen(
        [*(f"light:{name}" for name in LIGHT), *(f"torchvision:{name}" for name in SAMPLE)], options
    )
    if not every:
        made.error("no model has such a name")
    records = carry_out(every, "benchmarks.onnx_verify:measure", options, limits, made_with)
    text = f"With {versions_of(records)}.\n\n{table(records)}"
    print(text)
    if options.write:
        if len(records) < len(every):
            made.error(f"--write: {len(every) - len(records)} models have no result yet")
        renew(Path(options.write), {"onnx_verify": text})
    return int(any(r["status"] != "agreed" for r in records))


if __name__ == "__main__":
    sys.exit(main())
