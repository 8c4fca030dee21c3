"""BERT's encoder: a transformer over token ids.

Source: Devlin, Chang, Lee and Toutanova, "BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding"
(2018), https://arxiv.org/abs/1810.04805, whose layers are those of Vaswani et al., "Attention Is All You Need" (2017),
https://arxiv.org/abs/1706.03762, with normalisation after each sum. The parameters have the names of the checkpoints that
Hugging Face publishes (Apache-2.0); none of their code is used.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from zoo_mxnet import factories
from zoo_mxnet.framework import HybridBlock, HybridSequential, mx, nn
from zoo_mxnet.layers import Embedding, LayerNorm

#: The spread of a fresh network's weights, as in the paper's code.
SPREAD = 0.02
#: What stands for the score of a token that is not attended to: the least number that every precision has.
_UNATTENDED = -65504.0


class Encoded(NamedTuple):
    """What an encoder gives, with a pooler.

    Attributes:
        last_hidden_state: ``float32[batch, length, hidden]``.
        pooler_output: ``float32[batch, hidden]``.
    """

    last_hidden_state: Any
    pooler_output: Any


class States(NamedTuple):
    """What an encoder without a pooler gives.

    Attributes:
        last_hidden_state: ``float32[batch, length, hidden]``.
    """

    last_hidden_state: Any


class Embeddings(HybridBlock):
    """Token ids as vectors: those of the token, of its place and of its type."""

    def __init__(self, sizes: factories.TransformerEncoder) -> None:
        super().__init__()
        self.word_embeddings = Embedding(sizes.vocabulary, sizes.hidden, spread=SPREAD)
        self.position_embeddings = Embedding(sizes.positions, sizes.hidden, spread=SPREAD)
        self.token_type_embeddings = Embedding(sizes.types, sizes.hidden, spread=SPREAD)
        self.LayerNorm = LayerNorm(sizes.hidden, epsilon=sizes.epsilon)
        self.dropout = nn.Dropout(sizes.dropout)

    def hybrid_forward(self, F: Any, input_ids: Any, token_type_ids: Any) -> Any:  # noqa: N803 - Gluon's name
        """Map ``int64[batch, length]`` twice to ``[batch, length, hidden]``."""
        x = self.word_embeddings(input_ids) + self.token_type_embeddings(token_type_ids)
        # The length is not known in a compiled graph: places count the ones before.
        places = F.cumsum(F.slice_axis(F.ones_like(input_ids), axis=0, begin=0, end=1), axis=1) - 1
        return self.dropout(self.LayerNorm(F.broadcast_add(x, self.position_embeddings(places))))


class SelfAttention(HybridBlock):
    """Each token gathers from all tokens that it may attend to."""

    def __init__(self, sizes: factories.TransformerEncoder) -> None:
        super().__init__()
        self._heads, self._width = sizes.heads, sizes.hidden // sizes.heads
        self.query = _dense(sizes.hidden, sizes.hidden)
        self.key = _dense(sizes.hidden, sizes.hidden)
        self.value = _dense(sizes.hidden, sizes.hidden)
        self.dropout = nn.Dropout(sizes.dropout)

    def hybrid_forward(self, F: Any, x: Any, attends: Any) -> Any:  # noqa: N803 - Gluon's name
        """Map ``[batch, length, hidden]`` and ``[batch, length]`` to ``[batch, length, hidden]``."""
        query, key, value = (self._by_head(F, layer(x)) for layer in (self.query, self.key, self.value))
        scores = F.linalg.gemm2(query, key, transpose_b=True, alpha=self._width**-0.5)
        # MXNet has no softmax with a mask.
        mask = F.broadcast_like(F.expand_dims(F.expand_dims(attends, 1), 1), scores)
        scores = F.where(mask, scores, F.ones_like(scores) * _UNATTENDED)
        found = F.linalg.gemm2(self.dropout(F.softmax(scores, axis=-1)), value)
        return F.reshape(F.transpose(found, (0, 2, 1, 3)), (0, 0, -3))

    def _by_head(self, F: Any, x: Any) -> Any:  # noqa: N803 - Gluon's name
        """``[batch, length, hidden]`` -> ``[batch, heads, length, hidden / heads]``."""
        return F.transpose(F.reshape(x, (0, 0, self._heads, self._width)), (0, 2, 1, 3))


class Output(HybridBlock):
    """A dense layer, dropout, and the normalised sum with what came before."""

    def __init__(self, inputs: int, sizes: factories.TransformerEncoder) -> None:
        super().__init__()
        self.dense = _dense(inputs, sizes.hidden)
        self.LayerNorm = LayerNorm(sizes.hidden, epsilon=sizes.epsilon)
        self.dropout = nn.Dropout(sizes.dropout)

    def hybrid_forward(self, F: Any, x: Any, before: Any) -> Any:  # noqa: N803 - Gluon's name
        """Map ``[batch, length, inputs]`` and ``[batch, length, hidden]`` to ``[batch, length, hidden]``."""
        return self.LayerNorm(self.dropout(self.dense(x)) + before)


class Attention(HybridBlock):
    """Self-attention and its output."""

    def __init__(self, sizes: factories.TransformerEncoder) -> None:
        super().__init__()
        self.self = SelfAttention(sizes)
        self.output = Output(sizes.hidden, sizes)

    def hybrid_forward(self, F: Any, x: Any, attends: Any) -> Any:  # noqa: N803 - Gluon's name
        """Keep the shape ``[batch, length, hidden]``."""
        return self.output(self.self(x, attends), x)


class Intermediate(HybridBlock):
    """The wide dense layer."""

    def __init__(self, sizes: factories.TransformerEncoder) -> None:
        super().__init__()
        self.dense = _dense(sizes.hidden, sizes.intermediate)
        # The operator of this name has the exact form of GELU, with the error function.
        self._activation = "LeakyReLU" if sizes.activation == "gelu" else "relu"
        self._form = {"act_type": "gelu"} if sizes.activation == "gelu" else {}

    def hybrid_forward(self, F: Any, x: Any) -> Any:  # noqa: N803 - Gluon's name
        """Map ``[batch, length, hidden]`` to ``[batch, length, intermediate]``."""
        return getattr(F, self._activation)(self.dense(x), **self._form)


class Layer(HybridBlock):
    """Attention, then two dense layers for each token."""

    def __init__(self, sizes: factories.TransformerEncoder) -> None:
        super().__init__()
        self.attention = Attention(sizes)
        self.intermediate = Intermediate(sizes)
        self.output = Output(sizes.intermediate, sizes)

    def hybrid_forward(self, F: Any, x: Any, attends: Any) -> Any:  # noqa: N803 - Gluon's name
        """Keep the shape ``[batch, length, hidden]``."""
        x = self.attention(x, attends)
        return self.output(self.intermediate(x), x)


class Encoder(HybridBlock):
    """The layers one after the other."""

    def __init__(self, sizes: factories.TransformerEncoder) -> None:
        super().__init__()
        self.layer = HybridSequential()
        self.layer.add(*(Layer(sizes) for _ in range(sizes.layers)))

    def hybrid_forward(self, F: Any, x: Any, attends: Any) -> Any:  # noqa: N803 - Gluon's name
        """Keep the shape ``[batch, length, hidden]``."""
        for layer in self.layer:
            x = layer(x, attends)
        return x


class Pooler(HybridBlock):
    """The first token's state, which stands for the sequence."""

    def __init__(self, sizes: factories.TransformerEncoder) -> None:
        super().__init__()
        self.dense = _dense(sizes.hidden, sizes.hidden)

    def hybrid_forward(self, F: Any, x: Any) -> Any:  # noqa: N803 - Gluon's name
        """Map ``[batch, length, hidden]`` to ``[batch, hidden]``."""
        first = F.reshape(F.slice_axis(x, axis=1, begin=0, end=1), (0, -1))
        return F.tanh(self.dense(first))


