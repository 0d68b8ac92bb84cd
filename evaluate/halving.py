"""Successive halving (Jamieson & Talwalkar 2016): the rounds of a contest, and who trains in them.

After each round the share with the highest held-out accuracy is kept, and trains longer in the
next. With several budgets, each keeps the best of its own contestants, so a narrow network is not
dropped because a wide one, of another budget, is better.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from evaluate.contest_config import ContestConfig


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


@dataclass(frozen=True)
class Halving:
    """The rounds of the contestants of each budget, in `groups` of indices; without a budget, all
    are in one group. A contestant in several groups trains once."""

    config: ContestConfig
    groups: Sequence[Sequence[int]]

    @property
    def plans(self) -> list[list[Round]]:
        """Return the rounds of each group."""
        return [plan_rounds(self.config, len(group)) for group in self.groups]

    @property
    def rounds(self) -> list[Round]:
        """Return the rounds of all contestants. A later one may have fewer than this, because
        groups may keep the same ones."""
        plans, everyone = self.plans, len({index for group in self.groups for index in group})
        rounds = []
        for number in range(max(map(len, plans))):
            own = [plan[number] for plan in plans if number < len(plan)]
            most = min(everyone, sum(each.contestants for each in own))
            rounds.append(Round(most, own[0].epochs))
        return rounds

    def training(self, number: int, left: Sequence[Sequence[int]]) -> list[int]:
        """Return those of the contestants left in each group that train in a round (from 0): a
        group's winner does not train after the last round of its group."""
        plans = zip(self.plans, left, strict=True)
        return sorted({index for plan, own in plans if number < len(plan) for index in own})

    def kept(
        self, number: int, left: Sequence[Sequence[int]], accuracies: Mapping[int, float]
    ) -> list[Sequence[int]]:
        """Return those left in each group after a round: those of its next round, or its winner.

        Contestants of equal accuracy are ranked in their order.
        """
        found: list[Sequence[int]] = []
        for plan, own in zip(self.plans, left, strict=True):
            if number >= len(plan):
                found.append(own)  # the winner
                continue
            ranked = sorted(own, key=lambda index: -accuracies[index])
            following = plan[number + 1 : number + 2]
            found.append(sorted(ranked[: following[0].contestants]) if following else ranked[:1])
        return found
