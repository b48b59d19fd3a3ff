"""What becomes of each claim of the paper's abstract, from the tables of a study.

    python scripts/claims.py docs/results

Reads what scripts/results_tables.py keeps of a study, and writes claims.md and claims.csv beside
it. The page says how a verdict is reached: `outcome` judges one difference, `verdict` puts the data
sets together. Arms are found by their names: moco, moco_mse, moco_bt.
"""

import argparse
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import hypot, nan
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import norm, t

from medstrata.metrics.paired_difference import holm
from medstrata.report.compare.differences import ALPHA
from medstrata.report.compare.run_grid import SEEDS_NEEDED as SEEDS
from medstrata.report.render.formatting import counted, percent_slug, signed, slug

SMALL, FIVE = 0.01, 0.05
LOSSES = {"moco_mse": "MSE", "moco_bt": "Barlow Twins"}
PROTOCOLS = {"full": "Whole network fine-tuned", "frozen": "Encoder frozen"}
CLAIMS = {
    "1": (
        "An intermediate loss is at least as good as MoCo alone on every set",
        "difference of test scores on the same patients and labels, at each share of the labels",
    ),
    "2a": (
        "It gains most where labels are fewest",
        "gain over MoCo at the smallest share, less the largest gain at any other",
    ),
    "2b": (
        "There it gains 5 % on average over the sets",
        "mean gain over MoCo at the smallest share",
    ),
    "3": (
        "Fine-tuning keeps more of its features than of MoCo's",
        "debiased linear CKA before and after fine-tuning, mean of the stages, less MoCo's",
    ),
    "4": (
        "Its earlier stages tell more than MoCo's",
        "score of a linear layer on the frozen encoder, mean of the first half of the stages, "
        "less MoCo's",
    ),
    "5": (
        "Tuned on few labels it answers more like tuned on all than MoCo does",
        "KS distance of test probabilities, fewest against all labels: MoCo's less its own",
    ),
}
HEAD = f"""# The paper's claims

`python scripts/claims.py docs/results` writes this page and `claims.csv` (every difference) from
the tables of [the study](results.md). Each claim is about MoCo with an intermediate loss against
plain MoCo; above 0 is in favour of the claim.

**A verdict** needs {SEEDS} pre-training runs of both arms and, with few labels, more than one draw
of them; else it is *cannot tell*, and the numbers are of these runs only. A difference is *better*
or *worse* where its 95 % interval leaves out 0 and p, Holm-adjusted, is below {ALPHA}; else the two
are *not apart*, which proves nothing. On a set a claim holds where the difference is better, and
fails where it is worse or could be at most {SMALL}; in between it is open. Claim 1 holds also where
it cannot be {SMALL} worse, and fails only where it is worse; claim 2b holds where the gain is above
0 and could be {FIVE}. A claim *holds* that does on every set, *holds on some sets* where on one,
*does not hold* where it fails on all; else nobody can tell.

Intervals of claims 1 and 2b are the study's. The others put two together that were made apart:
half-widths add as squares, those over patients and those over runs. The latter come from the range
of the runs and a t quantile for the pre-trainings of both arms. That is on the safe side, since the
arms share patients and draws.
"""


@dataclass(frozen=True)
class Difference:
    """How far a loss is ahead of MoCo; `lacking`: what a verdict would need, else empty."""

    claim: str
    loss: str
    protocol: str  # of claim 4 the encoder is frozen, and stays as pre-training left it
    store: str
    share: float  # of the labels
    value: float
    low: float
    high: float
    p: float
    lacking: str

    @property
    def direction(self) -> str:
        """Better, worse or not apart; nothing where something is lacking."""
        if self.lacking:
            return ""
        if self.p < ALPHA and self.low * self.high > 0:
            return "better" if self.value > 0 else "worse"
        return "not apart"


def outcome(one: Difference) -> str:
    """Whether its claim holds, fails or is open, on this set and at this share."""
    better, worse = one.direction == "better", one.direction == "worse"
    if one.claim == "1":
        holds, fails = better or one.low > -SMALL, worse
    elif one.claim == "2b":
        holds, fails = better and one.high >= FIVE, one.high < FIVE
    else:
        holds, fails = better, worse or one.high < SMALL
    if one.lacking or not (holds or fails):
        return "open"
    return "fails" if fails else "holds"


def verdict(found: Sequence[Difference]) -> str:
    """Over data sets; on each the claim must hold at every share."""
    stores = dict.fromkeys(one.store for one in found)
    outcomes = [{outcome(one) for one in found if one.store == store} for store in stores]
    holding = [one == {"holds"} for one in outcomes]
    if any(holding):
        return "holds" if all(holding) else "holds on some sets"
    if found and all("fails" in one for one in outcomes):
        return "does not hold"
    lacking = dict.fromkeys(one.lacking for one in found if one.lacking)
    return f"cannot tell: {'; '.join(lacking) or 'the intervals are too wide'}"


