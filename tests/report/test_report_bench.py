"""The sections of the benchmark on the page and in report.json."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from bench_runs import BOXES, EVERYTHING, make_bench_run
from report_runs import NASTY, make_run
from test_report_build import Page, page_of

from medproof.report import build
from medproof.report.chain_view import PROTOCOLS
from medproof.report.dot_plot import dot_plot
from medproof.report.plots import Point, Row
from medproof.report.select import whole_chains
from medproof.report.stage_plot import StageLine, stage_plot
from medproof.report.values import p_cell, points_cell, share_cell
from medproof.scoring.protocols import PROTOCOLS as SCORED_PROTOCOLS

SECTIONS = ("profile", "chain", "hints", "probes", "boxes", "options", "models")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Page, str, dict[str, Any]]:
    """Page, its source and its numbers, of two models."""
    base = tmp_path_factory.mktemp("bench")
    runs = [make_bench_run(base / "a"), make_bench_run(base / "b", model=NASTY[0], skill=0.4)]
    html, numbers = build(runs, base / "out")
    return page_of(html), html.read_text(encoding="utf-8"), json.loads(numbers.read_text(encoding="utf-8"))


def sections(page: Page) -> list[str | None]:
    return [found.get("id") for found in page.all("section")]


def test_every_section_stands_and_is_linked(built: tuple[Page, str, dict[str, Any]]) -> None:
    page, _, _ = built
    assert set(SECTIONS) <= set(sections(page))
    assert {f"#{name}" for name in SECTIONS} <= {found["href"] for found in page.all("a")}


def test_sections_appear_only_where_the_run_has_the_conditions(tmp_path: Path) -> None:
    html, numbers = build([make_run(tmp_path / "run", conditions=("clean", "blank"), n=4)], tmp_path / "out")
    assert not ({*SECTIONS} - {"options"}) & set(sections(page_of(html)))
    report = json.loads(numbers.read_text())
    assert [report[name] for name in ("hints", "cues", "region", "behaviour", "grounding", "profile")] == [None] * 6
    assert report["models"] is None


def test_text_of_data_and_models_does_nothing_and_the_page_asks_for_nothing(
    built: tuple[Page, str, dict[str, Any]],
) -> None:
    page, source, _ = built
    assert NASTY[0] in page.text
    assert not [found for found in page.all("img") if found.get("src") == "x"]
    assert "<script>alert" not in source
    links = [value for _, attributes in page.tags for name, value in attributes.items() if name in ("src", "href")]
    assert all(link is None or link.startswith(("#", "data:")) for link in links)
    ids = [attributes["id"] for _, attributes in page.tags if attributes.get("id")]
    assert len(ids) == len(set(ids))


def test_numbers_of_the_page_are_those_of_report_json(built: tuple[Page, str, dict[str, Any]]) -> None:
    page, _, report = built
    text = page.text.replace("\u00a0", " ")
    for run in report["runs"]:
        stage = run["chain"]["protocols"]["clean"]["stages"]["S3"]
        assert f"{100 * stage['accuracy']['value']:.1f} %" in text
        assert f"{100 * stage['prefix']['value']:.1f} %" in text
        excess = run["hints"]["rows"][0]["excess"]["value"]
        assert f"{100 * excess:+.1f} pp".replace("-", "−") in text
        assert f"{run['grounding']['conditions']['clean']['iou']['value']:.2f}" in text
    # 2 models, one pair, every condition.
    assert len(report["models"]["tests"]) == len(EVERYTHING)
    assert all(row["p_holm"] >= row["p"] for row in report["models"]["tests"])


def test_every_protocol_has_a_name_and_a_row(built: tuple[Page, str, dict[str, Any]]) -> None:
    page, _, report = built
    assert PROTOCOLS.keys() == SCORED_PROTOCOLS.keys()
    assert report["chain"]["protocols"].keys() == PROTOCOLS.keys()
    rows = page.text[page.text.index("Unsupported Slope") :]
    places = [rows.index(f"{name} 8 chains") for name in PROTOCOLS.values()]
    assert places == sorted(places)


def test_boxes_are_drawn_where_they_lie(built: tuple[Page, str, dict[str, Any]]) -> None:
    _, source, _ = built
    drawn = re.findall(r'<svg viewBox="0 0 100 100" role="img" class="boxed">.*?</svg>', source, re.DOTALL)
    assert len(drawn) == 8
    assert all('x="10" y="10" width="40" height="50" class="gold over"' in picture for picture in drawn)
    # Whoever is right chose the annotated box, 100 to 500 of the width in thousandths; the other one stands elsewhere.
    x, y, _, _ = (float(edge) / 10 for edge in re.findall(r"\d+", BOXES[1]))
    assert any(f'x="{x:g}" y="{y:g}"' in picture for picture in drawn)


def test_case_browser_holds_whole_chains_side_by_side(built: tuple[Page, str, dict[str, Any]]) -> None:
    page, _, _ = built
    cases = page.json("case-data")["cases"]
    names = [(entry["case"], entry["stage"]) for entry in cases]
    assert len(names) == 32
    for place in range(0, 32, 4):
        assert [stage for _, stage in names[place : place + 4]] == ["S1", "S2", "S3", "S4"]
        assert len({case for case, _ in names[place : place + 4]}) == 1


def test_items_without_a_stage_keep_their_order() -> None:
    from report_runs import make_item

    items = [make_item(number) for number in (3, 1, 2)]
    assert whole_chains(items) == items


def test_same_run_same_bytes(tmp_path: Path) -> None:
    run = make_bench_run(tmp_path / "run", n=3, conditions=("clean", "blank", "hint(wrong,peer)", "hint(neutral,peer)"))
    first, second = (build([run], tmp_path / name) for name in ("one", "two"))
    for a, b in zip(first, second, strict=True):
        assert a.read_bytes() == b.read_bytes()


def test_plots_tell_their_numbers_in_words() -> None:
    lines = [StageLine("accuracy", (("S1", 0.9, (0.8, 1.0)), ("S2", 0.5, None)), "run0", "circle")]
    shown = stage_plot("s", "Stages", ["S1", "S2"], lines)
    assert "accuracy: S1 90.0\u00a0%, S2 50.0\u00a0%" in shown
    rows = [Row("Peer", (Point("nano", -0.1, (-0.3, 0.1), None, "run0", "circle"),))]
    dots = dot_plot("d", "Dots", rows)
    assert "Peer: nano −10.0\u00a0pp (95 % interval −30.0\u00a0to\u00a010.0)" in dots
    # Zero lies on the axis, stronger than the other ticks, between the ends of the whisker.
    assert 'class="level"' in dots


def test_cells() -> None:
    assert share_cell(None).text == "–"
    assert share_cell({"value": 0.994, "ci95": None, "n": 7}, heat=True).heat == 9
    assert points_cell({"value": -0.05, "ci95": [-0.1, 0.0], "n": 7}).text == "−5.0\u00a0pp"
    assert p_cell({"p": 0.01, "p_holm": 0.04}).text == "0.04"
    assert p_cell(None).text == "–"
