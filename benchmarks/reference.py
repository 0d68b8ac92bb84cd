"""Runs an unmodified checkout of the public PC-DARTS repository, for comparison.

Its search is for Python 2 and one CUDA device. `.cuda()` is redirected to the current device while
its modules are loaded and built, and its training step, whose file does not parse in Python 3, is
rebuilt from the modules.
"""

import importlib
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn

from pcdarts.conversion import to_plain
from pcdarts.search import SearchConfig
from pcdarts.supernet import Supernet

PARTIAL = 4  # K, fixed in its model
_MODULES = ("model_search", "architect", "operations", "genotypes")
# Names of the plain form (pcdarts/conversion.py) → the repository's.
_RENAMES = (
    (re.compile(r"(\.preprocess\d\.)(\d)"), r"\1op.\2"),
    (re.compile(r"\.edges\.(\d+)\.operations\.(\d)"), r"._ops.\1._ops.\2"),
    (re.compile(r"(_ops\.[3-6]\.)(\d)"), r"\1op.\2"),  # separable and dilated convolutions
    (re.compile(r"\.even\."), ".conv_1."),
    (re.compile(r"\.odd\."), ".conv_2."),
    (re.compile(r"(preprocess0|_ops\.2)\.norm\."), r"\1.bn."),
)
_OPERATION = re.compile(r"(\._ops\.\d+\._ops\.)(\d)")


class Reference:
    """The repository's supernet, architect and optimizer, with the search settings of `config`.

    Raises FileNotFoundError if `directory` does not contain the repository.
    """

    def __init__(
        self, directory: Path, num_classes: int, config: SearchConfig, device: torch.device
    ) -> None:
        for name in _MODULES:
            if not (directory / f"{name}.py").is_file():
                raise FileNotFoundError(f"{directory}: no {name}.py of the PC-DARTS repository")
        with _bridged(directory, device):
            model_search = importlib.import_module("model_search")
            architect = importlib.import_module("architect")
            self.criterion = nn.CrossEntropyLoss()
            self.model: Any = model_search.Network(
                config.channels, num_classes, config.cells, self.criterion
            ).to(device)
        arguments = SimpleNamespace(
            momentum=config.momentum,
            network_weight_decay=config.weight_decay,
            weight_decay=config.weight_decay,
            arch_learning_rate=config.architecture_learning_rate,
            arch_weight_decay=config.architecture_weight_decay,
        )
        self._architect = architect.Architect(self.model, arguments)
        self._clip = config.gradient_clip
        self._optimizer = torch.optim.SGD(
            self.model.parameters(),
            config.learning_rate,
            momentum=config.momentum,
            weight_decay=config.weight_decay,
        )
        self.model.train()

    def forward(self, images: Tensor, labels: Tensor) -> None:
        self.model(images)

    def architecture_step(self, images: Tensor, labels: Tensor) -> None:
        """Take its first-order architecture step."""
        self._architect.step(
            images, labels, images, labels, self._optimizer.param_groups[0]["lr"],
            self._optimizer, unrolled=False,
        )  # fmt: skip

    def weight_step(self, images: Tensor, labels: Tensor) -> None:
        """Take the training step of its train_search.py."""
        self._optimizer.zero_grad()
        self.criterion(self.model(images), labels).backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), self._clip)
        self._optimizer.step()

    def load(self, supernet: Supernet) -> None:
        """Copy weights, statistics, α and β from `supernet`."""
        state = {_rename(name): value for name, value in to_plain(supernet.state_dict()).items()}
        for name in ("alphas_normal", "alphas_reduce", "betas_normal", "betas_reduce"):
            getattr(self.model, name).data = state.pop(name).clone()
        self.model.load_state_dict(state)


def logit_difference(directory: Path, config: SearchConfig, side: int) -> float:
    """Return the largest difference of logits between ours and the repository's with equal weights,
    relative to the largest logit; in float64 on the CPU.
    """
    cpu, classes = torch.device("cpu"), 10
    ours = Supernet(classes, config.channels, config.cells, PARTIAL).double()
    for parameter in ours.architecture_parameters():
        parameter.data.normal_()
    theirs = Reference(directory, classes, config, cpu)
    theirs.model.double()
    theirs.load(ours)
    images = torch.randn(8, 3, side, side, dtype=torch.float64)
    expected = theirs.model(images)
    return ((ours(images) - expected).abs().max() / expected.abs().max()).item()


def _rename(name: str) -> str:
    for pattern, replacement in _RENAMES:
        name = pattern.sub(replacement, name)
    # Its operations include `none`.
    return _OPERATION.sub(lambda match: f"{match[1]}{int(match[2]) + 1}", name)


@contextmanager
def _bridged(directory: Path, device: torch.device) -> Iterator[None]:
    """Make its modules importable by their names, and `.cuda()` equivalent to `.to(device)`."""
    kept = {name: sys.modules.pop(name) for name in _MODULES if name in sys.modules}
    sys.path.insert(0, str(directory))
    try:
        with (
            mock.patch.object(Tensor, "cuda", lambda tensor, *_, **__: tensor.to(device)),
            mock.patch.object(nn.Module, "cuda", lambda module, *_, **__: module.to(device)),
        ):
            yield
    finally:
        sys.path.remove(str(directory))
        for name in _MODULES:
            sys.modules.pop(name, None)
        sys.modules.update(kept)
