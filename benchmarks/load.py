"""How long does it take from a parameter file on disk to a network that answers, and how much memory?

ResNet-50 with 1,000 classes from a local file, after all imports. In each engine Zoo stands between the peer, which is what a
user would write by hand today, and the floor, which is the least that this engine needs:

- PyTorch, peer: build the network and initialise it, `load_state_dict(torch.load(...))`.
  Floor: build it on the meta device, map the file with safetensors, assign.
- MXNet, peer: Gluon's own ResNet-50 and `load_parameters`.
  Floor: map the file with NumPy, make arrays over the map, let Gluon's parameters take them without a copy. MXNet works behind
  its caller's back, so each variant waits until it is done, as Zoo does.

A fresh process for each measurement, the variants in turn; medians of 7. "ready" is the time until the network could be called,
"answer" the time until the first output, which is also when mapped parameters are read. Memory is the peak of the process above
what it had after its imports.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

ROUNDS = 7
#: What we hold ourselves to in PyTorch: how many times faster than the peer, how many times as long as the floor.
FASTER_THAN_PEER, WITHIN_FLOOR = 5.0, 1.2
SHAPE = (1, 3, 224, 224)

#: Takes an array, gives the first output.
Answer = Callable[[Any], Any]
#: Loads the network; its imports are done.
Load = Callable[[], Answer]


# The files.


def prepare(folder: Path) -> None:
    """Write the same values as safetensors, as a pickled state dict and as a repository; MXNet's own beside them."""
    if find_spec("zoo_pytorch"):
        prepare_pytorch(folder)
    if find_spec("zoo_mxnet"):
        prepare_mxnet(folder)
    prepare_repository(folder)


def prepare_pytorch(folder: Path) -> None:
    """A network with seeded values, in Zoo's form and in PyTorch's."""
    import torch

    import zoo_core as zoo

    torch.manual_seed(0)
    network = zoo.block_factory("resnet_v1", engine="PyTorch", layers=50).new_block(None, None, {})  # type: ignore[arg-type]
    zoo.Model(network).save(folder / "model.safetensors")
    torch.save(network.state_dict(), folder / "model.pth")


def prepare_mxnet(folder: Path) -> None:
    """The same where PyTorch is missing, and Gluon's own network in its own format."""
    from zoo_mxnet.framework import mx

    import zoo_core as zoo

    if not (folder / "model.safetensors").exists():
        network = zoo.block_factory("resnet_v1", engine="MXNet", layers=50).new_block(None, None, {})  # type: ignore[arg-type]
        network.initialize()
        network(mx.nd.zeros(SHAPE))
        zoo.Model(network).save(folder / "model.safetensors")
    peer = mx.gluon.model_zoo.vision.resnet50_v1()
    peer.initialize()
    peer(mx.nd.zeros(SHAPE))
    peer.save_parameters(str(folder / "gluon.params"))


def prepare_repository(folder: Path) -> None:
    """A repository with that file, its digest filled in by `zoo index`."""
    place = folder / "repository/model/cv/image_classification/com/example/resnet50"
    place.mkdir(parents=True)
    (folder / "model.safetensors").rename(place / "model.safetensors")
    (folder / "model.safetensors").hardlink_to(place / "model.safetensors")
    artifact = {
        "version": "1.0",
        "name": "resnet50",
        "engines": ["PyTorch", "MXNet"],
        "arguments": {"blockFactory": "resnet_v1", "layers": 50},
        "files": {"parameters": {"uri": "model.safetensors"}},
    }
    document = {"metadataVersion": "0.2", "resourceType": "model", "application": "cv/image_classification"}
    document |= {"groupId": "com.example", "artifactId": "resnet50", "artifacts": [artifact]}  # type: ignore[dict-item]
    (place / "metadata.json").write_text(json.dumps(document))
    subprocess.run([Path(sys.executable).with_name("zoo"), "index", folder / "repository"], check=True, capture_output=True)


# The variants: each does its imports, then gives what is timed.


def zoo_file(engine: str) -> Callable[[Path], Load]:
    """`zoo.load_model` of the file."""

    def start(folder: Path) -> Load:
        zoo = imported(engine)
        return lambda: zoo.load_model(model_path=folder / "model.safetensors", engine=engine).new_predictor().predict

    return start


