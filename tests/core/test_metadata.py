"""metadata.json to validated artifacts: DJL's format as its documents use it, and our keys."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import repositories as make
from zoo_core import MRL, Artifact, ArtifactFile, License, Metadata, MetadataError
from zoo_core.metadata import archive_kind

LOCAL = "file:///srv/zoo/model/cv/image_classification/com/example/net/metadata.json"
REMOTE = "https://models.example/zoo/model/cv/image_classification/com/example/net/metadata.json"

#: The two examples of the format's description.
TINYNET = {
    "metadataVersion": "0.2", "resourceType": "model", "application": "cv/image_classification", "groupId": "org.example.torch",
    "artifactId": "tinynet", "name": "TinyNet", "licenses": {"mit": {"name": "MIT", "url": "https://opensource.org/license/mit"}},
    "artifacts": [{
        "version": "0.1.0", "snapshot": False, "name": "tinynet_w8", "properties": {"width": "8", "dataset": "shapes"},
        "arguments": {"width": 32, "height": 32, "applySoftmax": True}, "options": {"mapLocation": "true"},
        "files": {
            "model": {"uri": "0.1.0/tinynet_w8.pt.gz", "sha1Hash": "0123456789abcdef0123456789abcdef01234567", "size": 20480},
            "synset": {
                "uri": "../shapes.txt", "sha1Hash": "89abcdef0123456789abcdef0123456789abcdef", "name": "synset.txt",
                "size": 24,
            },
        },
    }],
}  # fmt: skip
HAIKU = {
    "metadataVersion": "0.2", "resourceType": "dataset", "application": "nlp", "groupId": "org.example", "artifactId": "haiku",
    "name": "Haiku",
    "artifacts": [{
        "version": "2.0", "properties": {"lang": "en"},
        "files": {"train": {
            "uri": "https://data.example.org/haiku.tar.gz", "sha1Hash": "fedcba9876543210fedcba9876543210fedcba98", "name": "",
            "size": 512,
        }},
    }],
}  # fmt: skip


def read(content: object, url: str = LOCAL, path: str | None = None) -> Metadata:
    text = content if isinstance(content, bytes) else json.dumps(content).encode()
    return Metadata.from_json(text, url, path=path)


def read_artifact(url: str = LOCAL, **fields: Any) -> Artifact:
    return read(make.document(make.artifact(**fields)), url).artifacts[0]


def read_file(uri: object = "net.bin", url: str = LOCAL, **fields: Any) -> ArtifactFile:
    return read_artifact(url, files={"parameters": {"uri": uri, **fields}}).files[0]


def raw_artifact(fields: str) -> bytes:
    """A document whose only artifact is written as text, for what `json.dumps` cannot write."""
    return f'{{"metadataVersion": "0.2", "groupId": "g", "artifactId": "a", "artifacts": [{{{fields}}}]}}'.encode()


# the examples of the format ------------------------------------------------------------------------------------------


def test_a_model_is_read_with_all_its_fields() -> None:
    root = "https://models.example/zoo/"
    folder = "model/cv/image_classification/org/example/torch/tinynet/"
    metadata = read(TINYNET, root + folder + "metadata.json")
    assert metadata.mrl == MRL(application="cv/image_classification", group_id="org.example.torch", artifact_id="tinynet")
    assert (metadata.name, metadata.application) == ("TinyNet", "cv/image_classification")
    assert metadata.licenses == (License(id="mit", name="MIT", url="https://opensource.org/license/mit"),)
    (artifact,) = metadata.artifacts
    assert (artifact.version, artifact.name) == ("0.1.0", "tinynet_w8")
    assert dict(artifact.properties) == {"width": "8", "dataset": "shapes"}
    assert dict(artifact.arguments) == {"width": 32, "height": 32, "applySoftmax": True}
    assert dict(artifact.options) == {"mapLocation": "true"}
    assert artifact.files == (
        ArtifactFile(
            key="model",
            name="tinynet_w8.pt",
            uri="0.1.0/tinynet_w8.pt.gz",
            url=root + folder + "0.1.0/tinynet_w8.pt.gz",
            size=20480,
            sha1="0123456789abcdef0123456789abcdef01234567",
        ),
        ArtifactFile(
            key="synset",
            name="synset.txt",
            uri="../shapes.txt",
            url=root + "model/cv/image_classification/org/example/torch/shapes.txt",
            size=24,
            sha1="89abcdef0123456789abcdef0123456789abcdef",
        ),
    )
    assert artifact.size == 20504


def test_a_data_set_is_read_with_its_archive_that_has_no_name() -> None:
    metadata = read(HAIKU, "file:///srv/zoo/dataset/nlp/org/example/haiku/metadata.json")
    assert metadata.mrl == MRL(type="dataset", application="nlp", group_id="org.example", artifact_id="haiku")
    (file,) = metadata.artifacts[0].files
    assert (file.type, file.name, file.url) == ("dir", "", "https://data.example.org/haiku.tar.gz")


# where: the folder decides -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("folder", "written", "expected"),
    [
        ("model/cv/image_classification/com/example/net", {}, ("cv/image_classification", "com.example", "net")),
        ("model/cv/com/example/net", {"application": "cv"}, ("cv", "com.example", "net")),
        ("model/com/example/net", {"application": None}, ("", "com.example", "net")),
        ("model/g/net", {"application": None, "groupId": "g"}, ("", "g", "net")),
        ("model/cv/com/example/a/b", {"application": "cv", "artifactId": "a/b"}, ("cv", "com.example", "a/b")),
        (
            "model/cv/image_classification/com/example/a.b-C",
            {"artifactId": "a.b-C"},
            ("cv/image_classification", "com.example", "a.b-C"),
        ),
        (
            "model/cv/image_classification/com/example/net",
            {"application": "image_classification"},
            ("cv/image_classification", "com.example", "net"),
        ),
        (
            "model/cv/image-generation/com/example/net",
            {"application": "cv/image-generation"},
            ("cv/image-generation", "com.example", "net"),
        ),
        (
            "model/cv/image_classification/com/example/net",
            {"application": "nlp/fill_mask"},
            ("cv/image_classification", "com.example", "net"),
        ),
        (
            "model/cv/image_classification/com/example/net",
            {"groupId": "org.other"},
            ("cv/image_classification", "com.example", "net"),
        ),
        (
            "model/cv/image_classification/com/example/net",
            {"artifactId": "other"},
            ("cv/image_classification", "com.example", "net"),
        ),
        (
            "model/nlp/fill_mask/com/example/net",
            {"application": "cv", "groupId": "org.other", "artifactId": "other"},
            ("nlp/fill_mask", "com.example", "net"),
        ),
    ],
    ids=[
        "agrees", "short application", "no application", "group of one part", "slash in an id", "dots and capitals in an id",
        "alias inside", "unknown application", "other application inside", "other group inside", "other id inside",
        "all others",
    ],
)  # fmt: skip
def test_the_folder_says_where_a_model_is_and_the_ids_inside_are_labels(
    folder: str, written: dict[str, Any], expected: tuple[str, str, str]
) -> None:
    content = {**make.document(), **written}
    metadata = read(content, f"file:///srv/zoo/{folder}/metadata.json")
    assert (metadata.mrl.application, metadata.mrl.group_id, metadata.mrl.artifact_id) == expected
    inside = (content["application"] or "", content["groupId"], content["artifactId"])
    assert (metadata.application, metadata.group_id, metadata.artifact_id) == inside


@pytest.mark.parametrize("folder", ["model", "dataset"])
def test_the_first_folder_says_model_or_data_set_whatever_the_document_says(folder: str) -> None:
    content = make.document(resourceType="model" if folder == "dataset" else "dataset")
    assert read(content, f"file:///srv/{folder}/cv/com/example/net/metadata.json").mrl.type == folder


def test_a_path_below_the_root_tells_more_than_the_address() -> None:
    """The root itself may lie in a folder called model."""
    url = "file:///srv/model/zoo/a/b/model/cv/com/example/net/metadata.json"
    assert read(make.document(application="cv"), url, "model/cv/com/example/net/metadata.json").mrl == MRL(
        application="cv", group_id="com.example", artifact_id="net"
    )


def test_an_address_that_says_nothing_leaves_it_to_the_ids() -> None:
    metadata = read(make.document(), "https://models.example/metadata.json")
    assert metadata.mrl == MRL(application="cv/image_classification", group_id="com.example", artifact_id="net")


def test_a_percent_encoded_address_is_read_decoded() -> None:
    url = "https://models.example/model/cv/com/example/a%20b/metadata.json"
    assert read(make.document(artifact_id="a b", application="cv"), url).mrl.artifact_id == "a b"


# the document --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["0.1", "0.2", "7", 0.1])
def test_the_version_of_the_format_is_never_compared(version: object) -> None:
    assert read(make.document(make.artifact(), metadataVersion=version)).artifact_id == "net"


def test_unknown_keys_are_passed_over_everywhere() -> None:
    file = make.item("net.bin", make.WEIGHTS, colour="red")
    content = make.document(
        make.artifact(files={"parameters": file}, colour="red"),
        colour="red",
        lastUpdated="2020-01-01T00:00:00.000Z",
        licenses={"mit": {"colour": "red"}},
    )
    assert read(content).artifacts[0].files[0].name == "net.bin"


@pytest.mark.parametrize("field", ["application", "name", "description", "website", "licenses", "artifacts", "resourceType"])
def test_null_in_a_document_is_absent(field: str) -> None:
    with_null = read({**make.document(), field: None})
    without = read({key: value for key, value in make.document().items() if key != field})
    assert with_null == without


@pytest.mark.parametrize("field", ["version", "name", "properties", "arguments", "options", "engines", "requires", "files"])
def test_null_in_an_artifact_is_absent(field: str) -> None:
    without = {key: value for key, value in make.artifact().items() if key != field}
    assert read(make.document({**without, field: None})) == read(make.document(without))


@pytest.mark.parametrize("field", ["name", "type", "size", "sha1Hash", "sha256", "sha256Prefix", "mirrors"])
def test_null_in_a_file_is_absent(field: str) -> None:
    assert read_file(**{field: None}) == read_file()


def test_a_licence_may_be_its_id_alone() -> None:
    assert read(make.document(licenses={"apache": None, "mit": {}})).licenses == (License(id="apache"), License(id="mit"))


def test_text_and_numbers_are_read_across() -> None:
    metadata = read({**make.document(make.artifact(version=2, name=5)), "name": 7})
    assert (metadata.name, metadata.artifacts[0].version, metadata.artifacts[0].name) == ("7", "2", "5")


def test_artifacts_and_files_keep_their_order() -> None:
    files = {key: {"uri": f"{key}.bin"} for key in ("synset", "parameters", "classes")}
    metadata = read(make.document(*(make.artifact(version, files=files) for version in ("1.0", "3.0", "2.0"))))
    assert [artifact.version for artifact in metadata.artifacts] == ["1.0", "3.0", "2.0"]
    assert [file.key for file in metadata.artifacts[0].files] == ["synset", "parameters", "classes"]


@pytest.mark.parametrize("version", [None, ""])
def test_an_artifact_may_have_no_version(version: str | None) -> None:
    assert read_artifact(version=version).version is None


@pytest.mark.parametrize("name", [None, ""])
def test_an_artifact_may_have_no_name(name: str | None) -> None:
    assert read_artifact(name=name).name == ""


# properties, options, arguments --------------------------------------------------------------------------------------


@pytest.mark.parametrize("field", ["properties", "options"])
def test_properties_and_options_are_text_as_their_json_writes_it(field: str) -> None:
    written = '"a": "50", "b": 50, "c": 0.50, "d": 1e3, "e": true, "f": false, "g": null, "h": 123456789012345678901234567890'
    found = getattr(read(raw_artifact(f'"{field}": {{{written}}}')).artifacts[0], field)
    assert dict(found) == {
        "a": "50", "b": "50", "c": "0.50", "d": "1e3", "e": "true", "f": "false", "h": "123456789012345678901234567890",
    }  # fmt: skip


def test_arguments_keep_their_json_values() -> None:
    arguments = {"n": 224, "f": 0.5, "b": True, "t": "x", "l": [1, [2]], "o": {"a": None}}
    assert dict(read_artifact(arguments=arguments).arguments) == arguments


@pytest.mark.parametrize("field", ["properties", "options"])
@pytest.mark.parametrize(
    ("value", "where", "expected"),
    [
        ('{"layers": [50]}', ".layers", "expected text, a number or a boolean"),
        ('{"layers": {"n": 50}}', ".layers", "expected text, a number or a boolean"),
        ('{"layers": "18", "layers": "50"}', ".layers", "expected the key once, found it twice"),
        ('["layers"]', "", "expected an object, found list"),
        ('"layers"', "", "expected an object, found str"),
    ],
    ids=["list", "object", "twice", "a list", "a text"],
)
def test_malformed_properties_and_options_are_errors(field: str, value: str, where: str, expected: str) -> None:
    with pytest.raises(MetadataError, match=expected) as caught:
        read(raw_artifact(f'"{field}": {value}'))
    assert caught.value.field == f"$.artifacts[0].{field}{where}"


# files ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("uri", "name", "type"),
    [
        ("net.bin", "net.bin", "file"),
        ("1.0/net.bin", "net.bin", "file"),
        ("../shared/net.bin", "net.bin", "file"),
        ("net.pt.gz", "net.pt", "file"),
        ("net.pt.GZ", "net.pt", "file"),
        ("net.pt.z", "net.pt", "file"),
        ("net.zip", "net", "dir"),
        ("net.ZIP", "net", "dir"),
        ("net.mar", "net", "dir"),
        ("net.tar", "net", "dir"),
        ("net.tgz", "net", "dir"),
        ("net.tar.gz", "net", "dir"),
        ("net.TAR.GZ", "net", "dir"),
        ("net.tar.z", "net", "dir"),
        ("https://data.example/x/net%20one.bin?token=a.zip", "net one.bin", "file"),
    ],
)
def test_a_file_without_a_name_is_called_as_its_address_ends_one_archive_suffix_cut(uri: str, name: str, type: str) -> None:
    file = read_file(uri)
    assert (file.name, file.type, file.uri) == (name, type, uri)


@pytest.mark.parametrize(
    ("uri", "kind"),
    [("a.zip", "zip"), ("a.mar", "zip"), ("a.tgz", "tgz"), ("a.tar.gz", "tgz"), ("a.TAR.Z", "tgz"), ("a.tar", "tar"),
     ("a.gz", "gzip"), ("a.z", "gzip"), ("a.bin", None), ("zip", None), ("a.zip?x=1", "zip")],
)  # fmt: skip
def test_the_end_of_an_address_tells_the_kind_of_archive(uri: str, kind: str | None) -> None:
    assert archive_kind(uri) == kind


def test_a_name_that_is_given_is_kept_and_the_type_that_is_given_wins() -> None:
    file = read_file("net.zip", name="weights.bin", type="file")
    assert (file.name, file.type) == ("weights.bin", "file")
    assert read_file("net.bin", type="dir").type == "dir"


def test_several_archives_may_be_unpacked_into_one_folder() -> None:
    files = {key: {"uri": f"{key}.zip", "name": ""} for key in ("images", "labels")}
    assert [file.name for file in read_artifact(files=files).files] == ["", ""]


@pytest.mark.parametrize(
    ("uri", "url"),
    [
        ("net.bin", "https://models.example/zoo/model/cv/image_classification/com/example/net/net.bin"),
        ("../net.bin", "https://models.example/zoo/model/cv/image_classification/com/example/net.bin"),
        ("/files/net.bin", "https://models.example/files/net.bin"),
        ("//cdn.example/net.bin", "https://cdn.example/net.bin"),
        ("https://cdn.example/net.bin", "https://cdn.example/net.bin"),
        ("http://cdn.example/net.bin", "http://cdn.example/net.bin"),
        ("a b.bin", "https://models.example/zoo/model/cv/image_classification/com/example/net/a b.bin"),
    ],
)
def test_an_address_in_a_remote_document_is_resolved_against_it(uri: str, url: str) -> None:
    assert read_file(uri, REMOTE).url == url


@pytest.mark.parametrize(
    ("uri", "url"),
    [
        ("../net.bin", "file:///srv/zoo/model/cv/image_classification/com/example/net.bin"),
        ("https://cdn.example/net.bin", "https://cdn.example/net.bin"),
        ("package://acme.models/net.bin", "package://acme.models/net.bin"),
    ],
)
def test_an_address_in_a_local_document_may_also_name_a_package(uri: str, url: str) -> None:
    assert read_file(uri, LOCAL).url == url


@pytest.mark.parametrize(
    "uri",
    ["file:///etc/passwd", "FILE:///etc/passwd", " file:///etc/passwd", "package://zoo_core/errors.py", "ftp://cdn.example/net.bin",
     "data:,x", "C:\\net.bin"],
)  # fmt: skip
@pytest.mark.parametrize("field", ["uri", "mirrors"])
def test_a_remote_document_reaches_neither_local_files_nor_packages(uri: str, field: str) -> None:
    with pytest.raises(MetadataError, match=r"expected a relative or http\(s\) address") as caught:
        read_file(uri if field == "uri" else "net.bin", REMOTE, **({"mirrors": [uri]} if field == "mirrors" else {}))
    assert caught.value.field == f"$.artifacts[0].files.parameters.{field}"


@pytest.mark.parametrize("uri", ["file:///etc/passwd", "ftp://cdn.example/net.bin"])
def test_a_local_document_names_its_files_relatively(uri: str) -> None:
    with pytest.raises(MetadataError, match=r"expected a relative or http\(s\) address"):
        read_file(uri, LOCAL)


def test_mirrors_are_further_addresses_resolved_alike() -> None:
    file = read_file("net.bin", REMOTE, mirrors=["https://mirror.example/net.bin", "/net.bin"])
    assert file.mirrors == ("https://mirror.example/net.bin", "https://models.example/net.bin")


@pytest.mark.parametrize("size", [12, "12", "0", 0])
def test_a_size_may_be_text(size: object) -> None:
    assert read_file(size=size).size == int(str(size))


@pytest.mark.parametrize(
    ("field", "given", "expected"),
    [
        ("sha256", "AB" * 32, ("ab" * 32, None, None)),
        ("sha1Hash", "Cd" * 20, (None, "cd" * 20, None)),
        ("sha256Prefix", "0676BA61", (None, None, "0676ba61")),
        ("sha256", "", (None, None, None)),
    ],
)
def test_digests_are_compared_without_case(field: str, given: str, expected: tuple[str | None, ...]) -> None:
    file = read_file(**{field: given})
    assert (file.sha256, file.sha1, file.sha256_prefix) == expected


@pytest.mark.parametrize(
    "name",
    [
        "../net.bin",
        "a/b",
        "a\\b",
        "..",
        ".",
        "",
        "C:net.bin",
        "a\0b",
        "a\nb",
        "\x1b[31m",
        " a",
        "a ",
        "x" * 201,
        "CON",
        "nul.bin",
        "com1.txt",
        "a.",
        "a?b",
        "a|b",
    ],
    ids=repr,
)
def test_a_name_that_is_no_plain_file_name_is_refused(name: str) -> None:
    with pytest.raises(MetadataError, match="expected a plain file name") as caught:
        read_file(name=name)
    assert caught.value.field == "$.artifacts[0].files.parameters.name"


@pytest.mark.parametrize("uri", ["..", "a/..%2f..%2fetc", "a/%2e%2e", "a/", "a%00b", "a%5cb"])
def test_an_address_that_ends_in_no_plain_name_is_refused(uri: str) -> None:
    with pytest.raises(MetadataError, match="expected a plain file name"):
        read_file(uri)


def test_two_files_cannot_be_stored_under_one_name_nor_under_two_that_differ_in_case_only() -> None:
    files = {"parameters": {"uri": "Net.bin"}, "model": {"uri": "other/net.BIN"}}
    with pytest.raises(MetadataError, match=r"\$\.artifacts\[0\]\.files: expected distinct names, found 'Net.bin' twice"):
        read_artifact(files=files)


@pytest.mark.parametrize(
    ("fields", "where", "message"),
    [
        ({"size": 12.5}, "size", "expected a whole number of bytes, found 12.5"),
        ({"size": "12.5"}, "size", "expected a whole number of bytes, found '12.5'"),
        ({"size": "many"}, "size", "expected a whole number of bytes, found 'many'"),
        ({"size": -1}, "size", "expected a whole number of bytes, found -1"),
        ({"size": True}, "size", "got `bool`"),
        ({"sha256": "ab"}, "sha256", "expected 64 hexadecimal digits, found 'ab'"),
        ({"sha256": "g" * 64}, "sha256", "expected 64 hexadecimal digits"),
        ({"sha1Hash": "a" * 64}, "sha1Hash", "expected 40 hexadecimal digits"),
        ({"sha256Prefix": "0676ba6"}, "sha256Prefix", "expected 8 to 64 hexadecimal digits, found '0676ba6'"),
        ({"type": "link"}, "type", "expected dir or file, found 'link'"),
        ({"name": ["a"]}, "name", "got `array`"),
        ({"mirrors": "https://mirror.example/"}, "mirrors", "Expected `array"),
        ({"uri": None}, "uri", "expected an address, found nothing"),
        ({"uri": ""}, "uri", "expected an address, found nothing"),
        ({"uri": "http://[half/net.bin"}, "uri", "expected an address, found"),
    ],
    ids=lambda value: json.dumps(value)[:40] if isinstance(value, dict) else "",
)  # fmt: skip
def test_an_error_in_a_file_names_the_document_the_field_and_what_was_expected(
    fields: dict[str, Any], where: str, message: str
) -> None:
    with pytest.raises(MetadataError) as caught:
        read_file(**fields)
    error = caught.value
    assert (error.url, error.field) == (LOCAL, f"$.artifacts[0].files.parameters.{where}")
    assert str(error).startswith(f"{LOCAL}: {error.field}: ")
    assert message in str(error)


@pytest.mark.parametrize(
    ("content", "field", "message"),
    [
        (b"", "$", "no JSON"),
        (b"{", "$", "no JSON"),
        (b"\xff\xfe", "$", "no JSON"),
        (b"[]", "$", "Expected `object`, got `array`"),
        (b"{}", "$", "missing required field `metadataVersion`"),
        (b'{"metadataVersion": "0.2"}', "$.groupId", "expected text, found nothing"),
        (b'{"metadataVersion": "0.2", "groupId": "g"}', "$.artifactId", "expected text, found nothing"),
        (b'{"metadataVersion": "0.2", "groupId": "", "artifactId": "a"}', "$.groupId", "expected text, found nothing"),
        (b'{"metadataVersion": "0.2", "groupId": ["g"], "artifactId": "a"}', "$.groupId", "got `array`"),
        (b'{"metadataVersion": "0.2", "groupId": "g", "artifactId": "a", "artifacts": {}}', "$.artifacts", "Expected `array"),
        (b'{"metadataVersion": "0.2", "groupId": "g", "artifactId": "a", "artifacts": [3]}', "$.artifacts[0]", "got `int`"),
        (b'{"metadataVersion": "0.2", "groupId": "g", "artifactId": "a", "licenses": []}', "$.licenses", "Expected `object"),
        (raw_artifact('"properties": {"layers": "\\ud800"}'), "$", "no JSON"),
        (raw_artifact('"properties": {"\\udc00": "50"}'), "$", "no JSON"),
        (raw_artifact(f'"properties": {"[" * 5000 + "]" * 5000}'), "$", "lie inside one another"),
        (raw_artifact(f'"arguments": {{"a": {"[" * 5000 + "]" * 5000}}}'), "$", "lie inside one another"),
        (raw_artifact('"engines": "PyTorch"'), "$.artifacts[0].engines", "Expected `array"),
        (raw_artifact('"requires": [1]'), "$.artifacts[0].requires[0]", "Expected `str`"),
        (raw_artifact('"arguments": []'), "$.artifacts[0].arguments", "Expected `object"),
        (raw_artifact('"files": []'), "$.artifacts[0].files", "Expected `object"),
        (raw_artifact('"files": {"model": "net.bin"}'), "$.artifacts[0].files.model", "got `str`"),
        (raw_artifact('"files": {"model": {}}'), "$.artifacts[0].files.model", "missing required field `uri`"),
        (raw_artifact('"version": true'), "$.artifacts[0].version", "got `bool`"),
    ],
    ids=lambda value: ascii(value.decode("latin-1"))[-50:] if isinstance(value, bytes) else "",
)  # fmt: skip
def test_a_malformed_document_is_an_error_with_file_field_and_what_was_expected(
    content: bytes, field: str, message: str
) -> None:
    with pytest.raises(MetadataError) as caught:
        read(content)
    assert (caught.value.url, caught.value.field) == (LOCAL, field)
    assert str(caught.value).startswith(f"{LOCAL}: {field}: ")
    assert message in str(caught.value)


def test_the_second_artifact_is_named_as_the_second() -> None:
    with pytest.raises(MetadataError) as caught:
        read(make.document(make.artifact(), make.artifact(files={"synset": {"uri": "x", "size": -1}})))
    assert caught.value.field == "$.artifacts[1].files.synset.size"


def test_foreign_control_characters_do_not_reach_the_message() -> None:
    with pytest.raises(MetadataError) as caught:
        read_file(name="\x1b]0;owned\x07")
    assert str(caught.value).isprintable()


# engines -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "group", "expected"),
    [
        ({"engines": ["PyTorch", "MXNet"], "arguments": {"engine": "Other"}}, "ai.djl.mxnet", ("PyTorch", "MXNet")),
        ({"arguments": {"engine": "OnnxRuntime"}, "files": {"model": {"uri": "a.pt"}}}, "ai.djl.mxnet", ("OnnxRuntime",)),
        ({"arguments": {"blockFactory": "mxnet.acme"}, "files": {"model": {"uri": "a.pt"}}}, "g", ("MXNet",)),
        ({"arguments": {"blockFactory": "acme-nets:pytorch.net"}}, "g", ("PyTorch",)),
        ({"arguments": {"blockFactory": "resnet_v1"}, "files": {"model": {"uri": "a.pth"}}}, "g", ("PyTorch",)),
        ({"files": {"model": {"uri": "a.pt.gz"}}}, "ai.djl.mxnet", ("PyTorch",)),
        ({"files": {"model": {"uri": "a.pt2"}}}, "g", ("PyTorch",)),
        ({"files": {"symbol": {"uri": "a-symbol.json"}}}, "g", ("MXNet",)),
        ({"files": {"model": {"uri": "a.bin"}, "parameters": {"uri": "a-0000.params"}}}, "g", ("MXNet",)),
        ({"files": {"model": {"uri": "a.zip"}}}, "ai.djl.pytorch", ("PyTorch",)),
        ({"files": {"model": {"uri": "a.zip"}}}, "ai.djl.tensorflow", ("TensorFlow",)),
        ({"files": {"model": {"uri": "a.safetensors"}}}, "com.pytorchology", ()),
        ({"files": {}}, "com.example", ()),
    ],
    ids=[
        "said", "argument", "factory's prefix", "qualified factory", "factory without prefix", "suffix before group", "pt2",
        "symbol", "a later file", "group", "another engine's group", "part of a word", "nothing tells",
    ],
)  # fmt: skip
def test_engines_are_those_it_says_else_argument_factory_files_and_publisher_tell(
    fields: dict[str, Any], group: str, expected: tuple[str, ...]
) -> None:
    content = make.document(make.artifact(**fields), group_id=group, application=None)
    metadata = read(content, f"file:///srv/model/{group.replace('.', '/')}/net/metadata.json")
    assert metadata.artifacts[0].engines == expected


def test_what_a_load_needs_is_kept_as_it_stands() -> None:
    assert read_artifact(requires=["zoo-pytorch>=0.1"]).requires == ("zoo-pytorch>=0.1",)


def test_a_document_is_frozen_and_hashable() -> None:
    metadata = read(TINYNET)
    with pytest.raises(AttributeError):
        metadata.name = "other"  # type: ignore[misc]
    assert hash(metadata) == hash(read(TINYNET))


# what must not stop the reading of others ----------------------------------------------------------------------------


def mangled(splinter: bytes, place: int) -> bytes:
    """A good document with some bytes put into it."""
    content = json.dumps(make.document(make.artifact(properties={"a": "b"}))).encode()
    return content[:place] + splinter + content[place + len(splinter) :]


@given(content=st.one_of(st.binary(max_size=200), st.builds(mangled, st.binary(max_size=8), st.integers(0, 400))))
def test_any_bytes_are_a_document_or_a_metadata_error(content: bytes) -> None:
    with suppress(MetadataError):
        Metadata.from_json(content, "https://models.example/model/cv/com/example/net/metadata.json")


@pytest.mark.parametrize(
    ("artifact", "field"),
    [
        ({"version": "9" * 5000}, "version"),
        ({"requires": ["$(touch /tmp/x)"]}, "requires"),
        ({"engines": ["$(x)"]}, "engines"),
        ({"files": {"model": {"uri": "a.bin", "size": "9" * 400}}}, "files.model.size"),
    ],
)
def test_what_would_harm_later_is_refused_with_its_field(artifact: dict[str, object], field: str) -> None:
    content = json.dumps(make.document(artifact)).encode()
    with pytest.raises(MetadataError) as caught:
        Metadata.from_json(content, "https://models.example/metadata.json")
    assert caught.value.field == f"$.artifacts[0].{field}"


def test_properties_that_are_no_utf8_are_refused() -> None:
    content = json.dumps(make.document({"properties": {"a": "X"}})).encode().replace(b'"X"', b'"\xff"')
    with pytest.raises(MetadataError, match="no JSON"):
        Metadata.from_json(content, "https://models.example/metadata.json")


def nested(levels: int) -> object:
    value: object = 1
    for number in range(levels):
        value = [value] if number % 2 else {"a": value}
    return value


@pytest.mark.parametrize(
    ("content", "field", "message"),
    [
        (make.document(make.artifact(), description="x" * (16 << 20)), "$", "expected at most 16.8 MB"),
        (make.document(*[{}] * 10_001), "$.artifacts", "expected at most 10000 entries, found 10001"),
        (
            make.document(make.artifact(files={f"{number}": {"uri": f"{number}"} for number in range(10_001)})),
            "$.artifacts[0].files",
            "expected at most 10000 entries, found 10001",
        ),
        (
            make.document(make.artifact(arguments={"a": nested(32)})),
            "$.artifacts[0].arguments",
            "expected at most 32 objects or arrays inside one another",
        ),
    ],
    ids=["bytes", "artifacts", "files", "depth"],
)
def test_what_is_too_much_is_refused_with_its_file_and_field(content: dict[str, Any], field: str, message: str) -> None:
    with pytest.raises(MetadataError) as caught:
        read(content)
    assert caught.value.field == field
    assert str(caught.value) == f"{LOCAL}: {field}: {message}"


def test_arguments_may_be_nested_as_deep_as_that() -> None:
    assert read_artifact(arguments={"a": nested(30)}).arguments["a"] == nested(30)
