"""The tree of errors, their exit codes and the facts they keep."""

from __future__ import annotations

import inspect
import pickle
import re

import pytest

import zoo_core
from zoo_core import errors

#: As `docs/reference` promises to scripts.
EXIT_CODES = {
    "ZooError": 1,
    "InputError": 1,
    "CriteriaError": 2,
    "ModelNotFoundError": 3,
    "AmbiguousModelError": 3,
    "RepositoryError": 4,
    "OfflineError": 4,
    "IntegrityError": 5,
    "UnsafeArchiveError": 5,
    "MetadataError": 5,
    "ParameterError": 5,
    "UntrustedCodeError": 6,
    "CacheError": 7,
    "PluginError": 8,
    "AmbiguousPluginError": 8,
    "PackageNotInstalledError": 8,
    "EngineNotInstalledError": 8,
}
PARENTS = {
    "CriteriaError": ValueError,
    "InputError": ValueError,
    "AmbiguousPluginError": errors.PluginError,
    "PackageNotInstalledError": errors.PluginError,
    "EngineNotInstalledError": errors.PackageNotInstalledError,
    "OfflineError": errors.RepositoryError,
}
ALL = {name: found for name, found in vars(errors).items() if inspect.isclass(found) and issubclass(found, errors.ZooError)}


def test_every_error_has_its_exit_code() -> None:
    assert {name: error.exit_code for name, error in ALL.items()} == EXIT_CODES


def test_every_error_is_a_public_name() -> None:
    assert set(ALL) <= set(zoo_core.__all__)


@pytest.mark.parametrize(("name", "parent"), PARENTS.items())
def test_an_error_can_be_caught_as_its_parent(name: str, parent: type[Exception]) -> None:
    assert issubclass(ALL[name], parent)


def test_the_tree_in_the_docstring_shows_every_error_below_its_parent() -> None:
    depths: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").splitlines():
        found = re.match(r"([ │├└─]*)(\w+Error)\b", line)
        if found:
            depths.append((len(found[1]), found[2]))
    shown = {}
    for number, (depth, name) in enumerate(depths):
        above = next((other for before, other in reversed(depths[:number]) if before < depth), "Exception")
        shown[name] = above
    assert shown == {name: error.__bases__[0].__name__ for name, error in ALL.items()}


@pytest.mark.parametrize(
    ("error", "facts"),
    [
        (errors.MetadataError("m", url="u", field="$.x"), {"url": "u", "field": "$.x"}),
        (errors.RepositoryError("m", "u"), {"url": "u"}),
        (errors.OfflineError("m", "u"), {"url": "u"}),
        (errors.IntegrityError("m", expected="a", found="b", url="u"), {"expected": "a", "found": "b", "url": "u"}),
        (errors.AmbiguousModelError("m", ["g/a", "g/b"]), {"candidates": ("g/a", "g/b")}),
        (errors.AmbiguousPluginError("m", ["d:n"]), {"claimants": ("d:n",)}),
        (errors.PackageNotInstalledError("m", ["zoo-pytorch"]), {"missing": ("zoo-pytorch",)}),
        (errors.EngineNotInstalledError("m", ["zoo-pytorch"]), {"missing": ("zoo-pytorch",)}),
        (
            errors.ParameterError("m", missing=["a"], unexpected=["b"], mismatched=["c"]),
            {"missing": ("a",), "unexpected": ("b",), "mismatched": ("c",)},
        ),
        (errors.ModelNotFoundError("m"), {"explanation": None}),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_an_error_keeps_its_facts_also_when_it_comes_from_another_process(error: Exception, facts: dict[str, object]) -> None:
    for found in (error, pickle.loads(pickle.dumps(error))):
        assert (str(found), {name: getattr(found, name) for name in facts}) == ("m", facts)


def test_a_warning_of_ours_can_be_told_from_others() -> None:
    assert issubclass(errors.ZooWarning, UserWarning)
