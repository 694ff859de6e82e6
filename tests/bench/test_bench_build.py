"""The planted corpus: known answers, one text per block, oracle, gate, evidence, and the same bytes again."""

import json
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medproof.bench import Built, build, steps, task_of
from medproof.bench.catalog import TASKS
from medproof.bench.oracle import oracle_answer, oracle_misses
from medproof.datasets import load
from medproof.records import Item
from planted_corpus import BOXES, lesion, planted, write

BY_SLUG = {task.slug: task for task in TASKS}
QUARTERS = ("upper left", "upper right", "lower left", "lower right")


def of(built: Built, slug: str) -> list[Item]:
    return [item for item in built.bench.items if task_of(item) == slug]


def number(item: Item) -> int:
    return int(item.case.removeprefix("us-"))


def test_answers_are_those_that_were_planted(planted_out: tuple[Path, Built]) -> None:
    built = planted_out[1]
    assert {item.answer for item in of(built, "lesion_quarter")} == set(QUARTERS)
    for item in of(built, "lesion_quarter"):
        assert item.answer == QUARTERS[(number(item) // 4) % 4]
    for item in of(built, "finding_present"):
        assert item.answer == ("yes" if number(item) % 4 < 2 else "no")
    for item in of(built, "malignancy"):
        assert item.answer == ("malignant" if (number(item) // 16) % 2 else "benign")
    for item in of(built, "lesion_area"):
        share = {0: 192, 1: 200, 2: 400, 3: 256}[(number(item) // 4) % 4] / 4096
        assert item.answer == ("2 to 8 % of the image" if share < 0.08 else "8 to 25 % of the image")
    for item in of(built, "lesion_box"):
        x0, y0, x1, y1 = (round(1000 * edge / 64) for edge in BOXES[(number(item) // 4) % 4])
        assert item.answer == f"[{x0}, {y0}, {x1}, {y1}]"


def test_images_that_share_a_text_have_every_option_right_once(planted_out: tuple[Path, Built]) -> None:
    """So no reader of the text alone can beat chance, whatever it has learnt."""
    built = planted_out[1]
    texts: defaultdict[tuple[str, str, str, tuple[str, ...]], list[str]] = defaultdict(list)
    for item in built.bench.items:
        texts[task_of(item), item.split, item.question, item.options].append(item.answer)
    assert len(built.bench.items) > 100
    for (_, _, _, options), answers in texts.items():
        assert len({answers.count(option) for option in options}) == 1
    for gate in built.bench.gates.values():
        assert gate.excess <= 0
        assert gate.text_prior == gate.test_chance


def test_the_oracle_reads_the_stored_evidence(planted_out: tuple[Path, Built]) -> None:
    out, built = planted_out
    assert built.misses == ()
    assert built.card["oracle"]["accuracy"] == 1
    item = of(built, "lesion_quarter")[0]
    other = next(i for i in of(built, "lesion_quarter") if i.answer != item.answer)
    # with another image's evidence it gives that image's answer
    swapped = item.model_copy(update={"evidence": other.evidence})
    assert oracle_answer(swapped, BY_SLUG, out) == other.answer
    assert oracle_misses([item, swapped], BY_SLUG, out) == [swapped.id]


def test_items_name_evidence_and_parents(planted_out: tuple[Path, Built]) -> None:
    built = planted_out[1]
    cases: defaultdict[str, list[Item]] = defaultdict(list)
    for item in built.bench.items:
        cases[item.case].append(item)
        evidence = item.evidence
        assert evidence is not None
        assert evidence.boxes or evidence.mask or item.facts["annotation"]
    for items in cases.values():
        ids = {item.id for item in items}
        for place, item in enumerate(steps(items)):
            assert set(item.parents) <= ids
            assert item.parents or item.stage == "S1" or place == 0
    with_all = next(items for items in cases.values() if any(task_of(i) == "malignancy" for i in items))
    last = next(item for item in with_all if task_of(item) == "malignancy")
    assert {parent.rpartition("/")[2] for parent in last.parents} <= {"lesion_area", "lesion_shape", "lesion_border"}


def test_the_written_items_are_a_data_set(planted_out: tuple[Path, Built]) -> None:
    out, built = planted_out
    dataset = load(out / "items.jsonl")
    dataset.check_images()
    assert list(dataset.items) == built.bench.items
    assert not dataset.quarantined
    card = json.loads((out / "card.json").read_text(encoding="utf-8"))
    assert card["items"]["train"] + card["items"]["test"] == len(built.bench.items)
    assert [row["task"] for row in card["tasks"]] == list(built.bench.gates)
    assert "| S2 | `lesion_quarter` | quadrant |" in (out / "card.md").read_text(encoding="utf-8")


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_rebuilt_byte_for_byte(planted_root: Path, planted_out: tuple[Path, Built], tmp_path: Path) -> None:
    build(str(planted_root), tmp_path / "again")
    assert contents(tmp_path / "again") == contents(planted_out[0])
    build(str(planted_root), tmp_path / "again")  # over itself
    assert contents(tmp_path / "again") == contents(planted_out[0])
    other = build(str(planted_root), None, seed=1)
    assert [item.options for item in other.bench.items] != [item.options for item in planted_out[1].bench.items]


def test_what_cannot_be_seen_is_not_asked(tmp_path: Path) -> None:
    """A lesion of 3 x 3 of 256 x 256 pixels vanishes on the grid."""
    rows = planted(16)
    row, _, _ = lesion(100, (8, 8, 11, 11))
    mask = np.zeros((256, 256), dtype=np.uint8)
    mask[8:11, 8:11] = 255
    rows.append((row | {"width": 256, "height": 256}, np.asarray(Image.new("L", (256, 256), 90)), mask))
    built = build(str(write(tmp_path, rows)), None)
    assert not any(item.case == "us-100" and item.evidence.boxes for item in built.bench.items)
    assert built.card["dropped"]["lesion_quarter: evidence not visible on the grid"] == 1


LEAK = """
tasks:
  - task: nature
    stage: S4
    column: nature
    question: "Seen {hint}: what is the nature of this picture?"
    after: [finding_present]
  - task: tone
    stage: S3
    column: tone
    question: What tone is it?
"""


def with_attributes(folder: Path) -> Path:
    """`nature` follows from the word that its question quotes; `tone` does not."""
    rows = planted(48)
    for place, (row, _, _) in enumerate(rows):
        nature = place // 2 % 2
        row["attributes"] = {
            "nature": ("calm", "wild")[nature],
            "hint": ("at night", "by day")[nature],
            "tone": ("warm", "cold")[place // 4 % 2],
        }
    root = write(folder, rows)
    (root / "bench.yaml").write_text(LEAK, encoding="utf-8")
    return root


def test_the_gate_drops_a_planted_leak_and_nothing_else(tmp_path: Path) -> None:
    built = build(str(with_attributes(tmp_path)), tmp_path / "out")
    assert "nature" not in built.bench.gates
    assert built.card["dropped"]["nature / Ultrasound / planted/corpus: answered without the image"] == 48
    assert len(of(built, "tone")) == 48
    assert built.misses == ()
    tone = of(built, "tone")[0]
    assert json.loads(tone.facts["annotation"]) == {"tone": tone.answer}


def test_labels_of_a_patient_are_no_visual_diagnosis(tmp_path: Path) -> None:
    rows = planted(16)
    for place, (row, _, _) in enumerate(rows):
        name = "lung adenocarcinoma (patient-level)" if place % 4 < 2 else "pulmonary nodule"
        row |= {"modality": "CT", "label": name}
    built = build(str(write(tmp_path, rows)), None)
    assert "diagnosis" not in built.bench.gates
    assert not any("adenocarcinoma" in option for item in built.bench.items for option in item.options)


def test_sides_need_a_known_orientation(tmp_path: Path, planted_out: tuple[Path, Built]) -> None:
    assert "lesion_side" not in planted_out[1].bench.gates
    root = write(tmp_path, planted())
    (root / "bench.yaml").write_text("orientation: {Ultrasound: axial}\n", encoding="utf-8")
    built = build(str(root), root / "out")
    assert built.misses == ()
    for item in of(built, "lesion_side"):
        left_of_picture = (number(item) // 4) % 4 in (0, 2)
        assert item.answer == ("patient's right" if left_of_picture else "patient's left")
        assert item.facts["orientation"] == "axial"
        assert item.facts["mirror"] == "flip"
    assert len(of(built, "lesion_side")) >= 8


@pytest.mark.parametrize(("spacing", "asked"), [(None, False), (1.0, True)])
def test_millimetres_need_a_known_spacing(tmp_path: Path, spacing: float | None, asked: bool) -> None:
    """Diameters of 15.6 and 23.3 pixels fall into bins; 20 and 28.3 are near or between edges."""
    rows = []
    for place in range(24):
        row, image, mask = lesion(place, ((8, 8, 20, 18), (30, 30, 52, 38))[place // 2 % 2])
        rows.append((row | ({"spacing_mm": spacing} if spacing else {}), image, mask))
    built = build(str(write(tmp_path, rows)), tmp_path / "out")
    assert ("lesion_diameter" in built.bench.gates) == asked
    for item in of(built, "lesion_diameter"):
        assert item.answer == ("10 to 20 mm", "20 to 30 mm")[number(item) // 2 % 2]
        assert item.facts["spacing_mm"] == "1"
