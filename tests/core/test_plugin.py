"""The hooks and the report of what is installed, on plugins with faults."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest

from tests.core import toy_engine, toys
from zoo_core import ModelZoo, PluginError, PluginRecord, ZooWarning, hookimpl
from zoo_core.entry_points import BLOCK_FACTORIES, ENGINES, PLUGINS, REPOSITORIES, InstalledEntryPoints
from zoo_core.plugin import Hooks

RECORDS = [object(), object(), object()]
COMMAND = click.Command("acme")


class Answering:
    """Gives the same answer to every hook."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    @hookimpl
    def zoo_veto_candidate(self) -> Any:
        return self.answer

    @hookimpl
    def zoo_order_candidates(self) -> Any:
        return self.answer

    @hookimpl
    def zoo_authorise_request(self) -> Any:
        return self.answer

    @hookimpl
    def zoo_cli_commands(self) -> Any:
        return self.answer


ARGUMENTS: dict[str, dict[str, Any]] = {
    "zoo_veto_candidate": {"criteria": None, "record": RECORDS[0]},
    "zoo_order_candidates": {"criteria": None, "records": RECORDS},
    "zoo_authorise_request": {"url": "https://models.example", "headers": {}},
}


def hooks(*plugins: object) -> Hooks:
    return Hooks(InstalledEntryPoints(), plugins)


# answers -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("zoo_veto_candidate", None),
        ("zoo_veto_candidate", "not this one"),
        ("zoo_order_candidates", None),
        ("zoo_order_candidates", []),
        ("zoo_order_candidates", RECORDS[::-1]),
        ("zoo_order_candidates", RECORDS[1:]),
        ("zoo_authorise_request", None),
        ("zoo_authorise_request", {"Authorization": "Bearer secret"}),
    ],
)
def test_an_answer_that_its_hook_promises_is_given_on(name: str, answer: Any) -> None:
    assert hooks(Answering(answer)).first(name, **ARGUMENTS[name]) is answer


@pytest.mark.parametrize(
    ("name", "answer", "message"),
    [
        ("zoo_veto_candidate", False, "must give a reason as text, or None; its answer, a bool, is not that"),
        ("zoo_veto_candidate", 5, "its answer, a int, is not that"),
        ("zoo_order_candidates", 5, "must give a list of the records that it was given"),
        ("zoo_order_candidates", tuple(RECORDS), "its answer, a tuple, is not that"),
        ("zoo_order_candidates", [*RECORDS, object()], "must give a list of the records that it was given"),
        ("zoo_order_candidates", [RECORDS[0], RECORDS[0]], "each at most once"),
        ("zoo_authorise_request", ["Authorization"], "must give a mapping of text to text"),
        ("zoo_authorise_request", {"Authorization": 5}, "must give a mapping of text to text"),
    ],
)
def test_another_answer_is_an_error_that_names_who_gave_it(name: str, answer: Any, message: str) -> None:
    with pytest.raises(PluginError, match=f"hook {name} of Answering .*{message}"):
        hooks(Answering(answer)).first(name, **ARGUMENTS[name])


@pytest.mark.parametrize("answer", [5, [5], ["acme"], "acme"])
def test_what_is_no_command_is_a_warning_and_hides_no_other(answer: Any) -> None:
    with pytest.warns(ZooWarning, match="hook zoo_cli_commands of Answering"):
        assert hooks(Answering(answer), Answering([COMMAND])).all("zoo_cli_commands") == [COMMAND]


# registration --------------------------------------------------------------------------------------------------------

#: Of its two hooks the first is right, so that pluggy has taken it when it refuses the second.
HALF = """
import zoo_core as zoo

@zoo.hookimpl
def zoo_downloaded(path): raise AssertionError("called")

@zoo.hookimpl
def zoo_loaded(modell): raise AssertionError("called")
"""
#: A module that imports its parts late, as zoo_core does.
LATE = """
def __dir__(): raise SystemExit("no part here")
"""
GOOD = "import zoo_core as zoo\nseen = []\n\n@zoo.hookimpl\ndef zoo_downloaded(path): seen.append(path)"


@pytest.mark.parametrize(("code", "reason"), [(HALF, "modell"), (LATE, "SystemExit: no part here")], ids=["half", "late"])
def test_a_plugin_that_cannot_be_registered_is_reported_and_never_called(
    install: Callable[..., Path], code: str, reason: str
) -> None:
    install("acme", entry_points={PLUGINS: {"acme": "acme_hooks"}}, modules={"acme_hooks.py": code})
    install("good", entry_points={PLUGINS: {"good": "good_hooks"}}, modules={"good_hooks.py": GOOD})
    found = Hooks(InstalledEntryPoints.scan())
    (error,) = found.errors.values()
    assert "acme 1.0" in error
    assert reason in error
    found.observe("zoo_downloaded", record=None, path=Path("here"))
    import good_hooks  # type: ignore[import-not-found]  # installed for this test

    assert good_hooks.seen == [Path("here")]


# the report ----------------------------------------------------------------------------------------------------------


def reported(distribution: str) -> dict[str, PluginRecord]:
    return {item.name: item for item in ModelZoo([], config=False).plugins() if item.distribution == distribution}


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("def repositories(): return 5", "raised TypeError: 'int' object is not iterable"),
        ("def repositories(): return [5]", "must give a list of URLs, folders or Repository objects; it gave a int"),
        ("def repositories(): return 'https://models.example'", "it gave a str"),
        ("def repositories():\n    yield '/'\n    raise SystemExit(3)", "raised SystemExit: 3"),
        ("repositories = 5", "raised TypeError: 'int' object is not callable"),
    ],
)
def test_a_function_that_gives_no_repositories_is_broken(install: Callable[..., Path], code: str, reason: str) -> None:
    points = {REPOSITORIES: {"acme": "acme_models:repositories"}}
    install("acme", entry_points=points, modules={"acme_models.py": code})
    record = reported("acme")["acme"]
    assert record.status == "broken"
    assert record.error is not None
    assert "'acme' of acme 1.0" in record.error
    assert reason in record.error


def test_a_requirement_that_cannot_be_understood_is_reported(install: Callable[..., Path]) -> None:
    install("acme", entry_points={BLOCK_FACTORIES: {"toy.net": "x:y"}}, requires=("zoo-core; os_name ~= 'posix'",))
    record = reported("acme")["toy.net"]
    assert record.status == "incompatible"
    assert "of acme 1.0 asks for \"zoo-core; os_name ~= 'posix'\", which cannot be understood" in str(record.error)


@pytest.mark.parametrize("engine", ["Toy", "TOY"])
def test_who_takes_an_engine_and_its_factories_is_shadowed(install: Callable[..., Path], engine: str) -> None:
    def points(name: str) -> dict[str, dict[str, str]]:
        return {ENGINES: {name: toys.value(toy_engine.ToyEngine)}, BLOCK_FACTORIES: {"toy.net": toys.value(toys.ToyNet)}}

    install("acme", entry_points=points(engine))
    install("zoo-toy", entry_points=points("Toy"))
    assert {name: item.status for name, item in reported("zoo-toy").items()} == {"Toy": "ok", "toy.net": "ok"}
    assert {name: item.error for name, item in reported("acme").items()} == {
        engine: "zoo-toy owns the name",
        "toy.net": "zoo-toy owns the name; acme:toy.net chooses this one",
    }
    assert ModelZoo([], config=False).block_factory("toy.net", layers=3) == toys.ToyNet(layers=3)
