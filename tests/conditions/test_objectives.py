"""What attacks on a VLM drive at: planted weaknesses are found by the objective meant for them, and by no other."""

import pytest
from planted_model import BehindRationale, OnlyByStopping, PlantedModel
from toy_conditions import flat, make_context, make_item

from medproof.conditions import names, perturb, prepare, resolve
from medproof.conditions.numbers import NUMBERS

PLAIN = flat(140, 130, 130)
OBJECTIVES = ("margin", "answer", "targeted", "opening", "rationale", "refreshed", "sampled", "stop", "encoder")

WITHIN_EPS = ("fgsm", "pgd", "apgd", "targeted", "square", "background", "evidence", "universal", "union")


def attacked(text, model, mode="think", images=(PLAIN,)):
    """Attack one item per image; returns (context, attacked views)."""
    items = [make_item(f"i{n}") for n in range(len(images))]
    pixels = {item.image: image.copy() for item, image in zip(items, images)}
    context = make_context(items, pixels, mode=mode, model=model)
    condition = resolve(text)
    return context, perturb(condition, prepare(condition, items, context), context)


def fooled(text, model, mode="think"):
    """Whether the attack says that the reply is wrong; that must be so."""
    context, (view,) = attacked(text, model, mode)
    (reply,) = context.model.generate([view], context.model.decoding(mode))
    assert ("<answer>A" not in reply.text) == bool(view.info["success"])
    return bool(view.info["success"])


def test_a_model_fooled_only_behind_its_rationale():
    found = {name for name in OBJECTIVES if fooled(f"pgd(linf,8/255,10,objective={name})", BehindRationale())}
    assert found == {"margin", "answer", "targeted", "rationale", "refreshed", "sampled"}
    assert not fooled("fgsm(linf,8/255,objective=opening)", BehindRationale())
    assert fooled("fgsm(linf,8/255)", BehindRationale())
    assert fooled("apgd(linf,8/255,10)", BehindRationale())
    assert fooled("targeted(linf,8/255,10)", BehindRationale())


@pytest.mark.parametrize("mode", ["think", "direct"])
def test_a_model_that_only_stopping_fools(mode):
    found = {name for name in OBJECTIVES if fooled(f"pgd(linf,8/255,10,objective={name})", OnlyByStopping(), mode)}
    assert found == {"stop"}


def test_stopping_tries_the_empty_thought_in_think_mode_only():
    def texts(mode):
        context, _ = attacked("pgd(linf,8/255,3,objective=stop)", PlantedModel(), mode)
        return context.model.asked[0][1]

    assert texts("direct") == ["<answer>B</answer>", "<answer>C</answer>"]
    assert texts("think")[2:] == ["<think></think><answer>B</answer>", "<think></think><answer>C</answer>"]


class Shifting(PlantedModel):
    """Behind each of its thoughts the answer rests on another channel; darkening that channel changes the thought.

    Only an attack that follows the thoughts darkens all three.
    """

    def thought(self, pixels, sample=None):
        return next((name for name, c in zip(("red", "green"), pixels) if c.mean() > 0.49), "blue")

    def lead(self, pixels, prefix):
        channel = next((k for k, name in enumerate(("red", "green", "blue")) if name in prefix), 0)
        return 40 * (pixels[channel].mean() - 0.49)


def test_following_the_rationale_succeeds_where_one_refresh_does_not():
    model = Shifting()
    bright = [flat(130, 130, 130)]
    _, (once,) = attacked("pgd(linf,8/255,12,objective=rationale)", model, images=bright)
    _, (twice,) = attacked("pgd(linf,8/255,12)", model, images=bright)
    _, (followed,) = attacked("pgd(linf,8/255,24,objective=refreshed,every=3)", model, images=bright)
    assert (once.info["success"], twice.info["success"], followed.info["success"]) == (0, 0, 1)
    assert twice.info["refreshed"] == 1
    assert followed.info["generations"] > 4


