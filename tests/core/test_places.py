"""Where repositories are, with some among them that have faults, and names that several have."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from tests import repositories as make
from zoo_core import ModelZoo, PluginError, Repository, RepositoryError, ZooWarning
from zoo_core.artifact import ArtifactFile
from zoo_core.entry_points import REPOSITORIES
from zoo_core.metadata import Metadata
from zoo_core.repository.local import FolderRepository


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A repository with one model."""
    make.publish(tmp_path / "zoo", make.document(make.artifact("1.0")))
    return tmp_path / "zoo"


class Foreign(FolderRepository):
    """A plugin's own repository."""


class Raising(Foreign):
    def __init__(self, root: Path, error: BaseException) -> None:
        super().__init__(root, url="acme://models")
        self.error = error

    def documents(self) -> Any:
        yield from super().documents()
        raise self.error


class Lying(Foreign):
    """Says another's address, and holds nothing."""

    def documents(self) -> Any:
        return ()

    def open(self, file: ArtifactFile, offset: int = 0) -> BinaryIO:
        raise AssertionError("asked for another's file")

    def local_path(self, file: ArtifactFile) -> Path | None:
        raise AssertionError("asked for another's file")


class Bare(Lying):
    def __init__(self) -> None:
        """It says no address."""


class Giving(Foreign):
    def documents(self) -> Any:
        return [5]


class NoProblems(Foreign):
    @property
    def problems(self) -> Any:
        raise KeyError("problems")


class NoPaths(Foreign):
    def local_path(self, file: ArtifactFile) -> Path | None:
        raise KeyError("local_path")


@dataclasses.dataclass(frozen=True)
class Frozen(Repository):
    url: str = "acme://frozen"

    def documents(self) -> Iterable[Metadata]:
        return ()

    def open(self, file: ArtifactFile, offset: int = 0) -> BinaryIO:
        raise NotImplementedError

    def fingerprint(self) -> str:
        return ""


def installed(install: Callable[..., Path], name: str, code: str, *, entry: str = "") -> None:
    """Install a distribution whose function gives repositories."""
    module = f"{name.replace('-', '_')}_models"
    install(name, entry_points={REPOSITORIES: {entry or name: f"{module}:get"}}, modules={f"{module}.py": code})


def references(zoo: ModelZoo, **arguments: Any) -> list[str]:
    return [record.reference for record in zoo.search(**arguments)]


# faults --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [KeyError("lost"), SystemExit(3), RecursionError()], ids=lambda item: type(item).__name__)
def test_whatever_a_repository_raises_is_a_message_and_hides_no_other(root: Path, tmp_path: Path, error: BaseException) -> None:
    zoo = ModelZoo([Raising(tmp_path, error), root], config=False, plugins=[])
    assert references(zoo) == ["com.example/net@1.0"]
    with pytest.warns(ZooWarning, match="acme://models"):
        assert zoo.download("net").is_dir()
    (message,) = zoo.messages()
    assert "repository acme://models raised" in message
    assert type(error).__name__ in message


@pytest.mark.parametrize(
    ("repository", "reason"),
    [(Giving, "must give Metadata; it gave a int"), (NoProblems, "KeyError: 'problems'"), (NoPaths, "KeyError: 'local_path'")],
)
def test_whatever_is_wrong_with_a_repository_is_a_message(
    root: Path, tmp_path: Path, repository: type[Foreign], reason: str
) -> None:
    zoo = ModelZoo([repository(root, url="acme://models"), root], config=False, plugins=[])
    assert "com.example/net@1.0" in references(zoo)
    assert references(zoo) == references(zoo)
    (message,) = zoo.messages()
    assert "repository acme://models" in message
    assert reason in message


