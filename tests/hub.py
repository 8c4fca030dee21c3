"""A server on this machine that speaks as much of the Hugging Face hub's protocol as its library asks for.

The large files are on a second server, to which the first redirects, as the hub does with its content delivery network.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.web import Answer, Site, serving

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Hub:
    """Both servers.

    Attributes:
        site: What ``HF_ENDPOINT`` names.
        network: Where large files are.
        environment: What a process needs to ask it.
    """

    site: Site
    network: Site
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def paths(self) -> list[str]:
        """What the hub itself was asked for."""
        return [path.replace("=True", "=true") for path in self.site.paths]

    def publish(
        self, name: str, files: dict[str, bytes], *, commit: str = COMMIT, revision: str | None = None, **said: Any
    ) -> None:
        """Put a model there; what ends in ``.safetensors`` is kept by LFS, all else by git."""
        siblings = [_sibling(path, content) for path, content in files.items()]
        info = {"id": name, "modelId": name, "sha": commit, "siblings": siblings, "tags": [], "private": False, **said}
        asked = f"/api/models/{name}" + (f"/revision/{revision}" if revision else "")
        self._answer(asked, Answer(json.dumps(info).encode()))
        for path, content in files.items():
            here = f"/{name}/resolve/{commit}/{path}"
            if path.endswith(".safetensors"):
                there = f"objects/{hashlib.sha256(content).hexdigest()}"
                self.network.pages[f"/{there}"] = content
                self.site.pages[here] = Answer(status=302, headers={"Location": f"{self.network.url}{there}"})
            else:
                self.site.pages[here] = content

    def refuse(self, asked: str, status: int, code: str) -> None:
        """Answer a question for a model as the hub does where it cannot be had."""
        headers = {"X-Error-Code": code, "X-Error-Message": "said by the hub"}
        self._answer(f"/api/models/{asked}", Answer(b"{}", status, headers))

    def _answer(self, asked: str, answer: Answer) -> None:
        # Releases of the library before 1.0 write the word as Python does.
        for word in ("true", "True"):
            self.site.pages[f"{asked}?blobs={word}"] = answer


def _sibling(path: str, content: bytes) -> dict[str, Any]:
    # Source: Git's object format.
    blob = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
    said: dict[str, Any] = {"rfilename": path, "size": len(content), "blobId": blob}
    if path.endswith(".safetensors"):
        said["lfs"] = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest(), "pointerSize": 130}
    return said


@contextmanager
def running() -> Iterator[Hub]:
    """Run both servers while the block runs."""
    with serving() as site, serving() as network:
        environment = {"HF_ENDPOINT": site.url.rstrip("/"), "HF_HUB_DISABLE_TELEMETRY": "1"}
        yield Hub(site, network, environment)
