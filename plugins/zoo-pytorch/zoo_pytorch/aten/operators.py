"""The operators that a program may name, with what each takes and gives.

The list is closed: what is not in it cannot be called by any file. It has what networks are made of, and of PyTorch's other
operators none that opens files (``from_file``), gives uninitialised or reinterpreted memory (``empty``, ``view.dtype``,
``as_strided``), swaps what a tensor stands for (``set_``, ``resize_``, ``*.out``), reads a value into Python (``item``), has an
output whose size depends on values (``nonzero``), or ends the process where its arguments are wrong: ``embedding_bag``,
``_fft_c2r``, ``_weight_norm`` and ``native_batch_norm`` do, found by calling every operator with drawn arguments. Random ones
are there as dropout and stochastic depth need them. Recurrent ones are called through `zoo_pytorch.aten.recurrent`.

Names and argument types are those of PyTorch's own schemas, ``aten::name.overload``, read from the PyTorch that runs.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import torch

from zoo_core import ParameterError

#: Operators that compute a new tensor or a view, as ``name.overload``; the default overload has no suffix.
_PURE = """
    _adaptive_avg_pool2d _adaptive_avg_pool3d _conj _convolution _fused_rms_norm _log_softmax _prelu_kernel
    _safe_softmax _softmax _to_copy _trilinear _unsafe_view _upsample_bicubic2d_aa _upsample_bicubic2d_aa.vec
    _upsample_bilinear2d_aa _upsample_bilinear2d_aa.vec _upsample_nearest_exact1d _upsample_nearest_exact1d.vec
    _upsample_nearest_exact2d _upsample_nearest_exact2d.vec abs acos acosh adaptive_avg_pool1d adaptive_avg_pool2d
    adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d add.Scalar add.Tensor addbmm addcdiv
    addcmul addmm addmv addr adjoint affine_grid_generator alias all all.dim all.dims alpha_dropout amax amin aminmax
    angle any any.dim any.dims arange arange.start arange.start_step argmax argmin argsort argsort.stable asin asinh
    atan atan2 atanh atleast_1d atleast_2d atleast_3d avg_pool1d avg_pool2d avg_pool3d baddbmm batch_norm bernoulli
    bernoulli.p bilinear binary_cross_entropy binary_cross_entropy_with_logits bitwise_and.Scalar bitwise_and.Tensor
    bitwise_left_shift.Tensor bitwise_left_shift.Tensor_Scalar bitwise_not bitwise_or.Scalar bitwise_or.Tensor
    bitwise_right_shift.Tensor bitwise_right_shift.Tensor_Scalar bitwise_xor.Scalar bitwise_xor.Tensor bmm
    broadcast_tensors broadcast_to bucketize.Tensor cat ceil celu channel_shuffle chunk clamp clamp.Tensor clamp_max
    clamp_max.Tensor clamp_min clamp_min.Tensor clip clip.Tensor clone col2im column_stack complex concat concatenate
    conj constant_pad_nd contiguous conv1d conv1d.padding conv2d conv2d.padding conv3d conv3d.padding conv_transpose1d
    conv_transpose2d.input conv_transpose3d.input convolution copysign.Tensor cos cosh cosine_similarity count_nonzero
    count_nonzero.dim_IntList cross cross_entropy_loss cummax cummin cumprod cumsum deg2rad detach diag diag_embed
    diagonal diff dist div.Scalar div.Scalar_mode div.Tensor div.Tensor_mode divide.Scalar divide.Tensor
    divide.Tensor_mode dot dropout dstack einsum elu embedding eq.Scalar eq.Tensor erf erfc erfinv exp exp2 expand
    expand_as expm1 eye eye.m feature_alpha_dropout feature_dropout fft_fft fft_fft2 fft_fftn fft_fftshift fft_ifft
    fft_ifft2 fft_ifftn fft_ifftshift fft_irfft fft_irfft2 fft_irfftn fft_rfft fft_rfft2 fft_rfftn fill.Scalar
    fill.Tensor flatten.using_ints flip fliplr flipud float_power.Tensor_Scalar floor floor_divide floor_divide.Scalar
    fmax fmin fmod.Scalar fmod.Tensor frac frobenius_norm.dim full full_like gather ge.Scalar ge.Tensor gelu glu
    greater.Scalar greater.Tensor greater_equal.Scalar greater_equal.Tensor grid_sampler grid_sampler_2d grid_sampler_3d
    group_norm gru.input gt.Scalar gt.Tensor hann_window hardshrink hardsigmoid hardswish hardtanh heaviside hstack
    huber_loss im2col imag index.Tensor index_add index_copy index_fill.int_Scalar index_fill.int_Tensor index_put
    index_select inner instance_norm isfinite isinf isnan kl_div l1_loss layer_norm le.Scalar le.Tensor leaky_relu
    lerp.Scalar lerp.Tensor less.Scalar less.Tensor less_equal.Scalar less_equal.Tensor lgamma lift_fresh_copy
    linalg_norm linalg_vector_norm linear linspace log log10 log1p log2 log_sigmoid log_sigmoid_forward log_softmax.int
    logaddexp logaddexp2 logcumsumexp logical_and logical_not logical_or logical_xor logit logsumexp lstm.input
    lt.Scalar lt.Tensor mH mT masked_fill.Scalar masked_fill.Tensor masked_scatter matmul matrix_H max max.dim max.other
    max_pool1d max_pool1d_with_indices max_pool2d max_pool2d_with_indices max_pool3d max_pool3d_with_indices maximum
    mean mean.dim median median.dim meshgrid meshgrid.indexing min min.dim min.other minimum mish mm moveaxis.int
    moveaxis.intlist movedim.int movedim.intlist mse_loss mul.Scalar mul.Tensor multiply.Scalar multiply.Tensor mv
    nan_to_num narrow narrow.Tensor native_channel_shuffle native_dropout native_group_norm native_layer_norm ne.Scalar
    ne.Tensor neg new_full new_ones new_zeros nll_loss_nd norm.Scalar norm.ScalarOpt_dim norm.ScalarOpt_dim_dtype
    norm.ScalarOpt_dtype not_equal.Scalar not_equal.Tensor numpy_T one_hot ones ones_like outer pad pairwise_distance
    permute pixel_shuffle pixel_unshuffle polar positive pow.Scalar pow.Tensor_Scalar pow.Tensor_Tensor prelu prod
    prod.dim_int rad2deg rand rand_like ravel real reciprocal reflection_pad1d reflection_pad2d reflection_pad3d relu
    relu6 remainder.Scalar remainder.Scalar_Tensor remainder.Tensor repeat repeat_interleave.self_int replication_pad1d
    replication_pad2d replication_pad3d reshape reshape_as resolve_conj resolve_neg rms_norm rnn_relu.input
    rnn_tanh.input roll rot90 round round.decimals rrelu rsqrt rsub.Scalar rsub.Tensor scalar_tensor
    scaled_dot_product_attention scatter.src scatter.value scatter_add scatter_reduce.two searchsorted.Tensor select.int
    select_scatter selu sgn sigmoid sign signbit silu sin sinc sinh slice.Tensor slice_scatter smooth_l1_loss
    soft_margin_loss softmax.int softplus softshrink sort sort.stable special_erf special_expit special_log_softmax
    special_softmax split.Tensor split.sizes split_with_sizes sqrt square squeeze squeeze.dim squeeze.dims stack std
    std.correction std.dim std_mean std_mean.correction std_mean.dim sub.Scalar sub.Tensor subtract.Scalar
    subtract.Tensor sum sum.dim_IntList swapaxes swapdims sym_numel sym_size.int sym_stride.int t take take_along_dim
    tan tanh tensor_split.indices tensor_split.sections tensordot threshold tile to.device to.dtype to.dtype_layout
    to.other topk trace transpose.int tril tril_indices triu triu_indices true_divide.Scalar true_divide.Tensor trunc
    type_as unbind.int unflatten.int unfold unsafe_chunk unsafe_split.Tensor unsafe_split_with_sizes unsqueeze
    upsample_bicubic2d upsample_bicubic2d.vec upsample_bilinear2d upsample_bilinear2d.vec upsample_linear1d
    upsample_linear1d.vec upsample_nearest1d upsample_nearest1d.vec upsample_nearest2d upsample_nearest2d.vec
    upsample_nearest3d upsample_nearest3d.vec upsample_trilinear3d upsample_trilinear3d.vec var var.correction var.dim
    var_mean var_mean.correction var_mean.dim vdot view view_as view_as_complex view_as_real vstack where.Scalar
    where.ScalarOther where.ScalarSelf where.self xlogy.Tensor zeros zeros_like
