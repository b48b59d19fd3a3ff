"""A wrong study is refused in one line."""

from typing import Any

import pytest

from support.small_study import tiny


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dat": 1}, "no setting 'dat'; there are data, arms"),
        ({"arms": {}}, "arms is empty"),
        ({"arms": {"a": {"encodr": "scratch"}}}, "'encodr' is not accepted"),
        ({"arms": {"a": {"recipe": "fair/mocco"}}}, "no recipe 'fair/mocco'; there are"),
        ({"arms": {"a/b": {"encoder": "scratch"}}}, "name 'a/b' may hold letters"),
        ({"arms": {"..": {"encoder": "scratch"}}}, "name '..' may hold letters"),
        ({"arms": {"a": {"encoder": "scratch", "recipe": "fair/moco"}}}, "either encoder or"),
        ({"data": {"a": {"task": "t"}}}, "either store or prepare"),
        ({"fractions": [0.1, 1.5]}, "at most 1, got 1.5"),
        ({"baselines": ["b"]}, "baselines: b is not among the arms"),
        ({"seeds": 0}, "seeds must be 1 or more"),
        ({"protocols": {"ful": {}}}, "no protocol 'ful'; there are full, frozen"),
        ({"protocols": {"full": {"grid": {"lr": []}}}}, "grid.lr lists no value"),
        ({"protocols": {"full": {"draws": 0}}}, "draws must be 1 or more, got 0"),
        ({"protocols": {"full": {"draws": {0.3: 2}}}}, "full.draws: 0.3 is not among the fract"),
        ({"probe": {"fractions": [-0.1]}}, "AnalysisSettings.fractions must be above 0"),
        ({"probe": {"seeds": -1}}, "AnalysisSettings.seeds must be 1 or more, or none, got -1"),
        ({"probe": {"fractions": [0.2]}}, "probe.fractions: 0.2 is not among"),
    ],
)
def test_a_wrong_study_is_refused_in_one_line(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message.replace("(", r"\(").replace(".", r"\.")) as caught:
        tiny(**changes)
    assert "\n" not in str(caught.value)
