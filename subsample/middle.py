"""Whether the middle of an image, or its border, is enough for a classifier to recognise it."""

import math

import torch
from torch import Tensor

from classification.data.transforms import Normalization
from classification.models.network import Classifier
from subsample.baselines import BATCH_SIZE, extract_features


def central_square(height: int, width: int) -> Tensor:
    """Return the middle of an image, about half of its pixels: bool [H, W].

    Each side is the image's times √½, rounded: 23 of 32, 11 of 16 and 6 of 8, which is 0.52, 0.47
    and 0.56 of the pixels. Where the rest of a side is odd, the lower or right border is wider by a
    pixel.
    """
    middle = torch.zeros(height, width, dtype=torch.bool)
    rows, columns = (_central(length) for length in (height, width))
    middle[rows, columns] = True
    return middle


@torch.inference_mode()
def logits_of_part(
    model: Classifier,
    images: Tensor,
    normalization: Normalization,
    visible: Tensor,
    batch_size: int = BATCH_SIZE,
) -> Tensor:
    """Return the model's logits, float32 [N, L], of images uint8 [N, 3, H, W] whose pixels are
    hidden under the mean colour, 0 after normalisation, unless they are `visible`, bool [H, W].

    Errors are those of `extract_features`.
    """
    shown = visible.to(images.device)

    def hide(pixels: Tensor) -> Tensor:
        return normalization(pixels) * shown

    return model.logits(extract_features(model, images, hide, batch_size)).float()


def _central(length: int) -> slice:
    side = round(length * math.sqrt(0.5))
    first = (length - side) // 2
    return slice(first, first + side)
