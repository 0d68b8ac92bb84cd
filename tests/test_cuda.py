"""What a GPU must do as the CPU does; `make test-cuda`."""

import pytest
import torch
import torch.nn.functional as F

from classification.mixing import MixingConfig
from classification.seeding import make_generator
from classification.transforms import Augmentation, Normalization
from pcdarts.supernet import Supernet
from run_pipeline import main

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


@pytest.mark.parametrize("kind", ["mixup", "cutmix", "dmixup", "dcutmix"])
def test_mixers_give_whole_labels_on_the_device(kind):
    mixer = MixingConfig(kind=kind).build(10)
    images = torch.randint(0, 256, (64, 3, 32, 32), dtype=torch.uint8, device="cuda")
    generator = make_generator(0, "mix", device="cuda")
    mixed, targets = mixer(images, torch.arange(64, device="cuda") % 10, generator)
    assert mixed.device == targets.device == images.device
    torch.testing.assert_close(targets.sum(1), torch.ones(64, device="cuda"))


def test_augmentation_runs_without_waiting_for_the_device():
    images = torch.randint(0, 256, (64, 3, 32, 32), dtype=torch.uint8, device="cuda")
    augmentation = Augmentation(Normalization((0.5,) * 3, (0.2,) * 3), cutout=8)
    generator = make_generator(0, "augmentation", device="cuda")
    augmentation(images, generator)  # the constants are made once
    torch.cuda.set_sync_debug_mode("error")
    try:
        augmentation(images, generator)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_the_supernet_gives_the_cpus_logits_and_gradients():
    torch.manual_seed(0)
    cpu = Supernet(10, 8, 5, 4, torch.Generator().manual_seed(0)).double()
    gpu = Supernet(10, 8, 5, 4).double()
    gpu.load_state_dict(cpu.state_dict())
    gpu.cuda()
    images, labels = torch.randn(4, 3, 16, 16, dtype=torch.float64), torch.arange(4)
    F.cross_entropy(cpu(images), labels).backward()
    F.cross_entropy(gpu(images.cuda()), labels.cuda()).backward()
    for here, there in zip(cpu.parameters(), gpu.parameters(), strict=True):
        torch.testing.assert_close(there.grad.cpu(), here.grad, rtol=1e-6, atol=1e-9)


def test_the_pipeline_runs_end_to_end_on_the_device(tmp_path):
    config = tmp_path / "tiny.yaml"
    config.write_text(
        """
        data: {kind: digits, classes: 3, images_per_class: 24}
        scorer: {model: resnet8, epochs: 1, batch_size: 16}
        scores: {draws: 4}
        subset: {fraction: 0.5}
        search: {epochs: 2, warmup_epochs: 1, channels: 4, cells: 3, batch_size: 16}
        retrain: {channels: 4, cells: 3, epochs: 1, batch_size: 32}
        """
    )
    places = ["--artifacts", str(tmp_path / "artifacts"), "--runs", str(tmp_path / "runs")]
    assert main(["run", str(config), "--device", "cuda", *places]) == 0
    report = (tmp_path / "runs" / "tiny" / "report" / "report.md").read_text()
    assert "GPU-hours" in report
