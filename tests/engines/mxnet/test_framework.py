"""MXNet is imported late, silently, and beside what else is installed."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytest.importorskip("zoo_mxnet.framework", reason="needs MXNet: pip install zoo-mxnet")


def run(code: str) -> str:
    """Run code in a fresh interpreter in which every warning is an error."""
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_neither_the_package_nor_its_factories_import_mxnet() -> None:
    code = (
        "import sys, zoo_mxnet, zoo_mxnet.factories as f; f.ResNetV1(); print('mxnet' in sys.modules, 'numpy' in sys.modules)"
    )

    assert run(code) == "False False\n"


def test_the_engine_is_imported_without_a_warning_and_runs() -> None:
    code = """
import numpy as np
from zoo_mxnet.engine import MXNetEngine
from zoo_mxnet.factories import Identity
print(MXNetEngine().forward(Identity().network(), {"x": np.ones((1, 2), np.int8)})["output"].tolist())
"""
    assert run(code) == "[[1, 1]]\n"


def test_a_boolean_index_works_although_numpy_dropped_the_name_that_mxnet_asks_for() -> None:
    code = "from zoo_mxnet.framework import mx; x = mx.np.array([1, 2, 3]); print(x[x > 1])"

    assert run(code) == "[2. 3.]\n"


@pytest.mark.parametrize("order", ["torch, zoo_mxnet.engine", "zoo_mxnet.engine, torch"])
def test_both_engines_are_imported_in_either_order(order: str) -> None:
    pytest.importorskip("torch", reason="needs both engines")

    assert (
        run(f"import {order}; print(float(torch.ones(2) @ torch.ones(2)), zoo_mxnet.engine.mx.nd.ones((2,)).sum().asscalar())")
        == "2.0 2.0\n"
    )


def test_an_unknown_name_of_the_package_is_an_attribute_error() -> None:
    import zoo_mxnet

    assert "load_parameters" in dir(zoo_mxnet)
    with pytest.raises(AttributeError, match="has no attribute 'lode_parameters'"):
        zoo_mxnet.lode_parameters  # noqa: B018
