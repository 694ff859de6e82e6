"""Attacks as conditions: the ball on re-read PNGs, what is reported, and answers behind a rationale."""

from fractions import Fraction

import numpy as np
import pytest
from toy_conditions import ChannelModel, flat, make_context, make_item

from medproof.conditions import perturb, prepare, resolve
from medproof.errors import UserError
from medproof.images.png import decode_png, encode_png


def attacked(text, images, mode="direct", model=None, seed=7):
    """Attack one item per image; returns (context, clean views, attacked views)."""
    items = [make_item(f"i{n}") for n in range(len(images))]
    pixels = {item.image: image.copy() for item, image in zip(items, images)}
    context = make_context(items, pixels, seed=seed, mode=mode, model=model or ChannelModel())
    condition = resolve(text)
    views = prepare(condition, items, context)
    return context, views, perturb(condition, views, context)


def answers(context, views):
    return [reply.text for reply in context.model.generate(views, context.model.decoding(context.mode))]


BRIGHT = [flat(140, 130, 132), flat(150, 130, 128, 56, 28), flat(140, 130, 129), flat(140, 130, 250)]


@pytest.mark.parametrize("text", ["pgd(linf,8/255,10)", "pgd(l2,1.5,10)"])
def test_what_is_read_back_from_png_is_in_the_ball_and_still_wrong(text, tmp_path):
    context, clean, done = attacked(text, BRIGHT)
    for before, after in zip(clean, done):
        path = tmp_path / f"{after.item.id}.png"
        path.write_bytes(encode_png(after.image))
        again = decode_png(path.read_bytes())
        moved = again.astype(int) - before.image.astype(int)
        if "linf" in text:
            assert np.abs(moved).max() <= 8
        else:
            assert int(np.square(moved).sum()) <= (Fraction("1.5") * 255) ** 2
        assert after.info["linf_255"] == np.abs(moved).max()
        assert after.info["l2"] == pytest.approx(np.sqrt(np.square(moved).sum()) / 255)
    wrong = ["<answer>B" in text for text in answers(context, done)]
    assert wrong == [bool(view.info["success"]) for view in done]
    assert wrong[0]
    assert not wrong[3]


def test_info_tells_budget_cost_and_result():
    _, _, (view, robust) = attacked("pgd(linf,8/255,10,restarts=3)", [BRIGHT[0], BRIGHT[3]])
    assert view.condition == "pgd(linf,8/255,10,restarts=3)"
    assert (view.info["eps_255"], view.info["steps"], view.info["restarts"]) == (8, 10, 3)
    assert view.info["success"] == 1
    assert view.info["loss"] > 0
    assert view.info["restarts_used"] == 1
    assert robust.info["restarts_used"] == 3
    assert robust.info["backwards"] == 30
    assert robust.info["forwards"] == 34
    assert robust.info["zero_gradients"] == robust.info["nan"] == 0
    assert all(isinstance(value, float) for value in view.info.values())


def test_only_the_margin_behind_no_rationale_stops_early():
    easy = [flat(140, 130, 40)]  # the clean image is wrong by far

    def backwards(text, mode="direct"):
        return attacked(text, easy, mode)[2][0].info["backwards"]

    assert backwards("pgd(linf,8/255,10)") == 0
    assert backwards("pgd(linf,8/255,10,objective=answer)") == 10
    assert backwards("pgd(linf,8/255,10)", "think") == 10


def test_eps_zero_gives_the_clean_view_back():
    context, clean, done = attacked("pgd(linf,0/255,10)", BRIGHT)
    assert [view.pixels_sha256 for view in done] == [view.pixels_sha256 for view in clean]
    assert answers(context, done) == answers(context, clean)
    assert {view.condition for view in done} == {"pgd(linf,0/255,10)"}


@pytest.mark.parametrize("mode", ["direct", "think", "think_after"])
def test_alone_or_in_a_batch_is_the_same(mode):
    _, _, together = attacked("pgd(linf,3/255,6)", BRIGHT, mode)
    items = [view.item for view in together]
    for n, item in enumerate(items):
        context = make_context([item], {item.image: BRIGHT[n].copy()}, mode=mode, model=ChannelModel())
        condition = resolve("pgd(linf,3/255,6)")
        alone = perturb(condition, prepare(condition, [item], context), context)[0]
        assert alone.pixels_sha256 == together[n].pixels_sha256
        assert alone.info == together[n].info


