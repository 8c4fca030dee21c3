"""``.pth``: what ``torch.save`` writes of a state dict, in the zip layout (torch 1.6 and later) and the legacy one.

Source of the format: torch's ``torch/serialization.py`` (``_save``, ``_legacy_save``, ``_legacy_load``) and
``torch/_utils.py`` (``_rebuild_tensor_v2``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from zoo_core.parameters.archive import ZipArchive
from zoo_core.parameters.file import DTYPES, ParameterFile, StoredTensor, are_counts, is_shape
from zoo_core.parameters.formats import PTH_LEGACY_MAGIC, state_dict_roots
from zoo_core.parameters.pickled import OrderedDict, PickleMachine, kind, pairs
from zoo_core.parameters.source import Cursor, Source
from zoo_core.wording import bytes_text

LEGACY_PROTOCOL = 1001

#: Where training scripts put the state dict among other things.
CHECKPOINT_KEYS = ("state_dict", "model_state_dict", "model")

#: Tensors may repeat elements (stride 0) or share them. Copied out, all of one file fill at most this many times its size,
#: or `FREE_EXPANSION` bytes where that is more: 1.5 kB could claim terabytes.
MAX_EXPANSION = 64
FREE_EXPANSION = 16 * 2**20


@dataclass(frozen=True)
class StorageType:
    """What ``torch.FloatStorage`` and the like become."""

    dtype: str


@dataclass(frozen=True)
class Storage:
    """A run of elements outside the pickle.

    Attributes:
        count: Its length in elements.
        first: Where a view of it begins, in elements; 0 for all of it.
        length: The length of the view.
    """

    key: str
    dtype: str
    count: int
    first: int
    length: int


@dataclass(frozen=True)
class PickledTensor:
    """A tensor as the pickle describes it; nothing is checked against the storage yet."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


@dataclass
class Storages:
    """Those that a pickle refers to, by key."""

    found: dict[str, Storage] = field(default_factory=dict)

    def __call__(self, identifier: object) -> Storage:
        """The storage that a persistent id means.

        Raises:
            ValueError: It means something else, or contradicts an earlier one.
        """
        match identifier:
            case ("storage", StorageType(dtype), str(key), str(_), int(count), *views) if are_counts([count]):
                first, length = _view(views, count)
            case _:
                raise ValueError("it refers to something outside that is no storage")
        known = self.found.setdefault(key, Storage(key, dtype, count, 0, count))
        if (known.dtype, known.count) != (dtype, count):
            raise ValueError(f"it describes storage {key!r} in two ways")
        return Storage(key, dtype, count, first, length)


def _view(views: list[Any], count: int) -> tuple[int, int]:
    # The legacy layout adds None, or (key, first, length) of a part: torch before 0.4 had tensors share storages so.
    match views:
        case [] | [None]:
            return 0, count
        case [(_, first, length)] if are_counts([first, length]) and first + length <= count:
            return first, length
    raise ValueError("a view goes beyond its storage")


def _rebuild_tensor(
    storage: object, offset: object, shape: Any, strides: Any, _requires_grad: object, hooks: Any, metadata: Any = None
) -> PickledTensor:
    if not isinstance(storage, Storage) or type(offset) is not int or type(shape) is not tuple or type(strides) is not tuple:
        raise TypeError("it rebuilds a tensor from something else than storage, offset, shape and strides")
    if offset < 0 or not is_shape(shape) or not are_counts(strides) or len(shape) != len(strides):
        raise ValueError("it rebuilds a tensor with an offset, a shape or strides that no array can have")
    if hooks or metadata:
        raise ValueError("a tensor carries hooks, or is conjugated or negated when used: save a clone without them")
    return PickledTensor(storage, offset, tuple(shape), tuple(strides))


def _rebuild_parameter(tensor: object, _requires_grad: object, hooks: Any) -> PickledTensor:
    if not isinstance(tensor, PickledTensor) or hooks:
        raise TypeError("a parameter is no plain tensor")
    return tensor


def _ordered(items: Any = ()) -> OrderedDict:
    # Python 2 pickled the items as an argument.
    return OrderedDict(pairs(items))


def _size(sizes: Any) -> tuple[int, ...]:
    if type(sizes) is not tuple or not is_shape(sizes):
        raise TypeError("a torch.Size is no shape")
    return sizes


NAMES: Mapping[str, object] = {
    "collections.OrderedDict": _ordered,
    "torch.Size": _size,
    "torch._utils._rebuild_tensor_v2": _rebuild_tensor,
    "torch._utils._rebuild_parameter": _rebuild_parameter,
    "torch.BoolStorage": StorageType("bool"),
    "torch.ByteStorage": StorageType("uint8"),
    "torch.CharStorage": StorageType("int8"),
    "torch.ShortStorage": StorageType("int16"),
    "torch.IntStorage": StorageType("int32"),
    "torch.LongStorage": StorageType("int64"),
    "torch.HalfStorage": StorageType("float16"),
    "torch.BFloat16Storage": StorageType("bfloat16"),
    "torch.FloatStorage": StorageType("float32"),
    "torch.DoubleStorage": StorageType("float64"),
    "torch.ComplexFloatStorage": StorageType("complex64"),
    "torch.ComplexDoubleStorage": StorageType("complex128"),
}

