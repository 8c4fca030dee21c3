"""Resources of installed packages, located without importing anything."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from zoo_core.errors import RepositoryError
from zoo_core.wording import printable

SCHEME = "package"
#: What no path of a resource has: a backslash separates on Windows, a colon ends a drive there, and NUL ends a path everywhere.
_FOREIGN = re.compile(r"[\\:\0]")


def package_folder(name: str) -> Path:
    """The folder of a package, by its dotted import name.

    Only the top-level name is asked for its spec, which imports nothing; the rest is a path below it.

    Raises:
        RepositoryError: The package is not installed, or lies in no folder.
    """
    if _FOREIGN.search(name):
        raise RepositoryError(f"package {printable(name)} cannot be located: that is no import name", f"{SCHEME}://{name}")
    top, *rest = name.split(".")
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError, AttributeError) as error:
        raise RepositoryError(f"package {name} cannot be located: {error}", f"{SCHEME}://{name}") from error
    for location in (spec.submodule_search_locations if spec else None) or ():
        folder = Path(location, *rest)
        if folder.is_dir():
            return folder
    raise RepositoryError(f"package {name} is not installed, or has no such folder", f"{SCHEME}://{name}")


def resource_path(url: str) -> Path:
    """The file that ``package://<import name>/<path>`` names.

    Raises:
        RepositoryError: The package is not installed, or the path leaves its folder.
    """
    parts = urlsplit(url)
    path = PurePosixPath(unquote(parts.path).lstrip("/"))
    if ".." in path.parts or not path.name or not parts.netloc or _FOREIGN.search(str(path)):
        raise RepositoryError(f"{printable(url)} names no file inside a package", url)
    return package_folder(parts.netloc) / path
