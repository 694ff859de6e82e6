"""One perturbation for all: what it is fitted on, once per run, and who is given which."""

import numpy as np
from planted_model import PlantedModel
from toy_conditions import flat, make_context, make_item

from medproof.conditions import perturb, prepare, resolve
from medproof.conditions.universal_plan import fitted_on, half_of

KEY = "universal(linf,8/255,10)"


class Linear(PlantedModel):
    """Wrong once the blue mean is below 0.49."""

    def lead(self, pixels, prefix):
        return 40 * (pixels[2].mean() - 0.49)


def make(splits, seed=7, mode="direct"):
    items = [make_item(f"i{n}", split=split, patient=f"p{n // 2}") for n, split in enumerate(splits)]
    pixels = {item.image: flat(140, 130, 128 + n % 3) for n, item in enumerate(items)}
    return items, make_context(items, pixels, seed=seed, mode=mode, model=Linear())


def attacked(items, context):
    condition = resolve(KEY)
    return perturb(condition, prepare(condition, items, context), context)


def change(view, context):
    return view.image.astype(int) - context.load(view.item).astype(int)


def test_with_train_items_all_get_what_was_fitted_on_them():
    items, context = make(["train"] * 4 + ["test"] * 4)
    assert {half_of(item, context) for item in items} == {0}
    assert fitted_on(0, context) == items[:4]
    views = attacked(items[4:], context)
    assert all(np.array_equal(change(view, context), change(views[0], context)) for view in views)
    assert {view.info["success"] for view in views} == {1}
    assert np.abs(change(views[0], context)).max() == 8


def test_without_train_items_no_image_is_attacked_by_what_saw_it():
    items, context = make(["test"] * 24)
    halves = {0: set(), 1: set()}
    for item in items:
        halves[half_of(item, context)].add(item.patient)
        assert item not in fitted_on(half_of(item, context), context)
    assert halves[0]
    assert halves[1]
    assert not halves[0] & halves[1]


def test_it_is_fitted_once_whatever_the_batches():
    items, context = make(["test"] * 8, mode="think")
    together = attacked(items, context)
    asked = len(context.model.asked)
    alone = [attacked([item], context)[0] for item in items]
    assert len(context.model.asked) == asked + len(items)
    assert [a.pixels_sha256 for a in alone] == [b.pixels_sha256 for b in together]
    assert [a.info for a in alone] == [b.info for b in together]


def test_a_run_of_a_single_item_is_fitted_on_it():
    items, context = make(["test"])
    assert fitted_on(half_of(items[0], context), context) == items
    assert attacked(items, context)[0].info["linf_255"] == 8
