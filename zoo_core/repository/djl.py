"""What can be read of a repository without an index, such as DJL's own: listings of imported models, and a model's own folder.

A listing has names without documents: ``model/<application>/<group id, dots as slashes>/models.json.gz``,
``{"<artifact id>": {"result": "success", "sha1": ...}}``.
Source: Deep Java Library, ``ModelZoo.listModels``, ``HfModelZoo`` and the importer that writes them.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
import zlib
from collections.abc import Generator, Mapping, Sequence
from urllib.parse import urljoin

import msgspec

from zoo_core.errors import MetadataError, RepositoryError
from zoo_core.metadata import DOCUMENT_NAME, MAX_DOCUMENT, TYPES
from zoo_core.repository.base import Entry, Listing
from zoo_core.repository.listed import fetched_if_changed, joined, plain
from zoo_core.stopping import Stop, at_once
from zoo_core.transfer import Transfer
from zoo_core.wording import shown_url

NAME = "models.json.gz"
#: Bytes of a listing, unpacked; one of five thousand models has one million.
MAX_LISTING = 64 << 20
#: The version that all of them have, as DJL's own code has it: no listing says it.
VERSION = "0.0.1"
_CONNECTIONS = 8
_DIGEST = "sha256:"
#: A store that hides what it has answers 403.
_ABSENT = (403, 404, 410)
#: An address in a repository, where a model may have its folder.
_MODEL_FOLDER = re.compile(rf"/(?:{'|'.join(TYPES)})/[^?#]+/[^?#]+/$")
_GZIP_MAGIC = b"\x1f\x8b"
_LANGUAGE = (
    "fill_mask",
    "question_answer",
    "text_classification",
    "text_embedding",
    "token_classification",
    "zero_shot_classification",
)
_PICTURES = ("zero_shot_image_classification", "zero_shot_object_detection")
#: Group id -> the engine of its models, and the applications of which there is a listing.
GROUPS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "ai.djl.huggingface.pytorch": ("PyTorch", (*(f"cv/{name}" for name in _PICTURES), *(f"nlp/{name}" for name in _LANGUAGE))),
    "ai.djl.huggingface.onnxruntime": ("OnnxRuntime", tuple(f"nlp/{name}" for name in _LANGUAGE)),
    "ai.djl.huggingface.rust": ("Rust", ("nlp/text_classification", "nlp/text_embedding")),
}


class _Model(msgspec.Struct):
    """What a listing says of a model.

    Attributes:
        sha1: The commit that it was imported from.
    """

    result: str = ""
    sha1: str = ""


class _Place(msgspec.Struct, frozen=True):
    """Where a listing would be, and what its models have in common."""

    group_id: str
    engine: str
    application: str

    @property
    def folder(self) -> str:
        """Its path below the repository's root."""
        return "/".join(["model", self.application, *self.group_id.split("."), ""])


_PLACES = [_Place(group, engine, task) for group, (engine, tasks) in GROUPS.items() for task in tasks]


def listing_of(root: str, transfer: Transfer, known: Mapping[str, str]) -> Listing | None:
    """What an address without an index holds; None where that is what is known.

    Args:
        root: A slash at its end.
        known: The state of what is known.

    Raises:
        RepositoryError: It holds nothing (the status is 404), or cannot be read.
        MetadataError: A listing is malformed.
    """
    if _MODEL_FOLDER.search(root):
        try:
            return _document_in(root, transfer, known)
        except RepositoryError as error:
            if error.status not in _ABSENT:
                raise
    return _imported(root, transfer, known)


def _document_in(root: str, transfer: Transfer, known: Mapping[str, str]) -> Listing | None:
    """The one document of a model's own folder."""
    content, etag = fetched_if_changed(transfer, urljoin(root, DOCUMENT_NAME), MAX_DOCUMENT, known.get(DOCUMENT_NAME, ""))
    if content is None:
        return None
    stamp = hashlib.sha256(content).digest()
    return Listing((Entry(DOCUMENT_NAME, stamp, functools.partial(bytes, item)) for item in [content]), {DOCUMENT_NAME: etag})


def _imported(root: str, transfer: Transfer, known: Mapping[str, str]) -> Listing | None:
    """What the listings of a repository name."""
    answers = _asked(root, _PLACES, transfer, known)
    if not answers:
        raise RepositoryError(f"{shown_url(root)} has no {NAME} either", root, 404)
    state = {place.folder: tag for place, (_, tag) in answers.items()}
    if state == dict(known):
        return None
    # Where one has changed, all are wanted.
    answers |= _asked(root, [place for place, (content, _) in answers.items() if content is None], transfer, {})
    models = [(place, _decoded(content or b"", root, place)) for place, (content, _) in answers.items()]
    return Listing(_entries(models), {place.folder: tag for place, (_, tag) in answers.items()})


def _asked(
    root: str, places: Sequence[_Place], transfer: Transfer, known: Mapping[str, str]
) -> dict[_Place, tuple[bytes | None, str]]:
    """The listings that there are at some places, each with what names its state; None for what is known already."""
    tasks = [functools.partial(_content, root, place, transfer, known.get(place.folder, "")) for place in places]
    found = at_once(tasks, Stop(), _CONNECTIONS)
    return {place: answer for place, answer in zip(places, found, strict=True) if answer is not None}


def _content(root: str, place: _Place, transfer: Transfer, known: str) -> tuple[bytes | None, str] | None:
    """A listing; None where there is none."""
    url = urljoin(root, place.folder + NAME)
    try:
        # A digest stands for the tag of a server that gives none.
        content, etag = fetched_if_changed(transfer, url, MAX_LISTING, "" if known.startswith(_DIGEST) else known)
    except RepositoryError as error:
        if error.status in _ABSENT:
            return None
        raise
    if content is None:
        return None, etag
    listing = joined(plain([content], url), url, MAX_LISTING) if content.startswith(_GZIP_MAGIC) else content
    return listing, etag or _DIGEST + hashlib.sha256(content).hexdigest()


def _decoded(content: bytes, root: str, place: _Place) -> dict[str, _Model]:
    url = urljoin(root, place.folder + NAME)
    try:
        return msgspec.json.decode(content, type=dict[str, _Model])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MetadataError(f"{shown_url(url)}: no listing of models: {error}", url=url, field="$") from error


def _entries(listings: list[tuple[_Place, dict[str, _Model]]]) -> Generator[Entry]:
    for place, models in listings:
        for artifact_id, model in models.items():
            # Among them are those that could not be imported, and of which there is no document.
            if model.result != "failed" and all(part not in ("", ".", "..") for part in artifact_id.split("/")):
                content = _document(place, artifact_id, model)
                path = f"{place.folder}{artifact_id}/{DOCUMENT_NAME}"
                yield Entry(path, zlib.crc32(content).to_bytes(4), functools.partial(bytes, content))


def _document(place: _Place, artifact_id: str, model: _Model) -> bytes:
    """What is known of a document that has not been read."""
    name = artifact_id.rpartition("/")[2]
    document = {
        "metadataVersion": "0.2",
        "resourceType": "model",
        "application": place.application,
        "groupId": place.group_id,
        "artifactId": artifact_id,
        "name": name,
        "listedAs": model.sha1 or "once",
        "artifacts": [{"version": VERSION, "name": name, "engines": [place.engine], "files": {}}],
    }
    return json.dumps(document).encode()
