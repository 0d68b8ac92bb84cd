"""k-center greedy: a subset that covers all images in a scorer's features.

Sener & Savarese 2018 (the farthest-first traversal of Gonzalez 1985): every next
centre is the image farthest from all centres so far. The greatest distance of an image from its
centre is then at most twice the least possible one. Theirs starts from images already labelled;
here it starts from the image nearest the mean of the features. Their refinement by a mixed integer
program is left out. Their features are a network's last activations; here they are the input of
the linear layer.

Comparing every image with each new centre would read all features once per centre. Instead the next
centres are taken from the images farthest from all centres, the contenders, of which all pairs are
compared, as long as no other image can be farther; then all images are compared with the new
centres in one matrix product. That product is in float32 and only excludes images; decisions use
float64.
"""

import math

import torch
from torch import Tensor

from classification.errors import ConfigError, PipelineError
from subsample.subset_config import MIN_PER_CLASS

_CONTENDERS = 1024  # few enough for their features to stay in the cache
_ROWS = 8192  # images read at a time, so that memory beyond the features is O(N)
_CENTRES = 512  # centres they are compared with at a time
_CHOSEN = -1.0  # in place of a centre's distance, below all distances
_GREATEST = 1e37  # squared distance from the mean, from which four times as much is finite


@torch.inference_mode()
def k_center_greedy(features: Tensor, count: int) -> Tensor:
    """Return the centres' indices, int64 [count], in order: a prefix is a smaller coreset.

    `features` float [N, F] are on any device; classes are ignored. The first centre is nearest the
    features' mean, each next one farthest from those before it by Euclidean distance. Distances
    are compared to float32's precision, and ties go to the lower index. Time is O(N · F · count),
    memory beyond the features O(N).

    Raises ConfigError unless 1 ≤ count ≤ N, PipelineError if a feature is not finite, ValueError if
    there are no features or not two dimensions.
    """
    _check(features)
    if not 1 <= count <= len(features):
        raise ConfigError(
            f"subset.fraction: the fraction keeps {count} of {len(features)} images; allowed: "
            f"one that keeps 1 to {len(features)}"
        )
    return _Traversal(features, torch.arange(len(features), device=features.device)).run(count)


@torch.inference_mode()
def k_center_ranks(features: Tensor, labels: Tensor, fraction: float = 1.0) -> Tensor:
    """Return each image's place in its class's k-center greedy order, int64 [N], from 0.

    Only the first round(fraction · N_class) images of a class, and at least two, are ordered; the
    others share the place after them. So a subset of this fraction or a smaller one keeps the
    lowest places. `features` float [N, F] and `labels` int64 [N] are on one device.

    Raises ConfigError unless 0 < fraction ≤ 1, PipelineError if a feature is not finite, ValueError
    as `k_center_greedy` and unless each image has a label.
    """
    _check(features)
    if labels.shape != features.shape[:1]:
        raise ValueError(f"labels {tuple(labels.shape)} of features {tuple(features.shape)}")
    if not 0 < fraction <= 1:
        raise ConfigError(f"subset.fraction: found {fraction}; allowed: above 0, up to 1")
    ranks = torch.empty_like(labels, dtype=torch.int64)
    for label in labels.unique():
        members = (labels == label).nonzero()[:, 0]
        kept = min(len(members), max(MIN_PER_CLASS, round(fraction * len(members))))
        ranks[members] = kept
        ranks[_Traversal(features, members).run(kept)] = torch.arange(kept, device=ranks.device)
    return ranks


