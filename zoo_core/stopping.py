"""How several threads that work on one thing are ended together."""

from __future__ import annotations

import contextvars
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Generic, Protocol, TypeVar

Result = TypeVar("Result")
#: Seconds for which those that were stopped are waited for; one that waits for a connection ends later, by itself.
_JOIN_S = 2.0


class Abortable(Protocol):
    """What a thread may be waiting in."""

    def abort(self) -> None:
        """End the waiting; called from another thread."""


class Stopped(Exception):  # noqa: N818 - whoever is stopped did nothing wrong
    """The work was ended by another thread, which says why."""


class Stop:
    """A switch that ends waiting, reading and pausing; thrown once."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._held: list[Abortable] = []
        self._lock = threading.Lock()

    def abort(self) -> None:
        """Throw it."""
        with self._lock:
            self._event.set()
            held = list(self._held)
        for item in held:
            item.abort()

    def check(self) -> None:
        """Go on, unless it was thrown.

        Raises:
            Stopped: It was.
        """
        if self._event.is_set():
            raise Stopped

    def pause(self, seconds: float) -> None:
        """Wait.

        Raises:
            Stopped: It was thrown meanwhile.
        """
        if self._event.wait(seconds):
            raise Stopped

    @contextmanager
    def holding(self, item: Abortable) -> Iterator[None]:
        """End an item's waiting, too, if it is thrown while the block runs."""
        with self._lock:
            self._held.append(item)
        try:
            self.check()
            yield
        finally:
            with self._lock:
                self._held.remove(item)


def at_once(tasks: Sequence[Callable[[], Result]], stop: Stop, most: int) -> list[Result]:
    """What tasks give, several of which run at the same time; the first one that fails ends the others and raises its error."""
    if most < 2 or len(tasks) < 2:
        return [task() for task in tasks]
    numbered = [_Task(task) for task in tasks]
    waiting, ended = iter(numbered), queue.SimpleQueue[_Task[Result]]()

    def work() -> None:
        # The interpreter gives each item of a list's iterator to one thread.
        for task in waiting:
            task.run(stop)
            ended.put(task)
            if task.has_failed:
                return

    # Each with what holds for this thread, such as that the network is closed to it.
    places = [contextvars.copy_context() for _ in range(min(most, len(tasks)))]
    threads = [threading.Thread(target=place.run, args=(work,), name="zoo-file", daemon=True) for place in places]
    try:
        for thread in threads:
            thread.start()
        for _ in tasks:
            ended.get().result()
    except BaseException:
        stop.abort()
        for thread in threads:
            thread.join(_JOIN_S)
        raise
    return [task.result() for task in numbered]


class _Task(Generic[Result]):
    """A task and how it ended."""

    def __init__(self, action: Callable[[], Result]) -> None:
        self._action = action
        self._results: list[Result] = []
        self._error: BaseException | None = None

    @property
    def has_failed(self) -> bool:
        return self._error is not None

    def run(self, stop: Stop) -> None:
        try:
            stop.check()
            self._results.append(self._action())
        except BaseException as error:  # noqa: BLE001 - it is raised again in the thread that waits
            self._error = error

    def result(self) -> Result:
        if self._error is not None:
            raise self._error
        return self._results[0]