def adjusted(found: Sequence[Difference]) -> list[Difference]:
    """The same with p-values adjusted over all of them."""
    return [replace(one, p=p) for one, p in zip(found, holm([one.p for one in found]), strict=True)]


def interval(value: float, halves: Iterable[float]) -> tuple[float, float, float, float]:
    """Value, ends and p-value of a sum whose terms have these half-widths."""
    half = hypot(*halves)
    quantile = norm.ppf(1 - ALPHA / 2)
    return value, value - half, value + half, float(2 * norm.sf(quantile * abs(value) / half))


class Entry(NamedTuple):
    """An arm's number in a table: its half-widths over patients and over runs, and how many."""

    value: float
    over_patients: float
    over_runs: float
    runs: int


def entry(row: "pd.Series[Any]", column: str, seeds: int) -> Entry:
    """What a table says of an arm; of feature reuse it has the deviation over subsets."""
    value, note = float(row[column]), str(row.get(f"{column}: notes", ""))
    ends = [float(row.get(f"{column}: {end}", nan)) for end in ("low", "high")]
    half = max(abs(end - value) for end in ends)
    if subsets := re.search(r"± ([\d.]+) over subsets", note):
        half = 2 * float(subsets[1])
    found = re.search(r"(\d+) runs: .*?(-?[\d.]+) to (-?[\d.]+)", note)
    if not found or seeds < 2:
        return Entry(value, half, 0.0, 1)
    runs, spread = int(found[1]), float(found[3]) - float(found[2])
    # Expected range of as many normal numbers of deviation 1 (Tippett 1925).
    grid = np.linspace(-8, 8, 2001)
    outside = 1 - norm.cdf(grid) ** runs - norm.sf(grid) ** runs
    deviation = spread / float(outside.sum() * (grid[1] - grid[0]))
    # Two arms of as many seeds are compared; draws among the runs can only widen it.
    quantile = float(t.ppf(1 - ALPHA / 2, 2 * seeds - 2))
    return Entry(value, half, quantile * deviation / seeds**0.5, runs)


