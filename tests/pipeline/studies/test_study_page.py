"""report.html of a study, from hand-made errors, read as text and opened in Chromium."""

import re

import pytest

from evaluate.statistics import Summary
from pipeline.store.ledger import Cost
from pipeline.studies.forest import Axis
from pipeline.studies.report import write_study_report
from pipeline.studies.results import TrialResult
from pipeline.studies.study import load_study
from tests.html_page import check_fits, check_self_contained, read_page

HOSTILE = "<script>alert(1)"
STUDY = """\
name: digits
base: base.yaml
seeds: {seeds}
set: {{goal: subset}}
points: [{points}]
{reference}
series:
"""
# Errors less those of the reference at three seeds. Mean -10, deviation 0.5: t = -34.6 at two
# degrees of freedom. Means 20 and 0 likewise, the last with p = 1.
FOUND = {
    "worse": (19.5, 20.0, 20.5),
    "equal": (-1.0, 0.0, 1.0),
    "random": (0.0, 0.0, 0.0),
    HOSTILE: (-9.5, -10.0, -10.5),
    "open": (None, None, None),
}
COSTS = {name: Cost(cpu_hours=h, wall_hours=h) for name, h in (("subset", 0.5), ("probe", 2.0))}


def write(folder, found=None, seeds=3, reference="random", fractions=(0.2,), fail=None):
    """Write the report of a study of these differences from errors of 50 %; return its page."""
    found = FOUND if found is None else found
    (folder / "base.yaml").write_text("data: {kind: digits}\n")
    text = STUDY.format(
        seeds=seeds,
        points=", ".join(f"{{subset.fraction: {fraction}}}" for fraction in fractions),
        reference=f"reference: {reference!r}" if reference else "",
    )
    measures = ["random", "cv", "std", "mean_low", "mean_high", "el2n", "moderate", "k_center"]
    for place, name in enumerate(found):
        changes = f"subset.measure: {measures[place % 8]}, scorer.epochs: {100 + place}"
        text += f"  - {{name: {name!r}, set: {{{changes}}}}}\n"
    (folder / "study.yaml").write_text(text)
    study = load_study(folder / "study.yaml")
    results = []
    for trial in study.trials:
        change = found[trial.series][trial.seed]
        accuracy = None if change is None else {"top1_error_last": 50 + change}
        error = fail if change is None else None
        results.append(TrialResult(trial, {}, COSTS, accuracy, None, error, frozenset({"a CPU"})))
    command = f"sweep 'a & b' {HOSTILE}"
    write_study_report(folder / "report", study, results, Cost(cpu_hours=9.0), command)
    return folder / "report" / "report.html"


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return write(tmp_path_factory.mktemp("page"), fail=f"probe: {HOSTILE} & more")


def rows(path):
    """The text of the table of settings, by the first cell, in its order."""
    table = re.search(r'<table class="forest">.*?<tbody>(.*?)</tbody>', path.read_text(), re.S)[1]
    cells = [re.split(r"</t[hd]>", row) for row in table.split("</tr>")[:-1]]
    words = [[" ".join(re.sub("<[^>]*>", " ", cell).split()) for cell in row] for row in cells]
    return {row[0]: row[2:-1] for row in words}


def test_the_page_needs_nothing_beside_it_and_runs_nothing(path):
    check_self_contained(path)


def test_names_and_messages_are_shown_as_they_are_and_do_nothing(path):
    page = read_page(path)
    assert f"{HOSTILE}fraction=0.2" in page.text
    assert f"a lower error than random ({HOSTILE})" in page.text
    assert f"open, fraction=0.2, seed 0 failed: probe: {HOSTILE} & more (2.5 CPU-hours" in page.text
    assert f"sweep 'a & b' {HOSTILE}" in page.text


def test_a_reference_is_shown_as_it_is_and_does_nothing(tmp_path):
    path = write(tmp_path, {HOSTILE: (0, 0, 0), "equal": (-1, 0, 1)}, reference=HOSTILE)
    check_self_contained(path)
    text = read_page(path).text
    assert f"told apart from {HOSTILE}." in text
    assert f"Differences are from {HOSTILE}, paired by seed" in text


def test_every_setting_is_there_from_the_lowest_difference_to_the_highest(path):
    found = rows(path)
    assert list(found) == [
        "&lt;script&gt;alert(1) fraction=0.2",
        "equal fraction=0.2",
        "random fraction=0.2",
        "worse fraction=0.2",
        "open fraction=0.2",
    ]
    result, p_holm, difference, error, n, p = found["worse fraction=0.2"]
    # t = 20 / (0.5 / √3); four comparisons, of which this has the smallest p.
    assert (result, n) == ("higher", "3")
    assert difference == "+20.00 ± 0.50 [+18.76, +21.24]"
    assert error == "70.00 ± 0.50 [68.76, 71.24]"
    assert (float(p), float(p_holm)) == (0.00021, 0.00083)
    assert found["equal fraction=0.2"][:2] == ["not told apart", "1"]
    assert found["random fraction=0.2"][0] == "reference"
    assert found["open fraction=0.2"][0] == "unfinished"


