"""Any config, override, study or command line is valid or refused in one line, and starts nothing.

The short version has the same cases each time; `make test-long` has 10,000 new ones, here and in
test_fuzzed_records.py.
"""

import functools
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st
from mutations import TEXTS, as_text, damaged, keys, nudged, scalars, spoiled, words

from pipeline.config import dump_config, flatten, load_config
from pipeline.graph import fingerprints
from pipeline.stages import STAGES
from run_pipeline import COMMANDS

BASE = """
name: fuzzed
data:    {kind: digits, classes: 3, images_per_class: 24}
scorer:  {model: resnet8, epochs: 2, batch_size: 16, mixing: {kind: dcutmix, num_images: 3}}
scores:  {draws: 4}
subset:  {measure: cv, fraction: 0.5}
search:  {epochs: 2, warmup_epochs: 1, channels: 4, cells: 3, batch_size: 16}
retrain: {network: cifar, channels: 4, cells: 3, epochs: 2, batch_size: 32}
"""
EXTRAS = {"robustness": {"batch_size": 8}, "landscape": {}, "probe": {"model": "resnet8"}}
STUDY = {
    "name": "fuzzed",
    "base": "base.yaml",
    "seeds": 1,
    "set": {"goal": "subset"},
    "x": "subset.fraction",
    "panels": "scores.draws",
    "grid": {"subset.fraction": [0.4, 0.5], "scores.draws": [4]},
    "series": [
        {"name": "cv", "set": {"subset.measure": "cv"}},
        {"name": "random", "set": {"subset.measure": "random"}, "points": [{"scores.draws": 4}]},
    ],
    "reference": "random",
    "agreement": True,
    "table_6": False,
}
RUN = ["run", "--dry-run", "--device", "cpu"]


@functools.cache
def resolved():
    """A whole config, each key in it."""
    return yaml.safe_load(dump_config(load_config(Path("base.yaml"))))


def fuzzed(cases):
    """So many cases: the same each time in the short version, new ones in the long."""
    return settings(
        max_examples=cases,
        derandomize=cases < 1000,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )


def numbers(short, long):
    return pytest.mark.parametrize("cases", [short, pytest.param(long, marks=pytest.mark.long)])


@pytest.fixture(autouse=True)
def base(folder):
    (folder / "base.yaml").write_text(BASE)


@numbers(40, 3_000)
def test_a_config_is_valid_or_refused(tried, cases):
    @fuzzed(cases)
    @given(st.one_of(spoiled(resolved(), added=EXTRAS), spoiled(resolved() | EXTRAS)))
    @example(resolved() | {"name": "1e5"})
    def holds(values):
        Path("x.yaml").write_text(as_text(values), encoding="utf-8", errors="surrogatepass")
        shown, text = tried("config", "x.yaml")
        if shown == 0:
            Path("again.yaml").write_text(text)
            config, again = load_config(Path("x.yaml")), load_config(Path("again.yaml"))
            assert config == again
            assert dump_config(again) == dump_config(config)
        ran, said = tried(*RUN, "x.yaml")
        if shown:
            assert (ran, said) == (shown, text)
        elif ran == 0:
            content = {"data": "a", "target": "b"}
            assert fingerprints(STAGES, config, content) == fingerprints(STAGES, again, content)

    holds()


@numbers(40, 1_000)
def test_a_damaged_file_is_valid_or_refused(tried, cases):
    @fuzzed(cases)
    @given(damaged(BASE))
    def holds(content):
        Path("x.yaml").write_bytes(content)
        tried(*RUN, "x.yaml")

    holds()


@st.composite
def overrides(draw):
    if draw(st.booleans()):
        key, value = draw(st.sampled_from(sorted(flatten(resolved()).items())))
        return f"{key}={as_text(draw(nudged(value)))}"
    key = draw(st.one_of(st.sampled_from(keys()), st.sampled_from(TEXTS), st.text(max_size=6)))
    value = draw(st.one_of(scalars().map(as_text), st.sampled_from(TEXTS), st.text(max_size=6)))
    return key + draw(st.sampled_from(["=", "=", "=", "=", "", "==", " = "])) + value


@numbers(60, 2_000)
def test_an_override_is_valid_or_refused(tried, cases):
    @fuzzed(cases)
    @given(st.lists(overrides(), min_size=1, max_size=2))
    @example(["robustness.shift.imagenet_a=" + "x" * 300])
    def holds(given_overrides):
        options = [word for each in given_overrides for word in ("--set", each)]
        tried(*RUN, "base.yaml", *options)

    holds()


@numbers(20, 700)
def test_a_study_is_valid_or_refused(tried, cases):
    @fuzzed(cases)
    @given(spoiled(STUDY, added=["seeds", "points", "grid", "panels", "x"]))
    def holds(values):
        assume(not (isinstance(values.get("seeds"), int) and values["seeds"] > 4))
        Path("x.yaml").write_text(as_text(values), encoding="utf-8", errors="surrogatepass")
        tried("sweep", "--dry-run", "--device", "cpu", "x.yaml")

    holds()


OPTIONS = [
    "--set", "--name", "--until", "--only", "--force", "--device", "--artifacts", "--runs",
    "--json", "--quiet", "-q", "--seeds", "--jobs", "--mixer", "--columns", "--x", "--schema",
    "--as",
    "--overwrite", "--nonsense", "--", "-", "-x", "--help", "--set=", "--name=x", "--device=cpu",
]  # fmt: skip
WORDS = [
    "base.yaml", "nowhere.yaml", "cpu", "cuda", "cuda:99", "cuda:-1", "cpu:x", "meta", "search",
    "scorer", "1", "0", "-1", "seed=3", "x=1", "nobody", "total",
]  # fmt: skip


@st.composite
def command_lines(draw):
    """A command and words after it; what could begin work does not get a config that would."""
    command = draw(st.sampled_from([*COMMANDS, "dance", "--help", "", "runn"]))
    sample = st.one_of(
        st.sampled_from(OPTIONS),
        st.sampled_from(WORDS),
        st.sampled_from(TEXTS),
        st.text(max_size=5),
    )
    rest = draw(st.lists(sample, max_size=6))
    if command in ("run", "sweep"):
        return [command, "--dry-run", *rest]
    startable = {"base.yaml", "x.yaml", "."} if command in ("fidelity", "init", "show") else set()
    return [command, *(word for word in rest if word not in startable)]


@numbers(80, 1_300)
def test_a_command_line_is_valid_or_refused(tried, cases):
    @fuzzed(cases)
    @given(command_lines())
    @example(["init", "x" * 300])
    def holds(arguments):
        assume(not any("\0" in word for word in arguments))  # which no shell can hand on
        tried(*arguments)

    holds()


def test_the_strategies_reach_every_section():
    assert {"search.epochs", "scorer.mixing.kind", "target.root", "landscape"} <= set(keys())
    assert {"dcutmix", "resnet8", "full", "bf16"} <= set(words())