def test_the_seed_of_an_item_knows_run_item_and_condition():
    items = [make_item("a"), make_item("b")]
    one, other = make_context(items, seed=7), make_context(items, seed=8)
    texts = ["pgd(linf,1/255)", "pgd(linf,2/255)"]
    seeds = {context.item_seed(i, resolve(t)) for context in (one, other) for i in items for t in texts}
    assert len(seeds) == 8
    assert one.item_seed(items[0], resolve(texts[0])) == make_context([items[0]]).item_seed(items[0], resolve(texts[0]))


def test_objective_answer_is_judged_by_the_margin_and_counts_both_passes():
    context, _, (view,) = attacked("pgd(linf,8/255,10,objective=answer)", [BRIGHT[0]])
    assert view.info["success"] == 1
    assert {objective for objective, _ in context.model.asked} == {"answer", "margin"}
    assert view.info["forwards"] % 2 == 0
    assert "<answer>B" in answers(context, [view])[0]


def test_direct_modes_attack_the_slot_that_opens_the_reply():
    for mode in ("direct", "think_after"):
        context, _, (view,) = attacked("pgd(linf,8/255,5)", [BRIGHT[0]], mode)
        assert {prefixes for _, prefixes in context.model.asked} == {None}
        assert context.model.generated == 0
        assert "generations" not in view.info


def test_think_attacks_the_answer_behind_the_models_own_rationale():
    context, _, (view,) = attacked("pgd(linf,5/255,10)", [flat(140, 130, 128)], "think")
    assert {tuple(prefixes) for _, prefixes in context.model.asked} == {("<think>It is bright.</think><answer>",)}
    assert view.info["decoded_success"] == 1
    assert view.info["refreshed"] == 0
    assert "<answer>B" in answers(context, [view])[0]


def test_think_follows_the_rationale_that_the_attack_leads_to():
    # Dimming red turns the rationale to "dark", behind which the answer rests on green: the first pass is not enough.
    context, _, (view,) = attacked("pgd(linf,8/255,10)", [flat(130, 130, 128)], "think")
    assert context.model.asked[-1][1] == ["<think>It is dark.</think><answer>"]
    assert view.info["refreshed"] == 1
    assert view.info["decoded_success"] == 1
    assert view.info["generations"] == 3
    assert view.info["backwards"] == 20
    assert answers(context, [view]) == ["<think>It is dark.</think><answer>B</answer>"]
    assert view.info["linf_255"] <= 8


def test_think_keeps_the_first_image_when_the_second_pass_fails_too():
    context, _, (view,) = attacked("pgd(linf,2/255,10)", [flat(128, 200, 128)], "think")
    assert view.info["refreshed"] == 1
    assert view.info["decoded_success"] == 0
    assert "<answer>A" in answers(context, [view])[0]


def test_views_keep_their_item_messages_and_clean_pixels():
    _, clean, done = attacked("pgd(linf,8/255,5)", BRIGHT)
    for before, after in zip(clean, done):
        assert after.item is before.item
        assert after.messages == before.messages
        assert np.array_equal(before.image, BRIGHT[int(before.item.id[1:])])


def test_conditions_without_an_attack_pass_through():
    items = [make_item("a")]
    context = make_context(items)
    views = prepare(resolve("clean"), items, context)
    assert perturb(resolve("clean"), views, context) == views


def test_no_views_no_work():
    assert perturb(resolve("pgd(linf,1/255)"), [], make_context([], model=ChannelModel())) == []


def test_a_model_without_gradients_is_refused():
    class Api:
        name = "api"

    with pytest.raises(UserError, match=r"needs gradients, and model api gives none"):
        attacked("pgd(linf,1/255)", BRIGHT[:1], model=Api())


def test_errors_of_the_model_pass_through():
    class Full(ChannelModel):
        def loss(self, pixels, views, objective="margin", prefixes=None):
            raise RuntimeError("can't allocate memory")

    with pytest.raises(RuntimeError, match="can't allocate memory"):
        attacked("pgd(linf,1/255)", BRIGHT[:1], model=Full())
