"""Train x test matrices on the page, and a page of more runs than colours can tell apart."""

import json
from pathlib import Path
from typing import Any

import pytest
from report_runs import MODALITIES, make_run
from test_report_build import Page, page_of

from medproof.report import build
from medproof.report.run_view import SIDE_BY_SIDE, labels
from medproof.runs.store import RunStore

NASTY = "<img src=x onerror=alert(1)> & CT"


def trained(path: Path, modality: str | None) -> Path:
    """A run of a model trained on one modality (None: the model that all began from), under OUT/model."""
    run = make_run(path, conditions=("clean", "blank"), n=16, nasty=False, size=28, model=f"runs/{path.name}/model")
    about: dict[str, Any] = {"weights_hash": "start"}
    if modality is not None:
        filters = {"modalities": [modality], "question_types": None}
        made = {"kind": "grpo", "steps": 9, "init": "runs/early/model", "dataset": {"name": "sample"}}
        about = {"weights_hash": modality, "training": {**made, "filters": filters, "init_weights_hash": "start"}}
    RunStore(run).update_meta(lambda meta: {**meta, **about})
    return run


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> tuple[Page, dict[str, Any]]:
    """The page and report.json of six runs: before training, one per modality, and one with a name that is markup."""
    base = tmp_path_factory.mktemp("many")
    runs = [trained(base / "initial", None), *(trained(base / f"m{i}", name) for i, name in enumerate(MODALITIES))]
    html, numbers = build([*runs, trained(base / "odd", NASTY)], base / "out")
    return page_of(html), json.loads(numbers.read_text(encoding="utf-8"))


def test_matrices_with_the_blind_one_beside(many: tuple[Page, dict[str, Any]]) -> None:
    page, report = many
    assert set(report["transfer"]) == {"modality"}
    assert set(report["transfer"]["modality"]) == {"clean", "blank"}
    rows = [row["train"] for row in report["transfer"]["modality"]["clean"]["rows"]]
    assert rows == ["before training", *sorted([*MODALITIES, NASTY])]
    section = page.text[
        page.text.index("What training carries over") : page.text.index("Accuracy under each condition")
    ]
    assert section.index("Modality · Clean image") < section.index("Modality · Blank image")
    assert "Before this training" in section
    assert section.count(" own ") == 2 * len(MODALITIES) + 1, "a mark per model and condition, and the word in the text"
    assert "#transfer" in {attributes["href"] for attributes in page.all("a")}


def test_its_own_column_is_no_warning(many: tuple[Page, dict[str, Any]]) -> None:
    stamps = [attributes["class"] for attributes in many[0].all("span") if "stamp" in (attributes.get("class") or "")]
    assert stamps.count("stamp own") == 2 * len(MODALITIES)


def test_names_stay_text(many: tuple[Page, dict[str, Any]]) -> None:
    page, _ = many
    assert NASTY in page.text
    assert not [attributes for attributes in page.all("img") if attributes.get("src") == "x"]


def test_many_runs_are_listed_not_overlaid(many: tuple[Page, dict[str, Any]]) -> None:
    page, report = many
    assert len(report["runs"]) == 6 > SIDE_BY_SIDE
    titles = " ".join(attributes.get("aria-labelledby") or "" for attributes in page.all("svg"))
    assert "intervals-t" not in titles
    assert "reliance-0-t" not in titles
    assert len(page.json("case-data")["runs"]) == SIDE_BY_SIDE
    assert f"Replies of the first {SIDE_BY_SIDE} runs" in page.text
    assert "6 models on sample" in page.text
    headline = page.text[page.text.index("Accuracy under each condition") :]
    assert all(f"m{i} · direct" in headline for i in range(4))


def test_tables_stay_well_formed(many: tuple[Page, dict[str, Any]]) -> None:
    page, _ = many
    assert len(page.all("table")) == len(page.all("caption"))
    assert all(head.get("scope") in ("col", "row", "colgroup", "rowgroup") for head in page.all("th"))


def test_provenance_says_what_the_model_was_trained_on(many: tuple[Page, dict[str, Any]]) -> None:
    assert "grpo, 9 steps from runs/early/model on sample (only modalities X-Ray)" in many[0].text


def test_runs_without_training_have_no_matrix(tmp_path: Path) -> None:
    html, numbers = build([make_run(tmp_path / "run", conditions=("clean",), n=3)], tmp_path)
    assert json.loads(numbers.read_text(encoding="utf-8"))["transfer"] is None
    assert "transfer" not in {attributes.get("id") for _, attributes in page_of(html).tags}


def test_trained_models_are_called_by_their_folder() -> None:
    summaries = [{"model": f"runs/{name}/model", "mode": "direct"} for name in ("a", "b")]
    assert labels(summaries) == ["a · direct", "b · direct"]
    assert labels([{"model": "model"}]) == ["model"]
    assert labels([{"model": "Qwen/Qwen2-VL-2B-Instruct"}]) == ["Qwen2-VL-2B-Instruct"]
