"""Which artifacts answer a question, in order, and the reason why each other one was refused."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from tests.records import parameters, record, source
from zoo_core import AmbiguousModelError, Criteria, CriteriaError, Explanation, ModelRecord, selection
from zoo_core.selection import Surroundings, choose, select, usable_engines

FIRST, SECOND = source("first"), source("second")


def ask(*records: ModelRecord, here: Surroundings | None = None, **fields: Any) -> Explanation:
    return select(Criteria(**fields), records, here or Surroundings())


def versions(explanation: Explanation) -> list[str | None]:
    return [found.version for found in explanation.accepted]


def reason(*records: ModelRecord, here: Surroundings | None = None, **fields: Any) -> str:
    """The text of the nearest refusal."""
    return str(ask(*records, here=here, **fields).refused[0])


# what is accepted ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "accepted"),
    [
        ({}, True),
        ({"artifact_id": "net"}, True),
        ({"artifact_id": "Net"}, False),
        ({"artifact_id": "inside"}, True),
        ({"group_id": "com.example"}, True),
        ({"group_id": "com.inside"}, True),
        ({"group_id": "com"}, False),
        ({"application": "cv"}, True),
        ({"application": "cv/image_classification"}, True),
        ({"application": "object_detection"}, True),
        ({"application": "nlp"}, False),
        ({"artifact_name": "small"}, True),
        ({"artifact_name": "large"}, False),
        ({"filters": {"layers": 50}}, True),
        ({"filters": {"layers": 50, "dataset": "shapes"}}, True),
        ({"filters": {"layers": 18}}, False),
        ({"filters": {"layers": 50, "dataset": "digits"}}, False),
        ({"filters": {"width": ""}}, False),
        ({"version": "1.0.0"}, True),
        ({"version": ">=1,<2"}, True),
        ({"version": "(1.0,2.0)"}, False),
        ({"engine": "pytorch"}, True),
        ({"engine": "MXNet"}, False),
        ({"input_type": "image"}, True),
        ({"input_type": "text"}, False),
        ({"output_type": "classifications"}, True),
        ({"output_type": "DetectedObjects"}, False),
        ({"type": "dataset"}, False),
    ],
    ids=str,
)
def test_a_record_answers_what_it_matches_in_every_field(fields: dict[str, Any], accepted: bool) -> None:
    """The ids inside a document that disagree with its folder find it too."""
    found = record(
        name="small",
        properties={"layers": "50", "dataset": "shapes"},
        engines=("PyTorch",),
        written={"group_id": "com.inside", "artifact_id": "inside", "application": "cv/object_detection"},
    )
    assert bool(ask(found, **fields).accepted) is accepted


def test_arguments_say_other_types_than_the_application_does() -> None:
    found = record(arguments={"inputType": "audio", "outputType": "text"})
    assert ask(found, input_type="audio", output_type="text").accepted
    assert not ask(found, input_type="image").accepted


def test_a_record_that_names_no_engine_runs_in_whichever_is_asked_for() -> None:
    assert ask(record(engines=()), engine="PyTorch").accepted


def test_a_record_without_a_version_lies_in_every_range() -> None:
    assert ask(record(version=None), version=">=1").accepted
    assert not ask(record(version=None), version="1.0").accepted


def test_data_sets_are_listed_only_when_asked_for() -> None:
    model, dataset = record("a"), record("b", type="dataset")
    assert ask(model, dataset).accepted == [model]
    assert ask(model, dataset, type="dataset").accepted == [dataset]
    assert ask(model, dataset).refused == []


# the order -----------------------------------------------------------------------------------------------------------


def test_the_highest_version_comes_first_whatever_the_order_in_the_document() -> None:
    found = ask(*(record(version=version) for version in ("1.9", "latest", "1.10", None, "1.2")))
    assert versions(found) == ["1.10", "1.9", "1.2", "latest", None]


def test_the_repository_comes_before_the_version() -> None:
    older, newer = (
        record(version="1.0", source=source("a", is_named=True)),
        record(version="2.0", source=source("b", is_named=True)),
    )
    assert ask(older, newer).accepted == [older, newer]
    assert ask(newer, older).accepted == [newer, older]


def test_equal_versions_keep_the_order_of_the_document() -> None:
    found = [record(name=name, version=version) for name, version in (("b", "1.0"), ("a", "1.0.0"), ("c", "1.0"))]
    assert ask(*found).accepted == found


def test_the_records_of_one_model_stay_together() -> None:
    found = ask(record("a", version="1.0"), record("b", version="1.0"), record("a", version="2.0"), record("b", version="3.0"))
    assert [(item.artifact_id, item.version) for item in found.accepted] == [
        ("a", "2.0"),
        ("a", "1.0"),
        ("b", "3.0"),
        ("b", "1.0"),
    ]


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (None, ["1.0", "2.0-SNAPSHOT", "2.0a1", "1.1.dev1"]),
        (">=1", ["1.0", "2.0-SNAPSHOT", "2.0a1", "1.1.dev1"]),
        (">=1.1.dev0", ["2.0-SNAPSHOT", "2.0a1", "1.1.dev1"]),
        ("[1.0,2.0a1]", ["2.0a1", "1.1.dev1", "1.0"]),
        ("2.0a1", ["2.0a1"]),
        ("2.0-SNAPSHOT", ["2.0-SNAPSHOT"]),
        ("(1.0,9)", ["2.0-SNAPSHOT", "2.0a1", "1.1.dev1"]),
    ],
)
def test_pre_releases_come_last_unless_the_question_names_one(asked: str | None, expected: list[str]) -> None:
    """So one is chosen only where nothing else matches, or where it was asked for."""
    assert versions(ask(*(record(version=v) for v in ("1.0", "1.1.dev1", "2.0a1", "2.0-SNAPSHOT")), version=asked)) == expected


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))), ids=str)
def test_the_order_of_versions_never_depends_on_the_order_in_which_they_came(order: tuple[int, ...]) -> None:
    found = [record(version=version) for version in ("1.0Final", "1.0", "1.0a1", "2.0")]
    assert versions(ask(*(found[number] for number in order))) == ["2.0", "1.0", "1.0Final", "1.0a1"]


# the reasons ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("records", "fields", "expected"),
    [
        ([record("resnet_v1")], {"artifact_id": "resnet_v2"}, "artifact_id=resnet_v2: did you mean resnet_v1?"),
        ([record("resnet_v1")], {"artifact_id": "haiku"}, "artifact_id=haiku (this is resnet_v1)"),
        ([record(group_id="zoo.pytorch")], {"group_id": "zoo.pytroch"}, "group_id=zoo.pytroch: did you mean zoo.pytorch?"),
        ([record()], {"application": "nlp"}, "application=nlp (this is cv/image_classification)"),
        ([record(application="")], {"application": "nlp"}, "application=nlp (this is undefined)"),
        ([record(name="")], {"artifact_name": "large"}, "artifact_name=large (this is unnamed)"),
        ([record()], {"input_type": "text"}, "input_type=text (there is: image)"),
        ([record(application="cv")], {"output_type": "text"}, "output_type=text (there is: none)"),
        (
            [record(properties={"layers": layers}) for layers in ("101", "18", "34")],
            {"filters": {"layers": 50}},
            "layers=50 (there is: 18, 34, 101)",
        ),
        ([record(properties={"layers": "50"})], {"filters": {"layer": 50}}, "filter key `layer`: did you mean `layers`?"),
        (
            [record(properties={"dataset": "x", "layers": "50"})],
            {"filters": {"colour": "red"}},
            "filter key `colour` (it has: dataset, layers)",
        ),
        ([record()], {"filters": {"colour": "red"}}, "filter key `colour` (it has: no properties)"),
        (
            [record(version=version) for version in ("1.10", "1.9", "2.0")] + [record("other", version="7.0")],
            {"artifact_id": "net", "version": "3.0"},
            "version 3.0 (there is: 1.9, 1.10, 2.0)",
        ),
        ([record(version=None)], {"version": "3.0"}, "version 3.0 (there is: none with a version)"),
        ([record(engines=("PyTorch",))], {"engine": "MXNet"}, "engine MXNet (runs in: PyTorch)"),
        ([record(engines=("PyTorch",))], {"engine": "PyTroch"}, "engine PyTroch (runs in: PyTorch) (did you mean PyTorch?)"),
    ],
    ids=[
        "near id", "far id", "near group", "application", "no application", "name", "type", "no type", "value", "near key",
        "far key", "no keys", "version", "no version", "engine", "near engine",
    ],
)  # fmt: skip
def test_each_refusal_says_what_was_asked_and_what_there_is(
    records: list[ModelRecord], fields: dict[str, Any], expected: str
) -> None:
    assert reason(*records, **fields) == expected


def test_a_refusal_keeps_its_facts() -> None:
    missed = record(properties={"layers": "18"})
    (refusal,) = ask(missed, filters={"layers": 50}).refused
    assert (refusal.record, refusal.field, refusal.asked, refusal.found) == (missed, "filters.layers", "50", "18")


def test_the_first_thing_that_does_not_match_is_the_reason() -> None:
    missed = record("other", engines=("MXNet",), version="9")
    assert [refusal.field for refusal in ask(missed, artifact_id="net", engine="PyTorch", version="1.0").refused] == [
        "artifact_id"
    ]


def test_the_later_it_failed_the_nearer_it_is() -> None:
    far, nearer, nearest = record("other"), record(version="2.0"), record(version="1.0", engines=("MXNet",))
    refused = ask(far, nearer, nearest, artifact_id="net", version="1.0", engine="PyTorch").refused
    assert [(refusal.record, refusal.field) for refusal in refused] == [
        (nearest, "engine"), (nearer, "version"), (far, "artifact_id"),
    ]  # fmt: skip


def test_among_equals_the_most_alike_is_nearest() -> None:
    refused = ask(record("haiku"), record("resnet_v1"), record("tinynet"), artifact_id="resnet_v2").refused
    assert [refusal.record.artifact_id for refusal in refused] == ["resnet_v1", "tinynet", "haiku"]


def test_hostile_text_in_a_reason_is_harmless_to_a_terminal() -> None:
    assert reason(record(properties={"layers": "\x1b[31m"}), filters={"layers": 50}) == "layers=50 (there is: \\x1b[31m)"


# the machine it runs on ----------------------------------------------------------------------------------------------

TORCH_ONLY = Surroundings(engines=("PyTorch",), for_load=True)


@pytest.mark.parametrize(
    ("found", "here", "asked", "expected"),
    [
        (record(engines=("MXNet",)), TORCH_ONLY, None, "engine MXNet is not installed: pip install zoo-mxnet"),
        (
            record(engines=("MXNet", "PyTorch")),
            Surroundings(for_load=True),
            None,
            "engine MXNet and PyTorch are not installed: pip install zoo-mxnet or pip install zoo-pytorch",
        ),
        (
            record(engines=("MXNet", "PyTorch")),
            TORCH_ONLY,
            "MXNet",
            "engine MXNet is not installed: pip install zoo-mxnet",
        ),
        (record(engines=()), Surroundings(for_load=True), None, "no engine is installed: pip install zoo-pytorch"),
        (record(engines=("PyTroch",)), TORCH_ONLY, None, "engine PyTroch is not installed: did you mean PyTorch?"),
        (record(engines=()), TORCH_ONLY, "MXNet", "engine MXNet is not installed: pip install zoo-mxnet"),
        (
            record(engines=("MXNet",)),
            Surroundings(for_load=True, broken_engines={"MXNet": "zoo-mxnet 0.1 was made for zoo-core>=9"}),
            None,
            "zoo-mxnet 0.1 was made for zoo-core>=9",
        ),
        (
            record(engines=("PyTorch",), missing=("acme-nets>=1",)),
            TORCH_ONLY,
            None,
            'needs packages that are not installed: pip install "acme-nets>=1"',
        ),
    ],
    ids=[
        "one engine",
        "two engines",
        "the one asked for",
        "names none, none there",
        "misspelt",
        "names none, one asked",
        "broken",
        "requirement",
    ],
)
def test_what_a_load_lacks_is_a_reason_with_the_remedy(
    found: ModelRecord, here: Surroundings, asked: str | None, expected: str
) -> None:
    assert reason(found, here=here, engine=asked) == expected


@pytest.mark.parametrize("found", [record(engines=("MXNet",)), record(missing=("acme-nets",)), record(engines=())], ids=str)
def test_what_is_missing_refuses_only_for_a_load(found: ModelRecord) -> None:
    assert ask(found, here=Surroundings(engines=("PyTorch",))).accepted == [found]


def test_one_installed_engine_of_several_is_enough() -> None:
    found = record(engines=("MXNet", "PyTorch"))
    assert ask(found, here=TORCH_ONLY).accepted == [found]


def test_a_veto_is_a_reason() -> None:
    good, bad = record("good"), record("bad")
    here = Surroundings(veto=lambda r: "its licence is not ours" if r.artifact_id == "bad" else None)
    found = ask(good, bad, here=here)
    assert found.accepted == [good]
    assert [(refusal.record, refusal.field, str(refusal)) for refusal in found.refused] == [
        (bad, "veto", "its licence is not ours")
    ]


@pytest.mark.parametrize(
    ("engines", "asked", "installed", "preferred", "expected"),
    [
        (("MXNet", "PyTorch"), None, ("MXNet", "PyTorch"), (), ["MXNet", "PyTorch"]),
        (("PyTorch", "MXNet"), None, ("MXNet", "PyTorch"), (), ["PyTorch", "MXNet"]),
        (("PyTorch", "MXNet"), None, ("MXNet", "PyTorch"), ("mxnet",), ["MXNet", "PyTorch"]),
        (("PyTorch", "MXNet"), "MXNet", ("MXNet", "PyTorch"), ("PyTorch",), ["MXNet"]),
        (("PyTorch", "MXNet"), "mxnet", ("MXNet",), (), ["MXNet"]),
        (("PyTorch", "MXNet"), None, ("MXNet",), (), ["MXNet"]),
        (("pytorch",), None, ("PyTorch",), (), ["PyTorch"]),
        ((), None, ("PyTorch",), (), []),
        ((), "PyTorch", ("PyTorch",), (), ["PyTorch"]),
        (("PyTorch",), None, (), (), []),
    ],
)
def test_engines_are_tried_as_asked_then_as_configured_then_as_the_author_prefers(
    engines: tuple[str, ...], asked: str | None, installed: tuple[str, ...], preferred: tuple[str, ...], expected: list[str]
) -> None:
    assert usable_engines(record(engines=engines), asked, installed, preferred) == expected


# who owns a group ----------------------------------------------------------------------------------------------------


def owned(*records: ModelRecord, **fields: Any) -> list[str]:
    """The names of the repositories whose records are accepted."""
    return [found.source.name for found in ask(*records, **fields).accepted]


def test_the_first_repository_that_holds_a_group_owns_it() -> None:
    """Otherwise any added repository could replace a model by a higher version number."""
    ours, theirs = record(version="1.0", source=FIRST), record(version="99.0", source=SECOND)
    assert owned(ours, theirs) == ["first"]
    assert reason(ours, theirs) == "group com.example belongs to first; to choose this one: --repository second"


def test_a_group_is_owned_also_as_to_models_that_its_owner_lacks() -> None:
    assert owned(record("a", source=FIRST), record("b", source=SECOND)) == ["first"]


def test_another_group_is_nobody_elses_business() -> None:
    assert owned(record(source=FIRST), record(group_id="org.other", source=SECOND)) == ["first", "second"]


def test_a_repository_that_the_call_names_is_asked_whoever_owns_the_group() -> None:
    assert owned(record(source=FIRST), record(source=source("second", is_named=True))) == ["first", "second"]


def test_a_grant_in_the_users_own_configuration_comes_before_that() -> None:
    granted = source("second", groups=("com.example",))
    assert owned(record(source=FIRST), record(source=granted)) == ["second"]
    assert owned(record(group_id="org.other", source=FIRST), record(group_id="org.other", source=granted)) == ["first"]


def test_of_two_grants_the_first_counts() -> None:
    granted = [source(name, groups=("com.example",)) for name in ("second", "third")]
    assert owned(record(source=FIRST), *(record(source=place) for place in granted)) == ["second"]


def test_the_group_inside_a_document_claims_nothing_that_another_repository_owns() -> None:
    """A record is found by it, so it must not be a way to answer for somebody else's group."""
    ours = record(group_id="zoo.pytorch", version="1.0", source=FIRST)
    theirs = record(group_id="com.evil", version="99.0", source=SECOND, written={"group_id": "zoo.pytorch"})
    assert owned(ours, theirs, group_id="zoo.pytorch", artifact_id="net") == ["first"]
    assert owned(theirs, ours, group_id="zoo.pytorch", artifact_id="net") == ["first"]
    assert "group zoo.pytorch belongs to first" in reason(ours, theirs)


