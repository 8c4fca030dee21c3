"""Parameter files read without an engine: safetensors, ``.pth`` in both layouts, MXNet ``.params``."""

from zoo_core.parameters.file import ParameterFile as ParameterFile
from zoo_core.parameters.file import StoredTensor as StoredTensor
from zoo_core.parameters.kind import FileKind as FileKind
from zoo_core.parameters.kind import kind_of as kind_of
from zoo_core.parameters.reading import read_parameters as read_parameters
