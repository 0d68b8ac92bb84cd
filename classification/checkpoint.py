"""Nested state of tensors and plain values in one file: atomic, verified, readable without pickle.

The file is a safetensors file. Its header metadata holds the nesting as JSON, in which each tensor
stands as a reference, and the SHA-256 of that JSON and of every tensor's bytes.
"""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from classification.errors import ArtifactError

State = dict[str, Any]
_TENSOR, _ITEMS, _TUPLE = "__tensor__", "__items__", "__tuple__"


def save_checkpoint(path: Path, state: State) -> None:
    """Write `state` (dicts, lists, tuples, tensors, JSON values) so that `path` is whole or absent.

    Dict keys may be strings or integers. Tensors are stored as contiguous CPU copies.
    """
    tensors: dict[str, Tensor] = {}
    tree = json.dumps(_pack(state, "", tensors), sort_keys=True)
    metadata = {"tree": tree, "sha256": _digest(tree, tensors)}
    write_atomically(path, save(tensors, metadata))


def load_checkpoint(path: Path) -> State:
    """Read what `save_checkpoint` wrote, tensors on the CPU.

    Raises ArtifactError if the file is missing, damaged or of another kind.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        tree = metadata["tree"]
        if metadata["sha256"] != _digest(tree, tensors):
            raise ArtifactError(f"{path}: checksum differs; the file is damaged")
        state = _unpack(json.loads(tree), tensors)
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise ArtifactError(f"{path}: not a readable checkpoint ({error})") from error
    if not isinstance(state, dict):
        raise ArtifactError(f"{path}: not a checkpoint (expected a mapping)")
    return state


def write_atomically(path: Path, content: bytes | str) -> None:
    """Replace `path` with `content` so that a reader, or a crash, sees the old or the new whole."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    data = content.encode() if isinstance(content, str) else content
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def _pack(value: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, Tensor):
        # A copy, since tensors that share memory (tied or viewed) cannot be stored twice.
        tensors[name] = value.detach().to("cpu", copy=True).contiguous()
        return {_TENSOR: name}
    if isinstance(value, dict):
        items = {key: _pack(item, f"{name}/{key}", tensors) for key, item in value.items()}
        if all(isinstance(key, str) for key in items):
            return items
        return {_ITEMS: [[key, item] for key, item in items.items()]}
    if isinstance(value, list | tuple):
        packed = [_pack(item, f"{name}/{i}", tensors) for i, item in enumerate(value)]
        return {_TUPLE: packed} if isinstance(value, tuple) else packed
    return value


def _unpack(value: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, list):
        return [_unpack(item, tensors) for item in value]
    if not isinstance(value, dict):
        return value
    if set(value) == {_TENSOR}:
        return tensors[value[_TENSOR]]
    if set(value) == {_TUPLE}:
        return tuple(_unpack(item, tensors) for item in value[_TUPLE])
    if set(value) == {_ITEMS}:
        return {key: _unpack(item, tensors) for key, item in value[_ITEMS]}
    return {key: _unpack(item, tensors) for key, item in value.items()}


def _digest(tree: str, tensors: dict[str, Tensor]) -> str:
    digest = hashlib.sha256(tree.encode())
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
