"""The images of a distribution shift, as a fingerprint sees them."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field

from classification.data.config import DataConfig
from classification.settings import WITHOUT_EFFECT, effective_settings
from evaluate.robustness.config import ShiftConfig


class OtherImages(BaseModel, frozen=True, extra="forbid"):
    """Another dataset: its settings without the folder, and the digest of its test images."""

    settings: dict[str, Any]
    digest: str | None

    @classmethod
    def of(cls, data: DataConfig) -> "OtherImages":
        """Read the folder. Raises DataError or ConfigError if it cannot be used."""
        digest = None
        if data.root is not None and data.kind == "folder":
            from evaluate.robustness.distribution_shift import digest_of_other  # slow to import

            digest = digest_of_other(data)
        settings = {k: v for k, v in effective_settings(data).items() if k != "root"}
        return cls(settings=settings, digest=digest)


class ShiftImages(BaseModel, frozen=True, extra="forbid"):
    """The images of a config, identified independently of their location.

    A digest covers file names, sizes in bytes and classes; downloaded datasets are identified by
    their config.
    """

    config: ShiftConfig = Field(json_schema_extra=WITHOUT_EFFECT)
    imagenet_a: str | None
    imagenet_o: str | None
    out_of_distribution: OtherImages | None

    @classmethod
    def of(cls, config: ShiftConfig) -> "ShiftImages":
        """Read the folders. Raises DataError or ConfigError if one cannot be used."""
        other = config.out_of_distribution
        return cls(
            config=config,
            imagenet_a=_digest_of(config.imagenet_a, "imagenet_a"),
            imagenet_o=_digest_of(config.imagenet_o, "imagenet_o"),
            out_of_distribution=None if other is None else OtherImages.of(other),
        )


def _digest_of(root: Path | None, name: str) -> str | None:
    if root is None:
        return None
    from evaluate.robustness.distribution_shift import digest_of_classes  # slow to import

    return digest_of_classes(root, name)
