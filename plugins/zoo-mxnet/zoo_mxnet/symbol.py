"""SymbolBlock: a Gluon block that holds a symbol, and keeps the symbol among its own parameters."""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from zoo_core import InputError, ParameterError, did_you_mean, listing, printable, read_model_file, read_parameters
from zoo_mxnet.arrays import DTYPES, agree, fill, shared
from zoo_mxnet.factories import Symbol
from zoo_mxnet.framework import HybridBlock, mx
from zoo_mxnet.inspection import MODERN, VARIABLE, Graph, Node, inspected
from zoo_mxnet.operators import items, whole
from zoo_mxnet.safety import safe

if TYPE_CHECKING:
    Parameters = Mapping[str, Any] | str | os.PathLike[str] | bytes

#: The name under which a SymbolBlock keeps its program, in every engine.
PROGRAM = "_extra_state"
#: What fresh weights are, by the operator's name for them; others are drawn at random.
_INITIAL = {"bias": "zeros", "gamma": "ones", "beta": "zeros", "moving_mean": "zeros", "moving_var": "ones"}
#: What operators call their weights.
_WEIGHTS = frozenset(("weight", "bias", "gamma", "beta", "moving_mean", "moving_var", "parameters"))
#: A variable that claims to be larger is refused before anything is allocated for it.
_MAX_ELEMENTS = 2**31
_HOW_TO_LOAD = "use zoo_mxnet.load_parameters(block, path), which reads the same files"


