"""Parameter files read without an engine: safetensors, ``.pth`` in both layouts, MXNet ``.params``."""

from zoo_core.parameters.archive import ZipArchive as ZipArchive
from zoo_core.parameters.file import ParameterFile as ParameterFile
from zoo_core.parameters.file import StoredTensor as StoredTensor
from zoo_core.parameters.kind import FileKind as FileKind
from zoo_core.parameters.kind import kind_of as kind_of
from zoo_core.parameters.program import StoredProgram as StoredProgram
from zoo_core.parameters.program import program_kind as program_kind
from zoo_core.parameters.reading import read_parameters as read_parameters
from zoo_core.parameters.whole import read_model_file as read_model_file
from zoo_core.parameters.writing import write_parameters as write_parameters
