"""PyTorch behind the interface that Zoo knows."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch")

import numpy as np  # noqa: E402
from torch import Tensor, nn  # noqa: E402
from zoo_pytorch.engine import PyTorchEngine  # noqa: E402

import zoo_core as zoo  # noqa: E402
from zoo_core.device import Device  # noqa: E402

ENGINE = PyTorchEngine()


class InPlace(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mul_(2)


def test_it_owns_modules_and_nothing_else() -> None:
    assert ENGINE.owns(nn.Linear(1, 1))
    assert not ENGINE.owns(object())


def test_an_input_is_never_written_to() -> None:
    x = np.ones((1, 2), np.float32)
    assert ENGINE.forward(InPlace(), {"x": x})["output"].tolist() == [[2.0, 2.0]]
    assert x.tolist() == [[1.0, 1.0]]


def test_a_read_only_input_is_taken() -> None:
    x = np.ones((1, 2), np.float32)
    x.flags.writeable = False
    assert ENGINE.forward(InPlace(), {"x": x})["output"].tolist() == [[2.0, 2.0]]


def test_float64_inputs_get_the_precision_of_the_parameters() -> None:
    net = nn.Linear(2, 1)
    assert ENGINE.forward(net, {"x": np.ones((1, 2))})["output"].dtype == np.float32


def test_integers_stay_integers() -> None:
    net = nn.Embedding(4, 2)
    found = ENGINE.forward(net, {"x": np.array([[1, 2]])})["output"]
    assert np.array_equal(found, net.weight.detach().numpy()[[[1, 2]]])


def test_bfloat16_outputs_come_as_float32() -> None:
    net = nn.Linear(2, 1).bfloat16()
    assert ENGINE.forward(net, {"x": np.ones((1, 2), np.float32)})["output"].dtype == np.float32


def test_prediction_is_in_evaluation_mode_and_leaves_the_mode_as_it_was() -> None:
    net = nn.Sequential(nn.Dropout(1.0), nn.BatchNorm1d(2))
    net[1].eval()
    net.training = True
    found = ENGINE.forward(net, {"x": np.ones((3, 2), np.float32)})["output"]
    assert np.allclose(found, 1.0, atol=1e-4)
    assert (net.training, net[0].training, net[1].training) == (True, True, False)
    assert net[1].num_batches_tracked.item() == 0


@pytest.mark.parametrize("mode", [True, False], ids=["training", "evaluation"])
def test_a_prediction_is_in_evaluation_mode_whatever_ends_beside_it(mode: bool) -> None:
    """The first of two that overlap must not put the block back into training mode under the second one."""
    first_inside, second_inside, first_done = threading.Event(), threading.Event(), threading.Event()
    modes = []

    class Slow(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            if x.item() == 1:
                first_inside.set()
                assert second_inside.wait(10)
            else:
                second_inside.set()
                assert first_done.wait(10)
            modes.append(self.training)
            return x

    net = Slow().train(mode)

    def predict(number: float) -> None:
        ENGINE.forward(net, {"x": np.array([number], np.float32)})
        if number == 1:
            first_done.set()

    threads = [threading.Thread(target=predict, args=(number,)) for number in (1, 2)]
    threads[0].start()
    assert first_inside.wait(10)
    threads[1].start()
    for thread in threads:
        thread.join()

    assert modes == [False, False]
    assert net.training is mode


def test_blocks_that_share_a_module_agree_about_its_mode() -> None:
    shared = nn.Dropout(1.0)
    other = PyTorchEngine()

    class Outer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Sequential(shared)

        def forward(self, x: Tensor) -> Tensor:
            other.forward(shared, {"x": x.numpy()})
            out: Tensor = self.inner(x)
            return out

    assert ENGINE.forward(Outer(), {"x": np.ones(2, np.float32)})["output"].tolist() == [1.0, 1.0]
    assert shared.training


@pytest.mark.parametrize("kind", ["parameter", "buffer", "part", "cache"])
def test_writing_to_an_output_changes_nothing_in_the_block(kind: str) -> None:
    class Holds(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(3))
            self.register_buffer("mean", torch.ones(3))
            self.cache: Tensor | None = None

        def forward(self, x: Tensor) -> Tensor:
            if self.cache is None:
                self.cache = x + 1
            found: Tensor = {"parameter": self.weight, "buffer": self.mean, "part": self.weight[1:], "cache": self.cache}[kind]
            return found

    net, x = Holds(), {"x": np.zeros(3, np.float32)}
    ENGINE.forward(net, x)["output"][:] = 7

    assert set(ENGINE.forward(net, x)["output"].tolist()) == {1.0}


def test_an_optional_argument_may_be_left_out_by_name() -> None:
    class Masks(nn.Module):
        def forward(self, x: Tensor, mask: Tensor | None = None, *, scale: Tensor) -> Tensor:
            return x * scale if mask is None else x * mask

    found = ENGINE.forward(Masks(), {"scale": np.full(1, 3, np.float32), "x": np.ones(1, np.float32)})
    assert found["output"].tolist() == [3.0]


def test_an_argument_that_is_missing_is_an_input_error() -> None:
    with pytest.raises(zoo.InputError, match="missing a required argument: 'input2'"):
        ENGINE.forward(nn.Bilinear(1, 1, 1), {"input1": np.ones((1, 1), np.float32)})


def test_no_graph_is_recorded() -> None:
    class Asking(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            assert torch.is_inference_mode_enabled()
            return x

    ENGINE.forward(Asking(), {"x": np.ones(1, np.float32)})


class Returning(nn.Module):
    def __init__(self, make: object) -> None:
        super().__init__()
        self.make = make

    def forward(self, x: Tensor) -> object:
        return self.make(x)  # type: ignore[operator]


@pytest.mark.parametrize(
    ("make", "names"),
    [
        (lambda x: x, ["output"]),
        (lambda x: (x, x), ["output_0", "output_1"]),
        (lambda x: [x], ["output"]),
        (lambda x: {"logits": x, "mask": x}, ["logits", "mask"]),
    ],
    ids=["tensor", "tuple", "list of one", "mapping"],
)
def test_outputs_have_names(make: object, names: list[str]) -> None:
    assert list(ENGINE.forward(Returning(make), {"x": np.ones((1, 1), np.float32)})) == names


def test_an_output_that_is_no_tensor_is_an_input_error() -> None:
    with pytest.raises(zoo.InputError, match="output of the block is str"):
        ENGINE.forward(Returning(lambda _: "text"), {"x": np.ones((1, 1), np.float32)})


def test_a_shape_that_does_not_fit_names_what_was_given() -> None:
    with pytest.raises(zoo.InputError, match=r"Linear cannot run on x float32\[1, 3\]"):
        ENGINE.forward(nn.Linear(2, 1), {"x": np.ones((1, 3), np.float32)})


def test_a_device_that_is_not_there_names_those_that_are(tmp_path: Path) -> None:
    ENGINE.save_parameters(nn.Linear(1, 1), tmp_path / "a.safetensors", {})
    with pytest.raises(zoo.InputError, match=r"device gpu:99 is not there; PyTorch .* sees: cpu"):
        ENGINE.load_parameters(nn.Linear(1, 1), tmp_path / "a.safetensors", device=Device("gpu", 99))


def test_an_unknown_dtype_names_the_known_ones(tmp_path: Path) -> None:
    ENGINE.save_parameters(nn.Linear(1, 1), tmp_path / "a.safetensors", {})
    with pytest.raises(zoo.InputError, match="bfloat16, float16, float32, float64"):
        ENGINE.load_parameters(nn.Linear(1, 1), tmp_path / "a.safetensors", dtype="float8")


def test_it_reads_data_and_no_programs(tmp_path: Path) -> None:
    ENGINE.save_parameters(nn.Linear(1, 1), tmp_path / "a.safetensors", {})
    torch.save(nn.Linear(1, 1).state_dict(), tmp_path / "a.pth")
    (tmp_path / "a.txt").write_text("text")
    assert ENGINE.reads(tmp_path / "a.safetensors")
    assert ENGINE.reads(tmp_path / "a.pth")
    assert not ENGINE.reads(tmp_path / "a.txt")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_parameters_go_to_the_gpu(tmp_path: Path) -> None:
    source = nn.Linear(2, 1)
    ENGINE.save_parameters(source, tmp_path / "a.safetensors", {})
    net = nn.Linear(2, 1)
    ENGINE.load_parameters(net, tmp_path / "a.safetensors", device=Device("gpu", 0))
    assert net.weight.device.type == "cuda"
    x = np.ones((1, 2), np.float32)
    assert np.allclose(ENGINE.forward(net, {"x": x})["output"], ENGINE.forward(source, {"x": x})["output"], atol=1e-6)