class SymbolBlock(HybridBlock):
    """A Gluon block that computes what a symbol says.

    Its weights are ordinary parameters under the symbol's own names; the program itself is one more, ``_extra_state``, so that
    Gluon's ``save_parameters`` of any block around it writes the program too. Made without a program it is an empty holder,
    which `zoo_mxnet.load_parameters` fills. Types that the program writes down (a ``Cast``) stay what they are in ``cast``.

    >>> data = mx.sym.var("data")
    >>> block = SymbolBlock.from_program(mx.sym.FullyConnected(data, num_hidden=2, name="fc"))
    >>> sorted(block._collect_params_with_prefix())
    ['_extra_state', 'fc_bias', 'fc_weight']
    """

    #: The kind of program that it holds.
    kind: ClassVar[str] = "mxnet.symbol"

    def __init__(self, prefix: str | None = None) -> None:
        super().__init__(prefix=prefix)  # type: ignore[call-arg]  # ours takes none
        self._filled: Filling | None = None
        self._hybrid: dict[str, Any] | None = None
        self._reg_params[PROGRAM] = _NoProgram(f"{self.prefix}{PROGRAM}", shape=(0,), dtype="uint8", grad_req="null")

    @classmethod
    def from_program(
        cls,
        program: Any,
        *,
        parameters: Parameters | None = None,
        inputs: Sequence[str] | None = None,
        output: str | None = None,
    ) -> SymbolBlock:
        """A block that computes a program.

        A loss at the end whose labels are no input (``SoftmaxOutput``) becomes what it predicts with.

        Args:
            program: A `mxnet.symbol.Symbol`; or the JSON of one, as bytes, as a binary stream, or by the path of a
                ``-symbol.json`` file.
            parameters: The weights by their names in the symbol, as arrays or Gluon parameters, which are copied; or a file
                of them, as a path or bytes. None: for a path the only ``.params`` file of that name beside it; otherwise the
                weights have no values yet, and ``initialize()`` draws them.
            inputs: The variables that are inputs, in the order in which the block takes them. None: as the program says it,
                if a SymbolBlock wrote it; else the variables that `parameters` lacks; without these, ``data``.
            output: Where to cut the program, one of `outputs`; None: it gives what it gave.

        Raises:
            ParameterError: The program is none that may be loaded, or weights are missing, superfluous or of another shape.
            InputError: It is nothing of which a program can be made, or has no such output.
        """
        content, name, values = _read(program, parameters)
        graph = prepared(content, name=name, weights=values, inputs=inputs)
        block = cls()
        block.filling(cut(graph, output) if output is not None else graph).apply()
        if values is not None:
            block._place(values, is_whole=output is None)
        return block

    @property
    def filled(self) -> Filling | None:
        """What the block computes; None for an empty holder."""
        return self._filled

    @property
    def program(self) -> bytes | None:
        """The program as it is saved, JSON that MXNet reads too; None for an empty holder."""
        return None if self._filled is None else self._filled.content

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names of its inputs, in order."""
        return self._held().graph.inputs or ()

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of what is computed on the way, at which `from_program` can cut."""
        graph = self._held().graph
        variables = set(graph.variables)
        return tuple(name for name in _symbol(graph).get_internals().list_outputs() if name not in variables)

    @property
    def zoo_factory(self) -> Symbol:
        """The factory that rebuilds this block, empty."""
        return Symbol()

    def remove_last_block(self) -> SymbolBlock:
        """A block without the last operator, which shares the weights that are left: a classifier becomes a backbone.

        Raises:
            InputError: The program has several outputs, or one operator only.
        """
        graph = self._held().graph
        heads = {index for index, _ in graph.heads}
        before = [index for index, node in enumerate(graph.nodes) if node.op != VARIABLE and index not in heads]
        if len(heads) != 1 or not before:
            raise InputError(
                "the last block can be removed where the program has one output and several operators; this one has "
                f"{len(heads)} and {len(graph.operators)}: cut it with SymbolBlock.from_program(..., output=...)"
            )
        last = before[-1]
        rest = replace(graph, heads=tuple((last, output) for output in range(graph.nodes[last].outputs))).used()
        block = type(self)()
        block.filling(rest, self._held().weights).apply()
        return block

    def filling(self, graph: Graph, weights: Mapping[str, Any] | None = None) -> Filling:
        """What would fill this block with a program; nothing is changed before its ``apply``.

        Args:
            graph: From `prepared`.
            weights: Parameters to share, by their names in the program.

        Raises:
            ParameterError: MXNet cannot build the program.
        """
        return _filling(self, graph, weights or {})

    def forward(self, x: Any, *args: Any) -> Any:
        """Compute on arrays, or compose on symbols while Gluon compiles.

        Raises:
            ParameterError: The block is empty.
            InputError: It takes another number of inputs.
        """
        held = self._held()
        given = sum(value is not None for value in (x, *args))
        if given != len(self.inputs):
            wanted = f"{_counted(len(self.inputs), 'input')} ({', '.join(self.inputs)})"
            raise InputError(f"{type(self).__name__} takes {wanted}; {given} {'was' if given == 1 else 'were'} given")
        return held.network(x, *(value for value in args if value is not None))

    def hybridize(self, active: bool = True, **options: Any) -> None:
        """Pass Gluon's options for compiling to the program, which is compiled in any case."""
        super().hybridize(active, **options)  # type: ignore[misc]  # Gluon has it
        self._hybrid = {"active": active, **options}
        if self._filled is not None:
            self._filled.network.hybridize(**self._hybrid)

    def load_parameters(self, filename: str, *args: Any, **options: Any) -> None:
        """Say how it is done: Gluon reads names without a dot as those of another kind of file.

        Raises:
            ParameterError: Always; `zoo_mxnet.load_parameters` reads the file.
        """
        raise ParameterError(f"Gluon's own load_parameters cannot fill a SymbolBlock alone: {_HOW_TO_LOAD}")

    def cast(self, dtype: Any) -> None:
        """Convert the floating-point weights; those of batch norms stay float32 beside float16, as MXNet demands."""
        if self._filled is None:
            return
        name = np.dtype(dtype).name
        kept = float32_weights(self._filled.graph) if name == "float16" else frozenset()
        for weight_name, weight in self._filled.weights.items():
            if np.issubdtype(np.dtype(weight.dtype), np.floating):
                weight.cast("float32" if weight_name in kept else name)
        self._filled.network.recompile()

    def export(self, path: str, epoch: int = 0, remove_amp_cast: bool = True) -> None:
        """Write ``<path>-symbol.json`` and ``<path>-<epoch>.params`` under the symbol's own names.

        Raises:
            ParameterError: The block is empty, or a weight has no value yet.
        """
        held = self._held()
        symbol = _symbol(held.graph)
        kinds = {**dict.fromkeys(symbol.list_arguments(), "arg"), **dict.fromkeys(symbol.list_auxiliary_states(), "aux")}
        symbol.save(f"{path}-symbol.json", remove_amp_cast=remove_amp_cast)
        arrays = {f"{kinds[name]}:{name}": weight.list_data()[0] for name, weight in held.weights.items()}
        mx.nd.save(f"{path}-{epoch:04d}.params", arrays)

    def __repr__(self) -> str:
        if self._filled is None:
            return f"{type(self).__name__}(empty)"
        graph = self._filled.graph
        return f"{type(self).__name__}({', '.join(self.inputs)} -> {len(graph.heads)} of {len(graph.operators)} operators)"

    def __getstate__(self) -> dict[str, Any]:
        # A compiled program cannot be copied; it is built again from the graph.
        return {**self.__dict__, "_filled": self._filled and replace(self._filled, network=None, block=None)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if self._filled is not None:
            again = _filling(self, self._filled.graph, self._filled.weights)
            self._filled = replace(again, program=self._filled.program)
            if self._hybrid is not None:
                again.network.hybridize(**self._hybrid)

    def _held(self) -> Filling:
        if self._filled is None:
            raise ParameterError(
                f"{type(self).__name__} is empty: fill it with zoo_mxnet.load_parameters(block, path), or make it with "
                "SymbolBlock.from_program(...)",
                missing=(PROGRAM,),
            )
        return self._filled

    def _place(self, values: Mapping[str, Any], *, is_whole: bool) -> None:
        """Give the weights their values; where the program was cut, some may be superfluous."""
        weights = self._held().weights
        missing = tuple(name for name in weights if name not in values)
        unexpected = tuple(name for name in values if name not in weights and name not in self.inputs) if is_whole else ()
        if missing or unexpected:
            what = f"has no {listing(missing)}" if missing else f"has {listing(unexpected)}, which the symbol has not"
            raise ParameterError(f"parameters= {what}", missing=missing, unexpected=unexpected)
        for name, weight in weights.items():
            value = _value(name, values[name])
            if not agree(value.shape, weight.shape):
                raise ParameterError(
                    f"{name} has the shape {list(value.shape)}; the symbol says {list(weight.shape)}", mismatched=(name,)
                )
            fill(weight, value, mx.cpu())
        mx.nd.waitall()


@dataclass(frozen=True, kw_only=True)
class Filling:
    """A program that was built for a block.

    Attributes:
        block: Which one.
        graph: The program.
        content: The program as it is saved.
        weights: Its parameters, by their names in the program.
        program: The parameter that holds `content`.
        network: What computes it.
    """

    block: Any
    graph: Graph
    content: bytes
    weights: Mapping[str, Any]
    program: Any
    network: Any

    @property
    def parameters(self) -> dict[str, Any]:
        """All parameters by the names that they have in the block."""
        return {**self.weights, PROGRAM: self.program}

    def apply(self) -> None:
        """Fill the block."""
        self.block.params.update({weight.name: weight for weight in self.weights.values()})
        # An attribute for each, as Gluon has it, could hide a method: the names are the file's. The program is no member of
        # `params`: compiled parents ask every parameter there for its place in the computation.
        self.block._reg_params.update(self.parameters)
        self.block._filled = self
        if self.block._hybrid is not None:
            self.network.hybridize(**self.block._hybrid)


class _Copied:
    """A parameter that can be copied and pickled whole, also while a Trainer knows it."""

    grad_req: str

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_trainer": None, "_var": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        # The copies of value and gradient do not know one another until MXNet is told.
        wanted = self.grad_req
        self.grad_req = "null"
        self.grad_req = wanted


class _Weight(_Copied, mx.gluon.Parameter):  # type: ignore[misc]  # MXNet has no types
    """A parameter of a program."""


class _Program(_Copied, mx.gluon.Parameter):  # type: ignore[misc]  # MXNet has no types
    """A program's bytes as a parameter, which nothing converts or overwrites."""

    def cast(self, dtype: Any) -> None:
        """Stay as it is."""

    def set_data(self, data: Any) -> None:
        """Take the same bytes only.

        Raises:
            ParameterError: They are those of another program, which the block does not compute.
        """
        if data.dtype != np.uint8 or data.shape != self.shape or bool((data.asnumpy() != self.data().asnumpy()).any()):
            raise ParameterError("the block holds another program: fill an empty SymbolBlock() with zoo_mxnet.load_parameters")


class _NoProgram(_Copied, mx.gluon.Parameter):  # type: ignore[misc]  # MXNet has no types
    """Stands where the program will be, first of all, so that Gluon meets it before the weights that it knows nothing of."""

    def _load_init(self, *_: Any, **options: Any) -> None:
        raise ParameterError(
            "an empty SymbolBlock is not filled by Gluon's own load_parameters, which fixes the names of all parameters before "
            f"it reads a file: {_HOW_TO_LOAD}"
        )

    def _reduce(self) -> Any:
        raise ParameterError(f"{self.name}: this SymbolBlock is empty, load its parameters first", missing=(self.name,))


class _Network(mx.gluon.SymbolBlock):  # type: ignore[misc]  # MXNet has no types
    """Gluon's own block for a symbol, with parameters of ours instead of those that it makes."""

    def __init__(self, symbol: Any, inputs: Sequence[str], weights: Mapping[str, Any]) -> None:
        # It would infer the types of all parameters, and warn where it cannot; of its inputs alone it knows them.
        variables = [mx.sym.var(name, dtype="float32") for name in inputs]
        super().__init__(variables, variables)
        outputs = len(symbol.list_outputs())
        self._cached_graph = variables, symbol
        self._out_format = outputs if outputs > 1 else 0
        self._weights = mx.gluon.ParameterDict()
        self._weights.update({weight.name: weight for weight in weights.values()})

    def collect_params(self, select: str | None = None) -> Any:
        """The parameters that a run takes."""
        return self._weights

    def recompile(self) -> None:
        """Forget what was compiled for other dtypes."""
        self._clear_cached_op()


def prepared(
    content: bytes | memoryview,
    *,
    name: str = "the symbol",
    weights: Collection[str] | None = None,
    inputs: Sequence[str] | None = None,
) -> Graph:
    """A program, inspected, in today's form, and with its inputs known.

    Args:
        content: The JSON of a symbol.
        name: What messages call it.
        weights: The names that have values; None: not known.
        inputs: The inputs, where they are known.

    Raises:
        ParameterError: It is none that may be loaded, or nothing says which variables are inputs.
    """
    graph = inspected(content, name)
    if graph.version < MODERN:
        graph = inspected(_built(graph.text(), name).tojson().encode(), name)
    wanted = tuple(inputs) if inputs is not None else graph.inputs
    graph = _without_losses(graph, {*(weights or ()), *(wanted or ())})
    if wanted is None:
        wanted = _found_inputs(graph, weights, name)
    unknown = [each for each in wanted if each not in graph.variables]
    if unknown or len(set(wanted)) != len(wanted) or not wanted:
        raise ParameterError(f"{name}: inputs={list(wanted)}; its variables are {listing(graph.variables)}")
    return replace(graph, inputs=wanted)


def cut(graph: Graph, output: str) -> Graph:
    """A program up to one of its inner outputs.

    Raises:
        InputError: There is no such output.
        ParameterError: What it gives is computed from no input.
    """
    internals = _symbol(graph).get_internals()
    names = sorted(set(internals.list_outputs()) - set(graph.variables))
    found = next((name for name in (output, f"{output}_output") if name in names), None)
    if found is None:
        raise InputError(
            f"no output is named {printable(output)!r}{did_you_mean(output, names)}; the program has "
            f"{listing(names, near_to=output)}"
        )
    rest = inspected(internals[found].tojson().encode())
    kept = tuple(name for name in graph.inputs or () if name in rest.variables)
    if not kept:
        raise ParameterError(f"{printable(output)!r} is computed from no input")
    return replace(rest, inputs=kept)


def float32_weights(graph: Graph) -> frozenset[str]:
    """The weights of batch norms, which MXNet wants in float32 whatever the network's dtype is."""
    norms = [node for node in graph.operators if node.op == "BatchNorm"]
    return frozenset(graph.nodes[index].name for node in norms for index, _ in node.inputs[1:])


def _read(program: Any, parameters: Any) -> tuple[bytes | memoryview, str, Mapping[str, Any] | None]:
    """A program's text, what messages call it, and the values of its weights."""
    if isinstance(program, mx.sym.Symbol):
        return program.tojson().encode(), "the symbol", _values(parameters)
    if isinstance(program, bytes | bytearray | memoryview):
        return bytes(program), "the symbol", _values(parameters)
    if not isinstance(program, str | os.PathLike) and not hasattr(program, "read"):
        raise InputError(_no_program(program))
    file = read_model_file(program, parameters=None if isinstance(parameters, Mapping) else parameters)
    if PROGRAM not in file.programs:
        raise ParameterError(f"{file.name} is no symbol; expected the JSON that MXNet exports, *-symbol.json")
    values = {name: file[name] for name in file.tensors if name != PROGRAM}
    if parameters is not None:
        return file.programs[PROGRAM].content, file.name, _values(parameters)
    return file.programs[PROGRAM].content, file.name, values or None


def _no_program(given: Any) -> str:
    """What to give instead of something else."""
    if isinstance(given, mx.gluon.Block):
        return (
            f"{type(given).__name__} is code and no program: hybridize() it, run it once, block.export('name'), and give "
            "SymbolBlock.from_program('name-symbol.json', parameters='name-0000.params')"
        )
    return f"a program is a Symbol, or the path or bytes of a -symbol.json file; this is {type(given).__name__}"


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _values(parameters: Any) -> Mapping[str, Any] | None:
    if parameters is None:
        return None
    if isinstance(parameters, Mapping | mx.gluon.ParameterDict):
        return {name.removeprefix("arg:").removeprefix("aux:"): value for name, value in parameters.items()}
    return dict(read_parameters(parameters).items())


def _value(name: str, given: Any) -> Any:
    """An MXNet array with memory of its own."""
    if isinstance(given, mx.gluon.Parameter):
        given = given.list_data()[0]
    array = given.asnumpy() if isinstance(given, mx.nd.NDArray) else np.array(given)
    if array.dtype.name not in DTYPES or not array.shape or 0 in array.shape:
        raise ParameterError(
            f"{name} is {array.dtype}{list(array.shape)}; MXNet's parameters are {', '.join(DTYPES)} of one or more axes, none "
            "of size 0",
            mismatched=(name,),
        )
    return shared(array, array.dtype.name)


def _found_inputs(graph: Graph, weights: Collection[str] | None, name: str) -> tuple[str, ...]:
    if weights:
        # A weight that is missing must not pass for an input.
        roles = _roles(graph)
        found = tuple(
            each for each in graph.variables if each not in weights and roles.get(each, ("", False))[0] not in _WEIGHTS
        )
        if found:
            return found
    if "data" in graph.variables:
        return ("data",)
    raise ParameterError(f"{name}: say which are its inputs, inputs=(...), of {listing(graph.variables)}")


def _without_losses(graph: Graph, known: Collection[str]) -> Graph:
    """Turn losses whose labels nobody gives into the predictions that they make."""
    nodes = tuple(_prediction(node, graph, known) for node in graph.nodes)
    return replace(graph, nodes=nodes).used()


def _prediction(node: Node, graph: Graph, known: Collection[str]) -> Node:
    """What a loss predicts with, for a node that is one.

    Source: the forward passes in MXNet 1.9's ``softmax_output-inl.h``, ``regression_output-inl.h`` and ``svm_output-inl.h``.
    """
    if node.op == VARIABLE or node.operator.inputs != ("data", "label") or len(node.inputs) != 2:
        return node
    label = graph.nodes[node.inputs[1][0]]
    if label.op != VARIABLE or label.name in known:
        return node
    op = {"SoftmaxOutput": "softmax", "LogisticRegressionOutput": "sigmoid"}.get(node.op, "_copy")
    attributes = {}
    if op == "softmax":
        attributes["axis"] = "1" if node.attributes.get("multi_output", "False") in ("True", "true", "1") else "-1"
    return Node(op=op, name=node.name, attributes=attributes, inputs=node.inputs[:1])


def _filling(block: Any, graph: Graph, shared_weights: Mapping[str, Any]) -> Filling:
    inputs = graph.inputs or ()
    roles = _roles(graph)
    weights = {
        node.name: shared_weights.get(node.name)
        or _weight(block.params.prefix + node.name, node, *roles.get(node.name, ("", False)))
        for node in graph.nodes
        if node.op == VARIABLE and node.name not in inputs
    }
    if PROGRAM in weights:
        raise ParameterError(f"the program calls a weight {PROGRAM!r}, which is the name of the program itself")
    content = graph.text().encode()
    # Every name with the block's own prefix: two blocks of one program may meet in one model.
    names = {node.name: block.prefix + node.name for node in graph.nodes} | {
        name: weight.name for name, weight in weights.items()
    }
    symbol = _symbol(safe(replace(graph, nodes=tuple(_renamed(node, names, inputs) for node in graph.nodes), inputs=None)))
    try:
        network = _Network(symbol, [names[name] for name in inputs], weights)
    except mx.MXNetError as error:
        raise _refused("the symbol", error) from error
    program = _Program(f"{block.prefix}{PROGRAM}", shape=(len(content),), dtype="uint8", grad_req="null", differentiable=False)
    fill(program, shared(np.frombuffer(content, np.uint8).copy(), "uint8"), mx.cpu())
    return Filling(block=block, graph=graph, content=content, weights=weights, program=program, network=network)


def _roles(graph: Graph) -> dict[str, tuple[str, bool]]:
    """For each variable that an operator has a use for: what it is called there, and whether training writes to it."""
    roles = {}
    for node in graph.operators:
        for place, (index, _) in enumerate(node.inputs):
            if graph.nodes[index].op == VARIABLE and place < len(node.operator.inputs):
                roles[graph.nodes[index].name] = (node.operator.inputs[place], place in node.operator.written)
    return roles


def _weight(name: str, node: Node, role: str, is_written: bool) -> _Weight:
    """A parameter without a value, which a fresh one will get by its role."""
    return _Weight(
        name,
        grad_req="null" if is_written else "write",
        shape=_shape(node),
        init=_INITIAL.get(role),
        allow_deferred_init=True,
        differentiable=not is_written,
    )


def _shape(node: Node) -> tuple[int, ...] | None:
    """The shape that a variable's author gave it; a size of 0 is one that is not known."""
    text = node.attributes.get("__shape__")
    if text is None or text in ("None", "()"):
        return None
    try:
        sizes = tuple(max(whole(item), 0) for item in items(text))
    except ValueError as error:
        raise ParameterError(f"node {node.name!r} has the shape {printable(text)!r}") from error
    if len(sizes) > 32 or math.prod(max(size, 1) for size in sizes) > _MAX_ELEMENTS:
        raise ParameterError(f"node {node.name!r} has the shape {text}; up to {_MAX_ELEMENTS} elements are allowed")
    return sizes


def _renamed(node: Node, names: Mapping[str, str], inputs: Collection[str]) -> Node:
    # Notes such as `__dtype__` would hold against `cast`, and those for executors mean devices of another machine.
    if node.op == VARIABLE:
        shape = _shape(node) if node.name not in inputs else None
        kept = {} if shape is None else {"__shape__": str(shape)}
    else:
        kept = {key: value for key, value in node.attributes.items() if key in node.operator.attributes}
    return replace(node, name=names[node.name], attributes=kept)


def _symbol(graph: Graph) -> Any:
    return _built(graph.text(), "the symbol")


def _built(text: str, name: str) -> Any:
    try:
        return mx.sym.load_json(text)
    except mx.MXNetError as error:
        raise _refused(name, error) from error


def _refused(name: str, error: Exception) -> ParameterError:
    return ParameterError(f"{name}: MXNet refuses it: {printable(str(error).strip().splitlines()[-1])}")
