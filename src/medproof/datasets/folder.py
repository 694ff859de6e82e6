"""A folder of question files, Med-R1's or OmniMedVQA's, read as one data set."""

from pathlib import Path

from medproof.datasets import med_r1, omnimedvqa
from medproof.datasets.json_rows import read_rows
from medproof.datasets.quarantine import Quarantined
from medproof.errors import UserError
from medproof.records import Item


def read_folder(folder: Path) -> tuple[list[Item], list[Quarantined]]:
    """Items of every question file under `folder`, in the order of their paths.

    A JSON list without questions is set aside whole, and so is an item whose id an earlier file has. Raises UserError
    where there is no .json or .json.gz file, or one of them is no JSON list.
    """
    paths = sorted(p for p in folder.rglob("*") if p.is_file() and p.name.endswith((".json", ".json.gz")))
    if not paths:
        raise UserError(f"{folder} holds neither manifest/*.jsonl nor .json files: give a data folder")
    stems = [med_r1.file_stem(path) for path in paths]
    items: dict[str, Item] = {}
    quarantined: list[Quarantined] = []
    for path, stem in zip(paths, stems, strict=True):
        where = path.relative_to(folder).as_posix()
        rows = read_rows(path)
        if omnimedvqa.looks_like(rows):
            made, bad = omnimedvqa.to_items(rows, path, label=where)
        elif any(isinstance(row, dict) and "problem" in row for row in rows):
            prefix = stem if stems.count(stem) == 1 else f"{path.relative_to(folder).parent.as_posix()}/{stem}"
            made, bad = med_r1.to_items(rows, path, prefix=prefix, label=where)
        else:
            made, bad = [], [Quarantined(where, "no row has a question: neither a Med-R1 nor an OmniMedVQA file")]
        repeated = [item for item in made if item.id in items]
        quarantined += bad
        quarantined += [Quarantined(where, f"id {item.id!r} occurs in an earlier file") for item in repeated]
        items |= {item.id: item for item in made if item.id not in items}
    return list(items.values()), quarantined
