"""Studies as files: the trials they stand for, and what is refused before anything starts."""

import pytest

from classification.errors import ConfigError
from pipeline.studies.study import load_study

BASE = "data: {kind: digits}\nscorer: {model: resnet8}\nseed: 5\n"
STUDY = """\
name: small
base: base.yaml
seeds: 2
set: {goal: subset}
x: subset.fraction
grid: {subset.fraction: [0.1, 0.2]}
series:
  - {name: high CV, set: {subset.measure: cv}}
  - name: random
    set: {subset.measure: random}
    points:
      - {subset.fraction: 0.3}
"""


@pytest.fixture
def write(tmp_path):
    (tmp_path / "base.yaml").write_text(BASE)

    def write(text=STUDY):
        path = tmp_path / "study.yaml"
        path.write_text(text)
        return path

    return write


def refusal(path, *arguments):
    with pytest.raises(ConfigError) as error:
        load_study(path, *arguments)
    message = str(error.value)
    assert "\n" not in message
    return message.removeprefix(str(path.parent) + "/")


def edited(write, old, new):
    assert old in STUDY
    return write(STUDY.replace(old, new))


def test_every_point_of_every_series_is_a_trial_for_every_seed(write):
    study = load_study(write())
    assert [str(trial) for trial in study.trials] == [
        "high CV, fraction=0.1, seed 5",
        "high CV, fraction=0.1, seed 6",
        "high CV, fraction=0.2, seed 5",
        "high CV, fraction=0.2, seed 6",
        "random, fraction=0.3, seed 5",
        "random, fraction=0.3, seed 6",
    ]
    last = study.trials[-1]
    assert (last.x, last.config.seed, last.config.goal) == (0.3, 6, "subset")
    assert (last.config.subset.measure, last.config.subset.fraction) == ("random", 0.3)


def test_a_grid_is_all_combinations(write):
    old = "grid: {subset.fraction: [0.1, 0.2]}"
    new = "grid: {subset.fraction: [0.1, 0.2], scores.draws: [4, 8]}"
    study = load_study(edited(write, old, new), (), 1)
    points = [(c.config.subset.fraction, c.config.scores.draws) for c in study.trials[:4]]
    assert points == [(0.1, 4), (0.1, 8), (0.2, 4), (0.2, 8)]


def test_seeds_and_overrides_of_the_command_line_win(write):
    study = load_study(write(), ["scores.draws=7"], 3)
    assert len(study.trials) == 9
    assert {trial.config.scores.draws for trial in study.trials} == {7}


def test_trials_have_names_of_their_own(write):
    names = [trial.config.name for trial in load_study(write()).trials]
    assert len(set(names)) == len(names)
    assert names[0] == "small-high-CV-fraction-0.1-5"


def test_panels_part_the_figure(write):
    path = edited(write, "x: subset.fraction", "x: scores.draws\npanels: subset.fraction")
    study = load_study(path)
    assert [trial.panel for trial in study.trials[::2]] == [
        "fraction=0.1",
        "fraction=0.2",
        "fraction=0.3",
    ]


def test_an_unknown_key_of_the_study_is_named_with_its_line(write):
    message = refusal(edited(write, "seeds: 2", "sedes: 2"))
    assert message.startswith("study.yaml:3: sedes: unknown key; did you mean seeds? allowed: ")


def test_an_unknown_key_of_a_series_is_named_with_its_line(write):
    message = refusal(edited(write, "    points:", "    pionts:"))
    assert message.startswith("study.yaml:11: series.1.pionts: unknown key; did you mean points?")


def test_an_unknown_key_of_a_trial_is_named_with_its_line(write):
    message = refusal(edited(write, "- {subset.fraction: 0.3}", "- {subset.fractoin: 0.3}"))
    assert message.startswith("study.yaml:12: subset.fractoin: unknown key; did you mean fraction?")
    message = refusal(edited(write, "{subset.measure: random}", "{subset.mesure: random}"))
    assert message.startswith("study.yaml:10: subset.mesure: unknown key; did you mean measure?")
    message = refusal(edited(write, "{goal: subset}", "{gaol: subset}"))
    assert message.startswith("study.yaml:4: gaol: unknown key; did you mean goal?")


