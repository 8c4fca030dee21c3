"""A repository on the web whose models are locked on one machine and fetched on another."""

from __future__ import annotations

import json
import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests import repositories as make
from tests.faulty_server import FaultySite, faulty

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.commands import Commands, Done

OLD, NEW = b"the parameters of version 1.0", b"those of version 2.0, which are others"
FOLDER = "model/cv/image_classification/com/example/net"
INDEX = "/zoo/index.json"


@contextmanager
def published() -> Iterator[FaultySite]:
    """A repository that has published version 1.0 of a model."""
    with faulty() as site:
        publish(site, {"1.0": OLD})
        yield site


def publish(site: FaultySite, versions: Mapping[str, bytes], **fields: Any) -> None:
    """Serve versions of the model ``net``; a field that is None is left out of their files' items."""
    artifacts = []
    for version, content in versions.items():
        site.contents[f"/zoo/{FOLDER}/net-{version}.bin"] = content
        item = make.item(f"net-{version}.bin", content, **fields)
        artifacts.append(make.artifact(version, files={"parameters": {k: v for k, v in item.items() if v is not None}}))
    write_index(site, [make.document(*artifacts)])


def write_index(site: FaultySite, documents: list[Any]) -> None:
    entries = [{"path": f"{make.location(item)}/metadata.json", "sha256": "", "metadata": item} for item in documents]
    site.contents[INDEX] = json.dumps({"indexVersion": 1, "documents": entries}).encode()


def repository(site: FaultySite) -> str:
    return f"{site.url}zoo/"


def locked(here: Commands, site: FaultySite, *arguments: object) -> Path:
    """A lock that was made on the first machine."""
    done = here.zoo("lock", "net", "--repository", repository(site), *arguments)
    assert done.status == 0, done.err
    return here.cwd / "zoo.lock"


def taken(lock: Path, there: Commands) -> Path:
    """The lock on the other machine."""
    there.cwd.mkdir(parents=True, exist_ok=True)
    return Path(shutil.copy(lock, there.cwd / "zoo.lock"))


def only_file(done: Done) -> bytes:
    """The content of the one file in the folder that a download printed."""
    (path,) = Path(done.out.strip()).iterdir()
    return path.read_bytes()
