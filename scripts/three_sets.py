"""The whole job on three real data sets: five arms, three label fractions, several seeds.

    python scripts/three_sets.py DATA OUT [--sets cxr_kermany ...] [--seeds 3]

DATA holds one folder a set, each with `images/` and `labels.csv`; OUT gets stores, runs and one
report a set. Finished runs are skipped, so that a cut run goes on with the same command. A small
network, small images and few epochs, for a machine with two CPU cores; docs/results.md has what
came out.
"""

import argparse
from dataclasses import dataclass, replace
from pathlib import Path

from medstrata.console import say
from medstrata.data.prepare import prepare
from medstrata.data.store import Store
from medstrata.finetuning import finetune
from medstrata.pretraining import pretrain
from medstrata.recipes import recipe
from medstrata.report.page import write_report
from medstrata.settings import FinetuneSettings
from medstrata.view_settings import ViewSettings, mild, moco_v2

SIZE, BACKBONE = 64, "resnet10t"
ARMS = ("moco", "moco_mse", "moco_bt", "moco_cosine")
FRACTIONS = (0.01, 0.1, 1.0)


@dataclass(frozen=True)
class DataSet:
    """One set: its label columns, its question, and the views that suit its images."""

    labels: tuple[str, ...]
    task: str
    vertical_flip: float  # tissue has no upright; a chest and a fundus do


SETS = {
    "cxr_kermany": DataSet(("subtype",), "subtype: virus vs bacteria", 0.0),
    "histo_prostate_gleason": DataSet(("label",), "label", 0.5),
    "fundus_odir": DataSet(("label",), "label", 0.0),
}


def views(base: ViewSettings, vertical_flip: float) -> ViewSettings:
    return replace(base, vertical_flip=vertical_flip)


def pretrain_arms(store: Store, chosen: DataSet, out: Path, epochs: int) -> dict[str, str]:
    encoders = {"scratch": "scratch"}
    for arm in ARMS:
        settings = recipe(
            f"fair/{arm}",
            backbone=BACKBONE,
            epochs=epochs,
            batch_size=128,
            knn_task=chosen.task,
            views=views(moco_v2(0), chosen.vertical_flip),
            contrastive={"momentum": 0.99, "queue_size": 4096},
            optimizer={"lr": 0.12},
            intermediate=(
                {"projector_size": 512, "on_weight": 1 / 512, "off_weight": 0.0051 / 512}
                if arm == "moco_bt"
                else {}
            ),
        )
        encoders[arm] = str(pretrain(store, settings, out / "pretrain" / arm, resume=True))
    return encoders


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--sets", nargs="+", choices=list(SETS), default=list(SETS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=4, help="pre-training epochs")
    arguments = parser.parse_args()
    for name in arguments.sets:
        run_set(name, arguments.data / name, arguments.out / name, arguments)


def run_set(name: str, data: Path, out: Path, arguments: argparse.Namespace) -> None:
    chosen = SETS[name]
    out.mkdir(parents=True, exist_ok=True)
    store = prepare(
        data / "images",
        out / f"{name}.store",
        labels=data / "labels.csv",
        size=SIZE,
        label_columns=list(chosen.labels),
        split="fold:test=0,val=1",
    )
    encoders = pretrain_arms(store, chosen, out, arguments.epochs)
    for protocol, epochs in (("frozen", 1), ("full", 3)):
        for seed in range(arguments.seeds):
            for fraction in FRACTIONS:
                if protocol == "full" and seed > 0:
                    continue  # on two cores, several seeds are for the cheap protocol
                for arm, encoder in encoders.items():
                    finetune(
                        encoder,
                        store,
                        chosen.task,
                        fraction,
                        out / protocol / f"{arm}-{fraction:g}-{seed}",
                        FinetuneSettings(
                            protocol=protocol,
                            epochs=epochs,
                            min_steps=10,
                            seed=seed,
                            subset_seed=seed,
                            views=views(mild(0), chosen.vertical_flip),
                        ),
                        backbone=BACKBONE,
                        resume=True,
                    )
    say(f"report in {write_report([out], out / 'report.html', f'{name}: low-label evaluation')}")


if __name__ == "__main__":
    main()
