"""The sentence that compares the found network with the scorer, of counts by hand."""

from types import SimpleNamespace

import pytest
import torch

from classification.data.config import DataConfig
from pipeline.reports.scorer_comparison import compare_with_scorer, on_the_same_images


def sentence(wrong, of_scorer, number, same=True, sizes=(32, 64)):
    size = {"parameters": 1, "multiply_adds": 1, "balanced_accuracy": 1.0}
    return compare_with_scorer(
        {
            "scorer": size
            | {
                "model": "resnet8",
                "top1_error": 100 * of_scorer / number,
                "test_images": number,
                "evaluated": "val",
                "training": 0.01,
                "same_images_as_network": same,
                "image_sizes": sizes,
            },
            "network": size,
            "classes": size,
            "accuracy": {"top1_error_last": 100 * wrong / number},
            "cost": {"unit": "CPU-hours", "stages": {"retrain": 0.5}},
        }
    )["sentence"]


def test_images_of_two_sizes_are_compared_and_a_small_difference_is_left_open():
    text = sentence(69, 68, 119)
    assert text.startswith("Both were tested on the same 119 val images, at 32 and 64 pixels. ")
    assert "**lower** error than the found network (57.14 % against 57.98 %, 1 fewer of" in text
    assert "**not shown to be better** than the scorer: on 119 images the difference may" in text
    assert "`init --budget`" in text
    assert "Both were tested" not in sentence(69, 68, 119, sizes=(32, 32))


def test_a_difference_beyond_chance_is_called_better_or_worse():
    assert "is better by more than chance explains" in sentence(20, 60, 100)
    assert "init --budget" not in sentence(20, 60, 100)
    worse = sentence(60, 20, 100)
    assert "is **worse** than the scorer" in worse
    assert "init --budget" in worse


def test_other_images_are_not_compared():
    assert sentence(20, 60, 100, same=False).endswith("so their errors cannot be compared.")


@pytest.mark.parametrize(
    ("changed", "labels", "same"),
    [
        ({"image_size": 64}, [0, 1], True),
        ({"image_size": 64, "root": "other"}, [0, 1], False),
        ({"image_size": 64, "hold_out": 0.2}, [0, 1], False),
        ({"image_size": 64}, [0, 1, 1], False),
    ],
)
def test_the_same_files_at_another_size_are_the_same_images(changed, labels, same):
    own = DataConfig(kind="folder", root="photos", image_size=32)
    other = DataConfig.model_validate(own.model_dump() | changed)
    data, target = (
        SimpleNamespace(content_hash=name, test=SimpleNamespace(labels=torch.tensor(each)))
        for name, each in (("a", [0, 1]), ("b", labels))
    )
    config = SimpleNamespace(data=own, target=other)
    assert on_the_same_images(config, data, target) == same
