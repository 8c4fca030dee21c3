"""How long does it take from a parameter file on disk to a network that answers, and how much memory?

Files without a program, from a local disk, after all imports: ResNet-50 with 1,000 classes (98 MiB) in both engines, and a
vision transformer of the size ViT-L/16 (1.2 GB) in PyTorch. In each engine Zoo stands between the peer, which is what a user
would write by hand today, and the floor, which is the least that this engine needs:

- PyTorch, peer: build the network and initialise it, `load_state_dict(torch.load(...))`.
  Floor: build it on the meta device, map the file with safetensors, assign.
- MXNet, peer: Gluon's own ResNet-50 and `load_parameters`.
  Floor: map the file with NumPy, make arrays over the map, let Gluon's parameters take them without a copy. MXNet works behind
  its caller's back, so each variant waits until it is done, as Zoo does.

"ready" is the time until the network could be called, "answer" the time until the first output, which is also when mapped
parameters are read, so that nothing is won by postponing work. A fresh process for each measurement, the variants in turn; of
the times, the least and the median. Goals are judged by the least: what else runs on a machine can only add to it. Memory is
above what the process had after its imports: the peak when all parameters were read, the peak of load and first output, and
what stays after `close()`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))  # nox starts Python so that it does not do this by itself

from measuring import (
    Case,
    Load,
    Loaded,
    faster,
    imported,
    imported_on_meta,
    memory_within,
    mxnet_answer,
    released,
    run,
    torch_answer,
    within,
)

RESNET_MIB, VIT_MIB = 97.7, 1161.0
PICTURE = (1, 3, 224, 224)


# The files.


def prepare_pytorch(folder: Path) -> None:
    """A network with seeded values, in Zoo's form, in PyTorch's and in a repository."""
    import torch

    import zoo_core as zoo

    torch.manual_seed(0)
    network = zoo.block_factory("resnet_v1", engine="PyTorch", layers=50).new_block(None, None, {})  # type: ignore[arg-type]
    zoo.Model(network).save(folder / "model.safetensors")
    torch.save(network.state_dict(), folder / "model.pth")
    prepare_repository(folder)


def prepare_vision_transformer(folder: Path) -> None:
    """The large network as anyone might publish it, without a word of Zoo in the file."""
    import torch
    from measuring.vision_transformer import VisionTransformer
    from safetensors.torch import save_file

    torch.manual_seed(0)
    state = VisionTransformer().state_dict()
    save_file(state, folder / "vit.safetensors")
    torch.save(state, folder / "vit.pth")


def prepare_mxnet(folder: Path) -> None:
    """The same where no case of PyTorch made it, and Gluon's own network in its own format."""
    from zoo_mxnet.framework import mx

    import zoo_core as zoo

    if not (folder / "model.safetensors").exists():
        network = zoo.block_factory("resnet_v1", engine="MXNet", layers=50).new_block(None, None, {})  # type: ignore[arg-type]
        network.initialize()
        network(mx.nd.zeros(PICTURE))
        zoo.Model(network).save(folder / "model.safetensors")
        prepare_repository(folder)
    peer = mx.gluon.model_zoo.vision.resnet50_v1()
    peer.initialize()
    peer(mx.nd.zeros(PICTURE))
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
        return lambda: opened(zoo.load_model(model_path=folder / "model.safetensors", engine=engine))

    return start


def zoo_repository(engine: str) -> Callable[[Path], Load]:
    """`zoo.load_model` by criteria from a folder repository that was asked before: its file is verified already."""

    def start(folder: Path) -> Load:
        zoo, where = imported(engine), [str(folder / "repository")]
        criteria = zoo.Criteria(engine=engine, artifact_id="resnet50", filters={})
        zoo.download(criteria, model_urls=where)
        return lambda: opened(zoo.load_model(criteria, model_urls=where))

    return start


def zoo_vision_transformer(folder: Path) -> Load:
    """The same with a factory that nobody registered."""
    zoo = imported("PyTorch")
    from measuring.vision_transformer import VisionTransformerFactory

    return lambda: opened(
        zoo.load_model(model_path=folder / "vit.safetensors", engine="PyTorch", block_factory=VisionTransformerFactory())
    )


