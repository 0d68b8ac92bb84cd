"""Progress and messages: a live line in a terminal, otherwise plain lines; JSON for scripts."""

import io
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TextIO, TypeVar, cast

from rich.console import Console as RichConsole
from rich.progress import Progress as RichProgress
from rich.progress import ProgressColumn, Task
from rich.text import Text

from classification.durations import format_duration
from classification.persistence.storage import refusal_of
from classification.progress import Progress
from pipeline.live_lines import LiveLines

T = TypeVar("T")
_Show = Callable[[str, int, int, list[str]], None]  # unit, done, total, details by worth

_PLAIN_SECONDS = 2.0  # between two plain lines of one stage
_MEASURING_SECONDS = 10.0  # and of a measuring
_STEP_SECONDS = 0.2
_LONG_SECONDS = 30.0  # without a line, after which an epoch's steps get one
_BAR = 20  # columns
_WORTH = {"test_accuracy": 0, "held_out_accuracy": 0, "accuracy": 1, "loss": 2}
_RATE = "_per_second"


@dataclass(frozen=True)
class StageOfRun:
    """The place of a stage among the run's `stages`, from 1; `begun` are monotonic seconds."""

    number: int
    stages: int
    begun: float

    @property
    def count(self) -> str:
        """A text such as `stage 4/6`."""
        return f"stage {self.number}/{self.stages}"

    @property
    def elapsed(self) -> str:
        """A text such as `2.3 min since the start`."""
        return f"{format_duration(round(time.monotonic() - self.begun))} since the start"


class Console:
    """Messages and progress, to a stream and to a log file.

    A closed stream (`| head`, a lost terminal) or a log that cannot be written does not stop the
    work.
    """

    def __init__(self, stream: TextIO | None = None, log_file: Path | None = None) -> None:
        self._stream = cast(TextIO, _Unbreakable(stream or sys.stdout))
        self._rich = RichConsole(file=self._stream, highlight=False, soft_wrap=True)
        self.log_file = log_file
        self.begun = time.monotonic()
        self.of_run: StageOfRun | None = None  # the stage that a run is at

    @classmethod
    def choose(cls, quiet: bool, as_json: bool) -> "Console":
        """Log nothing if `quiet`, to standard error if `as_json`, else to standard output."""
        return cls(io.StringIO() if quiet else sys.stderr if as_json else sys.stdout)

    def log(self, message: str) -> None:
        """Print one line and append it to the log file."""
        self._rich.print(message, markup=False)
        self._record(message)

    @contextmanager
    def progress(self, stage: str, device: str, evaluated: str = "test") -> Iterator[Progress]:
        """Provide a callable that shows the progress of `stage` until the block ends.

        `evaluated` names the images of the accuracy: test, val or held-out.
        """
        of_run = self.of_run
        reporter = partial(_Reporter, stage, device, evaluated=evaluated, of_run=of_run)
        if not self._rich.is_terminal:
            yield reporter(line=self._plain)
            return
        last: list[str] = []
        with self._live() as live:
            bar = live.add_task(stage, total=None, unit="", details=[])
            steps = live.add_task("", total=None, unit="step", details=[], visible=False)
            if of_run is not None:
                live.add_task(
                    "run",
                    total=of_run.stages,
                    completed=of_run.number - 1,
                    count=of_run.count,
                    details=lambda: [of_run.elapsed],  # when the line is drawn
                )

            def show(unit: str, done: int, total: int, details: list[str]) -> None:
                if unit != "step":
                    last[:] = [f"{stage:8} {unit} {done}/{total}", *details[1:]]
                task = steps if unit == "step" else bar
                live.update(
                    task, completed=done, total=total, unit=unit, details=details, visible=True
                )

            yield reporter(line=self._record, live=show)
        if any("accuracy" in part for part in last):
            while len("  ".join(last)) >= self._rich.width and len(last) > 2:
                last.pop()  # the part of the least worth
            self._rich.print("  ".join(last), markup=False)

    @contextmanager
    def measuring(self) -> Iterator[Callable[[float, float, str], None]]:
        """Provide a callable that shows a measuring until the block ends: the seconds passed, those
        expected in all, and the stage that is measured."""
        if self._rich.is_terminal:
            with self._live() as live:
                task = live.add_task("measuring", total=None, count="starting", details=[])

                def show(passed: float, expected: float, stage: str) -> None:
                    count = f"{measured(passed, expected)}: {stage}"
                    live.update(task, completed=passed, total=expected, count=count)

                yield show
            return
        last = time.monotonic()

        def print_line(passed: float, expected: float, stage: str) -> None:
            nonlocal last
            if time.monotonic() - last > _MEASURING_SECONDS:
                last = time.monotonic()
                self._plain(f"measuring  {measured(passed, expected)}: {stage}")

        yield print_line

    def _live(self) -> RichProgress:
        live = RichProgress(_Line(self._rich), console=self._rich, transient=True)
        live.live._live_render = LiveLines(live.get_renderable())
        return live

    def _plain(self, line: str) -> None:
        print(line, file=self._stream, flush=True)
        self._record(line)

    def _record(self, line: str) -> None:
        if self.log_file is None:
            return
        try:
            self.log_file.parent.mkdir(parents=True, exist_ok=True)
            with self.log_file.open("a") as file:
                file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {line}\n")
        except OSError as error:
            lost, self.log_file = self.log_file, None
            reason = refusal_of(error, lost) or f"{lost}: {error}"
            self.log(f"warning: the log ends here ({reason})")