def test_a_document_whose_group_disagrees_with_its_folder_is_accepted_where_nobody_else_has_the_group() -> None:
    found = record(written={"group_id": "org.inside"})
    assert ask(found, record("other"), group_id="org.inside").accepted == [found]


def package(distribution: str, **fields: Any) -> Any:
    return source(distribution, distribution=distribution, **fields)


def test_among_installed_packages_a_group_is_owned_per_model() -> None:
    """The neutral models of one publisher may come in several packages."""
    assert owned(record("a", source=package("acme-a")), record("b", source=package("acme-b"))) == ["acme-a", "acme-b"]


@pytest.mark.parametrize("order", [0, 1])
def test_of_two_packages_with_one_model_the_one_named_as_the_group_wins(order: int) -> None:
    ours = record(group_id="zoo.pytorch", source=package("zoo_PyTorch"))
    theirs = record(group_id="zoo.pytorch", version="99", source=package("aaa"))
    assert owned(*((ours, theirs) if order else (theirs, ours))) == ["zoo_PyTorch"]


@pytest.mark.parametrize("order", [0, 1])
def test_else_the_first_by_name_wins(order: int) -> None:
    first, second = record(source=package("acme-a")), record(version="99", source=package("acme-b"))
    assert owned(*((first, second) if order else (second, first))) == ["acme-a"]


