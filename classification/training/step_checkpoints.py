"""Checkpoints within an epoch, from which a training resumes with the same result on a CPU."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from classification.persistence.checkpoint import State
from classification.persistence.workspace import Workspace


@dataclass(frozen=True)
class Position:
    """Where a training resumes: `state` after `epochs` epochs and `steps` steps of the next."""

    epochs: int
    steps: int
    state: State


def resume(workspace: Workspace) -> Position:
    """Return the position of the newest checkpoint; its state is empty if there is none.

    A checkpoint within an epoch holds the random state of each process. Another number of
    processes resumes from the last finished epoch instead.
    """
    epochs, steps, state = workspace.resume_part()
    if steps and len(state["within"]["randomness"]) != workspace.world.size:
        steps, (epochs, state) = 0, workspace.resume()
    return Position(epochs, steps, state)


@dataclass(frozen=True)
class StepCheckpoints:
    """Saves a checkpoint every `every` steps of an epoch (None: never) and restores from it.

    Besides `state()` such a checkpoint holds, for each process, the epoch's `totals` so far and the
    state of its `generators`. The workspace counts epochs from `first_epoch` on.
    """

    workspace: Workspace
    position: Position
    every: int | None
    state: Callable[[], State]
    totals: Tensor
    generators: Sequence[torch.Generator]
    first_epoch: int = 0

    def finished(self, epoch: int) -> int:
        """Return how many steps of `epoch` were finished before this training resumed."""
        resumed = self.first_epoch + self.position.epochs
        return self.position.steps if epoch == resumed else 0

    def restore(self, epoch: int) -> int:
        """Restore totals and generators after the finished steps; returns their number."""
        steps = self.finished(epoch)
        if steps:
            within, rank = self.position.state["within"], self.workspace.world.rank
            self.totals.copy_(within["totals"][rank])
            for generator, state in zip(self.generators, within["randomness"][rank], strict=True):
                generator.set_state(state)
        return steps

    def save(self, epoch: int, steps: int, of: int) -> None:
        """Save after `steps` steps `of` an epoch if due; the last step has the epoch's own."""
        if self.every is None or steps % self.every or steps == of:
            return
        world = self.workspace.world
        within = {
            "totals": world.all_gather(self.totals.cpu()),
            "randomness": world.all_gather([each.get_state() for each in self.generators]),
        }
        state = self.state() | {"within": within}
        self.workspace.save_part(epoch - self.first_epoch, steps, state)


def module_generators(device: torch.device) -> list[torch.Generator]:
    """Return the generators of a model's modules, such as dropout, on `device`."""
    own = [torch.cuda.default_generators[device.index]] if device.type == "cuda" else []
    return [torch.default_generator, *own]
