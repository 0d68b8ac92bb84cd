"""Expected cost of the stages that train several architectures: a ranking, and a contest.

Up to three of them are tried; the cost of the others follows from their numbers of layers.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from statistics import mean
from typing import Any

import numpy as np

from classification.data.datasets import ImageDataset
from classification.persistence.workspace import finished_steps
from evaluate.contest import (
    Contestant,
    contestant_latency,
    hold_out,
    named_contestants,
)
from evaluate.contest_config import ContestConfig
from evaluate.fidelity import sample_architectures
from evaluate.halving import plan_rounds
from evaluate.retrain import network_complexity, retrain
from evaluate.retrain_config import RetrainConfig
from evaluate.width import NarrowestExceedsBudgetError
from pcdarts.genotype import Genotype
from pipeline.estimates.bench import Bench
from pipeline.estimates.expected import Expected
from pipeline.estimates.networks import (
    draw_medium_light_heavy,
    layers,
    medium_light_heavy,
    stand_ins,
)
from pipeline.estimates.training import HEAVY, LIGHT, UNTRIED, kinds_of, meter_of, smallest
from pipeline.estimates.trial import Trial, brief_config, try_training
from pipeline.graph import Context
from pipeline.stages.contest import contest_of, found_contestants
from pipeline.stages.genotype import genotype_stage
from pipeline.stages.search import GENOTYPE, searches_of
from pipeline.stages.subset import SUBSET
from pipeline.stages.width import chosen_width, describe_width
from pipeline.stages.width import settings as width_settings
from subsample.selection import Subset

Cost = Callable[[int, int], float]  # seconds of a training, by layers and epochs
Train = Callable[[Context[Any], int, RetrainConfig], None]
Kept = Callable[[Sequence[int], int], Sequence[int]]


def expect_ranking(bench: Bench, name: str, seconds: float) -> Expected:
    """Expect the training of a ranking's networks."""
    config = bench.config
    subset = Subset.load(bench.artifacts["subset"].path / SUBSET)
    networks = sample_architectures(config.fidelity, config.seed)

    chosen = medium_light_heavy(networks)

    def train(context: Context[Any], index: int, training: RetrainConfig) -> None:
        images = context.datasets["data"].with_train(subset.indices)
        _train(context, chosen[index], images, training, config.seed)

    tried, cut = _try(bench, name, chosen, train, seconds)
    (kind,) = kinds_of(bench, name)
    spent = [(counted, trial.seconds([kind])) for counted, trial in tried]
    left = [layers(each) for each in networks[_finished(bench, name) :]]
    if len(tried) < 3:
        total = len(left) * spent[0][1]
        return Expected(total, LIGHT * total, HEAVY * total, UNTRIED, cut)
    return Expected(sum(map(_by_layers(spent), left)), cut=cut)


def expect_contest(bench: Bench, name: str, seconds: float) -> Expected:
    """Expect a contest. Which of the contestants train for several rounds is not known, nor are the
    genotypes of a search that has not ended."""
    config, contest = bench.config, contest_of(bench.config)
    target = bench.runner.datasets["target"]
    contestants, choosing = [], []
    for made, spent in stand_ins(bench):
        genotype = Genotype.load(made[genotype_stage(config)].path / GENOTYPE)
        channels = chosen_width(made["width"])["channels"] if "width" in made else None
        contestants.append(Contestant("", "random", genotype, channels))
        choosing.append(spent)

    def train(context: Context[Any], index: int, training: RetrainConfig) -> None:
        images = hold_out(context.datasets["target"], contest.held_out, config.seed)
        own = {"channels": contestants[index].training(contest).channels}
        genotype = contestants[index].genotype
        _train(context, genotype, images, training.model_copy(update=own), config.seed)

    tried, cut = _try(bench, name, [each.genotype for each in contestants], train, seconds)
    (kind,) = kinds_of(bench, name)

    def describe() -> None:
        first = contestants[0]
        network_complexity(first.genotype, first.training(contest), target)
        contestant_latency(first, target, contest, bench.runner.device)

    described = bench.timed(describe) + mean(choosing)
    shares = _shares_of_budgets(bench, contestants[0].genotype)

    def cost(counted: int, epochs: int) -> float:
        whole = replace(kind, number=epochs, tested=1)
        return _by_layers([(number, trial.seconds([whole])) for number, trial in tried])(counted)

    made = {each: bench.artifacts[each] for each in searches_of(config) if each in bench.artifacts}
    known = [layers(each.genotype) for each in found_contestants(made, contest.last_epochs)]
    others = [layers(each.genotype) for each in named_contestants(contest, config.seed)]
    searches, done, ends = contest.restarts - len(made), _finished(bench, name), []
    for network, earlier, kept in zip(
        draw_medium_light_heavy(config.seed), (0.5, 0.0, 1.0), _KEPT, strict=True
    ):
        found = searches * (1 + round(earlier * contest.last_epochs))
        counts = [*known, *[layers(network)] * found, *others]
        own = described * len(counts) + contest_seconds(contest, counts, cost, kept, done)
        ends.append(shares * own)
    middle, low, high = ends[0], min(ends), max(ends)
    if len(tried) < 3:
        return Expected(middle, LIGHT * middle, HEAVY * middle, UNTRIED, cut)
    return Expected(middle, low, high, "depends on the contestants that are kept", cut)


