"""A built benchmark as a folder: items.jsonl, images/, masks/, card.json, card.md. Same corpus and seed, same bytes."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from medproof.bench.build import Bench, build_items
from medproof.bench.card import Card, card_markdown, make_card
from medproof.bench.oracle import oracle_misses
from medproof.bench.prepare import Corpus, Progress, prepare
from medproof.bench.spec import load_spec
from medproof.datasets.items_jsonl import write_items
from medproof.datasets.paths import inside
from medproof.errors import UserError

ITEMS, CARD, PAGE = "items.jsonl", "card.json", "card.md"


@dataclass(frozen=True)
class Built:
    """misses: items that the oracle gets wrong from what is stored; there must be none."""

    bench: Bench
    card: Card
    misses: tuple[str, ...]


def build(data: str, out: Path | None, seed: int = 0, progress: Progress | None = None) -> Built:
    """Build what `data` names (`spec.load_spec`) into the folder `out`; with None, nothing is written.

    Raises UserError where the corpus is wrong or supports no question.
    """
    spec, root = load_spec(data)
    tasks = {task.slug: task for task in spec.all_tasks}  # no chain: it ends here, before any image is read
    corpus = prepare(spec, root, seed, progress)
    bench = build_items(corpus, spec, seed)
    if not bench.items:
        reasons = "; ".join(list(bench.dropped)[:2]) or "no task finds its annotation in the rows"
        raise UserError(f"{data} supports no balanced question ({reasons}): annotate more images or other fields")
    digest = hashlib.sha256("".join(item.to_json() + "\n" for item in bench.items).encode()).hexdigest()
    if out is None:
        return Built(bench, make_card(spec, seed, corpus, bench, [], digest), ())
    _write_files(corpus, bench, root, out, progress)
    misses = tuple(oracle_misses(bench.items, tasks, out, spec.lesion_names))
    card = make_card(spec, seed, corpus, bench, misses, digest)
    write_items(out / ITEMS, bench.items)
    (out / CARD).write_text(json.dumps(card, indent=1, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")
    (out / PAGE).write_text(card_markdown(card), encoding="utf-8")
    return Built(bench, card, misses)


def _write_files(corpus: Corpus, bench: Bench, root: Path, out: Path, progress: Progress | None) -> None:
    """Copy the images and masks that items name; label maps of other formats become PNG."""
    converted = {path: values for source in corpus.sources for path, values in source.converted.items()}
    names = {item.image for item in bench.items}
    names |= {
        item.evidence.mask for item in bench.items if item.evidence is not None and item.evidence.mask is not None
    }
    try:
        for number, name in enumerate(sorted(names), 1):
            target = out / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if name in converted:
                Image.fromarray(converted[name]).save(target)
            elif not target.exists() or not target.samefile(inside(root, name)):
                shutil.copyfile(inside(root, name), target)
            if progress is not None:
                progress("writing files", number, len(names))
    except OSError as error:
        raise UserError(f"cannot write {out}: {error.strerror or error}; free space or choose another --out") from error
