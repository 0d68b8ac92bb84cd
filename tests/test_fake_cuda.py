"""Forward passes on fake CUDA tensors: a tensor left on the CPU, or a wait for the device, is an
error here and not first on a GPU."""

import sys

import pytest
import torch
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode
from torch.overrides import TorchFunctionMode

from classification.data.transforms import Augmentation, Normalization
from classification.models import MODELS, build_classifier

NORMALIZATION = Normalization((0.5,) * 3, (0.25,) * 3)


class WithoutGenerator(TorchFunctionMode):
    """Draws without the generator, as one of a CUDA device needs the device."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        kwargs.pop("generator", None)
        return function(*args, **kwargs)


@pytest.fixture
def images():
    """uint8 [4, 3, 64, 64] on a device that is not there, as is all that a test builds."""
    forget_tensors()
    with FakeTensorMode(), torch.device("cuda"), WithoutGenerator():
        yield torch.zeros(4, 3, 64, 64, dtype=torch.uint8)
    forget_tensors()


def forget_tensors():
    """Empty the caches of the modules, which may hold real tensors, or fake ones of this mode."""
    for name, module in list(sys.modules.items()):
        if name.startswith(("classification.", "evaluate.", "pcdarts.")):
            for value in list(vars(module).values()):
                if callable(getattr(value, "cache_clear", None)):
                    value.cache_clear()


def draws():
    return torch.Generator()


def on_cuda(output):
    first = output[0] if isinstance(output, tuple) else output
    assert first.device.type == "cuda"
    return first


@pytest.mark.parametrize("name", [name for name in MODELS if name != "pyramidnet200"])
def test_classifiers(images, name):
    model = build_classifier(name, 10)
    assert on_cuda(model(NORMALIZATION(images))).shape == (4, 10)


def test_augmentation(images):
    augmentation = Augmentation(NORMALIZATION, 4, flip=True, cutout=8, lighting=0.1)
    assert on_cuda(augmentation(images, draws())).shape == images.shape


def test_what_it_is_to_find_is_found(images):
    with pytest.raises(RuntimeError, match=r"[Dd]evice"):
        images + torch.zeros(64, device="cpu")
    with pytest.raises(DataDependentOutputException):
        images.sum().item()
