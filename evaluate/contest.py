"""A contest of architectures: brief, equal training in rounds that only the best survive.

Successive halving (Jamieson & Talwalkar 2016): after each round the share with the highest
held-out accuracy is kept, and trains longer in the next. Test images are not used.
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch

from classification.data.datasets import ImageDataset
from classification.data.strata import count_validation, split_validation
from classification.errors import ConfigError, DataError
from classification.persistence.workspace import Workspace
from classification.seeding import make_generator
from evaluate.brief_training import PartOfWork
from evaluate.contest_config import ContestConfig
from evaluate.retrain import build_network, network_complexity, retrain
from evaluate.retrain_config import RetrainConfig
from evaluate.width import measure_latency
from pcdarts.genotype import Genotype, random_genotype
from pcdarts.published_genotypes import GENOTYPES

_FOLDER = "contestant-"

Kind = Literal["found", "earlier epoch", "random", "published"]


@dataclass(frozen=True)
class Contestant:
    """A named genotype, and where it comes from."""

    name: str
    kind: Kind
    genotype: Genotype
    channels: int | None = None
    """Of its network in the contest, if a budget decides; None: those of the contest's training."""

    def training(self, config: ContestConfig) -> RetrainConfig:
        """Return its training, which differs from that of others in the channels only."""
        own = {} if self.channels is None else {"channels": self.channels}
        return config.training.model_copy(update=own)


@dataclass(frozen=True)
class Round:
    """A round: how many contestants train, for how many more epochs each."""

    contestants: int
    epochs: int


def plan_rounds(config: ContestConfig, contestants: int) -> list[Round]:
    """Return the rounds for this many contestants, up to the last in which two are left to compare.

    At least one contestant is kept after each round, and never all.
    """
    rounds: list[Round] = []
    while len(rounds) < config.rounds and (contestants > 1 or not rounds):
        epochs = round(config.training.epochs / config.share_kept ** len(rounds))
        rounds.append(Round(contestants, epochs))
        kept = int(contestants * config.share_kept + 1e-9)  # 0.1 · 30 is not below 3
        contestants = min(max(1, kept), contestants - 1)
    return rounds


def named_contestants(config: ContestConfig, seed: int) -> list[Contestant]:
    """Return the random and the published contestants. The random ones depend on the seed only."""
    generator = make_generator(seed, "contest-architectures")
    drawn = [random_genotype(generator) for _ in range(config.random)]
    return [
        *(Contestant(f"random {n}", "random", each) for n, each in enumerate(drawn, 1)),
        *(Contestant(name, "published", GENOTYPES[name]) for name in config.published),
    ]


def hold_out(dataset: ImageDataset, fraction: float, seed: int) -> ImageDataset:
    """Return a dataset in which a part of each class of train replaces the test images."""
    generator = make_generator(seed, "contest-held-out")
    kept, held_out = split_validation(dataset.train.labels, fraction, generator)
    return replace(dataset, train=dataset.train.take(kept), test=dataset.train.take(held_out))


def hold_contest(
    contestants: Sequence[Contestant],
    dataset: ImageDataset,
    config: ContestConfig,
    *,
    seed: int,
    device: torch.device,
    workspace: Workspace,
) -> dict[str, Any]:
    """Train the contestants round by round, resuming from the workspace.

    All have the same seed, so the same order of images and the same initial random numbers.
    Contestants of equal accuracy are ranked in their order. Return "rounds", "images" (numbers of
    training and held-out images), "winner" (an index), and "contestants": for each its name, kind,
    genotype, channels, parameters, multiply-adds at the target's image size, and the held-out
    accuracy, 0 to 1, after each round in which it trained.
    """
    split = hold_out(dataset, config.held_out, seed)
    rounds = plan_rounds(config, len(contestants))
    finished, _ = workspace.resume()
    accuracies: list[list[float]] = [[] for _ in contestants]
    for row in workspace.rows()[:finished]:
        accuracies[row["contestant"]].append(row["held_out_accuracy"])
    total = sum(each.contestants * each.epochs for each in rounds)
    left, step, spent, before = list(range(len(contestants))), 0, 0, 0
    for number, each in enumerate(rounds):
        for index in left:
            step += 1
            if step > finished:
                inner = Workspace(
                    workspace.path(f"{_FOLDER}{index:04d}"),
                    PartOfWork(workspace.progress, spent - before, total, "held_out"),
                    workspace.log,
                    workspace.world,
                )
                retrain(
                    contestants[index].genotype,
                    split,
                    contestants[index].training(config),
                    seed=seed,
                    device=device,
                    workspace=inner,
                    rounds=[done.epochs for done in rounds[: number + 1]],
                )
                # By its place, because a workspace may have been trained further.
                accuracy = inner.rows()[before + each.epochs - 1]["test_accuracy"]
                accuracies[index].append(accuracy)
                row = {"contestant": index, "round": number + 1, "held_out_accuracy": accuracy}
                workspace.save(step, {}, row)
            spent += each.epochs
        before += each.epochs
        left.sort(key=lambda index: -accuracies[index][-1])  # stable: equals keep their order
        left = sorted(left[: rounds[number + 1].contestants]) if number + 1 < len(rounds) else left
    for folder in workspace.directory.glob(f"{_FOLDER}*"):
        shutil.rmtree(folder)
    return {
        "images": {"train": len(split.train), "held_out": len(split.test)},
        "rounds": [{"contestants": r.contestants, "epochs": r.epochs} for r in rounds],
        "winner": left[0],
        "contestants": [
            _describe(contestant, found, dataset, config)
            for contestant, found in zip(contestants, accuracies, strict=True)
        ],
    }


def check_contest(config: ContestConfig, dataset: ImageDataset) -> None:
    """Raise ConfigError, naming the key, if the contestants cannot be trained on the target."""
    try:
        held_out = sum(count_validation(dataset.train.labels, config.held_out))
    except DataError as error:
        reason = str(error).removeprefix("validation_fraction")
        raise ConfigError(f"contest.held_out{reason}") from error
    left = len(dataset.train) - held_out
    config.check("contest", dataset, "target", left, "training images that held_out leaves")


def contestant_latency(
    contestant: Contestant, dataset: ImageDataset, config: ContestConfig, device: torch.device
) -> float:
    """Return the milliseconds of one image through the contestant's network, untrained."""
    training = contestant.training(config)
    network = build_network(contestant.genotype, training, dataset.num_classes)
    return measure_latency(network, dataset.image_size, device)


def _describe(
    contestant: Contestant, accuracies: list[float], dataset: ImageDataset, config: ContestConfig
) -> dict[str, Any]:
    training = contestant.training(config)
    complexity = network_complexity(contestant.genotype, training, dataset)
    return {
        "name": contestant.name,
        "kind": contestant.kind,
        "genotype": contestant.genotype.to_dict(),
        "channels": training.channels,
        "parameters": complexity.parameters,
        "multiply_adds": complexity.multiply_adds,
        "all_multiply_adds": complexity.all_multiply_adds,
        "held_out_accuracies": accuracies,
    }
