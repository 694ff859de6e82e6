"""Audit, text side: each cue finds what was planted, says nothing where it may not, and fits on training items only."""

from collections.abc import Sequence
from typing import Any

import pytest

from medproof.datasets.audit import audit
from medproof.datasets.audit.cues import full_stop, letter_prior, longest_option, never_correct, text_prior
from medproof.datasets.audit.splits import balance, patient_overlap, source_name, source_shortcut
from medproof.errors import UserError
from medproof.records import Item


def item(number: int, options: Sequence[str] = ("a", "b"), answer: str = "a", **changes: Any) -> Item:
    values: dict[str, Any] = {
        "id": f"i{number}",
        "image": f"img/{number}.png",
        "case": f"c{number}",
        "modality": "CT",
        "question_type": "Disease Diagnosis",
        "question": "What?",
        "options": tuple(options),
        "answer": answer,
    }
    return Item.model_validate(values | changes)


def many(n: int, **changes: Any) -> list[Item]:
    return [item(number, **changes) for number in range(n)]


def test_text_prior_is_perfect_where_one_option_is_always_right() -> None:
    train = many(20, options=("cyst", "mass"), answer="mass")
    test = many(10, options=("mass.", "Cyst"), answer="mass.")
    cue = text_prior(test, train)
    assert (cue.accuracy, cue.n, cue.coverage, cue.chance) == (1.0, 10, 1.0, 0.5)
    assert cue.ci95 is not None
    assert 0.6 < cue.ci95[0] < 1.0


def test_text_prior_per_modality_knows_the_modality_and_pooled_does_not() -> None:
    """The same options, and the modality decides which is right: one table for all is at chance."""
    train = many(20, answer="a", modality="CT") + many(20, answer="b", modality="MRI")
    test = many(10, answer="a", modality="CT") + many(10, answer="b", modality="MRI")
    given, pooled = text_prior(test, train), text_prior(test, train, pooled=True)
    assert (given.accuracy, given.fit) == (1.0, "per modality")
    assert (pooled.accuracy, pooled.fit) == (0.5, "pooled")
    assert {name: cue.accuracy for name, cue in pooled.by_modality.items()} == {"CT": 1.0, "MRI": 0.0}


def test_a_modality_without_training_items_is_null_with_its_reason() -> None:
    cue = text_prior(many(4, modality="CT") + many(6, modality="MRI"), many(5, modality="CT"))
    assert cue.by_modality["MRI"].accuracy is None
    assert cue.by_modality["MRI"].reason == "no training items of this modality"
    assert (cue.n, cue.coverage, cue.mean_over_modalities) == (4, 0.4, 1.0)


def test_nothing_is_fitted_on_the_test_split() -> None:
    """Without training items every fitted cue is null: never leave-one-out, never the scored questions."""
    report = audit(many(10))
    for cue in (report.text_prior, report.text_prior_pooled, report.letter_prior, report.never_correct, report.source):
        assert cue.accuracy is None
        assert "--train" in (cue.reason or "")
    assert report.longest_option.reason == "no question has one longest option"
    assert report.images.reason == "no training split"


def test_letter_prior_counts_a_missing_letter_as_wrong() -> None:
    train = many(9, options=("w", "x", "y", "z"), answer="z") + many(1)
    test = [item(0, options=("w", "x", "y", "z"), answer="z"), item(1, answer="b")]
    assert letter_prior(test, train).accuracy == 0.5


def test_longest_option_leaves_ties_out() -> None:
    test = [
        item(0, ("short", "much longer"), "much longer"),
        item(1, ("much longer", "short"), "short"),
        item(2, ("same", "size"), "same"),
    ]
    cue = longest_option(test)
    assert (cue.accuracy, cue.n) == (0.5, 2)
    assert cue.coverage == pytest.approx(2 / 3)


def test_full_stop_needs_to_stand_alone() -> None:
    test = [
        item(0, ("yes.", "no"), "yes."),
        item(1, ("yes", "no. "), "no. "),
        item(2, ("yes.", "no."), "no."),
        item(3, ("yes", "no"), "no"),
    ]
    cue = full_stop(test)
    assert (cue.accuracy, cue.n, cue.coverage) == (1.0, 2, 0.5)


