"""report.json of planted runs: every count adds up, nothing is hidden, nothing is NaN."""

import json
import random
import time

import pytest
from planted import BLIND, GOLD, ITEMS, READER, Run, make_item, make_response, make_run

from medproof.errors import UserError
from medproof.scoring.cases import cases
from medproof.scoring.intervals import wilson
from medproof.scoring.summary import combine, plain_json, summarise

STRONG = "pgd(linf,8/255,20)"


def test_the_reader() -> None:
    summary = summarise(make_run(READER, model="nano", mode="direct", dataset="sample", text_prior={"accuracy": 0.5}))
    assert (summary["name"], summary["model"], summary["mode"], summary["dataset"]) == (
        "nano",
        "nano",
        "direct",
        "sample",
    )
    assert (summary["incomplete"], summary["n_items"], summary["chance"]) == (False, 8, 0.25)
    assert list(summary["conditions"]) == list(READER)
    clean = summary["conditions"]["clean"]
    assert (clean["accuracy"], clean["ci95"], clean["n"]) == (1.0, list(wilson(8, 8)), 8)
    assert clean["answer_distribution"] == {"A": 0.25, "B": 0.25, "C": 0.25, "D": 0.25}
    assert clean["degenerate"] is False
    assert clean["flip"] is clean["net"] is clean["forced_choice"] is None
    blank = summary["conditions"]["blank"]
    assert blank["degenerate"] is True
    assert blank["flip"] == blank["harmful_flip"] == 6 / 8
    assert blank["net"] == -6 / 8
    strong = summary["conditions"][STRONG]
    assert strong["answer_distribution"]["none"] == 2 / 8
    assert (strong["wrong"], strong["unparsed"], strong["correct"]) == (4, 2, 2)
    assert summary["robust"]["RA"] == 1 / 8
    assert summary["reliance"]["text_prior"]["accuracy"] == 0.5
    assert summary["certified"] is summary["chain"] is None


def test_always_a_is_degenerate_everywhere() -> None:
    summary = summarise(make_run(BLIND))
    assert all(table["degenerate"] for table in summary["conditions"].values())
    assert all(table["accuracy"] == 0.25 for table in summary["conditions"].values())
    assert summary["robust"]["RA_star"] == 0.0


def test_one_option_text_under_changing_letters_is_degenerate_too() -> None:
    items = (make_item(0, "A"), make_item(1, "A", ("mass", "cyst", "scar", "nodule")))
    table = summarise(make_run({"clean": "AB"}, items))["conditions"]["clean"]
    assert table["answer_distribution"] == {"A": 0.5, "B": 0.5}
    assert table["degenerate"] is True


def test_exactly_ninety_percent_is_not_yet_an_alarm() -> None:
    items = tuple(make_item(n) for n in range(10))
    assert summarise(make_run({"clean": "AAAAAAAAAB"}, items))["conditions"]["clean"]["degenerate"] is False
    assert summarise(make_run({"clean": "----------"}, items))["conditions"]["clean"]["degenerate"] is False


def test_errors_and_missing_responses_stamp_the_run() -> None:
    summary = summarise(make_run({"clean": "!BCD?-A "}))
    clean = summary["conditions"]["clean"]
    counts = {k: clean[k] for k in ("n_in", "n", "correct", "wrong", "abstain", "unparsed", "error", "missing")}
    assert counts == {
        "n_in": 7,
        "n": 6,
        "correct": 3,
        "wrong": 1,
        "abstain": 1,
        "unparsed": 1,
        "error": 1,
        "missing": 1,
    }
    assert clean["accuracy"] == 3 / 6
    assert summary["incomplete"] is True
    assert summary["provenance"]["counts"]["errors"] == summary["provenance"]["counts"]["missing"] == 1


@pytest.mark.parametrize(
    "answers", [{"clean": "!BCDABCD"}, {"clean": " BCDABCD"}, {"clean": GOLD, "blank": " " * 8}, {}]
)
def test_incomplete(answers: dict[str, str]) -> None:
    assert summarise(make_run(answers))["incomplete"] is True


def test_an_item_a_condition_does_not_apply_to_is_not_missing() -> None:
    summary = summarise(make_run({"clean": GOLD, "shuffled": "BCDABCD "}, not_applicable={"shuffled": 1}))
    shuffled = summary["conditions"]["shuffled"]
    assert (shuffled["n"], shuffled["missing"], shuffled["not_applicable"]) == (7, 0, 1)
    assert summary["incomplete"] is False


