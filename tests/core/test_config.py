"""zoo.toml and the environment, read when they are needed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from zoo_core.config import Config, ConfiguredRepository, home, is_offline, load_config
from zoo_core.credentials import Credential
from zoo_core.errors import CriteriaError
from zoo_core.mirrors import Mirror


@pytest.fixture
def own() -> Path:
    """The user's own zoo.toml, not written yet."""
    folder = Path(os.environ["XDG_CONFIG_HOME"], "zoo")
    folder.mkdir(parents=True)
    return folder / "zoo.toml"


@pytest.fixture
def local() -> Path:
    """The zoo.toml of the working directory, not written yet."""
    return Path.cwd() / "zoo.toml"


def test_without_files_and_environment_the_defaults_hold() -> None:
    assert load_config() == Config(engines=(), offline=False, index_max_age=86_400.0, repositories=(), files=())


def test_the_users_own_file_sets_everything(own: Path) -> None:
    own.write_text(
        """
        engines = ["MXNet", "PyTorch"]
        offline = true
        index_max_age = 60
        cache_layers = ["/mnt/shared", "below"]
        trust_code = ["dist:acme-models"]
        max_file_size = 1000
        max_unpacked_size = 2000
        max_members = 3
        max_index_size = 4000

        [[repository]]
        url = "https://models.example/zoo/"
        name = "acme"
        groups = ["com.acme"]
        allow_unverified = true
        username_env = "ACME_USER"
        token_env = "ACME_TOKEN"

        [[mirror]]
        of = "https://models.example/"
        urls = ["https://mirror.example/"]
        """
    )
    config = load_config()
    assert (config.engines, config.offline, config.index_max_age) == (("MXNet", "PyTorch"), True, 60.0)
    assert config.trust_code == ("dist:acme-models",)
    assert config.cache_layers == (Path("/mnt/shared"), own.parent / "below")
    assert (config.max_file_size, config.max_unpacked_size, config.max_members) == (1000, 2000, 3)
    assert config.max_index_size == 4000
    assert config.mirrors == (Mirror(of="https://models.example/", urls=("https://mirror.example/",)),)
    assert config.files == (own,)
    address = "https://models.example/zoo/"
    assert config.repositories == (
        ConfiguredRepository(
            url=address,
            name="acme",
            groups=("com.acme",),
            allow_unverified=True,
            is_trusted=True,
            credential=Credential(url=address, token_env="ACME_TOKEN", username_env="ACME_USER"),
        ),
    )


def test_the_working_directory_adds_repositories_that_are_not_trusted(own: Path, local: Path) -> None:
    own.write_text('[[repository]]\nurl = "https://own.example/"')
    local.write_text('[[repository]]\nurl = "https://project.example/"')
    found = [(repository.url, repository.is_trusted) for repository in load_config().repositories]
    assert found == [("https://own.example/", True), ("https://project.example/", False)]


def test_the_working_directory_overrides_engines_and_never_opens_the_network_that_the_user_forbade(
    own: Path, local: Path
) -> None:
    own.write_text('engines = ["MXNet"]\noffline = true\nindex_max_age = 5')
    local.write_text('engines = ["PyTorch"]\noffline = false')
    config = load_config()
    assert (config.engines, config.offline, config.index_max_age, config.files) == (("PyTorch",), True, 5.0, (own, local))


@pytest.mark.parametrize(
    ("key", "content"),
    [
        ("cache_layers", 'cache_layers = ["/tmp"]'),
        ("trust_code", 'trust_code = ["https://evil.example/"]'),
        ("index_max_age", "index_max_age = 1e12"),
        ("groups", '[[repository]]\nurl = "x"\ngroups = ["zoo.pytorch"]'),
        ("allow_unverified", '[[repository]]\nurl = "x"\nallow_unverified = true'),
        ("username_env", '[[repository]]\nurl = "x"\nusername_env = "USER"'),
        ("token_env", '[[repository]]\nurl = "x"\ntoken_env = "AWS_SECRET_ACCESS_KEY"'),
    ],
)
def test_a_cloned_project_cannot_decide_what_its_user_trusts(own: Path, local: Path, key: str, content: str) -> None:
    local.write_text(content)
    with pytest.raises(CriteriaError, match=f"{local}: `{key}` counts only in your own configuration: {own}"):
        load_config()


