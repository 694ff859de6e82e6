"""Which cases are shown, and that caps hold."""

from collections import Counter
from typing import Any

import numpy as np
import pytest
from report_runs import make_item

from medproof.images.png import encode_png
from medproof.records import Outcome, Response, pixels_sha256
from medproof.report.cases import CASE_SHARE, Source, collect
from medproof.report.gallery import Gallery, difference
from medproof.report.select import FLIP, KEPT, ODD, WRONG, most_telling, ranked, story
from medproof.runs.store import RunData
from medproof.scoring.scored import score

ATTACK = "pgd(linf,8/255,20)"


def outcomes(**statuses: str) -> dict[str, Outcome]:
    keys = {"attack": ATTACK}
    return {
        keys.get(name, name): Outcome(item_id="i", condition=keys.get(name, name), mode="direct", status=status)  # type: ignore[arg-type]
        for name, status in statuses.items()
    }


@pytest.mark.parametrize(
    ("found", "kind"),
    [
        (outcomes(clean="correct", attack="wrong"), FLIP),
        (outcomes(clean="correct", attack="unparsed"), FLIP),
        (outcomes(clean="correct", attack="correct"), KEPT),
        (outcomes(clean="correct"), KEPT),
        (outcomes(clean="wrong", attack="correct"), WRONG),
        (outcomes(clean="unparsed"), ODD),
        (outcomes(clean="abstain"), ODD),
        (outcomes(clean="error"), ODD),
        (outcomes(blank="correct"), ODD),
    ],
)
def test_story(found: dict[str, Outcome], kind: str) -> None:
    assert story(found, [ATTACK]) == kind


def test_of_several_runs_the_flip_tells_most() -> None:
    assert most_telling([KEPT, WRONG, FLIP]) == FLIP
    assert most_telling([KEPT, WRONG, ODD]) == ODD
    assert most_telling([KEPT, KEPT]) == KEPT


def test_ranking_is_fixed_complete_and_stratified() -> None:
    items = [make_item(number) for number in range(200)]
    stories = {item.id: FLIP if n % 10 == 0 else WRONG if n % 10 == 1 else KEPT for n, item in enumerate(items)}
    order = ranked(items, stories)
    assert sorted(item.id for item in order) == sorted(stories)
    assert [item.id for item in ranked(list(reversed(items)), stories)] == [item.id for item in order]
    first = Counter(stories[item.id] for item in order[:30])
    assert first[FLIP] > first[KEPT], "flips are a tenth of the items and lead the page"
    kept = [item.modality for item in order if stories[item.id] == KEPT][:8]
    assert Counter(kept) == Counter(dict.fromkeys(set(kept), 2)), "modalities take turns"


def source(n: int, size: int = 24) -> Source:
    """`n` items, clean and attacked, every picture noise of its own."""
    rng = np.random.default_rng(0)
    items = tuple(make_item(number) for number in range(n))
    pictures: dict[str, Any] = {}
    responses = []
    for item in items:
        for condition in ("clean", ATTACK, "random_sign(8/255)"):
            pixels = rng.integers(0, 256, (size, size, 3), dtype=np.uint8)
            pictures[pixels_sha256(pixels)] = (pixels, encode_png(pixels))
            text = f"<answer>{item.answer_letter}</answer>"
            responses.append(
                Response(
                    key=f"{item.id}{condition}",
                    item_id=item.id,
                    condition=condition,
                    mode="direct",
                    text=text,
                    image_sha256=pixels_sha256(pixels),
                )
            )
    meta = {"conditions": ["clean", "random_sign(8/255)", ATTACK]}
    run = RunData(meta=meta, items=items, responses=tuple(responses), path=None)  # type: ignore[arg-type]
    return Source("run", score(run), pictures.get)


KEYS = ["clean", "random_sign(8/255)", ATTACK]


def test_the_number_of_cases_is_capped() -> None:
    book = collect([source(30)], KEYS, [ATTACK], max_cases=7)
    assert (book.shown, book.total) == (7, 30)
    assert book.data["total"] == 30
    assert len(book.data["cases"]) == 7


def test_the_bytes_of_pictures_are_capped() -> None:
    made = source(30)
    one = len(next(iter(made.scored.responses["clean"].values())).image_sha256) and 24 * 24 * 3
    gallery = Gallery(budget=20 * one)
    book = collect([made], KEYS, [ATTACK], gallery=gallery)
    assert gallery.used <= gallery.budget
    assert 0 < book.shown < 30
    for case in book.data["cases"]:
        cells = case["runs"][0]
        assert cells["clean"]["image"] is not None
        assert cells[ATTACK]["image"] is not None
    assert 2 * book.shown * one <= CASE_SHARE * gallery.budget
    left_out = [case for case in book.data["cases"] if case["runs"][0]["random_sign(8/255)"]["image"] is None]
    assert left_out, "controls give way to cases"
    assert left_out[0]["runs"][0]["random_sign(8/255)"]["note"] == "not embedded (page size)"


def test_difference_in_grey_levels_and_unit_pixels() -> None:
    clean = np.full((2, 2, 3), 100, np.uint8)
    other = clean.copy()
    other[0, 0, 0] = 92
    other[1, 1, 2] = 104
    assert difference(clean, other) == {
        "linf": 8,
        "l2": round((8**2 + 4**2) ** 0.5 / 255, 4),
        "changed": round(2 / 12, 4),
    }
    black, white = np.zeros((1, 1, 3), np.uint8), np.full((1, 1, 3), 255, np.uint8)
    assert difference(white, black) == {"linf": 255, "l2": round(3**0.5, 4), "changed": 1.0}, "no wrap-around"
    assert difference(clean, np.zeros((3, 2, 3), np.uint8)) is None
    assert difference(clean, None) is None
