"""From cases to a gated set of items: read, check visibility, deal into blocks, gate, link into chains.

Everything drawn comes from the seed and ids, so that the same corpus gives the same bytes.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from medproof.bench import gate
from medproof.bench.blocks import Block, answer_blocks, box_blocks, options_for, options_for_boxes
from medproof.bench.case import ANNOTATION, MIRROR, ORIENTATION, SPACING, SUBJECT, Case
from medproof.bench.chains import link
from medproof.bench.prepare import Corpus, Source
from medproof.bench.regions import box_mask, visible_pixels
from medproof.bench.spec import BenchSpec
from medproof.bench.task import Reading, Task
from medproof.datasets.vocabulary import spoken
from medproof.records import Box, Evidence, Item, Split
from medproof.seeds import derive_seed, rng

RESAMPLES = 5
"""Times that a task is dealt again before something is dropped from it."""
_SIDED = re.compile(r"\b(?:left|right)\b")
MIN_TEST = 4
"""A task with fewer test items is no category: it is left out."""
SPLITS: tuple[Split, ...] = ("train", "test")


@dataclass(frozen=True)
class Candidate:
    """A question that an image supports, which supports `steps` tasks in all."""

    source: Source
    task: Task
    reading: Reading
    steps: int

    @property
    def id(self) -> str:
        return f"{self.source.row.id}/{self.task.slug}"

    @property
    def pool(self) -> str:
        """Candidates of one pool lend each other their answers."""
        case, within = self.source.case, self.task.within
        names = [] if within == "all" else [case.modality, *([case.source] if within == "source" else [])]
        return " / ".join([self.task.slug, *filter(None, [*names, self.reading.group, self.reading.subject])])


@dataclass
class Bench:
    """items: linked, cases in order. gates: by task. dropped: questions and images left out, by reason."""

    items: list[Item]
    gates: dict[str, gate.Gate]
    dropped: Counter[str] = field(default_factory=Counter)


def build_items(corpus: Corpus, spec: BenchSpec, seed: int = 0) -> Bench:
    """Deal, gate and link the items of all tasks. Raises UserError where the tasks are no chain."""
    tasks = spec.all_tasks
    dropped = Counter(corpus.dropped)
    candidates = _candidates(corpus.sources, tasks, spec, dropped)
    told = _answers(candidates)
    made: list[Item] = []
    gates: dict[str, gate.Gate] = {}
    for task in tasks:
        items = _gated([c for c in candidates if c.task is task], spec.delta, seed, told, dropped)
        if items and sum(item.split == "test" for item in items) < MIN_TEST:
            dropped[f"{task.slug}: fewer than {MIN_TEST} test items"] += len(items)
        elif items:
            made += items
            gates[task.slug] = gate.measure(items)
    return Bench(link(made, tasks), gates, dropped)


def _candidates(
    sources: Sequence[Source], tasks: Sequence[Task], spec: BenchSpec, dropped: Counter[str]
) -> list[Candidate]:
    """All readings whose evidence can be seen."""
    found = []
    for source in sources:
        mine = []
        for task in tasks:
            for reading in task.read(source.case):
                if _visible(source.case, task, reading, spec):
                    mine.append((task, reading))
                else:
                    dropped[f"{task.slug}: evidence not visible on the grid"] += 1
        steps = len({task.slug for task, _ in mine})
        found += [Candidate(source, task, reading, steps) for task, reading in mine]
    return found


def _visible(case: Case, task: Task, reading: Reading, spec: BenchSpec) -> bool:
    """Whether at least `min_pixels` show the evidence on the grid; of things to be counted, every single one."""
    if task.format == "count":
        things = [box_mask(case.height, case.width, (box,)) for box in reading.boxes]
        if reading.region is not None and not things:
            things = [reading.region.mask(reading.region.classes.values())]
        return all(visible_pixels(thing, spec.grid) >= spec.min_pixels for thing in things)
    mask = reading.visible
    if mask is None and reading.region is not None:
        mask = reading.region.mask(reading.region.classes.values())
    if mask is None and reading.boxes:
        mask = box_mask(case.height, case.width, reading.boxes)
    return mask is None or visible_pixels(mask, spec.grid) >= spec.min_pixels


Told = Mapping[str, Sequence[tuple[str, str, str]]]
"""Per image: (stage, name of a fact, its value), in the order of the tasks."""


def _answers(candidates: Sequence[Candidate]) -> Told:
    """The facts that the answers of all tasks state, whether their items are kept or not."""
    told: defaultdict[str, list[tuple[str, str, str]]] = defaultdict(list)
    for c in candidates:
        if c.task.states is not None:
            told[c.source.row.id].append((c.task.stage, c.task.states, c.reading.answer))
    return told


def _gated(candidates: Sequence[Candidate], delta: float, seed: int, told: Told, dropped: Counter[str]) -> list[Item]:
    """Items of one task that no blind reader answers more than `delta` above chance.

    Dealt again up to RESAMPLES times; then the pool with the largest excess of its own goes, and so on.
    """
    left = list(candidates)
    while left:
        for attempt in range(RESAMPLES):
            items, pool_of, reasons = _deal(left, seed + attempt, told)
            if not items or gate.measure(items).excess <= delta:
                dropped.update(reasons)
                return items
        by_pool = gate.pools(items, pool_of)
        worst = max(by_pool, key=lambda name: (gate.measure(by_pool[name]).excess, name))
        dropped[f"{worst}: answered without the image"] += len(by_pool[worst])
        left = [c for c in left if c.pool != worst]
    return []


def _deal(candidates: Sequence[Candidate], seed: int, told: Told) -> tuple[list[Item], dict[str, str], Counter[str]]:
    """(items, their pools, questions not asked by reason). Of one image every task asks at most once."""
    pools: defaultdict[str, list[Candidate]] = defaultdict(list)
    # images that support many steps come first, so that chains stay long; the seed decides between equals
    for candidate in sorted(candidates, key=lambda c: (-c.steps, derive_seed(seed, c.id, "deal"), c.reading.subject)):
        pools[candidate.pool].append(candidate)
    items: list[Item] = []
    pool_of: dict[str, str] = {}
    reasons: Counter[str] = Counter()
    # pools with few of their rarer answer choose first
    for name in sorted(pools, key=lambda name: (_scarcity(pools[name]), name)):
        free = [c for c in pools[name] if c.id not in pool_of]
        left = len(free)
        for split in SPLITS:
            part = [c for c in free if c.source.split == split]
            for block in _blocks(part, free):
                dealt = _items([part[index] for index in block], seed, told)
                items += dealt
                pool_of |= {item.id: name for item in dealt}
                left -= len(dealt)
        if left:
            reasons[f"{name}: no other answer left to balance it"] += left
    return items, pool_of, reasons


def _scarcity(pool: Sequence[Candidate]) -> int:
    return min(Counter(c.reading.answer for c in pool).values())


def _blocks(part: Sequence[Candidate], whole: Sequence[Candidate]) -> list[Block]:
    """Blocks of the candidates of one split; the number of options is that of the whole pool."""
    if not part:
        return []
    if part[0].task.format == "box":
        return box_blocks([_in_shares(c) for c in part], options_for_boxes([_in_shares(c) for c in whole]))
    return answer_blocks([c.reading.answer for c in part], options_for([c.reading.answer for c in whole]))


def _in_shares(candidate: Candidate) -> Box:
    case, box = candidate.source.case, candidate.reading.boxes[0]
    x0, y0, x1, y1 = box.xyxy
    return Box(label=box.label, xyxy=(x0 / case.width, y0 / case.height, x1 / case.width, y1 / case.height))


def _items(block: Sequence[Candidate], seed: int, told: Told) -> list[Item]:
    """The items of one block: same wording, same options in the same order, each right once."""
    task = block[0].task
    key = min(candidate.id for candidate in block)
    answers = sorted(candidate.reading.answer for candidate in block)
    if set(answers) <= set(task.ordered):
        options = sorted(answers, key=task.ordered.index)
    else:
        options = [answers[i] for i in rng(seed, key, "options").permutation(len(answers))]
    stem = task.stems[int(rng(seed, key, "stem").integers(len(task.stems)))]
    return [_item(candidate, stem, tuple(options), told) for candidate in block]


def _item(candidate: Candidate, stem: str, options: tuple[str, ...], told: Told) -> Item:
    source, task, reading = candidate.source, candidate.task, candidate.reading
    row, case = source.row, source.case
    fields = {name: case.labels[name] for name in reading.fields}
    region = reading.region
    return Item(
        id=candidate.id,
        image=row.image,
        frame=source.frame,
        window=source.window,
        width=case.width,
        height=case.height,
        case=row.id,
        patient=row.patient,
        modality=case.modality,
        anatomy=row.anatomy,
        question_type=task.question_type,
        stage=task.stage,
        question=stem.format(subject=reading.subject, **fields),
        options=options,
        answer=reading.answer,
        evidence=Evidence(
            boxes=reading.boxes,
            mask=None if region is None else region.path,
            mask_classes={} if region is None else {str(value): name for value, name in region.classes.items()},
        ),
        facts=_facts(candidate, fields, told),
        split=source.split,
        source=row.source,
        license=row.license,
        license_class=row.license_class,
    )


def _facts(candidate: Candidate, fields: Mapping[str, str], told: Told) -> dict[str, str]:
    """What a rationale may state: true answers of this stage and those before; and what the answer was read from."""
    task, reading, case = candidate.task, candidate.reading, candidate.source.case
    facts = {"modality": spoken(case.modality), "conclusion": reading.answer}
    if "anatomy" in case.labels:
        facts["region"] = spoken(case.labels["anatomy"])
    for stage, name, value in told.get(candidate.source.row.id, ()):
        if stage <= task.stage:
            facts.setdefault(name, value)
    if task.stage in ("S2", "S3", "S4") and case.lesion is not None:
        facts.setdefault("finding", case.lesion.name)
    if fields:
        facts[ANNOTATION] = json.dumps(fields, sort_keys=True, ensure_ascii=False)
    if reading.subject:
        facts[SUBJECT] = reading.subject
    if case.convention is not None and task.format in ("side", "quadrant"):
        facts[ORIENTATION] = case.convention
    if case.spacing_mm is not None and task.stage == "S3":
        facts[SPACING] = f"{case.spacing_mm:g}"
    if mirror := _mirror(case, task, reading):
        facts[MIRROR] = mirror
    return facts


def _mirror(case: Case, task: Task, reading: Reading) -> str | None:
    """What mirroring does to the answer. Boxes move, and a heart on the other side is another finding."""
    if task.format in ("side", "quadrant") and _SIDED.search(reading.answer):
        return "flip"
    words = f"{reading.answer} {reading.subject}"
    return None if task.format == "box" or case.modality == "X-Ray" or _SIDED.search(words) else "keep"
