"""The pages that show commands do what they say: their code is run, and what they show is compared with what comes.

On each page, from top to bottom, in one namespace and one empty folder:

- a ``python`` block is executed; a ``text`` block right behind it is what it prints;
- in a ``console`` block each line ``$ zoo ...`` is run, and the lines below it are what it prints; other commands
  (``$ pip install``, ``$ make``) are not run;
- ``...`` in what is shown stands for anything, as in a doctest.

A comment tells what a page needs: ``<!-- needs: zoo-pytorch scikit-image -->`` names distributions, and
``<!-- files: chelsea.png flower.jpg -->`` photographs of scikit-image and scikit-learn that lie in the folder.
``<!-- not run: the reason -->`` right before a block leaves it out.
"""

import contextlib
import doctest
import io
import itertools
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "docs/index.md",
    *sorted(ROOT.glob("docs/tutorial/*.md")),
    ROOT / "docs/howto/lock-and-mirror.md",
]
BLOCK = re.compile(
    r"^(?P<left_out><!-- not run:.*-->\n)?```(?P<language>\w+)[^\n]*\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL
)
PHOTOGRAPHS = {"skimage": "data", "sklearn": "datasets/images"}


@dataclass(frozen=True, kw_only=True)
class Block:
    """A block of a page; `shown` is the output that the page promises, None where it promises nothing."""

    language: str
    code: str
    line: int
    shown: str | None = None


def blocks(text: str) -> Iterator[Block]:
    found = [match for match in BLOCK.finditer(text) if not match["left_out"]]
    for match, following in itertools.pairwise([*found, None]):
        line = text.count("\n", 0, match.start("code"))
        shown = following["code"] if following and is_output_of(match, following, text) else None
        yield Block(language=match["language"], code=match["code"], line=line, shown=shown)


def is_output_of(code: re.Match[str], following: re.Match[str], text: str) -> bool:
    return following["language"] == "text" and not text[code.end() : following.start()].strip()


def commands(block: Block) -> Iterator[Block]:
    """The commands of a console block that are run; each shows the lines up to the next prompt."""
    for part in re.split(r"^\$ ", block.code, flags=re.MULTILINE)[1:]:
        command, _, shown = part.partition("\n")
        if command.startswith("zoo "):
            yield Block(language="command", code=command, line=block.line, shown=shown if shown.strip() else None)


def words_after(comment: str, text: str) -> list[str]:
    return [word for match in re.finditer(rf"<!-- {comment}: (.*?) -->", text) for word in match[1].split()]


def photograph(name: str) -> Path:
    folders = [Path(find_spec(package).submodule_search_locations[0], folder) for package, folder in PHOTOGRAPHS.items()]
    return next(folder / name for folder in folders if (folder / name).is_file())


def printed_by_command(command: str) -> str:
    """What a terminal shows: results and messages."""
    program = Path(sys.executable).with_name("zoo")  # the one that is installed here, whatever PATH says
    arguments = [program, *shlex.split(command)[1:]]
    done = subprocess.run(arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout
    return done.stdout


def printed_by_python(block: Block, page: Path, namespace: dict[str, object]) -> str:
    # Empty lines in front, so that a traceback names the line of the page.
    code = compile("\n" * block.line + block.code, page, "exec")
    with contextlib.redirect_stdout(io.StringIO()) as output:
        exec(code, namespace)
    return output.getvalue()


def assert_shown(block: Block, printed: str, page: Path) -> None:
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    where = f"{page.name}, line {block.line}: the page shows\n{block.shown}and this came\n{printed}"
    assert block.shown is None or doctest.OutputChecker().check_output(block.shown, printed, flags), where


def skip_without(distribution: str) -> None:
    try:
        version(distribution)
    except PackageNotFoundError:
        pytest.skip(f"the page needs {distribution}")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_a_page_does_what_it_says(page, tmp_path, monkeypatch):
    text = page.read_text("utf-8")
    for distribution in words_after("needs", text):
        skip_without(distribution)
    for name in words_after("files", text):
        shutil.copy(photograph(name), tmp_path)
    monkeypatch.chdir(tmp_path)
    namespace = {"__name__": page.stem}
    for block in blocks(text):
        if block.language == "python":
            assert_shown(block, printed_by_python(block, page, namespace), page)
        elif block.language == "console":
            for command in commands(block):
                assert_shown(command, printed_by_command(command.code), page)


def test_what_the_readme_shows_of_the_toy_package_is_in_it():
    shown = [block.code for block in blocks((ROOT / "README.md").read_text("utf-8")) if block.language == "toml"]
    assert shown
    assert all(code in (ROOT / "examples/zoo-toy/pyproject.toml").read_text("utf-8") for code in shown)


EXAMPLE = """
```python
print("one")
```
```text
one
```
<!-- not run: it would never end -->
```python
while True: pass
```
```console
$ pip install something
$ zoo --version
zoo ...
```
"""


def test_blocks_are_found_with_what_they_show():
    python, _text, console = blocks(EXAMPLE)
    assert (python.code, python.shown, python.line) == ('print("one")\n', "one\n", 2)
    assert [(command.code, command.shown) for command in commands(console)] == [("zoo --version", "zoo ...\n")]


def test_an_output_that_differs_is_a_fault():
    block = next(blocks(EXAMPLE))
    assert_shown(block, "one\n", Path("page.md"))
    with pytest.raises(AssertionError, match=r"page\.md, line 2: the page shows"):
        assert_shown(block, "two\n", Path("page.md"))
