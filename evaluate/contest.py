"""A contest of architectures: brief, equal training in rounds that only the best survive.

Test images are not used. With several budgets, an architecture enters once for each width that they
choose for it.
"""

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

import torch

from classification.data.datasets import ImageDataset
from classification.data.strata import count_validation, split_validation
from classification.errors import ConfigError, DataError
from classification.persistence.workspace import Workspace, finished_steps
from classification.progress import PartOfWork
from classification.seeding import make_generator
from evaluate.contest_config import ContestConfig
from evaluate.halving import Halving
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

    budgets: tuple[int, ...] = (0,)
    """The budgets, by their place in the list, that chose these channels."""
    architecture: str | None = None
    """Name of the genotype, which several contestants share; None with one budget or none."""

    def training(self, config: ContestConfig) -> RetrainConfig:
        """Return its training, which differs from that of others in the channels only."""
        own = {} if self.channels is None else {"channels": self.channels}
        return config.training.model_copy(update=own)


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


class Claim(Protocol):
    """Holds a contestant, by the name of its folder; yields False if another process has it."""

    def __call__(self, name: str, wait: bool) -> AbstractContextManager[bool]:
        """Wait for the other process if asked to."""


@dataclass(frozen=True)
class Trainings:
    """The trainings of a contest, in a workspace that several processes may share.

    All have the same seed, so the same order of images and the same initial random numbers.
    """

    contestants: Sequence[Contestant]
    split: ImageDataset
    config: ContestConfig
    seed: int
    device: torch.device
    workspace: Workspace
    claim: Claim
    booked: Callable[[str], AbstractContextManager[None]] = lambda name: nullcontext()
    """Entered while a contestant trains, with the name of its folder."""

    @property
    def halving(self) -> Halving:
        """Return the rounds, and who trains in them."""
        number = 1 + max(index for each in self.contestants for index in each.budgets)
        groups = [
            [index for index, each in enumerate(self.contestants) if budget in each.budgets]
            for budget in range(number)
        ]
        return Halving(self.config, groups)

    def of_round(self, number: int, waiting: Sequence[int]) -> Iterator[tuple[int, float]]:
        """Train contestants in a round (from 0); yield each with its held-out accuracy.

        First those that no other process holds, in order; then, in order, it waits for the others.
        """
        rounds, left = self.halving.rounds, list(waiting)
        total = sum(each.contestants * each.epochs for each in rounds)
        left_after = sum(each.contestants * each.epochs for each in rounds[number + 1 :])
        for wait in (False, True):
            for index in tuple(left):
                spent = total - left_after - len(left) * rounds[number].epochs
                with self.claim(self.folder(index), wait) as mine:
                    if not mine:
                        continue
                    accuracy = self._train(index, number, spent, total)
                left.remove(index)
                yield index, accuracy

    def folder(self, index: int) -> str:
        """Return the name of a contestant's folder in the workspace."""
        return f"{_FOLDER}{index:04d}"

    def _train(self, index: int, number: int, spent: int, total: int) -> float:
        """Train a contestant to the end of a round, unless that was done before."""
        epochs = [each.epochs for each in self.halving.rounds[: number + 1]]
        world = self.workspace.world
        inner = Workspace(
            self.workspace.path(self.folder(index)),
            PartOfWork(self.workspace.progress, spent - sum(epochs[:-1]), total, "held_out"),
            self.workspace.log,
            world,
        )
        if not world.alone or finished_steps(inner.directory) < sum(epochs):
            with self.booked(self.folder(index)):
                retrain(
                    self.contestants[index].genotype,
                    self.split,
                    self.contestants[index].training(self.config),
                    seed=self.seed,
                    device=self.device,
                    workspace=inner,
                    rounds=epochs,
                    section="contest.training",
                )
        # By its place, because a workspace may have been trained further.
        accuracy: float = inner.rows()[sum(epochs) - 1]["test_accuracy"]
        return accuracy


@contextmanager
def uncontended(name: str, wait: bool) -> Iterator[bool]:
    """Claim a contestant that no other process can have."""
    yield True


def hold_contest(
    contestants: Sequence[Contestant],
    dataset: ImageDataset,
    config: ContestConfig,
    *,
    seed: int,
    device: torch.device,
    workspace: Workspace,
    claim: Claim = uncontended,
) -> dict[str, Any]:
    """Train the contestants round by round, resuming from the workspace.

    Other processes may train some of them meanwhile with `help_contest`; `claim` then decides who
    trains which. The result is the same.

    Return "rounds", "images" (numbers of training and held-out images), "winner" (an index; with
    several budgets that of the first, and "winners" has all), and "contestants": for each its name,
    kind, genotype, channels, parameters, multiply-adds at the target's image size, and the held-out
    accuracy, 0 to 1, after each round in which it trained.
    """
    split = hold_out(dataset, config.held_out, seed)
    trainings = Trainings(contestants, split, config, seed, device, workspace, claim)
    finished, _ = workspace.resume()
    accuracies: list[list[float]] = [[] for _ in contestants]
    for row in workspace.rows()[:finished]:
        accuracies[row["contestant"]].append(row["held_out_accuracy"])
    halving, step = trainings.halving, finished
    left = halving.groups
    for number in range(len(halving.rounds)):
        trained_now = halving.training(number, left)
        waiting = [index for index in trained_now if len(accuracies[index]) <= number]
        ended: dict[int, float] = {}
        for trained, accuracy in trainings.of_round(number, waiting):
            ended[trained] = accuracy
            while waiting and waiting[0] in ended:  # rows are in order whoever ends first
                index = waiting.pop(0)
                accuracies[index].append(ended[index])
                row = {"contestant": index, "round": number + 1, "held_out_accuracy": ended[index]}
                workspace.save(step := step + 1, {}, row)
        left = halving.kept(number, left, {i: accuracies[i][number] for i in trained_now})
    winners = [own[0] for own in left]
    return {
        "images": {"train": len(split.train), "held_out": len(split.test)},
        "rounds": [
            {"contestants": sum(len(own) > number for own in accuracies), "epochs": each.epochs}
            for number, each in enumerate(halving.rounds)
        ],
        "winner": winners[0],
        **({"winners": winners} if len(winners) > 1 else {}),
        "contestants": [
            _describe(contestant, found, dataset, config)
            for contestant, found in zip(contestants, accuracies, strict=True)
        ],
    }


def help_contest(trainings: Trainings) -> None:
    """Take part in a contest that another process holds, until nothing is left to train."""
    halving = trainings.halving
    left = halving.groups
    for number in range(len(halving.rounds)):
        ended = dict(trainings.of_round(number, halving.training(number, left)))
        left = halving.kept(number, left, ended)


def remove_trainings(workspace: Workspace) -> None:
    """Remove the folders of a finished contest's contestants."""
    for folder in workspace.directory.glob(f"{_FOLDER}*"):
        shutil.rmtree(folder)


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
    several = {"architecture": contestant.architecture, "budgets": list(contestant.budgets)}
    return {
        "name": contestant.name,
        **({} if contestant.architecture is None else several),
        "kind": contestant.kind,
        "genotype": contestant.genotype.to_dict(),
        "channels": training.channels,
        "parameters": complexity.parameters,
        "multiply_adds": complexity.multiply_adds,
        "all_multiply_adds": complexity.all_multiply_adds,
        "held_out_accuracies": accuracies,
    }
