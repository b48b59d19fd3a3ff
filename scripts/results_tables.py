"""The tables of docs/results.md from what scripts/three_sets.py wrote.

    python scripts/results_tables.py OUT docs/results

Copies each set's scores to docs/results/<set>.csv and prints its tables in Markdown.
"""

import argparse
import json
from pathlib import Path

import pandas as pd

PRIMARY = "macro_auroc"
ARMS = ("scratch", "moco", "moco_mse", "moco_bt", "moco_cosine")


def table(scores: pd.DataFrame) -> str:
    """Arms by fractions: mean over seeds, (lowest to highest seed), [interval of the first]."""
    fractions = sorted(scores["fraction"].unique())
    first = scores[scores["arm"] == ARMS[0]].drop_duplicates(["fraction", "seed"])
    sizes = first.groupby("fraction")[["images", "patients"]].agg(["min", "max"])
    heads = [
        f"{fraction:.0%}: {_range(sizes.loc[fraction, 'images'])} images of "
        f"{_range(sizes.loc[fraction, 'patients'])} patients"
        for fraction in fractions
    ]
    lines = ["| arm | " + " | ".join(heads) + " |", "|---" * (len(heads) + 1) + "|"]
    for arm in ARMS:
        cells = []
        for fraction in fractions:
            part = scores[(scores["arm"] == arm) & (scores["fraction"] == fraction)]
            cells.append(_cell(part.sort_values("seed")))
        lines.append(f"| {arm} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _range(ends: pd.Series) -> str:
    low, high = int(ends["min"]), int(ends["max"])
    return str(low) if low == high else f"{low} to {high}"


def _cell(part: pd.DataFrame) -> str:
    if part.empty:
        return "not run"
    value, low, high = (part[name] for name in ("value", "low", "high"))
    seeds = f" ({value.min():.3f} to {value.max():.3f})" if len(part) > 1 else ""
    return f"{value.mean():.3f}{seeds} [{low.iloc[0]:.3f}, {high.iloc[0]:.3f}]"


def pretraining(folder: Path) -> str:
    """One line an arm: time, speed, and where the monitors stood at the end."""
    lines = [
        "| arm | steps | seconds | images a second | waiting for data | contrastive loss "
        "| effective rank | k-NN AUROC on validation |",
        "|---" * 8 + "|",
    ]
    for arm in ARMS[1:]:
        path = folder / "pretrain" / arm / "result.json"
        if not path.is_file():
            continue
        result = json.loads(path.read_text(encoding="utf-8"))
        final = result["final"]
        lines.append(
            f"| {arm} | {result['steps']} | {result['seconds']:.0f} "
            f"| {final['time']['samples_per_s']:.0f} | {final['time']['data_wait']:.2%} "
            f"| {final['contrastive']:.2f} | {final['effective_rank']['pooled']:.0f} "
            f"| {final['knn']['value']:.3f} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("keep", type=Path)
    arguments = parser.parse_args()
    arguments.keep.mkdir(parents=True, exist_ok=True)
    for folder in sorted(arguments.out.iterdir()):
        rows = [
            {
                "set": folder.name,
                "protocol": result["protocol"],
                "arm": result["arm"],
                "fraction": result["fraction"],
                "seed": result["seed"],
                "images": result["subset"]["images"],
                "patients": result["subset"]["patients"],
                "metric": metric,
                **interval,
                "seconds": round(result["seconds"], 1),
            }
            for path in sorted(folder.glob("f*/*/result.json"))
            for result in [json.loads(path.read_text(encoding="utf-8"))]
            for metric, interval in result["test"]["scores"].items()
        ]
        if not rows:
            continue
        scores = pd.DataFrame(rows)
        scores.to_csv(arguments.keep / f"{folder.name}.csv", index=False, float_format="%.4f")
        scores = scores[scores["metric"] == PRIMARY]
        print(f"### {folder.name}\n\n{pretraining(folder)}\n")
        for protocol, part in scores.groupby("protocol"):
            print(f"{protocol}, {PRIMARY}:\n\n{table(part)}\n")


if __name__ == "__main__":
    main()
