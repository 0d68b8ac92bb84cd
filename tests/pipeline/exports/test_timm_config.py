"""What timm is told of a network: its first convolution, its classifier, its images."""

import pytest
import torch

from classification.data.files import evaluation_side
from pcdarts.published_genotypes import GENOTYPES
from pipeline.exports.network import NetworkConfig, TrainedNetwork
from pipeline.exports.timm import _pretrained_config, crop_share


@pytest.mark.parametrize("channels", [4, 6, 36])
@pytest.mark.parametrize("architecture", ["cells_cifar", "cells_imagenet"])
def test_the_first_convolution_is_the_one_that_takes_the_image(architecture, channels):
    config = NetworkConfig(
        name="n", architecture=architecture, genotype=GENOTYPES["darts_v2"].to_dict(),
        channels=channels, cells=3, class_names=("a", "b"), image_size=32, resize=32,
        mean=(0.5,) * 3, std=(0.25,) * 3,
    )  # fmt: skip
    network = config.build()
    described = _pretrained_config(TrainedNetwork(network, config, None, "retrain"))
    seen = []
    first = network.get_submodule(described["first_conv"])
    first.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    image = torch.rand(1, 3, 64, 64)
    network(image)
    assert len(seen) == 1
    assert seen[0] is image


def test_timm_resizes_an_image_of_every_side_as_the_test_did():
    timm = pytest.importorskip("timm.data.transforms_factory", reason="the dev extra")
    for side in range(32, 1025):
        share = crop_share(side, evaluation_side(side))
        resize, crop, *_ = timm.transforms_imagenet_eval(side, crop_pct=share).transforms
        assert (resize.size, tuple(crop.size)) == (evaluation_side(side), (side, side))
        assert crop_share(side, side) == 1
