"""Trust: programs by where they come from, code by its digest or its repository. The whole table is in ``tests/attacks``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests import parameter_files as make
from zoo_core.errors import UntrustedCodeError
from zoo_core.parameters import read_parameters
from zoo_core.record import Source
from zoo_core.trust import is_code_trusted, may_run_programs, refuse_untrusted_program, untrusted_code

SHA = "0123456789abcdef" * 4
AD_HOC = Source(repository="https://models.example.com/zoo/", name="https://models.example.com/zoo/")
CONFIGURED = Source(repository="https://models.example.com/zoo/", name="mine", is_configured=True)
INSTALLED = Source(repository="package://acme", name="acme", distribution="Acme_Models", is_configured=True)

DATA = make.safetensors({"w": make.entry("U8", [1], 0, 1)}, b"x")
ATEN = b'{"torch.aten":1,"nodes":[]}'


def with_program(content: bytes) -> bytes:
    return make.safetensors({"1._extra_state": make.entry("U8", [len(content)], 0, len(content))}, content)


@pytest.mark.parametrize(
    ("source", "trusted", "allowed"),
    [
        (None, False, True),
        (CONFIGURED, False, True),
        (INSTALLED, False, True),
        (AD_HOC, False, False),
        (AD_HOC, True, True),
    ],
    ids=["handed over", "configured", "installed", "ad hoc", "ad hoc and trusted"],
)
def test_programs_run_from_where_the_user_put_them_or_with_their_word(
    source: Source | None, trusted: bool, allowed: bool
) -> None:
    assert may_run_programs(source, trusted=trusted) is allowed


@pytest.mark.parametrize("content", [DATA, with_program(ATEN)], ids=["tensors", "torch.aten"])
def test_data_is_never_refused(content: bytes) -> None:
    refuse_untrusted_program(read_parameters(content), "net", AD_HOC, trusted=False)


@pytest.mark.parametrize("content", [b"code", b' {"torch.aten":1}', b""], ids=["unknown", "a space before", "nothing"])
def test_what_is_no_data_to_the_byte_is_refused(content: bytes) -> None:
    file = read_parameters(with_program(content))
    if not content:
        assert file.is_data  # an empty holder that was saved
        return
    with pytest.raises(UntrustedCodeError, match=r"net holds a program \(unknown\) from https://models\.example\.com/zoo/"):
        refuse_untrusted_program(file, "net", AD_HOC, trusted=False)


def test_a_header_that_calls_a_program_data_changes_nothing() -> None:
    lie = {"zoo.programs": json.dumps({"_extra_state": {"kind": "torch.aten", "sha256": SHA}})}
    content = make.safetensors({"__metadata__": lie, "_extra_state": make.entry("U8", [4], 0, 4)}, b"code")
    with pytest.raises(UntrustedCodeError):
        refuse_untrusted_program(read_parameters(content), "net", AD_HOC, trusted=False)


@pytest.mark.parametrize(
    ("word", "source"),
    [
        (f"sha256:{SHA}", None),
        (SHA, None),
        (f"SHA256:{SHA.upper()}", AD_HOC),
        (f"  sha256:{SHA}\n", None),
        ("https://models.example.com/zoo/", AD_HOC),
        ("https://models.example.com/zoo", AD_HOC),
        ("dist:acme-models", INSTALLED),
        ("dist:Acme.Models", INSTALLED),
    ],
)
def test_words_that_trust(word: str, source: Source | None) -> None:
    assert is_code_trusted(SHA, source, ["something else", word])


NO_TRUST = [
    "",
    " ",
    "*",
    "sha256:",
    f"sha256:{SHA[:-1]}",
    f"sha256:{SHA}0",
    f"sha256:{SHA[:16]}",
    f"sha1:{SHA}",
    f"sha256: {SHA}",
    f"x sha256:{SHA}",
    "sha256:" + "0" * 64,
    "https://",
    "://",
    "/",
    "https://models.example.com",
    "https://models.example.com/",
    "https://models.example.com/zo",
    "https://models.example.com/zoo/net",
    "https://models.example.com/zoo2/",
    "https://models.example.com/zoo/?a",
    "https://models.example.com/zoo/#",
    "http://models.example.com/zoo/",
    "https://models.example.com.evil.example/zoo/",
    "https://evil@models.example.com/zoo/",
    "https://MODELS.example.com/zoo/",
    "models.example.com/zoo/",
    "dist:",
    "dist:-",
    "dist:models.example.com",
    "dist:acme",
    "dist:acme-models2",
    "dist:acme-models-",
    "acme-models",
    "mine",
]


@pytest.mark.parametrize("word", NO_TRUST)
@pytest.mark.parametrize("source", [None, AD_HOC, CONFIGURED], ids=["handed over", "ad hoc", "configured"])
def test_words_that_do_not_trust(word: str, source: Source | None) -> None:
    assert not is_code_trusted(SHA, source, [word])


@pytest.mark.parametrize("word", ["dist:", "dist:-", "dist:acme", "dist:acme-modelsx", "acme-models", "package://acm"])
def test_a_lookalike_of_a_distribution_does_not_trust(word: str) -> None:
    assert not is_code_trusted(SHA, INSTALLED, [word])


def test_a_repository_of_no_distribution_is_of_none() -> None:
    assert not is_code_trusted(SHA, AD_HOC, ["dist:"])


def test_a_digest_that_is_missing_is_trusted_by_no_word_of_a_digest() -> None:
    assert not is_code_trusted("", AD_HOC, ["sha256:", "", SHA])


def test_the_error_says_where_to_read_it_and_how_to_trust_exactly_it() -> None:
    message = str(untrusted_code("net", "/tmp/\x1b[2J.py", SHA))
    assert message == (
        "net carries Python code, which runs only where you trust it. Read it: /tmp/\\x1b[2J.py. To trust exactly this code: "
        f'trust_code=["sha256:{SHA}"] (--trust-code sha256:{SHA})'
    )


def test_a_folder_is_trusted_as_it_is_written_for_a_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = Source(repository=(tmp_path / "zoo").as_uri(), name="zoo")
    monkeypatch.chdir(tmp_path)
    assert is_code_trusted("0" * 64, source, ["./zoo"])
    assert is_code_trusted("0" * 64, source, [str(tmp_path / "zoo/")])
    assert not is_code_trusted("0" * 64, source, ["."])
    assert not is_code_trusted("0" * 64, source, ["zoo2"])
