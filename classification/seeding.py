"""Random generators derived from (seed, stream, indices) instead of a carried state.

A generator made afresh for every epoch needs no place in a checkpoint: the epoch's number is its
state, so a run that stops and resumes draws what an uninterrupted one would have drawn.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def derive_seed(seed: int, stream: str, *indices: int) -> int:
    """A 63-bit seed, the same on every platform; distinct purposes give independent streams."""
    text = "/".join([str(seed), stream, *map(str, indices)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def make_generator(
    seed: int, stream: str, *indices: int, device: torch.device | str = "cpu"
) -> torch.Generator:
    """A generator on `device`, seeded from (seed, stream, indices)."""
    return torch.Generator(device=device).manual_seed(derive_seed(seed, stream, *indices))


def reseed(generator: torch.Generator, seed: int, stream: str, *indices: int) -> None:
    """Bring a standing generator to where `make_generator` would begin.

    For generators that a CUDA graph draws from, which cannot be replaced by others.
    """
    generator.manual_seed(derive_seed(seed, stream, *indices))


@contextmanager
def seeded(
    seed: int, stream: str, *indices: int, device: torch.device | str = "cpu"
) -> Iterator[None]:
    """Seed torch's global generators inside the block and restore them after it.

    For what takes no generator: weight initialisation and dropout inside modules.
    """
    device = torch.device(device)
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(derive_seed(seed, stream, *indices))
        yield
