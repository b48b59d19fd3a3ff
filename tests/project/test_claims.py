"""The verdict on each claim of the paper, from made-up tables whose answer is known."""

import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from medstrata.report.render.formatting import interval_text, signed, slug

SCRIPT = Path(__file__).parents[2] / "scripts" / "claims.py"
CLAIMS = ("1", "2a", "2b", "3", "4", "5")
SETS = ("chest.store", "retina.store", "tissue.store")
TASK = "finding"


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    return runpy.run_path(str(SCRIPT))


def write_study(
    folder: Path,
    gains: tuple[float, float, float],
    *,
    half: float = 0.005,
    seeds: int = 3,
    draws: int = 2,
    spread: float = 0.002,
    too_few: str = "",
) -> None:
    """Tables of a study in which both losses gain as much, by every measure, on each set.

    Args:
        folder: Where they are written.
        gains: On each set, with few labels; with all it is a tenth of it.
        half: Half-width of every interval.
        seeds: Pre-training runs of each arm.
        draws: Of the few labels.
        spread: Range of runs.
        too_few: What the study says it lacks.
    """
    arms = ("moco", "moco_mse", "moco_bt")
    notes = [{"Arm": f"{arm} (tiny)", "Seed": seed, "Images: notes": f"{store}, 32 pixels"}
             for store in SETS for arm in arms for seed in range(seeds)]  # fmt: skip
    pd.DataFrame(notes).to_csv(folder / "pretraining-runs.csv", index=False)
    paired = []
    for store, few in zip(SETS, gains, strict=True):
        for arm, fraction in ((arm, one) for arm in arms[1:] for one in (0.01, 1.0)):
            gain = few if fraction < 1 else few / 10
            p = 0.001 if abs(gain) > half else 0.5
            paired.append(
                {"store": store, "task": TASK, "protocol": "full", "arm": arm, "baseline": "moco",
                 "fraction": fraction, "difference": gain, "low": gain - half, "high": gain + half,
                 "p_adjusted": p, "seeds": seeds, "baseline_seeds": seeds, "too_few": too_few}
            )  # fmt: skip
        place = slug(TASK, store)
        for name, columns, runs, sign in (
            ("reuse-1-percent", ("stage1", "stage2"), seeds * draws, 1),
            ("reuse-100-percent", ("stage1", "stage2"), seeds, 1),
            ("probing-100-percent", ("stage1", "stage2"), seeds, 1),
            ("full-ks-distance", ("1 % against all", "10 % against all"), seeds * draws, -1),
        ):
            # Only what a claim is about differs from MoCo.
            judged = columns if name.startswith("reuse") else columns[:1]
            ends = (0.5, 0.5 + spread)
            note = f"{runs} runs: {interval_text(ends)}" if runs > 1 else ""
            rows: list[dict[str, object]] = []
            for arm in arms:
                row: dict[str, object] = {"Arm": f"{arm} (tiny)"}
                if name.startswith("probing"):
                    row["Read-out"] = "Linear layer"
                for column in columns:
                    value = 0.5 + sign * few * (arm != "moco" and column in judged)
                    row[column] = value
                    if name.startswith("reuse"):
                        row[f"{column}: notes"] = f"± {half / 2:.4f} over subsets; {note}"
                    else:
                        row |= {f"{column}: low": value - half, f"{column}: high": value + half,
                                f"{column}: notes": note}  # fmt: skip
                rows.append(row)
            pd.DataFrame(rows).to_csv(folder / f"{place}-{name}.csv", index=False)
    pd.DataFrame(paired).to_csv(folder / "differences.csv", index=False)
    mean = float(np.mean(gains))
    column = "1 % of labels"
    said = ", ".join(map(signed, gains)) + (f"; no verdict: {too_few}" if too_few else "")
    gained = [{"Arm": f"{arm} (tiny)", column: mean, f"{column}: low": mean - half,
               f"{column}: high": mean + half, f"{column}: notes": said}
              for arm in arms[1:]]  # fmt: skip
    pd.DataFrame(gained).to_csv(folder / "mean-gain-full-moco-tiny.csv", index=False)


def verdicts(script: dict[str, Any], folder: Path) -> dict[str, str]:
    """Claim -> the one verdict on both losses."""
    found = script["differences"](script["Tables"](folder))
    both = {
        (claim, loss): script["verdict"](
            [one for one in found if (one.claim, one.loss) == (claim, loss)]
        )
        for claim in CLAIMS
        for loss in script["LOSSES"]
    }
    assert all(both[claim, "moco_mse"] == both[claim, "moco_bt"] for claim in CLAIMS)
    return {claim: both[claim, "moco_mse"] for claim in CLAIMS}


