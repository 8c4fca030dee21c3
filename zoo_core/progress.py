"""What a user sees of downloads that take long enough to be seen: bars on a terminal, a line elsewhere."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from zoo_core.downloads import Progress
from zoo_core.wording import bytes_text, printable

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

#: Files smaller than this arrive before a bar could be read.
_VISIBLE = 1 << 20
#: Seconds between two looks at a bar; bytes come far more often.
_GLANCE_S = 0.05


def reporter(progress: Progress | bool | None) -> Progress | None:
    """What to call while bytes arrive.

    Args:
        progress: A function; None: bars if standard error is a terminal, else a line for each file; False: nothing.
    """
    if callable(progress):
        return progress
    # A closed stream is None.
    if progress is False or sys.stderr is None:
        return None
    return _TerminalBars() if sys.stderr.isatty() else _Lines()


class _TerminalBars:
    """One bar a file on standard error, and one for all of several, until it is closed; sizes may be unknown or wrong."""

    def __init__(self) -> None:
        self._bars: Bars | None = None
        self._tasks: dict[str, TaskID] = {}
        self._all: TaskID | None = None
        self._known: dict[str, tuple[int, int | None]] = {}
        self._seen_at: dict[str, float] = {}

    def __call__(self, done: int, total: int | None, name: str) -> None:
        if max(done, total or 0) < _VISIBLE or self._is_too_soon(name, is_last=done == total):
            return
        bars = self._started()
        if name not in self._tasks:
            self._tasks[name] = bars.add_task(printable(name), total=total)
        total = None if total is None else max(done, total)
        self._known[name] = done, total
        bars.update(self._tasks[name], completed=done, total=total)
        if len(self._tasks) > 1:
            self._show_all(bars)

    def close(self) -> None:
        """Leave the bars as they are and give the cursor back."""
        bars, self._bars, self._all = self._bars, None, None
        for kept in (self._tasks, self._known, self._seen_at):
            kept.clear()
        if bars is not None:
            bars.stop()

    def _is_too_soon(self, name: str, *, is_last: bool) -> bool:
        now = time.monotonic()
        if not is_last and now - self._seen_at.get(name, 0.0) < _GLANCE_S:
            return True
        self._seen_at[name] = now
        return False

    def _show_all(self, bars: Bars) -> None:
        totals = [total for _, total in self._known.values()]
        total = None if None in totals else sum(total for total in totals if total is not None)
        if self._all is None:
            self._all = bars.add_task("in all", total=total)
        bars.update(self._all, completed=sum(done for done, _ in self._known.values()), total=total)

    def _started(self) -> Bars:
        if self._bars is None:
            from rich.console import Console
            from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

            text = TextColumn("{task.description}", markup=False)
            columns = (text, BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
            self._bars = Progress(*columns, console=Console(stderr=True))
            self._bars.start()
        return self._bars


class _Lines:
    """A line for each file on standard error, when the first bytes of it have come: a log is not drawn over."""

    def __init__(self) -> None:
        self._said: set[str] = set()

    def __call__(self, done: int, total: int | None, name: str) -> None:
        if name in self._said or max(done, total or 0) < _VISIBLE:
            return
        self._said.add(name)
        size = "" if total is None else f" ({bytes_text(max(done, total))})"
        sys.stderr.write(f"downloading {printable(name)}{size}\n")
        sys.stderr.flush()

    def close(self) -> None:
        """The next download is told of again."""
        self._said.clear()
