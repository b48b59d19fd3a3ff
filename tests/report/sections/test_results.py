"""Tables of scores."""

import json


def test_results_table_holds_the_numbers(page, root):
    result = json.loads((root / "study/full/scratch-0.01-seed0/result.json").read_text())
    other = json.loads((root / "study/full/scratch-0.01-seed1/result.json").read_text())
    scores = [one["test"]["scores"]["macro_auroc"] for one in (result, other)]
    low, high = sorted(one["value"] for one in scores)
    worse = min(scores, key=lambda one: one["value"])
    cell = (
        f"{sum(one['value'] for one in scores) / 2:.3f} "
        f"[{worse['low']:.3f}, {worse['high']:.3f}] "
        "interval of the median run "
        f"2 runs: sd {(high - low) / 2**0.5:.3f}, {low:.3f} to {high:.3f}"
    )
    assert cell in page.text
    assert "30 images of 22 patients" in page.text


def test_best_is_marked_by_word_once_a_column(page):
    bold = [a for a in page.all("td") if a.get("class") == "best"]
    marks = [a for a in page.all("span") if a.get("class") == "mark"]
    # Two protocols, four metrics, three fractions.
    assert len(bold) == len(marks) >= 2 * 4 * 3
