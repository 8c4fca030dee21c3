"""The operators that a symbol may use: what computes a network and nothing else.

MXNet 1.9.1 has more than a thousand. Those that are missing here call back into pointers or Python (``_Native``,
``Custom``), read files (``_cvimread``), carry graphs inside (``_foreach``), end the process when their data does not fit
(``SequenceLast``), belong to a backward pass or to an optimizer, or were not seen in a published network. Attributes are
listed with what they may hold: MXNet itself counts up to any number, and draws between bounds in any order.
A tensor's size may be left to MXNet, as a 0; where nothing tells it, MXNet raises an error when the program is run.

Source: MXNet 1.9.1's operator registry (``MXSymbolGetAtomicSymbolInfo``).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

Attributes = Mapping[str, str]

#: Of one literal size, such as the width of a dense layer.
MAX_SIZE = 2**24
#: Of a literal tensor, such as ``zeros(shape=...)``, in elements.
MAX_ELEMENTS = 2**26
#: Of a tuple.
MAX_ITEMS = 64

_WHOLE = re.compile(r"[+-]?\d{1,19}L?")
_WORD = re.compile(r"[A-Za-z0-9_]{0,32}")
_DEVICE = re.compile(r"|(cpu|gpu|cpu_pinned)\(\d{1,3}\)")
_TRUTH = frozenset(("True", "true", "1", "False", "false", "0", "None"))
TRUE = frozenset(("True", "true", "1"))


@dataclass(frozen=True)
class Kind:
    """What the text of an attribute may be.

    Attributes:
        what: In words, for messages.
        fits: Whether a text is of this kind; a `ValueError` means no.
    """

    what: str
    fits: Callable[[str], bool]


@dataclass(frozen=True, kw_only=True)
class Operator:
    """How an operator may be used.

    Attributes:
        inputs: Their names, in order; the last stands for all others where `counted` is not "".
        counted: The attribute that says how many inputs there are; "" where none does.
        number: How many inputs it has, given its attributes.
        attributes: What each attribute may hold.
        outputs: How many outputs it has, given its attributes.
        check: What must be true of the attributes together, in words where it is not.
    """

    inputs: tuple[str, ...]
    number: Callable[[Attributes], int]
    counted: str = ""
    attributes: Mapping[str, Kind] = field(default_factory=dict)
    outputs: Callable[[Attributes], int] = lambda _: 1
    check: Callable[[Attributes], str] = lambda _: ""

    @property
    def written(self) -> tuple[int, ...]:
        """The places of the inputs that it writes to in training: running statistics."""
        return tuple(place for place, name in enumerate(self.inputs) if name.startswith("moving_"))


def is_true(attributes: Attributes, name: str) -> bool:
    """Whether a switch is on; switches are off by default."""
    return attributes.get(name, "False") in TRUE


def whole(text: str) -> int:
    """A whole number as MXNet writes it, also as Python 2 did (``3L``)."""
    if not _WHOLE.fullmatch(text):
        raise ValueError(text)
    return int(text.removesuffix("L"))


def items(text: str) -> list[str]:
    """The items of a tuple: ``(3, 3)``, ``[3,3]``, ``(3,)`` or, alone, ``3``."""
    inner = text.strip()
    if inner[:1] + inner[-1:] in ("()", "[]"):
        inner = inner[1:-1]
    found = [item.strip() for item in inner.split(",")]
    if found[-1] == "":
        found.pop()
    if len(found) > MAX_ITEMS:
        raise ValueError(text)
    return found


def _sizes(text: str, low: int, high: int = MAX_SIZE) -> bool:
    return all(low <= whole(item) <= high for item in items(text))


def _number(text: str) -> bool:
    return text == "None" or not math.isnan(float(text))


def _literal(text: str) -> bool:
    return _sizes(text, 1) and _unknown(text)


def _unknown(text: str) -> bool:
    return _sizes(text, 0) and math.prod(max(whole(item), 1) for item in items(text)) <= MAX_ELEMENTS


def _maybe(text: str) -> bool:
    return text == "None" or -(2**31) <= whole(text) < 2**31


def _axis(text: str) -> bool:
    return text == "None" or -32 <= whole(text) < 32


SWITCH = Kind("True or False", lambda text: text in _TRUTH)
NUMBER = Kind("a number", _number)
NUMBERS = Kind("a tuple of numbers", lambda text: all(_number(item) for item in items(text)))
WORD = Kind("one word", lambda text: _WORD.fullmatch(text) is not None)
INT = Kind("a whole number of 32 bits, or None", _maybe)
INTS = Kind("a tuple of whole numbers of 32 bits, or None", lambda text: all(_maybe(item) for item in items(text)))
CODES = Kind("a tuple of whole numbers of 32 bits", lambda text: _sizes(text, -(2**31), 2**31 - 1))
AXIS = Kind("an axis from -32 to 31, or None", _axis)
AXES = Kind("a tuple of axes from -32 to 31, or None", lambda text: all(_axis(item) for item in items(text)))
COUNT = Kind(f"a whole number from 1 to {MAX_SIZE}", lambda text: 1 <= whole(text) <= MAX_SIZE)
FEW = Kind("a whole number from 1 to 4096", lambda text: 1 <= whole(text) <= 4096)
UPTO = Kind(f"a whole number from 0 to {MAX_SIZE}", lambda text: 0 <= whole(text) <= MAX_SIZE)
LIMIT = Kind(f"a whole number from -1 to {MAX_SIZE}", lambda text: -1 <= whole(text) <= MAX_SIZE)
STEPS = Kind("a tuple of whole numbers from 1 to 4096", lambda text: _sizes(text, 1, 4096))
EDGES = Kind("a tuple of whole numbers from 0 to 4096", lambda text: _sizes(text, 0, 4096))
LITERAL = Kind(f"a shape of at most {MAX_ELEMENTS} elements, none of size 0", _literal)
#: A size of 0 is one that MXNet infers from what takes the tensor, as Gluon writes the first state of a recurrent layer.
INFERRED = Kind(f"a shape of at most {MAX_ELEMENTS} elements, 0 where a size is to be inferred", _unknown)
#: What MXNet has on GPUs only: on a CPU it ends the process, or is left out without a word.
NEVER = Kind("None or False; MXNet has it on GPUs only", lambda text: text in ("None", "False", "false", "0"))
DEVICE = Kind("a device such as cpu(0)", lambda text: _DEVICE.fullmatch(text) is not None)


def _op(
    inputs: str,
    more: Mapping[str, Kind] | None = None,
    /,
    *,
    outputs: Callable[[Attributes], int] | int = 1,
    check: Callable[[Attributes], str] = lambda _: "",
    has: Mapping[str, Callable[[Attributes], bool]] | None = None,
    number: Callable[[Attributes], int] | None = None,
    **attributes: Kind,
) -> Operator:
    """An operator.

    Args:
        inputs: The names of its inputs; ``*x`` at the end: as many as the attribute ``x`` says.
        more: Attributes that several operators have.
        outputs: Its number of outputs, also as a function of the attributes.
        check: As for `Operator`.
        has: When each of the inputs is there that may be left out.
        number: How many inputs it has, where neither says it.
        attributes: As for `Operator`.
    """
    names = inputs.split()
    counted = names.pop()[1:] if names and names[-1].startswith("*") else ""
    if counted:
        attributes[counted] = FEW
    optional = has or {}

    def counted_up(given: Attributes) -> int:
        if counted:
            return whole(given.get(counted, "0"))
        return sum(name not in optional or optional[name](given) for name in names)

    return Operator(
        inputs=tuple(names),
        number=number or counted_up,
        counted=counted,
        attributes={**(more or {}), **attributes},
        outputs=outputs if callable(outputs) else lambda _: outputs,
        check=check,
    )


def _has_bias(attributes: Attributes) -> bool:
    return not is_true(attributes, "no_bias")


def _upsampled(attributes: Attributes) -> int:
    return 2 if attributes.get("sample_type") == "bilinear" else whole(attributes.get("num_args", "0"))


def _split(attributes: Attributes) -> int:
    sections = whole(attributes.get("sections", "0"))
    return sections or len(items(attributes.get("indices", "()")))


#: A recurrent layer's mode -> how many gates a cell has.
_GATES = {"rnn_relu": 1, "rnn_tanh": 1, "gru": 3, "lstm": 4}
#: What one step of a sequence may have.
_MAX_FEATURES = 2**16


def most_features(attributes: Attributes) -> int:
    """How many features a step of a sequence may have, for a recurrent layer; 0 or less: the layer is too large.

    MXNet counts the packed parameters in 32 bits. Beyond, a small tensor would pass for one of gigabytes, and be read so.

    Source: ``GetRnnParamSize`` in MXNet 1.9's ``rnn-inl.h``.
    """
    state, layers = (whole(attributes.get(name, "0")) for name in ("state_size", "num_layers"))
    directions = 2 if is_true(attributes, "bidirectional") else 1
    rows = _GATES.get(attributes.get("mode", ""), 0) * directions * state
    if rows <= 0 or layers <= 0:
        return 0
    others = rows * (state + 2) + (layers - 1) * rows * (state * directions + state + 2)
    return min(_MAX_FEATURES, (2**31 - 1 - others) // rows)


def _cells(attributes: Attributes) -> str:
    if attributes.get("mode") not in _GATES:
        return f"a mode of {', '.join(sorted(_GATES))}"
    return "" if most_features(attributes) > 0 else "a layer of less than 2147483648 parameters"


def _recurrent(attributes: Attributes) -> int:
    if not is_true(attributes, "state_outputs"):
        return 1
    return 3 if attributes.get("mode") == "lstm" else 2


def _normal(attributes: Attributes) -> int:
    return 3 if is_true(attributes, "output_mean_var") else 1


def _ranges(attributes: Attributes) -> str:
    """An ``_arange`` must have an end, and not be longer than a literal tensor may be."""
    start, step = (float(attributes.get(name, default)) for name, default in (("start", "0"), ("step", "1")))
    stop = attributes.get("stop", "None")
    first, last = (0.0, start) if stop == "None" else (start, float(stop))
    if step == 0 or not math.isfinite(last - first) or not abs((last - first) / step) <= MAX_ELEMENTS:
        return f"a range of at most {MAX_ELEMENTS} numbers"
    return ""


def _activation(attributes: Attributes) -> str:
    """Slopes that are drawn at random end the process where their bounds are not in order, and at times where they are."""
    return "another act_type than rrelu" if attributes.get("act_type") == "rrelu" else ""


def _shaped(attributes: Attributes) -> str:
    """The shape of ``Reshape``, whose old form is an attribute of another name."""
    old = items(attributes.get("target_shape", "()"))
    if items(attributes.get("shape", "()")):
        return ""
    return "" if all(whole(size) >= 0 for size in old) and any(whole(size) for size in old) else "a shape"


def _square(attributes: Attributes) -> str:
    rows = whole(attributes.get("N", "1"))
    columns = whole(attributes.get("M", "0")) or rows
    return "" if rows * columns <= MAX_ELEMENTS else f"at most {MAX_ELEMENTS} elements"


_CONVOLUTION = {
    "kernel": STEPS,
    "stride": STEPS,
    "dilate": STEPS,
    "pad": EDGES,
    "num_filter": COUNT,
    "num_group": COUNT,
    "workspace": UPTO,
    "no_bias": SWITCH,
    "layout": WORD,
}
_CUDNN = {"cudnn_tune": WORD, "cudnn_off": SWITCH}
_POOLING = {
    "kernel": STEPS,
    "pool_type": WORD,
    "global_pool": SWITCH,
    "pooling_convention": WORD,
    "stride": STEPS,
    "pad": EDGES,
}
_BATCH = {"eps": NUMBER, "momentum": NUMBER, "fix_gamma": SWITCH, "use_global_stats": SWITCH, "output_mean_var": SWITCH}
_REDUCTION = {"axis": AXES, "keepdims": SWITCH, "exclude": SWITCH}
_SOFTMAX = {"axis": AXIS, "temperature": NUMBER, "dtype": WORD, "use_length": SWITCH}
_PRODUCT = {"transpose_a": SWITCH, "transpose_b": SWITCH}
_STORAGE = {"forward_stype": WORD}
_LENGTHS: Mapping[str, Callable[[Attributes], bool]] = {"sequence_length": lambda given: is_true(given, "use_sequence_length")}
_NEW = {"ctx": DEVICE, "dtype": WORD}
_RANGE = {"start": NUMBER, "stop": NUMBER, "step": NUMBER, "repeat": FEW, "infer_range": SWITCH}
_LOSS = {"grad_scale": NUMBER}

#: One input, one output of the same shape, no attribute.
_UNARY = (
    "BlockGrad _copy _contrib_div_sqrt_dim abs arccos arccosh arcsin arcsinh arctan arctanh cbrt ceil cos cosh "
    "degrees erf erfinv exp expm1 fix floor gamma gammaln log log10 log1p log2 logical_not make_loss negative "
    "ones_like radians rcbrt reciprocal relu rint round rsqrt sigmoid sign sin sinh softsign sqrt square tan tanh "
    "trunc zeros_like Flatten shape_array size_array argmax_channel"
)
#: Two inputs, no attribute.
_BINARY = (
    "_equal _grad_add _greater _greater_equal _hypot _lesser _lesser_equal _logical_and _logical_or _logical_xor "
    "_maximum _minimum _mod _not_equal _power elemwise_add elemwise_div elemwise_mul elemwise_sub broadcast_add "
    "broadcast_div broadcast_equal broadcast_greater broadcast_greater_equal broadcast_hypot broadcast_lesser "
    "broadcast_lesser_equal broadcast_logical_and broadcast_logical_or broadcast_logical_xor broadcast_maximum "
    "broadcast_minimum broadcast_mod broadcast_mul broadcast_not_equal broadcast_power broadcast_sub "
    "_identity_with_attr_like_rhs batch_take gather_nd"
)
#: One input and a number.
_SCALAR = (
    "_div_scalar _equal_scalar _greater_equal_scalar _greater_scalar _hypot_scalar _lesser_equal_scalar "
    "_lesser_scalar _logical_and_scalar _logical_or_scalar _logical_xor_scalar _maximum_scalar _minimum_scalar "
    "_minus_scalar _mod_scalar _mul_scalar _not_equal_scalar _plus_scalar _power_scalar _rdiv_scalar _rminus_scalar "
    "_rmod_scalar _rpower_scalar"
)
_REDUCED = "max mean min nanprod nansum prod sum"

_OPERATORS: Mapping[str, Operator] = {
    **{name: _op("data") for name in _UNARY.split()},
    **{name: _op("lhs rhs") for name in _BINARY.split()},
    **{name: _op("data", scalar=NUMBER, is_int=SWITCH) for name in _SCALAR.split()},
    **{name: _op("data", _REDUCTION) for name in _REDUCED.split()},
    "Activation": _op("data", act_type=WORD),
    "BatchNorm": _op(
        "data gamma beta moving_mean moving_var",
        _BATCH,
        outputs=_normal,
        axis=AXIS,
        cudnn_off=SWITCH,
        min_calib_range=NUMBER,
        max_calib_range=NUMBER,
    ),
    "BilinearSampler": _op("data grid", cudnn_off=SWITCH),
    "Cast": _op("data", dtype=WORD),
    "Concat": _op("data *num_args", dim=AXIS),
    "Convolution": _op("data weight bias", _CONVOLUTION | _CUDNN, has={"bias": _has_bias}),
    "Crop": _op("data *num_args", offset=EDGES, h_w=EDGES, center_crop=SWITCH),
    "Deconvolution": _op(
        "data weight bias",
        _CONVOLUTION | _CUDNN,
        has={"bias": lambda given: given.get("no_bias", "True") not in TRUE},
        adj=EDGES,
        target_shape=EDGES,
    ),
    "Dropout": _op("data", p=NUMBER, mode=WORD, axes=AXES, cudnn_off=SWITCH),
    "Embedding": _op("data weight", input_dim=COUNT, output_dim=COUNT, dtype=WORD, sparse_grad=SWITCH),
    "FullyConnected": _op("data weight bias", has={"bias": _has_bias}, num_hidden=COUNT, no_bias=SWITCH, flatten=SWITCH),
    "GridGenerator": _op("data", transform_type=WORD, target_shape=STEPS),
    "GroupNorm": _op("data gamma beta", outputs=_normal, num_groups=COUNT, eps=NUMBER, output_mean_var=SWITCH),
    "InstanceNorm": _op("data gamma beta", eps=NUMBER),
    "L2Normalization": _op("data", eps=NUMBER, mode=WORD),
    "LRN": _op("data", alpha=NUMBER, beta=NUMBER, knorm=NUMBER, nsize=FEW),
    "LayerNorm": _op("data gamma beta", outputs=_normal, axis=AXIS, eps=NUMBER, output_mean_var=SWITCH),
    "LeakyReLU": _op(
        "data gamma",
        has={"gamma": lambda given: given.get("act_type") == "prelu"},
        act_type=WORD,
        check=_activation,
        slope=NUMBER,
        lower_bound=NUMBER,
        upper_bound=NUMBER,
    ),
    "LinearRegressionOutput": _op("data label", _LOSS),
    "LogisticRegressionOutput": _op("data label", _LOSS),
    "MAERegressionOutput": _op("data label", _LOSS),
    "MakeLoss": _op("data", _LOSS, valid_thresh=NUMBER, normalization=WORD),
    "Pad": _op("data", mode=WORD, pad_width=EDGES, constant_value=NUMBER),
    "Pooling": _op("data", _POOLING, cudnn_off=SWITCH, p_value=INT, count_include_pad=SWITCH, layout=WORD),
    "RNN": _op(
        "data parameters state state_cell",
        has={"state_cell": lambda given: given.get("mode") == "lstm"},
        outputs=_recurrent,
        check=_cells,
        state_size=COUNT,
        num_layers=FEW,
        bidirectional=SWITCH,
        mode=WORD,
        p=NUMBER,
        state_outputs=SWITCH,
        projection_size=NEVER,
        lstm_state_clip_min=NEVER,
        lstm_state_clip_max=NEVER,
        lstm_state_clip_nan=SWITCH,
        use_sequence_length=NEVER,
    ),
    "ROIPooling": _op("data rois", pooled_size=STEPS, spatial_scale=NUMBER),
    "Reshape": _op("data", check=_shaped, shape=CODES, reverse=SWITCH, target_shape=CODES, keep_highest=SWITCH),
    "SVMOutput": _op("data label", margin=NUMBER, regularization_coefficient=NUMBER, use_linear=SWITCH),
    "SequenceMask": _op("data sequence_length", has=_LENGTHS, use_sequence_length=SWITCH, value=NUMBER, axis=AXIS),
    "SequenceReverse": _op("data sequence_length", has=_LENGTHS, use_sequence_length=SWITCH, axis=AXIS),
    "SliceChannel": _op(
        "data", outputs=lambda given: whole(given.get("num_outputs", "1")), num_outputs=FEW, axis=AXIS, squeeze_axis=SWITCH
    ),
    "SoftmaxActivation": _op("data", mode=WORD),
    "SoftmaxOutput": _op(
        "data label",
        _LOSS,
        ignore_label=NUMBER,
        multi_output=SWITCH,
        use_ignore=SWITCH,
        preserve_shape=SWITCH,
        normalization=WORD,
        out_grad=SWITCH,
        smooth_alpha=NUMBER,
    ),
    "SpatialTransformer": _op("data loc", target_shape=STEPS, transform_type=WORD, sampler_type=WORD, cudnn_off=SWITCH),
    "SwapAxis": _op("data", dim1=AXIS, dim2=AXIS),
    # Interpolation takes the picture and its weights, whatever `num_args` says.
    "UpSampling": _op(
        "data *num_args", number=_upsampled, scale=FEW, num_filter=UPTO, sample_type=WORD, multi_input_mode=WORD, workspace=UPTO
    ),
    "_arange": _op("", _RANGE | _NEW, check=_ranges),
    "_contrib_AdaptiveAvgPooling2D": _op("data", output_size=STEPS),
    "_contrib_BilinearResize2D": _op(
        "data like",
        has={"like": lambda given: given.get("mode") == "like"},
        height=FEW,
        width=FEW,
        scale_height=NUMBER,
        scale_width=NUMBER,
        mode=WORD,
        align_corners=SWITCH,
    ),
    "_contrib_MultiBoxDetection": _op(
        "cls_prob loc_pred anchor",
        clip=SWITCH,
        threshold=NUMBER,
        background_id=INT,
        nms_threshold=NUMBER,
        force_suppress=SWITCH,
        variances=NUMBERS,
        nms_topk=LIMIT,
    ),
    "_contrib_MultiBoxPrior": _op("data", sizes=NUMBERS, ratios=NUMBERS, clip=SWITCH, steps=NUMBERS, offsets=NUMBERS),
    "_contrib_ROIAlign": _op(
        "data rois", pooled_size=STEPS, spatial_scale=NUMBER, sample_ratio=LIMIT, position_sensitive=SWITCH, aligned=SWITCH
    ),
    "_contrib_arange_like": _op("data", start=NUMBER, step=NUMBER, repeat=FEW, ctx=DEVICE, axis=AXIS),
    "_contrib_box_decode": _op("data anchors", std0=NUMBER, std1=NUMBER, std2=NUMBER, std3=NUMBER, clip=NUMBER, format=WORD),
    "_contrib_box_iou": _op("lhs rhs", format=WORD),
    "_contrib_box_nms": _op(
        "data",
        overlap_thresh=NUMBER,
        valid_thresh=NUMBER,
        topk=LIMIT,
        coord_start=UPTO,
        score_index=UPTO,
        id_index=LIMIT,
        background_id=LIMIT,
        force_suppress=SWITCH,
        in_format=WORD,
        out_format=WORD,
    ),
    "_contrib_interleaved_matmul_encdec_qk": _op("queries keys_values", heads=FEW),
    "_contrib_interleaved_matmul_encdec_valatt": _op("keys_values attention", heads=FEW),
    "_contrib_interleaved_matmul_selfatt_qk": _op("queries_keys_values", heads=FEW),
    "_contrib_interleaved_matmul_selfatt_valatt": _op("queries_keys_values attention", heads=FEW),
    "_eye": _op("", _NEW, check=_square, N=COUNT, M=UPTO, k=INT),
    "_full": _op("", _NEW, shape=INFERRED, value=NUMBER),
    "_linalg_gemm2": _op("A B", _PRODUCT, alpha=NUMBER, axis=AXIS),
    "_npx_reshape": _op("a", newshape=CODES, reverse=SWITCH, order=WORD),
    "_ones": _op("", _NEW, shape=INFERRED),
    "_rnn_param_concat": _op("data *num_args", dim=AXIS),
    "_split_v2": _op("data", outputs=_split, indices=INTS, axis=AXIS, squeeze_axis=SWITCH, sections=UPTO),
    "_zeros": _op("", _NEW, shape=INFERRED),
    "add_n": _op("args *num_args"),
    "amp_cast": _op("data", dtype=WORD),
    "amp_multicast": _op("data *num_outputs", outputs=lambda given: whole(given.get("num_outputs", "1")), cast_narrow=SWITCH),
    "argmax": _op("data", axis=AXIS, keepdims=SWITCH),
    "argmin": _op("data", axis=AXIS, keepdims=SWITCH),
    "argsort": _op("data", axis=AXIS, is_ascend=SWITCH, dtype=WORD),
    "batch_dot": _op("lhs rhs", _PRODUCT | _STORAGE),
    "broadcast_axis": _op("data", axis=AXES, size=STEPS),
    "broadcast_like": _op("lhs rhs", lhs_axes=AXES, rhs_axes=AXES),
    "broadcast_to": _op(
        "data",
        shape=Kind(f"a shape of at most {MAX_ELEMENTS} elements", _unknown),
    ),
    "clip": _op("data", a_min=NUMBER, a_max=NUMBER),
    "cumsum": _op("a", axis=AXIS, dtype=WORD),
    "depth_to_space": _op("data", block_size=FEW),
    "dot": _op("lhs rhs", _PRODUCT | _STORAGE),
    "expand_dims": _op("data", axis=AXIS),
    "hard_sigmoid": _op("data", alpha=NUMBER, beta=NUMBER),
    "log_softmax": _op("data", _SOFTMAX),
    "norm": _op("data", ord=INT, axis=AXES, out_dtype=WORD, keepdims=SWITCH),
    "one_hot": _op("indices", depth=COUNT, on_value=NUMBER, off_value=NUMBER, dtype=WORD),
    "pick": _op("data index", axis=AXIS, keepdims=SWITCH, mode=WORD),
    "repeat": _op("data", repeats=FEW, axis=AXIS),
    "reshape_like": _op("lhs rhs", lhs_begin=AXIS, lhs_end=AXIS, rhs_begin=AXIS, rhs_end=AXIS),
    "reverse": _op("data", axis=AXES),
    "slice": _op("data", begin=INTS, end=INTS, step=INTS),
    "slice_axis": _op("data", axis=AXIS, begin=INT, end=INT),
    "slice_like": _op("data shape_like", axes=AXES),
    "smooth_l1": _op("data", scalar=NUMBER),
    "softmax": _op("data length", _SOFTMAX, has={"length": lambda given: is_true(given, "use_length")}),
    "softmin": _op("data", _SOFTMAX),
    "sort": _op("data", axis=AXIS, is_ascend=SWITCH),
    "space_to_depth": _op("data", block_size=FEW),
    "squeeze": _op("data", axis=AXES),
    "stack": _op("data *num_args", axis=AXIS),
    "take": _op("a indices", axis=AXIS, mode=WORD),
    "tile": _op("data", reps=LITERAL),
    "topk": _op(
        "data",
        outputs=lambda given: 2 if given.get("ret_typ") == "both" else 1,
        axis=AXIS,
        k=UPTO,
        ret_typ=WORD,
        is_ascend=SWITCH,
        dtype=WORD,
    ),
    "transpose": _op("data", axes=AXES),
    "where": _op("condition x y"),
}

#: Name -> how it may be used, sorted.
OPERATORS: Mapping[str, Operator] = dict(sorted(_OPERATORS.items()))

#: Further names that older files use.
ALIASES: Mapping[str, str] = {
    "ElementWiseSum": "add_n",
    "Softmax": "SoftmaxOutput",
    "_Div": "elemwise_div",
    "_DivScalar": "_div_scalar",
    "_Maximum": "_maximum",
    "_MaximumScalar": "_maximum_scalar",
    "_Minimum": "_minimum",
    "_MinimumScalar": "_minimum_scalar",
    "_Minus": "elemwise_sub",
    "_MinusScalar": "_minus_scalar",
    "_Mul": "elemwise_mul",
    "_MulScalar": "_mul_scalar",
    "_Plus": "elemwise_add",
    "_PlusScalar": "_plus_scalar",
    "_Power": "_power",
    "_PowerScalar": "_power_scalar",
    "_RDivScalar": "_rdiv_scalar",
    "_RMinusScalar": "_rminus_scalar",
    "_RPowerScalar": "_rpower_scalar",
    "_add": "elemwise_add",
    "_div": "elemwise_div",
    "_minus": "elemwise_sub",
    "_mul": "elemwise_mul",
    "_plus": "elemwise_add",
    "_sub": "elemwise_sub",
    "broadcast_axes": "broadcast_axis",
    "broadcast_minus": "broadcast_sub",
    "broadcast_plus": "broadcast_add",
    "cast": "Cast",
    "concat": "Concat",
    "flatten": "Flatten",
    "flip": "reverse",
    "identity": "_copy",
    "linalg_gemm2": "_linalg_gemm2",
    "max_axis": "max",
    "min_axis": "min",
    "pad": "Pad",
    "reshape": "Reshape",
    "split": "SliceChannel",
    "stop_gradient": "BlockGrad",
    "sum_axis": "sum",
    "swapaxes": "SwapAxis",
}
