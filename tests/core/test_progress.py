"""A progress bar on a terminal."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import pytest

from tests import repositories as make
from tests.records import record
from zoo_core import ArtifactFile, Metadata, ModelRecord, Repository, RepositoryError
from zoo_core.cache import Cache
from zoo_core.progress import reporter

LARGE = bytes(3 << 20)
HIDDEN, SHOWN = "\x1b[?25l", "\x1b[?25h"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def on_terminal(monkeypatch: pytest.MonkeyPatch) -> Callable[[], Terminal]:
    """A function that makes standard error a terminal; pytest puts its own there between a fixture and its test."""

    def replace() -> Terminal:
        terminal = Terminal()
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setattr(sys, "stderr", terminal)
        return terminal

    return replace


class Remote(Repository):
    """It has one large file, and may break off in the middle."""

    url = "https://models.example/"

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error

    def documents(self) -> Iterator[Metadata]:
        yield from ()

    def fingerprint(self) -> str:
        return ""

    def open(self, file: ArtifactFile, offset: int = 0) -> BinaryIO:
        error = self.error

        class Body(io.BytesIO):
            def read(self, size: int | None = -1, /) -> bytes:
                if error is not None and self.tell():
                    raise error
                return super().read(size)

        return Body(LARGE)


def model(size: int | None) -> ModelRecord:
    url = f"{Remote.url}net.bin"
    return record(
        files=(ArtifactFile(key="parameters", name="net.bin", uri=url, url=url, sha256=make.sha256(LARGE), size=size),)
    )


def is_over(terminal: Terminal) -> bool:
    """Whether a bar was shown, once, and the cursor was given back."""
    text = terminal.getvalue()
    return text.count(HIDDEN) == 1 and text.count(SHOWN) == 1 and text.index(SHOWN) > text.index(HIDDEN)


@pytest.mark.parametrize(
    "size", [len(LARGE), None, 700_000, 2 << 20, 10 * len(LARGE)], ids=["right", "unknown", "tiny", "small", "large"]
)
def test_a_bar_ends_with_the_download_whatever_size_was_declared(
    tmp_path: Path, on_terminal: Callable[[], Terminal], size: int | None
) -> None:
    terminal = on_terminal()
    Cache(tmp_path).files(model(size), Remote(), progress=reporter(None))
    assert "net.bin" in terminal.getvalue()
    assert is_over(terminal)


@pytest.mark.parametrize("error", [RepositoryError("the connection broke"), KeyboardInterrupt(), ZeroDivisionError()], ids=repr)
def test_a_bar_ends_when_the_download_breaks(tmp_path: Path, on_terminal: Callable[[], Terminal], error: BaseException) -> None:
    terminal = on_terminal()
    with pytest.raises(type(error)):
        Cache(tmp_path).files(model(len(LARGE)), Remote(error), progress=reporter(None))
    assert is_over(terminal)


def test_a_reporter_can_be_used_for_one_download_after_the_other(tmp_path: Path, on_terminal: Callable[[], Terminal]) -> None:
    terminal = on_terminal()
    progress = reporter(None)
    for folder in ("a", "b"):
        Cache(tmp_path / folder).files(model(len(LARGE)), Remote(), progress=progress)
    assert (terminal.getvalue().count(HIDDEN), terminal.getvalue().count(SHOWN)) == (2, 2)


def test_small_files_show_no_bar(on_terminal: Callable[[], Terminal]) -> None:
    terminal = on_terminal()
    progress = reporter(None)
    assert progress is not None
    progress(10, 20, "small.txt")
    assert terminal.getvalue() == ""


def test_a_function_is_called_as_it_is_and_false_shows_nothing(on_terminal: Callable[[], Terminal]) -> None:
    terminal = on_terminal()
    assert reporter(print) is print
    assert reporter(False) is None
    assert terminal.getvalue() == ""


def test_without_a_terminal_a_line_says_what_comes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    progress = reporter(None)
    for folder in ("a", "b"):
        Cache(tmp_path / folder).files(model(len(LARGE)), Remote(), progress=progress)
    assert stream.getvalue() == "downloading net.bin (3.1 MB)\n" * 2


def test_it_says_nothing_of_small_files_and_no_size_that_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    progress = reporter(None)
    assert progress is not None
    progress(10, 20, "small.txt")
    progress(10, None, "larg\x1be.bin")
    progress(2 << 20, None, "larg\x1be.bin")
    assert stream.getvalue() == "downloading larg\\x1be.bin\n"


def test_without_standard_error_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    assert reporter(None) is None


def test_several_files_have_a_bar_for_all_of_them(on_terminal: Callable[[], Terminal]) -> None:
    terminal = on_terminal()
    progress = reporter(None)
    assert progress is not None
    for done in (1 << 20, 2 << 20):
        progress(done, 2 << 20, "a.bin")
        progress(done, 4 << 20, "b.bin")
    progress(4 << 20, 4 << 20, "b.bin")
    close = getattr(progress, "close", None)
    assert callable(close)
    close()
    assert is_over(terminal)
    last = [line for line in terminal.getvalue().splitlines() if "in all" in line][-1]
    assert "6.3/6.3 MB" in last
