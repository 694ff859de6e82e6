"""Threat models: what counts where, per item, and what each attack adds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from planted import GOLD, ITEMS, Run, make_response, make_run

from medproof.scoring.attack_key import attacks
from medproof.scoring.robustness import robustness
from medproof.scoring.scored import score
from medproof.scoring.worst_case import threats

SMALL, LARGE, OTHER = "pgd(linf,2/255,20)", "pgd(linf,8/255,20)", "apgd(linf,8/255,20)"


def with_info(run: Run, condition: str, infos: dict[str, dict[str, float]]) -> Run:
    """`run` with numbers attached to the responses of one condition."""
    told = tuple(
        r.model_copy(update={"info": infos[r.item_id]}) if r.condition == condition and r.item_id in infos else r
        for r in run.responses
    )
    return Run(run.items, told, run.meta)


def block_of(run: Run) -> dict:
    block = robustness(score(run))
    assert block is not None
    return block


def test_each_budget_has_its_own_worst_case() -> None:
    block = block_of(make_run({"clean": GOLD, SMALL: "BBCDABCD", LARGE: "ABBDABCD", OTHER: "ABBBABCD"}))
    small, large = block["threats"]
    assert (small["norm"], small["eps_255"], small["RA"]) == ("linf", 2.0, 7 / 8)
    assert list(small["members"]) == [SMALL]
    # What falls at 2/255 (item 0) lies in the ball of 8/255 too, though neither attack there found it.
    assert (large["eps_255"], large["RA"]) == (8.0, 5 / 8)
    assert {key: (m["accuracy"], m["only"]) for key, m in large["members"].items()} == {
        SMALL: (7 / 8, 1),
        LARGE: (7 / 8, 0),
        OTHER: (6 / 8, 1),
    }
    assert block["RA"] == 5 / 8


@given(st.lists(st.sampled_from(["A", "B", "-", "?"]), min_size=16, max_size=16))
def test_the_union_is_never_above_a_member_and_falls_with_eps(letters: list[str]) -> None:
    small, large = "".join(letters[:8]), "".join(letters[8:])
    block = block_of(make_run({"clean": "A" * 8, SMALL: small, LARGE: large}))
    for threat in block["threats"]:
        assert all(threat["RA"] <= member["accuracy"] for member in threat["members"].values())
    assert block["threats"][1]["RA"] <= block["threats"][0]["RA"]


def test_norms_are_kept_apart() -> None:
    block = block_of(make_run({"clean": GOLD, LARGE: "BBCDABCD", "pgd(l2,1,20)": "ACCDABCD"}))
    assert [(t["norm"], t["RA"], list(t["members"])) for t in block["threats"]] == [
        ("l2", 7 / 8, ["pgd(l2,1,20)"]),
        ("linf", 7 / 8, [LARGE]),
    ]


CW = "cw(l2,100)"


def minimal_run() -> Run:
    """Clean wrong on item 7; C&W turns items 0 to 5, item i at distance 0.5 (i + 1); not item 6."""
    run = make_run({"clean": "ABCDABCA", "pgd(l2,1,20)": "ABCDABBA", CW: "BCDABDCA"})
    return with_info(run, CW, {f"i{i}": {"l2": 0.5 * (i + 1)} for i in range(6)} | {"i7": {"l2": 0.0}})


def test_an_attack_of_smallest_distance_counts_within_its_distance() -> None:
    block = block_of(minimal_run())
    (threat,) = block["threats"]
    assert (threat["norm"], threat["eps_255"]) == ("l2", 255.0)
    # Of eight: item 7 is wrong, PGD turns item 6, C&W items 0 and 1 within eps = 1 (0.5 and exactly 1).
    assert threat["RA"] == 4 / 8
    assert threat["members"][CW]["accuracy"] == 5 / 8
    assert threat["members"][CW]["only"] == 2
    assert block["RA"] == 6 / 8, "no distance counts where no eps is asked for"


def test_distances_give_a_median_and_a_curve() -> None:
    block = block_of(minimal_run())
    assert block["attacks"][CW]["distance"] == {"median": 2.0, "found": 6, "n": 7}
    curve = next(c for c in block["curves"] if c["attack"] == "cw")
    assert [(p["eps_255"] / 255, p["accuracy"]) for p in curve["points"]] == [
        (0.0, 7 / 8),
        *[(0.5 * (i + 1), (6 - i) / 8) for i in range(6)],
    ]


def test_a_median_is_open_where_most_are_never_turned() -> None:
    run = make_run({"clean": GOLD, CW: "BBCDABCD"})
    distance = block_of(with_info(run, CW, {"i0": {"l2": 0.25}}))["attacks"][CW]["distance"]
    assert distance == {"median": None, "found": 1, "n": 8}


def test_only_attacks_of_smallest_distance_leave_ra_open() -> None:
    block = block_of(make_run({"clean": GOLD, "blank": "AAAAAAAA", CW: "BBCDABCD"}))
    assert (block["RA"], block["RA_star"], block["threats"]) == (None, None, [])


def test_items_an_attack_does_not_apply_to_are_not_lost() -> None:
    part = "evidence(linf,8/255,20)"
    answers = {"clean": "ABCDABCA", LARGE: "BBCDABCA", part: "ACCD    "}
    whole = block_of(make_run(answers, not_applicable={part: 4}))
    assert (whole["RA"], whole["RA_n"], whole["excluded"]) == (5 / 8, 8, 0)
    missing = block_of(make_run(answers))
    assert (missing["RA"], missing["RA_n"], missing["excluded"]) == (2 / 4, 4, 4)


def test_the_members_of_a_union_are_told() -> None:
    union = "union(linf,8/255,20)"
    infos = {
        "i0": {"member_margin": 0.0},
        "i1": {"member_margin": 1.0, "member_square": 0.0},
        "i2": {"member_margin": 1.0, "member_square": 1.0},
    }
    run = with_info(make_run({"clean": "ABC", union: "BCC"}, ITEMS[:3]), union, infos)
    members = block_of(run)["attacks"][union]["members"]
    assert list(members.items()) == [("margin", {"run": 3, "fell": 1}), ("square", {"run": 2, "fell": 1})]


def test_queries_are_summed_and_control_is_of_the_same_size() -> None:
    square = "square(l2,0.5,100)"
    run = make_run({"clean": GOLD, square: GOLD, "random_l2(0.5)": "BBCDABCD", "random_l2(1)": GOLD})
    attack = block_of(with_info(run, square, {f"i{i}": {"queries": 10.0} for i in range(8)}))["attacks"][square]
    assert attack["queries"] == 80
    assert attack["control"]["condition"] == "random_l2(0.5)"


@pytest.mark.parametrize("steps", [("5", "20", "40")])
def test_convergence_orders_by_effort(steps: tuple[str, ...]) -> None:
    keys = [f"pgd(linf,8/255,{n})" for n in steps]
    more = "pgd(linf,8/255,20,restarts=3)"
    run = make_run({"clean": GOLD, keys[2]: "BCDAABCD", keys[0]: GOLD, more: "BCCDABCD", keys[1]: "BBCDABCD"})
    (curve,) = block_of(run)["convergence"]
    assert [(p["steps"], p["restarts"], p["accuracy"]) for p in curve["points"]] == [
        (5, 1, 1.0),
        (20, 1, 7 / 8),
        (40, 1, 4 / 8),
        (20, 3, 6 / 8),
    ]


def test_threats_are_the_budgets_of_the_attacks() -> None:
    found = threats(attacks([LARGE, SMALL, OTHER, CW, "pgd(l2,0.5,5)"]))
    assert [(t.norm, float(t.eps * 255)) for t in found] == [("l2", 127.5), ("linf", 2.0), ("linf", 8.0)]


def test_a_truncated_reply_is_a_failure_of_its_own() -> None:
    run = make_run({"clean": "A", LARGE: " "}, ITEMS[:1])
    cut = make_response("i0", LARGE, "-", text="<think>", truncated=True)
    failures = block_of(Run(run.items, (*run.responses, cut), run.meta))["attacks"][LARGE]["failures"]
    assert failures == {"wrong": 0, "abstain": 0, "unparsed": 0, "truncated": 1}
