"""Names of members as paths inside one folder."""

from __future__ import annotations

import os

import pytest

from zoo_core.errors import UnsafeArchiveError
from zoo_core.members import Tree, folded


@pytest.fixture
def tree() -> Tree:
    return Tree("model of com.example/net@1.0")


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("a.txt", "a.txt"),
        ("./a.txt", "a.txt"),
        ("d//e/./f", "d/e/f"),
        ("..a", "..a"),
        ("a..b", "a..b"),
        (".hidden/.b", ".hidden/.b"),
        ("console", "console"),
        ("com10", "com10"),
        ("null", "null"),
        ("~/a", "~/a"),
        ("$HOME", "$HOME"),
        ("-rf", "-rf"),
        ("a b/c d.txt", "a b/c d.txt"),
        ("naïve/猫.txt", "naïve/猫.txt"),
        ("می‌خواهم", "می‌خواهم"),
        ("x" * 255, "x" * 255),
        ("/".join("d" * 31), "/".join("d" * 31)),
    ],
    ids=ascii,
)
def test_a_plain_name_is_its_path_in_one_spelling(tree: Tree, name: str, path: str) -> None:
    assert tree.file(name) == path


@pytest.mark.skipif(os.name == "nt", reason="Windows allows no colon in a name")
def test_a_colon_is_a_character_where_it_is_one(tree: Tree) -> None:
    """Variables of some formats are files such as ``kernel:0.npy``."""
    assert tree.file("kernel:0.npy") == "kernel:0.npy"


def test_windows_allows_fewer_characters(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zoo_core.members.os.name", "nt")
    for name in ("kernel:0.npy", "a<b", 'a"b', "what?", "a*", "a|b"):
        with pytest.raises(UnsafeArchiveError, match="Windows does not allow"):
            tree.file(name)


def test_a_folder_may_come_twice_and_before_or_after_what_is_in_it(tree: Tree) -> None:
    assert (tree.folder("d/"), tree.file("d/a"), tree.folder("d"), tree.folder("./")) == ("d", "d/a", "d", "")


def test_a_file_is_known_by_its_name_once_it_came(tree: Tree) -> None:
    tree.file("./d/a")
    assert (tree.known_file("d/a"), tree.known_file("d"), tree.known_file("D/a"), tree.known_file("b")) == (
        "d/a",
        None,
        None,
        None,
    )


def test_the_error_names_the_archive_the_member_and_the_remedy(tree: Tree) -> None:
    with pytest.raises(UnsafeArchiveError) as caught:
        tree.file("d/../\x1b]0;evil\x07")
    assert caught.value.member == "d/../\x1b]0;evil\x07"
    assert str(caught.value) == (
        "model of com.example/net@1.0: member 'd/../\\x1b]0;evil\\x07' has control characters in its name. "
        "Nothing was kept. Its publisher has to pack it anew"
    )


def test_of_two_names_that_look_alike_the_error_shows_the_codes(tree: Tree) -> None:
    tree.file("\u00e9")
    with pytest.raises(UnsafeArchiveError, match=r"is 'e\\u0301', and '\\xe9' is the same"):
        tree.file("e\u0301")


def test_names_that_only_look_alike_are_two(tree: Tree) -> None:
    names = ["a", "\u0430", "\ufb01", "1", "\u0661", "\u0131", "i"]
    assert [tree.file(name) for name in names] == names


@pytest.mark.parametrize("name", ["a", "É", "straße", "ΣΊΣΥΦΟΣ", "ﬃ", "\u1e9b\u0323"])
def test_folding_is_the_same_for_every_spelling(name: str) -> None:
    assert folded(name) == folded(name.upper()) == folded(name.lower()) == folded(folded(name))