class Tables:
    """The tables of a study."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        table = pd.read_csv(folder / "differences.csv", keep_default_na=False)
        self.paired = table[table["baseline"] == "moco"].sort_values("fraction", kind="stable")
        self.tasks = dict(zip(table["store"], table["task"], strict=True))
        self.shares = sorted({float(one) for one in self.paired["fraction"]})
        if not self.shares:
            raise SystemExit(f"{folder / 'differences.csv'}: no arm was compared with moco")
        runs = pd.read_csv(folder / "pretraining-runs.csv", keep_default_na=False)
        self.moco = next(arm for arm in runs["Arm"] if _plain(arm) == "moco")
        stores = runs["Images: notes"].str.partition(",")[0]
        self.seeds = runs.groupby([runs["Arm"].map(_plain), stores])["Seed"].nunique().to_dict()

    def seeds_of(self, loss: str, store: str) -> int:
        """How many pre-trainings both the arm and MoCo have."""
        return min(self.seeds.get((arm, store), 0) for arm in (loss, "moco"))

    def by_arm(self, *names: str) -> pd.DataFrame:
        """A table of the report, without the networks behind the arms' names; empty if missing."""
        path = self.folder / ("-".join(names) + ".csv")
        table = pd.read_csv(path, keep_default_na=False) if path.exists() else pd.DataFrame()
        return table.set_index(table["Arm"].map(_plain)) if len(table) else table

    def study_differences(self) -> Iterator[Difference]:
        """Claim 1, adjusted by the study."""
        for row in self.paired.to_dict("records"):
            loss, store = row["arm"], row["store"]
            if loss in LOSSES and row["protocol"] in PROTOCOLS:
                # Without the baseline's, `seeds` are label draws of one pre-training.
                known = "baseline_seeds" in row
                seeds = [row["seeds"], row["baseline_seeds"]] if known else []
                lacking = _lacking(min([*seeds, self.seeds_of(loss, store)]))
                value, low, high, p = (
                    float(row[name]) for name in ("difference", "low", "high", "p_adjusted")
                )
                where = ("1", loss, row["protocol"], store, float(row["fraction"]))
                lacking = str(row.get("too_few", "")) or lacking
                yield Difference(*where, value, low, high, p, lacking)

    def mean_gains(self) -> Iterator[Difference]:
        """Claim 2b, by the study."""
        for loss, protocol in product(LOSSES, PROTOCOLS):
            table = self.by_arm(slug("mean-gain", protocol, self.moco))
            for row in table[table.index == loss].to_dict("records"):
                column = str(table.columns[1])
                value, low, high = (float(row[f"{column}{end}"]) for end in ("", ": low", ": high"))
                said = re.search("no verdict: (.+)", str(row.get(f"{column}: notes", "")))
                lacking = _lacking(min(self.seeds_of(loss, store) for store in self.tasks))
                p = interval(value, [value - low if value > 0 else high - value])[-1]
                where = ("2b", loss, protocol, "all", self.shares[0])
                yield Difference(*where, value, low, high, p, said[1] if said else lacking)

    def between_arms(
        self, claim: str, protocol: str, share: float, name: str
    ) -> Iterator[Difference]:
        """Claims 3 to 5: an arm's numbers in a table against MoCo's, whose errors are apart."""
        for loss, store in product(LOSSES, self.tasks):
            table = self.by_arm(slug(self.tasks[store], store), name)
            if "Read-out" in table:
                table = table[table["Read-out"] == "Linear layer"]
            if not {loss, "moco"} <= set(table.index):
                continue
            columns = [one for one in table if re.fullmatch(r"stage\d+|.* against all", str(one))]
            if claim != "3":  # the earlier half of the stages; of KS distances the fewest labels
                columns = columns[: max(1, len(columns) // 2)]
            seeds = self.seeds_of(loss, store)
            arms = [
                [entry(table[table.index == arm].iloc[0], str(one), seeds) for one in columns]
                for arm in (loss, "moco")
            ]
            # Columns are of the same patients and runs: their errors go together.
            (first, *halves), (second, *others) = (
                np.mean(arm, axis=0)[:3].tolist() for arm in arms
            )
            runs = min(one.runs for arm in arms for one in arm)
            lacking = _lacking(min(seeds, runs), one_draw=share < 1 and runs <= seeds)
            ahead = second - first if claim == "5" else first - second
            numbers = interval(ahead, [*halves, *others])
            yield Difference(claim, loss, protocol, store, share, *numbers, lacking)


def _plain(arm: str) -> str:
    return arm.partition(" (")[0]


def _lacking(seeds: int, *, one_draw: bool = False) -> str:
    if seeds < SEEDS:
        return f"{counted(seeds, 'pre-training run')} an arm"
    return "one draw of the labels" if one_draw else ""


def with_few(found: Sequence[Difference]) -> Iterator[Difference]:
    """Claim 2a from the differences of claim 1."""
    for where in dict.fromkeys((one.loss, one.protocol, one.store) for one in found):
        few, *rest = (one for one in found if (one.loss, one.protocol, one.store) == where)
        if rest:
            most = max(rest, key=lambda one: one.value)
            halves = [(one.high - one.low) / 2 for one in (few, most)]
            numbers = interval(few.value - most.value, halves)
            yield Difference("2a", *where, few.share, *numbers, few.lacking or most.lacking)


def differences(tables: Tables) -> list[Difference]:
    """Those of every claim."""
    few, most = tables.shares[0], tables.shares[-1]
    paired = list(tables.study_differences())
    reuse = [
        one
        for share in dict.fromkeys((few, most))
        for one in tables.between_arms("3", "full", share, f"reuse-{percent_slug(share)}")
    ]
    probing = tables.between_arms("4", "full", most, f"probing-{percent_slug(most)}")
    distances = [
        one
        for protocol in PROTOCOLS
        for one in tables.between_arms("5", protocol, few, f"{protocol}-ks-distance")
    ]
    made = (with_few(paired), tables.mean_gains(), reuse, probing, distances)
    return [*paired, *(one for claim in made for one in adjusted(list(claim)))]


def page(found: Sequence[Difference]) -> str:
    """The page in Markdown."""
    stores = dict.fromkeys(one.store.removesuffix(".store") for one in found if one.claim == "1")
    lines = [HEAD, f"The sets, in the order of the results: {', '.join(stores)}.", ""]
    for protocol, title in PROTOCOLS.items():
        lines += [f"## {title}", "", "| claim | how we tested it | result | verdict |"]
        lines.append("|---" * 4 + "|")
        for claim, (said, tested) in CLAIMS.items():
            here = [one for one in found if (one.claim, one.protocol) == (claim, protocol)]
            losses = {
                name: [one for one in here if one.loss == arm] for arm, name in LOSSES.items()
            }
            verdicts = {name: verdict(some) for name, some in losses.items() if some}
            results = [line for name in verdicts for line in _results(name, losses[name])]
            said_of = [f"{name}: {one}" for name, one in verdicts.items()]
            if len(set(verdicts.values())) == 1:
                said_of = list(verdicts.values())[:1]
            if here:
                cells = (f"{claim}. {said}", tested, "<br>".join(results), "<br>".join(said_of))
                lines.append(f"| {' | '.join(cells)} |")
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def _results(name: str, found: Sequence[Difference]) -> Iterator[str]:
    for share in dict.fromkeys(one.share for one in found):
        each = (
            f"{signed(one.value)} [{signed(one.low)}, {signed(one.high)}] {one.direction}".strip()
            for one in found
            if one.share == share
        )
        yield f"{name}, {100 * share:.3g} %: {', '.join(each)}"


def main() -> None:
    """Write the page and its differences."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tables", type=Path, metavar="FOLDER")
    folder: Path = parser.parse_args().tables
    found = differences(Tables(folder))
    (folder / "claims.md").write_text(page(found), encoding="utf-8")
    table = pd.DataFrame(found).assign(direction=[one.direction for one in found])
    table.to_csv(folder / "claims.csv", index=False, float_format="%.5f")


if __name__ == "__main__":
    main()