"""
#: Operators that write to their first argument.
_WRITING = """
    abs_ add_.Scalar add_.Tensor addcdiv_ addcmul_ addmm_ alpha_dropout_ bernoulli_.float bitwise_and_.Tensor
    bitwise_or_.Tensor ceil_ celu_ clamp_ clamp_max_ clamp_min_ copy_ cos_ detach_ div_.Scalar div_.Tensor
    div_.Tensor_mode dropout_ elu_ exp_ feature_alpha_dropout_ feature_dropout_ fill_.Scalar fill_.Tensor floor_ gelu_
    hardsigmoid_ hardswish_ hardtanh_ index_add_ index_copy_ index_fill_.int_Scalar index_put_ leaky_relu_ lerp_.Scalar
    lerp_.Tensor log_ logical_and_ logical_not_ logical_or_ masked_fill_.Scalar masked_fill_.Tensor masked_scatter_
    mish_ mul_.Scalar mul_.Tensor neg_ pow_.Scalar pow_.Tensor reciprocal_ relu6_ relu_ remainder_.Scalar round_ rrelu_
    rsqrt_ scatter_.src scatter_.value scatter_add_ selu_ sigmoid_ sign_ silu_ sin_ sqrt_ square_ sub_.Scalar
    sub_.Tensor tanh_ threshold_ tril_ triu_ trunc_ zero_
