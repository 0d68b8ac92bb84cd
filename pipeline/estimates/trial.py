"""Runs one stage briefly, and extrapolates its full time.

Training stages run for a few epochs whose passes end early (see `brief_images`): for each kind of
epoch, one to warm up and some to measure. Stages that pass over the images once run on increasing
numbers of them. Everything else in a stage runs as usual, in a separate folder.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import mean
from typing import Any

from classification.config import SUPERNET, ClassifierConfig
from classification.persistence.workspace import Workspace
from evaluate.retrain_config import RetrainConfig
from pcdarts.search_config import SearchConfig
from pipeline.config import PipelineConfig
from pipeline.estimates.brief_images import SHORT, Meter, Pass, brief_dataset, slope
from pipeline.graph import Context
from pipeline.stages.contest import contest_of
from pipeline.stages.search import SEARCHES

MEASURED = 2  # epochs of each kind, after one to warm up
_GROUP = 1 + MEASURED
_RATE = 1e-6  # keeps weights finite, at the same cost as any other rate
_GROWTH, _LEAST_GROWTH = 4, 1.5  # of the images, from one try to the next
# The training of the stages that train networks of a genotype.
_TRAININGS: dict[str, Callable[[PipelineConfig], RetrainConfig]] = {
    "retrain": lambda config: config.retrain,
    "ranking": lambda config: config.fidelity.training,
    "contest": lambda config: contest_of(config).training,
}


@dataclass(frozen=True)
class Epochs:
    """A stage's number of epochs of a kind, how many of them are followed by a test, and the number
    of checkpoints written within one. `sizes`: the work of each relative to one on all images, if
    they differ."""

    number: int
    tested: int = 0
    checkpoints: int = 0
    sizes: tuple[float, ...] = ()

    @property
    def passes(self) -> float:
        """The work of all of them, in epochs on all images."""
        return sum(self.sizes) if self.sizes else self.number


@dataclass(frozen=True)
class Epoch:
    """An epoch with brief passes; `seconds` count from the end of the previous one."""

    seconds: float
    passes: tuple[Pass, ...]


@dataclass(frozen=True)
class Trial:
    """The epochs of a trial, `MEASURED` of each kind after one to warm up."""

    epochs: tuple[Epoch, ...]
    finish: float  # seconds from the last epoch to the stage's end

    def seconds(self, kinds: Sequence[Epochs]) -> float:
        """Return the seconds of a stage with these kinds of epochs, in the trial's order."""
        groups = [self.epochs[i : i + _GROUP] for i in range(0, len(self.epochs), _GROUP)]
        pairs = zip(groups, kinds, strict=True)
        return self.finish + sum(_seconds_of(group, kind) for group, kind in pairs)


def _seconds_of(group: Sequence[Epoch], kind: Epochs) -> float:
    """Return the seconds of all epochs of a kind, and of the work before the first of them.

    Uses means rather than medians, since other processes slow down the real run too.
    """
    settling, *measured = group
    training = mean(_all_seconds(epoch, True) for epoch in measured)
    testing = mean(_all_seconds(epoch, False) for epoch in measured)
    rest = mean(epoch.seconds - sum(p.elapsed for p in epoch.passes) for epoch in measured)
    share = sum(training * p.seen / p.of for p in settling.passes if p.training)
    whole_tests = sum(p.of for p in settling.passes if not p.training)
    seen = sum(p.seen for p in settling.passes if not p.training)
    share += testing * seen / whole_tests if whole_tests else 0.0
    share += sum(p.added for p in settling.passes)
    start = max(0.0, settling.seconds - share - rest)
    saving = kind.number * rest * (1 + kind.checkpoints)
    return start + kind.passes * training + saving + kind.tested * testing


def _all_seconds(epoch: Epoch, training: bool) -> float:
    return sum(p.all_seconds for p in epoch.passes if p.training == training)


class Timer:
    """A stage's progress callback that times its epochs, and marks warm-up epochs for the meter."""

    def __init__(self, meter: Meter, progress: Callable[[], None] = lambda: None) -> None:
        self.epochs: list[Epoch] = []
        self._meter, self._last, self._progress = meter, meter.now(), progress

    def __call__(self, done: int, total: int, unit: str, **metrics: float) -> None:
        self._progress()
        if unit == "epoch":
            self.epochs.append(Epoch(self.lap(), self._meter.take()))
            self._meter.settling = len(self.epochs) % _GROUP == 0

    def lap(self) -> float:
        before, self._last = self._last, self._meter.now()
        return self._last - before