#: Where a storage lies in the file: its key -> offset and size in bytes.
Places: TypeAlias = Callable[[str], tuple[int, int]]


def read_zip(source: Source) -> ParameterFile:
    """Read the zip layout.

    Raises:
        ParameterError: It holds anything but a state dict of tensors, or contradicts itself.
    """
    archive = ZipArchive(source.data, name=source.name)
    (root,) = state_dict_roots(archive)
    if f"{root}/byteorder" in archive.names and bytes(archive.stored(f"{root}/byteorder")) != b"little":
        raise source.malformed("was written by a big-endian machine, whose byte order is not read")
    pickle = Source(source.name, archive.stored(f"{root}/data.pkl"))
    found = PickleMachine(pickle, 0, NAMES, Storages()).run()
    tensors = _placed(source, found, lambda key: archive.span(f"{root}/data/{key}"))
    return ParameterFile(source.name, "pth", tensors)


def read_legacy(source: Source) -> ParameterFile:
    """Read the legacy layout: three pickles of a head, the object, the keys, then each storage with its length.

    Raises:
        ParameterError: It holds anything but a state dict of tensors, or contradicts itself.
    """
    storages = Storages()
    machine = PickleMachine(source, 0, NAMES, storages)
    if machine.run() != PTH_LEGACY_MAGIC or machine.run() != LEGACY_PROTOCOL:
        raise source.malformed("is not of the one legacy protocol that torch knows")
    system = machine.run()
    if type(system) is not dict or system.get("little_endian") is not True:
        raise source.malformed("was written by a big-endian machine, whose byte order is not read")
    found, keys = machine.run(), machine.run()
    places = _legacy_places(source, machine.at, keys, storages.found)
    return ParameterFile(source.name, "pth-legacy", _placed(source, found, places.__getitem__))


def _legacy_places(source: Source, at: int, keys: object, storages: Mapping[str, Storage]) -> Mapping[str, tuple[int, int]]:
    if type(keys) is not list or any(type(key) is not str for key in keys) or sorted(keys) != sorted(storages):
        raise source.malformed("its list of storages is not the one that its tensors use")
    cursor, places = Cursor(source, at), {}
    for key in keys:
        count = cursor.integer("q", f"the length of storage {key!r}")
        if count != storages[key].count:
            raise source.malformed(f"storage {key!r} has {count} elements, and its tensors say {storages[key].count}")
        size = count * DTYPES[storages[key].dtype][0]
        places[key] = cursor.skip(size, f"storage {key!r}"), size
    cursor.finish()
    return places


def _placed(source: Source, found: object, places: Places) -> list[StoredTensor]:
    tensors = [_stored(source, name, tensor, places) for name, tensor in _state_dict(source, found)]
    total, bound = sum(tensor.nbytes for tensor in tensors), max(MAX_EXPANSION * len(source.data), FREE_EXPANSION)
    if total > bound:
        raise source.malformed(
            f"{bytes_text(len(source.data))} repeat their elements to {bytes_text(total)}; {bytes_text(bound)} are allowed"
        )
    return tensors


def _state_dict(source: Source, found: object) -> Iterator[tuple[str, PickledTensor]]:
    if not isinstance(found, dict):
        raise source.malformed(f"holds {kind(found)}, no state dict of names and tensors")
    nested = [found[key] for key in CHECKPOINT_KEYS if isinstance(found.get(key), dict)]
    for name, tensor in (nested[0] if len(nested) == 1 else found).items():
        if type(name) is not str or not isinstance(tensor, PickledTensor):
            raise source.malformed(
                f"holds {kind(tensor)} under {name!r}, and only tensors are read: save the state_dict of the model"
            )
        yield name, tensor


def _stored(source: Source, name: str, tensor: PickledTensor, places: Places) -> StoredTensor:
    storage = tensor.storage
    itemsize = DTYPES[storage.dtype][0]
    start, size = places(storage.key)
    if storage.count * itemsize > size:
        raise source.malformed(
            f"storage {storage.key!r} needs {bytes_text(storage.count * itemsize)} and has {bytes_text(size)}"
        )
    last = tensor.offset + sum((size - 1) * step for size, step in zip(tensor.shape, tensor.strides, strict=True))
    if 0 not in tensor.shape and last >= storage.length:
        raise source.malformed(f"tensor {name!r} reaches element {last} of a storage that has {storage.length}")
    offset = start + (storage.first + tensor.offset) * itemsize
    return StoredTensor(name, storage.dtype, tensor.shape, tensor.strides, offset, source)