def test_a_package_owns_its_group_against_every_other_repository() -> None:
    ours, theirs = record("a", source=package("acme")), record("b", source=SECOND)
    assert owned(ours, theirs) == ["acme"]


# what is one model ---------------------------------------------------------------------------------------------------


def shipped(group_id: str, digest: str = "a", artifact_id: str = "net", **fields: Any) -> ModelRecord:
    return record(artifact_id, group_id=group_id, files=(parameters(digest),), **fields)


def test_one_model_that_two_plugins_ship_is_listed_once() -> None:
    mxnet, pytorch = shipped("zoo.mxnet"), shipped("zoo.pytorch")
    found = ask(mxnet, pytorch)
    assert found.accepted == [mxnet]
    assert [(refusal.record, refusal.field, str(refusal)) for refusal in found.refused] == [
        (pytorch, "same", "the same model as zoo.mxnet/net")
    ]
    assert choose(found.accepted) == mxnet


def test_it_is_found_by_either_group() -> None:
    mxnet, pytorch = shipped("zoo.mxnet"), shipped("zoo.pytorch")
    assert ask(mxnet, pytorch, group_id="zoo.pytorch").accepted == [pytorch]


@pytest.mark.parametrize(
    "other",
    [
        shipped("zoo.pytorch", digest="b"),
        shipped("zoo.pytorch", artifact_id="other"),
        shipped("zoo.pytorch", application="cv/object_detection"),
        record(group_id="zoo.pytorch", files=(parameters(None, sha1="c" * 40),)),
    ],
    ids=["other bytes", "other id", "other application", "no full digest"],
)
def test_what_differs_in_bytes_id_or_application_is_another_model(other: ModelRecord) -> None:
    assert len(ask(shipped("zoo.mxnet"), other).accepted) == 2


