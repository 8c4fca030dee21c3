"""A plugin that is broken is reported with its distribution and its version, and nothing else suffers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests import parameter_files
from tests.environments import Distribution, Environment
from tests.installed import ENGINES, any_engine, each_engine, has

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.commands import Commands

FACTORIES, TRANSLATORS, REPOSITORIES = "zoo_core.block_factories", "zoo_core.translators", "zoo_core.repositories"
ENGINES_GROUP, PLUGINS = "zoo_core.engines", "zoo_core.plugins"

#: A factory that imports no engine: its network is what the engine calls the identity.
FACTORY = """
from dataclasses import dataclass
import zoo_core as zoo

@dataclass(frozen=True, kw_only=True)
class Net(zoo.BlockFactory):
    def new_block(self, model, model_path, arguments):
        return zoo.block_factory("identity", engine=model.engine).new_block(model, model_path, arguments)
"""
#: Whoever imports this leaves a trace.
TELL_TALE = """
import os, pathlib
pathlib.Path(os.environ["ZOO_HOME"]).mkdir(exist_ok=True)
pathlib.Path(os.environ["ZOO_HOME"], "imported").touch()
"""

RAISES = Distribution(
    name="raises-on-import",
    code='raise RuntimeError("no licence key")',
    entry_points={FACTORIES: {"pytorch.raises": "raises_on_import:Net"}},
)
EXITS = Distribution(
    name="exits-on-import", code="raise SystemExit(3)", entry_points={TRANSLATORS: {"exits": "exits_on_import:Translator"}}
)
NO_FACTORY = Distribution(
    name="no-factory", code="Net = 42", entry_points={FACTORIES: {"pytorch.no_factory": "no_factory:Net"}}
)
TAKES_A_NAME = Distribution(
    name="takes-a-name",
    code=FACTORY,
    entry_points={
        FACTORIES: {f"{engine.lower()}.resnet_v1": "takes_a_name:Net" for engine in ENGINES},
        ENGINES_GROUP: {engine.upper(): "takes_a_name:Net" for engine in ENGINES},
    },
)
FOR_ANOTHER_CORE = Distribution(
    name="for-another-core",
    code=TELL_TALE,
    requires=("zoo-core>=99",),
    entry_points={
        FACTORIES: {"pytorch.later": "for_another_core:Net"},
        TRANSLATORS: {"later": "for_another_core:Translator"},
        REPOSITORIES: {"for-another-core": "for_another_core:repositories"},
        ENGINES_GROUP: {"Later": "for_another_core:Engine"},
        PLUGINS: {"later-hooks": "for_another_core"},
    },
)
MISSPELT_HOOK = Distribution(
    name="misspelt-hook",
    code="import zoo_core as zoo\n\n@zoo.hookimpl\ndef zoo_lodaed(model): raise AssertionError",
    entry_points={PLUGINS: {"misspelt-hook": "misspelt_hook"}},
)
WRONG_ARGUMENT = Distribution(
    name="wrong-argument",
    code="import zoo_core as zoo\n\n@zoo.hookimpl\ndef zoo_loaded(modell): raise AssertionError",
    entry_points={PLUGINS: {"wrong-argument": "wrong_argument"}},
)
RAISING_OBSERVER = Distribution(
    name="raising-observer",
    code='import zoo_core as zoo\n\n@zoo.hookimpl\ndef zoo_loaded(model): raise KeyError("no such meter")',
    entry_points={PLUGINS: {"raising-observer": "raising_observer"}},
)
EXITING_OBSERVER = Distribution(
    name="exiting-observer",
    code="import zoo_core as zoo\n\n@zoo.hookimpl\ndef zoo_loaded(model): raise SystemExit(3)",
    entry_points={PLUGINS: {"exiting-observer": "exiting_observer"}},
)
RAISING_VETO = Distribution(
    name="raising-veto",
    code='import zoo_core as zoo\n\n@zoo.hookimpl\ndef zoo_veto_candidate(record): raise OSError("the policy is not there")',
    entry_points={PLUGINS: {"raising-veto": "raising_veto"}},
)
EXITING_REPOSITORIES = Distribution(
    name="exiting-repositories",
    code='def repositories(): raise SystemExit("not today")',
    entry_points={REPOSITORIES: {"exiting-repositories": "exiting_repositories:repositories"}},
)
RAISING_REPOSITORIES = Distribution(
    name="raising-repositories",
    code='def repositories(): raise ConnectionError("the directory of models is down")',
    entry_points={REPOSITORIES: {"raising-repositories": "raising_repositories:repositories"}},
)
BARE_REPOSITORIES = Distribution(
    name="bare-repositories",
    code="def repositories(): return [5]",
    entry_points={REPOSITORIES: {"bare-repositories": "bare_repositories:repositories"}},
)
CLAIMS_ONE = Distribution(
    name="claims-one",
    code=FACTORY,
    entry_points={FACTORIES: {f"{engine.lower()}.claimed": "claims_one:Net" for engine in ENGINES}},
)
CLAIMS_TWO = Distribution(
    name="claims-two",
    code=FACTORY,
    entry_points={FACTORIES: {f"{engine.lower()}.claimed": "claims_two:Net" for engine in ENGINES}},
)
BROKEN_ENGINE = Distribution(
    name="zoo-tensorflux", code="import tensorflux", entry_points={ENGINES_GROUP: {"TensorFlux": "zoo_tensorflux:Engine"}}
)

#: Distribution -> name -> status, and words of the error.
REPORTED: list[tuple[Distribution, str, str, str]] = [
    (RAISES, "pytorch.raises", "broken", "RuntimeError: no licence key"),
    (EXITS, "exits", "broken", "SystemExit: 3"),
    (NO_FACTORY, "pytorch.no_factory", "broken", "is 42; expected a subclass of zoo_core.BlockFactory"),
    *(
        (FOR_ANOTHER_CORE, name, "incompatible", "made for zoo-core>=99")
        for name in ("pytorch.later", "later", "Later", "for-another-core", "later-hooks")
    ),
    (MISSPELT_HOOK, "misspelt-hook", "broken", "there is no hook 'zoo_lodaed'"),
    (WRONG_ARGUMENT, "wrong-argument", "broken", "modell"),
    (RAISING_OBSERVER, "raising-observer", "ok", ""),
    (RAISING_REPOSITORIES, "raising-repositories", "broken", "ConnectionError: the directory of models is down"),
    (EXITING_REPOSITORIES, "exiting-repositories", "broken", "SystemExit: not today"),
    (BARE_REPOSITORIES, "bare-repositories", "broken", "must give a list of URLs, folders or Repository objects"),
    (CLAIMS_ONE, "pytorch.claimed", "ambiguous", "also claimed by claims-two"),
    (CLAIMS_TWO, "mxnet.claimed", "ambiguous", "also claimed by claims-one"),
    (BROKEN_ENGINE, "TensorFlux", "broken", "No module named 'tensorflux'"),
]
ALL = [*{item.name: item for item, *_ in REPORTED}.values(), TAKES_A_NAME]
ALL_NAMES = [item.name for item in ALL]


def install(folder: Path, *distributions: Distribution) -> Commands:
    """A fresh environment with distributions installed by pip, whatever they require."""
    environment = Environment.make(folder / "environment")
    environment.install(*(distribution.wheel(folder) for distribution in distributions), dependencies=False)
    return environment.commands(folder)


@pytest.fixture
def installed(tmp_path: Path) -> Callable[..., Commands]:
    """A function that installs distributions and gives the command ``zoo`` of that environment."""
    return lambda *distributions: install(tmp_path, *distributions)


@pytest.fixture(scope="module")
def troubled(tmp_path_factory: pytest.TempPathFactory) -> Commands:
    """One environment with all of these but the veto, which by its nature stops every search."""
    return install(tmp_path_factory.mktemp("troubled"), *ALL)


@pytest.fixture(scope="module")
def listed(troubled: Commands) -> list[dict[str, Any]]:
    """What ``zoo plugins --json`` prints there."""
    done = troubled.zoo("plugins", "--json")
    assert done.status == 0, done.err
    return done.json["plugins"]


@pytest.fixture(scope="module")
def printed(troubled: Commands) -> tuple[str, str]:
    """What ``zoo plugins`` prints there."""
    done = troubled.zoo("plugins")
    assert done.status == 0, done.err
    return done.out, done.err


class TestEachFaultIsReported:
    @pytest.mark.parametrize(
        ("distribution", "name", "status", "error"), REPORTED, ids=[f"{item.name}-{name}" for item, name, *_ in REPORTED]
    )
    def test_with_its_distribution_version_state_and_error(self, distribution, name, status, error, listed):
        records = [item for item in listed if (item["distribution"], item["name"]) == (distribution.name, name)]
        assert [(item["version"], item["status"]) for item in records] == [("1.2", status)]
        assert error in (records[0]["error"] or "")

    @pytest.mark.parametrize("engine", each_engine())
    def test_a_taken_name_is_still_its_owners(self, engine, listed):
        name, owner = f"{engine.lower()}.resnet_v1", f"zoo-{engine.lower()}"
        states = {item["distribution"]: item for item in listed if item["name"] == name}
        assert {distribution: item["status"] for distribution, item in states.items()} == {
            owner: "ok",
            "takes-a-name": "shadowed",
        }
        assert states["takes-a-name"]["error"] == f"{owner} owns the name; takes-a-name:{name} chooses this one"

    @pytest.mark.parametrize("distribution", ALL_NAMES)
    def test_in_a_line_for_people_too(self, distribution, printed):
        rows, _messages = printed
        assert any(f"{distribution} 1.2" in line for line in rows.splitlines())

    @pytest.mark.parametrize(
        ("distribution", "status", "error"),
        [(item, status, error) for item, _, status, error in REPORTED if error],
        ids=[f"{item.name}-{name}" for item, name, _, error in REPORTED if error],
    )
    def test_with_the_reason_for_people_too(self, distribution, status, error, printed):
        _rows, messages = printed
        lines = [line for line in messages.splitlines() if line.startswith(f"{status}: {distribution.name} 1.2: ")]
        assert any(error in line for line in lines)

    def test_all_others_are_well(self, listed):
        others = [item for item in listed if item["distribution"] not in ALL_NAMES]
        assert {"zoo-core"} <= {item["distribution"] for item in others}
        assert {item["status"] for item in others} == {"ok"}


class TestNothingElseSuffers:
    def test_what_was_made_for_another_core_is_not_imported(self, troubled):
        for verb in (["search"], ["plugins"], ["explain", "digits_mlp"]):
            assert troubled.zoo(*verb).status == 0
        assert not (troubled.home / "imported").exists()

    def test_a_search_finds_what_it_finds_without_them(self, troubled, tmp_path):
        clean = Environment.make(tmp_path / "environment").commands(tmp_path)
        expected = clean.zoo("search", "--json").json["records"]
        done = troubled.zoo("search", "--json")
        assert done.status == 0
        assert [item["mrl"] for item in done.json["records"]] == [item["mrl"] for item in expected]

    def test_a_search_says_which_repository_it_could_not_read(self, troubled):
        messages = troubled.zoo("search", "--json").json["messages"]
        found = [text for text in messages if "raising-repositories" in text]
        assert len(found) == 1
        assert "ConnectionError: the directory of models is down" in found[0]

    @pytest.mark.parametrize("engine", each_engine())
    def test_a_model_predicts_what_it_predicts_without_them(self, engine, troubled, tmp_path, digit):
        clean = Environment.make(tmp_path / "environment").commands(tmp_path)
        arguments = ("predict", "digits_mlp", digit, "--engine", engine, "--json")
        expected = clean.zoo(*arguments)
        assert expected.status == 0, expected.err
        done = troubled.zoo(*arguments)
        assert done.status == 0, done.err
        assert done.json["results"] == expected.json["results"]

    @pytest.mark.parametrize("engine", each_engine())
    def test_a_taken_name_builds_what_it_built(self, engine, troubled):
        code = "import sys, zoo_core; print(type(zoo_core.block_factory('resnet_v1', engine=sys.argv[1])).__module__)"
        assert troubled.run(code, engine).out.strip() == f"zoo_{engine.lower()}.factories"

    @pytest.mark.parametrize("engine", each_engine())
    def test_whoever_took_a_name_is_reached_with_its_distribution(self, engine, troubled):
        code = "import sys, zoo_core; print(type(zoo_core.block_factory(sys.argv[1])).__module__)"
        assert troubled.run(code, f"takes-a-name:{engine.lower()}.resnet_v1").out.strip() == "takes_a_name"


class TestAFaultIsAnErrorForWhoeverNamesIt:
    @pytest.mark.parametrize(
        ("name", "words"),
        [
            ("pytorch.raises", "of raises-on-import 1.2 cannot be imported: RuntimeError: no licence key"),
            ("pytorch.no_factory", "of no-factory 1.2 is 42"),
            ("pytorch.later", "of for-another-core 1.2 was made for zoo-core>=99"),
        ],
    )
    def test_with_its_distribution_and_version(self, name, words, troubled):
        code = """
