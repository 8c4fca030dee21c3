"""The names of what is ours in a parameter file stand in one place."""

from __future__ import annotations

import re
from pathlib import Path

import zoo_core
from zoo_core.parameters import header


def test_no_other_module_spells_the_name_of_a_header_entry() -> None:
    names = {value for name, value in vars(header).items() if name.endswith("_ENTRY")}
    assert len(names) > 8
    folder = Path(zoo_core.__file__).parent
    spelt = re.compile("|".join(f'"{re.escape(name)}"' for name in sorted(names)))
    found = [str(path.relative_to(folder)) for path in folder.rglob("*.py") if spelt.search(path.read_text("utf-8"))]
    assert found == [str(Path("parameters", "header.py"))]
