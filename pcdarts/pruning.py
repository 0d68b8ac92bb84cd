"""Pruning of the images of a search by the supernet's own predictions.

After Bi-level Data Pruning (Tu et al. 2023, arXiv 2312.14200): during the search images are dropped
progressively, at both levels (those for the weights and those for α and β), by the dynamics of the
supernet's predictions and with the classes in balance. The quantity here is the variability of the
true class's probability over epochs (Swayamdipta et al. 2020, Section 2): an image that is always
or never recognised teaches least.
"""

import json
import time
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from classification.acceleration import autocast
from classification.data.loaders import Images
from classification.data.strata import rank_in_class
from classification.data.transforms import Normalization
from classification.mixing import MixingConfig, MixingContext
from classification.persistence.checkpoint import State
from classification.persistence.storage import write_atomically
from classification.persistence.workspace import Workspace
from classification.seeding import make_generator
from classification.training.trainer import evaluating
from pcdarts.pruning_config import PRUNING, PruningConfig
from pcdarts.search_config import SearchConfig
from pcdarts.supernet import Supernet

_PARTS = ("weights", "architecture")
_BATCH = 512


class Pruning:
    """The images that a search still uses, and the observations of the next round.

    `parts` are the images for the weights and those for α and β, `indices` their places in the
    training split. Rounds rank and drop within each part, so that no image moves from one to the
    other: α and β never see an image that has trained the weights.

    With `warmup_fraction` the search trains on a random sample of each part until the first round.
    The sample follows from the seed, so that checkpoints do not hold it.
    """

    def __init__(
        self,
        config: PruningConfig,
        parts: tuple[Images, Images],
        indices: Sequence[Tensor],
        normalization: Normalization,
        num_classes: int,
        seed: int,
        workspace: Workspace,
    ) -> None:
        self.config, self._all, self._indices = config, parts, indices
        self._normalization, self._num_classes = normalization, num_classes
        self._seed, self._workspace = seed, workspace
        self._rounds: list[list[Tensor]] = []  # places in the parts, ascending
        self._observed: list[list[Tensor]] = []  # for each part, float32 [n]
        self._sample: list[Tensor] | None = None  # places in the parts, ascending
        if config.warmup_fraction is not None:
            self._sample = [self._sample_of(place) for place in range(len(parts))]

    @property
    def left(self) -> tuple[Images, Images]:
        """The images of each part that no round has dropped: they are observed."""
        return self._take(self._rounds[-1] if self._rounds else None)

    @property
    def parts(self) -> tuple[Images, Images]:
        """The images of each part that the search trains on."""
        return self.left if self._rounds else self._take(self._sample)

    def finish_epoch(self, epoch: int, model: Supernet, search: SearchConfig) -> bool:
        """Observe and drop what is due after `epoch` epochs; whether images were dropped."""
        config, world = self.config, self._workspace.world
        begun = time.perf_counter()
        number = config.observed_epochs.get(epoch)
        if number is not None:
            observe = partial(self._observe, epoch, model, search)
            self._observed.append(world.from_first(observe))
        due = epoch in config.round_epochs
        if due:
            number = config.round_epochs.index(epoch) + 1
            self._rounds.append(self._round(number))
            self._observed.clear()
        if number is not None:
            self._workspace.spent(f"pruning round {number}", time.perf_counter() - begun)
        return due

    def state(self) -> State:
        """Return the state to save: the kept images of all rounds, and the observations."""
        return {"rounds": self._rounds, "observed": self._observed}

    def load_state(self, state: State) -> None:
        """Restore what `state` returned."""
        self._rounds = [list(kept) for kept in state["rounds"]]
        self._observed = [list(observed) for observed in state["observed"]]

    def save(self) -> None:
        """Write the images that each round kept and the sample of the warm-up, as places in the
        training split."""
        rounds = [
            {
                "epoch": epoch,
                "fraction": self.config.fraction_after(epoch),
                "kept": self._in_split(places),
            }
            for epoch, places in zip(self.config.round_epochs, self._rounds, strict=True)
        ]
        content: dict[str, Any] = {"images": [len(part) for part in self._all]}
        if self._sample is not None:
            content["warmup"] = {
                "fraction": self.config.warmup_fraction,
                "images": self._in_split(self._sample),
            }
        content["rounds"] = rounds
        write_atomically(self._workspace.path(PRUNING), json.dumps(content) + "\n")

    def _take(self, places: Sequence[Tensor] | None) -> tuple[Images, Images]:
        """Return the images at `places` of each part, all of them by default."""
        if places is None:
            return self._all
        first, second = (part.take(own) for part, own in zip(self._all, places, strict=True))
        return first, second

    def _in_split(self, places: Sequence[Tensor]) -> dict[str, list[int]]:
        """Return the places in the training split, ascending, of those in each part."""
        return {
            name: sorted(indices[own].tolist())
            for name, indices, own in zip(_PARTS, self._indices, places, strict=True)
        }

    def _sample_of(self, place: int) -> Tensor:
        """Return the random places in a part of the images that it trains on until round 1."""
        labels = self._all[place].labels.cpu()
        draws = make_generator(self._seed, "search-pruning-sample", place)
        wanted = [self.config.sampled_of(n) if n else 0 for n in labels.bincount().tolist()]
        return most_telling(torch.rand(len(labels), generator=draws), labels, wanted)

    def _observe(self, epoch: int, model: Supernet, search: SearchConfig) -> list[Tensor]:
        """Return the probability that `model`, in eval mode, gives to each image's label: float32
        [n] on the CPU for each part; of a mix, to its soft label."""
        device = model.betas_normal.device
        mixer = None
        if self.config.predictions == "mixes":
            context = MixingContext(self._normalization, model, stages=())
            mixer = MixingConfig().build(self._num_classes, context)

        def observed(place: int, images: Images) -> Iterator[Tensor]:
            draws = make_generator(self._seed, "search-pruning-mixes", epoch, place, device=device)
            for pixels, labels in images.loader(_BATCH, device, training=False).batches():
                inputs, targets = self._normalization(pixels), labels
                if mixer is not None:
                    inputs, targets = mixer(inputs, labels, draws)
                with autocast(search.precision, device):
                    logits = model(inputs)
                shares = logits.float().softmax(1)
                if targets.ndim == 1:
                    yield shares.gather(1, targets[:, None])[:, 0]
                else:
                    yield (shares * targets).sum(1)

        with evaluating(model), torch.no_grad():
            return [
                torch.cat(list(observed(place, images))).cpu()
                for place, images in enumerate(self.left)
            ]

    def _round(self, number: int) -> list[Tensor]:
        """Return the places in the parts of the images that round `number`, from 1, keeps."""
        before = self._rounds[-1] if self._rounds else [torch.arange(len(p)) for p in self._all]
        kept = []
        for place, (part, left) in enumerate(zip(self._all, before, strict=True)):
            labels = part.labels.cpu()
            if self.config.by_dynamics:
                gains = variability([both[place] for both in self._observed])
            else:
                draws = make_generator(self._seed, "search-pruning", number, place)
                gains = torch.rand(len(left), generator=draws)
            wanted = [
                self.config.kept_of(n, number) if n else 0 for n in labels.bincount().tolist()
            ]
            kept.append(left[most_telling(gains, labels[left], wanted)])
        return kept


def variability(observed: Sequence[Tensor]) -> Tensor:
    """Return the standard deviation over T observations [n] of each image, float64 [n].

    Dividing by T, as Swayamdipta et al. 2020 do.
    """
    return torch.stack(list(observed)).double().std(0, correction=0)


def most_telling(gains: Tensor, labels: Tensor, wanted: Sequence[int]) -> Tensor:
    """Return the places, ascending, of the `wanted[c]` images of each class c of largest gain.

    `gains` [n], `labels` int64 [n]; of equal gains the first counts more.
    """
    order = gains.argsort(descending=True, stable=True)
    ranks = rank_in_class(labels[order])
    return order[ranks < torch.tensor(wanted)[labels[order]]].sort().values