def zoo_repository(engine: str) -> Callable[[Path], Load]:
    """`zoo.load_model` by criteria from a folder repository that was asked before: its file is verified already."""

    def start(folder: Path) -> Load:
        zoo, where = imported(engine), [str(folder / "repository")]
        criteria = zoo.Criteria(engine=engine, artifact_id="resnet50", filters={})
        zoo.download(criteria, model_urls=where)

        def load() -> Answer:
            # The translator would want pictures, and an array is given.
            model = zoo.load_model(criteria, model_urls=where)
            answer: Answer = zoo.Predictor(model).predict
            return answer

        return load

    return start


def imported(engine: str) -> Any:
    """Zoo with everything that a load in this engine imports."""
    plugin = f"zoo_{engine.lower()}"
    theirs = ("packaging.requirements", "packaging.specifiers")
    ours = ("zoo_core.loader", "zoo_core.default", "zoo_core.vision", "zoo_core.parameters.values")
    for name in (*theirs, *ours, f"{plugin}.engine", f"{plugin}.factories", f"{plugin}.networks.resnet"):
        import_module(name)
    return import_module("zoo_core")


def pytorch_peer(folder: Path) -> Load:
    """Build, initialise, unpickle, copy."""
    import torch
    from zoo_pytorch.networks.resnet import ResNet

    def load() -> Answer:
        network = ResNet(50, 1000)
        network.load_state_dict(torch.load(folder / "model.pth"))
        return torch_answer(network.eval())

    return load


def pytorch_floor(folder: Path) -> Load:
    """Build on the meta device, map, assign."""
    import torch
    from safetensors.torch import load_file
    from zoo_pytorch.networks.resnet import ResNet

    def load() -> Answer:
        with torch.device("meta"):
            network = ResNet(50, 1000)
        network.load_state_dict(load_file(folder / "model.safetensors"), assign=True)
        return torch_answer(network.eval())

    return load


def torch_answer(network: Any) -> Answer:
    """What runs a module on an array."""
    import torch

    def answer(array: Any) -> Any:
        with torch.inference_mode():
            return network(torch.from_numpy(array)).numpy()

    return answer


def mxnet_peer(folder: Path) -> Load:
    """Gluon's own network and its own reader."""
    from zoo_mxnet.framework import mx

    def load() -> Answer:
        network = mx.gluon.model_zoo.vision.resnet50_v1()
        network.load_parameters(str(folder / "gluon.params"))
        mx.nd.waitall()
        return mxnet_answer(network)

    return load


def mxnet_floor(folder: Path) -> Load:
    """Map, make arrays over the map, let Gluon take them."""
    import numpy as np
    from zoo_mxnet.factories import ResNetV1
    from zoo_mxnet.framework import mx

    def load() -> Answer:
        network = ResNetV1(layers=50).network()
        content = np.memmap(folder / "model.safetensors", mode="c")  # a read-only map would end the process at a write
        start = 8 + int.from_bytes(content[:8].tobytes(), "little")
        header = json.loads(content[8:start].tobytes())
        for name, parameter in network._collect_params_with_prefix().items():
            begin, end = (start + offset for offset in header[name]["data_offsets"])
            values = content[begin:end].view("<f4").reshape(header[name]["shape"])
            array = mx.nd.from_numpy(values, zero_copy=True)
            # Gluon copies what it is given. Told that the copy is the array itself, it takes that.
            same = SimpleNamespace(shape=array.shape, dtype=array.dtype, stype=array.stype, copyto=array.as_in_context)
            parameter._load_init(same, mx.cpu())
        mx.nd.waitall()
        return mxnet_answer(network)

    return load


def mxnet_answer(network: Any) -> Answer:
    """What runs a Gluon block on an array."""
    from zoo_mxnet.framework import mx

    network.hybridize()
    return lambda array: network(mx.nd.array(array)).asnumpy()


