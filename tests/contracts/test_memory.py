"""What a model takes is its parameters' memory, and it gives that back when it is closed."""

from __future__ import annotations

import json
import subprocess
import sys
import weakref
from pathlib import Path
from typing import Any

import pytest

import zoo_core as zoo

np = pytest.importorskip("numpy", reason="needs an engine, which brings NumPy")
from tests.contracts.test_engines import built, shapes_of  # noqa: E402 - it cannot be imported without

safetensors_numpy = pytest.importorskip("safetensors.numpy", reason="needs an engine, which brings safetensors")

#: A perceptron's, of 64 MiB.
LARGE = {"inputs": 4096, "hidden": (4096,), "outputs": 2}
SMALL = {"inputs": 4, "hidden": (4,), "outputs": 2}

#: Prints what is held above the imports and a first small model, in MiB: when a model was used, and when it was closed.
SCRIPT = """
import json, resource, sys
import numpy as np
import zoo_core as zoo


def held():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 2**20


def mapped():
    with open("/proc/self/maps") as file:
        return path in file.read()


def used(path, fields):
    model = zoo.load_model(model_path=path, engine=engine, block_factory="mlp", arguments=fields)
    model.new_predictor().predict(np.ones((1, fields["inputs"]), np.float32))
    return model


engine, path, fields, small_path, small_fields = sys.argv[1:]
used(small_path, json.loads(small_fields)).close()
before = held()
model = used(path, json.loads(fields))
opened, was_mapped = held() - before, mapped()
model.close()
print(json.dumps({"opened": opened, "closed": held() - before, "was_mapped": was_mapped, "is_mapped": mapped()}))
"""


def file_of(engine: zoo.Engine, fields: dict[str, Any], path: Path) -> Path:
    """A perceptron's parameters, all zero."""
    shapes = shapes_of(built(engine, "mlp", fields))
    safetensors_numpy.save_file({name: np.zeros(shape, np.float32) for name, shape in shapes.items()}, path)
    return path


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux, which tells a process what it holds")
def test_a_model_holds_its_parameters_once_and_nothing_of_them_when_it_is_closed(engine: zoo.Engine, tmp_path: Path) -> None:
    large = file_of(engine, LARGE, tmp_path / "large.safetensors")
    small = file_of(engine, SMALL, tmp_path / "small.safetensors")
    arguments = (engine.name, str(large), json.dumps(LARGE), str(small), json.dumps(SMALL))
    done = subprocess.run([sys.executable, "-c", SCRIPT, *arguments], capture_output=True, text=True, check=True)
    found, size = json.loads(done.stdout), large.stat().st_size / 2**20
    # Gluon gives each parameter a gradient of its size.
    most = 1.15 if engine.name == "PyTorch" else 2.15
    assert 0.9 * size < found["opened"] < most * size
    assert found["was_mapped"]
    assert not found["is_mapped"]
    assert found["closed"] < 0.15 * size


def test_a_closed_model_frees_its_block_at_once_unless_it_was_taken_out(engine: zoo.Engine, tmp_path: Path) -> None:
    path = file_of(engine, SMALL, tmp_path / "small.safetensors")

    def opened() -> zoo.Model:
        return zoo.load_model(model_path=path, engine=engine.name, block_factory="mlp", arguments=SMALL)

    model = opened()
    block = weakref.ref(model.block)
    model.close()
    assert block() is None
    model = opened()
    taken = model.block
    model.close()
    assert shapes_of(taken) == shapes_of(built(engine, "mlp", SMALL))
