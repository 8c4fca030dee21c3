"""What is ours among the names in a parameter file: entries of its header, and tensors that are no parameters.

What each entry holds: ``docs/reference/parameter-files.md``.
"""

from __future__ import annotations

FORMAT_ENTRY = "zoo.format"
FACTORY_ENTRY = "zoo.factory"
ENGINES_ENTRY = "zoo.engines"
SIGNATURE_ENTRY = "zoo.signature"
TRANSLATOR_ENTRY = "zoo.translator"
#: The packages that the translator and others need; the factory's are in its own entry.
REQUIRES_ENTRY = "zoo.requires"
#: The programs inside; for readers, since no decision rests on it.
PROGRAMS_ENTRY = "zoo.programs"
#: Further names of stored tensors.
ALIASES_ENTRY = "zoo.aliases"
#: Which versions of which distributions wrote the file, for whoever lacks one of them.
WRITTEN_WITH_ENTRY = "zoo.written_with"
#: The tolerances of the golden outputs.
GOLDEN_ENTRY = "zoo.golden"

#: Tensors under this prefix are an author's proof; loading leaves them aside, and no parameter may have such a name.
GOLDEN_PREFIX = "zoo.golden."
