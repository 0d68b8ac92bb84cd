"""A run as a Python object: results, genotype, subset, scores, network. Read-only and lazy."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from classification.errors import ArtifactError, ConfigError, DataError
from pcdarts.genotype import Genotype
from pipeline.config import PipelineConfig
from pipeline.exports.network import recorded_network
from pipeline.exports.recorded_run import RecordedRun
from pipeline.exports.subset import scores_of
from pipeline.predictions.photos import Photos, find_photos
from pipeline.predictions.predictor import LogitsOnly, Predictions, Predictor
from pipeline.run_folder import RESULTS, RunFolder
from pipeline.stages.genotype import genotype_stage
from pipeline.stages.search import GENOTYPE
from pipeline.stages.subset import SUBSET
from pipeline.store.checksum import verify_checksum
from pipeline.store.store import store_of
from subsample.selection import Subset
from subsample.uncertainty import Scores

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor, nn

    from classification.data.preprocessing import Preprocessing
    from classification.progress import Progress

Picture: TypeAlias = "str | Path | Image.Image | np.ndarray"
Pictures: TypeAlias = "Picture | Sequence[Picture] | Photos | Tensor"
"""Files, folders, Pillow images, uint8 arrays [H, W, 3]; files already found; or preprocessed uint8
[N, 3, S, S]."""


@dataclass(frozen=True, eq=False)
class SubsetIndices:
    """The images that a run searched on: places in the training split, int64, ascending.

    `architecture_indices` are those for α and β only, None if the search splits `indices`.
    """

    indices: np.ndarray
    architecture_indices: np.ndarray | None
    manifest: Subset


class OpenedRun:
    """A recorded run. All properties are read when they are asked for.

    Nothing is written to the run or its artifacts; where images have to be read again, the cache of
    listed and decoded folders may be.

    Raises PipelineError, with a one-line message, for what the run does not have.
    """

    def __init__(self, folder: RunFolder, artifacts: Path | None = None) -> None:
        self._run = RecordedRun(folder, store_of(folder.manifest(), artifacts))
        self._predictors: dict[str, Predictor] = {}

    @property
    def name(self) -> str:
        return self.config.name

    @property
    def config(self) -> PipelineConfig:
        """All settings of the run."""
        return self._run.config

    @cached_property
    def results(self) -> Mapping[str, Any]:
        """The run's results.json."""
        from classification.persistence.untrusted_files import read_object

        path = self._run.folder.report / RESULTS
        if not path.exists():
            raise ArtifactError(f"{path}: not found; the run has no report yet")
        return verify_checksum(read_object(path), path)

    @cached_property
    def genotype(self) -> Genotype:
        """The cells that the search found."""
        stage = genotype_stage(self._run.config)
        self._require(stage)
        return Genotype.load(self._run.path(stage, GENOTYPE))

    @cached_property
    def subset(self) -> SubsetIndices:
        """The images that the search used."""
        self._require("subset")
        subset = Subset.load(self._run.path("subset", SUBSET))
        beside = subset.architecture_indices
        return SubsetIndices(
            np.array(subset.indices, np.int64),
            None if beside is None else np.array(beside, np.int64),
            subset,
        )

    @cached_property
    def scores(self) -> Mapping[str, np.ndarray]:
        """What the images were ranked by, each [N]: mean, std and cv of the losses, nats; or the
        values of another measure by its name."""
        self._require("subset")
        measure = self.config.subset.measure
        found = scores_of(self._run)
        if found is None:
            raise ConfigError(f"{self.name}: the measure {measure} has no scores")
        if isinstance(found, Scores):
            return {"mean": found.mean, "std": found.std, "cv": found.cv}
        return {measure: found}

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes in the order of the logits."""
        return self._trained[1].class_names

    @property
    def preprocessing(self) -> "Preprocessing":
        """How the network sees images."""
        return self._trained[1]

    def network(self) -> "nn.Module":
        """Return the trained network, in eval mode on the CPU: normalised images [N, 3, S, S] to
        logits [N, C]."""
        return self._trained[0]

    def preprocess(self, images: Pictures) -> "Tensor":
        """Return images as the network takes them, float32 [N, 3, S, S].

        Raises DataError naming the first file that cannot be read.
        """
        import torch

        pixels = self._pixels(images)
        if not isinstance(pixels, torch.Tensor):
            from pipeline.predictions.reading import read_batches

            batches = read_batches(pixels, self.preprocessing)
            pixels = torch.cat([batch.pixels for batch in batches])
        return self.preprocessing.normalization(pixels)

    def predict(
        self,
        images: Pictures,
        *,
        device: str = "auto",
        skip_unreadable: bool = False,
        progress: "Progress | None" = None,
    ) -> Predictions:
        """Classify images.

        The first file that cannot be read raises DataError; with `skip_unreadable` such files are
        listed in the result's `unreadable` and have no row. Raises DataError for images of other
        shapes.
        """
        import torch

        from classification.progress import silent
        from pipeline.device import resolve_device

        predictor = self._predictor(str(resolve_device(device)))
        pixels = self._pixels(images)
        if isinstance(pixels, torch.Tensor):
            return predictor.classify(pixels)
        return predictor.classify_files(pixels, progress or silent, skip_unreadable=skip_unreadable)

    @cached_property
    def _trained(self) -> "tuple[nn.Module, Preprocessing]":
        network, images = recorded_network(self._run)
        return LogitsOnly(network).eval(), images

    def _predictor(self, device: str) -> Predictor:
        import copy

        import torch

        if device not in self._predictors:
            network, images = self._trained
            trainer = "retrain" if self.config.goal == "network" else "scorer"
            precision = getattr(self.config, trainer).precision
            self._predictors[device] = Predictor(
                copy.deepcopy(network), images, torch.device(device), precision
            )
        return self._predictors[device]

    def _pixels(self, images: Pictures) -> "Tensor | Sequence[Path]":
        """Return the pixels of images that are no files, uint8 [N, 3, S, S], or the files."""
        import torch
        from PIL import Image

        if isinstance(images, torch.Tensor):
            return self._checked(images)
        if isinstance(images, Photos):
            return images.files
        several = [images] if isinstance(images, str | Path | Image.Image | np.ndarray) else images
        several = list(several)
        if not several:
            raise DataError("images: found none; allowed: at least one")
        if all(isinstance(each, str | Path) for each in several):
            return find_photos([Path(each) for each in several]).files  # type: ignore[arg-type]
        return torch.stack([self._of_picture(each) for each in several])

    def _of_picture(self, image: Picture) -> "Tensor":
        from PIL import Image

        from classification.data.image_file import UNREADABLE

        if isinstance(image, np.ndarray):
            usual = image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3
            if not usual or image.size == 0:
                raise DataError(
                    f"images: found an array of {image.dtype} {list(image.shape)}; allowed: uint8 "
                    "[height, width, 3]"
                )
            image = Image.fromarray(image)
        if not isinstance(image, Image.Image):
            raise DataError(
                f"images: found {type(image).__name__} among images; allowed: files alone, or "
                "Pillow images and arrays"
            )
        try:
            return self.preprocessing.pixels(image)
        except UNREADABLE as error:
            name = getattr(image, "filename", "") or "a Pillow image"
            raise DataError(f"images: {name}: unreadable ({error})") from error

    def _checked(self, pixels: "Tensor") -> "Tensor":
        import torch

        size = self.preprocessing.image_size
        if pixels.dtype != torch.uint8 or pixels.ndim != 4 or pixels.shape[1:] != (3, size, size):
            raise DataError(
                f"images: found a tensor of {str(pixels.dtype).removeprefix('torch.')} "
                f"{list(pixels.shape)}; allowed: uint8 [N, 3, {size}, {size}]"
            )
        return pixels

    def _require(self, stage: str) -> None:
        if stage not in self._run.stages:
            raise ConfigError(f"{self.name}: has no {stage}, because {self._run.why_absent}")


def open_run(
    run: str | Path, runs: str | Path = "runs", artifacts: str | Path | None = None
) -> OpenedRun:
    """Open a run by its name in the folder `runs`, or by its path.

    `artifacts` is the store, by default the one that the run used. Raises ArtifactError if there is
    no such run or store.
    """
    folder = RunFolder.open(Path(runs), str(run))
    return OpenedRun(folder, None if artifacts is None else Path(artifacts))
