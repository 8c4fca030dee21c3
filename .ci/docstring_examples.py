"""An extension for the reference: examples in docstrings stand in a block of code wherever they stand.

mkdocstrings takes ``>>>`` for an example only under a heading of its own, and for a quotation of a quotation elsewhere.
"""

import re
from typing import Any

import griffe

#: Lines from one that begins with the prompt up to an empty one, as doctest reads them; not where a section indents them.
EXAMPLE = re.compile(r"^>>> (?:.+\n?)+", re.MULTILINE)


class DocstringExamples(griffe.Extension):
    """Puts a fence around each example."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Called for each object that was read."""
        if obj.docstring:
            obj.docstring.value = EXAMPLE.sub(lambda found: f"```pycon\n{found[0].rstrip()}\n```\n", obj.docstring.value)
