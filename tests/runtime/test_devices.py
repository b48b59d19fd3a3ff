"""Precision of runs."""

from medstrata.runtime.devices import compute_precision, make_accelerator


def test_runs_of_one_process_may_differ_in_precision() -> None:
    for precision in ("bf16", "fp32"):
        assert compute_precision(make_accelerator(precision)) == precision
