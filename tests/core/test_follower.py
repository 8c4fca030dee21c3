"""The digest of a file that is still being written."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path

import pytest

from zoo_core.follower import Follower
from zoo_core.store import Digests

CONTENT = random.Random(4).randbytes(5_000_001)
RIGHT = Digests(hashlib.sha256(CONTENT).hexdigest(), hashlib.sha1(CONTENT, usedforsecurity=False).hexdigest())


@pytest.mark.parametrize("step", [999, 300_000, 1 << 20, 5_000_001])
def test_it_is_that_of_what_lies_there_however_it_came(tmp_path: Path, step: int) -> None:
    path = tmp_path / "content"
    path.touch()
    follower = Follower(path, wants_sha1=True)
    with path.open("r+b", buffering=0) as stream:
        for position in range(0, len(CONTENT), step):
            stream.write(CONTENT[position : position + step])
            follower.reach(min(position + step, len(CONTENT)))
    assert follower.digests(len(CONTENT)) == RIGHT
    assert follower.digests(len(CONTENT)) == RIGHT
    follower.close()


def test_a_file_that_turns_out_longer_is_followed_further(tmp_path: Path) -> None:
    path = tmp_path / "content"
    path.write_bytes(CONTENT)
    follower = Follower(path, wants_sha1=False)
    follower.reach(3_000_000)
    assert follower.digests(3_500_000).sha256 == hashlib.sha256(CONTENT[:3_500_000]).hexdigest()
    assert follower.digests(len(CONTENT)) == Digests(RIGHT.sha256)
    follower.close()


def test_what_cannot_be_read_is_an_error_for_whoever_waits(tmp_path: Path) -> None:
    path = tmp_path / "content"
    path.write_bytes(CONTENT[:10])
    follower = Follower(path, wants_sha1=False)
    follower.reach(2_000_000)
    with pytest.raises(OSError, match="was cut while it was written"):
        follower.digests(3_000_000)
    follower.close()
