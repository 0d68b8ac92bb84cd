"""Expected cost of the stages that train one network, from a few steps of them.

The network that a search will find is not known, and networks differ in cost: retraining is tried
with a light, a medium and a heavy one, as far as the time allows.
"""

from statistics import median

from torch import Tensor

from classification.data.strata import count_validation
from classification.persistence.arrays import save_array
from classification.persistence.workspace import finished_steps
from classification.training.dynamics import AUM, FORGETTING
from classification.training.recorded_losses import TRAINING_ENTROPIES, TRAINING_LOSSES
from pipeline.estimates.bench import Bench
from pipeline.estimates.brief_images import Meter
from pipeline.estimates.expected import Expected
from pipeline.estimates.networks import stand_ins
from pipeline.estimates.trial import (
    Epochs,
    Trial,
    brief_config,
    epoch_steps,
    kinds_of_epochs,
    remaining,
    time_of_pass,
    try_training,
)
from pipeline.stages.contest import contest_of
from pipeline.stages.genotype import genotype_stage
from pipeline.stages.search import SEARCHES
from pipeline.stages.subset import num_kept

# Cost of a network at the 10th and 90th percentile of random ones, relative to the median.
LIGHT, HEAVY = 0.75, 1.3
UNTRIED = "only one network was measured in the time; others take 0.75 to 1.3 times as long"


def expect_training(bench: Bench, name: str, seconds: float) -> Expected:
    """Expect a scorer, search or probe; a scorer's brief weights are kept for later stages."""
    trial, cut = _try(bench, name, name, seconds)
    if name in ("scorer", "probe"):
        bench.artifacts[name] = bench.stand_in(name, name)
    if name == "scorer" and bench.config.scores.source == "training":
        shape = (len(bench.data.train), bench.config.scorer.trained_epochs)
        for file in (TRAINING_LOSSES, TRAINING_ENTROPIES):
            save_array(bench.root / name / file, bench.by_chance(shape))
    if name == "scorer" and bench.config.scorer.record_dynamics:
        for file in (FORGETTING, AUM):
            save_array(bench.root / name / file, bench.by_chance((len(bench.data.train),)))
    return Expected(_seconds(bench, name, trial), cut=cut)


def expect_retraining(bench: Bench, name: str, seconds: float) -> Expected:
    """Expect the retraining of the network found, or of three random ones before it is found."""
    if genotype_stage(bench.config) in bench.artifacts:
        trial, cut = _try(bench, name, name, seconds)
        bench.artifacts[name] = bench.stand_in(name, name)
        return Expected(_seconds(bench, name, trial), cut=cut)
    found: list[float] = []
    cuts, begun, known = [], bench.clock(), bench.artifacts
    for number, (made, _) in enumerate(stand_ins(bench)):
        if number and (bench.clock() - begun) * (number + 1) / number > 1.2 * seconds:
            note = UNTRIED  # single steps take longer than the time for measuring
            low, high = LIGHT * found[0], HEAVY * found[0]
            break
        bench.artifacts = {**known, **made}
        trial, cut = _try(bench, name, f"{name}-{number}", seconds / 3)
        found.append(_seconds(bench, name, trial))
        cuts.append(cut)
    else:
        low, high, note = min(found), max(found), "depends on the network found"
    middle = found[0] if note == UNTRIED else median(found)
    # Later stages evaluate the first network, which is the medium one.
    first, _ = next(stand_ins(bench))
    bench.artifacts = {**known, **first, name: bench.stand_in(name, f"{name}-0")}
    return Expected(middle, low, high, note, smallest(cuts))


def smallest(cuts: list[int | None]) -> int | None:
    """Return the images of the smallest batch that replaced a larger one, None if none did."""
    return min((each for each in cuts if each is not None), default=None)


def meter_of(bench: Bench, name: str, seconds: float) -> Meter:
    """Return a meter for a trial of the stage that is to take about `seconds`."""
    of_pass = time_of_pass(name, bench.config, seconds)
    return Meter(bench.runner.device, of_pass, bench.clock)


def kinds_of(bench: Bench, name: str) -> list[Epochs]:
    """Return the kinds of epochs of the stage, or of one of its trainings."""
    steps = epoch_steps(name, bench.config, _num_trained(bench, name))
    return kinds_of_epochs(name, bench.config, steps)


def _try(bench: Bench, name: str, folder: str, seconds: float) -> tuple[Trial, int | None]:
    """Train briefly; return the timings, and the images of a batch that was cut."""
    stage, meter = bench.runner.stages[name], meter_of(bench, name, seconds)
    settings = stage.settings(brief_config(name, bench.config))
    context = bench.context(name, bench.data, folder, settings)
    return try_training(stage.run, context, meter, bench.tell), meter.cut


def _seconds(bench: Bench, name: str, trial: Trial) -> float:
    """Return the seconds of the epochs that remain."""
    done = finished_steps(bench.runner.store.workspace(name, bench.runner.keys[name]))
    return trial.seconds(remaining(kinds_of(bench, name), done))


def _num_trained(bench: Bench, stage: str) -> int:
    """Return the images per epoch: half if α and β have no separate images."""
    if stage in (*SEARCHES, "probe", "ranking"):
        kept = num_kept(bench.config, bench.data)
        halved = stage in SEARCHES and bench.config.subset.architecture_fraction is None
        return -(-kept // 2) if halved else kept
    labels = _labels(bench, stage)
    if stage != "contest":
        return len(labels)
    return len(labels) - sum(count_validation(labels, contest_of(bench.config).held_out))


def _labels(bench: Bench, stage: str) -> Tensor:
    source = "target" if stage in ("contest", "retrain") else "data"
    return bench.runner.datasets[source].train.labels
