"""The detector: its numbers, its anchors, any size of picture."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install zoo-pytorch")

import numpy as np  # noqa: E402
import safetensors.numpy  # noqa: E402
from zoo_pytorch import factories  # noqa: E402
from zoo_pytorch.engine import PyTorchEngine  # noqa: E402
from zoo_pytorch.networks.ssd import anchors_of  # noqa: E402

from tests import reference_ssd  # noqa: E402
from tests.reference_networks import seeded_values  # noqa: E402

ENGINE = PyTorchEngine()
MODEL: Any = None


@pytest.fixture
def values() -> dict[str, Any]:
    net = factories.SSD(**reference_ssd.FIELDS).network()
    return seeded_values({name: tuple(value.shape) for name, value in net.state_dict().items() if "tracked" not in name})


@pytest.fixture
def net(values: dict[str, Any]) -> Any:
    built = ENGINE.build(factories.SSD(**reference_ssd.FIELDS), MODEL, None, {})
    ENGINE.load_parameters(built, safetensors.numpy.save(values))
    return built


def picture(height: int, width: int) -> Any:
    return np.random.RandomState(0).uniform(-1, 1, (2, 3, height, width)).astype(np.float32)


@pytest.mark.parametrize(("height", "width"), [(32, 32), (23, 50), (1, 1)])
def test_it_computes_what_the_reference_computes(net: Any, values: dict[str, Any], height: int, width: int) -> None:
    x = picture(height, width)

    found = ENGINE.forward(net, {"x": x})

    expected = reference_ssd.outputs(values, x)
    assert list(found) == ["scores", "offsets", "anchors"]
    for name, array in expected.items():
        np.testing.assert_allclose(found[name], array, rtol=0, atol=1e-5, err_msg=name)


def test_anchors_are_no_state_and_depend_on_the_picture_only(net: Any) -> None:
    assert {name.partition(".")[0] for name in net.state_dict()} == {"backbone", "scales", "classifiers", "regressors"}
    small, large = (ENGINE.forward(net, {"x": picture(size, size)})["anchors"] for size in (16, 32))
    assert large.shape[1] == 4 * small.shape[1]


def test_anchors_keep_their_precision_whatever_the_network_computes_in() -> None:
    feature = torch.zeros((1, 1, 3, 5))
    exact = anchors_of(feature, (0.3,), (1.0,))
    for dtype in (torch.float16, torch.bfloat16, torch.float64):
        found = anchors_of(feature.to(dtype), (0.3,), (1.0,))
        assert found.dtype == torch.float32
        assert torch.equal(found, exact)


def test_gradients_reach_every_parameter(net: Any) -> None:
    net.train()
    scores, offsets, _ = net(torch.from_numpy(picture(20, 20)))
    (scores.square().sum() + offsets.square().sum()).backward()
    assert [name for name, value in net.named_parameters() if value.grad is None or not value.grad.any()] == []


def test_it_can_be_exported_with_a_free_batch(net: Any) -> None:
    net.eval()
    x = torch.from_numpy(picture(20, 28))
    program = torch.export.export(net, (x,), dynamic_shapes={"x": {0: torch.export.Dim("batch", min=1)}})
    one = torch.cat([x, x + 0.5, x - 0.5])
    for found, expected in zip(program.module()(one), net(one), strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=0)
