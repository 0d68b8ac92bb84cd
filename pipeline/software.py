"""Which versions of torch and of this code are at work."""

import subprocess
from functools import cache
from pathlib import Path

import torch

_ROOT = Path(__file__).parents[1]
_PATIENCE = 10  # seconds, for a repository on a slow network


@cache
def software() -> str:
    """`torch 2.12.1, code 1a2b3c4`: of the code its commit, `-dirty` if files differ from it."""
    code = _commit()
    return f"torch {torch.__version__}" + (f", code {code}" if code else "")


def _commit() -> str:
    """Of the repository that this file lies in; nothing if there is none, or no git."""
    if not (_ROOT / ".git").exists():
        return ""
    command = ["git", "-C", str(_ROOT), "describe", "--always", "--dirty", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