def test_versions_and_names_of_one_mrl_are_one_model() -> None:
    found = [record(version="1.0"), record(version="2.0"), record(version="2.0", name="large")]
    assert choose(ask(*found).accepted) == found[1]


@pytest.mark.parametrize(
    ("models", "deciding"),
    [
        ([record("a"), record("b")], r"artifact_id \(--artifact\)"),
        ([record(group_id="g.a"), record(group_id="g.b")], r"group_id \(--group\)"),
        ([record(application="cv"), record(application="nlp")], r"application \(--application\)"),
        ([record("a", group_id="g.a"), record("b", group_id="g.b")], r"artifact_id \(--artifact\) or group_id \(--group\)"),
        (
            [record("a", group_id="g.a"), record("a", group_id="g.b"), record("b", group_id="g.b")],
            r"artifact_id \(--artifact\) or group_id \(--group\)",
        ),
    ],
    ids=["artifact", "group", "application", "either", "both together"],
)
def test_between_different_models_nothing_is_chosen_and_the_deciding_field_is_named(
    models: list[ModelRecord], deciding: str
) -> None:
    with pytest.raises(
        AmbiguousModelError, match=f"{len(models)} different models match: .*Say which one by {deciding}$"
    ) as caught:
        choose(models)
    assert caught.value.candidates == tuple(sorted({f"{found.group_id}/{found.artifact_id}" for found in models}))


