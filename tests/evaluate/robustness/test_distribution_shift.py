"""ImageNet-A, ImageNet-O and other datasets' images, against hand-worked cases."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from classification.data.datasets import DataConfig, ImageDataset
from classification.data.decoding import Decoding
from classification.data.loaders import ImageSet
from classification.data.transforms import Normalization
from classification.errors import PipelineError
from evaluate.robustness.attacks import PixelModel
from evaluate.robustness.distribution_shift import (
    ShiftConfig,
    check_shift,
    out_of_distribution_aupr,
    shift_measures,
    unknownness,
)
from evaluate.robustness.shift_images import ShiftImages

WNIDS = tuple(f"n{number:08d}" for number in range(210))
FIRST = 5  # of the classes that the folders below hold
SIDE = 8


class ByColour(nn.Module):
    """The red of an image names its class; the greener, the surer: logit green/16 for it."""

    def __init__(self):
        super().__init__()
        self.anchor = nn.Parameter(torch.zeros(1))

    def forward(self, images):
        red, green, blue = images.mean((2, 3)).unbind(1)
        logits = torch.zeros(len(images), len(WNIDS))
        logits[:, 0] = blue  # of a class that no folder holds
        return logits.scatter(1, red.round().long()[:, None], (green.round() / 16)[:, None])


MODEL = PixelModel(ByColour(), Normalization((0.0,) * 3, (1 / 255,) * 3))  # pixels in [0, 255]


def colour(red, green, blue=0):
    return torch.tensor([red, green, blue], dtype=torch.uint8)[:, None, None].repeat(1, SIDE, SIDE)


def dataset(test=None):
    images = torch.stack(test or [colour(red, 96) for red in range(len(WNIDS))])
    split = ImageSet(images, images[:, 0, 0, 0].long())
    normalization = Normalization((0.5,) * 3, (0.5,) * 3)
    return ImageDataset("wnids", WNIDS, split, split, normalization, crop_padding=0, flip=False)


def folder(root, image_of, names=WNIDS[FIRST : FIRST + 200]):
    for place, name in enumerate(names):
        (root / name).mkdir(parents=True)
        pixels = image_of(place).permute(1, 2, 0).numpy()
        Image.fromarray(pixels).save(root / name / "image.png")
    return root


def measure(name, config, data, batch_size=64):
    return shift_measures(MODEL, data, config, batch_size)[name]()


def test_aupr_is_that_of_a_case_worked_by_hand():
    """Ranked U K U K: (1/1 + 2/3) / 2."""
    worked = out_of_distribution_aupr(np.array([-0.9, -0.6]), np.array([-0.7, -0.5]))
    assert worked == pytest.approx(5 / 6)
    assert out_of_distribution_aupr(np.array([-0.9, -0.8]), np.array([-0.7, -0.5])) == 1
    chance = out_of_distribution_aupr(np.full(3, -0.5), np.full(1, -0.5))
    assert chance == 0.25  # M / (N + M) where scores tell nothing


def test_the_score_is_less_the_largest_probability():
    """Logits ln 3, 0: probabilities 3/4 and 1/4."""
    torch.testing.assert_close(
        unknownness(torch.tensor([[0.0, 3.0]]).log1p()), torch.tensor([-0.8])
    )


def test_imagenet_a_counts_among_its_200_classes_alone(tmp_path):
    """150 images show their class, 50 the next one; blue shouts for a class that is sliced away."""
    root = folder(
        tmp_path / "a", lambda k: colour(FIRST + k if k < 150 else FIRST + k - 1, 80, 255)
    )
    found = measure("imagenet_a", ShiftConfig(imagenet_a=root), dataset())
    assert found == {"top1_accuracy": 0.75, "correct": 150, "images": 200}


def test_its_images_are_composited_as_the_classifiers_are(tmp_path):
    """Transparent pixels hide the next class; the background is red 7, of one of the classes."""

    def image_of(place):
        hidden = colour(FIRST + place, 80)
        return torch.cat([hidden, torch.zeros_like(hidden[:1])])

    root = folder(tmp_path / "a", image_of)
    data = replace(dataset(), decoding=Decoding(background="#075000"))
    found = measure("imagenet_a", ShiftConfig(imagenet_a=root), data)
    assert found == {"top1_accuracy": 1 / 200, "correct": 1, "images": 200}


def test_no_more_than_a_batch_of_a_folder_is_shown_at_once(tmp_path):
    sizes = []
    hook = MODEL.model.register_forward_pre_hook(lambda _, shown: sizes.append(len(shown[0])))
    root = folder(tmp_path / "a", lambda k: colour(FIRST + k, 80))
    measure("imagenet_a", ShiftConfig(imagenet_a=root), dataset(), batch_size=64)
    hook.remove()
    assert sizes == [64, 64, 64, 8]


def test_imagenet_o_is_told_from_test_images_of_its_200_classes(tmp_path):
    """Those have green 96, of the unknown half 80 and half from 112 on; the ten others, unsure, do
    not count. Ranked: 100 unknown, 200 known, 100 unknown; the precision at the i-th of the last
    hundred is (100 + i) / (300 + i).
    """
    known = [
        colour(red, 96 if FIRST <= red < FIRST + 200 else 0, 255 if red < FIRST else 0)
        for red in range(len(WNIDS))
    ]
    root = folder(tmp_path / "o", lambda k: colour(FIRST + k, 80 if k < 100 else 12 + k, 200))
    found = measure("imagenet_o", ShiftConfig(imagenet_o=root), dataset(known), batch_size=33)
    assert (found["images"], found["known_images"]) == (200, 200)
    expected = (100 + sum((100 + i) / (300 + i) for i in range(1, 101))) / 200
    assert found["aupr"] == pytest.approx(expected)


def test_images_in_files_are_measured_alike(tmp_path):
    from classification.data.datasets import load_dataset

    for split in ("train", "val"):
        folder(tmp_path / split, lambda k: colour(k, 96), WNIDS)
    (tmp_path / "train" / WNIDS[0] / "second.png").write_bytes(
        (tmp_path / "train" / WNIDS[0] / "image.png").read_bytes()
    )
    for name in WNIDS[1:]:
        image = tmp_path / "train" / name / "image.png"
        image.with_name("second.png").write_bytes(image.read_bytes())
    settings = {"image_size": SIDE, "storage": "files", "workers": 0}
    files = load_dataset(DataConfig(kind="folder", root=tmp_path, **settings))
    root = folder(tmp_path / "a", lambda k: colour(FIRST + k if k < 150 else FIRST + k - 1, 80))
    config = ShiftConfig(imagenet_a=root, imagenet_o=root)
    check_shift(config, files)
    for name in ("imagenet_a", "imagenet_o"):
        here, there = (measure(name, config, data) for data in (files, dataset()))
        assert here == pytest.approx(there)


def test_another_datasets_images_are_told_by_all_classes():
    """Digits, gray at 8 pixels: their mean names a class, and says how surely."""
    config = ShiftConfig(out_of_distribution=DataConfig(kind="digits"))
    check_shift(config, dataset())
    found = measure("out_of_distribution", config, dataset())
    assert (found["images"], found["known_images"]) == (355, 210)
    assert 0 < found["aupr"] <= 1


def test_the_digest_changes_with_the_images(tmp_path):
    root = folder(tmp_path / "a", lambda k: colour(k, 80))
    config = ShiftConfig(imagenet_a=root, out_of_distribution=DataConfig(kind="digits"))
    before = ShiftImages.of(config)
    Image.new("RGB", (SIDE, SIDE)).save(root / WNIDS[FIRST] / "more.png")
    after = ShiftImages.of(config)
    assert before.imagenet_a != after.imagenet_a
    assert before.out_of_distribution == after.out_of_distribution
    assert before.imagenet_o is None


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (WNIDS[:199], "found 199 class folders; allowed: 200"),
        (WNIDS[:201], "found 201 class folders; allowed: 200"),
        (("n99999999", *WNIDS[:199]), "n99999999 is not one of the classifier's 210 classes"),
    ],
)
@pytest.mark.parametrize("setting", ["imagenet_a", "imagenet_o"])
def test_folders_of_other_classes_are_refused(tmp_path, setting, names, expected):
    root = folder(tmp_path / "images", lambda k: colour(k, 80), names)
    with pytest.raises(PipelineError) as caught:
        check_shift(ShiftConfig(**{setting: root}), dataset())
    assert str(caught.value).startswith(f"robustness.shift.{setting}: ")
    assert expected in str(caught.value)


def test_missing_and_empty_folders_links_and_the_same_images_are_refused(tmp_path):
    def refused(**settings):
        with pytest.raises(PipelineError) as caught:
            check_shift(ShiftConfig(**settings), dataset())
        return str(caught.value)

    assert "not found" in refused(imagenet_a=tmp_path / "absent")
    root = folder(tmp_path / "a", lambda k: colour(k, 80))
    image = root / WNIDS[FIRST] / "image.png"
    image.rename(tmp_path / "elsewhere.png")
    assert "found no images" in refused(imagenet_a=root)
    image.symlink_to(tmp_path / "elsewhere.png")
    assert "links that stay inside" in refused(imagenet_a=root)
    other = DataConfig(kind="digits", image_size=16)
    assert "out_of_distribution.image_size: found 16; allowed: none, or" in refused(
        out_of_distribution=other
    )
