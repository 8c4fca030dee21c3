"""One file recovers a combined model: trained in one process, and computed bit for bit in another that knows the file alone."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import zoo_core as zoo
from tests.installed import each_engine, has, needs

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.commands import Commands

pytestmark = needs("zoo-flowers")
np = pytest.importorskip("numpy")

CLASSES, FEATURES, SIZE = 3, 8, 16
KINDS = {"torch.aten": "PyTorch", "torch.export": "PyTorch", "traced": "PyTorch", "scripted": "PyTorch", "symbol": "MXNet"}


def saved_in_pytorch(kind: str, path: Path) -> None:
    """Train through a program, save, and store what the network computes afterwards."""
    import torch
    from torch import nn
    from zoo_flowers.factories import FlowersInPyTorch
    from zoo_flowers.in_pytorch import flowers
    from zoo_pytorch import SymbolBlock

    torch.manual_seed(7)
    published = nn.Sequential(
        nn.Conv2d(3, FEATURES, 3, 2, 1), nn.BatchNorm2d(FEATURES), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
    x = torch.rand(4, 3, SIZE, SIZE)
    published(x)  # running statistics of its own
    published.eval()
    if kind in ("torch.aten", "torch.export"):
        program: Any = torch.export.export(published, (x,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    else:
        program = torch.jit.trace(published, x) if kind == "traced" else torch.jit.script(published)
    if kind == "torch.export":
        file = io.BytesIO()
        torch.export.save(program, file)
        program = file.getvalue()
    net = flowers(features=FEATURES, classes=CLASSES, backbone=SymbolBlock.from_program(program))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    before = {name: value.clone() for name, value in net.named_parameters()}
    for _ in range(3):
        loss = nn.functional.cross_entropy(net(x), torch.tensor([0, 1, 2, 1]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    # A bias before a batch norm in training has no gradient but rounding.
    assert all(not torch.equal(before[name], value) for name, value in net.named_parameters() if not name.endswith(".0.bias"))
    net.eval()
    factory = FlowersInPyTorch(features=FEATURES, classes=CLASSES)
    zoo.Model(net, factory=factory).save(path / "net.safetensors", golden=x[:2].numpy())
    with torch.inference_mode():
        np.savez(path / "seen.npz", x=x.numpy(), y=net(x).numpy())


def saved_in_mxnet(path: Path) -> None:
    """The same with a symbol."""
    from zoo_flowers.factories import FlowersInMXNet
    from zoo_flowers.in_mxnet import flowers
    from zoo_mxnet import SymbolBlock
    from zoo_mxnet.framework import mx, nn

    mx.random.seed(7)
    published = nn.HybridSequential()
    published.add(nn.Conv2D(FEATURES, 3, 2, 1, in_channels=3), nn.BatchNorm(in_channels=FEATURES), nn.Activation("relu"))
    published.add(nn.GlobalAvgPool2D(), nn.Flatten())
    published.initialize()
    published.hybridize()
    x = mx.nd.random.uniform(shape=(4, 3, SIZE, SIZE))
    published(x)
    published.export(str(path / "published"))
    backbone = SymbolBlock.from_program(path / "published-symbol.json", parameters=path / "published-0000.params")
    net = flowers(features=FEATURES, classes=CLASSES, backbone=backbone)
    net[2].initialize()
    trainer = mx.gluon.Trainer(net.collect_params(), "sgd", {"learning_rate": 0.1})
    for _ in range(3):
        with mx.autograd.record():
            loss = mx.gluon.loss.SoftmaxCrossEntropyLoss()(net(x), mx.nd.array([0, 1, 2, 1]))
        loss.backward()
        trainer.step(4)
    factory = FlowersInMXNet(features=FEATURES, classes=CLASSES)
    zoo.Model(net, factory=factory).save(path / "net.safetensors", golden=x[:2].asnumpy())
    np.savez(path / "seen.npz", x=x.asnumpy(), y=net(x).asnumpy())


@pytest.fixture(
    scope="module",
    params=[pytest.param(kind, marks=needs(f"zoo-{engine.lower()}")) for kind, engine in KINDS.items()],
)
def saved(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """The engine and a folder: ``net.safetensors``, written by another process, and ``seen.npz``, what it computed."""
    folder = tmp_path_factory.mktemp(request.param)
    how = "saved_in_mxnet(path)" if request.param == "symbol" else f"saved_in_pytorch({request.param!r}, path)"
    code = f"import sys, pathlib; sys.path.insert(0, {str(Path(__file__).parents[2])!r})\n"
    code += f"from tests.journeys.test_combined_model import *\npath = pathlib.Path({str(folder)!r})\n{how}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    return KINDS[request.param], folder


def zipped(path: Path, to: Path) -> Path:
    with zipfile.ZipFile(to / "net.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(path, "net/net.safetensors")
    return to / "net.zip"


def tarred(path: Path, to: Path) -> Path:
    with tarfile.open(to / "net.tar.gz", "w:gz") as archive:
        archive.add(path, "net.safetensors")
    return to / "net.tar.gz"


def in_folder(path: Path, to: Path) -> Path:
    (to / "folder").mkdir()
    return Path(shutil.copy(path, to / "folder")).parent


PLACES: dict[str, Callable[[Path, Path], Any]] = {
    "path": lambda path, to: path,
    "folder": in_folder,
    "zip": zipped,
    "tar.gz": tarred,
    "bytes": lambda path, to: path.read_bytes(),
    "stream": lambda path, to: io.BytesIO(path.read_bytes()),
}


@pytest.mark.parametrize("place", PLACES)
def test_it_computes_the_same_bit_for_bit_wherever_its_file_lies(saved: tuple[str, Path], place: str, tmp_path: Path) -> None:
    engine, folder = saved
    seen = np.load(folder / "seen.npz")
    given = PLACES[place](folder / "net.safetensors", tmp_path)
    with zoo.load_model(model_path=given) as model, model.new_predictor() as predictor:
        assert model.engine == engine
        assert np.array_equal(predictor.predict(seen["x"]), seen["y"])
        assert model.check().ok


def test_a_copy_of_a_copy_is_the_same(saved: tuple[str, Path], tmp_path: Path) -> None:
    _, folder = saved
    seen = np.load(folder / "seen.npz")
    with zoo.load_model(model_path=folder / "net.safetensors") as model:
        model.save(tmp_path / "again.safetensors")
    with zoo.load_model(model_path=tmp_path / "again.safetensors") as model:
        assert np.array_equal(model.new_predictor().predict(seen["x"]), seen["y"])
    one, other = (zoo.read_parameters(path) for path in (folder / "net.safetensors", tmp_path / "again.safetensors"))
    assert {name: item.sha256 for name, item in one.programs.items()} == {
        name: item.sha256 for name, item in other.programs.items()
    }
    assert all(np.array_equal(one[name], other[name]) for name in other)


def test_the_command_predicts_checks_and_tells_what_is_in_it(saved: tuple[str, Path], commands: Commands) -> None:
    engine, folder = saved
    seen = np.load(folder / "seen.npz")
    commands.cwd.mkdir()
    np.save(commands.cwd / "x.npy", seen["x"])
    done = commands.zoo("predict", folder / "net.safetensors", "x.npy", "--json")
    assert done.status == 0, done.err
    (result,) = done.json["results"]
    assert np.array_equal(np.array(result["arrays"]["output"]["values"], np.float32), seen["y"])
    checked = commands.zoo("check", folder / "net.safetensors", "--json")
    assert (checked.status, checked.json["engine"], checked.json["outputs"][0]["max_abs"]) == (0, engine, 0.0)
    told = commands.zoo("info", folder / "net.safetensors", "--json").json
    kinds = {run["name"]: run["kind"] for run in told["runs"]}
    program = json.loads(told["header"]["zoo.programs"])["1._extra_state"]
    assert kinds["1._extra_state"] == ("data" if program["kind"] == "torch.aten" else "program")


@pytest.mark.parametrize("engine", each_engine())
def test_without_the_factorys_package_the_error_says_who_wrote_the_file(engine: str, tmp_path: Path) -> None:
    header = {
        "zoo.factory": {"factory": "absent", "fields": {}, "requires": ["zoo-absent>=0.3"]},
        "zoo.engines": [engine],
        "zoo.written_with": {"zoo-absent": "0.3.7"},
    }
    import safetensors.numpy

    path = tmp_path / "net.safetensors"
    safetensors.numpy.save_file({"w": np.ones(3, np.float32)}, path, {key: json.dumps(value) for key, value in header.items()})
    with pytest.raises(zoo.PackageNotInstalledError, match=r'zoo-absent 0\.3\.7.*pip install "zoo-absent>=0\.3"$'):
        zoo.load_model(model_path=path)
    assert zoo.read_parameters(path)["w"].tolist() == [1, 1, 1]


@pytest.mark.skipif(not has("zoo-pytorch"), reason="needs zoo-pytorch")
def test_a_file_that_lacks_a_parameter_leaves_nothing_half_filled(saved: tuple[str, Path], tmp_path: Path) -> None:
    _, folder = saved
    file = zoo.read_parameters(folder / "net.safetensors")
    kept = {name: file[name] for name in file if name != "2.bias" and not name.startswith("zoo.golden")}
    import safetensors.numpy

    safetensors.numpy.save_file(kept, tmp_path / "cut.safetensors", dict(file.header))
    with pytest.raises(zoo.ParameterError, match=r"2\.bias"):
        zoo.load_model(model_path=tmp_path / "cut.safetensors")
