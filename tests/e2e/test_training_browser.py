"""The training section in a real browser: it fits every width, filters its completions and says nothing."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from browser import NEEDS_CHROMIUM, SIZES, Tab, chromium
from medproof.report import build

pytestmark = NEEDS_CHROMIUM
__all__ = ["chromium"]


@pytest.fixture(scope="module")
def training_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seeds of one recipe, 3 x 2 stored groups each, and no run."""
    base = tmp_path_factory.mktemp("training")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).resolve().parents[1] / "report"))
        from report_trainings import make_training

        folders = [make_training(base / f"seed{seed}", seed=seed, steps=60) for seed in (0, 1)]
    return build(folders, base / "out")[0]


@pytest.fixture(params=SIZES)
def training_tab(request: pytest.FixtureRequest, chromium: Any, training_page: Path) -> Iterator[Tab]:
    opened = Tab(chromium, training_page.as_uri(), SIZES[request.param])
    yield opened
    opened.check_silence()
    opened.close()


def test_completions_by_step_and_by_what_they_teach(training_tab: Tab) -> None:
    page = training_tab.page
    browser = page.locator("details.completions").first
    browser.locator("summary").click()
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0
    shown = browser.locator("article:visible")
    assert browser.locator("article").count() == 6
    assert shown.count() == 2, "the last step at first"
    assert "Step 60" in shown.first.inner_text()
    browser.locator("select").select_option("")
    assert shown.count() == 6
    browser.locator("input").check()
    assert shown.count() == 3
    browser.locator("select").select_option("40")
    assert shown.count() == 1
    assert "Step 40" in shown.first.inner_text()
    assert shown.first.locator("img").evaluate("image => image.complete && image.naturalWidth") == 28
    assert "<script>alert(1)</script>" in shown.first.inner_text()
