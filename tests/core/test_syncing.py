"""zoo sync where packages are missing: all that can be fetched comes, and what to install is said."""

from __future__ import annotations

import importlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import repositories as make
from tests.web import Site
from zoo_core import ModelZoo, PackageNotInstalledError, ZooWarning

LABELS = b"cat\ndog\n"


@pytest.fixture
def carried(install: Callable[..., Path], site: Site, tmp_path: Path) -> Path:
    """A lock of a model of an installed package, one of whose files is on the web; gives the package's site-packages."""
    entry_points = {"zoo_core.repositories": {"acme": "acme_models"}}
    folder = install("acme-models", "1.3", entry_points=entry_points, modules={"acme_models/__init__.py": ""})
    site.pages["/labels.txt"] = LABELS
    files = {
        "parameters": make.item("net.params.bin", make.WEIGHTS),
        "labels": make.item(f"{site.url}labels.txt", LABELS),
    }
    make.publish(folder / "acme_models", make.document(make.artifact(files=files)))
    zoo().lock("net", path=tmp_path / "zoo.lock")
    return folder


def zoo(lock: Any = False, **keywords: Any) -> ModelZoo:
    return ModelZoo(config=False, plugins=[], lock=lock, **keywords)


def uninstall(folder: Path) -> None:
    for path in folder.glob("acme*"):
        shutil.rmtree(path)
    importlib.invalidate_caches()


def test_a_resource_is_locked_by_the_name_of_its_package(carried: Path, tmp_path: Path) -> None:
    (model,) = json.loads((tmp_path / "zoo.lock").read_text())["models"]
    files = model["metadata"]["artifacts"][0]["files"]
    assert files["parameters"]["uri"] == ("package://acme_models/model/cv/image_classification/com/example/net/net.params.bin")
    assert model["repository"] == {"url": "package://acme_models", "distribution": "acme-models"}
    assert model["packages"] == {"acme-models": "1.3"}
    assert str(tmp_path) not in (tmp_path / "zoo.lock").read_text()


def test_a_resource_is_verified_where_it_lies(carried: Path, tmp_path: Path, site: Site) -> None:
    assert zoo(tmp_path / "zoo.lock").sync(progress=False).models == ("com.example/net@1.0",)
    assert site.paths == ["/labels.txt"]


def test_the_files_on_the_web_come_though_the_package_is_missing(carried: Path, tmp_path: Path, site: Site) -> None:
    uninstall(carried)
    for _ in range(2):
        with pytest.raises(PackageNotInstalledError, match=r'pip install "acme-models==1\.3"$') as missing:
            zoo(tmp_path / "zoo.lock").sync(progress=False)
        assert missing.value.missing == ("acme-models==1.3",)
    assert site.paths == ["/labels.txt"]


def test_a_mirror_has_the_resource_too(carried: Path, tmp_path: Path) -> None:
    zoo(tmp_path / "zoo.lock").mirror(tmp_path / "m", progress=False)
    uninstall(carried)
    other = zoo(tmp_path / "zoo.lock", cache=tmp_path / "other")
    # Its files are here then, and its package still is not.
    with pytest.raises(PackageNotInstalledError, match="the files of 1 of 1 models are here"):
        other.sync(model_urls=[tmp_path / "m"], progress=False)
    assert sorted(path.name for path in other.download("net", progress=False).iterdir()) == ["labels.txt", "net.params.bin"]
    assert ModelZoo([tmp_path / "m"], config=False, plugins=[]).download("net", progress=False).is_dir()


def test_a_mirror_cannot_be_made_without_the_package(carried: Path, tmp_path: Path) -> None:
    uninstall(carried)
    with pytest.raises(PackageNotInstalledError, match=r'is not installed.*: pip install "acme-models==1\.3"$'):
        zoo(tmp_path / "zoo.lock").mirror(tmp_path / "m", progress=False)


def test_a_package_of_no_known_distribution_is_named_as_it_is_imported(carried: Path, tmp_path: Path) -> None:
    content = json.loads((tmp_path / "zoo.lock").read_text())
    content["models"][0]["packages"] = {}
    (tmp_path / "zoo.lock").write_text(json.dumps(content))
    uninstall(carried)
    with pytest.raises(PackageNotInstalledError, match=r"lie in a package that is not installed: acme_models$"):
        zoo(tmp_path / "zoo.lock").sync(progress=False)


def test_what_else_fails_is_a_warning(carried: Path, tmp_path: Path, site: Site) -> None:
    uninstall(carried)
    site.pages["/labels.txt"] = b"other"
    with (
        pytest.warns(ZooWarning, match="packages are missing too: pip install"),
        pytest.raises(Exception, match="wrong digest"),
    ):
        zoo(tmp_path / "zoo.lock").sync(progress=False)
