"""The schemes that addresses of repositories have, known without importing what reads them."""

from __future__ import annotations

from collections.abc import Mapping

#: Scheme -> the import name and the distribution that brings it to fsspec. What reads this machine's files, the web or
#: somebody's archive by the same means is not among them: those are other kinds of repository, with rules of their own.
STORES: Mapping[str, tuple[str, str]] = {
    "s3": ("s3fs", "s3fs"),
    "s3a": ("s3fs", "s3fs"),
    "gs": ("gcsfs", "gcsfs"),
    "gcs": ("gcsfs", "gcsfs"),
    "az": ("adlfs", "adlfs"),
    "abfs": ("adlfs", "adlfs"),
    "oss": ("ossfs", "ossfs"),
    "oci": ("ocifs", "ocifs"),
    "memory": ("fsspec", "fsspec"),
}
#: A model repository of the Hugging Face hub.
HUB = "hf"
#: All of them.
KINDS = ("file", "http", "https", "package", HUB, *STORES)
