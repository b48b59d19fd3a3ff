"""Bootstrap interval of macro AUROC: one pass over all resamples against looping scikit-learn.

    python benchmarks/bootstrap.py [--quick]

A multilabel task of the size of ChestX-ray14's test part: 14 labels, 25,596 images, 2,797 patients,
scores with three decimals. Everything runs in turns in one thread, measured in processor time.
Times are per resample: ours is the whole interval (checks, point value, draws, quantiles) divided
by its resamples; the loop takes the first few of the same resamples, since each costs it the same.
"""

import argparse
import resource
import time
from importlib.metadata import version
from typing import Any

import numpy as np
from sklearn.metrics import roc_auc_score

from harness import Section, Target, interleave, read_result, spread, write_result
from medstrata.metrics.intervals import METRICS, bootstrap_interval
from medstrata.metrics.resampling import Draws
from wording import ratio

OURS = "medstrata, all resamples at once"
COPIES = "scikit-learn, resampled copies"
WEIGHTS = "scikit-learn, sample_weight"
LABELS, IMAGES, PATIENTS = 14, 25_596, 2_797


def peak_memory_mib() -> float:
    """Highest resident memory of this process so far (Linux counts in KiB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(
    images: int, patients: int, resamples: int, looped: int, repeats: int
) -> dict[str, Any]:
    generator = np.random.default_rng(0)
    prevalence = np.geomspace(0.0034, 0.24, LABELS)  # about those of the rarest and commonest label
    target = (generator.random((images, LABELS)) < prevalence).astype(np.float32)
    logits = generator.normal(size=target.shape) + 1.2 * target
    probability = np.round(1 / (1 + np.exp(-logits)), 3)
    patient = np.concatenate(
        [np.arange(patients), generator.integers(patients, size=images - patients)]
    )
    draws = np.random.Generator(np.random.PCG64(0)).multinomial(
        patients, np.full(patients, 1 / patients), size=looped
    )
    weights = draws[:, patient]

    def ours() -> object:
        return bootstrap_interval(
            "macro_auroc", target, probability, "multilabel", patient, resamples=resamples, seed=0
        )

    def copies() -> list[float]:
        rows = (np.repeat(np.arange(images), row) for row in weights)
        return [roc_auc_score(target[some], probability[some]) for some in rows]

    def weighted() -> list[float]:
        return [roc_auc_score(target, probability, sample_weight=row) for row in weights]

    before = peak_memory_mib()
    ours()
    memory = peak_memory_mib() - before
    found = METRICS["macro_auroc"](target, probability, "multilabel", Draws(draws, patient))
    difference = float(np.abs(found - copies()).max())
    assert difference < 1e-12, f"the two disagree by {difference}"
    tasks = {OURS: ours, COPIES: copies, WEIGHTS: weighted}
    seconds = interleave(tasks, repeats, clock=time.process_time)
    counts = {OURS: resamples, COPIES: looped, WEIGHTS: looped}
    each = {name: [run / counts[name] for run in runs] for name, runs in seconds.items()}
    return {
        "largest_difference": difference,
        "peak_memory_of_ours_mib": memory,
        "interval_s": spread(seconds[OURS]),
        "rows": {
            name: {
                "resamples_timed": counts[name],
                "ms_per_resample": spread([1000 * run for run in runs]),
                # How many times as long as ours, run by run.
                "ratio": spread([run / one for run, one in zip(runs, each[OURS], strict=True)]),
            }
            for name, runs in each.items()
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Bootstrap interval of macro AUROC.")
    parser.add_argument("--quick", action="store_true", help="a trial: few images, nothing written")
    quick = parser.parse_args().quick
    settings = {
        "images": 2000 if quick else IMAGES,
        "patients": 300 if quick else PATIENTS,
        "resamples": 500,
        "looped": 2 if quick else 5,
        "repeats": 3 if quick else 7,
    }
    result = measure(**settings)
    print(f"{'':36}{'ms per resample':>16}{'times ours':>12}{'lowest - highest':>20}")
    for name, row in result["rows"].items():
        ratio = row["ratio"]
        ends = f"{ratio['lowest']:.1f} - {ratio['highest']:.1f}"
        each = row["ms_per_resample"]["median"]
        print(f"{name:36}{each:16.2f}{ratio['median']:12.1f}{ends:>20}")
    whole, memory = result["interval_s"]["median"], result["peak_memory_of_ours_mib"]
    print(
        f"one interval of {settings['resamples']} resamples: {whole:.2f} s, {memory:.0f} MiB more"
    )
    if quick:
        return
    about = {
        "labels": LABELS,
        "clock": "processor time, one thread",
        "scikit_learn": version("scikit-learn"),
    }
    print(f"\nwritten to {write_result('bootstrap', settings | about | result)}")


def section() -> Section:
    """Of docs/performance.md."""
    found = read_result("bootstrap")
    rows = {name: row["ratio"] for name, row in found["rows"].items()}
    copies, weights = rows[COPIES], rows[WEIGHTS]
    text = (
        f"`python benchmarks/bootstrap.py`: {found['resamples']} resamples of "
        f"{found['patients']:,} patients, {found['labels']} labels, {found['images']:,} images, "
        f"macro AUROC, one thread, processor time, {found['repeats']} turns. Ours takes "
        f"{found['interval_s']['median']:.2f} s and {found['peak_memory_of_ours_mib']:.0f} MiB "
        "beyond the data. A loop over scikit-learn on resampled copies takes "
        f"{ratio(copies, 0)} times as long per resample, with `sample_weight` "
        f"{ratio(weights, 0)} times; it is timed on {found['looped']} resamples a turn. The "
        f"largest difference to scikit-learn is {found['largest_difference']:.1e}. Each label is "
        "sorted once for all resamples. A resample is a byte a patient, and its running sums are "
        "whole numbers, which add up several times as fast as floats, and exactly."
    )
    what = f"bootstrap interval, {found['labels']} labels, {found['images']:,} images: "
    targets = [
        Target(f"{what}time({name}) / time(ours)", 40, times["median"], "x")
        for name, times in ((COPIES, copies), (WEIGHTS, weights))
    ]
    return Section("Bootstrap intervals", text, targets)


if __name__ == "__main__":
    main()
