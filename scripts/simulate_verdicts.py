"""How often a study calls a difference significant, by the rule of the report and by others.

    python scripts/simulate_verdicts.py [--studies 2000] [--keep]

Made-up studies whose truth is known: two arms of S seeds, each scored at D label draws that both
arms share, on the same n test patients, four in ten of them ill. The true AUROC of a run is .70,
plus what its seed adds, plus what its draw adds to both arms, to its arm and to this run (the last
two with half the first's deviation). A patient's score is normal; of its variance one half is the
patient's in every run, the rest the arm's, the seed's, the draw's or the run's. Without a true gain
every significant difference is an error; 3 to 7 in 100 is the aim, for a test at 5 %. With a gain
of .05 the interval should hold it in 93 to 97 %.

Patients are not resampled here: each patient's influence on an AUROC (Efron 1982, The Jackknife,
the Bootstrap and Other Resampling Plans, section 6.2) stands for it, which gives the variance that
resamples have on average.

--keep writes docs/results/verdicts.json; the table in docs/start/concepts/intervals.md is printed.

Shape letters: S seeds, D label draws, N patients.
"""

import argparse
import json
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from medstrata.metrics.paired_difference import Difference, paired_difference

Floats = NDArray[np.float64]

KEPT = Path(__file__).parents[1] / "docs" / "results" / "verdicts.json"
AUROC, GAIN, ILL = 0.70, 0.05, 0.4
# Shares of a score's variance: the patient's in every run, in an arm, of a seed, a draw, a run.
SHARES = {"all": 0.5, "arm": 0.1, "seed": 0.15, "draw": 0.1, "run": 0.15}
RESAMPLES = 400
CHOSEN = "variance sum, t"

Row = dict[str, Any]  # the setting, then what was counted without a gain and with one


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What a made-up study is like; deviations are those of true AUROCs."""

    seeds: int
    draws: int
    patients: int
    seed_deviation: float
    draw_deviation: float


class Arm(NamedTuple):
    """AUROC of each run, (S, D), and how far each patient moves it, (S, D, N)."""

    scores: Floats
    influence: Floats


class Outcome(NamedTuple):
    """An estimate of the gain, the interval's ends, and the p-value."""

    low: float
    high: float
    p_value: float


def settings() -> Iterator[Setting]:
    """Every setting of the table."""
    for seeds, draws, patients, seed, draw in product(
        (3, 5), (5, 20), (100, 300), (0.0, 0.01, 0.03, 0.05), (0.03, 0.08)
    ):
        yield Setting(
            seeds=seeds, draws=draws, patients=patients, seed_deviation=seed, draw_deviation=draw
        )


def simulate(setting: Setting, gain: float, generator: np.random.Generator) -> tuple[Arm, Arm]:
    """One study; the first arm is better by `gain`."""
    seeds, draws, patients = setting.seeds, setting.draws, setting.patients
    ill = np.arange(patients) < round(ILL * patients)

    def deviations(deviation: float, *shape: int) -> Floats:
        return np.asarray(deviation * generator.normal(size=shape))

    def noise(share: str, *shape: int) -> Floats:
        return deviations(SHARES[share] ** 0.5, *shape, patients)

    draw, own = setting.draw_deviation, setting.draw_deviation / 2
    both = noise("all") + noise("draw", draws)
    of_draws = deviations(draw, draws)
    arms = []
    for better in (gain, 0.0):
        true = AUROC + better + of_draws + deviations(own, draws) + deviations(own, seeds, draws)
        true = np.clip(true + deviations(setting.seed_deviation, seeds, 1), 0.03, 0.97)
        scores = both + noise("arm") + noise("seed", seeds, 1) + noise("run", seeds, draws)
        effect = np.sqrt(2) * stats.norm.ppf(true)
        arms.append(Arm(*auroc(scores + effect[..., None] * ill, ill)))
    return arms[0], arms[1]


