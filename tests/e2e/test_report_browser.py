"""The report in a real browser: Chromium, headless, from the file system, at desktop and phone width."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from browser import NEEDS_CHROMIUM, SIZES, Tab, chromium
from load_module import load_module
from medproof.report import build

pytestmark = NEEDS_CHROMIUM
__all__ = ["chromium"]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of two runs of 24 items with nasty text."""
    base = tmp_path_factory.mktemp("browser")
    make_run = load_module("tests/report/report_runs.py").make_run
    runs = [make_run(base / "direct"), make_run(base / "think", mode="think")]
    html, _ = build(runs, base / "out")
    return html


class ReportTab(Tab):
    """A report, with its dialog of cases."""

    def __init__(self, browser: Any, report: Path, size: tuple[int, int], fragment: str = "") -> None:
        super().__init__(browser, report.as_uri(), size, fragment=fragment)

    def count(self) -> int:
        return int(self.page.locator("#case-list > li").count())

    def await_case(self, title: str | None = None) -> None:
        """Until the dialog is open, on that case; links are followed after the press returns."""
        shown = "t => document.getElementById('case-dialog').open"
        shown += " && (t === null || document.getElementById('case-title').textContent === t)"
        self.page.wait_for_function(shown, arg=title)

    def await_closed(self) -> None:
        self.page.wait_for_function("!document.getElementById('case-dialog').open")

    def is_open(self) -> bool:
        return bool(self.page.locator("#case-dialog").evaluate("dialog => dialog.open"))


@pytest.fixture(params=SIZES)
def tab(request: pytest.FixtureRequest, chromium: Any, report: Path) -> Iterator[ReportTab]:
    opened = ReportTab(chromium, report, SIZES[request.param])
    yield opened
    opened.check_silence()
    opened.close()


@pytest.fixture
def desktop(chromium: Any, report: Path) -> Iterator[ReportTab]:
    opened = ReportTab(chromium, report, SIZES["desktop"])
    yield opened
    opened.check_silence()
    opened.close()


def test_page_never_scrolls_sideways(tab: ReportTab) -> None:
    wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert tab.page.evaluate(wide) == 0
    tab.page.evaluate("document.querySelectorAll('details').forEach(node => { node.open = true; })")
    assert tab.page.evaluate(wide) == 0


def test_filter_open_look_and_close(tab: ReportTab) -> None:
    page = tab.page
    assert tab.count() == 24
    page.select_option("#f-modality", "CT")
    assert tab.count() == 6
    assert page.locator("#case-count").inner_text() == "6 of 24 cases"
    page.locator("#case-list a").first.click()
    tab.await_case()
    page.wait_for_function("document.querySelectorAll('#case-body .frame img').length === 2")
    page.wait_for_function("[...document.querySelectorAll('#case-body img')].every(i => i.complete && i.naturalWidth)")
    assert page.locator("#case-body .options li.right").count() == 1
    assert page.locator("#case-body .replies > li").count() == 12
    fits = "dialog => dialog.scrollWidth <= dialog.clientWidth && dialog.getBoundingClientRect().right <= innerWidth"
    assert page.locator("#case-dialog").evaluate(fits)
    body = page.locator("#case-body")
    assert body.evaluate("node => node.scrollWidth <= node.clientWidth")
    page.click("#case-close")
    tab.await_closed()
    page.wait_for_function("!location.hash.includes('case=')")


