"""Loads and saves a classifier's weights: safetensors, or others' torch checkpoints.

A torch checkpoint may be a bare state_dict or hold one under `net` (the authors' PyramidNet-110),
`state_dict` (Lightning), `model_state_dict` or `model`. Its names may have the prefixes of
DataParallel (`module.`), torch.compile (`_orig_mod.`) and Lightning (`model.`). None may run code.
"""

import pickle
import re
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn

from classification.errors import ArtifactError
from classification.persistence.storage import write_atomically
from classification.persistence.untrusted_files import memory_limit

_WRAPPERS = ("net", "state_dict", "model_state_dict", "model")
_PREFIXES = ("module.", "_orig_mod.", "model.")
_REFUSED = re.compile(r"GLOBAL ([\w.]{1,200})")  # by torch.load, in its message
_KNOWN = {
    "numpy._core.multiarray.scalar": "a numpy scalar",
    "numpy.core.multiarray.scalar": "a numpy scalar",
    "numpy._core.multiarray._reconstruct": "a numpy array",
    "numpy.core.multiarray._reconstruct": "a numpy array",
}
_SHOWN, _REASON = 3, 200  # names, and characters of another's words, in a message
_MAX_HEADER = 1 << 24  # bytes of a safetensors header; a ResNet-1000's takes a hundredth of it
_MAX_MEMORY = 1 << 28  # bytes, beside twice the file's, to read it with


def save_classifier_weights(model: nn.Module, path: Path) -> None:
    """Write the state_dict of `model` as safetensors, so that `path` is whole or absent."""
    # Copies, since tensors that share memory cannot be stored twice.
    state = {
        name: tensor.detach().to("cpu", copy=True).contiguous()
        for name, tensor in model.state_dict().items()
    }
    write_atomically(path, save(state))


def is_authors_checkpoint(path: Path) -> bool:
    """Whether a torch checkpoint has the form of the authors' PyramidNet-110: `net`, `module.`."""
    if not path.is_file() or _is_safetensors(path):
        return False
    with memory_limit(2 * path.stat().st_size + _MAX_MEMORY):
        content = _load_torch(path)
    net = content.get("net") if isinstance(content, dict) else None
    return isinstance(net, dict) and all(str(name).startswith("module.") for name in net)


def load_classifier_weights(model: nn.Module, path: Path) -> None:
    """Load the weights stored at `path` into `model`, which stays on its device.

    Raises ArtifactError, leaving `model` as it was, if the file is missing, not loadable without
    running code, or does not fit in every name and shape.
    """
    state = _read(path)
    _check_fit(model, state, path)
    # A plain dict, without the version metadata, lets BatchNorm fill in a step counter that
    # checkpoints of old torch versions lack.
    model.load_state_dict(state)


def _read(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise ArtifactError(f"{path}: no such file; allowed: safetensors or a torch checkpoint")
    try:
        with memory_limit(2 * path.stat().st_size + _MAX_MEMORY):
            content = load_file(path) if _is_safetensors(path) else _load_torch(path)
    except pickle.UnpicklingError as error:
        raise ArtifactError(f"{path}: not tensors alone: {_what_is_refused(error)}") from error
    # Neither reader has an exception of its own for a damaged file: it shows as nearly any.
    except Exception as error:
        reason = str(error).partition("\n")[0][:_REASON] or type(error).__name__
        raise ArtifactError(f"{path}: not loadable ({reason})") from error
    return _state_dict_in(content, path)


def _what_is_refused(error: pickle.UnpicklingError) -> str:
    """What torch.load does not read, and what to do."""
    refused = _REFUSED.search(str(error))
    if refused is None:
        return "damaged, or no checkpoint; allowed: what torch.load reads with weights_only=True"
    name = refused[1].rstrip(".")
    known = f"{_KNOWN[name]} ({name})" if name in _KNOWN else f"an object of {name}"
    return (
        f"holds {known}, which is not read because unpickling can run code; allowed: plain "
        "weights, as torch.save(model.state_dict(), path) writes them"
    )


def _is_safetensors(path: Path) -> bool:
    """A safetensors file is a length of eight bytes, then a JSON object.

    Raises ValueError for one whose header is larger than any classifier's.
    """
    with path.open("rb") as file:
        start = file.read(9)
    if start[8:] != b"{":
        return False
    if (length := int.from_bytes(start[:8], "little")) > _MAX_HEADER:
        raise ValueError(f"a header of {length:,} bytes; allowed: at most {_MAX_HEADER:,}")
    return True


def _load_torch(path: Path) -> Any:
    return torch.load(path, map_location="cpu", weights_only=True)


def _state_dict_in(content: Any, path: Path) -> dict[str, Tensor]:
    for wrapper in _WRAPPERS:
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
            break
    whole = isinstance(content, dict) and all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in content.items()
    )
    if not whole or not content:
        raise ArtifactError(
            f"{path}: holds no state_dict; allowed: one at the top or under {', '.join(_WRAPPERS)}"
        )
    while prefix := next((p for p in _PREFIXES if all(n.startswith(p) for n in content)), None):
        content = {name.removeprefix(prefix): value for name, value in content.items()}
    return content


def _check_fit(model: nn.Module, state: dict[str, Tensor], path: Path) -> None:
    own = model.state_dict()
    _check_classes(model, state, path)
    missing = [n for n in own if n not in state and not n.endswith("num_batches_tracked")]
    unexpected = [n for n in state if n not in own]
    reshaped = [
        f"{n} {list(state[n].shape)} for {list(own[n].shape)}"
        for n in own
        if n in state and state[n].shape != own[n].shape
    ]
    problems = {"missing": missing, "unexpected": unexpected, "of another shape": reshaped}
    found = [f"{kind} {_shorten(names)}" for kind, names in problems.items() if names]
    if found:
        raise ArtifactError(f"{path}: does not fit {type(model).__name__}: {'; '.join(found)}")


def _check_classes(model: nn.Module, state: dict[str, Tensor], path: Path) -> None:
    """The mistake that people make most gets its own words."""
    for name, module in model.named_modules():
        weight = state.get(f"{name}.weight")
        if not isinstance(module, nn.Linear) or weight is None or weight.ndim != 2:
            continue
        if weight.shape[1] == module.in_features and weight.shape[0] != module.out_features:
            raise ArtifactError(
                f"{path}: scorer has {weight.shape[0]} classes, data has {module.out_features}"
            )


def _shorten(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
