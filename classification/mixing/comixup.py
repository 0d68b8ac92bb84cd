"""Co-Mixup (Kim, Choo, Jeong & Song 2021): a batch of mixes optimised together.

"Co-Mixup: Saliency Guided Joint Mixup with Supermodular Diversity", ICLR 2021. The authors' code
(github.com/snu-mllab/Co-Mixup) settles what the paper leaves open; the constants are its settings
for CIFAR-100. From n images as many mixes are made, each a grid of blocks that show one image, or
two by halves. Together they minimise the salience of what they show, negated, less a prior that
follows the images' fractions, plus seams between neighbours that differ, plus what any two mixes
show of the same image, or of images that are salient in places far apart.
"""

from collections.abc import Iterable
from itertools import combinations

import numpy as np
import torch
import torch.nn.functional as F
from maxflow.fastmin import abswap_grid_step
from numpy.typing import NDArray
from torch import Tensor

from classification.mixing.boxes import compose
from classification.mixing.mixer import DirichletMixer, Mix, sample_fractions
from classification.mixing.puzzlemix import enlarge, salience_by_block
from classification.mixing.saliency import SaliencySource, check_saliency

_PARTITION = 20  # images that are mixed with one another
_BLOCKS = 4  # a side
_SMOOTHNESS = 0.32  # β, of a seam, for 1/blocks
_OVERLAP = 1.0  # γ, of what two mixes show of one image, for 1/blocks
_TOLERATED = 0.83  # τ, part of a mix's blocks up to which the other mixes' use of an image is free
_PRIOR = 0.05  # η, for 1/blocks
_INCOMPATIBILITY = 0.001  # ω, weight of the images' distances against their identity
_REGION = 8  # pixels a side of what is compared to find the most salient place
_ROUNDS = 4
_HALF_SEAM = 0.25  # of a seam, between a block and one that shows half of the same
_HALF_GAIN = 5e-4  # taken off what a block by halves costs
_SETTLED = 1e-6  # relative change of the objective that ends the rounds
_TINY = 1e-8  # keeps the logarithms finite

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


class CoMixup(DirichletMixer):
    """Mixes of the images of a partition, optimised together, labelled by exact pixel shares.

    `saliency` turns (images, labels) into a map [N, H, W]. A batch is parted into runs of up to 20
    neighbours, so it should be shuffled; `Mix.partners` [N, min(20, N)] are the members of the
    sample's partition in turn, from itself on, and itself with weight 0 where the last is smaller.
    Sample n's mix is the partition's n-th: it need not show image n. The fractions, Dirichlet(α),
    are drawn for each partition. Float images keep their type; uint8 images become float32 in
    [0, 255], since blocks may show two images by halves.

    The authors also train on the unmixed batch, with the gradients that give the saliency
    (`clean_lam` in their code): that is for a training loop, not for a mixer.
    """

    capturable = False  # the mixes are optimised on the CPU

    def __init__(
        self,
        saliency: SaliencySource,
        alpha: float = 2.0,
        prob: float = 1.0,
        num_classes: int | None = None,
    ) -> None:
        super().__init__(_PARTITION, alpha, prob, num_classes)
        self.saliency = saliency

    def _mix(self, images: Tensor, labels: Tensor, generator: torch.Generator) -> Mix:
        """As `BatchMixer.mix`. Raises ConfigError if the saliency is not a map for each image.

        Where the batch is not mixed, the saliency is not asked for and stays None.
        """
        batch_size, _, height, width = images.shape
        device = images.device
        grid = (min(_BLOCKS, height), min(_BLOCKS, width))
        owners = torch.zeros(batch_size, *grid, 2, dtype=torch.long, device=device)
        saliency = None
        if self.prob == 1 or bool(torch.rand((), generator=generator, device=device) < self.prob):
            with torch.no_grad():
                saliency = self.saliency(images, labels)
            check_saliency(saliency, images)
            owners = self._find_owners(saliency, grid, generator)
        partners = _partners(batch_size, min(self.num_images, batch_size), device)
        shares = F.one_hot(owners, partners.shape[1]).float().mean(3).movedim(3, 1)
        shares = enlarge(shares, (height, width))
        halves = [enlarge(half, (height, width)) for half in owners.unbind(3)]
        first, second = (compose(images, partners, half) for half in halves)
        dtype = torch.promote_types(images.dtype, torch.float32)
        mixed = (first.to(dtype) + second.to(dtype)) / 2
        if images.is_floating_point():
            mixed = mixed.to(images.dtype)
        weights = shares.mean((2, 3))
        targets = self._targets(labels, partners, weights)
        return Mix(mixed, targets, partners, weights, shares=shares, saliency=saliency)

    def _find_owners(
        self, saliency: Tensor, grid: tuple[int, int], generator: torch.Generator
    ) -> Tensor:
        """Positions in `Mix.partners` of both halves of each block, int64 [N, rows, columns, 2]."""
        device = saliency.device
        salience = salience_by_block(saliency, grid)
        places = _most_salient_places(saliency)
        owners = []
        for members in torch.arange(len(saliency), device=device).split(self.num_images):
            number = len(members)
            fractions = sample_fractions(self.alpha, (number,), generator, device)
            shape = (number, *grid)
            start = torch.randint(number, shape, generator=generator, device=device)
            prior = _PRIOR / (grid[0] * grid[1]) * (fractions + _TINY).log()
            costs = -(salience[members] + prior[:, None, None])
            incompatibility = _incompatibility(places[members])
            shown = arrange(
                costs.double().cpu().numpy(),
                incompatibility.double().cpu().numpy(),
                start.cpu().numpy(),
            )
            itself = np.arange(number).reshape(-1, 1, 1, 1)
            owners.append(torch.from_numpy((shown - itself) % number))
        return torch.cat(owners).to(device)


