"""A model repository of the Hugging Face hub, at one commit: a tree of documents, or the safetensors file of one model.

Source: the hub's HTTP interface as huggingface_hub uses it, and what it says of files kept by Git LFS and by git itself.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import json
import os
import re
import time
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any
from urllib.parse import quote, unquote

import msgspec

from zoo_core.__about__ import __version__
from zoo_core.credentials import origin
from zoo_core.errors import IntegrityError, OfflineError, PackageNotInstalledError, RepositoryError, ZooError
from zoo_core.metadata import DOCUMENT_NAME, MAX_DOCUMENT, TYPES, Metadata
from zoo_core.repository.base import Entry, Listing
from zoo_core.repository.http import INDEX_NAME, INDEX_NAMES
from zoo_core.repository.kinds import HUB
from zoo_core.repository.listed import ListedRepository, ReadAhead, fetched, index_listing, parts_of, plain, put, spool
from zoo_core.requirements import install_line
from zoo_core.stopping import Stop, at_once
from zoo_core.transfer import CHUNK, PASSING, Body, Transfer
from zoo_core.wording import listing, printable, shown_url

EXTRA = "zoo-core[huggingface]"
_PUBLIC = "https://huggingface.co"
#: Source: the hub's rules for names, as huggingface_hub checks them.
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(?:/[A-Za-z0-9][\w.-]*)?", re.ASCII)
#: Documents that are read one by one.
MAX_DOCUMENTS = 1000
_CONNECTIONS = 8
_WAIT_S = 10.0
#: A file of one name or with an index is preferred, as the hub's own libraries do it.
_WHOLE, _SHARDS = "model.safetensors", "model.safetensors.index.json"
_SHARD = re.compile(r"model-\d+-of-\d+\.safetensors", re.ASCII)
_CONFIG = "config.json"
#: Bytes of a file kept by git itself; the hub wants larger ones in LFS.
_MAX_PLAIN = 16 << 20
#: The hub's word for a task -> ours.
_TASKS = {
    "feature-extraction": "nlp/text_embedding",
    "fill-mask": "nlp/fill_mask",
    "image-classification": "cv/image_classification",
    "image-segmentation": "cv/semantic_segmentation",
    "image-to-image": "cv/image_enhancement",
    "keypoint-detection": "cv/pose_estimation",
    "mask-generation": "cv/mask_generation",
    "multiple-choice": "nlp/multiple_choice",
    "object-detection": "cv/object_detection",
    "question-answering": "nlp/question_answer",
    "sentence-similarity": "nlp/text_embedding",
    "text-classification": "nlp/text_classification",
    "text-generation": "nlp/text_generation",
    "text-to-image": "cv/image_generation",
    "token-classification": "nlp/token_classification",
    "translation": "nlp/machine_translation",
    "video-classification": "cv/action_recognition",
    "zero-shot-classification": "nlp/zero_shot_classification",
    "zero-shot-image-classification": "cv/zero_shot_image_classification",
    "zero-shot-object-detection": "cv/zero_shot_object_detection",
}


class HubRepository(ListedRepository):
    """``hf://owner/name`` or ``hf://owner/name@revision``.

    What is listed is pinned to the commit that the revision is then, and so is what is downloaded. A tree of documents is read
    as in any repository. Any other model becomes one document, ``hf.owner``/``name``, whose version is the commit and whose
    files have the digests that the hub has of them.

    Args:
        url: The address.
        transfer: Fetches files; says whether the network is forbidden.
        max_index_size: Bytes that its index may have.

    Raises:
        RepositoryError: The address names no model of a hub.
        PackageNotInstalledError: huggingface_hub is not installed.
    """

    def __init__(self, url: str, *, transfer: Transfer, max_index_size: int | None = None) -> None:
        self._name, self._revision = _parsed(url)
        if importlib.util.find_spec("huggingface_hub") is None:
            raise PackageNotInstalledError(f"{shown_url(url)} is read by huggingface_hub: {install_line([EXTRA])}", [EXTRA])
        own = msgspec.structs.replace(
            transfer,
            is_offline=lambda: transfer.is_offline() or _is_offline(),
            # The user's token goes to the hub and nowhere else.
            authorise=lambda to, headers: _signed(to, transfer.authorise(to, headers)),
        )
        super().__init__(url, transfer=own, max_index_size=max_index_size)

    def decoded(self, path: str, content: bytes) -> Metadata:
        """A document, whose files are those of the commit that it was listed at."""
        commit, _, document = content.partition(b"\n")
        return Metadata.from_json(document, _address(self._name, commit.decode("ascii", "replace"), path), path=path)

    def fingerprint(self) -> str:
        """The commit."""
        return str(self._found().sha)

    def listing(self, known: Mapping[str, str] | None = None) -> Listing | None:
        """What the commit holds that the revision is now; one request tells where it is the known one."""
        found = self._found()
        state = {"commit": str(found.sha)}
        if known is not None and known.get("commit") == state["commit"]:
            return None
        return _Commit(self.url, self._name, found, self._transfer).listing(state, self._max_index_size)

    def _found(self) -> Any:
        """The hub's ``ModelInfo`` of the revision, with what is known of its files."""
        failures, retry = 0, self._transfer.retry
        while True:
            try:
                return self._asked()
            except RepositoryError as error:
                failures += 1
                if failures > retry.retries or not _may_pass(error):
                    raise
            time.sleep(retry.wait(failures))

    def _asked(self) -> Any:
        if self._transfer.is_offline():
            raise OfflineError(
                f"offline: {shown_url(self.url)} is not on this machine and offline mode forbids the network", self.url
            )
        with self._explained():
            from huggingface_hub import HfApi

            found = HfApi(endpoint=_endpoint(), library_name="zoo-core", library_version=__version__).model_info(
                self._name, revision=self._revision, files_metadata=True, timeout=min(_WAIT_S, 2 * self._transfer.connect_s)
            )
        if not re.fullmatch(r"[0-9a-f]{40,64}", str(found.sha)):
            raise RepositoryError(f"{shown_url(self.url)}: the hub names no commit", self.url)
        return found

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """What huggingface_hub raises, in one line of ours."""
        from huggingface_hub import errors

        where, page = shown_url(self.url), f"{_endpoint()}/{self._name}"
        try:
            yield
        except errors.GatedRepoError as error:
            raise self._failure(f"{where}: its owner asks for consent: give it at {page}, and set HF_TOKEN", error) from error
        except errors.RevisionNotFoundError as error:
            raise self._failure(f"{where}: there is no revision {printable(self._revision or 'main')}", error) from error
        except errors.RepositoryNotFoundError as error:
            message = f"{where}: the hub has no such model, or none that may be read without the right HF_TOKEN"
            raise self._failure(message, error) from error
        except errors.OfflineModeIsEnabled as error:
            raise OfflineError(f"offline: {where}: HF_HUB_OFFLINE forbids the network", self.url) from error
        except ZooError:
            raise
        # Its own, those of the HTTP library below it, and what a server's odd answer makes of it.
        except Exception as error:
            raise self._failure(f"{where}: {_reason(error)}", error) from error

    def _failure(self, message: str, error: Exception) -> RepositoryError:
        return RepositoryError(message, self.url, getattr(getattr(error, "response", None), "status_code", None))


