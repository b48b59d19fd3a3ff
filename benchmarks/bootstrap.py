"""Bootstrap interval of macro AUROC: one pass over all resamples against looping scikit-learn.

    python benchmarks/bootstrap.py [--quick]

A multilabel task of the size of ChestX-ray14's test part: 14 labels, 25,596 images, 2,797 patients,
scores with three decimals. Everything runs in turns in one thread, measured in processor time.
Times are per resample: ours is the whole interval (checks, point value, counts, quantiles) divided
by its resamples; the loop takes the first few of the same resamples, since each costs it the same.
"""

import time

import numpy as np
from sklearn.metrics import roc_auc_score

from harness import Result, held_memory, interleave, measure_and_keep, spread, spread_of_ratio
from medstrata.metrics.intervals import bootstrap_interval
from medstrata.metrics.metric import METRICS
from medstrata.metrics.resampling import Resamples
from section import Section, Target, processor, ratio

OURS = "medstrata, all resamples at once"
COPIES = "scikit-learn, resampled copies"
WEIGHTS = "scikit-learn, sample_weight"
LABELS, RESAMPLES = 14, 500


def measure(quick: bool) -> Result:
    images, patients, looped, repeats = (2000, 300, 2, 2) if quick else (25_596, 2_797, 5, 7)
    generator = np.random.default_rng(0)
    prevalence = np.geomspace(0.0034, 0.24, LABELS)  # about those of the rarest and commonest label
    target = (generator.random((images, LABELS)) < prevalence).astype(np.float32)
    logits = generator.normal(size=target.shape) + 1.2 * target
    probability = np.round(1 / (1 + np.exp(-logits)), 3)
    patient = np.concatenate(
        [np.arange(patients), generator.integers(patients, size=images - patients)]
    )
    counts = np.random.Generator(np.random.PCG64(0)).multinomial(
        patients, np.full(patients, 1 / patients), size=looped
    )
    weights = counts[:, patient]

    def ours() -> object:
        return bootstrap_interval(
            "macro_auroc", target, probability, "multilabel", patient, resamples=RESAMPLES, seed=0
        )

    def copies() -> list[float]:
        rows = (np.repeat(np.arange(images), row) for row in weights)
        return [roc_auc_score(target[some], probability[some]) for some in rows]

    def weighted() -> list[float]:
        return [roc_auc_score(target, probability, sample_weight=row) for row in weights]

    before = held_memory("VmHWM")
    ours()
    memory = 1024 * (held_memory("VmHWM") - before)
    found = METRICS["macro_auroc"](target, probability, "multilabel", Resamples(counts, patient))
    difference = float(np.abs(found - copies()).max())
    assert difference < 1e-12, f"the two disagree by {difference}"
    tasks = {OURS: ours, COPIES: copies, WEIGHTS: weighted}
    seconds = interleave(tasks, repeats, clock=time.process_time)
    repeated = {OURS: RESAMPLES, COPIES: looped, WEIGHTS: looped}
    each = {name: [run / repeated[name] for run in runs] for name, runs in seconds.items()}
    return {
        "images": images,
        "patients": patients,
        "labels": LABELS,
        "resamples": RESAMPLES,
        "looped": looped,
        "repeats": repeats,
        "largest_difference": difference,
        "peak_memory_of_ours_mib": memory,
        "interval_s": spread(seconds[OURS]),
        "rows": {name: {"ratio": spread_of_ratio(runs, each[OURS])} for name, runs in each.items()},
    }


def section(results: list[Result]) -> Section:
    """One paragraph: a single interval has no table."""
    found = results[-1]
    copies, weights = (found["rows"][name]["ratio"] for name in (COPIES, WEIGHTS))
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
    on = processor(found["environment"])
    targets = [
        Target(f"{what}time({name}) / time(ours)", 40, times["median"], "x", on)
        for name, times in ((COPIES, copies), (WEIGHTS, weights))
    ]
    return Section("Bootstrap intervals", text, targets)


def main() -> None:
    measure_and_keep("bootstrap", __doc__, measure, section)


if __name__ == "__main__":
    main()