def try_training(
    run: Callable[[Context[Any]], None],
    context: Context[Any],
    meter: Meter,
    progress: Callable[[], None] = lambda: None,
) -> Trial:
    """Call `run`, a training with the settings of `brief_config`, on datasets with brief passes.

    `progress` is called after every step.
    """
    timer = Timer(meter, progress)
    brief = replace(
        context,
        datasets={name: brief_dataset(d, meter) for name, d in context.datasets.items()},
        workspace=Workspace(context.workspace.directory, timer),
    )
    run(brief)
    return Trial(tuple(timer.epochs), timer.lap())


def time_of_pass(stage: str, config: PipelineConfig, seconds: float) -> float:
    """Return the seconds of a pass over images, so that a trial takes about `seconds`."""
    kinds = kinds_of_epochs(stage, config, 1)
    passes = sum(_GROUP * (2 if kind.tested else 1) for kind in kinds)
    return seconds / passes


def try_images(run: Callable[[int], float], images: int, seconds: float, first: int = 4) -> float:
    """Extrapolate the seconds for all `images`.

    `run` takes a number of images and returns its seconds. It runs twice on `first` images, as the
    first time includes imports, which are added once; then on up to four times as many each time,
    as far as about `seconds` in all allow.
    """
    number = min(first, images)
    begin = run(number)
    timed = {number: run(number)}
    preparing, spent = max(0.0, begin - timed[number]), begin + timed[number]
    while following := _following(timed, images, seconds - spent):
        timed[following] = run(following)
        spent += timed[following]
    return preparing + extrapolate(timed, images)


def extrapolate(timed: Mapping[int, float], images: int) -> float:
    """Return the seconds for `images`, by the seconds of smaller numbers: along the line through
    the smallest and the largest, or in proportion if there is one number only."""
    number, elapsed = max(timed.items())
    return elapsed + (images - number) * slope(timed)


def _following(timed: Mapping[int, float], images: int, left: float) -> int:
    """Return the next number of images to try in the seconds that are left, 0 for none."""
    number, elapsed = max(timed.items())
    each = slope(timed)
    fits = images if each == 0 else number + int((left - elapsed) / each)
    if len(timed) == 1 and elapsed <= max(left, SHORT):
        fits = max(fits, 2 * number)  # two numbers tell what does not depend on the images
    following = min(images, _GROWTH * number, fits)
    return following if following >= min(images, _LEAST_GROWTH * number) > number else 0


def remaining(kinds: Sequence[Epochs], done: int) -> list[Epochs]:
    """Return the epochs that remain after the first `done`."""
    left = []
    for kind in kinds:
        number = max(0, kind.number - done)
        done -= kind.number - number
        tested, sizes = round(kind.tested * number / kind.number), kind.sizes
        left.append(replace(kind, number=number, tested=tested, sizes=sizes[len(sizes) - number :]))
    return left


def trains(stage: str, config: PipelineConfig) -> bool:
    """Whether a stage trains in epochs."""
    return stage in (*SEARCHES, "retrain", "probe") or (
        stage == "scorer" and config.scorer.weights is None
    )


