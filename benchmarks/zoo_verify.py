"""``python -m benchmarks.zoo_verify``: prove the report on a sample of architectures by poisoning them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import eyeshot
from benchmarks.__main__ import renew
from benchmarks.tasks import FOLDER, Record, stamp
from benchmarks.zoo import carry_out, checked, chosen, parser, versions_of

__all__ = ["SAMPLE", "main", "measure"]

RESULTS = FOLDER / "zoo_verify.jsonl"
PROBES = 64
"""Input positions to poison in a model, about; each is a share of a batch."""

COUNTS = ("layers", "units", "probes", "ends", "pinned", "disagreements")

SAMPLE: dict[str, tuple[int, ...]] = {
    "torchvision:alexnet": (3, 96, 96),
    "torchvision:vgg11": (3, 64, 64),
    "torchvision:googlenet": (3, 64, 64),
    "torchvision:inception_v3": (3, 96, 96),
    "torchvision:resnet18": (3, 65, 97),
    "torchvision:resnext50_32x4d": (3, 64, 64),
    "torchvision:densenet121": (3, 64, 64),
    "torchvision:squeezenet1_0": (3, 64, 64),
    "torchvision:shufflenet_v2_x0_5": (3, 64, 64),
    "torchvision:mobilenet_v2": (3, 64, 64),
    "torchvision:mobilenet_v3_small": (3, 64, 64),
    "torchvision:mnasnet0_5": (3, 64, 64),
    "torchvision:efficientnet_b0": (3, 64, 64),
    "torchvision:regnet_y_400mf": (3, 64, 64),
    "torchvision:convnext_tiny": (3, 64, 64),
    "torchvision:swin_t": (3, 64, 64),
    "torchvision:swin_v2_t": (3, 64, 64),
    "torchvision:vit_b_16?image_size=64": (3, 64, 64),
    "torchvision:fcn_resnet50": (3, 64, 64),
    "torchvision:deeplabv3_mobilenet_v3_large": (3, 64, 64),
    "torchvision:lraspp_mobilenet_v3_large": (3, 64, 64),
    "torchvision:r3d_18": (3, 8, 48, 48),
    "torchvision:r2plus1d_18": (3, 8, 48, 48),
    "torchvision:swin3d_t": (3, 4, 64, 64),
    "timm:convnextv2_atto": (3, 64, 64),
    "timm:efficientformer_l1": (3, 224, 224),
    "timm:efficientformerv2_s0?img_size=64": (3, 64, 64),
    "timm:levit_128s?img_size=64": (3, 64, 64),
    "timm:pit_ti_224?img_size=64": (3, 64, 64),
    "timm:poolformer_s12": (3, 64, 64),
    "timm:caformer_s18": (3, 64, 64),
    "timm:coatnet_pico_rw_224?img_size=64": (3, 64, 64),
    "timm:maxvit_nano_rw_256?img_size=64": (3, 64, 64),
    "timm:hrnet_w18_small": (3, 64, 64),
    "timm:dla34": (3, 64, 64),
    "timm:dpn68": (3, 64, 64),
    "timm:ese_vovnet19b_slim": (3, 64, 64),
    "timm:res2net50_14w_8s": (3, 64, 64),
    "timm:resnest14d": (3, 64, 64),
    "timm:skresnet18": (3, 64, 64),
    "timm:eca_nfnet_l0": (3, 64, 64),
    "timm:halonet26t": (3, 256, 256),
    "timm:botnet26t_256?img_size=64": (3, 64, 64),
    "timm:lambda_resnet26t": (3, 64, 64),
    "timm:bat_resnext26ts": (3, 256, 256),
    "timm:edgenext_xx_small": (3, 64, 64),
    "timm:fastvit_t8": (3, 64, 64),
    "timm:mobilevit_xxs": (3, 64, 64),
    "timm:mobilevitv2_050": (3, 64, 64),
    "timm:mobileone_s0": (3, 64, 64),
    "timm:repvgg_a0": (3, 64, 64),
    "timm:repvit_m0_9": (3, 64, 64),
    "timm:ghostnet_050": (3, 64, 64),
    "timm:hardcorenas_a": (3, 64, 64),
    "timm:tinynet_e": (3, 64, 64),
    "timm:mixnet_s": (3, 64, 64),
    "timm:xception41": (3, 64, 64),
    "timm:inception_v4": (3, 96, 96),
    "timm:inception_resnet_v2": (3, 96, 96),
    "timm:nasnetalarge": (3, 64, 64),
    "timm:selecsls42": (3, 64, 64),
    "timm:cait_xxs24_224?img_size=64": (3, 64, 64),
    "timm:deit_tiny_distilled_patch16_224?img_size=64": (3, 64, 64),
    "timm:beit_base_patch16_224?img_size=64": (3, 64, 64),
    "timm:eva02_tiny_patch14_224?img_size=70": (3, 70, 70),
    "timm:volo_d1_224?img_size=64": (3, 64, 64),
    "timm:twins_svt_small?img_size=64": (3, 64, 64),
    "timm:twins_pcpvt_small?img_size=64": (3, 64, 64),
    "timm:xcit_nano_12_p8_224?img_size=64": (3, 64, 64),
    "timm:gcvit_xxtiny?img_size=128": (3, 128, 128),
    "timm:nest_tiny?img_size=128": (3, 128, 128),
    "timm:focalnet_tiny_srf": (3, 64, 64),
    "timm:davit_tiny": (3, 64, 64),
    "timm:hiera_tiny_224?img_size=64": (3, 64, 64),
    "timm:pvt_v2_b0": (3, 64, 64),
    "timm:mvitv2_tiny?img_size=64": (3, 64, 64),
    "timm:tresnet_m": (3, 64, 64),
    "timm:visformer_tiny?img_size=64": (3, 64, 64),
    "timm:starnet_s1": (3, 64, 64),
    "timm:efficientvit_b0": (3, 64, 64),
    "timm:efficientvit_m0?img_size=64": (3, 64, 64),
    "timm:sequencer2d_s": (3, 64, 64),
    "timm:mixer_s32_224?img_size=64": (3, 64, 64),
    "timm:resmlp_12_224?img_size=64": (3, 64, 64),
    "timm:gmixer_12_224?img_size=64": (3, 64, 64),
    "timm:convmixer_768_32": (3, 64, 64),
    "timm:nextvit_small": (3, 64, 64),
    "timm:inception_next_atto": (3, 64, 64),
    "timm:coat_tiny?img_size=64": (3, 64, 64),
    "timm:tiny_vit_5m_224": (3, 64, 64),
    "timm:shvit_s1": (3, 64, 64),
    "timm:swiftformer_xs": (3, 64, 64),
    "timm:mambaout_femto": (3, 64, 64),
}
"""One architecture of each family, and an input [channels, *sides] that is small."""


def made_with(task: str) -> dict[str, str]:
    """The versions that a record depends on."""
    return stamp("torch", task.partition(":")[0])


def measure(task: str) -> Record:
    """Poison one model at sampled units, and compare; in a worker."""
    import torch

    torch.set_num_threads(1)
    done = eyeshot.verify(task, (1, *SAMPLE[task]), probes=PROBES, seed=0)
    return outcome(done)


def outcome(done: eyeshot.Verification) -> Record:
    """What a table needs of a comparison."""
    return {
        "status": "agreed" if done.ok else "disagreed",
        "dtype": done.dtype,
        "layers": len(done.layers),
        "units": done.units,
        "probes": done.probes,
        "passes": done.passes,
        "ends": done.ends,
        "pinned": done.pinned,
        "bounds": done.bounds,
        "not_shown": done.not_shown,
        "disagreements": sum(d.units for d in done.disagreements),
        "first": [" ".join(str(d).split())[:300] for d in done.disagreements[:3]],
        "seconds": done.seconds,
    }


def table(records: Sequence[Record]) -> str:
    """Totals, and one row an architecture."""
    compared = [r for r in records if r["status"] != "failed"]
    sums = {name: sum(r[name] for r in compared) for name in COUNTS}
    wrong, failed = sums["disagreements"], len(records) - len(compared)
    lines = [
        f"{len(compared):,} architectures, {sums['layers']:,} layers, {sums['units']:,} units, "
        f"{sums['probes']:,} probes, {sums['pinned']:,} of {sums['ends']:,} ends of exact hulls placed to the "
        f"position: {wrong or 'no'} disagreement{'s' * (wrong != 1)}"
        + (f"; {failed} could not be compared." if failed else "."),
        "",
        "| model | input | layers | units | probes | ends placed | |",
        "|---|---|---:|---:|---:|---:|---|",
    ]
    for record in records:
        task = record["task"]
        size = "×".join(map(str, SAMPLE[task]))
        if record["status"] == "failed":
            lines.append(
                f"| {task} | {size} | | | | | failed: {record['error'].replace('|', '/')} |"
            )
            continue
        wrong = record["disagreements"]
        verdict = "agrees" if not wrong else f"{wrong} units disagree: {record['first'][0]}"
        ends = f"{record['pinned'] / max(1, record['ends']):.0%}"
        counts = " | ".join(f"{record[name]:,}" for name in ("layers", "units", "probes"))
        lines.append(f"| {task} | {size} | {counts} | {ends} | {verdict} |")
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is asked for; 1 where a model disagrees or could not be compared."""
    made = parser(
        "benchmarks.zoo_verify",
        "Poison a fixed sample of architectures at reduced sizes and compare with the report.",
        RESULTS,
    )
    options = made.parse_args(arguments)
    limits = checked(made, options)
    every = chosen(list(SAMPLE), options)
    if not every:
        made.error("no model of the sample has such a name")
    records = carry_out(every, "benchmarks.zoo_verify:measure", options, limits, made_with)
    text = f"With {versions_of(records)}.\n\n{table(records)}"
    print(text)
    if options.write:
        if len(records) < len(every):
            made.error(f"--write: {len(every) - len(records)} models have no result yet")
        renew(Path(options.write), {"verify": text})
    return int(any(r["status"] != "agreed" for r in records))


if __name__ == "__main__":
    sys.exit(main())