@pytest.mark.parametrize(
    ("gains", "said"),
    [
        ((0.08, 0.08, 0.08), dict.fromkeys(CLAIMS, "holds")),
        ((-0.08, -0.08, -0.08), dict.fromkeys(CLAIMS, "does not hold")),
        (
            (0.08, -0.08, -0.08),
            dict.fromkeys(CLAIMS, "holds on some sets") | {"2b": "does not hold"},
        ),
        # As good is enough for the first claim alone.
        ((0.0, 0.0, 0.0), dict.fromkeys(CLAIMS, "does not hold") | {"1": "holds"}),
    ],
)  # fmt: skip
def test_verdicts_of_a_study_with_three_seeds(script, tmp_path, gains, said):
    write_study(tmp_path, gains)
    assert verdicts(script, tmp_path) == said


def test_nothing_is_said_of_sets_where_the_interval_holds_a_gain_and_a_loss(script, tmp_path):
    write_study(tmp_path, (0.01, 0.0, -0.01), half=0.08)
    said = set(verdicts(script, tmp_path).values())
    assert said == {"cannot tell: the intervals are too wide"}


@pytest.mark.parametrize("seeds", [1, 2])
def test_fewer_than_three_pretrainings_get_numbers_and_no_verdict(script, tmp_path, seeds):
    write_study(tmp_path, (0.08, 0.08, 0.08), seeds=seeds)
    runs = "1 pre-training run" if seeds == 1 else "2 pre-training runs"
    assert set(verdicts(script, tmp_path).values()) == {f"cannot tell: {runs} an arm"}
    page = script["page"](script["differences"](script["Tables"](tmp_path)))
    assert "+0.080 [+0.075, +0.085]" in page
    assert not {"better", "worse", "not apart"} & set(page.partition("## ")[2].split())


def test_seeds_without_those_of_the_baseline_are_draws_not_pretrainings(script, tmp_path):
    write_study(tmp_path, (0.08, 0.08, 0.08), seeds=1)
    table = pd.read_csv(tmp_path / "differences.csv").drop(columns=["baseline_seeds", "too_few"])
    table.assign(seeds=3).to_csv(tmp_path / "differences.csv", index=False)
    assert verdicts(script, tmp_path)["1"] == "cannot tell: 1 pre-training run an arm"


def test_what_the_study_says_it_lacks_is_believed(script, tmp_path):
    write_study(tmp_path, (0.08, 0.08, 0.08), too_few="one draw of the labels")
    said = verdicts(script, tmp_path)
    assert [said[one] for one in ("1", "2a", "2b")] == ["cannot tell: one draw of the labels"] * 3


def test_one_draw_of_few_labels_gets_no_verdict(script, tmp_path):
    write_study(tmp_path, (0.08, 0.08, 0.08), draws=1)
    said = verdicts(script, tmp_path)
    assert said["3"] == said["5"] == "cannot tell: one draw of the labels"
    assert said["4"] == "holds"  # of all labels there is but one draw


def test_runs_that_lie_far_apart_leave_open_what_patients_would_settle(script, tmp_path):
    write_study(tmp_path, (0.08, 0.08, 0.08), spread=0.2)
    said = verdicts(script, tmp_path)
    assert {said[one] for one in ("3", "4", "5")} == {"cannot tell: the intervals are too wide"}


def test_runs_without_a_difference_are_seldom_called_apart(script):
    random, apart = np.random.default_rng(0), 0
    for runs in random.normal(0.5, 0.05, (2000, 2, 3)):
        both = []
        for three in runs:
            note = f"3 runs: {three.min():.6f} to {three.max():.6f}"
            row = pd.Series({"x": three.mean(), "x: low": three.mean(), "x: high": three.mean(),
                             "x: notes": note})  # fmt: skip
            both.append(script["entry"](row, "x", 3))
        numbers = script["interval"](both[0].value - both[1].value, [one.over_runs for one in both])
        apart += numbers[-1] < 0.05
    assert 0.03 < apart / 2000 < 0.07


def test_the_page_is_the_one_of_the_tables_beside_it(script):
    folder = SCRIPT.parents[1] / "docs" / "results"
    found = script["differences"](script["Tables"](folder))
    assert script["page"](found) == (folder / "claims.md").read_text(encoding="utf-8")


def test_an_interval_without_0_is_not_enough_where_the_adjusted_p_is_large(script):
    where = ("1", "moco_mse", "full", SETS[0], 0.01)
    apart, unsure = (script["Difference"](*where, 0.05, 0.01, 0.09, p, "") for p in (0.01, 0.2))
    assert (apart.direction, unsure.direction) == ("better", "not apart")
