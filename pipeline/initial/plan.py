"""The choices that follow from the time there is: models, networks, epochs."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from classification.data.folder_survey import FolderSurvey
from pipeline.initial.shapes import FILES_FROM, SEARCH_SIDE, batch_of, search_side, target_side

_SCORER_STEPS = 1500  # 15 epochs of CIFAR-100 in batches of 512, as configs/scorers/fast.yaml
SEARCH_EPOCHS, _WARM_UP = 50, 0.3  # the paper's: 15 of 50 epochs are warm-up
# Channels and cells of the retrained network, from small to the paper's.
_CIFAR = ((8, 5), (16, 8), (24, 14), (36, 20))
_IMAGENET = ((12, 6), (16, 8), (32, 11), (48, 14))


@dataclass(frozen=True)
class Plan:
    """Models, networks and epochs, and the reason for each by its dotted key."""

    scorer: str
    scorer_epochs: int
    search_epochs: int
    channels: int
    cells: int
    retrain_epochs: int
    why: Mapping[str, str] = field(default_factory=dict)

    @property
    def warmup_epochs(self) -> int:
        """Warm-up epochs of the search, in proportion to its epochs."""
        return round(_WARM_UP * self.search_epochs)


def largest_plan(survey: FolderSurvey) -> Plan:
    """Return the plan for a machine without a limit of time."""
    channels, cells = networks(survey)[-1]
    return Plan(
        scorers(survey)[-1],
        scorer_epochs(survey),
        SEARCH_EPOCHS,
        channels,
        cells,
        100,
        {"retrain.epochs": "the paper's: " + str(paper_epochs(survey))},
    )


def networks(survey: FolderSurvey) -> tuple[tuple[int, int], ...]:
    """Return channels and cells of the networks to choose from, small to large."""
    return _IMAGENET if target_side(survey) >= FILES_FROM else _CIFAR


def paper_epochs(survey: FolderSurvey) -> int:
    """Return the epochs of the paper's retraining."""
    return 250 if target_side(survey) >= FILES_FROM else 600


def scorers(survey: FolderSurvey) -> tuple[str, ...]:
    """Return the scorers to choose from; resnet9 is too deep for tiny images."""
    return ("resnet8",) if search_side(survey) < SEARCH_SIDE // 2 else ("resnet8", "resnet9")


def scorer_epochs(survey: FolderSurvey) -> int:
    """Return the epochs after which a scorer has learnt enough."""
    images = survey.train_images
    batch = batch_of(images, share=16, most=512)
    return max(15, min(60, math.ceil(_SCORER_STEPS * batch / images)))