def _shares_of_budgets(bench: Bench, genotype: Genotype) -> float:
    """Return the cost of all budgets' contestants in units of the first budget's, taken to grow
    with the multiply-adds of a network. Those that budgets share are counted for each."""
    config, target = bench.config, bench.runner.datasets["target"]
    if len(config.budgets) < 2:
        return 1.0
    own, found = width_settings(config), []
    for budget in config.budgets:
        of_budget = own.model_copy(update={"budget": budget})
        try:
            width = describe_width(of_budget, genotype, target, bench.runner.device)
        except NarrowestExceedsBudgetError:
            continue  # of a stand-in, which another genotype may not exceed
        found.append(width["multiply_adds"])
    return sum(found) / found[0] if found else 1.0


def contest_seconds(
    contest: ContestConfig, counts: Sequence[int], cost: Cost, kept: Kept, done: int = 0
) -> float:
    """Return the seconds of all rounds after the first `done` trainings.

    `counts` has the layers of each contestant, in order; `kept` returns those of a number of them,
    which train in a later round, from all in ascending order.
    """
    seconds = 0.0
    for number, each in enumerate(plan_rounds(contest, len(counts))):
        trained = kept(sorted(counts), each.contestants) if number else counts
        seconds += sum(cost(counted, each.epochs) for counted in trained[done:])
        done = max(0, done - each.contestants)
    return seconds


def _try(
    bench: Bench, name: str, genotypes: Sequence[Genotype], train: Train, seconds: float
) -> tuple[list[tuple[int, Trial]], int | None]:
    """Train the genotypes briefly, as far as the time allows. Return the layers and the timings of
    each, and the images of a batch that was cut."""
    training, tried = brief_config(name, bench.config).retrain, []
    cuts, begun = [], bench.clock()
    for number, genotype in enumerate(genotypes):
        if number and (bench.clock() - begun) * (number + 1) / number > 1.2 * seconds:
            break
        meter = meter_of(bench, name, seconds / 3)
        context = bench.context(name, bench.data, f"{name}-{number}")

        def run(own: Context[Any], index: int = number) -> None:
            train(own, index, training)

        tried.append((layers(genotype), try_training(run, context, meter, bench.tell)))
        cuts.append(meter.cut)
    return tried, smallest(cuts)


def _train(
    context: Context[Any],
    genotype: Genotype,
    images: ImageDataset,
    training: RetrainConfig,
    seed: int,
) -> None:
    device, workspace = context.device, context.workspace
    retrain(genotype, images, training, seed=seed, device=device, workspace=workspace)


def _by_layers(spent: Sequence[tuple[int, float]]) -> Callable[[int], float]:
    """Return a line through the seconds of architectures by their layers, as a function."""
    counted, seconds = zip(*spent, strict=True)
    degree = 1 if len(set(counted)) > 1 else 0
    line = np.poly1d(np.polyfit(counted, seconds, degree))
    return lambda number: max(0.0, float(line(number)))


def _finished(bench: Bench, name: str) -> int:
    return finished_steps(bench.runner.store.workspace(name, bench.runner.keys[name]))


def _average(ranked: Sequence[int], number: int) -> Sequence[int]:
    return [round(mean(ranked))] * number


def _lightest(ranked: Sequence[int], number: int) -> Sequence[int]:
    return ranked[:number]


def _heaviest(ranked: Sequence[int], number: int) -> Sequence[int]:
    return ranked[-number:]


_KEPT: tuple[Kept, ...] = (_average, _lightest, _heaviest)