def auroc(scores: Floats, ill: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """AUROC along the last axis, and the influence of each patient; no two scores are equal."""
    order = scores.argsort(axis=-1)
    sick = ill[order]
    healthy_below = np.cumsum(~sick, axis=-1) / (~ill).sum()
    sick_above = 1 - np.cumsum(sick, axis=-1) / ill.sum()
    won = np.empty(scores.shape)  # the share of the other class that lies on the right side
    np.put_along_axis(won, order, np.where(sick, healthy_below, sick_above), axis=-1)
    value = won[..., ill].mean(axis=-1)
    return value, (won - value[..., None]) / np.where(ill, ill.sum(), (~ill).sum())


def variance_sum(first: Arm, second: Arm) -> Difference:
    """The rule of the report."""
    tables = []
    for arm in (first, second):
        patients = arm.influence.shape[-1]
        # N deviations whose mean square is the patients' variance.
        resampled = arm.scores[..., None] + np.sqrt(patients) * arm.influence
        tables.append(np.concatenate([arm.scores[..., None], resampled], axis=-1))
    return paired_difference(tables[0], tables[1], patients=patients)


def normal_quantile(first: Arm, second: Arm) -> Outcome:
    """The same variance, taken for the true one."""
    found = variance_sum(first, second)
    reach = stats.t.ppf(0.975, found.degrees_of_freedom)
    return by_normal(found.value, (found.high - found.value) / reach)


def patients_alone(first: Arm, second: Arm) -> Outcome:
    """The runs taken as they are: what an interval over test patients says."""
    influence = first.influence.mean(axis=(0, 1)) - second.influence.mean(axis=(0, 1))
    return by_normal(first.scores.mean() - second.scores.mean(), np.sqrt((influence**2).sum()))


def runs_alone(first: Arm, second: Arm) -> Outcome:
    """Student's t of all runs, as if each had a seed and a draw of its own."""
    between = (first.scores - second.scores).ravel()
    found = stats.ttest_1samp(between, 0)
    ends = found.confidence_interval()
    return Outcome(float(ends.low), float(ends.high), float(found.pvalue))


def two_levels(first: Arm, second: Arm) -> Outcome:
    """Seeds of each arm, draws and patients drawn with replacement, percentile ends."""
    generator = np.random.default_rng(0)
    draws, patients = first.influence.shape[1:]

    def drawn(count: int) -> Floats:
        return generator.multinomial(count, np.full(count, 1 / count), size=RESAMPLES) / count

    of_draws, of_patients = drawn(draws), drawn(patients) * patients
    values = np.zeros(RESAMPLES)
    for sign, arm in ((1, first), (-1, second)):
        runs = arm.influence.reshape(-1, patients) @ of_patients.T
        scores = arm.scores[..., None] + runs.reshape(*arm.scores.shape, RESAMPLES)
        values += sign * np.einsum("sdr,rs,rd->r", scores, drawn(len(scores)), of_draws)
    low, high = np.quantile(values, [0.025, 0.975])
    p_value = 2 * min((values <= 0).mean(), (values >= 0).mean())
    return Outcome(float(low), float(high), float(p_value))


def by_normal(value: float, error: float) -> Outcome:
    """Interval and p-value of an estimate whose error is known."""
    p_value = 2 * stats.norm.sf(abs(value) / error)
    reach = stats.norm.ppf(0.975) * error
    return Outcome(float(value - reach), float(value + reach), float(p_value))


RULES: dict[str, Callable[[Arm, Arm], Outcome | Difference]] = {
    CHOSEN: variance_sum,
    "variance sum, normal": normal_quantile,
    "two-level resampling": two_levels,
    "t of all runs": runs_alone,
    "patients alone": patients_alone,
}


def counted(
    setting: Setting, gain: float, studies: int, rules: Collection[str]
) -> dict[str, dict[str, float]]:
    """Of many studies, by rule: the share called significant, and that whose interval holds."""
    varied = (setting.seed_deviation, setting.draw_deviation, gain)
    numbers = (setting.seeds, setting.draws, setting.patients, *(round(1000 * x) for x in varied))
    generator = np.random.default_rng(numbers)
    found = np.zeros((len(rules), 2))
    for _ in range(studies):
        arms = simulate(setting, gain, generator)
        for row, name in enumerate(rules):
            one = RULES[name](*arms)
            found[row] += one.p_value <= 0.05, one.low <= gain <= one.high
    shares = found / studies
    return {
        name: {"significant": float(share[0]), "covered": float(share[1])}
        for name, share in zip(rules, shares, strict=True)
    }


def table(rows: Sequence[Row]) -> Iterator[str]:
    """The chosen rule at every setting, then the range of every rule, in Markdown."""
    by_setting = {tuple(row["setting"].values()): row for row in rows}
    deviations = sorted({row["setting"]["seed_deviation"] for row in rows})
    yield "| seeds | draws | patients | " + " | ".join(f"{one:g}" for one in deviations) + " |"
    yield "|" + "---|" * (3 + len(deviations))
    for seeds, draws, patients in dict.fromkeys(key[:3] for key in by_setting):
        cells = [
            ", ".join(
                f"{100 * row['none'][CHOSEN]['significant']:.1f}"
                for key, row in by_setting.items()
                if key[:4] == (seeds, draws, patients, seed)
            )
            for seed in deviations
        ]
        yield f"| {seeds} | {draws} | {patients} | {' | '.join(cells)} |"
    yield ""
    yield "| rule | called significant without a gain, % |"
    yield "|---|---|"
    for name in RULES:
        yield f"| {name} | {_ends(row['none'][name]['significant'] for row in rows)} |"
    yield ""
    yield f"Intervals that hold {GAIN}: {_ends(row['gain'][CHOSEN]['covered'] for row in rows)} %."


def _ends(shares: Iterable[float]) -> str:
    ordered = sorted(shares)
    return f"{100 * ordered[0]:.1f} to {100 * ordered[-1]:.1f}"


def main() -> None:
    """Count, print, and keep what was found."""
    parser = argparse.ArgumentParser(description="Count how often a rule is wrong.")
    parser.add_argument("--studies", type=int, default=2000, help="Of the rule, at each setting.")
    parser.add_argument("--keep", action="store_true", help=f"Write {KEPT.name}.")
    chosen = parser.parse_args()
    others = [name for name in RULES if name != CHOSEN]
    rows: list[Row] = []
    for setting in settings():
        row: Row = {"setting": asdict(setting)}
        for word, gain in (("none", 0.0), ("gain", GAIN)):
            row[word] = counted(setting, gain, chosen.studies, [CHOSEN])
        row["none"] |= counted(setting, 0.0, chosen.studies // 8, others)
        rows.append(row)
        print(json.dumps(row), file=sys.stderr, flush=True)
    if chosen.keep:
        found = {"studies": chosen.studies, "of_other_rules": chosen.studies // 8, "rows": rows}
        KEPT.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print("\n".join(table(rows)))


if __name__ == "__main__":
    main()
