"""``serving.properties``, what DJL Serving keeps in a model's folder: arguments and options of the lowest precedence.

Source: DJL Serving's model configuration, https://docs.djl.ai/master/docs/serving/serving/docs/configurations_model.html, and
the format of ``java.util.Properties``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from zoo_core import application as applications
from zoo_core.address import value_of
from zoo_core.errors import MetadataError
from zoo_core.frozen import FrozenDict
from zoo_core.wording import bytes_text, printable

SERVING_NAME = "serving.properties"
#: Bytes that are read of one; those of DJL have some hundred.
MAX_SERVING = 64 << 10
_OPTION = "option."
#: What a server is told of its workers and queues, and no model.
_SERVERS_OWN = frozenset(
    {
        "batch_size", "chunked_read_timeout", "job_queue_size", "load_on_devices", "log_model_metric", "log_request_metric",
        "maxWorkers", "max_batch_delay", "max_idle_time", "metrics_aggregation", "minWorkers", "required_memory_mb",
        "reserved_memory_mb", "retry_threshold", "rolling_batch",
    }
)  # fmt: skip
_DEVICES = ("cpu.", "gpu.")


class Serving(msgspec.Struct, frozen=True, kw_only=True):
    """What a model's folder says of itself beside its document.

    Attributes:
        arguments: For factories and translators.
        options: For the engine.
    """

    arguments: FrozenDict[Any] = msgspec.field(default_factory=FrozenDict)
    options: FrozenDict[str] = msgspec.field(default_factory=FrozenDict)


def read_serving(content: bytes, what: str) -> Serving:
    """Read a ``serving.properties``.

    It comes with the model, so that it names what is registered here and nothing else, and trusts nothing.

    Args:
        content: UTF-8, or else ISO 8859-1, as Java read it before.
        what: What messages call it.

    Raises:
        MetadataError: It is too large, or malformed.
    """
    if len(content) > MAX_SERVING:
        raise MetadataError(f"{printable(what)}: expected at most {bytes_text(MAX_SERVING)}", url=what)
    said = _properties(content, what)
    options = {key.removeprefix(_OPTION): value for key, value in said.items() if key.startswith(_OPTION)}
    arguments = {key: value_of(value) for key, value in said.items() if not key.startswith(_OPTION) and not _is_servers(key)}
    return Serving(arguments=FrozenDict(_named(arguments)), options=FrozenDict(options))


def _properties(content: bytes, what: str) -> dict[str, str]:
    # Few loads meet one.
    import javaproperties

    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        text = content.decode("latin-1")
    try:
        found: dict[str, str] = javaproperties.loads(text.removeprefix("\ufeff"))
    except javaproperties.InvalidUEscapeError as error:
        raise MetadataError(f"{printable(what)}: {printable(str(error))}", url=what) from error
    # Half a pair of surrogates is no character, and nothing could write it.
    return {_whole(key): _whole(value) for key, value in found.items() if key}


def _whole(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")


def _is_servers(key: str) -> bool:
    return key in _SERVERS_OWN or key.startswith(_DEVICES)


def _named(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The same, where names and applications have the spelling that documents have."""
    named = {"translatorFactory" if name == "translator" else name: value for name, value in arguments.items()}
    # What it names is text, whatever else it could be read as.
    for name in ("engine", "application", "translatorFactory", "blockFactory"):
        if name in named:
            named[name] = str(named[name])
    if "translatorFactory" in arguments:
        named["translatorFactory"] = str(arguments["translatorFactory"])
    if "application" in named:
        named["application"] = applications.canonical(named["application"]) or named["application"]
    return named