def test_the_sentence_counts_what_is_told_apart_to_each_side(path):
    sentences = (
        f"1 of 4 settings has a lower error than random ({HOSTILE}) and 1 has a higher one "
        "(worse). 1 is not told apart from it, which does not mean that it is equal. 1 could not "
        "be tested yet. Paired t tests over n = 3 seeds at p < 0.05, with Holm's correction for 4 "
        "comparisons. The 95 % interval of a difference, uncorrected, is ± 1.2 to 2.5 points."
    )
    assert sentences in read_page(path).text
    assert sentences in " ".join((path.parent / "report.md").read_text().split())


def test_dots_lie_where_the_differences_are_and_are_filled_if_told_apart(path):
    drawn = re.findall(r'<circle(?: class="(apart)")? cx="([\d.]+)"', path.read_text())
    assert [filled for filled, _ in drawn] == ["apart", "", "apart"]
    low, middle, high = (float(at) for _, at in drawn)
    assert high - middle == pytest.approx(2 * (middle - low), abs=0.2)  # -10, 0, 20
    zeros = re.findall(r'class="zero" x1="([\d.]+)"', path.read_text())
    assert len(zeros) == 5
    assert {float(at) for at in zeros} == {middle}


def test_an_axis_holds_every_interval_and_zero():
    assert Axis.over([], zero=True) is None
    drawn = [Summary(3, 5.0, 1.0, 2.5, 7.5), Summary(1, 9.0, None, None, None)]
    for zero, lowest in ((True, 0.0), (False, 2.5)):
        ticks = Axis.over(drawn, zero).ticks
        assert (ticks[0] <= lowest, ticks[-1] >= 9) == (True, True)
        assert (0.0 in ticks) == zero
    axis = Axis([-10.0, 0.0, 10.0], zero=True, width=128)
    assert [axis.at(value) for value in (-10, 0, 10)] == ["14.0", "64.0", "114.0"]


def test_none_told_apart_is_no_equality(tmp_path):
    text = read_page(write(tmp_path, {"random": (0, 0, 0), "equal": (-1, 0, 1)})).text
    assert "None of 1 setting is told apart from random. That does not mean that it is" in text


def test_one_seed_tests_nothing_and_draws_no_interval(tmp_path):
    path = write(tmp_path, {"random": (0,), "lower": (-30,)}, seeds=1)
    assert "No setting can be told apart from random yet" in read_page(path).text
    assert rows(path)["lower fraction=0.2"][:3] == ["not tested", "–", "-30.00"]
    assert len(re.findall("<circle", path.read_text())) == 1
    assert not re.findall(r'<line x1="[\d.]+" x2="[\d.]+" y1="11"', path.read_text())


def test_without_a_reference_errors_are_drawn_and_nothing_is_compared(tmp_path):
    path = write(tmp_path, {"low": (-2, 0, 2), "high": (9, 10, 11)}, reference=None)
    text = read_page(path).text
    assert "The top-1 errors of 2 settings range from 50.00 ± 2.00 [45.03, 54.97] % (low)" in text
    assert "told apart" not in text
    assert list(rows(path)) == ["low fraction=0.2", "high fraction=0.2"]
    assert len(re.findall("<circle", path.read_text())) == 2


def test_a_study_without_a_completed_trial_says_so_and_lists_what_is_missing(tmp_path):
    path = write(tmp_path, {"random": (None,) * 3, "open": (None,) * 3})
    text = read_page(path).text
    assert "No trial is complete, so there is no error to report yet." in text
    assert "0 failed and 6 unfinished trials" in text
    assert "open, fraction=0.2, seed 2: unfinished" in text
    assert "<figure" not in path.read_text()


def test_published_rows_are_marked_on_both_pages(tmp_path, monkeypatch):
    monkeypatch.setattr(f"{__name__}.STUDY", STUDY.replace("series:", "table_6: true\nseries:"))
    path = write(tmp_path, {"random": (0, 0, 0)})
    row = "SNAS (published: Xie et al. 2019 (ICLR))"
    assert row in read_page(path).text
    markdown = (path.parent / "report.md").read_text()
    assert f"| {row} | – | 27.3 | 9.2 | 4.3 | 522 | 1.5 GPU-days | – |" in markdown


def test_settings_are_grouped_by_the_point_they_are_compared_at(tmp_path):
    found = {"random": (0, 0, 0), "equal": (-1, 0, 1)}
    page = read_page(write(tmp_path, found, fractions=(0.2, 0.4)))
    for fraction in (0.2, 0.4):
        assert f"Compared with random, fraction={fraction}" in page.text
    assert "None of 2 settings is told apart from random." in page.text


def test_the_page_of_many_settings_fits_a_phone_and_a_desk(tmp_path, browser):
    many = {f"way {place} of choosing": (place, place + 1, place - 2) for place in range(23)}
    path = write(tmp_path, {"random": (0, 0, 0)} | many)
    assert len(rows(path)) == 24
    for width in (390, 1400):
        check_fits(browser, path, width)
