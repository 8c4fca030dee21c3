"""BERT's encoder: a transformer over token ids.

Source: Devlin, Chang, Lee and Toutanova, "BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding"
(2018), https://arxiv.org/abs/1810.04805, whose layers are those of Vaswani et al., "Attention Is All You Need" (2017),
https://arxiv.org/abs/1706.03762, with normalisation after each sum. The parameters have the names of the checkpoints that
Hugging Face publishes (Apache-2.0); none of their code is used.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 - the name that everyone uses
from torch import Tensor, nn

from zoo_pytorch import factories

#: The spread of a fresh network's weights, as in the paper's code.
SPREAD = 0.02


class Encoded(NamedTuple):
    """What an encoder gives, with a pooler.

    Attributes:
        last_hidden_state: ``float32[batch, length, hidden]``.
        pooler_output: ``float32[batch, hidden]``.
    """

    last_hidden_state: Tensor
    pooler_output: Tensor


class States(NamedTuple):
    """What an encoder without a pooler gives.

    Attributes:
        last_hidden_state: ``float32[batch, length, hidden]``.
    """

    last_hidden_state: Tensor


class Embeddings(nn.Module):
    """Token ids as vectors: those of the token, of its place and of its type."""

    def __init__(self, sizes: factories.TransformerEncoder) -> None:
        super().__init__()
        self.word_embeddings = _embedding(sizes.vocabulary, sizes.hidden)
        self.position_embeddings = _embedding(sizes.positions, sizes.hidden)
        self.token_type_embeddings = _embedding(sizes.types, sizes.hidden)
        self.LayerNorm = nn.LayerNorm(sizes.hidden, sizes.epsilon)
        self.dropout = nn.Dropout(sizes.dropout)

    def forward(self, input_ids: Tensor, token_type_ids: Tensor) -> Tensor:
        """``int64[batch, length]`` twice -> ``[batch, length, hidden]``."""
        length, longest = input_ids.shape[1], self.position_embeddings.num_embeddings
        if length > longest:
            raise ValueError(f"a sequence has at most {longest} tokens, not {length}")
        x = self.word_embeddings(input_ids) + self.token_type_embeddings(token_type_ids)
        x = x + self.position_embeddings(torch.arange(length, device=input_ids.device))
        return self.dropout(self.LayerNorm(x))  # type: ignore[no-any-return]  # a module's call is untyped


class SelfAttention(nn.Module):
    """Each token gathers from all tokens that it may attend to."""

    def __init__(self, sizes: factories.TransformerEncoder) -> None:
        super().__init__()
        self.heads, self.dropout = sizes.heads, sizes.dropout
        self.query = _dense(sizes.hidden, sizes.hidden)
        self.key = _dense(sizes.hidden, sizes.hidden)
        self.value = _dense(sizes.hidden, sizes.hidden)

    def forward(self, x: Tensor, attends: Tensor) -> Tensor:
        """``[batch, length, hidden]`` and ``bool[batch, 1, 1, length]`` -> ``[batch, length, hidden]``."""
        query, key, value = (self._by_head(layer(x)) for layer in (self.query, self.key, self.value))
        dropout = self.dropout if self.training else 0.0
        found = F.scaled_dot_product_attention(query, key, value, attends, dropout)
        return found.transpose(1, 2).reshape(x.shape)

    def _by_head(self, x: Tensor) -> Tensor:
        """``[batch, length, hidden]`` -> ``[batch, heads, length, hidden / heads]``."""
        return x.reshape(*x.shape[:2], self.heads, -1).transpose(1, 2)


class Output(nn.Module):
    """A dense layer, dropout, and the normalised sum with what came before."""

    def __init__(self, inputs: int, sizes: factories.TransformerEncoder) -> None:
        super().__init__()
        self.dense = _dense(inputs, sizes.hidden)
        self.LayerNorm = nn.LayerNorm(sizes.hidden, sizes.epsilon)
        self.dropout = nn.Dropout(sizes.dropout)

    def forward(self, x: Tensor, before: Tensor) -> Tensor:
        """``[batch, length, inputs]`` and ``[batch, length, hidden]`` -> ``[batch, length, hidden]``."""
        return self.LayerNorm(self.dropout(self.dense(x)) + before)  # type: ignore[no-any-return]  # a module's call is untyped


class Attention(nn.Module):
    """Self-attention and its output."""

    def __init__(self, sizes: factories.TransformerEncoder) -> None:
        super().__init__()
        self.self = SelfAttention(sizes)
        self.output = Output(sizes.hidden, sizes)

    def forward(self, x: Tensor, attends: Tensor) -> Tensor:
        """``[batch, length, hidden]`` -> the same shape."""
        return self.output(self.self(x, attends), x)  # type: ignore[no-any-return]  # a module's call is untyped


class Intermediate(nn.Module):
    """The wide dense layer."""

    def __init__(self, sizes: factories.TransformerEncoder) -> None:
        super().__init__()
        self.dense = _dense(sizes.hidden, sizes.intermediate)
        self.activation: nn.Module = nn.GELU() if sizes.activation == "gelu" else nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """``[batch, length, hidden]`` -> ``[batch, length, intermediate]``."""
        return self.activation(self.dense(x))  # type: ignore[no-any-return]  # a module's call is untyped


class Layer(nn.Module):
    """Attention, then two dense layers for each token."""

    def __init__(self, sizes: factories.TransformerEncoder) -> None:
        super().__init__()
        self.attention = Attention(sizes)
        self.intermediate = Intermediate(sizes)
        self.output = Output(sizes.intermediate, sizes)

    def forward(self, x: Tensor, attends: Tensor) -> Tensor:
        """``[batch, length, hidden]`` -> the same shape."""
        x = self.attention(x, attends)
        return self.output(self.intermediate(x), x)  # type: ignore[no-any-return]  # a module's call is untyped


class Encoder(nn.Module):
    """The layers one after the other."""

    def __init__(self, sizes: factories.TransformerEncoder) -> None:
        super().__init__()
        self.layer = nn.ModuleList(Layer(sizes) for _ in range(sizes.layers))

    def forward(self, x: Tensor, attends: Tensor) -> Tensor:
        """``[batch, length, hidden]`` -> the same shape."""
        for layer in self.layer:
            x = layer(x, attends)
        return x


class Pooler(nn.Module):
    """The first token's state, which stands for the sequence."""

    def __init__(self, sizes: factories.TransformerEncoder) -> None:
        super().__init__()
        self.dense = _dense(sizes.hidden, sizes.hidden)

    def forward(self, x: Tensor) -> Tensor:
        """``[batch, length, hidden]`` -> ``[batch, hidden]``."""
        return torch.tanh(self.dense(x[:, 0]))