def kinds_of_epochs(stage: str, config: PipelineConfig, steps: int) -> list[Epochs]:
    """Return the kinds of epochs, in order, of a training stage with `steps` steps per epoch; of a
    ranking or a contest, those of one training."""
    search = config.search
    if stage in SEARCHES:
        within = _within(steps, search.checkpoint_steps)
        warmup, epochs = search.warmup_epochs, search.epochs
        full = Epochs(
            epochs - warmup, checkpoints=within, sizes=_sizes(search, range(warmup, epochs))
        )
        warm = Epochs(warmup, checkpoints=within, sizes=_sizes(search, range(warmup)))
        warm_up = [warm] if _warms_up(config) else []
        return [*warm_up, full]
    if stage in _TRAININGS:
        training = _TRAININGS[stage](config)
        epochs, every = training.epochs, training.checkpoint_steps
        tested = -(-epochs // training.test_every)
        return [Epochs(epochs, tested, _within(steps, every))]
    if stage == "scorer" and config.scorer.model == SUPERNET:
        epochs = search.warmup_epochs
        return [Epochs(epochs, epochs, _within(steps, search.checkpoint_steps))]
    trained = config.scorer if stage == "scorer" else config.probed
    epochs = trained.trained_epochs
    tested = -(-epochs // trained.test_every)
    if stage == "probe":
        epochs, tested = epochs * config.probes, tested * config.probes
    # A backward pass is taken to cost two forward ones, as below.
    sizes = (4 / 3,) * epochs if trained.record_dynamics else ()
    return [Epochs(epochs, tested, _within(steps, trained.checkpoint_steps), sizes)]


def _sizes(search: SearchConfig, epochs: range) -> tuple[float, ...]:
    """Return the work of the epochs, from 0, of a search that drops images, relative to one on all
    images.

    An observation is a forward pass over both halves of the images that are left, and a backward
    pass is taken to cost two forward ones: a warm-up epoch is three passes over one half, a later
    one three over each.
    """
    pruning = search.pruning
    if pruning is None:
        return ()
    sizes = []
    for epoch in epochs:
        observed = epoch + 1 in pruning.observed_epochs
        beside = (2 / 3 if epoch < search.warmup_epochs else 1 / 3) if observed else 0.0
        sizes.append(pruning.trained_fraction(epoch) + beside * pruning.fraction_after(epoch))
    return tuple(sizes)


def brief_config(stage: str, config: PipelineConfig) -> PipelineConfig:
    """Return the config of a trial: a group of epochs of each kind, and a tiny learning rate. The
    training of the architectures of a ranking or a contest is in `retrain`.

    A scorer does not record its losses, since that needs complete epochs and costs very little, nor
    its dynamics, a forward pass over all images, whose work is added to that of the epochs.
    """
    rate = {"learning_rate": _RATE}
    of_warm_up = stage == "scorer" and config.scorer.model == SUPERNET
    warm = _GROUP if of_warm_up or _warms_up(config) else 0
    search = {
        "warmup_epochs": warm,
        "epochs": warm + _GROUP,
        "rate_warmup_epochs": 0,
        "checkpoint_steps": None,
        "pruning": None,
    }
    brief: dict[str, object] = {}
    if stage in SEARCHES or of_warm_up:
        brief["search"] = config.search.model_copy(update=search | rate)
    elif stage in _TRAININGS:
        training = _TRAININGS[stage](config)
        changes = {"epochs": _GROUP, "warmup_epochs": 0, "checkpoint_steps": None, "test_every": 1}
        brief["retrain"] = training.model_copy(update=changes | rate)
    elif stage == "scorer":
        brief["scorer"] = _brief_classifier(config.scorer)
    else:
        brief |= {"probe": _brief_classifier(config.probed), "probes": 1}
    return config.model_copy(update=brief)


def epoch_steps(stage: str, config: PipelineConfig, images: int) -> int:
    """Return the steps of an epoch on `images` images."""
    return -(-images // batch_size(stage, config))


def batch_size(stage: str, config: PipelineConfig) -> int:
    """Return the images of a batch of a stage that trains."""
    if stage in _TRAININGS:
        return _TRAININGS[stage](config).batch_size
    of_warm_up = config.scorer.model == SUPERNET
    batches = {
        **dict.fromkeys(SEARCHES, config.search.batch_size),
        "probe": config.probed.batch_size,
        "baseline": config.scorer.batch_size,  # whose recipe early networks share
        "scorer": config.search.batch_size if of_warm_up else config.scorer.batch_size,
    }
    return batches[stage]


def _brief_classifier(config: ClassifierConfig) -> ClassifierConfig:
    return config.model_copy(
        update={
            "epochs": _GROUP,
            "stop_epoch": None,
            "learning_rate": _RATE,
            "test_every": 1,
            "checkpoint_steps": None,
            "record_losses": False,
            "record_dynamics": False,
            "cuda_graph": config.graph_mode,
        }
    )


def _warms_up(config: PipelineConfig) -> bool:
    """Whether the search does its own warm-up."""
    return config.search.warmup_epochs > 0 and config.scorer.model != SUPERNET


def _within(steps: int, every: int | None) -> int:
    """Return the number of checkpoints within an epoch, excluding its end."""
    return 0 if every is None else (steps - 1) // every
