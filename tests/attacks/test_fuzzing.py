"""Documents, addresses and names that hypothesis draws: each is taken and does no harm, or refused by an error of ours.

Archives are drawn in `test_archives`, parameter files in `test_parameter_files`. ``ZOO_FUZZ=100`` draws a hundred times as
many.
"""

from __future__ import annotations

import json
import os
import pickle
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st
from urllib3 import HTTPResponse

from tests import repositories as make
from tests.fuzzing import drawn
from tests.records import source
from zoo_core import ModelRecord
from zoo_core.artifact import MRL
from zoo_core.cache import check_supported
from zoo_core.cli.output import escaped
from zoo_core.credentials import Credential, Credentials, origin
from zoo_core.criteria import Criteria
from zoo_core.errors import CriteriaError, MetadataError, RepositoryError, UnsafeArchiveError, ZooError
from zoo_core.folders import Folders, Layout
from zoo_core.members import Tree, folded
from zoo_core.metadata import Metadata
from zoo_core.mirrors import Mirror, mirrored
from zoo_core.reference import parse
from zoo_core.repository.local import FolderRepository
from zoo_core.selection import Surroundings, select
from zoo_core.store import Store
from zoo_core.transfer import Retry, Transfer
from zoo_core.version import parse_range, version_key

ROOT = "https://models.example/zoo/"
PLACE = f"{ROOT}model/cv/com/example/net/metadata.json"

#: Letters of which trouble is made.
LETTERS = st.sampled_from(
    [
        *"ab01.-_/\\:@?#%&=+~ []{}()\"'$;|<>*,!^`",
        *"\0\n\r\t\x1b\x7f\x85\u202e\u200b\u2028\ufeff\u0130\u00df\u1e9e\uff0e\uff0f\U0001f600",
    ]
)
#: Pieces of which trouble is made.
WORDS = r"""
    .. ../ %2e%2e/ %2f %5c %00 // \\ file:// http:// https:// package:// zoo:// data: C: models.example
    evil.example [::1] 127.0.0.1 :0 :80 :443 :65536 @ user:pw@ model dataset cv cv/image_classification com
    example net metadata.json 1.0 1.0-SNAPSHOT [1.0,2.0) >=1 CON nul.txt .tar.gz .zip .gz
"""
OTHERS = ["#sha256=" + "0" * 64, "?layers=50", "x" * 300, "9" * 400, "e\u0301", "\u00e9", "\u212a"]
PIECES = st.sampled_from([*WORDS.split(), *OTHERS])
TEXTS = st.lists(st.one_of(LETTERS, PIECES, st.characters(exclude_categories=["Cs"])), max_size=8).map("".join)
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), TEXTS)
VALUES = st.recursive(
    SCALARS, lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXTS, inner, max_size=3)), max_leaves=8
)


