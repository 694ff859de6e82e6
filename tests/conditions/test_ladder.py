"""The union: members in order on the survivors of the real reply, and its result the minimum over them."""

import pytest
from planted_model import BehindRationale, MaskedGradient, OnlyByStopping, PlantedModel
from toy_conditions import flat, make_context, make_item

from medproof.conditions import perturb, prepare, resolve
from medproof.conditions.attacked import Batch
from medproof.conditions.ladder import _run, ladder
from medproof.conditions.white_box import threat_of

PLAIN = flat(140, 130, 126)
NAMES = {mode: ["clean", *(member.name for member in ladder(mode))] for mode in ("direct", "think")}


def union(model, mode, images=(PLAIN,), text="union(linf,8/255,8)"):
    items = [make_item(f"i{n}") for n in range(len(images))]
    pixels = {item.image: image.copy() for item, image in zip(items, images)}
    context = make_context(items, pixels, mode=mode, model=model)
    condition = resolve(text)
    views = prepare(condition, items, context)
    return context, views, perturb(condition, views, context)


def members(view):
    """Member name -> 1 survived, 0 fell, in the order of the ladder."""
    told = {name[len("member_") :]: value for name, value in view.info.items() if name.startswith("member_")}
    return told


@pytest.mark.parametrize("mode", ["direct", "think"])
@pytest.mark.parametrize(
    ("model", "felled_by"),
    [
        (BehindRationale, {"think": "pgd_rationale", "direct": None}),
        (OnlyByStopping, {"think": "pgd_stop", "direct": "pgd_stop"}),
        (MaskedGradient, {"think": "square", "direct": "square"}),
        (PlantedModel, {"think": None, "direct": None}),
    ],
)
def test_the_member_meant_for_a_weakness_finds_it_and_none_after_it_runs(model, felled_by, mode):
    context, _, (view,) = union(model(), mode)
    order, last = NAMES[mode], felled_by[mode]
    run = order if last is None else order[: order.index(last) + 1]
    assert members(view) == {name: float(name != last) for name in run}
    assert view.info["success"] == view.info["decoded_success"] == float(last is not None)
    (reply,) = context.model.generate([view], context.model.decoding(mode))
    assert ("<answer>A" not in reply.text) == (last is not None)
    assert view.info["linf_255"] <= 8


@pytest.mark.parametrize("mode", ["direct", "think"])
def test_the_union_is_the_minimum_over_members_run_alone(mode):
    class Mixed(OnlyByStopping):
        def lead(self, pixels, prefix):
            return 40 * (pixels[2].mean() - 0.49)

    images = [flat(140, 130, 129), flat(140, 130, 250), flat(250, 130, 250), flat(250, 130, 130), flat(250, 130, 40)]
    context, views, done = union(Mixed(), mode, images)
    condition = resolve("union(linf,8/255,8)")
    batch = Batch(views, condition, context)
    threat = threat_of({"norm": "linf", "eps": "8/255"})
    fell = [not right for right in batch.read_clean(batch.everyone)]
    for member in ladder(mode):
        results = _run(member, batch, batch.everyone, threat, 8)
        batch.judge(batch.everyone, results)
        fell = [before or result.decoded_success for before, result in zip(fell, results)]
    assert [bool(view.info["success"]) for view in done] == fell
    assert fell == [True, True, False, True, True]


def test_what_is_wrong_clean_is_attacked_no_further():
    _, (clean,), (view,) = union(BehindRationale(), "think", [flat(140, 130, 40)])
    assert members(view) == {"clean": 0}
    assert view.pixels_sha256 == clean.pixels_sha256
    assert view.info["success"] == 1
    assert "loss" not in view.info


def test_without_room_there_is_the_clean_image_only():
    _, (clean,), (view,) = union(BehindRationale(), "think", text="union(linf,0/255,8)")
    assert members(view) == {"clean": 1}
    assert view.pixels_sha256 == clean.pixels_sha256


def test_a_survivor_shows_the_largest_margin_and_the_cost_of_all():
    context, _, (view,) = union(BehindRationale(), "think", [flat(140, 130, 200)])
    assert list(members(view)) == NAMES["think"]
    assert view.info["success"] == 0
    assert view.image[..., 2].mean() < 193  # the blue mean is what the margin rests on
    assert view.info["queries"] == 80
    assert view.info["backwards"] > 40
    assert view.info["generations"] == context.model.generated


@pytest.mark.parametrize("mode", ["direct", "think"])
def test_alone_or_in_a_batch_is_the_same(mode):
    images = [PLAIN, flat(128, 140, 126, 56, 28), flat(150, 130, 200)]
    _, _, together = union(BehindRationale(), mode, images)
    for n, view in enumerate(together):
        context = make_context([view.item], {view.item.image: images[n].copy()}, mode=mode, model=BehindRationale())
        condition = resolve(view.condition)
        (alone,) = perturb(condition, prepare(condition, [view.item], context), context)
        assert (alone.pixels_sha256, alone.info) == (view.pixels_sha256, view.info)
