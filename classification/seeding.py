"""Random generators derived from (seed, stream, indices) instead of a carried state.

Each epoch has a new generator, determined by its number, so checkpoints store no random state and
a resumed run makes the same draws as an uninterrupted one.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from classification.seeds import derive_seed


def make_generator(
    seed: int, stream: str, *indices: int, device: torch.device | str = "cpu"
) -> torch.Generator:
    """Return a generator on `device`, seeded from (seed, stream, indices)."""
    return torch.Generator(device=device).manual_seed(derive_seed(seed, stream, *indices))


def reseed(generator: torch.Generator, seed: int, stream: str, *indices: int) -> None:
    """Seed an existing generator as `make_generator` would.

    For the generators of a CUDA graph, which cannot be replaced.
    """
    generator.manual_seed(derive_seed(seed, stream, *indices))


@contextmanager
def seeded(
    seed: int, stream: str, *indices: int, device: torch.device | str = "cpu"
) -> Iterator[None]:
    """Seed torch's global generators inside the block and restore them after it.

    For code that takes no generator: weight initialisation and dropout inside modules.
    """
    device = torch.device(device)
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(derive_seed(seed, stream, *indices))
        yield
