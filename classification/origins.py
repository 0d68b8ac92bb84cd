"""Where a dataset's training images stand in the whole that they are a part of."""

from dataclasses import dataclass

import torch
from torch import Tensor

from classification.data_config import DataConfig
from classification.datasets import first_of_each_class, open_cifar, split_digits
from classification.file_index import FileIndex
from classification.folders import list_images


@dataclass(frozen=True)
class Origins:
    """Of every training image its index in the whole, int64 [N], and its file if it has one.

    The whole is torchvision's train split of CIFAR, scikit-learn's digits with those for testing
    among them, or all images below a folder's train/ in the order of torchvision's ImageFolder.
    """

    indices: Tensor
    files: FileIndex | None = None


def find_origins(config: DataConfig, key: str = "data") -> Origins:
    """Those of `load_dataset(config).train`; no image is decoded. Raises what that raises."""
    if config.kind == "folder":
        return _in_folder(config, key)
    if config.kind == "digits":
        from sklearn.datasets import load_digits  # slow to import, and needed for this kind alone

        labels = torch.from_numpy(load_digits().target).long()
        whole, _ = split_digits(labels)
        labels = labels[whole]
    else:
        labels = torch.tensor(open_cifar(config, key)[0].targets)
        whole = torch.arange(len(labels))
    return Origins(whole[first_of_each_class(labels, config.classes, config.images_per_class)])


def _in_folder(config: DataConfig, key: str) -> Origins:
    assert config.root is not None  # DataConfig's validator
    # The classes are the first ones, so those left out are counted in no index.
    whole = list_images(config.root, key, config.classes, val_labels=config.val_labels).train
    kept = first_of_each_class(whole.labels, config.classes, config.images_per_class)
    return Origins(kept, whole.take(kept))
