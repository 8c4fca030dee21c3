"""BERT's encoder in NumPy's double precision, written from the papers and independent of the engines.

Source: arXiv:1810.04805 and arXiv:1706.03762; the names are those of the checkpoints that Hugging Face publishes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

FIELDS: dict[str, Any] = {
    "vocabulary": 50,
    "positions": 12,
    "types": 3,
    "hidden": 12,
    "layers": 2,
    "heads": 3,
    "intermediate": 20,
}
NAMES = [
    "embeddings.LayerNorm.bias", "embeddings.LayerNorm.weight", "embeddings.position_embeddings.weight",
    "embeddings.token_type_embeddings.weight", "embeddings.word_embeddings.weight",
    *(
        f"encoder.layer.{layer}.{part}.{kind}"
        for layer in (0, 1)
        for part in (
            "attention.output.LayerNorm", "attention.output.dense", "attention.self.key", "attention.self.query",
            "attention.self.value", "intermediate.dense", "output.LayerNorm", "output.dense",
        )
        for kind in ("bias", "weight")
    ),
    "pooler.dense.bias", "pooler.dense.weight",
]  # fmt: skip


def inputs() -> dict[str, Any]:
    """Seeded token ids of three sequences, of which the second is padded, with types and mask."""
    import numpy as np

    random = np.random.RandomState(3)
    mask = np.ones((3, 9), np.int64)
    mask[1, 5:] = 0
    return {
        "input_ids": random.randint(0, FIELDS["vocabulary"], (3, 9)),
        "attention_mask": mask,
        "token_type_ids": random.randint(0, FIELDS["types"], (3, 9)),
    }


def outputs(
    values: Mapping[str, Any],
    input_ids: Any,
    attention_mask: Any = None,
    token_type_ids: Any = None,
    *,
    activation: str = "gelu",
    epsilon: float = 1e-12,
) -> dict[str, Any]:
    """What the encoder of `FIELDS` gives."""
    import numpy as np

    w = {name: value.astype(np.float64) for name, value in values.items()}
    attention_mask = np.ones_like(input_ids) if attention_mask is None else attention_mask
    token_type_ids = np.zeros_like(input_ids) if token_type_ids is None else token_type_ids

    def dense(name: str, x: Any) -> Any:
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    def norm(name: str, x: Any) -> Any:
        centred = x - x.mean(-1, keepdims=True)
        return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + epsilon) * w[f"{name}.weight"] + w[f"{name}.bias"]

    def attention(name: str, x: Any) -> Any:
        heads = np.zeros_like(x)
        width = x.shape[-1] // FIELDS["heads"]
        query, key, value = (dense(f"{name}.{part}", x) for part in ("query", "key", "value"))
        for item, head in np.ndindex(len(x), FIELDS["heads"]):
            of_head = (item, slice(None), slice(head * width, (head + 1) * width))
            # A sequence that is all padding attends to itself.
            seen = attention_mask[item].astype(bool) | ~attention_mask[item].any()
            scores = query[of_head] @ key[of_head][seen].T / math.sqrt(width)
            powers = np.exp(scores - scores.max(-1, keepdims=True))
            heads[of_head] = powers / powers.sum(-1, keepdims=True) @ value[of_head][seen]
        return heads

    def activated(x: Any) -> Any:
        if activation == "relu":
            return np.maximum(x, 0)
        return x * (1 + np.vectorize(math.erf)(x / math.sqrt(2))) / 2

    x = w["embeddings.word_embeddings.weight"][input_ids] + w["embeddings.token_type_embeddings.weight"][token_type_ids]
    x = norm("embeddings.LayerNorm", x + w["embeddings.position_embeddings.weight"][: x.shape[1]])
    for number in range(FIELDS["layers"]):
        layer = f"encoder.layer.{number}"
        attended = dense(f"{layer}.attention.output.dense", attention(f"{layer}.attention.self", x))
        x = norm(f"{layer}.attention.output.LayerNorm", attended + x)
        wide = activated(dense(f"{layer}.intermediate.dense", x))
        x = norm(f"{layer}.output.LayerNorm", dense(f"{layer}.output.dense", wide) + x)
    return {"last_hidden_state": x, "pooler_output": np.tanh(dense("pooler.dense", x[:, 0]))}
