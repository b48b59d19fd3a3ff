"""Does every family of networks go through the whole job? One or more of each, small ones.

    python scripts/sweep_networks.py OUT docs/results/networks.csv

On made-up images of 64 pixels each network is pre-trained for two steps, fine-tuned whole and
frozen, exported for timm and ONNX, and predicts: each command in a process of its own, with a
limit on its time and 4 GiB of memory. One that does not take 64 pixels gets 96, or the size that
the refusal names, and the options that it proposes. Started again, it goes on; delete OUT/NAME.json
to have a network tried again. `--without onnx` leaves the slowest command out, to be tried later by
a call without it. The table stands in the CSV and, to be read, in a page of the same name (.md).
"""

import argparse
import csv
import json
import multiprocessing
import os
import re
import resource
import shutil
import sys
import time
import traceback
from collections import Counter
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

_NAMES = """
resnet10t coat_lite_tiny levit_128s fastvit_t8 repvgg_a0 efficientformer_l1 nest_tiny
pit_ti_224 visformer_tiny shvit_s1 deit_tiny_distilled_patch16_224 tf_efficientnet_lite0
mobilenetv3_small_050 swin_tiny_patch4_window7_224 cait_xxs24_224 vit_tiny_patch16_224
vit_small_patch14_dinov2 mobilenetv4_hybrid_medium botnet26t_256 convit_tiny convnext_atto
cpubone_nano crossvit_9_240 csatv2 cs3darknet_focus_s cspnext_tiny dla46x_c dpn48b edgenext_xx_small
efficientformerv2_s0 efficientvim_m1 efficientvit_b0 efficientvit_m0 eva02_tiny_patch14_224
fasternet_t0 gcvit_xxtiny ghostnet_050 hardcorenas_a hgnetv2_b0 hrnet_w18_small iformer_t
inception_next_atto lcnetv2_small lowformer_b0 mambaout_femto coatnet_pico_rw_224 poolformer_s12
gmlp_ti16_224 mobilevit_xxs nf_regnet_b0 pvt_v2_b0 regnetx_002 repghostnet_050 repvit_m0_9
resnest14d resnetv2_18 rexnet_100 selecsls42 legacy_seresnet18 skresnet18 starnet_s050
swiftformer_xs swinv2_tiny_window8_256 swinv2_cr_tiny_224 tiny_vit_5m_224 tnt_s_patch16_224
xcit_nano_12_p16_224 ese_vovnet19b_slim_dw vit_relpos_small_patch16_224 vit_tiny_r_s16_p8_224
densenet121 vitamin_small_224 volo_d1_224 twins_svt_small mvitv2_tiny rdnet_tiny res2net50_14w_8s
hiera_tiny_224 focalnet_tiny_srf davit_tiny convmixer_768_32 sequencer2d_s tresnet_m nextvit_small
legacy_xception xception41 sam2_hiera_tiny inception_v3 inception_v4 inception_resnet_v2 vgg11
pnasnet5large nasnetalarge qwen3_vit_88m_enc beit_base_patch16_224 samvit_base_patch16_224
naflexvit_base_patch16_gap mobilenetv5_base gemma4_vit_167m_enc
"""
COMMANDS = ("pretrain", "finetune", "frozen", "timm", "predict", "onnx")
_IMPORTED = (
    "medstrata.pretraining.loop",
    "medstrata.evaluation.finetune",
    "medstrata.exporting.export",
    "medstrata.inference.predict",
    "onnxscript",
)
_SIZE, _NEXT_SIZE, _IMAGES = 64, 96, 64
_SECONDS, _BYTES = 900, 4 << 30
_PROPOSED = re.compile(r"add (--[\w.]+) '(.+?)'")
_MADE_FOR = re.compile(r"does not take images of \d+ pixels .*made for (\d+)")
# Of a network that cannot be tried, what the command it rests on said stands in the table.
_RESTS_ON = {
    "finetune": "pretrain",
    "frozen": "pretrain",
    "timm": "pretrain",
    "onnx": "finetune",
    "predict": "finetune",
}