class TransformerEncoder(nn.Module):
    """``int64[batch, length]`` token ids -> `Encoded`, or `States` where there is no pooler.

    Args:
        fields: Those of `factories.TransformerEncoder`, whose defaults are BERT-base.
    """

    def __init__(self, **fields: Any) -> None:
        super().__init__()
        self._factory = factory = factories.TransformerEncoder(**fields)
        self.embeddings = Embeddings(factory)
        self.encoder = Encoder(factory)
        self.pooler = Pooler(factory) if factory.pooler else None

    @property
    def zoo_factory(self) -> factories.TransformerEncoder:
        """What builds a block like this one."""
        return self._factory

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, token_type_ids: Tensor | None = None
    ) -> Encoded | States:
        """Encode sequences of at most ``positions`` tokens.

        Args:
            input_ids: ``int64[batch, length]``.
            attention_mask: ``[batch, length]``: 0 for tokens that nobody attends to, such as padding; None: there are none.
                Where all tokens of a sequence are 0 they attend to one another, so that its states are finite.
            token_type_ids: ``int64[batch, length]``; None: all are 0.

        Raises:
            IndexError: An id is outside the vocabulary or the types.
            ValueError: The sequence is too long.
        """
        attends = (torch.ones_like(input_ids) if attention_mask is None else attention_mask) != 0
        attends = attends | ~attends.any(1, keepdim=True)
        types = torch.zeros_like(input_ids) if token_type_ids is None else token_type_ids
        x = self.encoder(self.embeddings(input_ids, types), attends[:, None, None])
        return States(x) if self.pooler is None else Encoded(x, self.pooler(x))


def _dense(inputs: int, outputs: int) -> nn.Linear:
    layer = nn.Linear(inputs, outputs)
    nn.init.normal_(layer.weight, std=SPREAD)
    nn.init.zeros_(layer.bias)
    return layer


def _embedding(count: int, width: int) -> nn.Embedding:
    layer = nn.Embedding(count, width)
    nn.init.normal_(layer.weight, std=SPREAD)
    return layer
