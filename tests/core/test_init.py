"""The public names of zoo_core, and what importing them costs."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import pkgutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import zoo_core
from tests import parameter_files
from tests import repositories as make

MODULES = sorted(module.name for module in pkgutil.walk_packages(zoo_core.__path__, "zoo_core."))
FUNCTIONS = {
    "block_factory", "download", "explain", "factory_of", "info", "load_model", "open_repository", "plugins", "read_parameters",
    "search",
}  # fmt: skip
TYPES = {
    "Artifact", "ArtifactFile", "BlockFactory", "Classification", "Classifications", "Criteria", "DetectedObject",
    "DetectedObjects", "Engine", "Explanation", "MRL", "Metadata", "Model", "ModelInfo", "ModelLoader", "ModelRecord",
    "ModelZoo", "PluginRecord", "Predictor", "Refusal", "Repository", "Translator",
}  # fmt: skip
ERRORS = {
    "AmbiguousModelError", "AmbiguousPluginError", "CacheError", "CriteriaError", "EngineNotInstalledError", "InputError",
    "IntegrityError", "MetadataError", "ModelNotFoundError", "OfflineError", "PackageNotInstalledError", "ParameterError",
    "PluginError", "RepositoryError", "UnsafeArchiveError", "UntrustedCodeError", "ZooError",
}  # fmt: skip
#: What takes long to import, and what a search needs none of.
HEAVY = ("torch", "mxnet", "requests", "rich", "numpy", "PIL")


def run(code: str, *arguments: str) -> Any:
    """Run code in a process of its own; what it prints last, as JSON."""
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("name", zoo_core.__all__)
def test_every_public_name_can_be_imported(name: str) -> None:
    assert getattr(zoo_core, name) is not None


def test_the_promised_names_are_public() -> None:
    assert {*FUNCTIONS, *TYPES, *ERRORS, "hookimpl", "hookspec", "__version__"} - set(zoo_core.__all__) == set()


def test_public_names_are_sorted_and_listed_once() -> None:
    assert zoo_core.__all__ == sorted(set(zoo_core.__all__))
    assert dir(zoo_core) == zoo_core.__all__


def test_what_type_checkers_see_is_what_can_be_imported() -> None:
    tree = ast.parse(Path(str(zoo_core.__file__)).read_text("utf-8"))
    imported = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module != "__future__"]
    seen = {alias.asname: node.module for node in imported for alias in node.names if alias.asname}
    assert sorted(seen) == zoo_core.__all__
    for name, module in seen.items():
        assert getattr(importlib.import_module(str(module)), name) is getattr(zoo_core, name)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'zoo_core' has no attribute 'load'"):
        _ = zoo_core.load


@pytest.mark.parametrize("name", sorted(FUNCTIONS | TYPES | ERRORS))
def test_every_public_name_is_described(name: str) -> None:
    assert inspect.getdoc(getattr(zoo_core, name))


def test_no_module_has_the_name_of_a_public_function() -> None:
    assert {module.removeprefix("zoo_core.") for module in MODULES} & set(zoo_core.__all__) == set()


def test_after_every_module_was_imported_the_functions_are_still_functions_and_work(tmp_path: Path) -> None:
    """A submodule of the same name would have taken the function's place."""
    make.publish(tmp_path / "zoo", make.document(make.artifact()))
    (tmp_path / "w.safetensors").write_bytes(
        parameter_files.safetensors({"w": parameter_files.entry("F32", [1], 0, 4)}, bytes(4))
    )
    code = """
import importlib, inspect, json, sys
import zoo_core as zoo
for module in json.loads(sys.argv[1]):
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as error:
        # One module works on values; where NumPy is missing it is imported by nobody.
        assert (module, error.name) == ("zoo_core.parameters.values", "numpy"), (module, error)
functions = json.loads(sys.argv[2])
assert all(inspect.isfunction(getattr(zoo, name)) for name in functions), functions
root, only = sys.argv[3], {"model_urls": [sys.argv[3]]}
answers = {
    "search": len(zoo.search("net", **only)),
    "explain": str(zoo.explain("net", **only)).startswith("com.example/net"),
    "info": zoo.info("net", **only).record.reference,
    "download": zoo.download("net", **only).is_dir(),
    "open_repository": zoo.open_repository(root).url.startswith("file://"),
    "plugins": "image_classification" in {record.name for record in zoo.plugins()},
    "read_parameters": list(zoo.read_parameters(sys.argv[4])),
}
for name, call in {
    "load_model": lambda: zoo.load_model("net", engine="Nothing", **only),
    "block_factory": lambda: zoo.block_factory("no_such_factory"),
    "factory_of": lambda: zoo.factory_of(object()),
}.items():
    try:
        call()
    except zoo.ZooError as error:
        answers[name] = type(error).__name__
print(json.dumps(answers))
"""
    arguments = (json.dumps(MODULES), json.dumps(sorted(FUNCTIONS)), str(tmp_path / "zoo"), str(tmp_path / "w.safetensors"))
    assert run(code, *arguments) == {
        "search": 1,
        "explain": True,
        "info": "com.example/net@1.0",
        "download": True,
        "open_repository": True,
        "plugins": True,
        "read_parameters": ["w"],
        "load_model": "EngineNotInstalledError",
        "block_factory": "PluginError",
        "factory_of": "InputError",
    }


@pytest.mark.parametrize("module", ["zoo_core", "zoo_core.zoo", "zoo_core.vision", "zoo_core.cli.main"])
def test_importing_zoo_imports_neither_an_engine_nor_what_takes_long(module: str) -> None:
    code = f"import sys, json, {module}; print(json.dumps(sorted(set(sys.modules) & set(json.loads(sys.argv[1])))))"
    assert run(code, json.dumps(HEAVY)) == []


@pytest.mark.parametrize(
    "arguments",
    [["search"], ["search", "--application", "cv/image_classification"], ["search", "--repository", "{root}"], ["--version"]],
    ids=" ".join,
)
def test_a_search_imports_neither_an_engine_nor_what_takes_long(tmp_path: Path, arguments: list[str]) -> None:
    make.publish(tmp_path / "zoo", make.document(make.artifact(engines=["PyTorch", "MXNet"])))
    code = """
import json, sys
from zoo_core.cli import main
heavy = json.loads(sys.argv.pop(1))
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
print()
print(json.dumps(sorted(set(sys.modules) & set(heavy))))
"""
    assert run(code, json.dumps(HEAVY), *(text.format(root=tmp_path / "zoo") for text in arguments)) == []
