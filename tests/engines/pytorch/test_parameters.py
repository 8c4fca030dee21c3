"""Parameter files into modules, and modules into parameter files."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch")

import safetensors.torch  # noqa: E402
from torch import Tensor, nn  # noqa: E402
from zoo_pytorch.construction import build_on_meta  # noqa: E402
from zoo_pytorch.engine import PyTorchEngine  # noqa: E402

import zoo_core as zoo  # noqa: E402

ENGINE = PyTorchEngine()


def network() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 2))


def filled(seed: int = 0) -> nn.Sequential:
    """A network whose every tensor has values of its own."""
    net = network()
    generator = torch.Generator().manual_seed(seed)
    for value in net.state_dict().values():
        if value.is_floating_point():
            value.copy_(torch.rand(value.shape, generator=generator) + 0.5)
        else:
            value.fill_(3)
    return net.eval()


def saved(net: nn.Module, path: Path, header: dict[str, str] | None = None) -> Path:
    ENGINE.save_parameters(net, path, header or {})
    return path


def assert_same_state(left: nn.Module, right: nn.Module) -> None:
    ours, theirs = left.state_dict(), right.state_dict()
    assert list(ours) == list(theirs)
    for name, value in ours.items():
        assert value.dtype == theirs[name].dtype
        assert torch.equal(value, theirs[name]), name


@pytest.mark.parametrize("build", [network, lambda: build_on_meta(network)], ids=["real", "meta"])
def test_what_is_saved_is_loaded_bit_for_bit(tmp_path: Path, build: object) -> None:
    source = filled()
    net = build()  # type: ignore[operator]
    ENGINE.load_parameters(net, saved(source, tmp_path / "a.safetensors"))
    assert_same_state(net, source)
    x = torch.rand(2, 3, 4, 4)
    assert torch.equal(net.eval()(x), source(x))


def test_a_stream_gets_the_same_bytes_as_a_file(tmp_path: Path) -> None:
    stream = io.BytesIO()
    ENGINE.save_parameters(filled(), stream, {"a": "b"})
    assert stream.getvalue() == saved(filled(), tmp_path / "a.safetensors", {"a": "b"}).read_bytes()


@pytest.mark.parametrize("is_zip", [True, False], ids=["zip", "legacy"])
def test_a_published_state_dict_is_read(tmp_path: Path, is_zip: bool) -> None:
    source = filled()
    path = tmp_path / "a.pth"
    torch.save(source.state_dict(), path, _use_new_zipfile_serialization=is_zip)
    net = build_on_meta(network)
    ENGINE.load_parameters(net, path)
    assert_same_state(net, source)


def test_parameters_are_mapped_copy_on_write(tmp_path: Path) -> None:
    path = saved(filled(), tmp_path / "a.safetensors")
    content = path.read_bytes()
    net = build_on_meta(network)
    ENGINE.load_parameters(net, path)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.zero_()
    assert path.read_bytes() == content


def test_a_block_with_values_keeps_its_parameter_objects(tmp_path: Path) -> None:
    net = network()
    weight = net[0].weight
    ENGINE.load_parameters(net, saved(filled(), tmp_path / "a.safetensors"))
    assert net[0].weight is weight
    assert torch.equal(weight, filled()[0].weight)


def test_names_and_shapes_that_differ_are_listed_with_both_shapes(tmp_path: Path) -> None:
    tensors = dict(filled().state_dict())
    tensors["extra"] = torch.zeros(1)
    tensors["3.bias"] = torch.zeros(7)
    del tensors["0.weight"]
    path = tmp_path / "a.safetensors"
    safetensors.torch.save_file(tensors, path)
    with pytest.raises(zoo.ParameterError) as caught:
        ENGINE.load_parameters(build_on_meta(network), path)
    assert caught.value.missing == ("0.weight",)
    assert caught.value.unexpected == ("extra",)
    assert caught.value.mismatched == ("3.bias",)
    assert "3.bias float32[2] in the block, float32[7] in the file" in str(caught.value)


def test_not_strict_loads_what_fits_and_reports_the_rest(tmp_path: Path) -> None:
    source = filled()
    tensors = dict(source.state_dict())
    tensors["extra"] = torch.zeros(1)
    tensors["3.bias"] = torch.zeros(7)
    del tensors["0.weight"]
    path = tmp_path / "a.safetensors"
    safetensors.torch.save_file(tensors, path)
    net = build_on_meta(network)
    report = ENGINE.load_parameters(net, path, strict=False)
    assert report.missing == ("0.weight",)
    assert report.unexpected == ("extra",)
    assert report.mismatched == ("3.bias float32[2] in the block, float32[7] in the file",)
    assert torch.equal(net[3].weight, source[3].weight)
    assert torch.equal(net[0].bias, source[0].bias)
    assert net[0].weight.abs().sum() > 0
    assert torch.isfinite(net[0].weight).all()


def test_a_tensor_computed_from_a_parameter_is_named(tmp_path: Path) -> None:
    class Derived(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(3))
            self.doubled = self.weight.detach() * 2

    path = saved(nn.ParameterDict({"weight": nn.Parameter(torch.ones(3))}), tmp_path / "a.safetensors")
    with pytest.raises(zoo.ParameterError, match=r"doubled of Derived got no value"):
        ENGINE.load_parameters(build_on_meta(Derived), path)


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Embedding(10, 4)
        self.decoder = nn.Linear(4, 10, bias=False)
        self.decoder.weight = self.encoder.weight

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.decoder(self.encoder(x))
        return out


def test_tied_weights_are_stored_once_and_stay_tied(tmp_path: Path) -> None:
    source = Tied()
    path = saved(source, tmp_path / "a.safetensors")
    file = zoo.read_parameters(path)
    assert list(file) == ["encoder.weight"]
    assert file.header["zoo.aliases"] == '{"decoder.weight": "encoder.weight"}'
    net = build_on_meta(Tied)
    ENGINE.load_parameters(net, path)
    assert net.decoder.weight is net.encoder.weight
    assert torch.equal(net.decoder.weight, source.encoder.weight)


def test_a_published_file_with_both_names_of_a_tied_weight_keeps_it_tied(tmp_path: Path) -> None:
    source = Tied()
    torch.save(source.state_dict(), tmp_path / "a.pth")
    net = build_on_meta(Tied)
    ENGINE.load_parameters(net, tmp_path / "a.pth")
    assert net.decoder.weight is net.encoder.weight


def test_a_view_of_another_parameter_is_saved_whole(tmp_path: Path) -> None:
    class Sliced(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.whole = nn.Parameter(torch.arange(6.0))
            self.register_buffer("tail", self.whole.detach()[3:])

    path = saved(Sliced(), tmp_path / "a.safetensors")
    assert zoo.read_parameters(path)["tail"].tolist() == [3.0, 4.0, 5.0]


def test_a_file_without_batch_counters_is_complete(tmp_path: Path) -> None:
    tensors = {name: value for name, value in filled().state_dict().items() if not name.endswith("num_batches_tracked")}
    safetensors.torch.save_file(tensors, tmp_path / "a.safetensors")
    net = build_on_meta(network)
    ENGINE.load_parameters(net, tmp_path / "a.safetensors")
    assert net[1].num_batches_tracked.item() == 0


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_floating_point_parameters_are_converted_and_counters_are_not(tmp_path: Path, dtype: str) -> None:
    net = build_on_meta(network)
    ENGINE.load_parameters(net, saved(filled(), tmp_path / "a.safetensors"), dtype=dtype)
    assert {value.dtype for value in net.state_dict().values()} == {getattr(torch, dtype), torch.int64}
    assert torch.equal(net[3].bias, filled()[3].bias.to(getattr(torch, dtype)))


def test_bfloat16_files_stay_bfloat16(tmp_path: Path) -> None:
    source = nn.Linear(3, 2).bfloat16()
    net = build_on_meta(lambda: nn.Linear(3, 2))
    ENGINE.load_parameters(net, saved(source, tmp_path / "a.safetensors"))
    assert net.weight.dtype == torch.bfloat16
    assert torch.equal(net.weight, source.weight)


def test_golden_tensors_are_no_parameters(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    golden = {"zoo.golden.input.x": torch.rand(1, 3, 4, 4).numpy()}
    ENGINE.save_parameters(filled(), path, {}, golden)
    ENGINE.load_parameters(build_on_meta(network), path)
    assert "zoo.golden.input.x" in zoo.read_parameters(path)


class Renamed(nn.Linear):
    """A module that still reads the files of an older version of itself."""

    def __init__(self) -> None:
        super().__init__(2, 1)
        self.register_buffer("count", torch.zeros(1))
        self.register_load_state_dict_pre_hook(self._rename)

    @staticmethod
    def _rename(module: nn.Module, state: dict[str, Tensor], prefix: str, *_: object) -> None:
        if f"{prefix}w" in state:
            state[f"{prefix}weight"] = state.pop(f"{prefix}w")


@pytest.mark.parametrize("build", [Renamed, lambda: build_on_meta(Renamed)], ids=["real", "meta"])
def test_a_module_may_rename_what_an_older_file_holds(tmp_path: Path, build: object) -> None:
    old = {"w": torch.full((1, 2), 5.0), "bias": torch.ones(1), "count": torch.ones(1)}
    safetensors.torch.save_file(old, tmp_path / "a.safetensors")
    net = build()  # type: ignore[operator]
    ENGINE.load_parameters(net, tmp_path / "a.safetensors")
    assert (net.weight.tolist(), net.count.tolist()) == ([[5.0, 5.0]], [1.0])


@pytest.mark.parametrize("extra", [{}, {"w": torch.zeros(1, 3)}], ids=["missing", "another shape under the old name"])
def test_a_load_that_fails_after_renaming_changes_nothing(tmp_path: Path, extra: dict[str, Tensor]) -> None:
    safetensors.torch.save_file({"bias": torch.full((1,), 9.0), "count": torch.ones(1)} | extra, tmp_path / "a.safetensors")
    net = Renamed()
    bias = net.bias
    before = {name: value.clone() for name, value in net.state_dict().items()}
    with pytest.raises(zoo.ParameterError):
        ENGINE.load_parameters(net, tmp_path / "a.safetensors")
    assert net.bias is bias
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_an_empty_block_stays_empty_where_a_load_fails(tmp_path: Path) -> None:
    safetensors.torch.save_file({"weight": torch.ones(2, 3)}, tmp_path / "a.safetensors")
    net = build_on_meta(lambda: nn.Linear(3, 2))
    with pytest.raises(zoo.ParameterError, match="missing in the file: bias"):
        ENGINE.load_parameters(net, tmp_path / "a.safetensors")
    assert net.weight.is_meta


def test_parameters_without_values_cannot_be_saved(tmp_path: Path) -> None:
    with pytest.raises(zoo.ParameterError, match=r"without a value yet: 0\.bias, 0\.weight") as caught:
        saved(build_on_meta(lambda: nn.Sequential(nn.Linear(1, 1))), tmp_path / "a.safetensors")
    assert caught.value.missing == ("0.weight", "0.bias")
    with pytest.raises(zoo.ParameterError, match="without a value yet: bias, weight"):
        saved(nn.LazyLinear(2), tmp_path / "a.safetensors")


def test_parameters_filled_from_one_stored_tensor_are_trained_apart(tmp_path: Path) -> None:
    path = saved(Tied(), tmp_path / "a.safetensors")

    class Untied(Tied):
        def __init__(self) -> None:
            super().__init__()
            self.decoder = nn.Linear(4, 10, bias=False)

    net = build_on_meta(Untied)
    ENGINE.load_parameters(net, path)
    with torch.no_grad():
        net.encoder.weight.fill_(7)
    assert not (net.decoder.weight == 7).any()


def test_a_tied_parameter_of_another_kind_is_a_mismatch(tmp_path: Path) -> None:
    safetensors.torch.save_file({"encoder.weight": torch.ones(10, 4).long()}, tmp_path / "a.safetensors")
    with pytest.raises(zoo.ParameterError, match=r"int64\[10, 4\] in the file"):
        ENGINE.load_parameters(build_on_meta(Tied), tmp_path / "a.safetensors")


def test_tensors_of_two_devices_are_not_taken_for_one() -> None:
    """An address means something on its device only."""
    from zoo_pytorch.parameters import _untied

    class Elsewhere(Tensor):
        @property
        def device(self) -> torch.device:  # type: ignore[override]
            return torch.device("cuda", 1)

    here = torch.ones(2)
    tensors, aliases = _untied({"here": here, "there": here.as_subclass(Elsewhere)})
    assert (sorted(tensors), aliases) == (["here", "there"], {})


def test_an_integer_does_not_stand_for_a_float(tmp_path: Path) -> None:
    safetensors.torch.save_file({"weight": torch.ones(2, 3).long(), "bias": torch.ones(2)}, tmp_path / "a.safetensors")
    with pytest.raises(zoo.ParameterError, match=r"float32\[2, 3\] in the block, int64\[2, 3\] in the file"):
        ENGINE.load_parameters(build_on_meta(lambda: nn.Linear(3, 2)), tmp_path / "a.safetensors")