def opened(model: Any) -> Loaded:
    """A model and what it answers; a translator would want pictures, and an array is given."""
    import zoo_core as zoo

    return Loaded(model.block, zoo.Predictor(model).predict, model.close)


def pytorch_peer(name: str) -> Callable[[Path], Load]:
    """Build, initialise, unpickle, copy."""

    def start(folder: Path) -> Load:
        import torch

        build = constructor(name)

        def load() -> Loaded:
            network = build()
            network.load_state_dict(torch.load(folder / f"{name}.pth"))
            network.eval()
            return Loaded(network, torch_answer(network))

        return load

    return start


def pytorch_floor(name: str) -> Callable[[Path], Load]:
    """Build on the meta device, map, assign."""

    def start(folder: Path) -> Load:
        import torch
        from safetensors.torch import load_file

        build = constructor(name)
        imported_on_meta(folder)

        def load() -> Loaded:
            with torch.device("meta"):
                network = build()
            network.load_state_dict(load_file(folder / f"{name}.safetensors"), assign=True)
            network.eval()
            return Loaded(network, torch_answer(network))

        return load

    return start


def constructor(name: str) -> Callable[[], Any]:
    """What builds the network of a file."""
    if name == "model":
        from zoo_pytorch.networks.resnet import ResNet

        return lambda: ResNet(50, 1000)
    from measuring.vision_transformer import VisionTransformer

    return VisionTransformer


def mxnet_peer(folder: Path) -> Load:
    """Gluon's own network and its own reader."""
    from zoo_mxnet.framework import mx

    def load() -> Loaded:
        network = mx.gluon.model_zoo.vision.resnet50_v1()
        network.load_parameters(str(folder / "gluon.params"))
        mx.nd.waitall()
        return Loaded(network, mxnet_answer(network))

    return load


def mxnet_floor(folder: Path) -> Load:
    """Map, make arrays over the map, let Gluon take them."""
    import numpy as np
    from zoo_mxnet.factories import ResNetV1
    from zoo_mxnet.framework import mx

    def load() -> Loaded:
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
        return Loaded(network, mxnet_answer(network))

    return load


CASES = {
    "resnet": Case(
        title="ResNet-50 in PyTorch",
        plugin="zoo_pytorch",
        prepare=prepare_pytorch,
        shape=PICTURE,
        weights=RESNET_MIB,
        rounds=9,
        variants={
            "zoo, file": zoo_file("PyTorch"),
            "zoo, repository": zoo_repository("PyTorch"),
            "constructor and copy": pytorch_peer("model"),
            "floor": pytorch_floor("model"),
        },
        goals=(
            faster("zoo, file", "constructor and copy", least=5),
            within("zoo, file", "floor", most=1.2),
            within("zoo, repository", "floor", most=1.2),
            memory_within("zoo, file", RESNET_MIB, most=1.15),
        ),
    ),
    "vit": Case(
        title="ViT-L/16 in PyTorch",
        plugin="zoo_pytorch",
        prepare=prepare_vision_transformer,
        shape=PICTURE,
        weights=VIT_MIB,
        rounds=3,
        variants={
            "zoo, file": zoo_vision_transformer,
            "constructor and copy": pytorch_peer("vit"),
            "floor": pytorch_floor("vit"),
        },
        goals=(
            faster("zoo, file", "constructor and copy", least=30),
            within("zoo, file", "floor", most=1.2),
            memory_within("zoo, file", VIT_MIB, most=1.15),
            released("zoo, file", VIT_MIB, most=0.15),
        ),
    ),
    "mxnet": Case(
        title="ResNet-50 in MXNet",
        plugin="zoo_mxnet",
        prepare=prepare_mxnet,
        shape=PICTURE,
        weights=RESNET_MIB,
        variants={
            "zoo, file": zoo_file("MXNet"),
            "zoo, repository": zoo_repository("MXNet"),
            "Gluon's load_parameters": mxnet_peer,
            "floor": mxnet_floor,
        },
        goals=(faster("zoo, file", "Gluon's load_parameters", least=1.25),),
    ),
}


if __name__ == "__main__":
    run(__file__, "from a local parameter file to a network that answers", CASES)
