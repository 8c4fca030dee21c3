"""The Python code that an artifact may carry: read, hashed, and run as a module of its own."""

from __future__ import annotations

import pickle
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.repositories import sha256
from zoo_core import BlockFactory, PluginError, RepositoryError
from zoo_core.carried import MAX_CODE, CarriedCode

HEAD = """
from dataclasses import dataclass
from zoo_core import BlockFactory
"""
NET = """
@dataclass(frozen=True, kw_only=True)
class Net(BlockFactory):
    width: int = 3

    def new_block(self, model, model_path, arguments):
        return self.width
"""


@pytest.fixture(autouse=True)
def no_module_stays() -> Iterator[None]:
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.startswith("_zoo_carried_"):
            del sys.modules[name]


def code(text: str, place: str = "block_factory.py") -> CarriedCode:
    return CarriedCode.of(place, textwrap.dedent(text).encode())


def test_reading_runs_nothing_and_hashes_the_bytes_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "block_factory.py"
    path.write_bytes(b"raise SystemExit\r\n")
    found = CarriedCode.read(path)
    assert (found.place, found.content, found.sha256) == (str(path), b"raise SystemExit\r\n", sha256(b"raise SystemExit\r\n"))


def test_the_one_factory_that_it_defines_is_found() -> None:
    found = code(HEAD + NET).factory_class()
    assert issubclass(found, BlockFactory)
    assert found(width=5).new_block(None, None, {}) == 5  # type: ignore[call-arg,arg-type]


def test_its_module_has_a_private_name_made_of_its_digest() -> None:
    carried = code(HEAD + NET)
    assert carried.factory_class().__module__ == f"_zoo_carried_{carried.sha256}"


def test_the_same_code_is_the_same_class_so_that_factories_compare_and_pickle() -> None:
    one, other = code(HEAD + NET).factory_class(), code(HEAD + NET, "elsewhere.py").factory_class()
    assert one is other
    assert pickle.loads(pickle.dumps(one(width=4))) == other(width=4)  # type: ignore[call-arg]


def test_two_artifacts_may_both_have_such_a_file() -> None:
    one, other = code(HEAD + NET).factory_class(), code(HEAD + NET.replace("3", "7")).factory_class()
    assert (one().new_block(None, None, {}), other().new_block(None, None, {})) == (3, 7)  # type: ignore[arg-type]


def test_imported_and_private_factories_do_not_count() -> None:
    text = HEAD + NET + "class _Helper(BlockFactory):\n    pass\nfrom tests.core.toys import NeutralNet\n"
    assert code(text).factory_class().__name__ == "Net"


def test_future_statements_of_ours_are_none_of_its() -> None:
    """Where annotations are texts, a dataclass sees others than those that its author tried."""
    text = HEAD + NET + "\nassert Net.__dataclass_fields__['width'].type is int\n"
    assert code(text).factory_class().__name__ == "Net"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1", "defines none"),
        (HEAD + NET + NET.replace("Net", "Other"), "defines Net, Other"),
        ("def f(:", "raised SyntaxError"),
        ("import no_such_module_anywhere", "raised ModuleNotFoundError: No module named 'no_such_module_anywhere'"),
        ("raise SystemExit(3)", "raised SystemExit: 3"),
        ("1 / 0", "raised ZeroDivisionError"),
        ("def f(): f()\nf()", "raised RecursionError"),
        (HEAD + "class Net(BlockFactory):\n    def new_block(self, *a): ...", "Net is no frozen dataclass"),
        (HEAD + "@dataclass(frozen=True)\nclass Net(BlockFactory):\n    x: int = 1", "Net lacks new_block"),
    ],
    ids=["none", "two", "syntax", "import", "exit", "raises", "recursion", "no dataclass", "abstract"],
)
def test_code_that_is_no_factory_is_an_error_that_names_the_file(text: str, message: str) -> None:
    with pytest.raises(PluginError, match=rf"^block_factory\.py.*{message}"):
        code(text).factory_class()


@pytest.mark.parametrize("content", [b"x = 1\0", b"\xff\xfe\x00", b"# -*- coding: no-such-codec -*-\n", b"\xefx"])
def test_bytes_that_are_no_python_are_an_error(content: bytes) -> None:
    with pytest.raises(PluginError, match=r"block_factory\.py raised"):
        CarriedCode.of("block_factory.py", content).factory_class()


@pytest.mark.parametrize("mark", [b"\xef\xbb\xbf", b"# -*- coding: latin-1 -*-\n# \xe9\n"], ids=["byte order mark", "latin-1"])
def test_python_says_its_own_encoding(mark: bytes) -> None:
    assert CarriedCode.of("x.py", mark + (HEAD + NET).encode()).factory_class().__name__ == "Net"


def test_code_that_failed_leaves_no_module_and_may_be_tried_again() -> None:
    carried = code("raise ValueError('no')")
    for _ in range(2):
        with pytest.raises(PluginError, match="raised ValueError: no"):
            carried.factory_class()
        assert f"_zoo_carried_{carried.sha256}" not in sys.modules


def test_two_threads_run_it_once_and_both_get_the_class() -> None:
    carried = code("import time\ntime.sleep(0.2)\n" + HEAD + NET)
    found: list[object] = []
    threads = [threading.Thread(target=lambda: found.append(carried.factory_class())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert len(set(found)) == 1


def test_more_than_a_factory_is_not_even_read(tmp_path: Path) -> None:
    path = tmp_path / "block_factory.py"
    path.write_bytes(b"#" * (MAX_CODE + 1))
    with pytest.raises(PluginError, match=f"carried code has at most {MAX_CODE} bytes"):
        CarriedCode.read(path)


def test_a_file_that_is_gone_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RepositoryError, match=r"gone\.py: No such file"):
        CarriedCode.read(tmp_path / "gone.py")