def arrange(
    costs: Floats, incompatibility: Floats, start: Integers, tolerated: float = _TOLERATED
) -> Integers:
    """The images that the two halves of each block of each mix show, int64 [n, rows, columns, 2].

    `costs` [n, rows, columns] of showing an image at a block, `incompatibility` [n, n], `start`
    [n, rows, columns] the images to start from (Algorithm 1). Each mix in turn is optimised against
    what the others show, which makes an image dearer for it; but only images count that the others
    show on more than `tolerated` times a mix's blocks, those that are incompatible included. From
    the second round on, the two or three images that a mix shows most may share its blocks; before
    the last round, mixes of the same images are told apart.

    A mix depends on the one before it, so this is a loop; each cut is of a few blocks.
    """
    number, *grid = costs.shape
    blocks = grid[0] * grid[1]
    overlap = _OVERLAP / blocks
    shown = np.stack([start, start], -1)
    counts = np.stack([_count(mix, number) for mix in shown])  # blocks of [mix, image]
    dislike = np.zeros((number, number))
    value = objective(shown, costs, incompatibility)
    for step in range(_ROUNDS):
        for mix in range(number):
            others = counts.sum(0) - counts[mix]
            overused = np.where(incompatibility @ others > tolerated * blocks, others, 0)
            penalty = 2 * incompatibility @ overused + dislike[mix]
            choices = _choices(counts[mix], halves=step > 0)
            unary = (costs + overlap * penalty[:, None, None])[choices].mean(1)
            unary[number:] -= _HALF_GAIN
            seams = _SMOOTHNESS / blocks * _seam_costs(choices, number)
            shown[mix] = choices[swap(np.moveaxis(unary, 0, -1), seams)]
            counts[mix] = _count(shown[mix], number)
        if step == _ROUNDS - 2:
            dislike = _tell_apart(counts > 0)
        before, value = value, objective(shown, costs, incompatibility)
        if abs(before - value) < _SETTLED * abs(value):
            break
    return shown


def objective(shown: Integers, costs: Floats, incompatibility: Floats) -> float:
    """What the mixes `shown` [n, rows, columns, 2] cost, all overlap counted; see `arrange`."""
    number, *grid = costs.shape
    blocks = grid[0] * grid[1]
    shares = np.eye(number)[shown].mean(3)  # [mix, rows, columns, image]
    seams = sum(np.square(np.diff(shares, axis=axis)).sum() for axis in (1, 2)) / 2
    counts = shares.sum((1, 2))
    total = counts.sum(0)
    overlap = total @ incompatibility @ total - (counts @ incompatibility * counts).sum()
    unary = (np.moveaxis(costs, 0, -1) * shares).sum()
    return float(unary + (_SMOOTHNESS * seams + _OVERLAP * overlap) / blocks)