def test_a_value_that_is_not_allowed_is_named_with_its_line(write):
    message = refusal(edited(write, "- {subset.fraction: 0.3}", "- {subset.fraction: 3}"))
    assert message.startswith("study.yaml:12: subset.fraction: found 3; ")


def test_the_same_trial_twice_is_refused(write):
    old = "      - {subset.fraction: 0.3}"
    message = refusal(edited(write, old, f"{old}\n{old}"))
    assert message.startswith(
        "study.yaml:13: the trial random, fraction=0.3, seed 5 has the same settings"
    )
    assert "study.yaml:12" in message


def test_the_same_trial_in_two_series_is_refused(write):
    text = STUDY.replace("subset.measure: random", "subset.measure: cv").replace("0.3", "0.2")
    message = refusal(write(text))
    assert "the trial random, fraction=0.2, seed 5 has the same settings as high CV" in message


@pytest.mark.parametrize("points", ["points: []", "grid: {}", "grid: {subset.fraction: []}"])
def test_a_series_without_points_is_refused(write, points):
    text = STUDY.replace("    points:\n      - {subset.fraction: 0.3}", f"    {points}")
    message = refusal(write(text))
    assert message.startswith("study.yaml:9: series 'random' has no points; set points or grid")


def test_points_beside_a_grid_are_refused(write):
    message = refusal(edited(write, "    points:", "    grid: {search.epochs: [1]}\n    points:"))
    assert message.startswith("study.yaml:9: series.1: points and grid cannot be used together")


def test_two_series_of_one_name_are_refused(write):
    message = refusal(edited(write, "name: random", "name: high CV"))
    assert message.startswith("study.yaml:9: series.name: 'high CV' is used twice")


@pytest.mark.parametrize("x", ["subset.measure", "subset.nothing", "subset", "goal"])
def test_an_axis_must_be_a_number(write, x):
    message = refusal(edited(write, "x: subset.fraction", f"x: {x}"))
    assert message.startswith(f"study.yaml:5: x: found '{x}'; allowed: the dotted key of a number")


def test_a_reference_must_be_a_series(write):
    message = refusal(write(STUDY + "reference: easy\n"))
    assert "reference 'easy'; allowed: high CV, random" in message


def test_trials_after_different_things_are_refused(write):
    old = "{subset.measure: random}"
    message = refusal(edited(write, old, "{subset.measure: random, goal: network}"))
    assert "goal: found network and subset; allowed: the same goal in all trials" in message


def test_a_ranking_has_no_single_error(write):
    assert "goal: found ranking" in refusal(edited(write, "goal: subset", "goal: ranking"))


def test_a_missing_base_is_named(write):
    message = refusal(edited(write, "base: base.yaml", "base: gone.yaml"))
    assert "gone.yaml: cannot be read" in message


def test_all_images_are_labelled_by_the_fraction_that_they_are(write):
    random = "name: random\n    set: {subset.measure: random}"
    full = "name: full data\n    set: {subset.measure: full}"
    trial = load_study(edited(write, random, full)).trials[-1]
    assert str(trial) == "full data, fraction=1, seed 6"
    assert trial.x == 1


CONTEST = "contest: {restarts: 2, random: 0, rounds: 1}"


def test_the_error_of_a_contest_needs_the_same_contest_in_all_trials(write):
    held = STUDY.replace("set: {goal: subset}", f"error: contest\nset: {{{CONTEST}}}")
    assert load_study(write(held)).until == "contest"
    for absent in ("error: contest", "error: contest\nset: {goal: subset}"):
        message = refusal(write(STUDY.replace("set: {goal: subset}", absent)))
        assert message.startswith(
            "study.yaml:4: error: found contest with trials without a contest"
        )
    other = held.replace("subset.measure: cv}", "subset.measure: cv, contest.restarts: 3}")
    message = refusal(write(other))
    assert message.startswith(
        "study.yaml:4: error: found contest with different contests; allowed: "
    )