class _Commit:
    """What one commit holds.

    Args:
        found: The hub's ``ModelInfo`` with the metadata of its files.
    """

    def __init__(self, url: str, name: str, found: Any, transfer: Transfer) -> None:
        self._url, self._name, self._commit, self._found, self._transfer = url, name, str(found.sha), found, transfer
        self._files: dict[str, Any] = {item.rfilename: item for item in found.siblings or ()}
        self._read: dict[str, bytes] = {}

    def listing(self, state: Mapping[str, str], max_index_size: int) -> Listing:
        """All documents."""
        paths = sorted(
            path for path in self._files if path.partition("/")[0] in TYPES and path.rpartition("/")[2] == DOCUMENT_NAME
        )
        index = next((name for name in reversed(INDEX_NAMES) if name in self._files), None)
        if paths and index is not None:
            return self._index(index, state, max_index_size)
        if len(paths) > MAX_DOCUMENTS:
            raise RepositoryError(
                f"{shown_url(self._url)}: {len(paths)} documents and no {INDEX_NAME}: its owner runs `zoo index`", self._url
            )
        return Listing(self._trees(paths) if paths else self._alone(), state)

    def _index(self, path: str, state: Mapping[str, str], max_size: int) -> Listing:
        """The documents of an index, of which no more than one is in memory."""
        url = _address(self._name, self._commit, path)
        with ExitStack() as stack:
            file = spool(stack)
            with self._transfer.open(url) as response:
                body = Body(response, url, 0, None, self._transfer)
                parts = parts_of(body, url)
                put(plain(parts, url) if body.encoding else parts, file, url, max_size)
            size = file.tell()
            file.seek(0)
            self._check(path, iter(functools.partial(file.read, CHUNK), b""), size)
            return index_listing(file, url, state, stack.pop_all(), max_size=max_size, made=self._kept)

    def _trees(self, paths: Sequence[str]) -> Generator[Entry]:
        ahead = ReadAhead(paths, self._documents)
        for number, path in enumerate(paths):
            yield Entry(path, self._commit.encode(), functools.partial(ahead.read, number))

    def _documents(self, paths: Sequence[str]) -> list[bytes | RepositoryError]:
        return at_once([functools.partial(self._document, path) for path in paths], Stop(), _CONNECTIONS)

    def _document(self, path: str) -> bytes | RepositoryError:
        try:
            return self._kept(self._content(path, MAX_DOCUMENT))
        except OfflineError:
            raise
        except RepositoryError as error:
            return error
        except IntegrityError as error:
            return RepositoryError(str(error), error.url)

    def _kept(self, document: bytes) -> bytes:
        """A document with its commit, which is a part of its address."""
        return self._commit.encode() + b"\n" + document

    # A model that is no tree of ours.

    def _alone(self) -> Generator[Entry]:
        """The document that such a model would have."""
        # Now, and not when it is wanted: without one there is no listing.
        path, content = self._model()
        return (Entry(path, hashlib.sha256(item).digest(), functools.partial(bytes, item)) for item in [content])

    def _model(self) -> tuple[str, bytes]:
        owner, _, short = self._name.rpartition("/")
        group, task = (f"hf.{owner}" if owner else "hf"), _TASKS.get(str(self._found.pipeline_tag), "")
        main, *parts = self._weights()
        config = self._config()
        folders = [*(task.split("/") if task else []), *group.split("."), short]
        path = "/".join(["model", *folders, DOCUMENT_NAME])
        up = "../" * path.count("/")
        names = {"parameters": main, **{part: part for part in parts}, **({"config": _CONFIG} if config is not None else {})}
        document = {
            "metadataVersion": "0.2",
            "resourceType": "model",
            "application": task or None,
            "groupId": group,
            "artifactId": short,
            "name": short,
            "website": f"{_endpoint()}/{self._name}",
            "licenses": self._licenses(),
            "artifacts": [
                {
                    "version": self._commit,
                    "properties": self._properties(config or {}),
                    "files": {key: self._item(name, up) for key, name in names.items()},
                }
            ],
        }
        return path, self._kept(json.dumps(document).encode())

    def _weights(self) -> list[str]:
        """The file with the parameters, or the index of several and these."""
        here = sorted(name for name in self._files if name.endswith(".safetensors") and "/" not in name)
        shards = [name for name in here if _SHARD.fullmatch(name)]
        if _SHARDS in self._files and shards:
            return [_SHARDS, *shards]
        if _WHOLE in here:
            return [_WHOLE]
        if len(here) == 1:
            return here
        what = f"several safetensors files, and none is {_WHOLE}: {listing(here)}" if here else "no safetensors file"
        raise RepositoryError(
            f"{shown_url(self._url)}: it holds neither a tree with model/.../{DOCUMENT_NAME} nor one model: {what}", self._url
        )

    def _item(self, name: str, up: str) -> dict[str, Any]:
        """A file with its full digest: LFS has that; what git keeps is read and checked against git's own."""
        known = self._files[name]
        sha256 = known.lfs.sha256 if known.lfs else hashlib.sha256(self._small(name)).hexdigest()
        return {"uri": up + quote(name), "size": known.lfs.size if known.lfs else known.size, "sha256": sha256}

    def _config(self) -> Mapping[str, Any] | None:
        if _CONFIG not in self._files:
            return None
        try:
            found = json.loads(self._small(_CONFIG))
        except (ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}

    def _properties(self, config: Mapping[str, Any]) -> dict[str, str]:
        said = {"library": self._found.library_name, "model_type": config.get("model_type")}
        return {key: value for key, value in said.items() if isinstance(value, str)}

    def _licenses(self) -> dict[str, Any]:
        card = self._found.card_data
        name = card.get("license") if card is not None else None
        return {name: {"name": name}} if isinstance(name, str) else {}

    # Its bytes.

    def _small(self, path: str) -> bytes:
        """The bytes of a file that is kept by git itself, which several may ask for."""
        if path not in self._read:
            self._read[path] = self._content(path, _MAX_PLAIN)
        return self._read[path]

    def _content(self, path: str, limit: int) -> bytes:
        """The bytes of a file, which are those that the commit names.

        Raises:
            RepositoryError: They cannot be had, or are more than the limit.
            IntegrityError: They are others.
        """
        content = fetched(self._transfer, _address(self._name, self._commit, path), limit)
        self._check(path, [content], len(content))
        return content

    def _check(self, path: str, parts: Iterable[bytes], size: int) -> None:
        """Compare what came with what the commit names."""
        known, url = self._files[path], _address(self._name, self._commit, path)
        # Source: Git's object format; the hub gives the id as ``blob_id``.
        digest = hashlib.sha256() if known.lfs else hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
        for part in parts:
            digest.update(part)
        kind, promised = ("sha256", known.lfs.sha256) if known.lfs else ("git", known.blob_id)
        expected, found = f"{kind}:{promised}", f"{kind}:{digest.hexdigest()}"
        if expected != found:
            raise IntegrityError(f"{shown_url(url)}: expected {expected}, got {found}", expected=expected, found=found, url=url)