def test_groups_add_up_with_chance_per_question() -> None:
    items = (
        make_item(0, "A", ("yes", "no")),
        make_item(1, "B", question_type="Lesion Grading", source=""),
        make_item(2, "C"),
        make_item(3, "D", modality="OCT"),
    )
    summary = summarise(make_run({"clean": "ABCA"}, items))
    assert summary["chance"] == pytest.approx((0.5 + 3 * 0.25) / 4)
    by = summary["conditions"]["clean"]["by"]
    assert {name: group["n"] for name, group in by["modality"].items()} == {"CT": 2, "MRI": 1, "OCT": 1}
    assert by["modality"]["CT"] == {"accuracy": 1.0, "ci95": list(wilson(2, 2)), "n": 2, "chance": 0.375}
    assert by["modality"]["OCT"]["accuracy"] == 0.0
    assert {name: group["n"] for name, group in by["question_type"].items()} == {
        "Disease Diagnosis": 3,
        "Lesion Grading": 1,
    }
    assert {name: group["n"] for name, group in by["source"].items()} == {"here": 3, "not stated": 1}


def test_forced_choice_is_reported_beside_the_decoded_answer() -> None:
    run = make_run({"clean": "ABCD----"})
    told = tuple(r.model_copy(update={"option_logprobs": (-0.1, -3.0, -3.0, -3.0)}) for r in run.responses[2:])
    table = summarise(Run(run.items, (*run.responses[:2], *told), run.meta))["conditions"]["clean"]
    assert table["accuracy"] == 4 / 8
    assert table["forced_choice"] == {
        "accuracy": 1 / 6,
        "ci95": list(wilson(1, 6)),
        "n": 6,
        "answer_distribution": {"A": 1.0},
    }


def test_nothing_is_counted_twice() -> None:
    run = make_run({"clean": GOLD})
    again = make_response("i0", "clean", "B", key="zzz")
    failed = make_response("i1", "clean", "!", key="aaa")
    summary = summarise(Run(run.items, (failed, again, *run.responses), run.meta))
    clean = summary["conditions"]["clean"]
    assert (clean["n_in"], clean["accuracy"], clean["error"]) == (8, 1.0, 0)
    assert summary["provenance"]["counts"]["repeated"] == 2


def test_same_run_same_bytes_whatever_the_order_of_responses() -> None:
    run = make_run(READER)
    mixed = list(run.responses)
    random.Random(0).shuffle(mixed)
    first, second = (json.dumps(summarise(r), sort_keys=True) for r in (run, Run(run.items, tuple(mixed), run.meta)))
    assert first == second


def test_plain_json() -> None:
    text = json.dumps(summarise(make_run({"clean": "!!!!!!!!", "blank": GOLD, STRONG: "!!!!!!!!"})), allow_nan=False)
    assert json.loads(text)["conditions"]["clean"]["accuracy"] is None
    assert plain_json({1: (float("nan"), float("inf"), 0.5)}) == {"1": [None, None, 0.5]}


def test_conditions_found_in_the_responses_are_not_left_out() -> None:
    run = make_run({"clean": GOLD, "blank": GOLD})
    assert list(summarise(Run(run.items, run.responses, {}))["conditions"]) == ["blank", "clean"]


def test_a_run_that_does_not_hang_together_is_refused() -> None:
    stray = make_response("elsewhere", "clean", "A")
    with pytest.raises(UserError, match="'elsewhere'"):
        summarise(Run(ITEMS, (stray,), {}))
    with pytest.raises(UserError, match="same id"):
        summarise(Run((ITEMS[0], ITEMS[0]), (), {}))


def test_combine() -> None:
    first, second = (summarise(make_run(answers, name=name)) for name, answers in (("a", READER), ("b", BLIND)))
    both = combine([first, second])
    assert (both["schema"], both["name"], [run["name"] for run in both["runs"]]) == (1, "a", ["a", "b"])
    assert both["conditions"] == first["conditions"]
    with pytest.raises(UserError, match="at least one run"):
        combine([])


def test_cases() -> None:
    rows = cases(make_run({"clean": "ABCDABC!", "blank": "AAAAAAA "}))
    assert [row["id"] for row in rows] == [f"i{n}" for n in range(8)]
    assert rows[1]["answer"] == "mass"
    assert rows[1]["by_condition"]["blank"]["status"] == "wrong"
    assert rows[1]["by_condition"]["blank"]["chosen"] == "cyst"
    assert rows[1]["by_condition"]["clean"]["rule"] == "tag"
    assert list(rows[7]["by_condition"]) == ["clean"]
    assert rows[7]["by_condition"]["clean"]["error"] == "ConnectionError: gone"
    json.dumps(rows, allow_nan=False)


def test_a_large_run_takes_seconds() -> None:
    items = tuple(make_item(n, "ABCD"[n % 4], image=f"images/{n // 2}.png") for n in range(2000))
    draw = random.Random(0)
    names = ["clean", "blank", "shuffled", *(f"pgd(linf,{k}/255,20)" for k in (1, 2, 4))]
    answers = {name: "".join(draw.choice("ABCD-") for _ in items) for name in names}
    run = make_run(answers, items)
    start = time.process_time()
    summarise(run)
    assert time.process_time() - start < 8
