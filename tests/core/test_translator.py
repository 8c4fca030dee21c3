"""Translator and its serialized form."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.core import toys
from zoo_core import AmbiguousPluginError, InputError, PluginError, Translator, TranslatorContext
from zoo_core.entry_points import TRANSLATORS, InstalledEntryPoints
from zoo_core.translator import translator_class
from zoo_core.vision import ImageClassification


@pytest.fixture
def toy_nets(install: Callable[..., Path]) -> None:
    """The distribution toy-nets, with its translator."""
    install("toy-nets", "1.2.3", entry_points=toys.ENTRY_POINTS)


def test_a_translator_compares_hashes_and_pickles_by_its_fields() -> None:
    labels = toys.ToyLabels(labels=("cat",))
    assert labels == toys.ToyLabels(labels=("cat",)) != toys.ToyLabels()
    assert pickle.loads(pickle.dumps(labels)) == labels
    assert hash(labels) == hash(toys.ToyLabels(labels=("cat",)))


@pytest.mark.usefixtures("toy_nets")
def test_its_serialized_form_is_its_name_and_its_fields() -> None:
    assert json.loads(toys.ToyLabels(labels=("cat", "dog")).to_json()) == {
        "name": "toy_labels",
        "arguments": {"labels": ["cat", "dog"]},
    }


@pytest.mark.usefixtures("toy_nets")
@pytest.mark.parametrize(
    "translator",
    [
        toys.ToyLabels(labels=("cat", "dog")),
        ImageClassification(width=8, height=8, flag="GRAYSCALE", maximum=16.0, classes=("0", "1")),
        ImageClassification(resize=256, center_crop=True, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
        ImageClassification(resize=False),
    ],
    ids=["toy", "digits", "imagenet", "not resized"],
)
def test_it_is_equal_after_the_round_trip(translator: Translator) -> None:
    found = Translator.from_json(translator.to_json())
    assert found == translator
    assert repr(found) == repr(translator)


def test_a_class_that_is_no_entry_point_says_what_to_add_to_pyproject() -> None:
    with pytest.raises(PluginError) as caught:
        toys.UnregisteredLabels().to_json()
    assert '[project.entry-points."zoo_core.translators"]\n"unregistered_labels" = ' in str(caught.value)


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("{", PluginError, "a serialized translator is no JSON"),
        ("[" * 100_000, PluginError, "a serialized translator is no JSON"),
        ("[]", PluginError, 'a serialized translator is {"name": NAME'),
        ("3", PluginError, 'a serialized translator is {"name": NAME'),
        ('{"name": 3}', PluginError, 'a serialized translator is {"name": NAME'),
        ('{"name": "image_classification", "arguments": []}', PluginError, 'a serialized translator is {"name": NAME'),
        ('{"name": "image_clasification"}', PluginError, "did you mean image_classification"),
        ('{"name": "image_classification", "arguments": {"widht": 3}}', InputError, "no field 'widht' (did you mean width"),
        ('{"name": "image_classification", "arguments": {"width": "x"}}', InputError, "Expected `int`, got `str`"),
        ('{"name": "image_classification", "arguments": {"std": [0]}}', InputError, "std must not be 0"),
    ],
)
def test_a_text_that_cannot_be_used_is_an_error_that_says_why(text: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        Translator.from_json(text)
    assert message in str(caught.value)


def test_a_name_claimed_twice_is_its_carriers_else_ambiguous() -> None:
    ours = toys.entry("labels", toys.ToyLabels, "ours", TRANSLATORS)
    theirs = toys.entry("labels", toys.UnregisteredLabels, "theirs", TRANSLATORS)
    installed = InstalledEntryPoints((ours, theirs))
    assert translator_class("labels", installed, carrier="theirs") is toys.UnregisteredLabels
    assert translator_class("ours:labels", installed, carrier="theirs") is toys.ToyLabels
    with pytest.raises(AmbiguousPluginError):
        translator_class("labels", installed)


def test_what_is_registered_must_be_a_translator() -> None:
    with pytest.raises(PluginError, match=r"expected a subclass of zoo_core\.Translator"):
        translator_class("x", InstalledEntryPoints((toys.entry("x", toys.ToyNet, group=TRANSLATORS),)))


def test_a_context_without_arguments_and_files_has_none() -> None:
    context = TranslatorContext(model=None)  # type: ignore[arg-type]
    assert (dict(context.arguments), dict(context.files)) == ({}, {})


def test_a_translator_that_needs_no_file_stays_as_it_is() -> None:
    labels = toys.ToyLabels()
    assert labels.with_files({"synset": Path("missing.txt")}) is labels
