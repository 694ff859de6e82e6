"""The rationale audit on the page and in report.json."""

import json
from pathlib import Path
from typing import Any

import pytest
from report_runs import ATTACK, make_run
from test_report_build import Page, page_of

from medproof.report import build


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Page, dict[str, Any]]:
    base = tmp_path_factory.mktemp("rationale")
    settings: dict[str, Any] = {"conditions": ("clean", "blank", ATTACK), "n": 12, "size": 28}
    says = "<think>This is CT. It shows the skin. There is a nevus.</think><answer>B</answer>"
    thinking = make_run(base / "thinking", mode="think", says=says, **settings)
    html, numbers = build([thinking, make_run(base / "plain", **settings)], base / "out")
    return page_of(html), json.loads(numbers.read_text(encoding="utf-8"))


def test_every_condition_of_a_run_with_reasoning(built: tuple[Page, dict[str, Any]]) -> None:
    page, report = built
    thinking, plain = (run["rationale"] for run in report["runs"])
    assert plain is None
    assert set(thinking) == {"clean", "blank", ATTACK}
    # Every fourth of the twelve items is CT, all show the skin.
    assert thinking["clean"]["by_kind"]["modality"]["value"] == pytest.approx(3 / 12)
    assert thinking["clean"]["by_kind"]["region"]["value"] == 1.0
    assert thinking[ATTACK]["against_clean"]["neither"]["value"] == 1.0
    shown = page.text[page.text.index("Does the story hold?") :]
    assert "58.3 %" in shown, "of three claims: a quarter, all and half"
    assert "PGD" in shown


def test_without_reasoning_there_is_no_section(tmp_path: Path) -> None:
    html, _ = build([make_run(tmp_path / "plain", conditions=("clean",), n=4, size=28)], tmp_path / "out")
    assert 'id="rationale"' not in html.read_text(encoding="utf-8")
