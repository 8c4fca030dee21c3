"""Addresses of stores and of the hub where what reads them is not installed, as in an environment with zoo-core alone."""

from __future__ import annotations

import importlib.util
import re

import pytest

from zoo_core import ModelZoo, PackageNotInstalledError
from zoo_core.repository.kinds import STORES


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that reads them can be found."""
    readers = {"fsspec", "huggingface_hub", *(module for module, _ in STORES.values())}
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name in readers else find(name, *rest))


@pytest.mark.parametrize(
    ("url", "line"),
    [
        ("s3://bucket/zoo", 'pip install s3fs "zoo-core[fsspec]"'),
        ("gs://bucket/zoo", 'pip install gcsfs "zoo-core[fsspec]"'),
        ("az://container/zoo", 'pip install adlfs "zoo-core[fsspec]"'),
        ("memory://zoo", 'pip install "zoo-core[fsspec]"'),
        ("hf://acme/net", 'pip install "zoo-core[huggingface]"'),
    ],
)
def test_an_address_whose_reader_is_missing_ends_in_the_line_that_installs_it(url, line, bare, tmp_path):
    with pytest.raises(PackageNotInstalledError, match=re.escape(url) + ".*" + re.escape(line) + "$"):
        ModelZoo([], cache=tmp_path).search(model_urls=[url])
