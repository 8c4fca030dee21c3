"""BERT's encoder: its numbers, its names, its inputs."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install zoo-pytorch")

import numpy as np  # noqa: E402
import safetensors.numpy  # noqa: E402
from zoo_pytorch import factories  # noqa: E402
from zoo_pytorch.engine import PyTorchEngine  # noqa: E402

import zoo_core as zoo  # noqa: E402
from tests import reference_transformer as reference  # noqa: E402
from tests.reference_networks import seeded_values  # noqa: E402

ENGINE = PyTorchEngine()
MODEL: Any = None


def values_of(net: Any) -> dict[str, Any]:
    return seeded_values({name: tuple(value.shape) for name, value in net.state_dict().items()})


def filled(**fields: Any) -> Any:
    net = ENGINE.build(factories.TransformerEncoder(**(reference.FIELDS | fields)), MODEL, None, {})
    ENGINE.load_parameters(net, safetensors.numpy.save(values_of(net)))
    return net


GIVEN = (("input_ids",), ("input_ids", "attention_mask"), ("input_ids", "token_type_ids"), tuple(reference.inputs()))


@pytest.mark.parametrize("names", GIVEN, ids=" ".join)
def test_it_computes_what_the_reference_computes(names: tuple[str, ...]) -> None:
    net, inputs = filled(), {name: reference.inputs()[name] for name in names}

    found = ENGINE.forward(net, inputs)

    expected = reference.outputs(values_of(net), **inputs)
    assert list(found) == list(expected)
    for name, array in expected.items():
        np.testing.assert_allclose(found[name], array, rtol=0, atol=1e-5, err_msg=name)


def test_relu_and_epsilon_are_fields() -> None:
    net, inputs = filled(activation="relu", epsilon=0.01), reference.inputs()
    expected = reference.outputs(values_of(net), **inputs, activation="relu", epsilon=0.01)
    np.testing.assert_allclose(
        ENGINE.forward(net, inputs)["last_hidden_state"], expected["last_hidden_state"], rtol=0, atol=1e-5
    )


def test_without_a_pooler_the_states_are_all() -> None:
    net = filled(pooler=False)
    assert list(ENGINE.forward(net, reference.inputs())) == ["last_hidden_state"]
    assert sorted(net.state_dict()) == [name for name in reference.NAMES if not name.startswith("pooler")]


def test_it_has_the_parameter_names_of_the_published_checkpoints() -> None:
    assert sorted(filled().state_dict()) == reference.NAMES


def test_bert_base_has_as_many_parameters_as_the_paper_says() -> None:
    net = ENGINE.build(factories.TransformerEncoder(), MODEL, None, {})
    assert sum(parameter.numel() for parameter in net.parameters()) == 109_482_240  # "110M"


def test_padding_changes_nothing_for_the_tokens_before_it() -> None:
    net, inputs = filled(), reference.inputs()
    whole = ENGINE.forward(net, inputs)["last_hidden_state"][1, :5]
    cut = ENGINE.forward(net, {name: array[1:2, :5] for name, array in inputs.items()})["last_hidden_state"][0]
    np.testing.assert_allclose(whole, cut, rtol=0, atol=2e-6)


@pytest.mark.parametrize("dtype", ["int64", "bool", "float32"])
def test_a_sequence_of_padding_only_is_as_one_without(dtype: str) -> None:
    net, ids = filled(), reference.inputs()["input_ids"]
    mask = np.ones_like(ids)
    mask[0] = 0
    found = ENGINE.forward(net, {"input_ids": ids, "attention_mask": mask.astype(dtype)})
    expected = ENGINE.forward(net, {"input_ids": ids})
    for name in expected:
        assert np.isfinite(found[name]).all()
        np.testing.assert_allclose(found[name], expected[name], rtol=0, atol=2e-6)


@pytest.mark.parametrize("ids", [[[50]], [[-1]]], ids=str)
def test_an_id_outside_the_vocabulary_is_an_input_error(ids: list[list[int]]) -> None:
    with pytest.raises(zoo.InputError, match="index out of range"):
        ENGINE.forward(filled(), {"input_ids": np.array(ids)})


def test_a_sequence_that_is_too_long_is_an_input_error() -> None:
    with pytest.raises(zoo.InputError, match="a sequence has at most 12 tokens, not 13"):
        ENGINE.forward(filled(), {"input_ids": np.zeros((1, 13), np.int64)})


def test_dropout_acts_in_training_and_not_in_evaluation() -> None:
    net, ids = filled(dropout=0.5), torch.from_numpy(reference.inputs()["input_ids"])
    torch.manual_seed(0)
    net.train()
    assert not torch.equal(net(ids)[0], net(ids)[0])
    net.eval()
    assert torch.equal(net(ids)[0], net(ids)[0])


def test_dropout_in_training_reaches_the_attention_too() -> None:
    net, ids = filled(dropout=0.5), torch.from_numpy(reference.inputs()["input_ids"])
    attention = net.encoder.layer[0].attention.self
    x, attends = torch.ones(1, 9, 12).cumsum(1), torch.ones(1, 1, 1, 9, dtype=torch.bool)
    attention.train()
    torch.manual_seed(0)
    assert not torch.equal(attention(x, attends), attention(x, attends))
    assert torch.equal(net.eval()(ids)[0], net(ids)[0])


def test_gradients_reach_every_parameter() -> None:
    net = filled()
    states, pooled = net(**{name: torch.from_numpy(array) for name, array in reference.inputs().items()})
    (states.square().mul(torch.rand_like(states)).sum() + pooled.sum()).backward()
    assert [name for name, value in net.named_parameters() if value.grad is None or not value.grad.any()] == []
