"""Hostile addresses, and hostile files beside a model: nothing is decided by them, and nothing lies where it should not."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path
from typing import Any

import pytest

from tests import archives
from tests import parameter_files as make
from tests.repositories import document, item, location, sha256
from tests.web import Answer, Site, serving
from zoo_core import CriteriaError, MetadataError, ModelZoo, RepositoryError, ZooError, ZooWarning
from zoo_core.errors import IntegrityError

WEIGHTS = make.SAFETENSORS
DIGEST = sha256(WEIGHTS)


@pytest.fixture
def site() -> Any:
    with serving() as started:
        started.pages["/net.safetensors"] = WEIGHTS
        yield started


@pytest.fixture
def zoo(tmp_path: Path) -> ModelZoo:
    return ModelZoo([], cache=tmp_path / "cache", config=False, plugins=[])


def lying(place: Path) -> set[str]:
    """What lies in a folder, at its top."""
    return {path.name for path in place.iterdir()}


# queries -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "query",
    [
        "%65ngine=PyTorch", "ENGINE=x", "layers=1&engine=x", "engine", "engine=", "block%46actory=x",
        "translator+=x&translator=x", "trustPrograms=1", "Trust_Code=sha256:" + "0" * 64, "allowUnverified=true",
        "code=block_factory.py", "&&factory=os:system", "TranslatorFactory=os.system", "requires=evil",
    ],
)  # fmt: skip
@pytest.mark.parametrize("place", ["net.safetensors", "zoo/"])
def test_no_spelling_of_what_decides_is_taken(query: str, place: str, site: Site, zoo: ModelZoo) -> None:
    url = f"{site.url}{place}?{query}"
    for ask in (lambda: zoo.search(url), lambda: zoo.load_model(url), lambda: zoo.download(model_urls=[url])):
        with pytest.raises(CriteriaError, match=r"cannot be said by an address|belongs to a server"):
            ask()
    assert site.requests == []


@pytest.mark.parametrize("where", ["ZOO_REPOSITORIES", "./zoo.toml"])
def test_a_configured_address_that_decides_hides_no_other(
    where: str, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad, good = f"{site.url}net.safetensors?engine=x", f"{site.url}net.safetensors#sha256={DIGEST}"
    if where == "ZOO_REPOSITORIES":
        monkeypatch.setenv("ZOO_REPOSITORIES", f"{bad} {good}")
    else:
        Path("zoo.toml").write_text("".join(f'[[repository]]\nurl = "{url}"\n' for url in (bad, good)))
    zoo = ModelZoo(cache=tmp_path / "cache", plugins=[])
    assert [record.repository for record in zoo.search(artifact_id="net")] == [good]
    assert any("`engine` cannot be said by an address" in message for message in zoo.messages())


@pytest.mark.parametrize(
    "said",
    [
        {"artifact_id": "../../../evil"}, {"artifact_id": "/etc/evil"}, {"artifact_id": ".."}, {"artifact_id": "C:\\evil"},
        {"artifact_id": "a\x00b"}, {"artifact_id": "con"}, {"model_name": "../../evil"},
        {"model_name": "..\\..\\evil"}, {"application": "../../evil"}, {"application": "cv/../../../evil"},
    ],
)  # fmt: skip
def test_ids_in_a_query_lead_nowhere(said: dict[str, str], site: Site, zoo: ModelZoo, tmp_path: Path) -> None:
    from urllib.parse import urlencode

    query = urlencode(said)
    site.pages[f"/net.safetensors?{query}"] = WEIGHTS
    before = lying(tmp_path.parent)
    folder = zoo.download(f"{site.url}net.safetensors?{query}#sha256={DIGEST}", progress=False)
    assert folder.resolve().is_relative_to(tmp_path / "cache" / "artifacts")
    assert (folder / "net.safetensors").read_bytes() == WEIGHTS
    assert (lying(tmp_path), lying(tmp_path.parent)) == ({"cache"}, before)


@pytest.mark.parametrize(
    "url",
    [
        "https://models.example/net.zip?a\x1b[31m=1&engine=x", "https://models.example/\x1b]0;x\x07net.zip#sha256=\u202e",
        "https://models.example/net.zip#\x1b[2J", "https://user:secret@models.example/net.zip?engine=x&token=secret",
        "file:///\x1b[31mgone.zip", "https://models.example/%1b%5b31m/.zip",
    ],
)  # fmt: skip
def test_an_error_about_an_address_shows_no_secret_and_controls_no_terminal(url: str, zoo: ModelZoo) -> None:
    with pytest.raises(ZooError) as caught:
        zoo.search(url)
    message = str(caught.value)
    assert "secret" not in message
    assert not [char for char in message if unicodedata.category(char) in ("Cc", "Cf")]


def test_a_digest_that_is_spelled_otherwise_is_checked_or_refused(site: Site, zoo: ModelZoo) -> None:
    url = f"{site.url}net.safetensors"
    for fragment in (f"SHA256={DIGEST}", f"sha256={DIGEST}&x=1", f"sha256%3D{DIGEST}", f"sha256= {DIGEST}", DIGEST, "sha256"):
        with pytest.raises(CriteriaError):
            zoo.download(f"{url}#{fragment}", progress=False)
    assert zoo.download(f"{url}#sha256={DIGEST.upper()}", progress=False)


# where an address leads ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://models.example/net.safetensors", "data:,x", "///etc/passwd"])
def test_a_redirect_leaves_the_web_for_nothing(target: str, site: Site, zoo: ModelZoo) -> None:
    site.pages["/moved.safetensors"] = Answer(status=302, headers={"Location": target})
    with pytest.raises(RepositoryError):
        zoo.download(f"{site.url}moved.safetensors#sha256={DIGEST}", progress=False)
    assert zoo.search(model_urls=[f"{site.url}moved.safetensors"])[0].cached is False


@pytest.mark.parametrize(
    "uri", ["file:///etc/passwd", "file://localhost/etc/passwd", "package://zoo_core/x", "FILE:///etc/passwd"]
)
def test_a_document_of_a_server_names_no_file_of_this_machine(uri: str, site: Site, zoo: ModelZoo) -> None:
    content = document({"version": "1.0", "files": {"parameters": item(uri, WEIGHTS)}})
    entry = {"path": f"{location(content)}/metadata.json", "metadata": content}
    site.pages["/zoo/index.json"] = json.dumps({"indexVersion": 1, "documents": [entry]}).encode()
    assert zoo.search("net", model_urls=[f"{site.url}zoo/?layers=50"]) == []
    assert any("expected a relative or http(s) address" in message for message in zoo.messages([f"{site.url}zoo/?layers=50"]))


def test_a_document_inside_an_archive_names_no_further_file(site: Site, zoo: ModelZoo, tmp_path: Path) -> None:
    secret = tmp_path / "secret.safetensors"
    secret.write_bytes(WEIGHTS)
    inner = document({"version": "1.0", "files": {"parameters": item(secret.as_uri()), "code": item("block_factory.py")}})
    packed = archives.zipped({"metadata.json": json.dumps(inner).encode(), "net.params": make.PARAMS})
    site.pages["/net.zip"] = packed
    url = f"{site.url}net.zip#sha256={sha256(packed)}"
    zoo.download(url, progress=False)
    found = zoo.info(url)
    assert list(found.parameters) == ["w", "m"]
    assert not any(run["what"] == "carried code" for run in found.runs)


def test_what_a_server_sends_in_place_of_a_typed_file_is_not_kept(site: Site, zoo: ModelZoo, tmp_path: Path) -> None:
    site.pages["/net.safetensors"] = b"<html>please log in</html>"
    with pytest.raises(IntegrityError, match="Nothing was kept"):
        zoo.download(f"{site.url}net.safetensors#sha256={DIGEST}", progress=False)
    assert not list((tmp_path / "cache").glob("blobs/**/*.*"))


# serving.properties --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"x=" + b"9" * (1 << 17), MetadataError),
        (b"a=\\uZZZZ", MetadataError),
        (b"\\\n" * 30_000, None),
        (b"a" * 60_000, None),
        (b"x=" + b"[" * 60_000, None),
        (b"x=" + b"9" * 60_000, None),
        ("\n".join(f"k{number}=v" for number in range(5000)).encode(), None),
        (b"engine=\x1b[31m", ZooError),
        (b"\x1b]0;title\x07=x", None),
        (b"\xff\xfe=\x00", None),
    ],
    ids=["too large", "escape", "continued", "long key", "deep", "digits", "many", "engine", "terminal", "no text"],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:.*nobody takes the argument")
def test_a_hostile_one_is_read_soon_or_refused(content: bytes, error: type[ZooError] | None, tmp_path: Path) -> None:
    (tmp_path / "net.safetensors").write_bytes(WEIGHTS)
    (tmp_path / "serving.properties").write_bytes(content)
    zoo = ModelZoo([], config=False, plugins=[])
    if error is None:
        assert zoo.info(model_path=tmp_path).parameters
        return
    with pytest.raises(error) as caught:
        zoo.info(model_path=tmp_path)
    assert "\x1b" not in str(caught.value)


def test_what_nobody_takes_controls_no_terminal(tmp_path: Path, site: Site) -> None:
    """The names are somebody else's text."""
    pytest.importorskip("zoo_pytorch")
    np = pytest.importorskip("numpy")
    from safetensors.numpy import save

    header = {"zoo.factory": '{"factory": "identity", "engine": "PyTorch", "fields": {}}'}
    (tmp_path / "net.safetensors").write_bytes(save({"x": np.zeros(1, np.float32)}, header))
    (tmp_path / "serving.properties").write_bytes(b"\x1b[31mname=1\noption.\x1b[31m=1\n")
    with pytest.warns(ZooWarning) as caught:
        ModelZoo([], config=False, plugins=[]).load_model(model_path=tmp_path, strict=False)
    assert not [warning for warning in caught if "\x1b" in str(warning.message)]