def make_store(out: Path) -> Path:
    """Made-up tissue, with labels and splits."""
    from medstrata.data.prepare.prepare import prepare
    from medstrata.data.prepare.settings import PrepareSettings
    from medstrata.data.synthetic.tissue import make_images

    store = out / "tissue.store"
    if not (store / "store.json").is_file():
        labels = out / "tissue" / "labels.csv"
        if not labels.is_file():
            make_images(out / "tissue", images=_IMAGES, images_per_patient=2, size=_SIZE)
        split = PrepareSettings(labels=labels, size=_SIZE, split="0.5/0.25/0.25")
        prepare(out / "tissue", store, split)
    return store


def words_of(command: str, network: str, size: int, store: Path, run: Path) -> list[str]:
    """A command as a user gives it."""
    tune = ["finetune", f"{run}", f"{store}", "--task", "finding"]
    brief = ["--epochs", "1", "--min-steps", "2", "--lr", "0.001", "--resamples", "20"]
    frozen = ["--protocol", "frozen", "--layer", "pooled", "--resamples", "20"]
    start = ["pretrain", f"{store}", "--recipe", "fair/moco_mse", "--backbone", network]
    sized = ["--views.size", f"{size}", "--steps", "2", "--batch-size", "8"]
    return {
        "pretrain": [*start, *sized, "--out", f"{run}"],
        "finetune": [*tune, *brief, "--batch-size", "8", "--out", f"{run}-full"],
        "frozen": [*tune, *frozen, "--out", f"{run}-frozen"],
        "timm": ["export", f"{run}", "--to", "timm", "--out", f"{run}-timm"],
        "onnx": ["export", f"{run}-full", "--to", "onnx", "--out", f"{run}-onnx"],
        "predict": ["predict", f"{run}-full", f"{store}", "--out", f"{run}-predictions.csv"],
    }[command]


def attempt(words: list[str], log: Path, answer: Connection) -> None:
    """Run a command, the whole of this process: what it came to, and its last line."""
    resource.setrlimit(resource.RLIMIT_DATA, (_BYTES, _BYTES))
    from medstrata.cli.main import main

    with log.open("a", encoding="utf-8") as stream:
        print("$ medstrata", *words, file=stream, flush=True)
        os.dup2(stream.fileno(), sys.stderr.fileno())
        os.dup2(stream.fileno(), sys.stdout.fileno())
    outcome = "ok"
    try:
        main(words)
    except SystemExit as left:
        outcome = "refused" if left.code else "ok"
    except BaseException:  # noqa: BLE001  (whatever it is, it is what is looked for)
        traceback.print_exc()
        outcome = "crashed"
    sys.stderr.flush()
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    answer.send((outcome, lines[-1]))


def outcome_of(words: list[str], log: Path) -> dict[str, Any]:
    """What a command came to in a process of its own."""
    context = multiprocessing.get_context("forkserver")  # what all need is imported once
    context.set_forkserver_preload(list(_IMPORTED))
    answer, child = context.Pipe(duplex=False)
    began = time.perf_counter()
    process = context.Process(target=attempt, args=(words, log, child))
    process.start()
    process.join(_SECONDS)
    seconds = round(time.perf_counter() - began, 1)
    if process.is_alive():
        process.kill()
        process.join()
        outcome, line = "killed", f"not done after {_SECONDS} s"
    elif answer.poll():
        outcome, line = answer.recv()
    else:
        outcome, line = "killed", f"ended by signal {-(process.exitcode or 0)}"
    return {"outcome": outcome, "line": line, "seconds": seconds}


def try_network(network: str, out: Path, store: Path, commands: Sequence[str]) -> dict[str, Any]:
    """Commands on one network; what a refusal proposes is taken once."""
    run, log = out / "runs" / network, out / f"{network}.log"
    shutil.rmtree(run.parent, ignore_errors=True)  # of the network before, up to gigabytes
    log.unlink(missing_ok=True)
    size, options = _SIZE, list[str]()
    found: dict[str, dict[str, Any]] = {}
    for command in commands:
        needed = found.get(_RESTS_ON.get(command, ""))
        if needed and needed["outcome"] != "ok":
            found[command] = {**needed, "seconds": 0}
            continue
        words = words_of(command, network, size, store, run)
        found[command] = outcome_of(words, log)
        while command == "pretrain" and found[command]["outcome"] == "refused":
            made_for = _MADE_FOR.search(found[command]["line"])
            proposed = _PROPOSED.search(found[command]["line"])
            if made_for and size in (_SIZE, _NEXT_SIZE):
                size = _NEXT_SIZE if size == _SIZE else int(made_for[1])
            elif proposed and not options:
                options = [proposed[1], proposed[2]]
            else:
                break
            words = words_of(command, network, size, store, run)
            found[command] = outcome_of([*words, *options], log)
    return {"size": size, "options": " ".join(options), "commands": found}