def _address(name: str, commit: str, path: str) -> str:
    return f"{_endpoint()}/{name}/resolve/{commit}/{quote(path)}"


def _parsed(url: str) -> tuple[str, str | None]:
    """The name and the revision, which may have slashes."""
    name, _, revision = url.removeprefix(f"{HUB}://").rstrip("/").partition("@")
    if not _NAME.fullmatch(name) or "--" in name or ".." in name or url.rstrip("/").endswith("@"):
        raise RepositoryError(f"{shown_url(url)}: expected hf://owner/name or hf://owner/name@revision", url)
    return name, unquote(revision) or None


def _endpoint() -> str:
    return os.environ.get("HF_ENDPOINT", "").strip().rstrip("/") or _PUBLIC


def _is_offline() -> bool:
    """Whether the hub's own library is told to be offline, which that reads once, at its import."""
    return any(_is_true(name) for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"))


def _is_true(variable: str) -> bool:
    return os.environ.get(variable, "").strip().upper() in ("1", "ON", "YES", "TRUE")


def _signed(url: str, headers: Mapping[str, str]) -> Mapping[str, str]:
    """Headers with the user's token, for the hub itself; a transfer leaves it behind where a redirect leads elsewhere."""
    is_signed = any(name.lower() == "authorization" for name in headers)
    if is_signed or origin(url) != origin(_endpoint()) or _is_true("HF_HUB_DISABLE_IMPLICIT_TOKEN"):
        return headers
    from huggingface_hub import get_token

    token = get_token()
    return {**headers, "Authorization": f"Bearer {token}"} if token else headers


def _may_pass(error: RepositoryError) -> bool:
    """Whether it may help to ask again: the hub is in trouble, or could not be reached."""
    # The library below changes with huggingface_hub's releases, and with it the classes of its errors.
    kinds = {kind.__name__ for kind in type(error.__cause__).__mro__}
    return error.status in PASSING or bool(kinds & {"TransportError", "ConnectionError", "Timeout"})


def _reason(error: BaseException) -> str:
    """What was said first: further lines have numbers of requests and pieces of advice."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return shown_url(lines[0])[:300]