"""
#: Every aten operator that a program may name, sorted.
ATEN = tuple(sorted(f"aten::{name}" for name in (_PURE + _WRITING).split()))

#: Arithmetic on sizes, as an exported graph has it for dynamic shapes: name in a program -> function and number of arguments.
SIZES: Mapping[str, tuple[Callable[..., Any], int]] = {
    "math.ceil": (math.ceil, 1),
    "math.floor": (math.floor, 1),
    "math.trunc": (math.trunc, 1),
    "operator.add": (operator.add, 2),
    "operator.and_": (operator.and_, 2),
    "operator.eq": (operator.eq, 2),
    "operator.floordiv": (operator.floordiv, 2),
    "operator.ge": (operator.ge, 2),
    "operator.gt": (operator.gt, 2),
    "operator.le": (operator.le, 2),
    "operator.lt": (operator.lt, 2),
    "operator.mod": (operator.mod, 2),
    "operator.mul": (operator.mul, 2),
    "operator.ne": (operator.ne, 2),
    "operator.neg": (operator.neg, 1),
    "operator.or_": (operator.or_, 2),
    "operator.pow": (operator.pow, 2),
    "operator.sub": (operator.sub, 2),
    "operator.truediv": (operator.truediv, 2),
    "torch.sym_float": (torch.sym_float, 1),
    "torch.sym_int": (torch.sym_int, 1),
    "torch.sym_max": (torch.sym_max, 2),
    "torch.sym_min": (torch.sym_min, 2),
    "torch.sym_not": (torch.sym_not, 1),
}
#: What takes one result of several.
GETITEM = "operator.getitem"

#: Arguments that say whether the network trains; they follow ``train()`` and ``eval()``.
TRAINING_FLAGS: Mapping[str, str] = {
    **dict.fromkeys(["aten::batch_norm", "aten::rrelu", "aten::rrelu_"], "training"),
    "aten::instance_norm": "use_input_stats",
    **{
        f"aten::{name}": "train"
        for name in (
            *("alpha_dropout", "alpha_dropout_", "dropout", "dropout_", "feature_alpha_dropout", "feature_alpha_dropout_"),
            *("feature_dropout", "feature_dropout_", "gru.input", "lstm.input", "native_dropout"),
            *("rnn_relu.input", "rnn_tanh.input"),
        )
    },
}
#: Arguments that are a probability in training and zero in evaluation.
TRAINING_PROBABILITIES: Mapping[str, str] = {"aten::scaled_dot_product_attention": "dropout_p"}
#: What has running statistics and, in a program, may have a counter of batches beside them.
BATCH_NORM = "aten::batch_norm"
#: Operators that may give back their own input although their schema does not say so.
GIVES_INPUT_BACK = frozenset(
    f"aten::{name}"
    for name in (
        *("_unsafe_view", "alpha_dropout", "atleast_1d", "atleast_2d", "atleast_3d", "dropout", "feature_alpha_dropout"),
        *("feature_dropout", "type_as", "unsafe_chunk", "unsafe_split.Tensor", "unsafe_split_with_sizes"),
    )
)
#: Operators that may give back any of several inputs: nothing may write to what they give.
MAY_GIVE_ANY_INPUT = frozenset({"aten::broadcast_tensors", "aten::einsum", "aten::meshgrid", "aten::meshgrid.indexing"})
#: Operators that draw random numbers: leaving out an unused one would change what the others draw.
RANDOM = frozenset(
    f"aten::{name}"
    for name in (
        *("alpha_dropout", "bernoulli", "bernoulli.p", "dropout", "feature_alpha_dropout", "feature_dropout"),
        *("native_dropout", "rand", "rand_like", "rrelu"),
    )
)


@dataclass(frozen=True)
class Type:
    """The type of an argument or result.

    Attributes:
        kind: ``Tensor``, ``int``, ``float``, ``bool``, ``number``, ``str``, ``Device``, ``ScalarType``, ``Layout``,
            ``MemoryFormat``, ``Generator`` or ``List``.
        of: What a list holds.
        is_optional: None may stand for it.
        is_broadcast: One value may stand for the list.
    """

    kind: str
    of: Type | None = None
    is_optional: bool = False
    is_broadcast: bool = False

    def __str__(self) -> str:
        text = f"list of {self.of}" if self.of else _WORDS.get(self.kind, self.kind)
        return f"{text} or null" if self.is_optional else text


_WORDS = {"Tensor": "tensor", "ScalarType": "dtype", "MemoryFormat": "memory format", "Layout": "layout", "Device": "device"}


@dataclass(frozen=True)
class Parameter:
    """An argument in an operator's schema."""

    name: str
    type: Type
    is_required: bool
    is_keyword: bool
    is_aliased: bool
    is_written: bool