# printing ------------------------------------------------------------------------------------------------------------


def test_an_explanation_prints_what_is_accepted_then_the_nearest_misses_then_messages() -> None:
    found = ask(record(version="2.0"), record(version="1.0"), version="2.0")
    text = str(Explanation(accepted=found.accepted, refused=found.refused, messages=["repository x could not be read: 404"]))
    assert text.splitlines() == [
        "com.example/net@2.0  accepted",
        "com.example/net@1.0  version 2.0 (there is: 1.0, 2.0)",
        "repository x could not be read: 404",
    ]


def test_an_explanation_of_nothing_says_so() -> None:
    assert str(ask()) == "no repository holds any model"


def test_many_misses_are_cut_with_the_number_that_was_left_out() -> None:
    found = ask(*(record(f"net{number}") for number in range(20)), artifact_id="net_x")
    lines = found.reasons(3)
    assert len(lines) == 4
    assert lines[-1] == "... and 17 more"


def test_quite_other_models_are_left_out_of_the_text_unless_there_is_nothing_else() -> None:
    near, far = record("resnet_v1"), record("haiku")
    assert ask(near, far, artifact_id="resnet_v2").reasons() == [
        "com.example/resnet_v1@1.0  artifact_id=resnet_v2: did you mean resnet_v1?",
        "... and 1 more",
    ]
    assert ask(far, artifact_id="resnet_v2").reasons() == ["com.example/haiku@1.0  artifact_id=resnet_v2 (this is haiku)"]


def test_a_malformed_version_never_reaches_a_record() -> None:
    with pytest.raises(CriteriaError):
        ask(record(), version="[1.0")


def test_a_document_that_names_no_engine_leaves_it_to_its_parameter_file() -> None:
    assert len(select(Criteria(), [record(engines=())], TORCH_ONLY).accepted) == 1


def test_the_same_parameters_with_other_arguments_are_another_model() -> None:
    """Otherwise a stranger could ship them under the same id with other names for the classes."""
    mine = record(group_id="zoo.mxnet", files=(parameters("a"),), source=source("zoo-mxnet"))
    other = record(group_id="com.aaa", files=(parameters("a"),), source=source("aaa"), arguments={"classes": ["dog"]})
    found = select(Criteria(), [other, mine], Surroundings()).accepted
    with pytest.raises(AmbiguousModelError):
        choose(found)


def test_what_there_is_instead_is_collected_once_for_all_refusals(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    monkeypatch.setattr(selection, "listing", lambda *args, **how: calls.append(args) or "")
    records = [record(f"net{number}", properties={"layers": str(number)}) for number in range(300)]
    assert len(select(Criteria(filters={"layers": "none"}), records, Surroundings()).refused) == 300
    assert len(calls) == 1
