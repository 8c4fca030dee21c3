"""How several threads that work on one thing are ended together."""

from __future__ import annotations

import threading
import time

import pytest

from zoo_core.stopping import Stop, Stopped, at_once


def test_results_come_in_the_order_of_the_tasks() -> None:
    def task(number: int) -> int:
        time.sleep(0.05 / number)
        return number

    assert at_once([lambda number=number: task(number) for number in range(1, 9)], Stop(), 3) == list(range(1, 9))


def test_no_more_run_at_once_than_are_allowed() -> None:
    running, most, lock = 0, 0, threading.Lock()

    def task() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.02)
        with lock:
            running -= 1

    at_once([task] * 9, Stop(), 3)
    assert most == 3


@pytest.mark.parametrize("error", [ValueError("wrong"), KeyboardInterrupt()], ids=repr)
def test_the_first_error_ends_the_others_and_is_raised(error: BaseException) -> None:
    stop, ended = Stop(), list[str]()

    def patient() -> None:
        try:
            stop.pause(30)
        except Stopped:
            ended.append("stopped")
            raise

    def failing() -> None:
        time.sleep(0.05)
        raise error

    began = time.monotonic()
    with pytest.raises(type(error)):
        at_once([patient, failing, patient], stop, 2)
    assert time.monotonic() - began < 5
    assert ended == ["stopped"]


def test_a_single_task_runs_in_the_calling_thread() -> None:
    assert at_once([threading.current_thread], Stop(), 4) == [threading.current_thread()]


def test_what_is_held_is_ended_and_nothing_is_held_afterwards() -> None:
    class Waiting:
        aborted = 0

        def abort(self) -> None:
            self.aborted += 1

    stop, inside, outside = Stop(), Waiting(), Waiting()
    with stop.holding(outside):
        pass
    with stop.holding(inside):
        stop.abort()
    assert (inside.aborted, outside.aborted) == (1, 0)
    with pytest.raises(Stopped), stop.holding(inside):
        pytest.fail("it was thrown already")
    with pytest.raises(Stopped):
        stop.check()
