"""The sheet in a real browser: answer by mouse and by key, reload, save the CSV, import it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from browser import NEEDS_CHROMIUM, SIZES, Tab, chromium  # noqa: F401
from medproof.cli import invoke
from medproof.datasets import load
from medproof.interchange.sheet import row_id
from medproof.runs.store import read_run
from medproof.scoring.scored import score

pytestmark = NEEDS_CHROMIUM


@pytest.fixture(scope="module")
def page(bench: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sheet") / "sheet.html"
    assert invoke(["bench", "sheet", "--data", str(bench), "--limit", "4", "--out", str(path)]) == 0
    return path


@pytest.fixture(params=["desktop", "phone"])
def tab(request: pytest.FixtureRequest, chromium: Any, page: Path) -> Iterator[Tab]:  # noqa: F811
    opened = Tab(chromium, page.as_uri(), SIZES[request.param])
    yield opened
    opened.close()


def test_answer_save_import(tab: Tab, bench: Path, tmp_path: Path) -> None:
    """The first by mouse, the second by key, the third "cannot tell"; the fourth stays open. All survive a reload."""
    data = load(bench / "items.jsonl")
    page = tab.page
    shown = page.evaluate("JSON.parse(document.getElementById('content').textContent).rows.map(row => row.id)")
    items = {row_id(item): item for item in data.items}
    first, second, third, fourth = (items[row] for row in shown)
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    assert page.locator("#question").inner_text() == first.question
    assert page.evaluate("document.getElementById('picture').naturalWidth") == 40
    page.get_by_role("radio", name=first.answer, exact=False).check()
    page.get_by_role("button", name="Next").click()
    page.keyboard.press(second.answer_letter.lower())
    page.keyboard.press("Enter")
    page.keyboard.press("0")
    page.reload()
    page.wait_for_function("document.getElementById('count').textContent.includes('3 answered')")
    assert page.locator("#question").inner_text() == fourth.question
    assert page.locator("#options *:not(label, input, b, span)").count() == 0
    with page.expect_download() as download:
        page.get_by_role("button", name="Save the answers").click()
    assert "Still open: 1" in page.locator("#notice").inner_text()
    answers = tmp_path / "answers.csv"
    download.value.save_as(answers)
    out = tmp_path / "run"
    assert invoke(["bench", "import", str(answers), "--data", str(bench), "--out", str(out), "--name", "r"]) == 0
    outcomes = score(read_run(out)).outcomes["clean"]
    found = [outcomes[item.id].status for item in (first, second, third, fourth)]
    assert found == ["correct", "correct", "abstain", "error"]
    tab.check_silence()


def test_every_control_can_be_reached(tab: Tab) -> None:
    reached = []
    for _ in range(4):
        tab.page.keyboard.press("Tab")
        reached.append(tab.page.evaluate("document.activeElement.id || document.activeElement.type"))
    assert reached == ["radio", "next", "open", "save"]
    tab.check_silence()
