"""How far the measuring of one or several estimates is."""

import time
from collections.abc import Callable

Show = Callable[[float, float, str], None]
"""Shows the seconds passed, those expected in all, and the stage that is measured."""


class Measuring:
    """Shows the seconds of a measuring that is planned to take `planned`, in one part or several.

    Parts may take longer than planned, beside other programs for example; the seconds expected
    grow by as much for the parts to come.
    """

    def __init__(self, show: Show, planned: float) -> None:
        self._show, self._planned = show, planned
        self._begun = time.perf_counter()
        self._ended = self._taken = 0.0  # seconds planned for the parts that ended, and their own

    def __call__(self, stage: str) -> None:
        """Show that the stage is being measured."""
        passed, slower = time.perf_counter() - self._begun, 1.0
        if self._ended:
            slower = max(1.0, self._taken / self._ended)
        left = max(0.0, self._planned - self._ended)
        self._show(passed, max(passed, self._taken + slower * left), stage)

    def end(self, planned: float) -> None:
        """Count a part of `planned` seconds as ended."""
        self._ended += planned
        self._taken = time.perf_counter() - self._begun
