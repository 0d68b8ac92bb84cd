"""Seeds derived from a run's seed, without importing torch."""

import hashlib


def derive_seed(seed: int, stream: str, *indices: int) -> int:
    """Return a 63-bit seed, the same on every platform; different streams are independent."""
    text = "/".join([str(seed), stream, *map(str, indices)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
