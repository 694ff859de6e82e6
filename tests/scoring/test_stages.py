"""The table of training stages: hand-made runs of eight questions, every number worked out on paper."""

from collections.abc import Mapping
from typing import Any

import pytest
from planted import GOLD, ITEMS, OPTIONS, Run, make_item, make_run

from medproof.scoring.paired import holm, mcnemar_p
from medproof.scoring.scored import score
from medproof.scoring.stages import STAGES, stage, stages

FGSM, PGD, CW = "fgsm(linf,8/255)", "pgd(linf,8/255,20)", "cw(l2,100)"
WORST = "worst(linf,8/255)"
ATTACKED = {"kind": "pgd", "eps": "8/255", "share": 1.0}


def trained(kind: str, adversarial: Mapping[str, Any] | None = None) -> dict[str, Any]:
    return {"kind": kind, "recipe": {"adversarial": adversarial}}


def run(answers: Mapping[str, str], training: Mapping[str, Any] | None = None, **meta: Any) -> Run:
    """GOLD is ABCDABCD; four options a question, so chance is 1/4. blank: A throughout."""
    about = {"mode": "direct", "weights_hash": "w", **({} if training is None else {"training": training}), **meta}
    return make_run({"clean": GOLD, "blank": "AAAAAAAA", **answers}, **about)


def table(*runs: Run) -> dict[str, Any]:
    found = stages([score(one) for one in runs])
    assert found is not None
    return found


SFT = run({FGSM: "ABCDBADC", PGD: "BADCABCA"}, trained("sft"), weights_hash="sft")
"""FGSM turns items 4 to 7, PGD items 0 to 3 and 7."""
ROBUST = run({"clean": "ABCDABCA", FGSM: "ABCDABDA", PGD: "ABCDABCA"}, trained("grpo", ATTACKED), weights_hash="at")
"""Clean wrong on item 7; FGSM turns item 6, PGD none."""


@pytest.mark.parametrize(
    ("training", "name"),
    [
        (None, "base"),
        (trained("sft"), "SFT"),
        (trained("sft", ATTACKED), "AT-SFT"),
        (trained("grpo"), "GRPO"),
        (trained("grpo", ATTACKED), "AT-GRPO"),
        (trained("grpo", {**ATTACKED, "eps": "0/255"}), "GRPO"),
        (trained("grpo", {**ATTACKED, "share": 0.0}), "GRPO"),
        (trained("grpo", {"kind": "noise", "eps": None, "sigma": 0.25, "share": 1.0}), "GRPO"),
    ],
)
def test_the_stage_of_a_model(training: dict[str, Any] | None, name: str) -> None:
    assert stage({} if training is None else {"training": training}) == name
    assert name in STAGES


def test_robust_numbers_beside_what_the_model_sees() -> None:
    found = table(SFT, ROBUST)
    assert [column["name"] for column in found["columns"]] == [FGSM, PGD, WORST]
    assert found["columns"][2]["members"] == [FGSM, PGD]
    sft, robust = found["rows"]
    assert (sft["stage"], robust["stage"]) == ("SFT", "AT-GRPO")
    assert (sft["clean"]["accuracy"], sft["blank"]["accuracy"], sft["chance"]) == (1.0, 2 / 8, 1 / 4)
    shares = {name: (cell["RA"]["value"], cell["RA_star"]["value"]) for name, cell in sft["cells"].items()}
    # The blank answer is A, so items 0 and 4 (clean answer A) do not depend on the image: they leave RA*.
    assert shares == {FGSM: (4 / 8, 3 / 8), PGD: (3 / 8, 2 / 8), WORST: (0.0, 0.0)}
    # Above chance: (RA - 1/4) / (clean - 1/4).
    kept = {name: cell["kept"]["value"] for name, cell in sft["cells"].items()}
    assert kept == pytest.approx({FGSM: 1 / 3, PGD: (3 / 8 - 1 / 4) / (3 / 4), WORST: -1 / 3})
    # Clean 7/8; item 7 is answered A clean and blank. FGSM leaves items 0 to 5, of which 1, 2, 3 and 5 look.
    assert robust["cells"][FGSM]["RA"]["value"] == 6 / 8
    assert robust["cells"][FGSM]["RA_star"]["value"] == 4 / 8
    assert robust["cells"][FGSM]["kept"]["value"] == pytest.approx((6 / 8 - 1 / 4) / (7 / 8 - 1 / 4))
    assert robust["cells"][PGD]["kept"]["value"] == pytest.approx(1.0)
    assert robust["cells"][FGSM]["RA_blank_wrong"] == {
        **robust["cells"][FGSM]["RA_blank_wrong"],
        "value": 4 / 6,
        "n": 6,
    }


def test_by_modality() -> None:
    """Even items are CT, odd ones MRI."""
    sft = table(SFT, ROBUST)["rows"][0]["by"]["modality"]
    assert list(sft) == ["CT", "MRI"]
    assert sft["CT"]["blank"]["accuracy"] == 2 / 4
    assert sft["MRI"]["blank"]["accuracy"] == 0.0
    assert sft["CT"]["cells"][PGD]["RA"]["value"] == 2 / 4
    assert sft["CT"]["cells"][PGD]["RA_star"]["value"] == 1 / 4
    assert sft["MRI"]["cells"][PGD]["RA"]["value"] == 1 / 4