def test_options_never_right_in_training_are_excluded() -> None:
    train = [item(0, ("lung", "spoon"), "lung"), item(1, ("liver", "fork"), "liver")]
    test = [
        item(2, ("spoon", "lung"), "lung"),  # one left: decided
        item(3, ("lung", "liver", "fork"), "liver"),  # two left
        item(4, ("spoon", "unseen"), "spoon"),  # the answer itself is excluded, wrongly
    ]
    cue = never_correct(test, train)
    assert (cue.accuracy, cue.n) == (0.5, 2)
    assert cue.distractors_excluded == pytest.approx(2 / 4)
    assert cue.answers_excluded == 1
    assert cue.expected_accuracy == pytest.approx((1 + 0.5 + 0) / 3)


def test_excluding_everything_is_chance() -> None:
    cue = never_correct([item(0, ("x", "y"), "x")], [item(1, ("x", "y", "z"), "z")])
    assert cue.accuracy is None
    assert cue.expected_accuracy == 0.5


def test_source_shortcut_is_the_gain_over_the_same_guess_without_source() -> None:
    def rows(n: int) -> list[Item]:
        return [item(i, answer="ab"[i % 2], source=f"owner/hospital{i % 2}:{i}.png") for i in range(n)]

    shortcut = source_shortcut(rows(20), rows(60))
    assert (shortcut.accuracy, shortcut.baseline, shortcut.gain, shortcut.sources) == (1.0, 0.5, 0.5, 2)
    assert shortcut.by_group["CT / Disease Diagnosis"].n == 20


def test_a_source_that_says_nothing_gains_nothing() -> None:
    def rows(n: int) -> list[Item]:
        return [item(i, answer="ab"[i % 2], source=f"s{i // 2 % 2}") for i in range(n)]

    assert source_shortcut(rows(40), rows(40)).gain == 0
    assert source_shortcut(many(4), many(4)).reason == "the items name fewer than two sources"


def test_source_shortcut_leaves_out_groups_that_training_lacks() -> None:
    test = [item(0, source="x/y:1"), item(1, source="x/z:1", modality="MRI")]
    assert source_shortcut(test, [item(2, source="x/y:2")]).n == 1


@pytest.mark.parametrize(
    ("source", "name"),
    [("owner/name:a/b.png", "owner/name"), ("ISIC2019", "ISIC2019"), ("https://x.org/a", "https://x.org/a"), ("", "")],
)
def test_source_name_drops_the_path(source: str, name: str) -> None:
    assert source_name(item(0, source=source)) == name


def test_patient_overlap_names_them() -> None:
    test = [item(0, patient="p1"), item(1, patient="p1"), item(2, patient="p2")]
    overlap = patient_overlap(test, [item(3, patient="p1"), item(4, patient="p3")])
    assert (overlap.shared, overlap.test_items, overlap.examples) == (1, 2, ("p1",))
    assert patient_overlap(test, many(2)).reason == "the training items name no patients"
    assert patient_overlap(many(2), test).shared is None


def test_balance_by_question_type() -> None:
    rows = balance([item(0), item(1), item(2, answer="b"), item(3, question_type="Lesion Grading")])
    diagnosis = rows["Disease Diagnosis"]
    assert (diagnosis.n, diagnosis.answers, diagnosis.top_answer) == (3, 2, "a")
    assert diagnosis.top_share == pytest.approx(2 / 3)
    assert diagnosis.letters == {"A": pytest.approx(2 / 3), "B": pytest.approx(1 / 3)}
    assert sum(row.n for row in rows.values()) == 4


def test_a_clean_data_set_has_no_findings() -> None:
    """Balanced, disjoint, and no cue: silence, or the alarm would mean nothing."""
    train = [item(i, answer="ab"[i % 2], patient=f"p{i}", source="s") for i in range(200)]
    test = [item(1000 + i, answer="ab"[i % 2], patient=f"q{i}", source="s") for i in range(100)]
    assert audit(test, train).findings == ()


def test_findings_name_what_was_planted() -> None:
    train = many(40, options=("yes.", "no"), answer="yes.", patient="p")
    found = " | ".join(
        audit(many(30, options=("yes.", "no"), answer="yes.", patient="p"), train, quarantined=3).findings
    )
    for words in ("text prior", "same letter", "longest option", "full stop", "1 patients", "3 rows", "30 by path"):
        assert words in found


def test_report_is_canonical_and_reads_back() -> None:
    train, test = many(10), many(5)
    report = audit(test, train, name="d", train_name="d")
    assert type(report).from_json(report.to_json()) == report
    assert report.to_json() == audit(list(test), list(train), name="d", train_name="d").to_json()
    assert report.to_dict()["text_prior"]["accuracy"] == 1.0


def test_an_empty_test_split_is_refused() -> None:
    with pytest.raises(UserError, match="nothing to audit"):
        audit([], many(3))