def test_the_users_own_folder_as_working_directory_is_still_the_users_own(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own.write_text('[[repository]]\ngroups = ["com.acme"]\nurl = "https://own.example/"')
    monkeypatch.chdir(own.parent)
    assert [repository.is_trusted for repository in load_config().repositories] == [True]


@pytest.mark.parametrize("how", ["argument", "environment"])
def test_a_file_that_is_named_is_the_only_one_and_trusted(
    own: Path, local: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    own.write_text('engines = ["MXNet"]')
    local.write_text('engines = ["PyTorch"]')
    named = tmp_path / "named.toml"
    named.write_text('[[repository]]\ngroups = ["com.acme"]\nurl = "https://named.example/"')
    if how == "environment":
        monkeypatch.setenv("ZOO_CONFIG", str(named))
    config = load_config(named if how == "argument" else None)
    assert (config.engines, config.files) == ((), (named,))
    assert [(repository.url, repository.is_trusted) for repository in config.repositories] == [("https://named.example/", True)]


def test_a_file_named_in_the_call_wins_over_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = tmp_path / "first.toml", tmp_path / "second.toml"
    first.write_text('engines = ["First"]')
    second.write_text('engines = ["Second"]')
    monkeypatch.setenv("ZOO_CONFIG", str(second))
    assert load_config(first).engines == ("First",)


def test_a_named_file_may_lie_in_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "named.toml").write_text('engines = ["MXNet"]')
    assert load_config("~/named.toml").engines == ("MXNet",)


def test_a_file_that_is_named_and_missing_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOO_CONFIG", str(tmp_path / "none.toml"))
    with pytest.raises(CriteriaError, match=r"none\.toml does not exist"):
        load_config()


def test_false_means_neither_file_nor_environment(own: Path, local: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own.write_text('engines = ["MXNet"]')
    local.write_text("this is no TOML")
    monkeypatch.setenv("ZOO_CONFIG", "missing.toml")
    monkeypatch.setenv("ZOO_REPOSITORIES", "https://env.example/")
    assert load_config(False) == Config()


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("models", "{folder}/models"),
        ("../models", "{folder}/../models"),
        ("/srv/models", "/srv/models"),
        ("~/models", "{home}/models"),
        ("https://models.example/zoo", "https://models.example/zoo"),
        ("package://acme.models", "package://acme.models"),
        ("file:///srv/with%20space", "file:///srv/with%20space"),
    ],
)
def test_a_path_is_relative_to_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: str, expected: str) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    named = tmp_path / "sub" / "zoo.toml"
    named.parent.mkdir()
    named.write_text(f'[[repository]]\nurl = "{written}"')
    (repository,) = load_config(named).repositories
    assert repository.url == expected.format(folder=named.parent, home=tmp_path / "me")


def test_the_environment_adds_repositories_after_those_of_the_files(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own.write_text('[[repository]]\nurl = "https://own.example/"')
    monkeypatch.setenv("ZOO_REPOSITORIES", " https://a.example/  file:///srv/with%20space\nhttps://b.example/ ")
    found = [(repository.url, repository.is_trusted) for repository in load_config().repositories]
    assert found == [
        ("https://own.example/", True),
        ("https://a.example/", True),
        ("file:///srv/with%20space", True),
        ("https://b.example/", True),
    ]


def test_the_environment_is_read_at_each_call(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_config().repositories == ()
    monkeypatch.setenv("ZOO_REPOSITORIES", "https://a.example/")
    assert len(load_config().repositories) == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("index_max_aeg = 5", "unknown field `index_max_aeg`.*did you mean index_max_age"),
        ("colour = 5", "unknown field `colour`.*Keys: .*engines.*offline"),
        ('[[repository]]\nurl = "x"\ngruops = []', r"unknown field `gruops`.*\$\.repository\[.*did you mean groups"),
        ('[[repository]]\nname = "x"', r"required field `url`.*\$\.repository\["),
        ('[[mirror]]\nof = "x"', r"required field `urls`.*\$\.mirror\["),
        ('engines = "MXNet"', r"Expected `array`, got `str` - at `\$\.engines`"),
        ('offline = "yes"', r"Expected `bool \| null`, got `str` - at `\$\.offline`"),
        ("repository = 3", r"Expected `array`, got `int` - at `\$\.repository`"),
        ("engines = [", "Invalid value|Unclosed array"),
    ],
)
@pytest.mark.parametrize("place", ["own", "local"])
def test_a_malformed_file_is_an_error_with_file_and_key(
    request: pytest.FixtureRequest, place: str, content: str, message: str
) -> None:
    file = request.getfixturevalue(place)
    file.write_text(content)
    with pytest.raises(CriteriaError, match=f"{file}: .*({message})"):
        load_config()


def test_a_file_that_is_no_text_is_an_error(own: Path) -> None:
    own.write_bytes(b"engines = ['\xff']")
    with pytest.raises(CriteriaError, match=f"{own}: .*utf-8"):
        load_config()


# mirrors and credentials ---------------------------------------------------------------------------------------------