import sys, zoo_core as zoo
try:
    zoo.block_factory(sys.argv[1])
except zoo.PluginError as error:
    print(error)
"""
        done = troubled.run(code, name)
        assert words in done.out, done.err

    def test_a_broken_engine_is_named_with_its_distribution(self, troubled, tmp_path):
        file = tmp_path / "model.safetensors"
        file.write_bytes(parameter_files.SAFETENSORS)
        (tmp_path / "x.npy").write_bytes(b"")
        done = troubled.zoo("predict", file, tmp_path / "x.npy", "--engine", "TensorFlux")
        assert done.status == 8
        assert len(done.errors) == 1
        assert "zoo-tensorflux 1.2 cannot be imported: ModuleNotFoundError" in done.errors[0]


class TestANameThatTwoClaim:
    """No distribution owns it, so whoever uses it has to choose."""

    @pytest.fixture
    def commands(self, installed: Callable[..., Commands]) -> Commands:
        commands = installed(CLAIMS_ONE, CLAIMS_TWO)
        commands.cwd.mkdir()
        (commands.cwd / "empty.safetensors").write_bytes(parameter_files.safetensors({}))
        return commands

    def test_is_an_error_that_names_both(self, commands):
        engine = any_engine()
        (commands.cwd / "x.npy").write_bytes(npy(1.0, 2.0))
        done = commands.zoo("predict", "empty.safetensors", "x.npy", "--factory", "claimed", "--engine", engine)
        assert done.status == 8
        name = f"{engine.lower()}.claimed"
        assert f"choose one of claims-one:{name}, claims-two:{name}" in done.errors[0]

    def test_is_chosen_with_its_distribution(self, commands):
        engine = any_engine()
        (commands.cwd / "x.npy").write_bytes(npy(1.0, 2.0))
        chosen = f"claims-two:{engine.lower()}.claimed"
        done = commands.zoo("predict", "empty.safetensors", "x.npy", "--factory", chosen, "--engine", engine, "--json")
        assert done.status == 0, done.err
        (output,) = done.json["results"][0]["arrays"].values()
        assert output["values"] == [[1.0, 2.0]]

    def test_is_chosen_in_python_too(self, commands):
        code = "import zoo_core; print(type(zoo_core.block_factory('claims-one:pytorch.claimed')).__module__)"
        assert commands.run(code).out.strip() == "claims_one"


class TestAHookThatRaises:
    def test_an_observers_is_a_warning_that_names_its_distribution(self, installed, digit):
        engine = any_engine()
        done = installed(RAISING_OBSERVER).zoo("predict", "digits_mlp", digit, "--engine", engine)
        assert done.status == 0, done.err
        (warning,) = done.warnings
        assert "zoo_loaded of raising-observer 1.2 raised KeyError: 'no such meter'" in warning

    def test_an_observer_that_exits_does_not_end_the_command(self, installed, digit):
        done = installed(EXITING_OBSERVER).zoo("predict", "digits_mlp", digit, "--engine", any_engine())
        assert done.status == 0, done.err
        (warning,) = done.warnings
        assert "zoo_loaded of exiting-observer 1.2 raised SystemExit: 3" in warning

    @pytest.mark.skipif(not any(has(f"zoo-{engine.lower()}") for engine in ENGINES), reason="needs a catalogue")
    def test_a_vetos_is_an_error_since_a_veto_must_not_be_lost(self, installed):
        done = installed(RAISING_VETO).zoo("download", "digits_mlp")
        assert done.status == 8
        assert len(done.errors) == 1
        assert "zoo_veto_candidate of raising-veto 1.2 raised OSError: the policy is not there" in done.errors[0]

    def test_a_vetos_distribution_is_still_listed(self, installed):
        done = installed(RAISING_VETO).zoo("plugins", "--json")
        assert ("raising-veto", "1.2") in {(item["distribution"], item["version"]) for item in done.json["plugins"]}


@pytest.fixture(scope="module")
def digit(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A picture: an upright bar, which is a one."""
    pictures = pytest.importorskip("PIL.Image", reason="needs Pillow, which the engines' plugins bring")
    path = tmp_path_factory.mktemp("picture") / "one.png"
    bar = [255 if column in (3, 4) else 0 for _row in range(8) for column in range(8)]
    picture = pictures.new("L", (8, 8))
    picture.putdata(bar)
    picture.save(path)
    return str(path)


def npy(*values: float) -> bytes:
    """An array ``float32[1, n]``. Source: NumPy Enhancement Proposal 1, version 1.0 of the format."""
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': (1, {len(values)}), }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + parameter_files.floats(*values)
