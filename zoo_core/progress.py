"""A progress bar on a terminal, for downloads that take long enough to be seen."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from zoo_core.downloads import Progress

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

#: Files smaller than this arrive before a bar could be read.
_VISIBLE = 1 << 20


def reporter(progress: Progress | bool | None) -> Progress | None:
    """What to call while bytes arrive.

    Args:
        progress: A function; None: a bar if standard error is a terminal; False: nothing.
    """
    if callable(progress):
        return progress
    return _TerminalBars() if progress is not False and sys.stderr.isatty() else None


class _TerminalBars:
    """One bar a file on standard error, until it is closed; sizes may be unknown or wrong."""

    def __init__(self) -> None:
        self._bars: Bars | None = None
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, done: int, total: int | None, name: str) -> None:
        if max(done, total or 0) < _VISIBLE:
            return
        bars = self._started()
        if name not in self._tasks:
            self._tasks[name] = bars.add_task(name, total=total)
        bars.update(self._tasks[name], completed=done, total=total if total is None else max(done, total))

    def close(self) -> None:
        """Leave the bars as they are and give the cursor back."""
        bars, self._bars, self._tasks = self._bars, None, {}
        if bars is not None:
            bars.stop()

    def _started(self) -> Bars:
        if self._bars is None:
            from rich.console import Console
            from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

            columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TransferSpeedColumn())
            self._bars = Progress(*columns, console=Console(stderr=True))
            self._bars.start()
        return self._bars
