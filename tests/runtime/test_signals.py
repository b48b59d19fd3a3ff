"""Signals ask a run to stop, and what took them before takes them again."""

import signal
from concurrent.futures import ThreadPoolExecutor

import pytest

from medstrata.runtime.signals import (
    SCHEDULER_SIGNALS,
    Terminated,
    exit_on_sigterm,
    stop_requests,
)


@pytest.mark.parametrize("number", [signal.SIGINT, *SCHEDULER_SIGNALS])
def test_a_signal_is_a_request_until_the_end_of_the_context(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with stop_requests() as stop:
        assert not stop()
        signal.raise_signal(number)
        assert stop()
    assert signal.getsignal(number) == before


def test_only_ctrl_c_loses_patience() -> None:
    with stop_requests():
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_sigterm_runs_the_ends_of_blocks_once() -> None:
    before = signal.getsignal(signal.SIGTERM)
    cleaned = []

    def work() -> None:
        with exit_on_sigterm():
            try:
                signal.raise_signal(signal.SIGTERM)
            finally:
                signal.raise_signal(signal.SIGTERM)
                cleaned.append("all of it")

    with pytest.raises(Terminated) as left:
        work()
    assert left.value.code == 143
    assert cleaned == ["all of it"]
    assert signal.getsignal(signal.SIGTERM) == before


def test_what_takes_sigterm_itself_does_so_still() -> None:
    with exit_on_sigterm(), stop_requests() as stop:
        signal.raise_signal(signal.SIGTERM)
        assert stop()


def _handler_within() -> object:
    with stop_requests() as stop:
        assert not stop()
        return signal.getsignal(signal.SIGTERM)


def test_outside_the_main_thread_nothing_is_caught() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with ThreadPoolExecutor(1) as executor:
        assert executor.submit(_handler_within).result() == before
    assert _handler_within() != before
