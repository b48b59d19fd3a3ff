"""Signals ask a run to stop, and what took them before takes them again."""

import signal
from concurrent.futures import ThreadPoolExecutor

import pytest

from medstrata.runtime.signals import SCHEDULER_SIGNALS, stop_requests


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


def _handler_within() -> object:
    with stop_requests() as stop:
        assert not stop()
        return signal.getsignal(signal.SIGTERM)


def test_outside_the_main_thread_nothing_is_caught() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with ThreadPoolExecutor(1) as executor:
        assert executor.submit(_handler_within).result() == before
    assert _handler_within() != before
