"""BERT's encoder: its numbers, its names, its inputs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

np = pytest.importorskip("numpy", reason="needs MXNet: pip install zoo-mxnet")
framework = pytest.importorskip("zoo_mxnet.framework", reason="needs MXNet: pip install zoo-mxnet")

from zoo_mxnet import factories  # noqa: E402

import zoo_core as zoo  # noqa: E402
from tests import reference_transformer as reference  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

mx = framework.mx


@pytest.fixture
def filled(engine: Any, seeded: Callable[..., Any], parameter_file: Callable[..., Path]) -> Callable[..., Any]:
    """A function that builds an encoder with seeded values."""

    def make(**fields: Any) -> Any:
        block = factories.TransformerEncoder(**(reference.FIELDS | fields)).network()
        engine.load_parameters(block, parameter_file(seeded(block)))
        return block

    return make


GIVEN = (("input_ids",), ("input_ids", "attention_mask"), ("input_ids", "token_type_ids"), tuple(reference.inputs()))


@pytest.mark.parametrize("hybridize", ["true", "false"])
@pytest.mark.parametrize("names", GIVEN, ids=" ".join)
def test_it_computes_what_the_reference_computes(
    names: tuple[str, ...], hybridize: str, engine: Any, filled: Callable[..., Any], seeded: Callable[..., Any]
) -> None:
    block, inputs = filled(), {name: reference.inputs()[name] for name in names}
    engine.prepare(block, {"hybridize": hybridize})

    found = engine.forward(block, inputs)

    expected = reference.outputs(seeded(block), **inputs)
    assert list(found) == list(expected)
    for name, array in expected.items():
        np.testing.assert_allclose(found[name], array, rtol=0, atol=1e-5, err_msg=name)


def test_relu_and_epsilon_are_fields(engine: Any, filled: Callable[..., Any], seeded: Callable[..., Any]) -> None:
    block, inputs = filled(activation="relu", epsilon=0.01), reference.inputs()
    expected = reference.outputs(seeded(block), **inputs, activation="relu", epsilon=0.01)
    found = engine.forward(block, inputs)
    np.testing.assert_allclose(found["last_hidden_state"], expected["last_hidden_state"], rtol=0, atol=1e-5)


def test_it_has_the_parameter_names_of_the_published_checkpoints(filled: Callable[..., Any]) -> None:
    assert sorted(filled()._collect_params_with_prefix()) == reference.NAMES


@pytest.mark.parametrize("hybridize", ["true", "false"])
def test_without_a_pooler_the_states_are_all(hybridize: str, engine: Any, filled: Callable[..., Any]) -> None:
    block = filled(pooler=False)
    engine.prepare(block, {"hybridize": hybridize})
    assert list(engine.forward(block, reference.inputs())) == ["last_hidden_state"]
    assert sorted(block._collect_params_with_prefix()) == [name for name in reference.NAMES if not name.startswith("pooler")]


def test_once_compiled_it_takes_other_lengths_and_other_inputs(engine: Any, filled: Callable[..., Any]) -> None:
    block, inputs = filled(), reference.inputs()
    plain = {name: engine.forward(block, {"input_ids": inputs["input_ids"][:, :4]})[name] for name in ("pooler_output",)}
    engine.prepare(block, {"hybridize": "true"})
    engine.forward(block, inputs)
    found = engine.forward(block, {"input_ids": inputs["input_ids"][:, :4]})
    np.testing.assert_allclose(found["pooler_output"], plain["pooler_output"], rtol=0, atol=1e-6)


@pytest.mark.parametrize("dtype", ["int64", "bool", "float32"])
def test_a_sequence_of_padding_only_is_as_one_without(dtype: str, engine: Any, filled: Callable[..., Any]) -> None:
    block, ids = filled(), reference.inputs()["input_ids"]
    mask = np.ones_like(ids)
    mask[0] = 0
    found = engine.forward(block, {"input_ids": ids, "attention_mask": mask.astype(dtype)})
    expected = engine.forward(block, {"input_ids": ids})
    for name in expected:
        assert np.isfinite(found[name]).all()
        np.testing.assert_allclose(found[name], expected[name], rtol=0, atol=2e-6)


@pytest.mark.parametrize("hybridize", ["true", "false"])
@pytest.mark.parametrize(
    "ids", [[[50]], [[-1]], [[0] * 13]], ids=["above the vocabulary", "below the vocabulary", "a sequence that is too long"]
)
def test_an_id_that_is_none_is_an_input_error(
    ids: list[list[int]], hybridize: str, engine: Any, filled: Callable[..., Any]
) -> None:
    block = filled()
    engine.prepare(block, {"hybridize": hybridize})
    with pytest.raises(zoo.InputError, match="indices out of bound"):
        engine.forward(block, {"input_ids": np.array(ids)})


def test_dropout_acts_in_training_and_not_in_evaluation(filled: Callable[..., Any]) -> None:
    block, ids = filled(dropout=0.5), mx.nd.array(reference.inputs()["input_ids"], dtype="int64")
    with mx.autograd.record(train_mode=True):
        one, other = (block(ids).last_hidden_state.asnumpy() for _ in range(2))
    assert not np.array_equal(one, other)
    np.testing.assert_array_equal(block(ids).last_hidden_state.asnumpy(), block(ids).last_hidden_state.asnumpy())


@pytest.mark.parametrize("hybridize", [True, False])
def test_gradients_reach_every_parameter(hybridize: bool, filled: Callable[..., Any]) -> None:
    block = filled(dropout=0.0)
    block.hybridize(hybridize)
    weights = mx.nd.array(np.random.RandomState(0).uniform(0, 1, (3, 9, 12)))
    with mx.autograd.record():
        states, pooled = block(*(mx.nd.array(array, dtype="int64") for array in reference.inputs().values()))
        loss = (states**2 * weights).sum() + pooled.sum()
    loss.backward()
    parameters = block._collect_params_with_prefix()
    assert [name for name, held in parameters.items() if not held.grad().asnumpy().any()] == []


def test_it_can_be_a_part_of_a_compiled_block(filled: Callable[..., Any]) -> None:
    from mxnet.gluon import nn

    class Classifier(nn.HybridBlock):
        def __init__(self, encoder: Any) -> None:
            super().__init__()
            self.encoder = encoder

        def hybrid_forward(self, F: Any, ids: Any) -> Any:
            return self.encoder(ids).pooler_output

    encoder, ids = filled(), mx.nd.array(reference.inputs()["input_ids"], dtype="int64")
    block = Classifier(encoder)
    expected = block(ids).asnumpy()
    block.hybridize()
    np.testing.assert_allclose(block(ids).asnumpy(), expected, rtol=0, atol=1e-6)