def test_encoder_only_asks_for_no_text():
    class Blind(PlantedModel):
        """Fooled by the encoder: its answer follows the visual tokens."""

        def lead(self, pixels, prefix):
            return 400 * (0.008 - (pixels - 0.5).square().mean())

        def loss(self, *args, **kwargs):
            raise AssertionError("the text model is not needed")

    _, (view,) = attacked("pgd(linf,16/255,10,objective=encoder)", Blind(), "direct", [flat(110, 110, 110)])
    assert view.info["loss"] > 0
    assert view.info["decoded_success"] == 1
    assert view.info["generations"] == 1


@pytest.mark.parametrize("name", ["stop", "encoder", "rationale", "refreshed", "sampled"])
def test_what_is_wrong_clean_stays_wrong(name):
    class Pulled(PlantedModel):
        """Wrong on this image, right on any other."""

        def lead(self, pixels, prefix):
            return 400 * (pixels - 140 / 255).square().mean() - 0.001

    for mode in ("direct", "think"):
        context, (view,) = attacked(f"pgd(linf,8/255,4,objective={name})", Pulled(), mode, [flat(140, 140, 140)])
        assert view.info["success"] == view.info["decoded_success"] == 1
        (reply,) = context.model.generate([view], context.model.decoding(mode))
        assert "<answer>B" in reply.text


def test_a_score_asked_through_noise_counts_its_draws():
    _, (view,) = attacked("pgd(linf,8/255,5,noise=0.1,draws=3)", BehindRationale())
    _, (plain,) = attacked("pgd(linf,8/255,5)", BehindRationale())
    assert view.info["backwards"] == 3 * plain.info["backwards"] == 15
    assert view.info["forwards"] == 3 * plain.info["forwards"]
    assert view.info["success"] == 1


@pytest.mark.parametrize("mode", ["direct", "think"])
@pytest.mark.parametrize("name", ["refreshed", "sampled", "stop", "encoder", "targeted"])
def test_alone_or_in_a_batch_is_the_same(name, mode):
    images = [PLAIN, flat(128, 140, 126, 56, 28), flat(150, 130, 128)]
    text = f"pgd(linf,4/255,6,objective={name},every=2,draws=2)"
    _, together = attacked(text, BehindRationale(), mode, images)
    for n, view in enumerate(together):
        item = view.item
        context = make_context([item], {item.image: images[n].copy()}, mode=mode, model=BehindRationale())
        (alone,) = perturb(resolve(text), prepare(resolve(text), [item], context), context)
        assert alone.pixels_sha256 == view.pixels_sha256
        assert alone.info == view.info


def test_every_number_is_documented():
    seen = set()
    for text in [
        *(f"pgd(linf,4/255,2,objective={name})" for name in OBJECTIVES),
        *("fgsm(l2,1)", "apgd(linf,4/255,2)", "targeted(linf,4/255,2)", "cw(l2,3,search=2)", "union(linf,2/255,1)"),
        *("square(linf,4/255,3)", "square(linf,4/255,3,reads=letter)", "universal(linf,4/255,2)"),
    ]:
        seen |= set(attacked(text, BehindRationale())[1][0].info)
    members = {name for name in seen if name.startswith("member_")}
    assert members
    assert seen - members <= set(NUMBERS)
    assert set(NUMBERS) - seen == {"eps_l2", "allowed_share"} - seen


def test_every_attack_has_a_line_of_help_and_a_control():
    attacks = [name.split("(")[0] for name in names()]
    attacks = attacks[attacks.index("fgsm") :]
    assert sorted(attacks) == sorted([*WITHIN_EPS, "cw"])
    for name in WITHIN_EPS:
        assert resolve(f"{name}(linf,4/255)").twin == "random_sign(4/255)"
        assert resolve(f"{name}(l2,0.5)").twin == "random_l2(0.5)"
