"""Signals that wait."""

import signal

import pytest

from pipeline.signals import deferred


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_waits_for_the_end_of_the_block(signum):
    def stop(signum, frame):
        raise KeyboardInterrupt

    def work(done, signum):
        with deferred():
            signal.raise_signal(signum)
            done.append("the rest of the block")

    done, before = [], signal.signal(signum, stop)
    try:
        with pytest.raises(KeyboardInterrupt):
            work(done, signum)
        assert done == ["the rest of the block"]
        assert signal.getsignal(signum) is stop
    finally:
        signal.signal(signum, before)


def test_without_a_signal_nothing_happens():
    before = signal.getsignal(signal.SIGINT)
    with deferred():
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before
