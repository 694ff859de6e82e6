"""Square as a condition: what it reads, for which models, and what it costs."""

import pytest
from planted_model import MaskedGradient
from toy_conditions import attacked, flat

from medproof.conditions import check_model, resolve
from medproof.errors import UserError


class Api:
    """Level 1: replies and nothing else."""

    name, grid = "api", None

    def __init__(self, inner):
        self.inner = inner

    def decoding(self, mode):
        return self.inner.decoding(mode)

    def generate(self, views, decoding, seed=0):
        return self.inner.generate(views, decoding, seed)


@pytest.mark.parametrize("mode", ["direct", "think"])
@pytest.mark.parametrize(("reads", "wrap"), [("options", lambda m: m), ("letter", lambda m: m), ("letter", Api)])
def test_square_fools_what_hides_its_gradient(reads, wrap, mode):
    context, view = attacked(f"square(linf,8/255,200,reads={reads})", wrap(MaskedGradient()), mode)
    assert view.info["success"] == 1
    assert 1 < view.info["queries"] <= 200
    assert view.info["backwards"] == 0
    (reply,) = context.model.generate([view], context.model.decoding(mode))
    assert "<answer>B" in reply.text
    assert view.info["linf_255"] <= 8


def test_reading_the_letter_asks_for_replies_and_ends_at_the_first_wrong_one():
    context, view = attacked("square(linf,8/255,200,reads=letter)", Api(MaskedGradient()))
    assert view.info["generations"] == view.info["queries"] == context.model.inner.generated
    assert view.info["decoded_success"] == 1


def test_what_no_query_can_fool_spends_them_all():
    _, view = attacked("square(linf,2/255,40)", MaskedGradient(), image=flat(140, 130, 200))
    assert view.info["success"] == 0
    assert view.info["queries"] == view.info["queries_allowed"] == 40


def test_a_model_without_gradients_is_told_of_the_black_box():
    with pytest.raises(UserError, match=r"square\(linf,8/255,reads=letter\).*random_sign\(8/255\)"):
        check_model(resolve("pgd(linf,8/255)"), Api(None))
    with pytest.raises(UserError, match=r"square\(l2,1,reads=letter\)"):
        check_model(resolve("cw(l2)"), Api(None))


def test_a_model_without_option_scores_is_told_to_read_the_letter():
    with pytest.raises(UserError, match=r"reads option scores.*add reads=letter"):
        check_model(resolve("square(linf,8/255)"), Api(None))
    check_model(resolve("square(linf,8/255,reads=letter)"), Api(None))
