"""Recurrent operators, called with arguments that fit.

PyTorch's own layers check shapes in Python, and its operators rely on it: with others, ``aten::lstm`` writes beyond its memory.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from zoo_core import InputError


def gru(*arguments: Any, **named: Any) -> Any:
    """``aten::gru.input``, checked."""
    return _checked(torch.ops.aten.gru.input, 3, *arguments, **named)


def lstm(*arguments: Any, **named: Any) -> Any:
    """``aten::lstm.input``, checked."""
    return _checked(torch.ops.aten.lstm.input, 4, *arguments, **named)


def rnn_relu(*arguments: Any, **named: Any) -> Any:
    """``aten::rnn_relu.input``, checked."""
    return _checked(torch.ops.aten.rnn_relu.input, 1, *arguments, **named)


def rnn_tanh(*arguments: Any, **named: Any) -> Any:
    """``aten::rnn_tanh.input``, checked."""
    return _checked(torch.ops.aten.rnn_tanh.input, 1, *arguments, **named)


#: What runs in the place of an operator.
CHECKED: Mapping[str, Callable[..., Any]] = {
    "aten::gru.input": gru,
    "aten::lstm.input": lstm,
    "aten::rnn_relu.input": rnn_relu,
    "aten::rnn_tanh.input": rnn_tanh,
}


def _checked(
    operator: Callable[..., Any],
    gates: int,
    input: Tensor,
    hx: Tensor | Sequence[Tensor],
    params: Sequence[Tensor],
    has_biases: bool,
    num_layers: int,
    dropout: float,
    train: bool,
    bidirectional: bool,
    batch_first: bool,
) -> Any:
    """Call an operator whose arguments fit one another; they have the names of its schema.

    Args:
        operator: Of PyTorch.
        gates: How many times the hidden size its weights have rows.
        input: ``[length, batch, inputs]``, or ``[batch, length, inputs]`` where the batch is first.
        hx: States ``[layers * directions, batch, hidden]``; of an LSTM two, the first of the projected size where there is one.
        params: For every layer and direction ``[gates * hidden, inputs]``, ``[gates * hidden, hidden]``, two biases
            ``[gates * hidden]`` where there are any, and a projection ``[projected, hidden]`` where there is one.
        has_biases: Whether there are biases.
        num_layers: How many there are.
        dropout: Between layers.
        train: Whether dropout happens.
        bidirectional: Whether there are two directions.
        batch_first: The order of the input's axes.

    Raises:
        InputError: Something does not fit.
    """
    states = [hx] if isinstance(hx, Tensor) else list(hx)
    directions = 2 if bidirectional else 1
    tensors = [input, *states, *params]
    # A program may write a number where an operator takes a tensor.
    if not all(isinstance(one, Tensor) for one in tensors) or any(one.dim() != 3 for one in (input, *states)):
        raise InputError("a recurrent layer takes an input and states of three axes")
    if len(states) != (2 if gates == 4 else 1):
        raise InputError(f"a recurrent layer takes another number of states than {len(states)}")
    hidden, given = states[-1].shape[2], states[0].shape[2]
    expected: list[tuple[int, ...]] = []
    for layer in range(num_layers):
        width = input.shape[2] if layer == 0 else given * directions
        one: list[tuple[int, ...]] = [(gates * hidden, width), (gates * hidden, given)]
        one += [(gates * hidden,)] * 2 if has_biases else []
        one += [(given, hidden)] if given != hidden else []
        expected += one * directions
    fits = (
        num_layers > 0
        and all(state.shape[:2] == (num_layers * directions, input.shape[0 if batch_first else 1]) for state in states)
        and [tuple(weight.shape) for weight in params] == expected
        and (torch.is_autocast_enabled() or len({one.dtype for one in tensors}) == 1)
    )
    if not fits:
        raise InputError(
            f"a recurrent layer of {num_layers} layers, {directions} directions and hidden size {hidden} does not fit its "
            f"weights, states {[list(state.shape) for state in states]} and input {list(input.shape)}"
        )
    return operator(input, hx, params, has_biases, num_layers, dropout, train, bidirectional, batch_first)
