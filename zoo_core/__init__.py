"""A model zoo assembled from packages: describe, find, download, verify, cache and load models of any engine.

    import zoo_core as zoo

    with zoo.load_model("efficientnet_lite0") as model, model.new_predictor() as predictor:
        print(predictor.predict("cat.jpg").top(3))

The functions use what is installed and configured when they are called; a `ModelZoo` can be made of explicit parts.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from zoo_core.__about__ import __version__ as __version__

if TYPE_CHECKING:
    from zoo_core.artifact import MRL as MRL
    from zoo_core.artifact import Artifact as Artifact
    from zoo_core.artifact import ArtifactFile as ArtifactFile
    from zoo_core.artifact import License as License
    from zoo_core.block import BlockFactory as BlockFactory
    from zoo_core.block import factory_of as factory_of
    from zoo_core.criteria import Criteria as Criteria
    from zoo_core.default import block_factory as block_factory
    from zoo_core.default import download as download
    from zoo_core.default import explain as explain
    from zoo_core.default import info as info
    from zoo_core.default import load_model as load_model
    from zoo_core.default import open_repository as open_repository
    from zoo_core.default import plugins as plugins
    from zoo_core.default import search as search
    from zoo_core.description import ModelInfo as ModelInfo
    from zoo_core.device import Device as Device
    from zoo_core.engine import Engine as Engine
    from zoo_core.engine import LoadReport as LoadReport
    from zoo_core.errors import AmbiguousModelError as AmbiguousModelError
    from zoo_core.errors import AmbiguousPluginError as AmbiguousPluginError
    from zoo_core.errors import CacheError as CacheError
    from zoo_core.errors import CriteriaError as CriteriaError
    from zoo_core.errors import EngineNotInstalledError as EngineNotInstalledError
    from zoo_core.errors import InputError as InputError
    from zoo_core.errors import IntegrityError as IntegrityError
    from zoo_core.errors import MetadataError as MetadataError
    from zoo_core.errors import ModelNotFoundError as ModelNotFoundError
    from zoo_core.errors import OfflineError as OfflineError
    from zoo_core.errors import PackageNotInstalledError as PackageNotInstalledError
    from zoo_core.errors import ParameterError as ParameterError
    from zoo_core.errors import PluginError as PluginError
    from zoo_core.errors import RepositoryError as RepositoryError
    from zoo_core.errors import UnsafeArchiveError as UnsafeArchiveError
    from zoo_core.errors import UntrustedCodeError as UntrustedCodeError
    from zoo_core.errors import ZooError as ZooError
    from zoo_core.errors import ZooWarning as ZooWarning
    from zoo_core.golden import Check as Check
    from zoo_core.golden import OutputCheck as OutputCheck
    from zoo_core.hookspecs import hookimpl as hookimpl
    from zoo_core.hookspecs import hookspec as hookspec
    from zoo_core.loader import ModelLoader as ModelLoader
    from zoo_core.metadata import Metadata as Metadata
    from zoo_core.model import Model as Model
    from zoo_core.model import Predictor as Predictor
    from zoo_core.model import TensorSpec as TensorSpec
    from zoo_core.output import Classification as Classification
    from zoo_core.output import Classifications as Classifications
    from zoo_core.output import DetectedObject as DetectedObject
    from zoo_core.output import DetectedObjects as DetectedObjects
    from zoo_core.parameters import FileKind as FileKind
    from zoo_core.parameters import ParameterFile as ParameterFile
    from zoo_core.parameters import StoredProgram as StoredProgram
    from zoo_core.parameters import StoredTensor as StoredTensor
    from zoo_core.parameters import ZipArchive as ZipArchive
    from zoo_core.parameters import kind_of as kind_of
    from zoo_core.parameters import program_kind as program_kind
    from zoo_core.parameters import read_model_file as read_model_file
    from zoo_core.parameters import read_parameters as read_parameters
    from zoo_core.parameters import write_parameters as write_parameters
    from zoo_core.plugin import PluginRecord as PluginRecord
    from zoo_core.record import ModelRecord as ModelRecord
    from zoo_core.repository.base import Repository as Repository
    from zoo_core.selection import Explanation as Explanation
    from zoo_core.selection import Refusal as Refusal
    from zoo_core.translator import Translator as Translator
    from zoo_core.translator import TranslatorContext as TranslatorContext
    from zoo_core.wording import bytes_text as bytes_text
    from zoo_core.wording import did_you_mean as did_you_mean
    from zoo_core.wording import listing as listing
    from zoo_core.wording import printable as printable
    from zoo_core.zoo import ModelZoo as ModelZoo

#: Module -> the public names it defines; a name is imported when it is first used, so that listing models imports little.
_HOMES = {
    "artifact": ("MRL", "Artifact", "ArtifactFile", "License"),
    "block": ("BlockFactory", "factory_of"),
    "criteria": ("Criteria",),
    "default": ("block_factory", "download", "explain", "info", "load_model", "open_repository", "plugins", "search"),
    "device": ("Device",),
    "engine": ("Engine", "LoadReport"),
    "errors": (
        "AmbiguousModelError", "AmbiguousPluginError", "CacheError", "CriteriaError", "EngineNotInstalledError", "InputError",
        "IntegrityError", "MetadataError", "ModelNotFoundError", "OfflineError", "PackageNotInstalledError", "ParameterError",
        "PluginError", "RepositoryError", "UnsafeArchiveError", "UntrustedCodeError", "ZooError", "ZooWarning",
    ),
    "golden": ("Check", "OutputCheck"),
    "hookspecs": ("hookimpl", "hookspec"),
    "description": ("ModelInfo",),
    "loader": ("ModelLoader",),
    "metadata": ("Metadata",),
    "model": ("Model", "Predictor", "TensorSpec"),
    "output": ("Classification", "Classifications", "DetectedObject", "DetectedObjects"),
    "parameters": (
        "FileKind", "ParameterFile", "StoredProgram", "StoredTensor", "ZipArchive", "kind_of", "program_kind",
        "read_model_file", "read_parameters", "write_parameters",
    ),
    "plugin": ("PluginRecord",),
    "record": ("ModelRecord",),
    "repository.base": ("Repository",),
    "selection": ("Explanation", "Refusal"),
    "translator": ("Translator", "TranslatorContext"),
    "wording": ("bytes_text", "did_you_mean", "listing", "printable"),
    "zoo": ("ModelZoo",),
}  # fmt: skip
_MODULES = {name: module for module, names in _HOMES.items() for name in names}

__all__ = sorted(["__version__", *_MODULES])


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