class _Traversal:
    """The farthest-first order of the images at `rows` int64 [n], ascending, of `features` [N, F].

    Images are numbered 0 to n - 1. `bounds` float32 [n] are squared distances from the nearest
    centre so far, up to the rounding errors of `dtype`; a centre's is _CHOSEN.
    """

    def __init__(self, features: Tensor, rows: Tensor) -> None:
        self.features, self.rows = features, rows
        self.dtype = torch.float32 if len(rows) > _CONTENDERS else torch.float64
        # Centred, vectors are no longer than their distances, so no digits are lost.
        sums = [features[part].double().sum(0) for part in rows.split(_ROWS)]
        self.mean = (torch.stack(sums).sum(0) / len(rows)).float()
        self.images = torch.arange(len(rows), device=rows.device)
        self.squares = torch.cat(
            [self._points(part, torch.float64).square().sum(1) for part in self.images.split(_ROWS)]
        )
        self.bounds = self.squares.new_full(rows.shape, torch.inf, dtype=torch.float32)
        self.greatest = float(self.squares.max())
        if not self.greatest < _GREATEST:
            raise PipelineError(
                "subset.measure: k_center got features that are not finite, or beyond 1e18; "
                "allowed: a scorer whose training did not diverge"
            )

    def run(self, count: int) -> Tensor:
        """Return the first `count` images of the order, indices into the features, int64."""
        # In float32, as later on, so that rounding errors do not decide between equals.
        order = [int(self.squares.float().argmin())]
        met = 0  # centres that all images were compared with
        while len(order) < count:
            centres = torch.tensor(order, device=self.rows.device)
            self._meet(centres[met:])
            met = len(order)
            turns = self._take_turns(centres, count - met)
            if not turns and self.dtype == torch.float32:
                self.dtype, met = torch.float64, 0
                self.bounds.fill_(torch.inf)
            elif not turns:  # all other images coincide with centres
                turns = (self.bounds > _CHOSEN).nonzero()[: count - met, 0].tolist()
            order += turns
        return self.rows[torch.tensor(order, device=self.rows.device)]

    def _meet(self, centres: Tensor) -> None:
        """Update `bounds` with more `centres`, int64 [C]."""
        self.bounds = self.bounds.minimum(self._nearest(self.images, centres, self.dtype))
        self.bounds[centres] = _CHOSEN

    def _take_turns(self, centres: Tensor, count: int) -> list[int]:
        """Return images that follow `centres`, at most `count`; none if that cannot be decided.

        float32 bounds cannot decide if, within their error, the farthest image may not be a
        contender; float64 bounds, if all images coincide with a centre.
        """
        exact = self.dtype == torch.float64
        others = 0.0  # an upper bound of the other images' squared distances
        highest = self.bounds.topk(min(_CONTENDERS + 1, len(self.bounds)))
        if len(self.bounds) > _CONTENDERS:
            others = float(highest.values[-1]) + (0.0 if exact else self._error(self.dtype))
        # The first of equals is a contender, whichever of them topk found.
        contenders = torch.cat([highest.indices[:_CONTENDERS], self.bounds.argmax()[None]]).unique()
        near = self.bounds[contenders]
        if not exact:
            near = self._nearest(contenders, centres, torch.float64)
        vectors = self._vectors(contenders, torch.float64)
        between = self._round(_without_own(vectors[0], vectors) + vectors[1])
        places: list[Tensor] = []
        while len(places) < count:
            greatest, place = near.max(0)  # the place of the first of equals
            distance = float(greatest)
            if distance <= 0 or (distance <= others and not (exact and not places)):
                break
            places.append(place)
            near = near.minimum(between[place])
            near[place] = _CHOSEN
        return contenders[torch.stack(places)].tolist() if places else []

    def _nearest(self, images: Tensor, centres: Tensor, dtype: torch.dtype) -> Tensor:
        """Return squared distances of `images` int64 [n] to the nearest of `centres`, float32."""
        near = torch.full_like(images, torch.inf, dtype=torch.float32)
        for some in centres.split(_CENTRES):
            vectors = self._vectors(some, dtype)
            parts = [
                self._round(_without_own(points, vectors).amin(0) + squares)
                for points, squares in (self._vectors(part, dtype) for part in images.split(_ROWS))
            ]
            near = near.minimum(torch.cat(parts))
        return near

    def _vectors(self, images: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Return centred features [n, F] of `images` int64 [n], and their squares [n]."""
        return self._points(images, dtype), self.squares[images].to(dtype)

    def _points(self, images: Tensor, dtype: torch.dtype) -> Tensor:
        points = self.features[self.rows[images]]
        return (points.to(torch.promote_types(points.dtype, dtype)) - self.mean).to(dtype)

    def _round(self, distances: Tensor) -> Tensor:
        """Round squared distances to float32; float64 ones within the error become 0.

        Rounding errors of coinciding images must not decide.
        """
        floor = self._error(torch.float64) if distances.dtype == torch.float64 else 0.0
        return distances.where(distances > floor, 0).float()

    def _error(self, dtype: torch.dtype) -> float:
        """Return the largest error of a squared distance in `dtype`, exceeded once in 10¹⁰.

        A sum of n products has an error of at most λ·√n·eps/2 times the vectors' lengths (Higham &
        Mary 2019; λ = 8); a distance has twice such a sum and three more roundings. This holds for
        torch's default precision of float32 products, not for TF32.
        """
        num_terms = self.features.shape[1] + 3
        return 8 * math.sqrt(num_terms) * torch.finfo(dtype).eps * self.greatest


def _without_own(points: Tensor, others: tuple[Tensor, Tensor]) -> Tensor:
    """Return squared distances of `points` [n, F] from vectors [m, F] with squares, [m, n].

    Less the points' own squares: |y|² - 2 x·y, enough to find the nearest vector.
    """
    vectors, squares = others
    return torch.addmm(squares[:, None], vectors, points.T, alpha=-2)


def _check(features: Tensor) -> None:
    if features.ndim != 2 or not len(features):
        raise ValueError(f"features {tuple(features.shape)}; at least one row of two dimensions")
