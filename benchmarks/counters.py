"""Ten counters of multiply-adds by name: package, function, and what it counts.

Every counter gets its own copy of a network, in eval mode, and one image; torch's count of
floating-point operations is halved. counting.sh installs their packages.
"""

import contextlib
import copy
import io
import warnings
from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

Counter = Callable[[nn.Module, Tensor], float]


def _by_torch(network: nn.Module, images: Tensor) -> float:
    """torch's FlopCounterMode."""
    with FlopCounterMode(display=False) as counter:
        network(images)
    return counter.get_total_flops() / 2


def _by_fvcore(network: nn.Module, images: Tensor) -> float:
    from fvcore.nn import FlopCountAnalysis

    return float(FlopCountAnalysis(network, images).total())


def _by_torchprofile(network: nn.Module, images: Tensor) -> float:
    from torchprofile import profile_macs

    return float(profile_macs(network, images))


def _by_thop(network: nn.Module, images: Tensor) -> float:
    import thop

    return float(thop.profile(network, (images,), verbose=False)[0])


def _by_ptflops(network: nn.Module, images: Tensor, backend: str = "pytorch") -> float:
    from ptflops import get_model_complexity_info

    shape = tuple(images.shape[1:])
    options = {"as_strings": False, "print_per_layer_stat": False, "backend": backend}
    return float(get_model_complexity_info(network, shape, **options)[0])


def _by_ptflops_aten(network: nn.Module, images: Tensor) -> float:
    return _by_ptflops(network, images, "aten")


def _by_torchinfo(network: nn.Module, images: Tensor) -> float:
    import torchinfo

    return float(torchinfo.summary(network, input_data=images, verbose=0).total_mult_adds)


def _by_flopth(network: nn.Module, images: Tensor) -> float:
    from flopth import flopth

    return float(flopth(network, in_size=(tuple(images.shape[1:]),), bare_number=True)[0])


def _by_torch_pruning(network: nn.Module, images: Tensor) -> float:
    import torch_pruning

    return float(torch_pruning.utils.count_ops_and_params(network, images)[0])


def _by_calflops(network: nn.Module, images: Tensor) -> float:
    from calflops import calculate_flops

    shape, quiet = tuple(images.shape), {"print_results": False, "print_detailed": False}
    return float(calculate_flops(network, input_shape=shape, output_as_string=False, **quiet)[1])


def _by_deepspeed(network: nn.Module, images: Tensor) -> float:
    from deepspeed.profiling.flops_profiler import get_model_profile

    shape = tuple(images.shape)
    return float(get_model_profile(network, shape, print_profile=False, as_string=False)[1])


COUNTERS: dict[str, tuple[str, Counter, str]] = {
    "torch": ("torch", _by_torch, "convolutions and matrix products; backward: see below"),
    "fvcore": ("fvcore", _by_fvcore, "and 2 a BatchNorm value; 1 a value of an adaptive pool"),
    "torchprofile": (
        "torchprofile",
        _by_torchprofile,
        "and 1 a BatchNorm value, 1 a value of an average pool",
    ),
    "thop": (
        "thop",
        _by_thop,
        "and 4 a BatchNorm value, 1 an output of an average pool; no functional convolutions; "
        "leaves [buffers](../findings/thop-leaves-buffers.sh) in the state dict; its fork counts "
        "[10 an output](../findings/thop-and-its-fork-share-a-module.sh)",
    ),
    "ptflops": (
        "ptflops",
        _by_ptflops,
        "backend `pytorch`, the default: and 2 a BatchNorm value, 2 an `nn.ReLU` or pool module, "
        "1 an `F.relu`, 0 an `x.relu()`, 1 a bias; no functional convolutions",
    ),
    "ptflops aten": ("ptflops", _by_ptflops_aten, "backend `aten`: and 1 a bias"),
    "torchinfo": (
        "torchinfo",
        _by_torchinfo,
        "and the parameters of a BatchNorm, not its values; no functional convolutions",
    ),
    "flopth": (
        "flopth",
        _by_flopth,
        "and 2 a BatchNorm value, 1 an `nn.ReLU` or pool; no functional convolutions; a module "
        "that is called twice counts once",
    ),
    "torch-pruning": (
        "torch-pruning",
        _by_torch_pruning,
        "and 2 a BatchNorm value, 1 an `nn.ReLU` or pool; no functional convolutions",
    ),
    "calflops": ("calflops", _by_calflops, "its MACs, as torch; needs transformers"),
    "DeepSpeed": (
        "deepspeed",
        _by_deepspeed,
        "its MACs, as torch; its FLOPs are twice these, plus BatchNorms, pools and ReLUs",
    ),
}


def count(counter: Counter, network: nn.Module, images: Tensor) -> float | None:
    """Return a copy's count, or None if the counter refuses the network."""
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings(), _unpatched():
        warnings.simplefilter("ignore")
        try:
            return counter(copy.deepcopy(network).eval(), images)
        except (RuntimeError, TypeError, ValueError, AttributeError, StopIteration):
            return None


@contextlib.contextmanager
def _unpatched() -> Iterator[None]:
    """Undo what a counter replaced in torch: one that raises leaves its wrappers in place, which
    the next one meets (calflops and DeepSpeed, then ptflops).
    """
    owners = (torch, F, Tensor)
    kept = [dict(vars(owner)) for owner in owners]
    try:
        yield
    finally:
        for owner, before in zip(owners, kept, strict=True):
            for name, value in before.items():
                if vars(owner).get(name) is not value:
                    setattr(owner, name, value)
