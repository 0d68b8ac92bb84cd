"""Live lines of a terminal, which a resize does not leave behind."""

from rich.console import Console, ConsoleOptions, RenderResult
from rich.control import Control
from rich.live_render import LiveRender
from rich.segment import ControlType, Segment

# To the end of the line, then of the screen, not from its first cell: tmux would keep a copy.
_ERASE = "\x1b[K\x1b[C\x1b[J\r"


class LiveLines(LiveRender):
    """Live lines that a resize of the terminal cannot leave behind.

    A terminal that becomes narrower breaks a line in two, so that counting rows upwards, as rich
    does, ends below the first of them. Here the cursor waits at the start of the first line, which
    the terminal moves together with its text, and everything after it is erased.
    """

    def position_cursor(self) -> Control:
        """Return the codes that erase the lines."""
        return _control("\r" + _ERASE)

    def restore_cursor(self) -> Control:
        """Return the codes that erase the lines after the line feed with which rich ends."""
        return _control("\r\x1b[A" + _ERASE)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield from super().__rich_console__(console, options)
        below = self.last_render_height - 1
        yield _control("\r" + (f"\x1b[{below}A" if below > 0 else "")).segment


def _control(codes: str) -> Control:
    control = Control()
    control.segment = Segment(codes, None, [(ControlType.CARRIAGE_RETURN,)])
    return control
