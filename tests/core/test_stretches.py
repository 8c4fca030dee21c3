"""Which bytes are there, on their way, and unasked for."""

from __future__ import annotations

import itertools
import random
import threading

from hypothesis import given
from hypothesis import strategies as st

from zoo_core.stretches import Book, merged


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30))))
def test_merged_stretches_hold_the_same_bytes_apart_and_in_order(stretches: list[tuple[int, int]]) -> None:
    result = merged(stretches)
    assert {byte for start, end in result for byte in range(start, end)} == {b for s, e in stretches for b in range(s, e)}
    assert all(first[1] < second[0] for first, second in itertools.pairwise(result))


def test_the_first_gap_is_taken_first() -> None:
    book = Book([(0, 10), (20, 30)], 50)
    first, second, third = book.take(), book.take(15), book.take()
    assert [(part.start, part.end) for part in (first, second, third) if part] == [(10, 20), (30, 45), (45, 50)]
    assert book.take() is None
    assert (book.count, book.prefix, book.is_whole) == (20, 10, False)


def test_what_did_not_come_is_free_again() -> None:
    book = Book(total=100)
    segment = book.take(40)
    assert segment is not None
    segment.position = 15
    assert (book.prefix, book.count) == (15, 15)
    book.put(segment)
    again = book.take(50)
    assert again is not None
    assert (again.start, again.end) == (15, 65)


def test_of_unknown_size_one_takes_all() -> None:
    book = Book([(0, 5)])
    segment = book.take(3)
    assert segment is not None
    assert (segment.start, segment.end, segment.left) == (5, 8, 3)
    book.put(segment)
    open_end = book.take()
    assert open_end is not None
    assert (open_end.start, open_end.end, open_end.left) == (5, None, None)
    assert book.take() is None


def test_a_segment_goes_on_where_nobody_is() -> None:
    book = Book(total=100)
    segment = book.take()
    assert segment is not None
    book.cut(segment, 30)
    assert (segment.end, book.unasked) == (30, 70)
    assert book.extend(segment, 20) is True
    assert segment.end == 50
    book.take(10)
    assert book.extend(segment) is False


def test_many_threads_fetch_every_byte_once() -> None:
    book, size = Book(total=200_000), 200_000
    seen = bytearray(size)

    def work(seed: int) -> None:
        dice = random.Random(seed)
        while (segment := book.take(dice.randrange(1, 2000))) is not None:
            stop = dice.randrange(segment.start, (segment.end or 0) + 1)
            for position in range(segment.start, stop):
                seen[position] += 1
            segment.position = stop
            book.put(segment)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # A thread ends when there is nothing to take, and what another puts back then is left.
    work(9)
    assert book.is_whole
    assert set(seen) == {1}
