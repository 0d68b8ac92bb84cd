"""What fuzzed commands run in: an empty folder, no network, images read once, bounded memory."""

import collections
import contextlib
import functools
import io
import shutil
import signal
from pathlib import Path

import pytest
import sklearn.datasets

from classification.persistence.untrusted_files import memory_limit
from run_pipeline import main

MEMORY = 3 << 30  # bytes, that a case may take
SECONDS = 120  # after which a case hangs


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working directory with no network around it."""
    from torchvision.datasets import utils

    def offline(*_, **__):
        raise OSError("no network here")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(utils, "_urlretrieve", offline)
    monkeypatch.setattr(utils, "_get_redirect_url", lambda url, max_hops: url)
    digits = sklearn.datasets.load_digits()
    monkeypatch.setattr(sklearn.datasets, "load_digits", lambda: digits)
    return tmp_path


@pytest.fixture
def tried(folder):
    """Runs a command: its exit status and what it said, once both are as they have to be.

    At the end some cases must have been valid and some refused.
    """
    statuses = collections.Counter()
    yield functools.partial(_tried, statuses)
    print(dict(statuses))
    assert set(statuses) == {0, 2}


def _tried(statuses, *arguments):
    out, err = io.StringIO(), io.StringIO()
    signal.signal(signal.SIGALRM, _hangs)
    signal.alarm(SECONDS)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), memory_limit(MEMORY):
            status = main(list(arguments))
    finally:
        signal.alarm(0)
    statuses[status] += 1
    said = err.getvalue()
    if status == 0:
        assert not said
    else:
        assert status == 2, (status, said)
        assert said.startswith("error: "), said
        assert said.endswith("\n"), said
        assert said[:-1].isprintable(), said
    for name in ("artifacts", "runs"):
        assert not Path(name).exists(), arguments
    shutil.rmtree(".data", ignore_errors=True)  # made before a download that did not come
    return status, said if status else out.getvalue()


def _hangs(*_):
    raise TimeoutError(f"no answer in {SECONDS} s")