class _Line(ProgressColumn):
    """A task's line, as wide as the terminal is at that moment."""

    def __init__(self, console: RichConsole) -> None:
        super().__init__()
        self._console = console

    def render(self, task: Task) -> Text:
        """Return the line."""
        fields, total, details = task.fields, task.total, task.fields["details"]
        done = f"{fields.get('unit')} {int(task.completed)}/{int(total)}" if total else "starting"
        share = task.completed / total if total else 0.0
        line = progress_line(
            self._console.width - 1,
            task.description,
            fields.get("count", done),
            share,
            details() if callable(details) else details,
        )
        return Text(line, no_wrap=True, overflow="crop")


def measured(passed: float, expected: float) -> str:
    """Return a text such as `12 of about 40 s`."""
    return f"{passed:.0f} of about {max(passed, expected):.0f} s"


def progress_line(width: int, stage: str, done: str, share: float, details: list[str]) -> str:
    """Return the stage, the count `done`, and as many of the `details` and of a bar for `share` as
    fit into `width` columns. The first detail is the time left, which is always shown; those that
    follow are in the order of their worth, and the bar comes after the first of them.
    """
    bar = "━" * round(share * _BAR) + "╌" * (_BAR - round(share * _BAR))
    kept = [f"{stage:10}", done, *details[:1]]
    for part in [*details[1:2], bar, *details[2:]]:
        if len("  ".join([*kept, part])) <= width:
            kept.insert(1 if part is bar else len(kept), part)
        elif part is not bar:
            break
    return "  ".join(kept)


class _Unbreakable:
    """A stream that drops all output after a write failed."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        return self._try(lambda: self._stream.write(text)) or len(text)

    def flush(self) -> None:
        self._try(self._stream.flush)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _try(self, act: Callable[[], T]) -> T | None:
        try:
            return act()
        except OSError:
            silence(self._stream)
            return None


class _Reporter:
    """Turns progress calls into lines, at a readable rate."""

    def __init__(
        self,
        stage: str,
        device: str,
        line: Callable[[str], None],
        live: _Show | None = None,
        evaluated: str = "test",
        of_run: StageOfRun | None = None,
    ) -> None:
        self._stage, self._device, self._line, self._live = stage, device, line, live
        self._evaluated, self._of_run = evaluated, of_run
        self._begin = time.monotonic()
        self._epoch = ""  # that the steps belong to, if known
        self._first: int | None = None
        self._last_step = float("-inf")
        self._last_line = self._last_step

    def __call__(self, done: int, total: int, unit: str, **metrics: float) -> None:
        now = time.monotonic()
        if unit == "step":
            if self._live and now - self._last_step > _STEP_SECONDS:
                self._last_step = now
                self._live(unit, done, total, [])
            if now - max(self._last_line, self._begin) > _LONG_SECONDS:
                self._print(now, f"step {done}/{total}{self._epoch}", [])
            return
        self._epoch = f" of {unit} {done + 1}/{total}"
        if self._first is None:
            self._first = done - 1 if unit == "epoch" else 0
        rate = (now - self._begin) / max(done - self._first, 1)
        label = "left" if self._of_run is None else "stage left"  # of the stage, not of the run
        left = f"{label} {format_duration(round(rate * (total - done)))}"
        if self._live:
            worth = [self._format(*each) for each in sorted(metrics.items(), key=_worth)]
            self._live(unit, done, total, [left, *worth, self._device])
        if done == total or now - self._last_line > _PLAIN_SECONDS:
            shown = [self._format(*each) for each in metrics.items()]
            self._print(now, f"{unit} {done}/{total}", [*shown, left])

    def _print(self, now: float, count: str, details: list[str]) -> None:
        self._last_line, of_run = now, self._of_run
        place = [] if of_run is None else [of_run.count, of_run.elapsed]
        line = "  ".join([count, *details, *place, self._device])
        self._line(f"{self._stage:8} {line}")

    def _format(self, name: str, value: float) -> str:
        if name.endswith(_RATE):
            return f"{value:,.0f} {name.removesuffix(_RATE)}/s"
        name = name.replace("test", self._evaluated).replace("held_out", "held-out")
        return f"{name.replace('_', ' ')} {value:.4f}"


def _worth(metric: tuple[str, float]) -> int:
    name, _ = metric
    return 3 if name.endswith(_RATE) else _WORTH.get(name, 2)


def print_json(value: Any) -> None:
    """Print one JSON document on standard output, in UTF-8.

    A byte of a file's or class's name that is not UTF-8 is printed as JSON's escape of it.
    """
    text = json.dumps(value, indent=1, ensure_ascii=False)
    print(text.encode("utf-8", "backslashreplace").decode())


def silence(stream: TextIO) -> None:
    """Redirect a closed stream to the null device."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    with suppress(OSError, ValueError):
        os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
