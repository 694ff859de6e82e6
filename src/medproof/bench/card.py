"""The benchmark card: what is in it, and that it cannot be answered without looking. No paths, no dates."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from medproof import __version__
from medproof.bench.build import Bench
from medproof.bench.chains import STAGES
from medproof.bench.gate import Gate
from medproof.bench.prepare import Corpus
from medproof.bench.spec import BenchSpec
from medproof.bench.task import Task, task_of
from medproof.records import Item

Card = dict[str, Any]


def make_card(spec: BenchSpec, seed: int, corpus: Corpus, bench: Bench, misses: Sequence[str], sha256: str) -> Card:
    """card.json: plain values only. misses: items that the oracle gets wrong; sha256: of items.jsonl."""
    items, tasks = bench.items, {task.slug: task for task in spec.all_tasks}
    rows = [_task_row(tasks[slug], bench.gates[slug], items) for slug in bench.gates]
    excess = [row["text_prior"] - row["test_chance"] for row in rows if row["text_prior"] is not None]
    return {
        "name": spec.name,
        "seed": seed,
        "medproof": __version__,
        "items_sha256": sha256,
        "images": len({(item.image, item.frame) for item in items}),
        "cases": len({item.case for item in items}),
        "patients": len({item.patient for item in items} - {None}),
        "items": _by_split(items),
        "chains": _chains(items),
        "stages": _stages(items),
        "tasks": rows,
        "oracle": {"n": len(items), "right": len(items) - len(misses), "accuracy": 1 - len(misses) / len(items)},
        "blind_gate": {
            "delta": spec.delta,
            "largest_excess": round(max(gate.excess for gate in bench.gates.values()), 12),
            "text_prior_largest_excess": round(max(excess), 12) if excess else None,
        },
        "visibility": {"grid_pixels": spec.grid_pixels, "min_pixels": spec.min_pixels},
        "sources": _sources(corpus, items),
        "dropped": dict(sorted(bench.dropped.items())),
        "warnings": list(corpus.warnings),
    }


def _by_split(items: Sequence[Item]) -> dict[str, int]:
    counts = Counter(item.split for item in items)
    return {"train": counts["train"], "test": counts["test"]}


def _chains(items: Sequence[Item]) -> dict[str, Any]:
    """How many steps and how many stages the cases have; the test split alone."""
    stages: defaultdict[str, set[str]] = defaultdict(set)
    test = [item for item in items if item.split == "test"]
    for item in test:
        stages[item.case].add(str(item.stage))
    by_stages = Counter(len(found) for found in stages.values())
    return {
        "test": len(stages),
        "mean_steps": len(test) / len(stages) if stages else 0.0,
        "by_stages": {str(number): by_stages[number] for number in sorted(by_stages)},
    }


def _stages(items: Sequence[Item]) -> dict[str, dict[str, dict[str, int]]]:
    """Per stage and modality: items of the test split, and tasks."""
    found: dict[str, dict[str, dict[str, int]]] = {}
    for stage in STAGES:
        mine = [item for item in items if item.stage == stage]
        found[stage] = {
            modality: {
                "test_items": sum(item.modality == modality and item.split == "test" for item in mine),
                "tasks": len({task_of(item) for item in mine if item.modality == modality}),
            }
            for modality in sorted({item.modality for item in mine})
        }
    return found


def _task_row(task: Task, gate: Gate, items: Sequence[Item]) -> dict[str, Any]:
    mine = [item for item in items if task_of(item) == task.slug]
    return {
        "task": task.slug,
        "stage": task.stage,
        "format": task.format,
        "read_from": task.annotation,
        "modalities": sorted({item.modality for item in mine}),
        **_by_split(mine),
        "chance": gate.chance,
        "option_count": gate.option_count,
        "ngram": gate.ngram,
        "test_chance": gate.test_chance,
        "text_prior": gate.text_prior,
    }


def _sources(corpus: Corpus, items: Sequence[Item]) -> list[dict[str, Any]]:
    used = Counter(item.case for item in items)
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for source in corpus.sources:
        row = found.setdefault(
            (source.case.modality, source.row.repository),
            {
                "modality": source.case.modality,
                "source": source.row.repository,
                "license_classes": [],
                "orientation": source.case.convention,
                "images": 0,
                "items": 0,
            },
        )
        row["license_classes"] = sorted({*row["license_classes"], source.row.license_class})
        row["images"] += 1
        row["items"] += used[source.row.id]
    return [found[key] for key in sorted(found)]


def card_markdown(card: Card) -> str:
    """card.md: the same numbers as tables."""
    items, oracle, gate = card["items"], card["oracle"], card["blind_gate"]
    lines = [
        f"# {card['name']}: benchmark card",
        "",
        f"{items['test']} test and {items['train']} training items of {card['cases']} cases "
        f"({card['patients']} named patients), {len(card['tasks'])} task categories. Seed {card['seed']}, medproof "
        f"{card['medproof']}, items.jsonl {card['items_sha256'][:16]}.",
        "",
        f"- Oracle (reads the stored evidence): {oracle['right']} of {oracle['n']} right.",
        f"- Blind gate: no reader of the text alone is more than {100 * gate['delta']:g} points above chance in any "
        f"task; largest excess {_points(gate['largest_excess'])}, of the text prior (train to test) "
        f"{_points(gate['text_prior_largest_excess'])}.",
        f"- Evidence covers at least {card['visibility']['min_pixels']} pixels of a grid of "
        f"{card['visibility']['grid_pixels']}.",
        f"- {card['chains']['test']} test chains of {card['chains']['mean_steps']:.1f} steps on average; by number of "
        f"stages: {', '.join(f'{n}: {count}' for n, count in card['chains']['by_stages'].items())}.",
        *(f"- Warning: {warning}." for warning in card["warnings"]),
        "",
        "## Tasks",
        "",
        "Blind accuracies in %: option counts and n-grams cross-validated on all items; text prior from train to test.",
        "",
        "| stage | task | answer | read from | modalities | train | test | chance | option count | n-gram | prior |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in card["tasks"]:
        blind = (row["test_chance"], row["option_count"], row["ngram"], row["text_prior"])
        lines.append(
            f"| {row['stage']} | `{row['task']}` | {row['format']} | {row['read_from']} "
            f"| {', '.join(row['modalities'])} | {row['train']} | {row['test']} "
            f"| {' | '.join(map(_percent, blind))} |"
        )
    lines += ["", "## Test items (tasks) per stage and modality", "", *_stage_table(card["stages"])]
    lines += [
        "",
        "## Sources",
        "",
        "| modality | source | licence | orientation | images | items |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {s['modality']} | {s['source'] or 'not named'} | {', '.join(s['license_classes'])} "
        f"| {s['orientation'] or 'picture only'} | {s['images']} | {s['items']} |"
        for s in card["sources"]
    ]
    lines += ["", "## Not asked", "", *(f"- {count}: {reason}" for reason, count in card["dropped"].items())]
    return "\n".join(lines) + "\n"


def _stage_table(stages: Mapping[str, Mapping[str, Mapping[str, int]]]) -> list[str]:
    modalities = sorted({name for found in stages.values() for name in found})
    lines = [f"| stage | {' | '.join(modalities)} |", f"|---|{'---|' * len(modalities)}"]
    for stage, found in stages.items():
        cells = [f"{found[m]['test_items']} ({found[m]['tasks']})" if m in found else "–" for m in modalities]
        lines.append(f"| {stage} | {' | '.join(cells)} |")
    return lines


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f}"


def _points(value: float | None) -> str:
    return "unknown" if value is None else f"{100 * value:+.1f} points"