def sweep(out: Path, names: list[str], commands: Sequence[str]) -> None:
    """Every network that some command has not been tried on, one process at a time."""
    store = make_store(out)
    for network in names:
        record = out / f"{network}.json"
        tried = json.loads(record.read_text(encoding="utf-8")) if record.is_file() else {}
        if tried.get("commands", {}).keys() >= set(commands):
            continue
        found = try_network(network, out, store, commands)
        record.write_text(json.dumps(found, indent=1), encoding="utf-8")
        outcomes = [one["outcome"] for one in found["commands"].values()]
        print(f"{network}: {', '.join(outcomes)}", file=sys.stderr, flush=True)


def rows(out: Path, names: list[str]) -> list[dict[str, str]]:
    """One row for each network that was tried."""
    import timm

    table = []
    for network in names:
        record = out / f"{network}.json"
        if not record.is_file():
            continue
        found = json.loads(record.read_text(encoding="utf-8"))
        module = timm.model_entrypoint(network).__module__.rpartition(".")[2]
        row = {
            "network": network,
            "family": module,
            "pixels": str(found["size"]),
            "options": found["options"],
        }
        lines: list[str] = []
        for command in COMMANDS:
            one = found["commands"].get(command, {"outcome": "not tried", "line": ""})
            row[command] = one["outcome"]
            if (
                one["outcome"] not in ("ok", "not tried")
                and (line := one["line"].replace(f"{out}/", "")) not in lines
            ):
                lines.append(line)
        table.append({**row, "line": "; ".join(lines)})
    return table


def page(table: list[dict[str, str]]) -> str:
    """The table to be read, with the versions it was made with."""
    import timm
    import torch

    counted = Counter(row[command] for row in table for command in COMMANDS)
    families = len({row["family"] for row in table})
    words = ", ".join(f"{count} {outcome}" for outcome, count in counted.most_common())
    lines = [
        "# Networks that were tried",
        "",
        f"{len(table)} of timm's networks, of {families} families, each through {len(COMMANDS)} "
        f"commands ({words}): pre-trained for two steps by `fair/moco_mse`, fine-tuned whole and",
        "frozen, exported for timm, predicting, exported to ONNX. It says that they run, not what",
        "they are worth. Made by `python scripts/sweep_networks.py OUT docs/results/networks.csv`",
        f"with PyTorch {torch.__version__.partition('+')[0]} and timm {timm.__version__} on a CPU;",
        "4 GiB of memory for each command. `options` of the CSV are those that a refusal proposed.",
        "",
        f"| network | family | pixels | {' | '.join(COMMANDS)} |",
        "|---" * (3 + len(COMMANDS)) + "|",
    ]
    for row in table:
        cells = [f"`{row['network']}`", row["family"], row["pixels"]]
        lines.append(f"| {' | '.join([*cells, *(row[one] for one in COMMANDS)])} |")
    refused = [f"- `{row['network']}`: {row['line']}" for row in table if row["line"]]
    if refused:
        lines += ["", "## What was said where it was not ok", "", *refused]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Try what has not been tried, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("table", type=Path, nargs="?")
    parser.add_argument("--without", choices=COMMANDS, action="append", default=[])
    given = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # batches are too small for more
    out = given.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    names = _NAMES.split()
    sweep(out, names, [one for one in COMMANDS if one not in given.without])
    table = rows(out, names)
    if given.table:
        with given.table.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, list(table[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(table)
        given.table.with_suffix(".md").write_text(page(table), encoding="utf-8")


if __name__ == "__main__":
    main()
