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
    """The position of the newest checkpoint; its state is empty if there is none.

    A checkpoint within an epoch holds the randomness of each process. Another number of processes
    cannot use it, and resumes from the last finished epoch.
    """
    epochs, steps, state = workspace.resume_part()
    if steps and len(state["within"]["randomness"]) != workspace.world.size:
        steps, (epochs, state) = 0, workspace.resume()
    return Position(epochs, steps, state)


@dataclass(frozen=True)
class StepCheckpoints:
    """Saves every `every`-th step of an epoch (None: no step) and restores where it was stopped.

    Besides `state()` such a checkpoint holds, of each process, the `totals` that the epoch adds up
    and the state of the `generators` that it draws from. The workspace counts epochs from
    `first_epoch` on.
    """

    workspace: Workspace
    position: Position
    every: int | None
    state: Callable[[], State]
    totals: Tensor
    generators: Sequence[torch.Generator]
    first_epoch: int = 0

    def finished(self, epoch: int) -> int:
        """How many steps of `epoch` were finished before this training resumed."""
        resumed = self.first_epoch + self.position.epochs
        return self.position.steps if epoch == resumed else 0

    def restore(self, epoch: int) -> int:
        """Set totals and generators as they were after the finished steps; returns their number."""
        steps = self.finished(epoch)
        if steps:
            within, rank = self.position.state["within"], self.workspace.world.rank
            self.totals.copy_(within["totals"][rank])
            for generator, state in zip(self.generators, within["randomness"][rank], strict=True):
                generator.set_state(state)
        return steps

    def save(self, epoch: int, steps: int, of: int) -> None:
        """Save after `steps` steps `of` an epoch if it is their turn; the last is the epoch's."""
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
    """The generators that a model's own modules, such as dropout, draw from on `device`."""
    own = [torch.cuda.default_generators[device.index]] if device.type == "cuda" else []
    return [torch.default_generator, *own]