def test_rows_are_ordered_by_prompt_and_stage_and_remember_their_run() -> None:
    runs = [
        run({PGD: GOLD}, trained("grpo", ATTACKED), mode="think", weights_hash="a"),
        run({PGD: GOLD}, trained("grpo"), weights_hash="b"),
        run({PGD: GOLD}, weights_hash="c"),
        run({"pgd(linf,1/255,20)": GOLD}, weights_hash="d"),
    ]
    found = table(*runs)
    assert [(row["mode"], row["stage"], row["run"]) for row in found["rows"]] == [
        ("direct", "base", 2),
        ("direct", "GRPO", 1),
        ("think", "AT-GRPO", 0),
    ]
    assert [column["name"] for column in found["columns"]] == [PGD], "an attack of one run alone is no column"


def test_paired_tests_over_the_same_questions() -> None:
    found = table(SFT, ROBUST)
    told = {test["column"]: (test["only_a"], test["only_b"], test["difference"]) for test in found["tests"]}
    # Right in SFT alone: item 7, clean. In AT-GRPO alone: items 4 and 5 under FGSM, 0 to 3 under PGD, 0 to 5 at worst.
    assert told == {"clean": (1, 0, -1 / 8), FGSM: (0, 2, 2 / 8), PGD: (0, 4, 4 / 8), WORST: (0, 6, 6 / 8)}
    p = [test["p"] for test in found["tests"]]
    assert p == [mcnemar_p(*told[test["column"]][:2]) for test in found["tests"]]
    assert p[-1] == pytest.approx(2 / 2**6)
    assert [test["p_holm"] for test in found["tests"]] == holm(p)
    assert all((test["a"], test["b"]) == (0, 1) for test in found["tests"])


def test_prompts_are_compared_within_a_model_only() -> None:
    runs = [
        run({PGD: GOLD}, weights_hash="a"),
        run({PGD: GOLD}, weights_hash="a", mode="think"),
        run({PGD: GOLD}, trained("sft"), weights_hash="b", mode="think"),
    ]
    pairs = {(test["a"], test["b"]) for test in table(*runs)["tests"]}
    assert pairs == {(0, 1), (1, 2)}


def test_other_questions_are_not_compared() -> None:
    part = {"clean": GOLD[:4], "blank": "AAAA", PGD: GOLD[:4]}
    fewer = make_run(part, ITEMS[:4], mode="direct", weights_hash="b")
    found = table(run({PGD: GOLD}), fewer)
    assert (found["tests"], found["not_compared"]) == ([], [[0, 1]])
    assert len(found["rows"]) == 2


def test_an_attack_without_a_budget_is_counted_at_any_distance() -> None:
    found = table(run({PGD: GOLD, CW: "BADCBADD"}), run({PGD: GOLD, CW: "ABCDBADC"}))
    assert [cell["RA"]["value"] for cell in (row["cells"][CW] for row in found["rows"])] == [1 / 8, 4 / 8]
    assert WORST not in [column["name"] for column in found["columns"]], "nothing of norm l2 has a budget"


def test_what_was_not_run_is_null() -> None:
    found = table(run({PGD: GOLD, FGSM: GOLD}), run({PGD: GOLD, FGSM: GOLD}), run({PGD: GOLD}))
    last = found["rows"][2]
    assert (last["cells"][FGSM], last["cells"][WORST]) == (None, None)
    assert last["by"]["modality"]["CT"]["cells"][FGSM] is None
    no_blank = make_run({"clean": GOLD, PGD: GOLD}, mode="direct")
    alone = table(no_blank, no_blank)["rows"][0]
    assert (alone["blank"], alone["cells"][PGD]["RA_star"]["value"]) == (None, None)


def test_a_worst_case_that_no_two_runs_share_is_no_column() -> None:
    small = "pgd(linf,4/255,20)"
    found = table(run({PGD: GOLD}), run({PGD: GOLD}), run({small: GOLD}), run({small: GOLD, PGD: GOLD}))
    assert [column["name"] for column in found["columns"]] == [PGD, small]
    assert found["rows"][2]["cells"][PGD] is None


def test_nothing_above_chance_can_be_kept() -> None:
    coin = make_item(0, "B", options=OPTIONS[:2])
    one = make_run({"clean": "A", "blank": "A", PGD: "A"}, [coin], mode="direct")
    assert table(one, one)["rows"][0]["cells"][PGD]["kept"]["value"] is None


def test_robust_accuracy_is_a_name_that_has_to_be_earned() -> None:
    state = table(SFT, ROBUST)["rows"][0]["validation"]
    assert (state["state"], state["name"].startswith("accuracy under these attacks")) == ("not checked", True)


def test_no_table_without_a_shared_attack() -> None:
    assert stages([score(run({PGD: GOLD}))]) is None
    assert stages([score(run({PGD: GOLD})), score(run({FGSM: GOLD}))]) is None


def test_rationales_are_told_for_clean_and_each_attack() -> None:
    found = table(run({PGD: GOLD}, mode="think"), run({PGD: GOLD}))
    direct, think = found["rows"]
    assert direct["reasoning"] is None
    assert list(think["reasoning"]) == ["clean", PGD]
    assert think["reasoning"][PGD]["parsed"]["value"] == 1.0
