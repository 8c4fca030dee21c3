"""What MXNet wrote, read without MXNet, is bit for bit what MXNet reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from zoo_core.errors import ParameterError
from zoo_core.parameters import kind_of, read_parameters

if TYPE_CHECKING:
    from pathlib import Path

np = pytest.importorskip("numpy")
# It puts back the names of NumPy that MXNet needs, before MXNet is imported.
mx = pytest.importorskip("zoo_mxnet.framework", reason="needs the engine MXNet", exc_type=ImportError).mx


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "uint8", "int8", "int32", "int64", "bool"])
def test_every_dtype_is_bit_equal(dtype: str, tmp_path: Path) -> None:
    path = str(tmp_path / "model.params")
    values = np.arange(-6, 6).reshape(3, 4).astype(dtype)
    mx.nd.save(path, {"arg:w": mx.nd.array(values, dtype=dtype), "aux:m": mx.nd.array(values[0], dtype=dtype)})
    file, expected = read_parameters(path), mx.nd.load(path)
    assert (file.format, set(file)) == ("params", {"w", "m"})
    for name, array in (("w", expected["arg:w"].asnumpy()), ("m", expected["aux:m"].asnumpy())):
        assert (file[name].dtype, file[name].shape) == (array.dtype, array.shape)
        assert file[name].tobytes() == array.tobytes()


def test_a_list_without_names_is_numbered(tmp_path: Path) -> None:
    mx.nd.save(str(tmp_path / "model.params"), [mx.nd.ones((2, 3)), mx.nd.zeros((1,))])
    file = read_parameters(tmp_path / "model.params")
    assert {name: array.tolist() for name, array in file.items()} == {"0": [[1, 1, 1], [1, 1, 1]], "1": [0]}


def test_the_parameters_of_a_gluon_block_are_read(tmp_path: Path) -> None:
    block = mx.gluon.nn.Dense(3, in_units=2)
    block.initialize()
    block.save_parameters(str(tmp_path / "model.params"))
    file = read_parameters(tmp_path / "model.params")
    assert file["weight"].tobytes() == block.weight.data().asnumpy().tobytes()
    assert kind_of(file).trust == "data"


def test_sparse_arrays_are_refused(tmp_path: Path) -> None:
    mx.nd.save(str(tmp_path / "model.params"), {"w": mx.nd.zeros((2, 2)).tostype("row_sparse")})
    with pytest.raises(ParameterError, match="array 0 is sparse"):
        read_parameters(tmp_path / "model.params")


def test_a_symbol_is_a_program(tmp_path: Path) -> None:
    mx.sym.FullyConnected(mx.sym.Variable("data"), num_hidden=2).save(str(tmp_path / "model-symbol.json"))
    kind = kind_of(tmp_path / "model-symbol.json")
    assert (kind.format, kind.trust) == ("mxnet-symbol", "program")
