"""What does it cost that a program is inside: a combined model from its one file, and its forward passes?

A layer of ours, ResNet-50 without its classifier as a program, a dense layer of ours: imperative, symbolic, imperative. After
all imports, from a local disk, each kind of program:

- `torch.aten`, rebuilt from JSON. Floor: the same network with the ResNet written in code, so without any program: built on the
  meta device, the file mapped with safetensors, assigned.
- `torch.export`, TorchScript and MXNet's symbols. Peer: the engine's own loader (`torch.export.load`, `torch.jit.load`,
  `mx.gluon.SymbolBlock.imports`) of the same program with its weights, and the dense layer built and filled beside it.

Then forward passes through programs of `torch.aten` and through the same networks written in code: the combined model, and an
EfficientNet-Lite0, whose many small operators show what calling them costs.

Times are measured as in load.py: fresh processes, the variants in turn, least and median, goals judged by the least.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).parent))  # nox starts Python so that it does not do this by itself

from measuring import (
    Case,
    Load,
    Loaded,
    imported,
    imported_on_meta,
    in_process,
    is_quick,
    mxnet_answer,
    run,
    torch_answer,
    within,
)

if TYPE_CHECKING:
    from torch import nn

FEATURES, CLASSES = 2048, 5
PICTURE = (1, 3, 224, 224)
WEIGHTS_MIB = 89.9
#: How many pictures a pass takes -> how many passes of each network are timed.
PASSES = {1: 40, 8: 10}
MOST_IN_PASSES = 1.05


# The networks.


def in_code() -> Callable[[], nn.Sequential]:
    """What builds the network with all of it written in code; its imports are done."""
    from measuring.combined import sequential
    from torch import nn
    from zoo_pytorch.networks.resnet import ResNet

    def build() -> nn.Sequential:
        backbone = ResNet(50, CLASSES)
        backbone.fc = nn.Identity()  # type: ignore[assignment]  # what stands in for the classifier
        return sequential(backbone)

    return build


def prepare_pytorch(folder: Path) -> None:
    """The same seeded network five times: with each kind of program, and as the peers and the floor read it."""
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(0)
    network = in_code()().eval()
    backbone = network[1]
    example = torch.rand(2, *PICTURE[1:])
    save_file(network.state_dict(), folder / "code.safetensors")
    torch.save(network[2].state_dict(), folder / "head.pth")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exported = torch.export.export(backbone, (example,), dynamic_shapes=({0: torch.export.Dim.AUTO},))
        torch.export.save(exported, folder / "export.pt2")
        torch.jit.save(torch.jit.trace(backbone, example), folder / "script.pt")
    for kind, program in {"aten": exported, "export": folder / "export.pt2", "script": folder / "script.pt"}.items():
        save_combined(folder / f"{kind}.safetensors", network, program)


def save_combined(path: Path, network: nn.Sequential, program: Any) -> None:
    """The network with a program in the middle."""
    import torch
    from measuring.combined import sequential
    from zoo_pytorch import SymbolBlock

    import zoo_core as zoo

    if path.stem == "export":
        # As it is: what `from_program` is given becomes torch.aten where it can, and this one could.
        block = SymbolBlock()
        block.set_extra_state(torch.frombuffer(bytearray(program.read_bytes()), dtype=torch.uint8))
    else:
        block = SymbolBlock.from_program(program)
    combined = sequential(block)
    combined[2].load_state_dict(network[2].state_dict())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # no factory is registered; it is handed over
        zoo.Model(combined.eval()).save(path)


def prepare_mxnet(folder: Path) -> None:
    """Gluon's own ResNet-50 without its classifier, exported, and between our layers."""
    from measuring.combined_mxnet import sequential
    from zoo_mxnet import SymbolBlock
    from zoo_mxnet.framework import mx

    import zoo_core as zoo

    network = mx.gluon.model_zoo.vision.resnet50_v1().features
    network.initialize()
    network.hybridize()
    network(mx.nd.zeros(PICTURE))
    network.export(str(folder / "symbol"))
    combined = sequential(SymbolBlock.from_program(folder / "symbol-symbol.json"))
    combined[2].initialize()
    combined(mx.nd.zeros(PICTURE))
    combined[2].save_parameters(str(folder / "head.params"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        zoo.Model(combined).save(folder / "symbol.safetensors")


# The variants: each does its imports, then gives what is timed.


def zoo_file(kind: str, engine: str = "PyTorch") -> Callable[[Path], Load]:
    """`zoo.load_model` of the one file, with a factory that nobody registered."""

    def start(folder: Path) -> Load:
        zoo = imported(engine)
        ours = import_module("measuring.combined" if engine == "PyTorch" else "measuring.combined_mxnet")
        factory = ours.CombinedFactory()

        def load() -> Loaded:
            model = zoo.load_model(model_path=folder / f"{kind}.safetensors", engine=engine, block_factory=factory)
            return Loaded(model.block, model.new_predictor().predict, model.close)

        return load

    return start


def floor(folder: Path) -> Load:
    """Without a program: build on the meta device, map, assign."""
    import torch
    from safetensors.torch import load_file

    build = in_code()
    imported_on_meta(folder)

    def load() -> Loaded:
        with torch.device("meta"):
            network = build()
        network.load_state_dict(load_file(folder / "code.safetensors"), assign=True)
        return opened(network)

    return load


def exported(folder: Path) -> Load:
    """`torch.export.load`."""
    import torch
    from measuring.combined import sequential

    def load() -> Loaded:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            backbone = torch.export.load(folder / "export.pt2").module()
        network = sequential(backbone)
        network[2].load_state_dict(torch.load(folder / "head.pth"))
        return Loaded(network, torch_answer(network))  # an exported program refuses `eval`

    return load


def scripted(folder: Path) -> Load:
    """`torch.jit.load`."""
    import torch
    from measuring.combined import sequential

    def load() -> Loaded:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            network = sequential(torch.jit.load(folder / "script.pt"))
        network[2].load_state_dict(torch.load(folder / "head.pth"))
        return opened(network)

    return load


def opened(network: nn.Module) -> Loaded:
    """A module in evaluation mode, and what it answers."""
    network.eval()
    return Loaded(network, torch_answer(network))


def imported_symbol(folder: Path) -> Load:
    """`SymbolBlock.imports`."""
    from measuring.combined_mxnet import sequential
    from zoo_mxnet.framework import mx

    def load() -> Loaded:
        files = str(folder / "symbol-symbol.json"), str(folder / "symbol-0000.params")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            network = sequential(mx.gluon.SymbolBlock.imports(files[0], ["data"], files[1]))
        network[2].load_parameters(str(folder / "head.params"))
        mx.nd.waitall()
        return Loaded(network, mxnet_answer(network))

    return load


# Forward passes.


def measure_passes(folder: Path) -> None:
    """Time a program and the same network in code, in turn in this process; print the times by network and batch."""
    import torch

    # With several threads the time of a pass depends on what else runs, much more than on how it is called.
    torch.set_num_threads(1)
    pairs = {
        "ResNet-50": (zoo_file("aten")(folder)().network, floor(folder)().network),
        "EfficientNet-Lite0": efficientnets(),
    }
    found = {
        f"{name}, batch {count}": alternated(pair, torch.rand(count, *PICTURE[1:]), passes)
        for name, pair in pairs.items()
        for count, passes in ({1: 1} if is_quick() else PASSES).items()
    }
    print(json.dumps(found))


def efficientnets() -> tuple[nn.Module, nn.Module]:
    """A network of many small operators, as a program and in code."""
    import torch
    from zoo_pytorch import SymbolBlock
    from zoo_pytorch.networks.efficientnet import EfficientNetLite0

    network = EfficientNetLite0().eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        free = ({0: torch.export.Dim.AUTO},)
        return SymbolBlock.from_program(
            torch.export.export(network, (torch.rand(2, *PICTURE[1:]),), dynamic_shapes=free)
        ), network


def alternated(networks: tuple[nn.Module, nn.Module], x: Any, passes: int) -> list[tuple[float, float]]:
    """The times of so many passes of each, in seconds."""
    import torch

    with torch.inference_mode():
        one, other = (network(x) for network in networks)
        assert torch.equal(one, other), "the two networks compute something else"
        return [(seconds(networks[0], x), seconds(networks[1], x)) for _ in range(passes)]


def seconds(network: nn.Module, x: Any) -> float:
    """How long one pass takes."""
    started = time.perf_counter()
    network(x)
    return time.perf_counter() - started


def report_passes(folder: Path) -> None:
    """Measure, and print times and ratios."""
    print("forward passes of torch.aten and of the same network in code, one thread, inference mode", flush=True)
    found = json.loads(in_process(__file__, "passes", folder, home=folder / "home"))
    for what, times in found.items():
        program, code = (min(taken) for taken in zip(*times, strict=True))
        neighbours = statistics.median(one / other for one, other in times)
        print(
            f"  {what}: {program * 1e3:.1f} ms, in code {code * 1e3:.1f} ms, the least of {len(times)}; "
            f"median ratio of neighbours {neighbours:.3f}x"
        )
        ratio = program / code
        print(f"  goal: at most {MOST_IN_PASSES}x: {ratio:.3f}x, {'met' if ratio <= MOST_IN_PASSES else 'MISSED'}")
    print(flush=True)


def case(kind: str, title: str, peer: dict[str, Callable[[Path], Load]], most: float, engine: str = "PyTorch") -> Case:
    """A kind of program beside its peer."""
    (name,) = peer
    return Case(
        title=title,
        plugin=f"zoo_{engine.lower()}",
        prepare=prepare_pytorch if engine == "PyTorch" else prepare_mxnet,
        also=report_passes if kind == "aten" else None,
        shape=PICTURE,
        weights=WEIGHTS_MIB,
        rounds=3 if kind == "export" else 5,  # each takes seconds
        variants={"zoo, one file": zoo_file(kind, engine), **peer},
        goals=(within("zoo, one file", name, most=most),),
    )


CASES = {
    "aten": case("aten", "torch.aten", {"floor, no program": floor}, 1.5),
    "export": case("export", "torch.export", {"torch.export.load": exported}, 1.1),
    "script": case("script", "TorchScript", {"torch.jit.load": scripted}, 1.1),
    "symbol": case("symbol", "MXNet symbol", {"SymbolBlock.imports": imported_symbol}, 1.1, "MXNet"),
}


if __name__ == "__main__":
    if sys.argv[1:2] == ["passes"]:
        measure_passes(Path(sys.argv[2]))
    else:
        run(__file__, "combined models from one file", CASES)
