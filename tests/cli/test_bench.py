"""`medproof bench build`: what it prints and writes, and one line for everything that is wrong."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_fakes import Cli, FakeModel

from planted_corpus import planted, write


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return write(tmp_path / "corpus", planted())


def test_build_then_run(cli: Cli, corpus: Path, fake_model: FakeModel) -> None:
    ran = cli("bench", "build", "--data", corpus, "--out", "b")
    assert ran.code == 0, ran.err
    assert "oracle 100.0 %" in ran.out
    assert ran.out.splitlines()[-1] == "next: medproof bench run --model nano --data b --out runs/bench"
    assert json.loads(Path("b/card.json").read_text(encoding="utf-8"))["name"] == "corpus"
    answered = cli("run", "--model", "fake", "--data", "b/items.jsonl", "--condition", "clean", "--out", "r")
    assert answered.code == 0, answered.err


def test_dry_run_writes_nothing(cli: Cli, corpus: Path) -> None:
    ran = cli("bench", "build", "--data", corpus, "--out", "b", "--dry-run")
    assert ran.code == 0
    assert "would write" in ran.out
    assert not Path("b").exists()


def test_help(cli: Cli) -> None:
    assert "build" in cli("bench", "--help").out
    assert "--dry-run" in cli("bench", "build", "--help").out


def test_no_patients_is_a_warning(cli: Cli, tmp_path: Path) -> None:
    rows = [(row | {"patient": None}, image, mask) for row, image, mask in planted()]
    ran = cli("bench", "build", "--data", write(tmp_path / "c", rows), "--out", "b")
    assert ran.code == 0
    assert "warning: the corpus names no patients: split by image" in ran.err


def changed(**changes: Any) -> Callable[[Path], None]:
    """Rewrites the first row of a corpus."""

    def change(root: Path) -> None:
        file = root / "manifest" / "all.jsonl"
        lines = file.read_text(encoding="utf-8").splitlines()
        lines[0] = json.dumps(json.loads(lines[0]) | changes)
        file.write_text("\n".join(lines), encoding="utf-8")

    return change


def spec(text: str) -> Callable[[Path], None]:
    return lambda root: (root / "bench.yaml").write_text(text, encoding="utf-8") and None


def other_mask(root: Path) -> None:
    from PIL import Image

    Image.fromarray(np.ones((8, 9), dtype=np.uint8)).save(root / "masks" / "us-000.png")


TASK = "{{task: {0}, stage: {1}, column: label, question: What is it, after: [{2}]}}"


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (other_mask, "all.jsonl:1: the mask 'masks/us-000.png' has 9x8 pixels, its image 64x64"),
        (
            changed(boxes=[{"label": "lesion", "xyxy": [60, 0, 70, 9]}]),
            "all.jsonl:1: the box 'lesion' [60, 0, 70, 9] leaves the image of 64x64 pixels",
        ),
        (changed(boxes=[{"label": "lesion", "xyxy": [9, 0, 7, 9]}]), "all.jsonl:1: boxes.0: box 'lesion' has xyxy"),
        (changed(width=65), "all.jsonl:1: the image 'images/us-000.png' has 64x64 pixels, its row says 65x64"),
        (changed(mask_classes={"7": "lesion", "8": "rim"}), "holds the value 255, which mask_classes does not name"),
        (changed(id="us-001"), "all.jsonl:2: id 'us-001' occurs twice"),
        (changed(image="images/none.png"), "all.jsonl:1: file 'images/none.png' is not in"),
        (changed(split="dev"), "all.jsonl:1: split 'dev' is neither train nor test"),
        (changed(image="../../x.png"), "leaves the data folder"),
        (
            spec("tasks: [" + TASK.format("t", "S5", "") + "]"),
            "tasks.0.stage: Input should be 'S1', 'S2', 'S3' or 'S4'",
        ),
        (
            spec("tasks: [" + TASK.format("a", "S3", "b") + ", " + TASK.format("b", "S3", "a") + "]"),
            "the chain of tasks goes in a circle: a -> b -> a",
        ),
        (spec("tasks: [" + TASK.format("a", "S2", "diagnosis") + "]"), "'a' of S2 builds on 'diagnosis' of S4"),
        (spec("tasks: [" + TASK.format("a", "S2", "nothing") + "]"), "builds on 'nothing', which is not there"),
        (spec("tasks: [" + TASK.format("modality", "S1", "") + "]"), "task 'modality' is defined twice"),
        (spec("colour: red"), "colour: Extra inputs are not permitted"),
        (spec("tasks: ["), "is no mapping in YAML"),
        (spec("root: nowhere"), "the root 'nowhere' is no folder"),
        (spec("annotations: nothing.jsonl"), "has no nothing.jsonl"),
        (spec("license_classes: [copyleft]"), "holds no row of the wanted licence classes"),
    ],
)
def test_bad_input(cli: Cli, corpus: Path, spoil: Callable[[Path], None], complaint: str) -> None:
    spoil(corpus)
    ran = cli("bench", "build", "--data", corpus, "--out", "b")
    assert ran.code == 2
    assert complaint in ran.complaint
    assert not Path("b").exists()


@pytest.mark.parametrize("data", ["nowhere", "."])
def test_no_corpus(cli: Cli, data: str) -> None:
    ran = cli("bench", "build", "--data", data, "--out", "b")
    assert ran.code == 2
    assert "give sample, a folder with manifest/*.jsonl" in ran.complaint
