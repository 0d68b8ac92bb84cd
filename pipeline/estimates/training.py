"""Expected cost of the stages that train in epochs, from a few steps of them.

The network that a search will find is not known, and networks differ in cost: retraining is tried
with a light, a medium and a heavy one, as far as the time allows.
"""

from statistics import median
from typing import Any

import numpy as np
from torch import Tensor

from classification.persistence.arrays import save_array
from classification.persistence.workspace import finished_steps
from classification.seeding import make_generator
from classification.training.recorded_losses import TRAINING_ENTROPIES, TRAINING_LOSSES
from evaluate.fidelity import sample_architectures
from evaluate.retrain import retrain
from pcdarts.genotype import Genotype, random_genotype
from pipeline.estimates.bench import Bench
from pipeline.estimates.brief_images import Meter
from pipeline.estimates.expected import Expected
from pipeline.estimates.trial import (
    Trial,
    brief_config,
    epoch_steps,
    kinds_of_epochs,
    remaining,
    time_of_pass,
    try_training,
)
from pipeline.graph import Context
from pipeline.stages.genotype import genotype_stage
from pipeline.stages.search import GENOTYPE, SEARCHES
from pipeline.stages.subset import SUBSET, num_kept
from subsample.selection import Subset

_NETWORKS = 101  # drawn at random, three of which replace the network not yet found
# Cost of a network at the 10th and 90th percentile of random ones, relative to the median.
LIGHT, HEAVY = 0.75, 1.3
_UNTRIED = "assumed 0.75 to 1.3 times, as networks differ and one took the time of measuring"
_LAYERS = {
    "max_pool_3x3": 1,
    "avg_pool_3x3": 1,
    "skip_connect": 0,
    "sep_conv_3x3": 4,
    "sep_conv_5x5": 4,
    "dil_conv_3x3": 2,
    "dil_conv_5x5": 2,
}


def expect_training(bench: Bench, name: str, seconds: float) -> Expected:
    """Expect a scorer, search or probe; a scorer's brief weights are kept for later stages."""
    trial, cut = _try(bench, name, name, seconds)
    if name in ("scorer", "probe"):
        bench.artifacts[name] = bench.stand_in(name, name)
    if name == "scorer" and bench.config.scores.source == "training":
        shape = (len(bench.data.train), bench.config.scorer.trained_epochs)
        for file in (TRAINING_LOSSES, TRAINING_ENTROPIES):
            save_array(bench.root / name / file, bench.by_chance(shape))
    return Expected(_seconds(bench, name, trial), cut=cut)


def expect_retraining(bench: Bench, name: str, seconds: float) -> Expected:
    """Expect the retraining of the network found, or of three random ones before it is found."""
    source = genotype_stage(bench.config)
    if source in bench.artifacts:
        trial, cut = _try(bench, name, name, seconds)
        bench.artifacts[name] = bench.stand_in(name, name)
        return Expected(_seconds(bench, name, trial), cut=cut)
    found: list[float] = []
    cuts, begun = [], bench.clock()
    for number, genotype in enumerate(draw_medium_light_heavy(bench.config.seed)):
        folder = f"network-{number}"
        bench.artifacts[source] = bench.stand_in(source, folder)
        genotype.save(bench.artifacts[source].path / GENOTYPE)
        if bench.config.budget is not None:
            bench.run("width", bench.data, f"width-{number}")
        trial, cut = _try(bench, name, f"{name}-{number}", seconds / 3)
        found.append(_seconds(bench, name, trial))
        cuts.append(cut)
        spent = bench.clock() - begun
        if spent * (number + 2) / (number + 1) > 1.2 * seconds:
            break  # single steps take longer than the time for measuring
    # Later stages evaluate the medium network.
    bench.artifacts[source] = bench.stand_in(source, "network-0")
    if bench.config.budget is not None:
        bench.artifacts["width"] = bench.stand_in("width", "width-0")
    bench.artifacts[name] = bench.stand_in(name, f"{name}-0")
    cut = min((each for each in cuts if each is not None), default=None)
    if len(found) < 3:
        return Expected(found[0], LIGHT * found[0], HEAVY * found[0], _UNTRIED, cut)
    return Expected(median(found), min(found), max(found), "depends on the network found", cut)


