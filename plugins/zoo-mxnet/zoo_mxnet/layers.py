"""Layers that Gluon lacks, or whose parameters it names differently than PyTorch."""

from __future__ import annotations

from typing import Any

from zoo_mxnet.framework import HybridBlock, mx, nn


class BatchNorm(HybridBlock):
    """Batch normalisation over axis 1 whose parameters have PyTorch's names.

    Gluon's own calls weight and bias ``gamma`` and ``beta``. In training its running variance differs from PyTorch's: MXNet
    averages the biased variance of the batch, and it does so in ``backward()``.

    Args:
        channels: The size of axis 1.
        epsilon: Added to the variance; Gluon's and PyTorch's default is 1e-5, TensorFlow's 1e-3.
        momentum: How much of the running statistics a batch leaves; MXNet's 0.9 is PyTorch's 0.1.

    Source: Ioffe and Szegedy, "Batch Normalization" (2015), https://arxiv.org/abs/1502.03167.
    """

    def __init__(self, channels: int, *, epsilon: float = 1e-5, momentum: float = 0.9) -> None:
        super().__init__()
        # The bare operator would ignore the weight by default.
        self._settings = {"eps": epsilon, "momentum": momentum, "fix_gamma": False}
        self.weight = self.params.get("weight", shape=(channels,), init="ones")
        self.bias = self.params.get("bias", shape=(channels,), init="zeros")
        self.running_mean = self.params.get("running_mean", shape=(channels,), init="zeros", differentiable=False)
        self.running_var = self.params.get("running_var", shape=(channels,), init="ones", differentiable=False)

    def hybrid_forward(self, F: Any, x: Any, weight: Any, bias: Any, running_mean: Any, running_var: Any) -> Any:  # noqa: N803 - Gluon's name
        """Normalise ``[batch, channels, ...]``."""
        return F.BatchNorm(x, weight, bias, running_mean, running_var, **self._settings)


class LayerNorm(HybridBlock):
    """Layer normalisation over the last axis whose parameters have PyTorch's names; Gluon's are ``gamma`` and ``beta``.

    Args:
        width: The size of the last axis.
        epsilon: Added to the variance; BERT's is 1e-12, Gluon's and PyTorch's default 1e-5.

    Source: Ba, Kiros and Hinton, "Layer Normalization" (2016), https://arxiv.org/abs/1607.06450.
    """

    def __init__(self, width: int, *, epsilon: float = 1e-5) -> None:
        super().__init__()
        self._epsilon = epsilon
        self.weight = self.params.get("weight", shape=(width,), init="ones")
        self.bias = self.params.get("bias", shape=(width,), init="zeros")

    def hybrid_forward(self, F: Any, x: Any, weight: Any, bias: Any) -> Any:  # noqa: N803 - Gluon's name
        """Normalise ``[..., width]``."""
        return F.LayerNorm(x, weight, bias, axis=-1, eps=self._epsilon)


class Embedding(HybridBlock):
    """A vector for each id; an id that is none raises, where Gluon's own layer takes the nearest vector without a word.

    Args:
        count: How many ids there are.
        width: Values of a vector.
        spread: The standard deviation of fresh weights.
    """

    def __init__(self, count: int, width: int, *, spread: float = 0.02) -> None:
        super().__init__()
        self.weight = self.params.get("weight", shape=(count, width), init=mx.init.Normal(spread))

    def hybrid_forward(self, F: Any, ids: Any, weight: Any) -> Any:  # noqa: N803 - Gluon's name
        """Map ``int64[...]`` to ``[..., width]``."""
        return F.take(weight, ids, mode="raise")


class SameConvolution(HybridBlock):
    """A convolution without bias, padded as TensorFlow's ``same``: the output is the input's size over the stride, rounded up.

    Args:
        inputs: Channels before.
        outputs: Channels after.
        kernel: Height and width, odd.
        stride: 1 or 2.
        groups: Into how many the channels are split; as many as there are for a depthwise convolution.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, *, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self._settings = {
            "num_filter": outputs,
            "kernel": (kernel, kernel),
            "stride": (stride, stride),
            "pad": (kernel // 2, kernel // 2),
            "num_group": groups,
            "no_bias": True,
        }
        self._turns = kernel > stride > 1
        self.weight = self.params.get("weight", shape=(outputs, inputs // groups, kernel, kernel), init=_he())

    def hybrid_forward(self, F: Any, x: Any, weight: Any) -> Any:  # noqa: N803 - Gluon's name
        """Filter ``[batch, inputs, height, width]``."""
        if not self._turns:
            return F.Convolution(x, weight, **self._settings)
        # With a stride of 2 the far edges always get kernel // 2 zeros, the near ones less where the size is even. A compiled
        # graph does not know the size, but turned around, the edge that varies is where MXNet drops what does not fit.
        return _turned(F, F.Convolution(_turned(F, x), _turned(F, weight), **self._settings))


def _turned(F: Any, x: Any) -> Any:  # noqa: N803 - Gluon's name
    """Axes 2 and 3 backwards; MXNet's `reverse` does the same and takes fifteen times as long."""
    whole = (None, None, None, None)
    return F.slice(x, begin=whole, end=whole, step=(1, 1, -1, -1))


class ReLU6(HybridBlock):
    """``min(max(x, 0), 6)``, which Gluon lacks."""

    def hybrid_forward(self, F: Any, x: Any) -> Any:  # noqa: N803 - Gluon's name
        """Clip any shape."""
        return F.clip(x, 0, 6)


def convolution(inputs: int, outputs: int, kernel: int, *, stride: int = 1, padding: int = 0) -> Any:
    """Gluon's convolution without bias, every shape known, so that building it is enough to know its parameters."""
    return nn.Conv2D(
        outputs,
        kernel,
        strides=stride,
        padding=padding,
        in_channels=inputs,
        use_bias=False,
        weight_initializer=_he(),
    )


def _he() -> Any:
    """Fresh weights for layers before a ReLU: He et al. (2015), https://arxiv.org/abs/1502.01852."""
    return mx.init.MSRAPrelu(factor_type="out", slope=0)
