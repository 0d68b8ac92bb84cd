"""The live line: which parts stay at which width, and what is left on the screen."""

import io
import time

import pytest
from rich.console import Console as RichConsole

from pipeline.console import Console, StageOfRun, progress_line

ERASED = "\x1b[K\x1b[C\x1b[J\r"  # the line, and all below it
DETAILS = [
    "left 0:01:02",
    "test accuracy 0.8765",
    "accuracy 0.8654",
    "loss 0.4321",
    "1,234 images/s",
    "cpu",
]


def terminal(width):
    stream = io.StringIO()
    console = Console(stream)
    console._rich = RichConsole(
        file=stream, width=width, force_terminal=True, highlight=False, soft_wrap=True
    )
    return console, stream


@pytest.mark.parametrize("width", [40, 60, 80, 100, 120])
def test_stage_count_and_time_left_are_shown_at_every_width(width):
    line = progress_line(width, "robustness", "epoch 12/600", 0.02, DETAILS)
    assert len(line) <= max(width, 36)
    for part in ("robustness", "epoch 12/600", "left 0:01:02"):
        assert part in line
    assert ("test accuracy" in line) == (width >= 60)
    assert ("╌" in line) == (width >= 100)  # 60 columns before it, and 22
    assert ("  accuracy 0.8654" in line) == (width >= 80)


@pytest.mark.parametrize("details", [[], ["left 3 s"], ["left 3 s", "cpu"]])
def test_progress_without_figures_has_a_bar(details):
    # Half of 20 columns.
    line = progress_line(60, "", "step 5/10", 0.5, details)
    assert "━" * 10 + "╌" * 10 in line
    assert line.endswith("  ".join(["step 5/10", *details]))


@pytest.mark.parametrize("width", [60, 80, 100, 120])
def test_the_accuracy_of_the_last_epoch_stays_on_the_screen(width):
    console, stream = terminal(width)
    with console.progress("scorer", "cpu") as show:
        show(1, 2, "epoch", loss=1.0, accuracy=0.5, test_accuracy=0.25)
        show(2, 2, "epoch", loss=1.0, accuracy=0.5, test_accuracy=0.75)
    left = stream.getvalue().rpartition(ERASED)[2]  # after the live line was erased
    assert "scorer   epoch 2/2" in left
    assert "test accuracy 0.7500" in left
    assert len(left.strip()) < width
    assert "  accuracy 0.5000" in left
    assert ("loss 1.0000" in left) == (width >= 80)  # 57 columns before it, and 13


def test_the_cursor_waits_at_the_start_of_the_live_lines_and_all_after_it_is_erased():
    # A terminal that becomes narrower breaks the lines below the cursor and moves it with its text.
    console, stream = terminal(80)
    with console.progress("search", "cpu") as show:
        show(1, 2, "epoch", loss=1.0, accuracy=0.5)
        show(1, 9, "step")
        time.sleep(0.3)  # the lines are drawn ten times a second
        show(2, 9, "step")
        console.log("a message")
        two = stream.getvalue()
    paints = two.split("\r" + ERASED)
    assert len(paints) > 2
    for paint in paints[1:]:
        rows = paint.removeprefix("a message\n").split("\n")
        assert paint.endswith("\r" + (f"\x1b[{len(rows) - 1}A" if len(rows) > 1 else ""))
    assert "a message\n" in paints[-1]
    assert any("step 1/9" in paint for paint in paints)
    end = "search   epoch 1/2  accuracy 0.5000  loss 1.0000  cpu\n"
    assert stream.getvalue().endswith("\n\x1b[?25h\r\x1b[A" + ERASED + end)


def of_run(console, number=4, stages=6, seconds=150.0):
    """Put the console into a run that began so many seconds ago."""
    console.of_run = StageOfRun(number, stages, time.monotonic() - seconds)


@pytest.mark.parametrize("width", [60, 80])
def test_a_run_shows_its_stage_and_the_time_since_it_began_in_a_line_below(width):
    console, stream = terminal(width)
    of_run(console)
    with console.progress("search", "cpu") as show:
        show(1, 50, "epoch", loss=1.0, accuracy=0.5)
        time.sleep(0.3)  # the lines are drawn ten times a second
    bar = "━" * 10 + "╌" * 10 + "  " if width >= 80 else ""  # three of six stages are made
    assert f"\nrun         {bar}stage 4/6  2.5 min since the start" in stream.getvalue()


def test_without_a_terminal_each_line_has_the_stage_and_the_time_since_the_run_began():
    stream = io.StringIO()
    console = Console(stream)
    of_run(console)
    with console.progress("search", "cpu") as show:
        show(1, 2, "epoch", accuracy=0.5)
    # One epoch is left, and the first took no time.
    assert stream.getvalue() == (
        "search   epoch 1/2  accuracy 0.5000  stage left 0 s  stage 4/6  2.5 min since the start  "
        "cpu\n"
    )


def test_without_a_terminal_a_long_epoch_prints_a_line_every_thirty_seconds(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr("pipeline.console.time.monotonic", lambda: now[0])
    stream = io.StringIO()
    with Console(stream).progress("search", "cpu") as show:
        for step in range(1, 101):  # a second each
            now[0] += 1
            show(step, 100, "step")
        show(1, 50, "epoch", accuracy=0.5)
        for step in range(1, 33):
            now[0] += 1
            show(step, 100, "step")
    assert [line.split("  cpu")[0] for line in stream.getvalue().splitlines()] == [
        "search   step 31/100",
        "search   step 62/100",
        "search   step 93/100",
        "search   epoch 1/50  accuracy 0.5000  left 1.36 h",  # 49 epochs of 100 seconds
        "search   step 31/100 of epoch 2/50",
    ]


@pytest.mark.parametrize("evaluated", ["val", "held-out", "test"])
def test_an_accuracy_is_named_after_the_images_that_it_was_measured_on(evaluated):
    stream = io.StringIO()
    with Console(stream).progress("retrain", "cpu", evaluated=evaluated) as show:
        show(1, 2, "epoch", accuracy=0.5, test_accuracy=0.25)
    assert f"  accuracy 0.5000  {evaluated} accuracy 0.2500  " in stream.getvalue()


def test_a_measuring_has_one_form_of_line_and_without_a_terminal_one_every_ten_seconds(
    monkeypatch,
):
    now = [1000.0]
    monkeypatch.setattr("pipeline.console.time.monotonic", lambda: now[0])
    stream = io.StringIO()
    with Console(stream).measuring() as show:
        for second in range(1, 25):
            now[0] += 1
            show(second, 20.0, "search")
    assert stream.getvalue().splitlines() == [
        "measuring  11 of about 20 s: search",
        "measuring  22 of about 22 s: search",
    ]
    console, stream = terminal(80)
    with console.measuring() as show:
        show(12, 40, "search")
    bar = "━" * 6 + "╌" * 14
    assert f"measuring   {bar}  12 of about 40 s: search" in stream.getvalue()


def test_a_rate_is_named_after_what_it_counts():
    stream = io.StringIO()
    with Console(stream).progress("scores", "cpu") as show:
        show(1, 2, "image", draws_per_second=12345.0)
    assert "  12,345 draws/s  " in stream.getvalue()
