"""The mixes of an image, drawn again after they were scored."""

import pytest
import torch
from torch import nn

from classification.data.transforms import Normalization
from classification.persistence.workspace import Workspace
from subsample import uncertainty
from subsample.config import ScoresConfig
from subsample.uncertainty import losses_of, measure_losses, mixed_images, redraw_mixes


@pytest.mark.parametrize("common", [False, True])
def test_an_image_meets_the_same_mixes_again(tmp_path, monkeypatch, common):
    monkeypatch.setattr(uncertainty, "_BLOCK", 12)  # 4 images a block: 11 images end in 3
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (11, 3, 6, 6), generator=generator, dtype=torch.uint8)
    labels = torch.arange(11) % 3
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(108, 3))
    normalization = Normalization((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    config = ScoresConfig(draws=3, common_draws=common)
    settings = (model, images, labels, 3, normalization, config)
    measured = measure_losses(*settings, 7, Workspace(tmp_path))
    for index in range(11):
        mixes = redraw_mixes(index, images, config, 7)
        assert mixes.sources.shape == (1, 3, 3)
        assert (mixes.sources[..., 0] == index).all()
        again = losses_of(mixes, *settings)
        assert again[0].tolist() == pytest.approx(measured[index].tolist(), rel=1e-5)
        pictures = mixed_images(mixes, images, normalization)
        own = mixes.owners[0, :, None].expand(-1, 3, -1, -1) == 0
        assert (pictures == images[index])[own].all()