@dataclass(frozen=True)
class Operator:
    """What a node of a program may call.

    Attributes:
        name: As a program has it.
        target: What computes it.
        parameters: Of aten operators, in order; empty for arithmetic on sizes.
        results: The kinds of what it gives: ``Tensor``, ``Tensors`` (a list), ``int``, ``float``, ``bool``.
        gives_alias: A result may share memory with an argument.
    """

    name: str
    target: Callable[..., Any]
    parameters: tuple[Parameter, ...] = ()
    results: tuple[str, ...] = ()
    gives_alias: bool = False

    @cached_property
    def by_name(self) -> Mapping[str, Parameter]:
        """Its parameters."""
        return {parameter.name: parameter for parameter in self.parameters}

    @cached_property
    def by_position(self) -> tuple[Parameter, ...]:
        """The parameters that may be given by position."""
        return tuple(parameter for parameter in self.parameters if not parameter.is_keyword)

    @cached_property
    def required(self) -> tuple[str, ...]:
        """The names of parameters without a default."""
        return tuple(parameter.name for parameter in self.parameters if parameter.is_required)

    @cached_property
    def written(self) -> tuple[str, ...]:
        """The names of arguments that it writes to, by its schema."""
        return tuple(parameter.name for parameter in self.parameters if parameter.is_written)

    @cached_property
    def viewed(self) -> str | None:
        """The name of the argument that a result may share memory with."""
        if not self.gives_alias:
            return None
        return next((parameter.name for parameter in self.parameters if parameter.is_aliased), self.parameters[0].name)

    @cached_property
    def makes_from_numbers(self) -> bool:
        """Whether its arguments say how large its result is: it takes no tensor, or has as much of one as a number says."""
        takes_tensor = any("Tensor" in (one.type.kind, one.type.of and one.type.of.kind) for one in self.parameters)
        return not takes_tensor or self.name in ("aten::one_hot", "aten::repeat_interleave.self_int")

    @cached_property
    def is_aten(self) -> bool:
        """Whether it is one of PyTorch's tensor operators."""
        return self.name.startswith("aten::")


