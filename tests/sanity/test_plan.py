"""Which attack is checked, and with which others."""

import pytest

from medproof.conditions import resolve
from medproof.errors import UserError
from medproof.sanity.plan import plan, subject


@pytest.mark.parametrize(
    ("conditions", "chosen"),
    [
        (["clean", "fgsm(linf,8/255)", "pgd(linf,4/255,20)"], "pgd(linf,4/255,20)"),
        (["pgd(linf,4/255,50)", "pgd(linf,8/255,20)", "apgd(linf,8/255,40)"], "apgd(linf,8/255,40)"),
        (["pgd(linf,8/255,20)", "pgd(linf,8/255,20,restarts=3)"], "pgd(linf,8/255,20,restarts=3)"),
        (["fgsm(linf,8/255)"], "pgd(linf,8/255,20)"),
        (["union(l2,2,30)", "cw(l2,100)"], "pgd(l2,2,30)"),
        (["clean", "square(linf,2/255,500)"], "pgd(linf,2/255,20)"),
    ],
)
def test_the_strongest_iterative_attack_is_checked(conditions: list[str], chosen: str) -> None:
    assert subject([resolve(text) for text in conditions]).key == chosen


@pytest.mark.parametrize("conditions", [["clean", "blank"], ["random_sign(8/255)"], ["cw(l2,100)"]])
def test_without_an_attack_of_a_budget_there_is_nothing_to_check(conditions: list[str]) -> None:
    with pytest.raises(UserError, match=r"add one, as in --condition 'pgd\(linf,8/255,20\)'"):
        subject([resolve(text) for text in conditions])


def test_the_conditions_around_an_attack() -> None:
    made = plan(resolve("pgd(linf,8/255,20,objective=answer)"))
    assert made.zero.key == "pgd(linf,0/255,20,objective=answer)"
    assert [c.key.split(",")[1] for c in made.ladder] == ["2/255", "4/255", "8/255", "255/255"]
    assert made.attack in made.ladder
    assert made.unbounded is made.ladder[-1]
    assert [c.args[2] for c in made.fewer] == ["5", "10"]
    assert made.single_step.key == "fgsm(linf,8/255,objective=answer)"
    assert made.doubled_steps.key == "pgd(linf,8/255,40,objective=answer)"
    assert made.doubled_restarts.key == "pgd(linf,8/255,20,objective=answer,restarts=2)"
    assert made.noise.key == "random_sign(8/255)"
    assert (made.transfer.name, made.replayed.name) == ("transfer", "replayed")
    keys = [condition.key for condition in made.conditions]
    assert keys[0] == "clean"
    assert len(keys) == len(set(keys)) == 13


def test_small_budgets_and_lengths() -> None:
    one = plan(resolve("apgd(linf,1/255,1)"))
    assert [c.key.split(",")[1] for c in one.ladder] == ["1/255", "255/255"]
    assert one.fewer == ()
    length = plan(resolve("pgd(l2,0.5,8)"))
    assert [c.args[1] for c in length.ladder] == ["0.125", "0.25", "0.5", "1000"]
    assert length.zero.args[1] == "0.001"
    assert length.noise.key == "random_l2(0.5)"


def test_an_objective_of_many_steps_is_held_against_a_step_on_the_margin() -> None:
    assert plan(resolve("pgd(linf,8/255,20,objective=refreshed)")).single_step.key == "fgsm(linf,8/255)"
