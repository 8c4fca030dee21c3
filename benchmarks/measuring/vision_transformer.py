"""A vision transformer of the size ViT-L/16: 304 million parameters, most of the time of whose constructor is random numbers.

Source: Dosovitskiy et al., "An Image is Worth 16x16 Words", arXiv:2010.11929; initialised with Xavier's and truncated normal
values, as that paper's code does. It is here and in no catalogue: what is measured is a block of somebody else's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from measuring import is_quick
from zoo_core import BlockFactory

HIDDEN, HEADS, LAYERS, WIDE, PATCH, SIZE = 1024, 16, 24, 4096, 16, 224


class Layer(nn.Module):
    """Attention and two dense layers, normalised before."""

    def __init__(self) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(HIDDEN, 1e-6)
        self.attention = nn.MultiheadAttention(HIDDEN, HEADS, batch_first=True)
        self.ln_2 = nn.LayerNorm(HIDDEN, 1e-6)
        self.mlp = nn.Sequential(nn.Linear(HIDDEN, WIDE), nn.GELU(), nn.Linear(WIDE, HIDDEN))
        for dense in (self.mlp[0], self.mlp[2]):
            nn.init.xavier_uniform_(dense.weight)
            nn.init.normal_(dense.bias, std=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        """``[batch, length, hidden]`` -> the same shape."""
        y = self.ln_1(x)
        x = x + self.attention(y, y, y, need_weights=False)[0]
        return x + self.mlp(self.ln_2(x))  # type: ignore[no-any-return]  # a module's call is untyped


class VisionTransformer(nn.Module):
    """``float32[batch, 3, 224, 224]`` -> ``float32[batch, 1000]``."""

    def __init__(self) -> None:
        super().__init__()
        self.conv_proj = nn.Conv2d(3, HIDDEN, PATCH, PATCH)
        nn.init.trunc_normal_(self.conv_proj.weight, std=(1 / (3 * PATCH**2)) ** 0.5)
        self.class_token = nn.Parameter(torch.zeros(1, 1, HIDDEN))
        self.positions = nn.Parameter(torch.empty(1, (SIZE // PATCH) ** 2 + 1, HIDDEN).normal_(std=0.02))
        self.layers = nn.Sequential(*(Layer() for _ in range(1 if is_quick() else LAYERS)))
        self.ln = nn.LayerNorm(HIDDEN, 1e-6)
        self.head = nn.Linear(HIDDEN, 1000)

    def forward(self, x: Tensor) -> Tensor:
        """The logits."""
        x = self.conv_proj(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.class_token.expand(len(x), -1, -1), x], 1) + self.positions
        return self.head(self.ln(self.layers(x))[:, 0])  # type: ignore[no-any-return]  # a module's call is untyped


@dataclass(frozen=True, kw_only=True)
class VisionTransformerFactory(BlockFactory):
    """What recovers it; registered nowhere, so it is handed over."""

    def new_block(self, model: Any, model_path: Any, arguments: Any) -> VisionTransformer:
        """The empty network."""
        return VisionTransformer()