class TransformerEncoder(HybridBlock):
    """Maps token ids ``int64[batch, length]`` to `Encoded`, or to `States` where there is no pooler.

    Args:
        fields: Those of `factories.TransformerEncoder`, whose defaults are BERT-base.
    """

    def __init__(self, **fields: Any) -> None:
        super().__init__()
        self._factory = factory = factories.TransformerEncoder(**fields)
        self.embeddings = Embeddings(factory)
        self.encoder = Encoder(factory)
        if factory.pooler:
            self.pooler = Pooler(factory)

    @property
    def zoo_factory(self) -> factories.TransformerEncoder:
        """What builds a block like this one."""
        return self._factory

    def __call__(self, input_ids: Any, attention_mask: Any = None, token_type_ids: Any = None) -> Encoded | States:
        """Encode sequences of at most ``positions`` tokens.

        Args:
            input_ids: ``int64[batch, length]``.
            attention_mask: ``[batch, length]``: 0 for tokens that nobody attends to, such as padding; None: there are none.
                Where all tokens of a sequence are 0 they attend to one another, so that its states are finite.
            token_type_ids: ``int64[batch, length]``; None: all are 0.

        Raises:
            MXNetError: An id is outside the vocabulary or the types, or the sequence is too long; it comes where the values of
                the output are asked for.
        """
        # A compiled block takes as many inputs as it was compiled with, so that it gets all of them, always.
        F = mx.sym if isinstance(input_ids, mx.sym.Symbol) else mx.nd  # noqa: N806 - Gluon's name
        mask = F.ones_like(input_ids) if attention_mask is None else attention_mask
        types = F.zeros_like(input_ids) if token_type_ids is None else token_type_ids
        states = super().__call__(input_ids, mask, types)
        # Compiled, it returns a plain list.
        return Encoded(*states) if self._factory.pooler else States(*states)

    def hybrid_forward(
        self,
        F: Any,  # noqa: N803 - Gluon's name
        input_ids: Any,
        attention_mask: Any = None,
        token_type_ids: Any = None,
    ) -> tuple[Any, ...]:
        """Compute the states."""
        attends = attention_mask != 0
        nobody = F.max(attends, axis=1, keepdims=True) == 0
        x = self.encoder(self.embeddings(input_ids, token_type_ids), F.broadcast_logical_or(attends, nobody))
        return (x, self.pooler(x)) if self._factory.pooler else (x,)


def _dense(inputs: int, outputs: int) -> Any:
    return nn.Dense(outputs, in_units=inputs, flatten=False, weight_initializer=mx.init.Normal(SPREAD))
