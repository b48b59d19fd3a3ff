"""The demo again on other made-up images: does its first sentence hold whatever the seed?

    python scripts/demo_seeds.py OUT docs/results/demo.csv

Runs `medstrata demo --seed N` for N from 1 to 5, about five minutes each on two cores, and writes
one row for each arm: mean AUROC with 5 % of the labels over four seeds and ten draws, and how much
that is over scratch, with its 95 % interval. Started again, it goes on.
"""

import csv
import sys
from pathlib import Path

from medstrata.studies.demo import demo
from medstrata.studies.study import Study

_SEEDS = range(1, 6)
_FRACTION = 0.05


def rows(out: Path) -> list[dict[str, object]]:
    """One row for each seed of the images and arm."""
    found: list[dict[str, object]] = []
    for seed in _SEEDS:
        study = Study(demo(out / str(seed), seed=seed).parent)
        chosen = "fraction == @_FRACTION and metric == 'macro_auroc'"
        over = study.differences().query(f"{chosen} and baseline == 'scratch'")
        gains = {gain["arm"]: gain for gain in over.to_dict("records")}
        for score in study.table().query(chosen).to_dict("records"):
            row = {"seed": seed, "arm": score["arm"], "auroc": f"{score['value']:.3f}"}
            if gain := gains.get(score["arm"]):
                row["over_scratch"] = f"{gain['difference']:.3f}"
                row |= {name: f"{gain[name]:.3f}" for name in ("low", "high")}
            found.append(row)
    return found


def main() -> None:
    """Run what is missing and write the table."""
    out, table = map(Path, sys.argv[1:])
    found = rows(out)
    with table.open("w", encoding="utf-8", newline="") as stream:
        columns = ("seed", "arm", "auroc", "over_scratch", "low", "high")
        writer = csv.DictWriter(stream, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(found)


if __name__ == "__main__":
    main()