def expect_ranking(bench: Bench, name: str, seconds: float) -> Expected:
    """Expect the training of a ranking's networks, from up to three of them."""
    config, data = bench.config, bench.data
    subset = Subset.load(bench.artifacts["subset"].path / SUBSET)
    training = brief_config(name, config).retrain
    networks = sample_architectures(config.fidelity, config.seed)
    tried: list[tuple[int, float]] = []
    cuts, begun = [], bench.clock()
    for number, genotype in enumerate(medium_light_heavy(networks)):

        def run(context: Context[Any], genotype: Genotype = genotype) -> None:
            retrain(
                genotype,
                context.datasets["data"].with_train(subset.indices),
                training,
                seed=config.seed,
                device=context.device,
                workspace=context.workspace,
            )

        meter = _meter(bench, name, seconds / 3)
        context = bench.context(name, data, f"{name}-{number}")
        trial = try_training(run, context, meter, bench.tell)
        tried.append((layers(genotype), trial.seconds(_kinds(bench, name))))
        cuts.append(meter.cut)
        if (bench.clock() - begun) * (number + 2) / (number + 1) > 1.2 * seconds:
            break
    finished = finished_steps(bench.runner.store.workspace(name, bench.runner.keys[name]))
    cut = min((each for each in cuts if each is not None), default=None)
    left = [layers(each) for each in networks[finished:]]
    if len(tried) < 3:
        all_ = len(left) * tried[0][1]
        return Expected(all_, LIGHT * all_, HEAVY * all_, _UNTRIED, cut)
    # The cost of the others follows from their layers.
    counted, spent = [float(each) for each, _ in tried], [each for _, each in tried]
    degree = 1 if len(set(counted)) > 1 else 0
    line = np.poly1d(np.polyfit(counted, spent, degree))
    return Expected(float(sum(max(0.0, line(each)) for each in left)), cut=cut)


def medium_light_heavy(networks: list[Genotype]) -> list[Genotype]:
    """Return the median, 10th and 90th percentile of `networks` by number of layers."""
    ranked = sorted(networks, key=layers)
    return [ranked[round(share * (len(ranked) - 1))] for share in (0.5, 0.1, 0.9)]


def layers(genotype: Genotype) -> int:
    """Count the convolutions and poolings of a network of eight cells, two of them reductions."""
    return sum(
        times * _LAYERS[edge.operation]
        for cell, times in ((genotype.normal, 6), (genotype.reduce, 2))
        for node in cell
        for edge in node
    )


def draw_medium_light_heavy(seed: int) -> list[Genotype]:
    """Return a medium, a light and a heavy one of many random networks."""
    generator = make_generator(seed, "estimate-networks")
    return medium_light_heavy([random_genotype(generator) for _ in range(_NETWORKS)])


def _try(bench: Bench, name: str, folder: str, seconds: float) -> tuple[Trial, int | None]:
    """Train briefly; return the timings, and the images of a batch that was cut."""
    stage, meter = bench.runner.stages[name], _meter(bench, name, seconds)
    settings = stage.settings(brief_config(name, bench.config))
    context = bench.context(name, bench.data, folder, settings)
    return try_training(stage.run, context, meter, bench.tell), meter.cut


def _meter(bench: Bench, name: str, seconds: float) -> Meter:
    of_pass = time_of_pass(name, bench.config, seconds)
    return Meter(bench.runner.device, of_pass, bench.clock)


def _seconds(bench: Bench, name: str, trial: Trial) -> float:
    """Return the seconds of the epochs that remain."""
    done = finished_steps(bench.runner.store.workspace(name, bench.runner.keys[name]))
    return trial.seconds(remaining(_kinds(bench, name), done))


def _kinds(bench: Bench, name: str) -> Any:
    steps = epoch_steps(name, bench.config, _num_trained(bench, name))
    return kinds_of_epochs(name, bench.config, steps)


def _num_trained(bench: Bench, stage: str) -> int:
    """Return the images per epoch: half if α and β have no separate images."""
    if stage not in (*SEARCHES, "probe", "ranking"):
        return len(_labels(bench, stage))
    kept = num_kept(bench.config, bench.data)
    halved = stage in SEARCHES and bench.config.subset.architecture_fraction is None
    return -(-kept // 2) if halved else kept


def _labels(bench: Bench, stage: str) -> Tensor:
    return bench.runner.datasets["target" if stage == "retrain" else "data"].train.labels