_ALLOWED = frozenset(ATEN)
_python = {name: Operator(name, function) for name, (function, _) in SIZES.items()} | {
    GETITEM: Operator(GETITEM, operator.getitem)
}


def find_operator(name: str) -> Operator | None:
    """The operator of a name; None where the list lacks it.

    Raises:
        ParameterError: The list has it and this PyTorch does not.
    """
    return _python.get(name) or (_aten(name) if name in _ALLOWED else None)


# Names from a file reach this cache only after the look-up above, which bounds it.
@cache
def _aten(name: str) -> Operator:
    base, _, overload = name.removeprefix("aten::").partition(".")
    try:
        target = getattr(getattr(torch.ops.aten, base), overload or "default")
    except AttributeError:
        raise ParameterError(f"this program needs the operator {name}, which PyTorch {torch.__version__} lacks") from None
    schema = target._schema
    return Operator(
        name,
        target,
        tuple(_parameter(argument) for argument in schema.arguments),
        tuple("Tensors" if str(result.type) == "List[Tensor]" else str(result.type) for result in schema.returns),
        any(result.alias_info for result in schema.returns) or name in GIVES_INPUT_BACK,
    )


def name_of(target: object) -> str | None:
    """The name under which a program may call a target of an exported graph; None where it may not."""
    if isinstance(target, torch._ops.OpOverload):
        name = target._schema.name + (f".{target._overloadname}" if target._overloadname != "default" else "")
        return name if name in _ALLOWED else None
    if target is operator.getitem:
        return GETITEM
    return next((name for name, (function, _) in SIZES.items() if function is target), None)


def _parameter(argument: Any) -> Parameter:
    alias = argument.alias_info
    return Parameter(
        name=argument.name,
        type=_type(str(argument.real_type), is_broadcast=argument.N is not None),
        is_required=not argument.has_default_value(),
        is_keyword=argument.kwarg_only,
        is_aliased=alias is not None,
        is_written=alias is not None and alias.is_write,
    )


def _type(text: str, *, is_broadcast: bool = False, is_optional: bool = False) -> Type:
    """A type from PyTorch's notation, such as ``Optional[List[int]]``."""
    if text.startswith("Optional["):
        return _type(text[len("Optional[") : -1], is_broadcast=is_broadcast, is_optional=True)
    if text.startswith("List["):
        return Type("List", _type(text[len("List[") : -1]), is_optional, is_broadcast)
    return Type(text, None, is_optional)