def test_mirrors_are_those_of_the_environment_then_those_of_the_files(
    own: Path, local: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own.write_text('[[mirror]]\nof = "https://a.example/"\nurls = ["https://b.example/", "stick"]')
    local.write_text('[[mirror]]\nof = "https://a.example/"\nurls = ["models"]')
    monkeypatch.setenv("ZOO_MIRROR", "https://a.example/=https://c.example/")
    assert load_config().mirrors == (
        Mirror(of="https://a.example/", urls=("https://c.example/",)),
        Mirror(of="https://a.example/", urls=("https://b.example/", (own.parent / "stick").as_uri())),
        Mirror(of="https://a.example/", urls=((local.parent / "models").as_uri(),), is_trusted=False),
    )
    assert load_config(False).mirrors == ()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('[[mirror]]\nof = "https://a.example/"\nurls = ["s3://b/"]', "mirror 's3://b/': expected an address with http"),
        ('[[mirror]]\nof = "a.example"\nurls = ["https://b.example/"]', "mirror of 'a.example': expected an address"),
        ('[[repository]]\nurl = "https://a.example"\nusername_env = "U"', "`username_env` needs `token_env`"),
    ],
)
def test_what_cannot_be_meant_is_an_error(own: Path, content: str, message: str) -> None:
    own.write_text(content)
    with pytest.raises(CriteriaError, match=f"{own}: .*{message}"):
        load_config()


def test_a_cloned_project_does_not_bound_what_is_downloaded(local: Path) -> None:
    local.write_text("max_file_size = 5")
    with pytest.raises(CriteriaError, match="`max_file_size` counts only in your own configuration"):
        load_config()


# offline -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["1", "true", "yes", "on", "TRUE", " Yes "])
def test_zoo_offline_forbids_the_network(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("ZOO_OFFLINE", text)
    assert is_offline() is True


@pytest.mark.parametrize("text", ["0", "false", "no", "off"])
def test_other_values_of_zoo_offline_allow_it_even_if_a_file_forbids_it(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("ZOO_OFFLINE", text)
    assert is_offline(Config(offline=True)) is False


def test_a_misspelt_value_of_zoo_offline_is_an_error_and_never_online(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOO_OFFLINE", "ture")
    with pytest.raises(CriteriaError, match="ZOO_OFFLINE='ture': expected one of 1, true, yes, on, 0, false, no, off"):
        is_offline(Config())


def test_one_name_for_two_repositories_is_an_error(own: Path, local: Path) -> None:
    own.write_text('[[repository]]\nname = "acme"\nurl = "https://own.example/"')
    local.write_text('[[repository]]\nname = "acme"\nurl = "https://evil.example/"')
    with pytest.raises(CriteriaError, match="a repository of the name 'acme' is configured already"):
        load_config()


@pytest.mark.parametrize("text", [None, "", "  "])
def test_an_empty_zoo_offline_leaves_it_to_the_files(monkeypatch: pytest.MonkeyPatch, text: str | None) -> None:
    if text is not None:
        monkeypatch.setenv("ZOO_OFFLINE", text)
    assert (is_offline(Config(offline=True)), is_offline(Config()), is_offline()) == (True, False, False)


@pytest.mark.parametrize("given", [True, False])
def test_the_call_decides_before_all(monkeypatch: pytest.MonkeyPatch, given: bool) -> None:
    monkeypatch.setenv("ZOO_OFFLINE", "0" if given else "1")
    assert is_offline(Config(offline=not given), given) is given


def test_zoo_offline_is_read_at_call_time(monkeypatch: pytest.MonkeyPatch) -> None:
    config = load_config()
    assert is_offline(config) is False
    monkeypatch.setenv("ZOO_OFFLINE", "1")
    assert is_offline(config) is True


# the cache folder ----------------------------------------------------------------------------------------------------


def test_zoo_home_is_the_cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "models"))
    assert home() == tmp_path / "models"
    monkeypatch.setenv("ZOO_HOME", "here")
    assert home() == Path.cwd() / "here"
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("ZOO_HOME", "~/models")
    assert home() == tmp_path / "models"


@pytest.mark.skipif(os.name != "posix" or os.uname().sysname == "Darwin", reason="the folders of XDG are Linux's")
def test_without_zoo_home_it_lies_in_the_users_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ZOO_HOME")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert home() == tmp_path / "zoo"


@pytest.mark.parametrize("line", ["max_members = 0", "max_unpacked_size = -1"])
def test_a_limit_is_a_positive_number(own: Path, line: str) -> None:
    own.write_text(line)
    with pytest.raises(CriteriaError, match=r"zoo\.toml: Expected `int` >= 1"):
        load_config()
