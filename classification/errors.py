"""Exceptions whose one-line message tells a person what to do.

    PipelineError
    ├── ConfigError      a key, value or command-line argument
    ├── DataError        a folder, image or label
    ├── ArtifactError    a checkpoint, genotype, subset or other file
    ├── DeviceError      a device that is absent or too small
    ├── WorkError        a failure not caused by the input
    │   ├── StorageError     a disk that is full, read-only or gone
    │   └── LostDeviceError  a device that stopped answering
    ├── InterruptedRunError   no mistake: the person stopped the run
    └── SharedError      any of these, in the processes that leave it to the first to report

Each message is one line: where, what was found, what is allowed. The command line prints it
and exits with status 2, of a WorkError with 1.
"""

import difflib
from collections.abc import Iterable


class PipelineError(Exception):
    """Root of every error whose message is meant for the user."""


class ConfigError(PipelineError):
    """A setting that cannot be honoured; the message names its key."""


class DataError(PipelineError):
    """Images or labels that cannot be used; the message names the file or folder."""


class ArtifactError(PipelineError):
    """A file made earlier, here or elsewhere, that cannot be used; the message names it."""


class DeviceError(PipelineError):
    """A device that is absent, or too small for what was asked of it."""


class WorkError(PipelineError):
    """A failure not caused by the input; run the same command again to resume."""


class StorageError(WorkError):
    """A disk that is full, read-only or gone; the message names the file."""


class LostDeviceError(WorkError):
    """A device that stopped answering while it was at work."""


class SharedError(PipelineError):
    """What went wrong in another process of the run, which says so itself."""


class InterruptedRunError(PipelineError):
    """The person stopped the run; what was finished is kept. `stage` was being made. `again` is the
    command that resumes the run, where it is not the one that was stopped."""

    def __init__(self, message: str, stage: str | None = None) -> None:
        super().__init__(message)
        self.stage = stage
        self.again: str | None = None


def resume_with(command: str) -> str:
    """The words with which every message offers the command that resumes a run."""
    return f"resume with: {command}"


def did_you_mean(found: str, allowed: Iterable[str]) -> str:
    """`did you mean search? `, to stand before what is allowed; nothing where nothing is close."""
    close = difflib.get_close_matches(found, list(allowed), n=1)
    return f"did you mean {close[0]}? " if close else ""
