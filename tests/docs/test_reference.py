"""The reference is complete: every public name and every verb of the command stands in it, and nothing that does not exist."""

import re
from pathlib import Path

import zoo_core

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"


def test_every_public_name_is_in_the_reference():
    described = re.findall(r"^::: zoo_core\.(\w+)", (REFERENCE / "api.md").read_text("utf-8"), re.MULTILINE)
    assert set(described) == {*zoo_core.__all__, "hookspecs"} - {"__version__"}


def test_every_verb_is_in_the_reference():
    from zoo_core.cli.main import VERBS

    described = re.findall(r"^\| `zoo (\w+)", (REFERENCE / "command-line.md").read_text("utf-8"), re.MULTILINE)
    assert set(described) == set(VERBS)