def test_filters_agree_with_the_data(desktop: ReportTab) -> None:
    page = desktop.page
    data = page.evaluate("JSON.parse(document.getElementById('case-data').textContent)")
    attack = "pgd(linf,8/255,20)"
    wrong = [c for c in data["cases"] if any(run[attack]["status"] == "wrong" for run in c["runs"])]
    page.select_option("#f-condition", attack)
    page.select_option("#f-outcome", "wrong")
    assert desktop.count() == len(wrong) > 0
    page.select_option("#f-run", "1")
    assert desktop.count() == sum(c["runs"][1][attack]["status"] == "wrong" for c in data["cases"])
    page.click("#filters button[type=reset]")
    page.wait_for_function("document.querySelectorAll('#case-list > li').length === 24")
    page.check("#f-flip")
    page.select_option("#f-run", "0")
    page.select_option("#f-condition", attack)
    flips = [
        c["id"]
        for c in data["cases"]
        if c["runs"][0]["clean"]["status"] == "correct" and c["runs"][0][attack]["status"] != "correct"
    ]
    assert desktop.count() == len(flips) > 0
    page.click("#filters button[type=reset]")
    page.fill("#f-text", "RACCOON nothing")
    assert desktop.count() == 0
    assert page.locator("#case-count").inner_text() == "0 of 24 cases"
    page.fill("#f-text", "image 13")
    assert desktop.count() == 1


def test_keyboard(desktop: ReportTab) -> None:
    page = desktop.page
    ids = page.evaluate("JSON.parse(document.getElementById('case-data').textContent).cases.map(c => c.id)")
    page.locator("#case-list a").first.focus()
    assert page.locator("#case-list a[tabindex='0']").count() == 1, "one tab stop for the whole list"
    page.keyboard.press("j")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("k")
    page.keyboard.press("Enter")
    desktop.await_case(ids[1])
    page.keyboard.press("ArrowRight")
    page.keyboard.press("j")
    desktop.await_case(ids[3])
    page.keyboard.press("ArrowLeft")
    desktop.await_case(ids[2])
    page.keyboard.press("Escape")
    desktop.await_closed()
    on_card = "id => decodeURIComponent(document.activeElement.getAttribute('href') || '') === '#case=' + id"
    page.wait_for_function(on_card, arg=ids[2])  # focus comes back to the case last seen, not to the first one
    page.keyboard.press("ArrowDown")
    columns = page.evaluate(
        "getComputedStyle(document.getElementById('case-list')).gridTemplateColumns.split(' ').length"
    )
    page.wait_for_function(on_card, arg=ids[2 + columns])


def test_deep_link_and_history(chromium: Any, report: Path) -> None:
    tab = ReportTab(chromium, report, SIZES["desktop"], "#case=case%2F005%20%C3%A9")
    tab.await_case("case/005 é")
    tab.check_silence()
    tab.close()
    for fragment in ("#case=nobody", "#case=%E0%A4%A", "#robust"):
        other = ReportTab(chromium, report, SIZES["desktop"], fragment)
        assert not other.is_open()
        other.check_silence()
        other.close()


def test_nasty_text_is_shown_and_does_nothing(desktop: ReportTab) -> None:
    page = desktop.page
    page.fill("#f-text", "image 0 show")
    assert "<script>alert(1)</script><img src=x onerror=alert(2)>" in page.locator("#case-list .q").first.text_content()
    page.locator("#case-list a").first.click()
    assert "<script>alert(1)</script>" in page.locator("#case-body .question").inner_text()
    assert page.locator("#case-body script, #case-body b").count() == 0


def test_difference_picture_and_its_scale(desktop: ReportTab) -> None:
    page = desktop.page
    page.locator("#case-list a").first.click()
    page.locator("#case-body .tools select").first.select_option("0|pgd(linf,8/255,20)")
    caption = page.locator(".diff figcaption").inner_text()
    assert re.search(r"Difference × 8\b", caption)
    assert "Largest change 8 of 255 grey levels" in caption
    painted = """() => {
        const c = document.querySelector('.diff canvas');
        return [...new Set(c.getContext('2d').getImageData(0, 0, c.width, c.height).data)].sort((a, b) => a - b);
    }"""
    page.wait_for_function(f"({painted})().length > 2")
    assert page.evaluate(painted) == [64, 192, 255], "128 - 8 x 8, 128 + 8 x 8, and opaque"
    page.locator("#case-body .tools select").nth(1).select_option("2")
    page.wait_for_function(f"({painted})()[0] === 112")
    assert page.evaluate(painted) == [112, 144, 255]
    assert "not exact" not in page.locator(".diff figcaption").inner_text()