@pytest.mark.parametrize(
    "code",
    [
        "def get(): return 5",
        "def get(): return [5]",
        "def get(): return 'https://models.example'",
        "def get(): raise SystemExit(3)",
        "def get():\n    yield '/nowhere'\n    raise KeyError('lost')",
        f"from {__name__} import Bare\ndef get(): return [Bare()]",
    ],
    ids=["number", "of numbers", "text", "exits", "raises late", "without an address"],
)
def test_a_function_that_gives_no_repositories_is_a_message_that_names_its_distribution(
    install: Callable[..., Path], root: Path, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    installed(install, "acme-nets", code, entry="models")
    monkeypatch.setenv("ZOO_REPOSITORIES", str(root))
    zoo = ModelZoo(plugins=[])
    assert "com.example/net@1.0" in references(zoo)
    (message,) = [text for text in zoo.messages() if "acme-nets" in text]
    assert message.startswith(
        "repository models of acme-nets could not be read: zoo_core.repositories 'models' of acme-nets 1.0"
    )


def test_an_address_that_is_none_and_a_path_in_a_circle_are_messages(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    circle = tmp_path / "circle"
    circle.symlink_to(circle)
    monkeypatch.setenv("ZOO_REPOSITORIES", f"http://[ {circle} ~nobody-of-this-name/zoo {root}")
    zoo = ModelZoo(plugins=[])
    assert "com.example/net@1.0" in references(zoo)
    for name in ("http://[", str(circle), "~nobody-of-this-name/zoo"):
        assert any(name in text for text in zoo.messages())


@pytest.mark.parametrize("name", ["http://[", "circle", "~nobody-of-this-name"])
def test_naming_such_an_address_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    Path("circle").symlink_to("circle")
    with pytest.raises(RepositoryError):
        ModelZoo([], config=False).open_repository(name)


def test_the_repositories_that_can_be_opened_are_given_past_the_others(root: Path) -> None:
    with pytest.warns(match=r"http://\["):
        assert [found.url for found in ModelZoo(["http://[", root], config=False).repositories] == [root.as_uri()]


# what a repository stays ----------------------------------------------------------------------------------------------


def sources(zoo: ModelZoo) -> dict[str, Any]:
    return {record.artifact_id: record.source for record in zoo.search()}


def test_a_repository_that_is_given_to_another_zoo_stays_what_it_was(
    install: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("carried", "trusted", "adhoc"):
        make.publish(tmp_path / name, make.document(make.artifact(), artifact_id=name, group_id=f"com.{name}"))
    installed(install, "acme-nets", f"def get(): return [{str(tmp_path / 'carried')!r}]", entry="models")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    own = tmp_path / "config" / "zoo" / "zoo.toml"
    own.parent.mkdir(parents=True)
    own.write_text(
        f"[[repository]]\nurl = {str(tmp_path / 'trusted')!r}\n"
        "name = 'lab'\ngroups = ['com.trusted']\nallow_unverified = true\n"
    )
    Path("zoo.toml").write_text(f"[[repository]]\nurl = {str(tmp_path / 'adhoc')!r}\n")
    before = ModelZoo(plugins=[])
    after = ModelZoo(before.repositories, plugins=[])
    again = ModelZoo(after.repositories, plugins=[])
    found = sources(before)
    assert (found["carried"].distribution, found["carried"].name) == ("acme-nets", "models")
    assert (found["trusted"].name, found["trusted"].groups, found["trusted"].allow_unverified) == (
        "lab",
        ("com.trusted",),
        True,
    )
    assert [found[name].is_configured for name in ("carried", "trusted", "adhoc")] == [True, True, False]
    assert sources(after) == found
    assert sources(again) == found


def test_a_repository_of_ones_own_is_configured_when_a_zoo_is_made_of_it(root: Path) -> None:
    (record,) = ModelZoo([FolderRepository(root)], config=False).search()
    assert record.source.is_configured


def test_a_repository_may_be_a_frozen_dataclass(install: Callable[..., Path]) -> None:
    installed(install, "acme-nets", f"from {__name__} import Frozen\ndef get(): return [Frozen()]")
    zoo = ModelZoo(config=False, plugins=[])
    assert Frozen() in zoo.repositories
    assert zoo.messages() == []


def test_a_repository_that_says_anothers_address_serves_none_of_its_records(install: Callable[..., Path], root: Path) -> None:
    lying = f"from pathlib import Path\nfrom {__name__} import Lying\ndef get(): return [Lying(Path({str(root)!r}))]"
    for name, source in (("acme", lying), ("bona-fide", f"def get(): return [{str(root)!r}]"), ("zebra", lying)):
        installed(install, name, source)
    zoo = ModelZoo(config=False, plugins=[])
    (record,) = zoo.search("net")
    assert record.source.distribution == "bona-fide"
    assert zoo.messages() == []
    assert zoo.download("net").is_dir()


# names ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def named(install: Callable[..., Path], tmp_path: Path) -> Callable[..., None]:
    """A function that installs a distribution with a repository of one model, named as the distribution is."""

    def publish(distribution: str, *, entry: str) -> None:
        folder = tmp_path / distribution
        make.publish(folder, make.document(make.artifact(), artifact_id=distribution, group_id=f"com.{distribution}"))
        installed(install, distribution, f"def get(): return [{str(folder)!r}]", entry=entry)

    return publish


def test_a_distributions_repository_is_named_by_the_distribution_or_by_its_own_name(named: Callable[..., None]) -> None:
    named("acme-nets", entry="models")
    zoo = ModelZoo(config=False, plugins=[])
    for name in ("acme-nets", "Acme.Nets", "models"):
        assert references(zoo, model_urls=[name]) == ["com.acme-nets/acme-nets@1.0"]


def test_a_name_that_two_distributions_give_their_repositories_is_an_error_that_lists_them(named: Callable[..., None]) -> None:
    named("acme-nets", entry="models")
    named("other-nets", entry="models")
    zoo = ModelZoo(config=False, plugins=[])
    with pytest.raises(RepositoryError, match="'models' means several: choose one of acme-nets, other-nets"):
        zoo.search(model_urls=["models"])
    assert references(zoo, model_urls=["other-nets"]) == ["com.other-nets/other-nets@1.0"]


def test_nobody_takes_the_name_of_another_distribution(named: Callable[..., None]) -> None:
    named("acme-nets", entry="zoo-toy")
    named("zoo-toy", entry="models")
    assert references(ModelZoo(config=False, plugins=[]), model_urls=["zoo-toy"]) == ["com.zoo-toy/zoo-toy@1.0"]


def test_nobody_takes_a_name_of_the_users_own_configuration(named: Callable[..., None], root: Path, tmp_path: Path) -> None:
    named("acme-nets", entry="lab")
    named("lab", entry="lab")
    own = tmp_path / "own.toml"
    own.write_text(f"[[repository]]\nurl = {str(root)!r}\nname = 'lab'\n")
    assert references(ModelZoo(config=own, plugins=[]), model_urls=["lab"]) == ["com.example/net@1.0"]


def test_the_working_folder_takes_no_name_of_a_distribution(named: Callable[..., None], root: Path) -> None:
    named("acme-nets", entry="models")
    Path("zoo.toml").write_text(f"[[repository]]\nurl = {str(root)!r}\nname = 'acme-nets'\n")
    assert references(ModelZoo(plugins=[]), model_urls=["acme-nets"]) == ["com.acme-nets/acme-nets@1.0"]


def test_a_distributions_name_means_all_that_it_registers(install: Callable[..., Path], tmp_path: Path) -> None:
    for name in ("one", "two"):
        make.publish(tmp_path / name, make.document(make.artifact(), artifact_id=name))
    installed(install, "acme", f"def get(): return [{str(tmp_path / 'one')!r}, {str(tmp_path / 'two')!r}]")
    zoo = ModelZoo(config=False, plugins=[])
    assert references(zoo, model_urls=["acme"]) == ["com.example/one@1.0", "com.example/two@1.0"]


def test_a_record_is_found_again_where_another_call_named_its_repository(root: Path) -> None:
    elsewhere = ModelZoo([], config=False, plugins=[])
    (record,) = elsewhere.search(model_urls=[root])
    for zoo in (elsewhere, ModelZoo([root], config=False, plugins=[])):
        assert zoo.download(record).is_dir()


def test_naming_a_repository_that_raises_is_an_error_that_names_it(root: Path) -> None:
    zoo = ModelZoo([Raising(root, KeyError("lost"))], config=False, plugins=[])
    with pytest.raises(PluginError, match="repository acme://models raised KeyError: 'lost'"):
        zoo.search(model_urls=["acme://models"])