VARIANTS: dict[str, dict[str, Callable[[Path], Load]]] = {
    "PyTorch": {
        "zoo, file": zoo_file("PyTorch"),
        "zoo, repository": zoo_repository("PyTorch"),
        "peer": pytorch_peer,
        "floor": pytorch_floor,
    },
    "MXNet": {
        "zoo, file": zoo_file("MXNet"),
        "zoo, repository": zoo_repository("MXNet"),
        "peer": mxnet_peer,
        "floor": mxnet_floor,
    },
}


# Measuring.


def measure(engine: str, variant: str, folder: Path) -> None:
    """What a fresh process does: import, load, answer; print what it took."""
    import numpy as np

    array = np.random.default_rng(0).random(SHAPE, np.float32)
    load = VARIANTS[engine][variant](folder)
    before = peak_mib()
    started = time.perf_counter()
    answer = load()
    ready = time.perf_counter()
    output = answer(array)
    answered = time.perf_counter()
    assert output.shape == (1, 1000), output.shape
    print(json.dumps({"ready": ready - started, "answer": answered - started, "memory": peak_mib() - before}))


def peak_mib() -> float:
    """The most memory that this process has had, in MiB."""
    unit = 1024**2 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def in_process(*arguments: str | Path, home: Path) -> str:
    """Run this file in a fresh process, with a cache of its own."""
    environment = os.environ | {"ZOO_HOME": str(home)}
    done = subprocess.run(
        [sys.executable, __file__, *arguments], stdout=subprocess.PIPE, text=True, env=environment, check=True
    )
    return done.stdout


def medians(engine: str, folder: Path) -> dict[str, dict[str, float]]:
    """For each variant the medians of what `measure` prints."""
    taken: dict[str, list[dict[str, float]]] = {variant: [] for variant in VARIANTS[engine]}
    for _ in range(ROUNDS):
        for variant, results in taken.items():
            results.append(json.loads(in_process("measure", engine, variant, folder, home=folder / "home")))
    return {
        variant: {name: statistics.median(result[name] for result in results) for name in results[0]}
        for variant, results in taken.items()
    }


def report(engine: str, found: dict[str, dict[str, float]]) -> None:
    """Print a table with the ratios, and what they say of the goals."""
    peer, floor = found["peer"]["ready"], found["floor"]["ready"]
    print(f"{engine:<18}{'ready':>10}{'peer / it':>12}{'it / floor':>12}{'answer':>10}{'memory':>12}")
    for variant, values in found.items():
        ready = values["ready"]
        print(
            f"  {variant:<16}{ready * 1e3:>7.1f} ms{peer / ready:>11.1f}x{ready / floor:>11.2f}x"
            f"{values['answer'] * 1e3:>7.0f} ms{values['memory']:>8.0f} MiB"
        )
    if engine == "PyTorch":
        ours = found["zoo, file"]["ready"]
        faster, slower = peer / ours, ours / floor
        print(f"  goal: at least {FASTER_THAN_PEER:.0f}x faster than the peer: {verdict(faster >= FASTER_THAN_PEER)}")
        print(f"  goal: at most {WITHIN_FLOOR}x the floor: {verdict(slower <= WITHIN_FLOOR)}")
    print()


def verdict(is_met: bool) -> str:
    """How a goal is reported."""
    return "met" if is_met else "MISSED"


def machine() -> str:
    """Where this was measured, and with what."""
    here = f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, Python {platform.python_version()}"
    packages = []
    for name in ("zoo-core", "zoo-pytorch", "zoo-mxnet", "torch", "mxnet", "numpy"):
        with suppress(PackageNotFoundError):
            packages.append(f"{name} {version(name)}")
    return ", ".join([here, *packages])


def main() -> None:
    """Prepare the files, measure each engine that is installed, print."""
    print(f"ResNet-50 from a local file; medians of {ROUNDS} fresh processes\n{machine()}\n")
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        in_process("prepare", folder, home=folder / "home")
        for engine in VARIANTS:
            if find_spec(f"zoo_{engine.lower()}"):
                report(engine, medians(engine, folder))
    print(f"load at the end: {os.getloadavg()[0]:.1f}; above the number of cores it means that something else was running too")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["prepare", where]:
            prepare(Path(where))
        case ["measure", wanted, which, where]:
            measure(wanted, which, Path(where))
        case _:
            main()