def swap(unary: Floats, binary: Floats) -> Integers:
    """Labels [rows, columns] that no exchange of two labels betters (Boykov et al. 2001).

    `unary` [rows, columns, L] of a label at a block, `binary` [L, L] of two labels side by side.
    Starts from the best label of each block. The library's own loop, `abswap_grid`, tries labels
    that nobody has with one another and weighs every step in Python: 100 times slower here.
    """
    unary = np.ascontiguousarray(unary)
    labels = kept = unary.argmin(-1)
    best = np.inf
    while (energy := _energy(unary, binary, labels)) < best:
        best, kept = energy, labels.copy()
        for present in np.unique(labels):
            for other in range(len(binary)):
                if other != present:
                    abswap_grid_step(int(present), other, unary, binary, labels)
    return kept


def _energy(unary: Floats, binary: Floats, labels: Integers) -> float:
    own = np.take_along_axis(unary, labels[..., None], -1).sum()
    seams = binary[labels[1:], labels[:-1]].sum() + binary[labels[:, 1:], labels[:, :-1]].sum()
    return float(own + seams)


def _choices(counts: Floats, halves: bool) -> Integers:
    """What a block may show, [L, 2]: each image, then pairs of those that the mix shows most."""
    number = len(counts)
    commonest = np.argsort(-counts, kind="stable")[: min(3, np.count_nonzero(counts))]
    pairs: Iterable[tuple[int, int]] = combinations(np.sort(commonest), 2) if halves else ()
    return np.array([(image, image) for image in range(number)] + list(pairs))


def _seam_costs(choices: Integers, number: int) -> Floats:
    """Of two choices side by side, [L, L], the first `number` of which show a whole image."""
    costs = 1 - np.eye(len(choices))
    for half in range(number, len(choices)):
        costs[half, choices[half]] = costs[choices[half], half] = _HALF_SEAM
    return costs


def _count(mix: Integers, number: int) -> Floats:
    """Blocks in which a mix [rows, columns, 2] shows each image, in halves, [n]."""
    return np.bincount(mix.ravel(), minlength=number) / 2


def _tell_apart(shows: NDArray[np.bool_]) -> Floats:
    """Surcharge of each image for each mix, [mix, image]: of `shows`, those alike lose one each.

    Of two mixes of the same several images the earlier is to do without the first of these, and the
    later without the second.
    """
    surcharge = np.zeros(shows.shape)
    for earlier, later in combinations(range(len(shows)), 2):
        images = np.flatnonzero(shows[earlier])
        if len(images) > 1 and np.array_equal(shows[earlier], shows[later]):
            surcharge[earlier, images[0]] = surcharge[later, images[1]] = 1
    return surcharge


def _most_salient_places(saliency: Tensor) -> Tensor:
    """Row and column of the most salient region, the first of equals, float32 [N, 2]."""
    height, width = saliency.shape[1:]
    region = min(_REGION, height), min(_REGION, width)
    means = F.avg_pool2d(saliency.float()[:, None], region, stride=1)[:, 0]
    place = means.flatten(1).argmax(1)
    return torch.stack([place // means.shape[2], place % means.shape[2]], 1).float()


def _incompatibility(places: Tensor) -> Tensor:
    """Of each two images in two mixes, [n, n]: the same image, or `places` [n, 2] far apart."""
    number = len(places)
    distance = (places[:, None] - places).abs().sum(2)
    total = distance.sum()
    distance = torch.where(total > 0, number * distance / total, 0.0)
    same = torch.eye(number, device=places.device)
    return (1 - _INCOMPATIBILITY) * same + _INCOMPATIBILITY * distance


def _partners(batch_size: int, number: int, device: torch.device) -> Tensor:
    """Members of each sample's partition, int64 [N, `number`], as `CoMixup` states."""
    samples = torch.arange(batch_size, device=device)[:, None]
    start = samples - samples % max(number, 1)
    members = (batch_size - start).clamp(max=number)
    turn = torch.arange(number, device=device)
    return torch.where(turn < members, start + (samples - start + turn) % members, samples)
