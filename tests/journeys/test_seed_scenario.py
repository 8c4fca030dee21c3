"""The scenario that Zoo was begun for: one parameter file, a factory that is an entry point, and either engine.

    ModelZoo(repositories=[folder]).load_model(engine=E, group_id="zoo." + E.lower(), filters={"layers": "50"})

gives a residual network of 50 layers whose predictions are those that were stored, whichever engine computes them.
"""

from __future__ import annotations

import hashlib
import json
import sys
from typing import TYPE_CHECKING, Any

import pytest

import zoo_core as zoo
from tests.installed import ENGINES, each_engine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

np = pytest.importorskip("numpy", reason="needs an engine: zoo-pytorch or zoo-mxnet")

SEED, CLASSES = 50, 10
#: The logits of `picture`, in double precision, from torchvision's ResNet-50 with the parameters below.
STORED = [[0.572784, -1.6111884, -0.2211164, 0.317825, -0.4680376, -0.6648771, 0.5932958, 0.2979662, -1.1016038, 0.1025459]]


def uniform(random: Any, shape: tuple[int, ...], low: float, high: float) -> Any:
    """``float32`` of a shape, from the raw bits of a generator: unlike its distributions, they are the same in every NumPy."""
    bits = random.random_raw(int(np.prod(shape)))
    return (low + (high - low) * ((bits >> 11) * 2.0**-53)).astype(np.float32).reshape(shape)


def shapes() -> Iterator[tuple[str, tuple[int, ...]]]:
    """The parameters of a ResNet-50 v1.5 with torchvision's names. Source: arXiv:1512.03385, table 1."""

    def batch_norm(name: str, channels: int) -> Iterator[tuple[str, tuple[int, ...]]]:
        yield from ((f"{name}.{part}", (channels,)) for part in ("weight", "bias", "running_mean", "running_var"))

    yield "conv1.weight", (64, 3, 7, 7)
    yield from batch_norm("bn1", 64)
    inputs = 64
    for stage, blocks in enumerate((3, 4, 6, 3)):
        channels = 64 << stage
        for block in range(blocks):
            name = f"layer{stage + 1}.{block}"
            for number, (taken, given, kernel) in enumerate(
                ((inputs, channels, 1), (channels, channels, 3), (channels, 4 * channels, 1)), start=1
            ):
                yield f"{name}.conv{number}.weight", (given, taken, kernel, kernel)
                yield from batch_norm(f"{name}.bn{number}", given)
            if block == 0:
                yield f"{name}.downsample.0.weight", (4 * channels, inputs, 1, 1)
                yield from batch_norm(f"{name}.downsample.1", 4 * channels)
            inputs = 4 * channels
    yield "fc.weight", (CLASSES, inputs)
    yield "fc.bias", (CLASSES,)


def parameters() -> dict[str, Any]:
    """Seeded values, the same wherever they are computed; their sizes keep activations near one."""
    random = np.random.PCG64(SEED)
    values = {}
    for name, shape in shapes():
        fan_in = int(np.prod(shape[1:]))
        if len(shape) > 1:
            reach = (3 / fan_in) ** 0.5
            values[name] = uniform(random, shape, -reach, reach)
        elif name.endswith("running_var"):
            values[name] = uniform(random, shape, 0.5, 1.5)
        elif name.endswith("bn3.weight"):
            values[name] = uniform(random, shape, 0.1, 0.4)
        elif name.endswith(".weight"):
            values[name] = uniform(random, shape, 0.5, 1.5)
        else:
            values[name] = uniform(random, shape, -0.2, 0.2)
    return values


def picture() -> Any:
    """``float32[1, 3, 32, 32]``, by a formula."""
    return np.sin(np.arange(3 * 32 * 32, dtype=np.float64) * 0.37).astype(np.float32).reshape(1, 3, 32, 32)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one parameter file, and a document of each group that names it."""
    from safetensors.numpy import save_file

    root = tmp_path_factory.mktemp("repository")
    shared = root / "model" / "cv" / "image_classification" / "zoo"
    shared.mkdir(parents=True)
    file = shared / "resnet50.safetensors"
    save_file(parameters(), file)
    proof = {"sha256": hashlib.sha256(file.read_bytes()).hexdigest(), "size": file.stat().st_size}
    for engine in ENGINES:
        folder = shared / engine.lower() / "resnet_v1"
        folder.mkdir(parents=True)
        (folder / "metadata.json").write_text(json.dumps(document(engine, {"uri": "../../resnet50.safetensors", **proof})))
    return root


def document(engine: str, file: dict[str, Any]) -> dict[str, Any]:
    """Three depths, of which the middle one is asked for; the files of the others do not exist."""
    absent = {"uri": "absent.safetensors", "sha256": "0" * 64, "size": 1}
    return {
        "metadataVersion": "0.2",
        "resourceType": "model",
        "application": "cv/image_classification",
        "groupId": f"zoo.{engine.lower()}",
        "artifactId": "resnet_v1",
        "artifacts": [
            {
                "version": "0.0.1",
                "name": f"resnet{layers}",
                "properties": {"layers": str(layers), "flavor": "v1", "dataset": "cifar10"},
                "arguments": {"blockFactory": "resnet_v1", "layers": layers, "classes": CLASSES},
                "engines": [engine],
                "files": {"parameters": file if layers == 50 else absent},
            }
            for layers in (18, 50, 101)
        ],
    }


@pytest.mark.parametrize("engine", each_engine())
def test_seed_scenario(engine, repository, tmp_path):
    """Criteria find the model, its factory builds the block, one file fills it, and it computes what was stored."""
    with (
        zoo.ModelZoo(repositories=[repository], cache=tmp_path) as models,
        models.load_model(engine=engine, group_id="zoo." + engine.lower(), filters={"layers": "50"}) as model,
        model.new_predictor() as predictor,
    ):
        found = predictor.predict(picture())
        assert model.engine == engine
        assert model.record.mrl.artifact_id == "resnet_v1"
        assert model.record.properties["layers"] == "50"
    assert found.shape == (1, CLASSES)
    np.testing.assert_allclose(found, STORED, rtol=0, atol=1e-5)


@pytest.mark.parametrize("engine", each_engine())
def test_the_block_is_the_engines_own(engine, repository, tmp_path):
    with zoo.ModelZoo(repositories=[repository], cache=tmp_path).load_model(
        engine=engine, group_id="zoo." + engine.lower(), filters={"layers": "50"}
    ) as model:
        own = {"PyTorch": ("torch.nn", "Module"), "MXNet": ("mxnet.gluon", "Block")}[engine]
        assert isinstance(model.block, getattr(sys.modules[own[0]], own[1]))
        assert zoo.factory_of(model.block) == zoo.block_factory("resnet_v1", engine=engine, layers=50, classes=CLASSES)


@pytest.mark.parametrize("engine", each_engine())
def test_a_depth_that_is_not_there_is_answered_with_those_that_are(engine, repository, tmp_path):
    models = zoo.ModelZoo(repositories=[repository], cache=tmp_path)
    with pytest.raises(zoo.ModelNotFoundError, match=r"layers=34 \(there is: 18, 50, 101\)"):
        models.load_model(engine=engine, group_id="zoo." + engine.lower(), filters={"layers": "34"})
