"""Parts of one stage's work that several processes share, each part with a lock.

The process that makes the artifact opens the parts with an invitation, which holds a new token.
Others may then take part: whoever holds a part's lock works on it in its folder of the workspace.
A helper checks under the lock that the invitation is still the one that it accepted, so it never
touches the work of a later attempt.
"""

import secrets
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from classification.persistence.storage import write_atomically
from pipeline.store.ledger import Ledger
from pipeline.store.stopwatch import record_killed_attempt

_INVITATION, _LOCK = ".invitation.txt", ".{}.lock"


class PartsClosedError(Exception):
    """The invitation was withdrawn: the work has ended, or another attempt has begun."""


class Parts:
    """The parts of the work in the folder `work`, under the invitation that stands there, if any.

    The process that makes the artifact opens and closes them; a helper does neither.
    """

    def __init__(self, work: Path, ledger: Ledger) -> None:
        self._work, self._ledger = work, ledger
        self._token = self._read()

    @property
    def are_open(self) -> bool:
        """Whether the invitation that was read first, or given by `open`, is still there."""
        return self._token is not None and self._read() == self._token

    def open(self) -> None:
        """Invite helpers. The caller holds the stage's lock."""
        self._token = secrets.token_hex(8)
        write_atomically(self._work / _INVITATION, self._token)

    def close(self) -> None:
        """Withdraw the invitation: a part that is claimed later is refused."""
        with suppress(OSError):
            (self._work / _INVITATION).unlink()

    @contextmanager
    def all_closed(self) -> Iterator[None]:
        """Withdraw the invitation and hold every part in the block, after its worker has stopped.

        The caller holds the stage's lock, so nobody invites meanwhile.
        """
        self.close()
        with ExitStack() as held:
            for path in sorted(self._work.glob(_LOCK.format("*"))):
                if path.is_file():
                    held.enter_context(FileLock(path))
            yield

    @contextmanager
    def claim(self, name: str, wait: bool) -> Iterator[bool]:
        """Hold a part, whose folder has this name; yield False if another process has it.

        Books the cost of a helper that was killed. Raises PartsClosedError without an invitation.
        """
        if not self.are_open:
            raise PartsClosedError
        lock = FileLock(self._work / _LOCK.format(name))
        try:
            lock.acquire(timeout=-1 if wait else 0)
        except Timeout:
            yield False
            return
        except FileNotFoundError as error:  # the folder was published
            raise PartsClosedError from error
        try:
            if not self.are_open:
                raise PartsClosedError
            record_killed_attempt(self._ledger, self._work / name)
            yield True
        finally:
            lock.release()

    def booked(self, name: str) -> AbstractContextManager[None]:
        """Book the cost of the block, work on a part. The maker's attempt includes its own."""
        return nullcontext()

    def _read(self) -> str | None:
        try:
            return (self._work / _INVITATION).read_text()
        except OSError:
            return None
