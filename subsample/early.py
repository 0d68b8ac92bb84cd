"""EL2N and GraNd early in training: means over several networks (Paul et al. 2021).

Each network is trained by the scorer's recipe for a few epochs, with a seed of its own, and then
sees the unchanged images in eval mode.
"""

import shutil

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from classification.classifier import train_classifier
from classification.config import ClassifierConfig
from classification.data.datasets import ImageDataset
from classification.data.loaders import ImageSet
from classification.data.transforms import Normalization
from classification.errors import PipelineError
from classification.persistence.workspace import Workspace
from classification.progress import PartOfWork, Progress, silent
from classification.seeds import derive_seed
from classification.training.step import logits_of
from classification.training.trainer import evaluating
from subsample.baselines import BATCH_SIZE, el2n
from subsample.measures import Measure

_FOLDER = "network-"
_GRADIENTS = 1 << 24  # numbers in the gradients that are computed at a time: 64 MiB


def early_values(
    measure: Measure,
    dataset: ImageDataset,
    config: ClassifierConfig,
    networks: int,
    *,
    seed: int,
    device: torch.device,
    workspace: Workspace,
    batch_size: int = BATCH_SIZE,
) -> Tensor:
    """Return the mean of `el2n_early` or `grand` over trained networks, float32 [N] on the CPU.

    `config.trained_epochs` are those of each network. Interrupted work resumes within a network
    from its last epoch; of a finished one only the sum over the networks, float64 [N], is kept.
    Raises what `train_classifier` raises, PipelineError if a value is not finite.
    """
    done, state = workspace.resume()
    total = state["sum"] if done else torch.zeros(len(dataset.train), dtype=torch.float64)
    epochs = config.trained_epochs
    images = dataset.in_memory().to(device)
    for index in range(done, networks):
        folder = workspace.path(f"{_FOLDER}{index:04d}")
        progress = PartOfWork(workspace.progress, index * epochs, networks * epochs)
        inner = Workspace(folder, progress, workspace.log)
        model = train_classifier(
            dataset,
            config,
            seed=derive_seed(seed, "early", index),
            device=device,
            workspace=inner,
        )
        values = measure_early(measure, model, images, dataset.normalization, batch_size)
        total = total + values.cpu().double()
        workspace.save(index + 1, {"sum": total})
        shutil.rmtree(folder)
    for folder in workspace.directory.glob(f"{_FOLDER}*/"):  # left by a kill after the last line
        shutil.rmtree(folder)
    return (total / networks).float()


def measure_early(
    measure: Measure,
    model: nn.Module,
    images: ImageSet,
    normalization: Normalization,
    batch_size: int = BATCH_SIZE,
) -> Tensor:
    """Return `el2n_early` or `grand` of images for one network, float32 [N] on their device."""
    of_network = el2n if measure == "el2n_early" else grand
    return of_network(model, images.images, images.labels, normalization, batch_size)


def grand(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    normalization: Normalization,
    batch_size: int = BATCH_SIZE,
    progress: Progress = silent,
) -> Tensor:
    """Return GraNd of each image, float32 [N]: the length of the gradient of its cross-entropy by
    all weights (Paul et al. 2021, Definition 2.1, for one network).

    `images` are uint8 [N, 3, H, W] on the model's device, `labels` int64 [N]. At most `batch_size`
    images, and as many as have 2²⁴ gradients in all, are computed at a time.

    Raises PipelineError if a value is not finite, ValueError unless each image has a label.
    """
    if labels.shape != images.shape[:1]:
        raise ValueError(f"labels {tuple(labels.shape)} of images {tuple(images.shape)}")
    weights = {name: each.detach() for name, each in model.named_parameters()}
    buffers = dict(model.named_buffers())
    chunk = max(1, min(batch_size, _GRADIENTS // sum(each.numel() for each in weights.values())))

    def loss(weights: dict[str, Tensor], image: Tensor, label: Tensor) -> Tensor:
        logits = logits_of(functional_call(model, (weights, buffers), (image[None],)))
        return F.cross_entropy(logits.float(), label[None])

    gradients = vmap(grad(loss), in_dims=(None, 0, 0))
    parts = []
    with evaluating(model):
        for start in range(0, len(images), chunk):
            rows = slice(start, min(start + chunk, len(images)))
            found = gradients(weights, normalization(images[rows]), labels[rows])
            squares = [each.flatten(1).double().square().sum(1) for each in found.values()]
            parts.append(torch.stack(squares).sum(0).sqrt().float())
            progress(rows.stop, len(images), "image")
    values = torch.cat(parts)
    if not values.isfinite().all():
        raise PipelineError(
            "subset.measure: grand got gradients that are not finite; allowed: a scorer.learning_"
            "rate at which the training does not diverge"
        )
    return values
