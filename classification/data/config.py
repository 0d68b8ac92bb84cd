"""Settings of a dataset: which images, which classes, which augmentation."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, Field, model_validator

from classification.settings import WITHOUT_EFFECT

_LARGE = 128  # pixels, from which on images of a folder stay in their files


class AugmentationSettings(BaseModel, frozen=True, extra="forbid"):
    """How training augments images: what a trained network depends on beside their content."""

    crop_padding: int | None
    flip: bool
    lighting: float
    in_files: bool
    """Images in files get random resized crops, and their colours are jittered on the device."""


class DataConfig(BaseModel, frozen=True, extra="forbid"):
    """Which images, how many, how large, and how training augments them."""

    kind: Literal["digits", "cifar10", "cifar100", "folder"] = Field(
        description="digits: scikit-learn's 1,797 scans; cifar: downloads when absent; "
        "folder: train/<class>/* beside val/<class>/* or test/<class>/* (training, valid, "
        "validation, testing too), or class folders alone with hold_out"
    )
    root: Path | None = Field(
        None, description="folder of the images; for cifar where they are stored (.data)"
    )
    classes: int | None = Field(None, ge=2, description="only the first n classes")
    images_per_class: int | None = Field(
        None,
        ge=2,
        description="at most the first n training images of each class; evaluated images are all "
        "kept",
    )
    image_size: int | None = Field(
        None, ge=8, le=1024, description="side, pixels; the dataset's own (digits 8, cifar 32)"
    )
    storage: Literal["auto", "memory", "files"] = Field(
        "auto",
        description="memory: one tensor on the device; files: decoded batch by batch in worker "
        "processes with random resized crops, not for scores; auto: files from 128 px",
    )
    workers: int | None = Field(
        None,
        ge=0,
        le=256,
        description="processes that decode files; one a core but one, up to 16, shared out among "
        "the processes that train on this machine",
        json_schema_extra=WITHOUT_EFFECT,
    )
    val_labels: Path | None = Field(
        None,
        description="file that names the class of each image of a flat val/, relative to root: "
        "val_annotations.txt, LOC_val_solution.csv, Caffe's val.txt, or the devkit's ground truth "
        "beside its meta.mat; none: the first of these that is there",
    )
    hold_out: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="share of each class's training images to hold out and evaluate on, where "
        "a folder has no held-out images; drawn from hold_out_seed, whatever the seed of the run",
    )
    hold_out_seed: int = Field(0, ge=0, lt=2**63, description="from which hold_out is drawn")
    background: str = Field(
        "#ffffff",
        pattern=r"^#[0-9a-fA-F]{6}$",
        description="colour over which transparent images are composited: #rrggbb",
    )
    exif_orientation: bool = Field(
        False,
        description="turn images as their EXIF orientation says; without it, as in torchvision's "
        "datasets, a phone's photographs in portrait are read sideways",
    )
    follow_links: bool = Field(
        False,
        description="whether symbolic links below root may lead out of it; refused otherwise",
        json_schema_extra=WITHOUT_EFFECT,
    )
    max_unreadable: int = Field(
        0,
        ge=0,
        description="images in files that may be unreadable in a split, others standing in for "
        "them, before the run fails",
        json_schema_extra=WITHOUT_EFFECT,
    )
    crop_padding: int | None = Field(
        None, ge=0, le=128, description="zeros around a random crop, pixels; an eighth of the side"
    )
    flip: bool | None = Field(
        None, description="mirror every second training image; digits false, others true"
    )
    lighting: float = Field(
        0.0,
        ge=0,
        allow_inf_nan=False,
        description="how far colours shift along ImageNet's principal axes, in deviations "
        "(Krizhevsky et al. 2012). Published: 0.1 for ResNet-50 on ImageNet",
    )

    @model_validator(mode="after")
    def _folder_has_root(self) -> "DataConfig":
        if self.kind == "folder" and self.root is None:
            raise ValueError("kind folder needs root: a folder that holds train/ and val/ or test/")
        if self.storage == "files" and (self.kind != "folder" or self.image_size is None):
            raise ValueError("storage files needs kind folder and an image_size")
        for name in ("val_labels", "hold_out"):
            if getattr(self, name) is not None and self.kind != "folder":
                raise ValueError(f"{name} needs kind folder")
        if self.hold_out is not None and self.val_labels is not None:
            raise ValueError("hold_out and val_labels are both set; allowed: one of them")
        if self.max_unreadable and not self.in_files:
            raise ValueError("max_unreadable needs images that stay in their files: storage files")
        return self

    @property
    def in_files(self) -> bool:
        """Whether images stay in their files until a batch asks for them."""
        large = self.kind == "folder" and (self.image_size or 0) >= _LARGE
        return self.storage == "files" or (self.storage == "auto" and large)

    @property
    def flips(self) -> bool:
        """`flip`, or what suits the kind: a mirrored digit is no digit."""
        return self.kind != "digits" if self.flip is None else self.flip

    @property
    def augmentation(self) -> AugmentationSettings:
        """How training augments these images."""
        return AugmentationSettings(
            crop_padding=self.crop_padding,
            flip=self.flips,
            lighting=self.lighting,
            in_files=self.in_files,
        )
