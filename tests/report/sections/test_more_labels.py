"""What more labels would bring, on curves whose truth is known."""

import numpy as np
import pytest

from medstrata.metrics.learning_curve import fit_power_law
from medstrata.report.render.figures import arm_styles
from medstrata.report.render.parts import Text
from medstrata.report.sections.decisions import shown_arms
from medstrata.report.sections.more_labels import Outlook, more_labels_section, outlook
from support.predicted_runs import Patients, comparison_in

LABELS = np.array([30.0, 100.0, 1000.0])


def made(ceiling, factor, exponent, *, noise=0.002, off=0.0, lacking=""):
    """A curve that is known, measured so often with so much noise; the middle score is off."""
    scores = ceiling - factor * LABELS**-exponent + off * np.array([0, 1, 0])
    draws = scores + noise * np.random.default_rng(0).normal(size=(200, 3))
    law = fit_power_law(LABELS, np.concatenate([scores[None], draws]))
    return Outlook(labels=LABELS, scores=scores, law=law, lacking=lacking)


@pytest.mark.parametrize(
    ("one", "verdict"),
    [
        (made(0.9, 1, 0.3), "yes"),
        (made(0.9, 1, 1), "hardly: less than 0.01"),
        (made(0.9, 1, 0.4, noise=0.05), "cannot tell: too uncertain"),
        (made(0.9, 1, 1, lacking="2 seeds"), "cannot tell: 2 seeds"),
        (made(0.9, 1, 1, off=-0.3), "cannot tell: the curve misses a score by 0."),
    ],
    ids=["rises", "is flat", "is noisy", "few seeds", "no power law"],
)
def test_verdict(one, verdict):
    assert one.verdict.startswith(verdict)


def test_gain_is_that_of_the_curve():
    gain, (low, high) = made(0.9, 1, 0.3).gain(2)
    assert gain == pytest.approx(1000**-0.3 - 2000**-0.3, abs=2e-3)
    assert low < gain < high


@pytest.fixture
def study(tmp_path):
    """Three seeds and two draws at each of three shares; skill rises, noise is of the run."""
    patients = Patients(patients=60)
    for fraction in (0.01, 0.1, 1.0):
        for seed in range(3):
            for draw in range(1 if fraction == 1 else 2):
                probability = patients.predictions(3 + np.log10(fraction), 10 * seed + draw)
                name = f"{fraction}-{seed}-{draw}"
                patients.run(
                    tmp_path / name,
                    "moco",
                    fraction,
                    probability,
                    seed=seed,
                    subset_seed=draw,
                    encoder_digest=f"{seed}",
                )
    return tmp_path


def test_curve_goes_through_the_means_of_the_runs(study):
    comparison = comparison_in(study)
    found = outlook(comparison, "moco")
    assert found.labels == pytest.approx([30, 297, 2970])
    columns = comparison.columns(comparison.metric)
    assert found.scores == pytest.approx([columns[one]["moco"].value for one in columns])
    assert found.missed < 0.02
    assert found.law.ceiling.shape == (1001,)
    section = more_labels_section([comparison], shown(comparison), arm_styles(["moco"]))
    _, table, pictures = section.parts
    assert table.rows[0][1].number == pytest.approx(found.gain(2)[0])
    assert pictures.key == ["moco"]


def test_two_shares_are_too_few(study):
    for run in study.glob("0.01-*"):
        (run / "result.json").unlink()
    comparison = comparison_in(study)
    section = more_labels_section([comparison], shown(comparison), arm_styles(["moco"]))
    assert section.parts == [
        Text("Cannot be told: a curve needs predictions at three shares of the labels or more.")
    ]


def shown(comparison):
    return {comparison.name: shown_arms(comparison, ())}
