"""How to load: the keywords of `load_model` that do not say what."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from zoo_core.block import BlockFactory
from zoo_core.errors import InputError
from zoo_core.frozen import FrozenDict
from zoo_core.registered import over, snake_case
from zoo_core.translator import Translator

if TYPE_CHECKING:
    from zoo_core.downloads import Progress

_EXAMPLES = {"device": "gpu:0", "dtype": "float16"}


@dataclass(frozen=True, kw_only=True)
class How:
    """How to load a model; `ModelZoo.load_model` says what each means."""

    block: Any = None
    block_factory: BlockFactory | str | None = None
    arguments: Mapping[str, Any] = field(default_factory=FrozenDict)
    options: Mapping[str, str] = field(default_factory=FrozenDict)
    translator: Translator | str | None = None
    device: str | None = None
    dtype: str | None = None
    strict: bool = True
    trust_programs: bool = False
    trust_code: str | Sequence[str] = ()
    progress: Progress | bool | None = None

    def __post_init__(self) -> None:
        # A lone text would be taken apart into letters, each of them a trust.
        given: Any = self.trust_code
        words = (given,) if isinstance(given, str) or not isinstance(given, Iterable) else tuple(given)
        if not all(isinstance(word, str) for word in words):
            raise InputError(f"trust_code: expected texts such as 'sha256:...', not {given!r}")
        for word in words:
            _check_trust(word.strip())
        object.__setattr__(self, "trust_code", words)
        for name in ("arguments", "options"):
            if not isinstance(getattr(self, name), Mapping):
                raise InputError(f"{name}: expected a mapping, not {getattr(self, name)!r}")
        for name in ("device", "dtype"):
            if not isinstance(getattr(self, name), str | None):
                raise InputError(f"{name}: expected text such as {_EXAMPLES[name]!r}, not {getattr(self, name)!r}")

    def trusting(self, code: Sequence[str]) -> How:
        """The same with further trusts of carried code: those of the user's configuration."""
        return replace(self, trust_code=(*self.trust_code, *code)) if code else self

    def merged(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """A document's arguments with those of the call, which win in whichever spelling: `numLayers` is `num_layers`."""
        return over(arguments, self.arguments)

    def decides_block(self, arguments: Mapping[str, Any]) -> bool:
        """Whether the block does not depend on the parameter file: it is given, or built by a factory that is named."""
        return bool(self.block is not None or self.block_factory or named_factory(self.merged(arguments)))


def named_factory(arguments: Mapping[str, Any]) -> str | None:
    """The name of the block factory among arguments, in the spelling of documents or of Python."""
    return _named(arguments, "block_factory")


def named_translator(arguments: Mapping[str, Any]) -> str | None:
    """The name of the translator among arguments, likewise."""
    return _named(arguments, "translator_factory")


def _named(arguments: Mapping[str, Any], key: str) -> str | None:
    return next((str(value) for name, value in arguments.items() if snake_case(name) == key and value), None)


def _check_trust(word: str) -> None:
    """A word that can trust nothing is a mistake, and its user would look for it elsewhere."""
    if word.startswith("sha256:") and not re.fullmatch(r"sha256:[0-9a-f]{64}", word, re.IGNORECASE):
        raise InputError(f"trust_code: {word!r} is no digest: sha256: and 64 hexadecimal digits")
