"""Symbols and networks for tests of SymbolBlock; import it only where MXNet is installed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import zoo_mxnet
from zoo_mxnet import SymbolBlock
from zoo_mxnet.framework import HybridBlock, mx, nn

if TYPE_CHECKING:
    from collections.abc import Mapping

#: What the published network takes.
PICTURES = np.random.default_rng(3).normal(size=(2, 3, 6, 6)).astype(np.float32)


def published(seed: int = 0) -> Any:
    """A small network as somebody publishes it, with running statistics that are not those of a fresh one."""
    net = nn.HybridSequential(prefix="pub_")
    with net.name_scope():
        net.add(
            nn.Conv2D(4, 3, in_channels=3, use_bias=False), nn.BatchNorm(in_channels=4), nn.Activation("relu"), nn.Flatten()
        )
        net.add(nn.Dense(5, in_units=64))
    net.initialize()
    draw = np.random.default_rng(seed)
    for parameter in net.collect_params().values():
        parameter.set_data(mx.nd.array(draw.uniform(0.1, 1, parameter.shape).astype(np.float32)))
    return net


def exported(folder: Path, seed: int = 0) -> Path:
    """The files that Gluon writes for it; the path of the symbol."""
    net = published(seed)
    net.hybridize()
    net(mx.nd.array(PICTURES))
    net.export(str(folder / "net"))
    return folder / "net-symbol.json"


def symbol() -> Any:
    return published()(mx.sym.var("data"))


def filled(seed: int = 0) -> SymbolBlock:
    return SymbolBlock.from_program(symbol(), parameters=published(seed).collect_params())


def combined(*, empty: bool = False) -> Any:
    """Layers before and after two symbols of the same program, one of them nested."""
    draw = np.random.default_rng(5)
    tail = nn.HybridSequential()
    tail.add(SymbolBlock() if empty else filled(2), nn.Dense(2, in_units=5))
    net = nn.HybridSequential()
    net.add(nn.Conv2D(3, 1, in_channels=3, activation="sigmoid"), Both(SymbolBlock() if empty else filled(1), tail))
    if not empty:
        net[0].initialize()
        tail[1].initialize()
        for parameter in (*net[0].collect_params().values(), *tail[1].collect_params().values()):
            parameter.set_data(mx.nd.array(draw.normal(size=parameter.shape).astype(np.float32)))
    return net


class Both(HybridBlock):
    """Two blocks on one input, side by side."""

    def __init__(self, one: Any, other: Any) -> None:
        super().__init__()
        self.one, self.other = one, other

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        return F.concat(self.one(x), self.other(x), dim=1)


def run(block: Any, *arrays: Any) -> Any:
    return block(*(mx.nd.array(array, dtype=array.dtype) for array in arrays or (PICTURES,))).asnumpy()


def values(block: Any) -> dict[str, Any]:
    return {name: parameter.data().asnumpy() for name, parameter in block._collect_params_with_prefix().items()}


def assert_same_bits(found: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    assert found.keys() == expected.keys()
    for name in expected:
        assert found[name].dtype == expected[name].dtype, name
        assert found[name].tobytes() == expected[name].tobytes(), name


def train(block: Any, steps: int = 2) -> None:
    """Some steps of gradient descent on whatever output the block has."""
    trainer = mx.gluon.Trainer(block.collect_params(), "sgd", {"learning_rate": 0.001})
    for _ in range(steps):
        with mx.autograd.record():
            loss = (block(mx.nd.array(PICTURES)) ** 2).mean()
        loss.backward()
        trainer.step(1)


def in_fresh_process(code: str, *arguments: object) -> str:
    """What a new process prints that runs some code, with these texts as its arguments."""
    root = Path(__file__).parents[3]
    command = [sys.executable, "-W", "error::UserWarning", "-c", code, *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(root), *sys.path])}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, check=False)
    assert done.returncode == 0, f"ended with {done.returncode}: {done.stderr[-2000:]}"
    return done.stdout


__all__ = ["PICTURES", "SymbolBlock", "mx", "nn", "zoo_mxnet"]
