"""The chain browser in a real browser: steps by key, the evidence of each, on a desktop and on a phone."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from browser import NEEDS_CHROMIUM, SIZES, Tab, chromium
from load_module import load_module
from medproof.report import build

pytestmark = NEEDS_CHROMIUM
__all__ = ["chromium"]
FIRST = "#case=case0%2Fmodality"


class ChainTab(Tab):
    """A report, open at the first step of a case."""

    def __init__(self, browser: Any, report: Path, size: tuple[int, int]) -> None:
        super().__init__(browser, report.as_uri(), size, fragment=FIRST)

    def await_case(self, title: str) -> None:
        self.page.wait_for_function("t => document.getElementById('case-title').textContent === t", arg=title)


@pytest.fixture(scope="module")
def bench_report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    sys.modules.setdefault("report_runs", load_module("tests/report/report_runs.py"))
    base = tmp_path_factory.mktemp("bench-browser")
    html, _ = build([load_module("tests/report/bench_runs.py").make_bench_run(base / "run", n=3)], base / "out")
    return html


@pytest.fixture(params=("desktop", "phone"))
def tab(request: pytest.FixtureRequest, chromium: Any, bench_report: Path) -> Iterator[ChainTab]:
    opened = ChainTab(chromium, bench_report, SIZES[request.param])
    yield opened
    opened.check_silence()
    opened.close()


def test_page_never_scrolls_sideways(tab: ChainTab) -> None:
    wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    tab.page.keyboard.press("Escape")
    tab.page.evaluate("document.querySelectorAll('details').forEach(node => { node.open = true; })")
    assert tab.page.evaluate(wide) == 0


def test_steps_of_a_chain_are_walked_by_key_and_by_button(tab: ChainTab) -> None:
    page = tab.page
    tab.await_case("case0/modality")
    assert page.locator("#case-body .steps thead button").count() == 4
    # Independent, teacher-forced, self-conditioned, joint.
    assert page.locator("#case-body .steps tbody tr").count() == 4
    page.keyboard.press("]")
    tab.await_case("case0/lesion_box")
    page.keyboard.press("]")
    page.keyboard.press("]")
    tab.await_case("case0/diagnosis")
    page.keyboard.press("]")  # the last step stays
    tab.await_case("case0/diagnosis")
    page.keyboard.press("[")
    tab.await_case("case0/lesion_shape")
    assert page.locator("#case-body .steps button[aria-current=step]").inner_text().split("\n")[0] == "S3"
    page.locator("#case-body .steps thead button").first.click()
    tab.await_case("case0/modality")
    assert page.locator("#case-body").evaluate("node => node.scrollWidth <= node.clientWidth")


def test_evidence_is_shown_as_box_and_mask_and_can_be_hidden(tab: ChainTab) -> None:
    page = tab.page
    tab.await_case("case0/modality")
    page.wait_for_function("document.querySelector('#case-body canvas.mask').width === 56")
    inside = """() => {
        const c = document.querySelector('#case-body canvas.mask'), p = c.getContext('2d');
        return [[10, 10], [40, 10], [10, 40]].map(([x, y]) => p.getImageData(x, y, 1, 1).data[3]);
    }"""
    page.wait_for_function(f"({inside})()[0] > 0")
    assert page.evaluate(inside)[1:] == [0, 0], "the mask covers what masking the evidence changes, and nothing else"
    mask = page.locator("#case-body canvas.mask").first
    assert mask.is_visible()
    page.uncheck("#box-toggle")
    assert not mask.is_visible()
