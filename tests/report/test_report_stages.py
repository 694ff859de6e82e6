"""The table of training stages on the page and in report.json."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from report_runs import ATTACK, make_run, make_sanity
from test_report_build import Page, page_of

from medproof.report import build
from medproof.runs.store import RunStore

FGSM = "fgsm(linf,8/255)"
CONDITIONS = ("clean", "blank", FGSM, ATTACK)
HEADING = "Training stages under the same attacks"
NASTY = "<img src=x onerror=alert(1)>"


def make_stage(path: Path, kind: str | None, adversarial: bool = False, **changes: Any) -> Path:
    """A run of a model that was trained by `kind`; None: of one that was not."""
    settings = {"conditions": CONDITIONS, "n": 12, "nasty": False, "size": 28, "model": f"runs/{path.name}/model"}
    run = make_run(path, **(settings | changes))
    about: dict[str, Any] = {"weights_hash": path.name}
    if kind is not None:
        section = {"kind": "pgd", "eps": "8/255", "share": 1.0} if adversarial else None
        about["training"] = {"kind": kind, "steps": 9, "init": "nano", "recipe": {"adversarial": section}}
    RunStore(run).update_meta(lambda meta: {**meta, **about})
    return run


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Page, str, dict[str, Any]]:
    """Page, its source and its numbers: base, SFT, AT-GRPO with direct prompt, AT-GRPO with reasoning."""
    base = tmp_path_factory.mktemp("stages")
    runs = [
        make_stage(base / "thinking", "grpo", adversarial=True, mode="think"),
        make_stage(base / "robust", "grpo", adversarial=True, sanity=make_sanity()),
        make_stage(base / "start", None),
        make_stage(base / NASTY, "sft"),
    ]
    html, numbers = build(runs, base / "out")
    text = html.read_text(encoding="utf-8")
    return page_of(html), text, json.loads(numbers.read_text(encoding="utf-8"))


def section_of(page: Page) -> str:
    return page.text[page.text.index(HEADING) : page.text.index("Accuracy under each condition")]


def test_rows_stand_in_the_order_of_the_stages(built: tuple[Page, str, dict[str, Any]]) -> None:
    page, _, report = built
    rows = report["stages"]["rows"]
    assert [(row["stage"], row["mode"], row["run"]) for row in rows] == [
        ("base", "direct", 2),
        ("SFT", "direct", 3),
        ("AT-GRPO", "direct", 1),
        ("AT-GRPO", "think", 0),
    ]
    shown = section_of(page)
    places = [shown.index(words) for words in ("base start", "SFT", "AT-GRPO robust", "AT-GRPO thinking")]
    assert places == sorted(places)
    assert "#stages" in {attributes["href"] for attributes in page.all("a")}
    assert NASTY in page.text
    assert not [attributes for attributes in page.all("img") if attributes.get("src") == "x"]


def test_no_robust_number_without_what_the_model_sees(built: tuple[Page, str, dict[str, Any]]) -> None:
    page, _, report = built
    shown = section_of(page)
    for row in report["stages"]["rows"]:
        assert f"{100 * row['blank']['accuracy']:.1f}\u00a0%" in shown.replace(" %", "\u00a0%")
        for cell in row["cells"].values():
            assert cell["RA_star"]["value"] <= cell["RA"]["value"]
    # Two attacks and the worst case, in the table and by modality: after each head RA stands RA*.
    assert shown.count("RA RA* ") == 2 * 3
    assert len(re.findall(r"\bRA (?!RA\*|may be called)", shown)) == 0


def test_robust_accuracy_is_said_of_the_checked_row_alone(built: tuple[Page, str, dict[str, Any]]) -> None:
    shown = section_of(built[0])
    assert shown.count("robust accuracy") == 1
    assert shown.count("validated robust accuracy") == 1
    assert shown.count("not checked accuracy under these attacks") == 3


def test_rationales_and_tests_have_their_tables(built: tuple[Page, str, dict[str, Any]]) -> None:
    page, _, report = built
    shown = section_of(page)
    assert "Does the reasoning hold?" in shown
    assert [bool(row["reasoning"]) for row in report["stages"]["rows"]] == [False, False, False, True]
    # Three direct rows make three pairs; the think row is of another model. Clean, two attacks and the worst case.
    assert len(report["stages"]["tests"]) == 3 * 4
    assert shown.count(" → ") == 3 * 4
    assert all(head.get("scope") in ("col", "row", "colgroup", "rowgroup") for head in page.all("th"))


def test_the_section_needs_an_attack_that_two_runs_share(tmp_path: Path) -> None:
    runs = [make_stage(tmp_path / "a", None), make_stage(tmp_path / "b", "sft", conditions=("clean", "blank"))]
    html, numbers = build(runs, tmp_path)
    assert json.loads(numbers.read_text(encoding="utf-8"))["stages"] is None
    assert HEADING not in html.read_text(encoding="utf-8")