def mostly(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """What belongs in a place, and now and then anything."""
    return st.one_of(strategy, strategy, strategy, VALUES)


DIGESTS = st.one_of(st.none(), st.sampled_from(["0" * 64, "F" * 64, "0" * 40, "0" * 8, "x"]))
FILES = st.fixed_dictionaries(
    {"uri": mostly(TEXTS)},
    optional={
        "name": mostly(TEXTS), "type": st.sampled_from(["dir", "file", "", None, "x"]), "size": SCALARS, "sha256": DIGESTS,
        "sha1Hash": DIGESTS, "sha256Prefix": DIGESTS, "mirrors": mostly(st.lists(TEXTS, max_size=2)),
    },
)  # fmt: skip
ARTIFACTS = st.fixed_dictionaries(
    {},
    optional={
        "version": mostly(TEXTS), "name": mostly(TEXTS), "properties": mostly(st.dictionaries(TEXTS, SCALARS, max_size=3)),
        "arguments": mostly(st.dictionaries(TEXTS, VALUES, max_size=3)),
        "options": mostly(st.dictionaries(TEXTS, TEXTS, max_size=2)),
        "engines": mostly(st.lists(st.sampled_from(["PyTorch", "MXNet", "x", "$(x)"]), max_size=2)),
        "requires": mostly(st.lists(st.sampled_from(["a>=1", "b", "x @ http://y"]), max_size=2)),
        "files": mostly(st.dictionaries(TEXTS, mostly(FILES), max_size=3)),
    },
)  # fmt: skip
LICENCES = st.dictionaries(st.sampled_from(["name", "url"]), SCALARS, max_size=2)
DOCUMENTS = st.fixed_dictionaries(
    {"metadataVersion": st.just("0.2"), "groupId": mostly(TEXTS), "artifactId": mostly(TEXTS)},
    optional={
        "application": mostly(TEXTS), "name": mostly(TEXTS), "description": mostly(TEXTS),
        "licenses": mostly(st.dictionaries(TEXTS, mostly(LICENCES), max_size=2)),
        "artifacts": mostly(st.lists(mostly(ARTIFACTS), max_size=2)),
    },
)  # fmt: skip


def read(content: bytes, url: str, path: str | None = None) -> Metadata | None:
    """A document; None where an error of ours refuses it, which names the document and a field."""
    try:
        return Metadata.from_json(content, url, path=path)
    except MetadataError as refused:
        error = refused
    assert error.url == url
    assert error.field.startswith("$")
    assert len(str(error)) < 3000
    assert escaped(str(error)) == str(error)
    return None


# documents -----------------------------------------------------------------------------------------------------------


@drawn(300)
@given(document=DOCUMENTS, path=st.one_of(st.none(), TEXTS, TEXTS.map(lambda text: f"model/cv/{text}/metadata.json")))
def test_a_document_is_refused_or_everything_can_be_done_with_it(document: Any, path: str | None) -> None:
    metadata = read(json.dumps(document).encode(), PLACE, path)
    if metadata is None:
        return
    home = Path("/cache")
    assert pickle.loads(pickle.dumps(metadata)) == metadata
    hash(metadata)
    known = MRL.parse(str(metadata.mrl))
    assert known is None or str(known) == str(metadata.mrl)
    records = [ModelRecord(metadata=metadata, artifact=item, source=source("acme")) for item in metadata.artifacts]
    for record in records:
        json.dumps(record.to_dict(), ensure_ascii=False).encode()
        version_key(record.version)
        blobs = {file.name: home / "blobs" / "0" for file in record.files if file.name}
        folder = Folders(Store(home)).path(record, Layout(blobs))
        assert Path(os.path.normpath(folder)) == folder
        assert folder.relative_to(home).parts[0] == "artifacts"
        assert len(folder.relative_to(home).parts) == 5
        assert all(len(part.encode()) < 256 for part in folder.parts)
        names = [folded(file.name) for file in record.files if file.name]
        assert len(set(names)) == len(names)
        for file in record.files:
            assert file.name == "" or Path(file.name).name == file.name
            with suppress(ZooError):
                check_supported(record, file)
            for url in (file.url, *file.mirrors):
                assert_remote(url)
    explanation = select(Criteria(filters={"layers": 50}), records, Surroundings(engines=("PyTorch",)))
    assert escaped(str(explanation)).count("\x1b") == 0


def assert_remote(url: str) -> None:
    """It leads to the web and nowhere else, and takes no user along."""
    parts = urlsplit(url)
    assert parts.scheme in ("http", "https")
    assert parts.hostname
    assert parts.port != 0
    assert parts.username is None
    assert not any(char < " " for char in url)


@drawn(300)
@given(uri=TEXTS)
def test_an_address_in_a_remote_document_leads_to_the_web_or_nowhere(uri: str) -> None:
    for item in ({"uri": uri, "name": "a"}, {"uri": "a", "mirrors": [uri]}):
        content = make.document(make.artifact(files={"a": item}))
        metadata = read(json.dumps(content).encode(), PLACE)
        for file in metadata.artifacts[0].files if metadata else ():
            for url in (file.url, *file.mirrors):
                assert_remote(url)


@drawn(200)
@given(uri=st.one_of(TEXTS, TEXTS.map(lambda text: f"../../../{text}"), TEXTS.map(lambda text: f"package://zoo_core/{text}")))
def test_one_in_a_folder_leads_to_the_web_into_the_folder_or_into_a_package(
    uri: str,
) -> None:
    import zoo_core

    root = Path("/srv/zoo")
    place = root / "model/cv/com/example/net/metadata.json"
    metadata = read(json.dumps(make.document(make.artifact(files={"a": {"uri": uri, "name": "a"}}))).encode(), place.as_uri())
    for file in metadata.artifacts[0].files if metadata else ():
        with suppress(RepositoryError):
            path = FolderRepository(root).local_path(file)
            if path is None:
                assert_remote(file.url)
            else:
                package = Path(zoo_core.__file__).parent
                assert Path(os.path.normpath(path)).is_relative_to(root) or Path(os.path.normpath(path)).is_relative_to(package)


@drawn(200)
@given(
    content=st.one_of(st.binary(max_size=300), DOCUMENTS.map(lambda document: json.dumps(document).encode())), data=st.data()
)
def test_whatever_bytes_change_a_document_is_read_or_refused(content: bytes, data: st.DataObject) -> None:
    changed = bytearray(content)
    for _ in range(data.draw(st.integers(0, 5)) if changed else 0):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    read(bytes(changed), PLACE)


# what a user types, and what names a model ---------------------------------------------------------------------------


@drawn(400)
@given(
    text=st.one_of(TEXTS, TEXTS.map(lambda text: f"zoo://{text}"), TEXTS.map(lambda text: f"model/cv/{text}")),
    known=st.booleans(),
)
def test_any_text_is_a_model_or_a_wrong_question(text: str, known: bool) -> None:
    with suppress(CriteriaError):
        found = parse(text, lambda _: known)
        assert (found.repository is None) or "://" in found.repository
        with suppress(CriteriaError):
            hash(Criteria(**found.fields))


@drawn(300)
@given(
    kind=st.sampled_from(["model", "dataset"]),
    application=st.lists(TEXTS.filter(lambda text: text and "/" not in text), max_size=3),
    group_id=TEXTS.filter(bool),
    artifact_id=TEXTS.filter(bool),
)
def test_where_a_model_is_survives_being_written_down(
    kind: str, application: list[str], group_id: str, artifact_id: str
) -> None:
    mrl = MRL(type=kind, application="/".join(application), group_id=group_id, artifact_id=artifact_id)
    assert MRL.parse(str(mrl)) == mrl
    fields = parse(str(mrl), lambda _: False).fields
    assert (fields["type"], fields["group_id"], fields["artifact_id"]) == (kind, group_id, artifact_id)


@drawn(300)
@given(text=TEXTS)
def test_any_version_has_a_place_in_the_order_and_any_range_is_one_or_a_wrong_question(text: str) -> None:
    if len(text) <= 128:
        assert version_key(text) == version_key(text)
    with suppress(CriteriaError):
        _ = "1.0" in parse_range(text)


# mirrors and tokens --------------------------------------------------------------------------------------------------

HOSTS = st.sampled_from(
    [
        "https://models.example",
        "https://models.example/",
        "https://models.example/zoo",
        "https://models.example:443/zoo/",
        "http://models.example",
    ]
)
ADDRESSES = st.one_of(
    st.builds(lambda host, text: f"{host}{text}", HOSTS, TEXTS), st.builds(lambda text: f"https://{text}", TEXTS), TEXTS
)


@drawn(400)
@given(of=HOSTS, url=ADDRESSES)
def test_a_mirror_gives_only_what_lies_below_it_and_stands_only_for_what_lies_below_its_own(of: str, url: str) -> None:
    folder, site = "file:///mnt/models", "https://near.example/m"
    found = mirrored(url, [Mirror(of=of, urls=(folder, site))], is_pinned=True)
    assert found[-1] == url
    if len(found) == 1:
        return
    with suppress(ValueError):
        assert origin(url)[:2] == origin(of)[:2]
    path = Path(os.path.normpath(unquote(urlsplit(found[0]).path).replace("\\", "/")))
    assert path.is_relative_to("/mnt/models")
    assert found[1].startswith(site)
    assert origin(found[1]) == origin(site)


TOKEN = Credentials([Credential(url="https://models.example/zoo/", token_env="ACME_TOKEN")])


@drawn(400)
@given(url=ADDRESSES)
def test_a_token_is_sent_to_whom_it_belongs_whoever_reads_the_address(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two readers of addresses differ in what the host is, where somebody wants them to."""
    monkeypatch.setenv("ACME_TOKEN", "s3cret")
    sent: list[tuple[str, dict[str, str]]] = []

    def send(self: Any, request: Any, **_: Any) -> Any:
        sent.append((request.url, dict(request.headers)))
        raise requests.ConnectionError

    monkeypatch.setattr(requests.adapters.HTTPAdapter, "send", send)
    transfer = Transfer(credentials=TOKEN, retry=Retry(retries=0))
    with suppress(RepositoryError), transfer.open(url):
        pass
    for asked, headers in sent:
        if "Authorization" in headers and "s3cret" in headers["Authorization"]:
            assert origin(asked) == ("https", "models.example", 443)


@drawn(400)
@given(target=ADDRESSES)
def test_no_redirect_takes_it_to_anybody_else(target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACME_TOKEN", "s3cret")
    sent: list[tuple[str, dict[str, str]]] = []

    def send(self: Any, request: Any, **_: Any) -> Any:
        sent.append((request.url, dict(request.headers)))
        if len(sent) > 1:
            raise requests.ConnectionError
        answer = requests.Response()
        answer.status_code, answer.url, answer.request = 302, request.url, request
        answer.raw = HTTPResponse(body=b"", preload_content=False)
        answer.headers["Location"] = target.encode("utf-8", "replace").decode("latin-1")
        return answer

    monkeypatch.setattr(requests.adapters.HTTPAdapter, "send", send)
    with suppress(RepositoryError), Transfer(credentials=TOKEN, retry=Retry(retries=0)).open("https://models.example/zoo/a"):
        pass
    assert sent[0][1]["Authorization"] == "Bearer s3cret"
    for asked, headers in sent[1:]:
        assert urlsplit(asked).scheme == "https"
        if origin(asked) != ("https", "models.example", 443):
            assert "Authorization" not in headers or "s3cret" not in headers["Authorization"]


# names in archives ---------------------------------------------------------------------------------------------------


@drawn(400)
@given(names=st.lists(TEXTS, max_size=6), kinds=st.lists(st.booleans(), min_size=6, max_size=6))
def test_names_of_members_are_paths_inside_and_distinct_everywhere_or_refused(names: list[str], kinds: list[bool]) -> None:
    tree, files, folders = Tree("archive"), list[str](), set[str]()
    for name, is_file in zip(names, kinds, strict=False):
        with suppress(UnsafeArchiveError):
            (files.append if is_file else folders.add)(tree.file(name) if is_file else tree.folder(name))
    for path in [*files, *folders]:
        assert path == "" or Path(os.path.normpath(path)).as_posix() == path
        assert not path.startswith(("/", "../"))
        assert ".." not in path.split("/")
        assert "\\" not in path
        assert escaped(path) == path or not path.isascii()
    assert len({folded(path) for path in files}) == len(files)
    assert not {folded(path) for path in files} & {folded(path) for path in folders}


@drawn(200)
@given(ids=st.tuples(TEXTS, TEXTS, TEXTS, TEXTS))
def test_two_models_have_two_folders(ids: tuple[str, str, str, str]) -> None:
    from tests.memory import model

    first = model(group_id=ids[0] or "g", artifact_id=ids[1] or "a")
    second = model(group_id=ids[2] or "g", artifact_id=ids[3] or "a")
    cache = Folders(Store(Path("/cache")))
    if (first.group_id, first.artifact_id) != (second.group_id, second.artifact_id):
        paths = [str(cache.path(item, Layout({}))) for item in (first, second)]
        assert len({folded(path) for path in paths}) == 2 or folded(first.group_id + first.artifact_id) == folded(
            second.group_id + second.artifact_id
        )
