"""`load`: from what a user names to a Dataset."""

from collections.abc import Collection
from pathlib import Path

from medproof.datasets import items_jsonl, med_r1, omnimedvqa
from medproof.datasets.build import build_items
from medproof.datasets.corpus import is_corpus, read_corpus
from medproof.datasets.dataset import Dataset, SplitChoice
from medproof.datasets.folder import read_folder
from medproof.datasets.json_rows import read_rows
from medproof.datasets.questions import DEFAULT_KINDS
from medproof.errors import UserError

SAMPLE = Path(__file__).parent / "sample"
"""The built-in corpus; wheels are installed unpacked, so a path serves."""

FORMS = (
    "sample, a folder with manifest/*.jsonl, an Items .jsonl, a Med-R1 or OmniMedVQA .json or .json.gz, "
    "or a folder of them"
)


def load(
    spec: str | Path,
    *,
    images_root: Path | None = None,
    split: SplitChoice = "all",
    seed: int = 0,
    limit: int | None = None,
    license_classes: Collection[str] | None = None,
    kinds: Collection[str] = DEFAULT_KINDS,
) -> Dataset:
    """The data set that `spec` names: see FORMS.

    images_root: folder that image paths are relative to; by default the corpus folder, or the folder of the JSON file.
        Image files of question files are looked for when they are needed (`Dataset.image_path`), those of an annotated
        corpus at once.
    seed: of options, wordings and `limit`. An annotated corpus with another seed is another set of items.
    limit: at most so many items after all filters (`dataset.sample_items`).
    license_classes: only rows of these classes. Distractors of an annotated corpus come from the rows that remain.
    kinds: question kinds made from an annotated corpus (`questions.KINDS`); other formats bring their own questions.

    Raises UserError where nothing is there, nothing is usable or nothing is left after filtering.
    """
    dataset = _read(str(spec), images_root, seed, license_classes, kinds)
    if license_classes is not None:
        kept = tuple(item for item in dataset.items if item.license_class in license_classes)
        dataset = Dataset(dataset.name, dataset.root, kept, dataset.quarantined, dataset.notes, dataset.seed)
    dataset = dataset.filter(split=split, limit=limit)
    if not dataset.items:
        raise UserError(f"data {str(spec)!r} has no item for split={split}{_why(dataset)}")
    return dataset


def _why(dataset: Dataset) -> str:
    """What was set aside or not asked, if anything, and what to do."""
    first = [quarantined.reason for quarantined in dataset.quarantined[:1]]
    aside = f" ({len(dataset.quarantined)} rows were set aside: {first[0]})" if first else ""
    left = f" ({dataset.notes[0]})" if dataset.notes else ""
    return f"{aside}{left}: choose another split, fewer filters, or correct the rows"


def _read(
    spec: str, images_root: Path | None, seed: int, license_classes: Collection[str] | None, kinds: Collection[str]
) -> Dataset:
    path = SAMPLE if spec == "sample" else Path(spec)
    if not path.exists():
        raise UserError(f"no data at {spec!r}: give {FORMS}")
    if images_root is not None and not images_root.is_dir():
        raise UserError(f"the images folder {str(images_root)!r} is not there: give an existing folder with --images")
    name = spec if spec == "sample" else path.resolve().name
    if is_corpus(path):
        rows, quarantined = read_corpus(path, images_root)
        rows = [row for row in rows if license_classes is None or row.license_class in license_classes]
        items, notes = build_items(rows, kinds=kinds, seed=seed)
        return Dataset(name, images_root or path, tuple(items), tuple(quarantined), tuple(notes), seed)
    if path.is_dir():
        items, quarantined = read_folder(path)
        return Dataset(name, images_root or path, tuple(items), tuple(quarantined), (), seed)
    if path.suffix == ".jsonl":
        items, quarantined = items_jsonl.read_items(path)
    elif path.name.endswith((".json", ".json.gz")):
        raw = read_rows(path)
        reader = omnimedvqa if omnimedvqa.looks_like(raw) else med_r1
        items, quarantined = reader.to_items(raw, path)
    else:
        raise UserError(f"data {spec!r} is of no known form: give {FORMS}")
    return Dataset(name, images_root or path.parent, tuple(items), tuple(quarantined), (), seed)
