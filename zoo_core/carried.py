"""The one file of Python that an artifact may carry, ``block_factory.py``: what is in it, and running it once it is trusted."""

from __future__ import annotations

import hashlib
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from zoo_core.block import BlockFactory
from zoo_core.entry_points import guarded
from zoo_core.errors import PluginError, RepositoryError, ZooError
from zoo_core.registered import check_contract
from zoo_core.wording import listing, printable

#: Its name in a folder or an archive; in a document it is the file with the key ``code``.
CODE_NAME = "block_factory.py"
#: Code is read before anybody trusts it; a factory has some hundred lines.
MAX_CODE = 1 << 20
#: Held while code runs: no other thread must see its module half made. Code may load a model that carries code itself.
_RUNNING = threading.RLock()


@dataclass(frozen=True, kw_only=True)
class CarriedCode:
    """Python code of an artifact, read and not run.

    Attributes:
        place: Where it can be read.
        content: Its bytes; those that are hashed are those that run.
    """

    place: str
    content: bytes

    @classmethod
    def read(cls, path: Path) -> CarriedCode:
        """Read a file.

        Raises:
            RepositoryError: It cannot be read.
        """
        try:
            with path.open("rb") as stream:
                return cls.of(str(path), stream.read(MAX_CODE + 1))
        except OSError as error:
            raise RepositoryError(f"{path}: {error.strerror or error}", str(path)) from error

    @classmethod
    def of(cls, place: str, content: bytes) -> CarriedCode:
        """Take bytes already at hand.

        Raises:
            PluginError: They are too many for a factory.
        """
        if len(content) > MAX_CODE:
            raise PluginError(f"{printable(place)}: carried code has at most {MAX_CODE} bytes")
        return cls(place=place, content=content)

    @property
    def sha256(self) -> str:
        """Its digest, in hexadecimal."""
        return hashlib.sha256(self.content).hexdigest()

    def factory_class(self) -> type[BlockFactory]:
        """Run the code and give the one factory that it defines; whether it may run was decided before.

        It becomes a module of a private name, made of its digest: two artifacts may both have a ``block_factory.py``, and one
        that is loaded twice is the same module, so that its factories compare and pickle.

        Raises:
            PluginError: It raises, or defines no factory or several.
        """
        name = f"_zoo_carried_{self.sha256}"
        with _RUNNING:
            module = sys.modules.get(name) or self._run(name)
        found = [
            value
            for key, value in vars(module).items()
            if not key.startswith("_")
            and isinstance(value, type)
            and issubclass(value, BlockFactory)
            and value.__module__ == name
        ]
        if len(found) != 1:
            names = listing(cls.__name__ for cls in found) or "none"
            raise PluginError(f"{printable(self.place)} must define one public subclass of BlockFactory; it defines {names}")
        checked: type[BlockFactory] = check_contract(found[0], BlockFactory, printable(self.place))
        return checked

    def _run(self, name: str) -> ModuleType:
        module = ModuleType(name)
        module.__file__ = self.place
        # Dataclasses look up the module of their class while it is being made.
        sys.modules[name] = module
        try:
            with guarded(f"{printable(self.place)} raised", ZooError):
                # The future statements of this module are none of theirs.
                code = compile(self.content, self.place, "exec", dont_inherit=True)
                exec(code, vars(module))  # noqa: S102 - its user trusts exactly these bytes
        except BaseException:
            del sys.modules[name]
            raise
        return module
