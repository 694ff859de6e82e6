"""The case browser's data: what each chosen item was asked, shown and answered, in every run and condition."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from medproof.records import Item, Outcome, Response
from medproof.report.gallery import NO_IMAGE, Gallery, Load, difference
from medproof.report.select import MAX_CASES, most_telling, ranked, story, whole_chains
from medproof.report.wording import in_short, in_words, name_of
from medproof.scoring.scored import Scored

MAX_REPLY = 6000
"""Characters of one reply shown on the page; the run keeps all."""
CASE_SHARE = 0.75
"""Of the picture bytes: kept for clean and attacked images. Controls get what is left."""

UNRELATED = frozenset({"clean", "blank", "noimage", "shuffled"})
"""Conditions whose picture is no perturbation of the clean one: a difference would say nothing."""


@dataclass(frozen=True)
class Source:
    """One run as the browser needs it: its label, its scored responses, and how a picture is read by its hash."""

    label: str
    scored: Scored
    load: Load

    def response(self, item_id: str, key: str) -> Response | None:
        return self.scored.responses.get(key, {}).get(item_id)

    def outcome(self, item_id: str, key: str) -> Outcome | None:
        return self.scored.outcomes.get(key, {}).get(item_id)

    def outcomes(self, item_id: str) -> dict[str, Outcome]:
        """By condition; empty where the item has no answer."""
        return {key: by_item[item_id] for key, by_item in self.scored.outcomes.items() if item_id in by_item}


@dataclass(frozen=True)
class CaseBook:
    """`data` and `pictures` are embedded as JSON; `total` counts the items of the runs, `shown` those on the page."""

    data: dict[str, Any]
    pictures: list[dict[str, Any]]
    shown: int
    total: int


def collect(
    sources: Sequence[Source],
    conditions: Sequence[str],
    attacks: Sequence[str],
    *,
    max_cases: int = MAX_CASES,
    gallery: Gallery | None = None,
) -> CaseBook:
    """Choose cases (see `select`) until `max_cases` or the picture budget is reached, and describe them.

    Items are matched across runs by id. A case is taken only if its clean and attacked images fit the budget; the
    pictures of other conditions follow in the same order as long as they fit.
    """
    gallery = gallery or Gallery()
    items = {item_id: item for source in reversed(sources) for item_id, item in source.scored.items.items()}
    stories = {}
    for item_id in items:
        told = [story(found, attacks) for source in sources if (found := source.outcomes(item_id))]
        if told:
            stories[item_id] = most_telling(told)
    answered = [item for item_id, item in items.items() if item_id in stories]
    chosen: list[Item] = []
    for item in whole_chains(ranked(answered, stories))[:max_cases]:
        if not _take(item, sources, ["clean", *attacks], gallery, CASE_SHARE):
            break
        chosen.append(item)
    for item in chosen:
        for source in sources:
            for key in conditions:
                response = source.response(item.id, key)
                if response and response.image_sha256 != NO_IMAGE and gallery.fits(response.image_sha256, source.load):
                    gallery.take(response.image_sha256, source.load)
    data = {
        "runs": [source.label for source in sources],
        "conditions": [
            {"key": key, "label": in_words(key), "short": in_short(key), "kind": _kind(key, attacks)}
            for key in conditions
        ],
        "cases": [_case(item, sources, conditions, stories[item.id], gallery) for item in chosen],
        "total": len(items),
    }
    return CaseBook(data, gallery.to_json(), len(chosen), len(items))


def _kind(key: str, attacks: Sequence[str]) -> str:
    return "clean" if key == "clean" else "attack" if key in attacks else "control"


def _take(item: Item, sources: Sequence[Source], keys: Sequence[str], gallery: Gallery, share: float) -> bool:
    """Embed the item's pictures under `keys` if they fit into `share` of the budget; all of them or none."""
    wanted = [
        (response.image_sha256, source.load)
        for source in sources
        for key in keys
        if (response := source.response(item.id, key)) and response.image_sha256 != NO_IMAGE
    ]
    new = {sha: load for sha, load in wanted if sha not in gallery.numbers}
    cost = sum(gallery.cost({sha}, load) for sha, load in new.items())
    if gallery.used + cost > share * gallery.budget:
        return False
    for sha, load in wanted:
        gallery.take(sha, load)
    return True


def _case(
    item: Item, sources: Sequence[Source], conditions: Sequence[str], kind: str, gallery: Gallery
) -> dict[str, Any]:
    boxes = item.evidence.boxes if item.evidence else ()
    return {
        "id": item.id,
        "modality": item.modality,
        "type": item.question_type,
        "anatomy": item.anatomy,
        "question": item.question,
        "options": list(item.options),
        "answer": item.answer_index,
        "source": item.source,
        "license": item.license or item.license_class,
        "story": kind,
        "case": item.case,
        "stage": item.stage,
        "boxes": [{"label": box.label, "xyxy": list(box.xyxy)} for box in boxes],
        "size": _stored_size(item),
        "runs": [
            {key: cell for key in conditions if (cell := _cell(item, source, key, gallery)) is not None}
            for source in sources
        ],
    }


def _stored_size(item: Item) -> list[float] | None:
    """Width and height of the stored image, the frame of the boxes, where the data set says them."""
    return None if item.width is None or item.height is None else [float(item.width), float(item.height)]


def _cell(item: Item, source: Source, key: str, gallery: Gallery) -> dict[str, Any] | None:
    response = source.response(item.id, key)
    outcome = source.outcome(item.id, key)
    if response is None or outcome is None:
        return None
    sha = response.image_sha256
    cell: dict[str, Any] = {
        "status": outcome.status,
        "chosen": _index(item, outcome.chosen),
        "rule": outcome.rule,
        "forced": _index(item, outcome.forced_choice),
        "text": response.text[:MAX_REPLY],
        "cut": max(0, len(response.text) - MAX_REPLY),
        "truncated": response.truncated,
        "error": response.error,
        "image": None if sha == NO_IMAGE else gallery.numbers.get(sha),
        "note": "shown no image" if sha == NO_IMAGE else None if sha in gallery.numbers else "not embedded (page size)",
    }
    clean = source.response(item.id, "clean")
    if clean and name_of(key) not in UNRELATED and sha in gallery.numbers and clean.image_sha256 in gallery.numbers:
        before = gallery.look(clean.image_sha256, source.load).pixels
        cell["delta"] = difference(before, gallery.look(sha, source.load).pixels)
    return cell


def _index(item: Item, option: str | None) -> int | None:
    return item.options.index(option) if option in item.options else None
