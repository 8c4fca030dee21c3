"""The verbs of `ModelZoo` as functions, on the zoo that is installed and configured when they are called."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from zoo_core.zoo import ModelZoo, What

if TYPE_CHECKING:
    from zoo_core.block import BlockFactory
    from zoo_core.description import ModelInfo
    from zoo_core.downloads import Progress
    from zoo_core.model import Model
    from zoo_core.plugin import PluginRecord
    from zoo_core.record import ModelRecord
    from zoo_core.repository.base import Repository
    from zoo_core.selection import Explanation

Place = str | Path


def search(
    what: What = None, /, *, text: str | None = None, model_urls: Sequence[Place] = (), **fields: Any
) -> list[ModelRecord]:
    """The artifacts that match; see `ModelZoo.search`."""
    return ModelZoo().search(what, text=text, model_urls=model_urls, **fields)


def explain(what: What = None, /, *, model_urls: Sequence[Place] = (), **fields: Any) -> Explanation:
    """Which artifacts a load could take, and why each other one is refused; see `ModelZoo.explain`."""
    return ModelZoo().explain(what, model_urls=model_urls, **fields)


def info(
    what: What = None,
    /,
    *,
    model_path: str | os.PathLike[str] | bytes | BinaryIO | None = None,
    model_urls: Sequence[Place] = (),
    **fields: Any,
) -> ModelInfo:
    """What a model or a file is, costs and would run; see `ModelZoo.info`."""
    return ModelZoo().info(what, model_path=model_path, model_urls=model_urls, **fields)


def download(
    what: What = None,
    /,
    *,
    model_urls: Sequence[Place] = (),
    to: str | os.PathLike[str] | None = None,
    progress: Progress | bool | None = None,
    **fields: Any,
) -> Path:
    """One folder with all files of an artifact; see `ModelZoo.download`."""
    return ModelZoo().download(what, model_urls=model_urls, to=to, progress=progress, **fields)


def load_model(
    what: What = None,
    /,
    *,
    model_path: str | os.PathLike[str] | bytes | BinaryIO | None = None,
    model_urls: Sequence[Place] = (),
    **keywords: Any,
) -> Model:
    """Find, download, verify and load a model; see `ModelZoo.load_model`."""
    return ModelZoo().load_model(what, model_path=model_path, model_urls=model_urls, **keywords)


def plugins() -> list[PluginRecord]:
    """Every registered name with its state; see `ModelZoo.plugins`."""
    return ModelZoo().plugins()


def block_factory(name: str, *, engine: str | None = None, **fields: Any) -> BlockFactory:
    """A factory by its registered name; see `ModelZoo.block_factory`."""
    return ModelZoo().block_factory(name, engine=engine, **fields)


def open_repository(url: Place) -> Repository:
    """A repository by its URL or folder; see `ModelZoo.open_repository`."""
    return ModelZoo().open_repository(url)