def test_evidence_boxes_lie_where_they_should_and_toggle(desktop: ReportTab) -> None:
    page = desktop.page
    page.fill("#f-text", "image 5 show")
    page.locator("#case-list a").first.click()
    place = page.evaluate("""() => {
        const image = document.querySelector('#case-body .frame img').getBoundingClientRect();
        const box = document.querySelector('#case-body .frame rect').getBoundingClientRect();
        return [box.left - image.left, box.top - image.top, box.right - image.left, box.bottom - image.top]
            .map((v, i) => v / (i % 2 ? image.height : image.width));
    }""")
    assert place == pytest.approx([8 / 64, 10 / 64, 40 / 64, 44 / 64], abs=0.01)
    overlay = page.locator("#case-body svg.boxes").first
    assert overlay.is_visible()
    page.uncheck("#box-toggle")
    assert not overlay.is_visible()
    page.keyboard.press("Escape")
    page.locator("#case-list a").first.click()
    assert not page.locator("#case-body svg.boxes").first.is_visible(), "the choice stays from case to case"


def test_missing_picture_is_labelled(chromium: Any, tmp_path: Path) -> None:
    run = load_module("tests/report/report_runs.py").make_run(tmp_path / "run", conditions=("clean", "blank"), n=2)
    for path in (run / "images").rglob("*.png"):
        path.unlink()
    html, _ = build([run], tmp_path)
    tab = ReportTab(chromium, html, SIZES["phone"])
    assert tab.page.locator("#case-list .thumb.none").count() == 2
    tab.page.locator("#case-list a").first.click()
    labels = [node.get_attribute("aria-label") for node in tab.page.locator("#case-body .nothing").all()]
    assert len(labels) == 2
    assert all("the run holds no picture under this hash" in (label or "") for label in labels)
    tab.check_silence()
    tab.close()


def test_printed_page_fits_and_folds_nothing(desktop: ReportTab) -> None:
    page = desktop.page
    page.set_viewport_size({"width": 700, "height": 1000})  # A4 less margins
    page.emulate_media(media="print")
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate("document.documentElement.scrollWidth") <= 700
    assert page.locator(".print-note").is_visible()
    assert not page.locator("#case-list").is_visible()
    assert page.evaluate("[...document.querySelectorAll('details')].every(node => node.open)")
    page.evaluate("window.dispatchEvent(new Event('afterprint'))")
    assert page.evaluate("[...document.querySelectorAll('details')].every(node => !node.open)")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_enough_contrast(desktop: ReportTab, scheme: str) -> None:
    """WCAG AA, 4.5 : 1, for every element that holds text, against the nearest painted background."""
    page = desktop.page
    page.emulate_media(color_scheme=scheme)
    low = page.evaluate("""() => {
        const parse = (text) => text.match(/[\\d.]+/g).map(Number);
        const light = ([r, g, b]) => [r, g, b].map(v => v / 255)
            .map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
            .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
        const behind = (node) => {
            for (; node; node = node.parentElement) {
                const c = parse(getComputedStyle(node).backgroundColor);
                if (c.length < 4 || c[3] > 0) return c;
            }
            return [255, 255, 255];
        };
        const found = [];
        for (const node of document.querySelectorAll('body *:not(script):not(style):not(svg *)')) {
            const own = [...node.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
            if (!own || !node.getClientRects().length) continue;
            const [a, b] = [light(parse(getComputedStyle(node).color)), light(behind(node))].sort((x, y) => y - x);
            if ((a + 0.05) / (b + 0.05) < 4.5) found.push(node.className + ' ' + node.textContent.slice(0, 30));
        }
        return found;
    }""")
    assert low == []
