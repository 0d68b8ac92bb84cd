"""The studies under configs/studies: what they ask, without running any of it."""

from pathlib import Path
from typing import get_args

import pytest

from pipeline.studies.study import load_study
from subsample.measures import OF_TRAINING, Measure, Order

ROOT = Path(__file__).resolve().parents[3]
BASES = ("small", "tiny")
STUDIES = sorted(
    path for path in (ROOT / "configs/studies").glob("*.yaml") if path.stem not in BASES
)
FULL = [path for path in STUDIES if not path.stem.endswith("-small")]


def study(name):
    return load_study(ROOT / f"configs/studies/{name}.yaml")


def points(name, series):
    return [trial for trial in study(name).trials if trial.series == series and trial.seed == 0]


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_every_study_says_how_to_run_it_and_what_to_expect(path):
    found = load_study(path)
    assert found.config.name == path.stem
    header = [line for line in path.read_text().splitlines() if line.startswith("#")]
    command = f"python run_pipeline.py sweep {path.relative_to(ROOT)}"
    assert any(command in line for line in header)
    assert any("not yet run" in line or "docs/results.md" in line for line in header)


@pytest.mark.parametrize("path", FULL, ids=lambda path: path.stem)
def test_every_study_of_all_images_has_a_small_one_with_the_same_series(path):
    full, small = load_study(path), study(f"{path.stem}-small")
    names = [series.name for series in full.config.series]
    assert [s.name for s in small.config.series] == [
        name for name in names if path.stem != "reliability" or name in _SMALL_RELIABILITY
    ]
    assert {trial.config.data.kind for trial in full.trials} == {"cifar100"}
    assert small.config.seeds == 3


_SMALL_RELIABILITY = {
    *("random", "ce, 5/9", "kl, 5/9", "anchor ce, 5/9", "ce, 1/3"),
    *("ce, common, 5/9", "kl, common, 5/9", "anchor ce, common, 5/9"),
}


def test_figure_5a_has_every_fraction_of_the_paper_for_every_measure():
    for series in study("figure5a").config.series:
        fractions = [trial.config.subset.fraction for trial in points("figure5a", series.name)]
        assert fractions == [0.05, 0.1, 0.2, 0.3, 0.5]
    measures = {trial.config.subset.measure for trial in study("figure5a").trials}
    assert measures == {
        *("cv", "random", "mean_low", "mean_high", "std", "mc_dropout", "k_center", "el2n")
    }
    assert all(trial.config.probed.mixing.kind == "dcutmix" for trial in study("figure5a").trials)


def test_figure_5b_searches_all_images_for_10_to_50_epochs_with_5_of_warm_up_at_10():
    searches = [trial.config.search for trial in points("figure5b", "full data")]
    assert {(s.epochs, s.warmup_epochs) for s in searches} >= {(50, 15), (10, 5)}
    assert sorted(s.epochs for s in searches) == [10, 20, 30, 40, 50]
    for series in ("high CV", "random"):
        assert len(points("figure5b", series)) >= 4


def test_reliability_varies_draws_losses_common_draws_and_the_anchor():
    scored = [c for c in study("reliability").trials if c.series != "random" and c.seed == 0]
    settings = {
        (s.draws, s.loss, s.common_draws, round(s.anchor_fraction, 3), c.config.subset.fraction)
        for c in scored
        if (s := c.config.scores)
    }
    assert len(settings) == len(scored) == 5 * 3 * 2 * 2 * 2
    assert {draws for draws, *_ in settings} == {10, 20, 50, 100, 200}


def test_the_cheap_scorers_are_all_there():
    scorers = {trial.series: trial.config for trial in study("scorers").trials}
    assert [scorers[f"stopped at {n}"].scorer.stop_epoch for n in (5, 10, 20)] == [5, 10, 20]
    assert scorers["fast recipe"].scorer.model == "resnet9"
    assert scorers["losses of its training"].scores.source == "training"
    assert scorers["self-scoring supernet"].scorer.model == "supernet"


def test_choosing_has_every_measure_and_order_and_three_probes():
    trials = study("choosing").trials
    names = {trial.config.subset.measure for trial in trials}
    assert set(get_args(Measure)) - names == {"score", "score_low", "imported"}  # of files
    assert {trial.config.subset.order for trial in trials} == set(get_args(Order))
    assert {trial.config.probes for trial in trials} == {3}
    recorded = {t.config.subset.measure for t in trials if t.config.scorer.record_dynamics}
    assert recorded == set(OF_TRAINING)
