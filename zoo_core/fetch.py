"""One file from the first of its places that has the right bytes."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import BinaryIO

from zoo_core.errors import IntegrityError, OfflineError, RepositoryError
from zoo_core.partial import Partial
from zoo_core.reception import How, Reception, Wanted, flush
from zoo_core.sources import CHUNK, Source
from zoo_core.store import Digests, digest_file
from zoo_core.wording import printable

#: What a server may have done to the bytes, though nobody asked for it -> zlib's number for it.
_DECODERS = {"gzip": 31, "x-gzip": 31, "deflate": 15}


def fetch(sources: Sequence[Source], partial: Partial, wanted: Wanted, how: How) -> Digests:
    """Bring a file into a partial download, from the first source that has the right bytes.

    Returns:
        Its digests, once it is verified and written to the disk.

    Raises:
        IntegrityError: The bytes of each source are wrong, or too many.
        RepositoryError: No source gives them.
        OfflineError: The network is forbidden.
        Stopped: Another thread ended it.
        OSError: The disk does not take them.
    """
    errors: list[RepositoryError | IntegrityError] = []
    for source in sources:
        try:
            return _from_source(source, partial, wanted, how)
        except IntegrityError as error:
            partial.clear()
            errors.append(error)
        except RepositoryError as error:
            errors.append(error)
        finally:
            source.close()
    raise _combined(errors, wanted)


def _from_source(source: Source, partial: Partial, wanted: Wanted, how: How) -> Digests:
    is_plain = False
    while True:
        reception = Reception(source, partial, wanted, how, is_plain=is_plain)
        try:
            return reception.run()
        except IntegrityError:
            decoded = _decoded(partial, reception.encoding, source.url, wanted)
            if decoded is not None:
                return decoded
            # Bytes of different requests need not belong together, whatever a server says of them: once more, in one piece.
            if is_plain or not reception.is_assembled:
                raise
            is_plain = True
            partial.clear()


def _combined(errors: Sequence[RepositoryError | IntegrityError], wanted: Wanted) -> RepositoryError | IntegrityError:
    """One error for those of all addresses."""
    offline = [error for error in errors if isinstance(error, OfflineError)]
    if offline or len(errors) == 1:
        return (offline or errors)[0]
    text = f"{printable(wanted.name)} cannot be had from any of its {len(errors)} addresses: " + "; ".join(map(str, errors))
    wrong = [error for error in errors if isinstance(error, IntegrityError)]
    if len(wrong) == len(errors) and wrong:
        return IntegrityError(text, expected=wrong[0].expected, found=wrong[0].found, url=wrong[0].url)
    return RepositoryError(text, errors[-1].url, getattr(errors[-1], "status", None)) if errors else _nowhere(wanted)


def _nowhere(wanted: Wanted) -> RepositoryError:
    return RepositoryError(f"{printable(wanted.name)} has no address")


def _decoded(partial: Partial, encoding: str, url: str, wanted: Wanted) -> Digests | None:
    """What came, unpacked in the way in which the server says it was packed; None where that is not the file either."""
    bits = _DECODERS.get(encoding)
    if bits is None:
        return None
    decoded = partial.folder / "decoded"
    try:
        with partial.content.open("rb") as packed, decoded.open("wb") as stream:
            _unpack(packed, stream, bits, wanted.bound)
        found = digest_file(decoded)
        wanted.verify(found, url)
    except (zlib.error, EOFError, IntegrityError):
        return None
    flush(decoded)
    decoded.replace(partial.content)
    return found


def _unpack(packed: BinaryIO, stream: BinaryIO, bits: int, bound: int) -> None:
    machine, size = zlib.decompressobj(bits), 0
    while chunk := machine.unconsumed_tail or packed.read(CHUNK):
        data = machine.decompress(chunk, CHUNK)
        size += len(data)
        # A few bytes can become very many.
        if size > bound:
            raise EOFError
        stream.write(data)
    stream.write(machine.flush())
