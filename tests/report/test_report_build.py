"""The report of real runs: what the page holds, and that nothing of the data can act in it."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from report_runs import ALL, ATTACK, NASTY, make_run

from medproof.errors import UserError
from medproof.report import build
from medproof.runs.store import RunStore


class Page(HTMLParser):
    """Tags with attributes, text by element id, and the text outside of scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: dict[str, str] = {}
        self.words: list[str] = []
        self._inside: str | None = None
        self._script = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag in ("script", "style"):
            self._inside, self._script = tag, dict(attrs).get("id") or tag

    def handle_endtag(self, tag: str) -> None:
        if tag == self._inside:
            self._inside = None

    def handle_data(self, data: str) -> None:
        if self._inside is None:
            self.words.append(data)
        else:
            self.scripts[self._script] = self.scripts.get(self._script, "") + data

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))

    def json(self, name: str) -> Any:
        return json.loads(self.scripts[name])

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def page_of(html: Path) -> Page:
    return Page(html.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, list[Path]]:
    """(report.html, report.json, runs) of a direct and a think run with nasty text."""
    base = tmp_path_factory.mktemp("two")
    runs = [make_run(base / "direct"), make_run(base / "think", mode="think")]
    html, numbers = build(runs, base / "out")
    return html, numbers, runs


def test_sections_and_landmarks(two: tuple[Path, Path, list[Path]]) -> None:
    page = page_of(two[0])
    assert {"header", "main", "nav", "footer"} <= {tag for tag, _ in page.tags}
    ids = [attributes["id"] for _, attributes in page.tags if attributes.get("id")]
    assert {"headline", "robust", "reliance", "groups", "readings", "cases", "provenance"} <= set(ids)
    assert len(ids) == len(set(ids)), "an id occurs twice"
    assert [tag for tag, _ in page.tags].count("h1") == 1
    linked = {attributes["href"] for attributes in page.all("a")}
    assert {link[1:] for link in linked if link and link.startswith("#")} <= set(ids)


def test_every_table_has_a_caption_and_scoped_heads(two: tuple[Path, Path, list[Path]]) -> None:
    page = page_of(two[0])
    assert len(page.all("table")) == len(page.all("caption")) > 5
    assert all(head.get("scope") in ("col", "row", "colgroup", "rowgroup") for head in page.all("th"))


def test_every_figure_is_named_and_described(two: tuple[Path, Path, list[Path]]) -> None:
    page = page_of(two[0])
    ids = {attributes.get("id") for _, attributes in page.tags}
    figures = [attributes for attributes in page.all("svg") if attributes.get("role") == "img"]
    assert len(figures) > 5
    for attributes in figures:
        assert set((attributes["aria-labelledby"] or "").split()) <= ids
    others = [a for a in page.all("svg") if a.get("role") is None and a.get("aria-hidden") is None]
    assert all("x" in attributes for attributes in others), "only nested panels and markers may go unnamed"


def test_nothing_is_loaded(two: tuple[Path, Path, list[Path]]) -> None:
    html = two[0].read_text(encoding="utf-8")
    page = Page(html)
    policy = next(m["content"] for m in page.all("meta") if m.get("http-equiv") == "Content-Security-Policy") or ""
    for part in ("default-src 'none'", "img-src data:", "style-src 'unsafe-inline'", "script-src 'unsafe-inline'"):
        assert part in policy
    for _, attributes in page.tags:
        for name in ("src", "href", "action", "data", "srcset", "poster"):
            assert (attributes.get(name) or "#").startswith(("#", "data:"))
    assert "url(" not in page.scripts["style"]
    assert "@import" not in page.scripts["style"]
    for word in ("fetch(", "XMLHttpRequest", "WebSocket", "innerHTML", "outerHTML", "insertAdjacentHTML", "eval("):
        assert word not in page.scripts["script"]


def test_nasty_text_stays_text(two: tuple[Path, Path, list[Path]]) -> None:
    html = two[0].read_text(encoding="utf-8")
    assert "<script>alert" not in html
    assert "<img src=x" not in html
    assert "<!-- <script>" not in html
    assert "\u2028" not in html
    page = Page(html)
    assert len(page.all("script")) == 3
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    questions = " ".join(case["question"] for case in page.json("case-data")["cases"])
    assert all(text in questions for text in NASTY), "nothing may be lost or altered on the way"
    assert NASTY[0] in page.text, "quarantine reasons are shown as they are"


def test_case_data_says_what_was_asked_shown_and_answered(two: tuple[Path, Path, list[Path]]) -> None:
    page = page_of(two[0])
    data, pictures = page.json("case-data"), page.json("picture-data")
    assert data["runs"] == ["nano · direct", "nano · think"]
    assert [c["kind"] for c in data["conditions"]] == ["clean", "control", "control", "control", "attack", "attack"]
    assert len(data["cases"]) == data["total"] == 24
    case = next(case for case in data["cases"] if case["boxes"])
    assert case["size"] == [64.0, 64.0]
    assert case["boxes"] == [{"label": "lesion <b>", "xyxy": [8.0, 10.0, 40.0, 44.0]}]
    attacked = case["runs"][0][ATTACK]
    assert attacked["delta"]["linf"] == 8
    assert pictures[attacked["image"]]["png"] != pictures[case["runs"][0]["clean"]["image"]]["png"]
    assert "delta" not in case["runs"][0]["blank"]
    shas = [picture["sha256"] for picture in pictures]
    assert len(shas) == len(set(shas)), "every picture is embedded once"
    stored = {response.image_sha256 for run in two[2] for response in RunStore(run).responses()}
    assert set(shas) == stored


def test_case_statuses_are_those_of_scoring(two: tuple[Path, Path, list[Path]]) -> None:
    data = page_of(two[0]).json("case-data")
    report = json.loads(two[1].read_text(encoding="utf-8"))
    for number, run in enumerate(report["runs"]):
        for key, block in run["conditions"].items():
            statuses = [case["runs"][number][key]["status"] for case in data["cases"]]
            for status in ("correct", "wrong", "abstain", "unparsed", "error"):
                assert statuses.count(status) == block[status]


def test_report_json_is_the_combined_summary(two: tuple[Path, Path, list[Path]]) -> None:
    report = json.loads(two[1].read_text(encoding="utf-8"))
    assert report["schema"] == 1
    assert [run["mode"] for run in report["runs"]] == ["direct", "think"]
    assert report["conditions"] == report["runs"][0]["conditions"]
    assert set(report["conditions"]) == set(ALL)
    assert "audit" not in report


def test_same_runs_same_bytes(two: tuple[Path, Path, list[Path]], tmp_path: Path) -> None:
    html, numbers, runs = two
    again = build(runs, tmp_path / "elsewhere")
    assert again[0].read_bytes() == html.read_bytes()
    assert again[1].read_bytes() == numbers.read_bytes()
    moved = [runs[0].rename(tmp_path / "moved"), runs[1]]
    try:
        assert build(moved, tmp_path / "third")[0].read_bytes() == html.read_bytes(), "the page depends on a path"
    finally:
        moved[0].rename(runs[0])


def test_robust_numbers_never_stand_alone(two: tuple[Path, Path, list[Path]]) -> None:
    text = page_of(two[0]).text
    section = text[
        text.index("Under attack, beside what the model sees") : text.index("Does it look at the image?", 2000)
    ]
    for words in (
        "Blank image",
        "Shuffled image",
        "Text prior",
        "RA where blank is wrong",
        "Random noise of that size",
    ):
        assert words in section
    verdict = text[: text.index("Accuracy under each condition")]
    assert re.search(r"clean \d+\s%, blank \d+\s%, shuffled \d+\s%, text prior 41\s%", verdict)
    assert re.search(r"PGD at 8/255 leaves \d+\s% \(random noise of that size: \d+\s%\)", verdict)


def test_robust_without_controls_raises_an_alarm(tmp_path: Path) -> None:
    html, _ = build([make_run(tmp_path / "run", conditions=("clean", ATTACK), n=8)], tmp_path)
    text = page_of(html).text
    assert "Not known whether it looks at the image" in text
    assert "a model that never looks would pass" in text
    section = text[text.index("Under attack, beside") :]
    assert section.count("not run") >= 3, "blank, shuffled and noise are named as not run"


def test_only_clean(tmp_path: Path) -> None:
    html, numbers = build([make_run(tmp_path / "run", conditions=("clean",), n=6)], tmp_path)
    page = page_of(html)
    assert "robust" not in {attributes.get("id") for _, attributes in page.tags}
    assert json.loads(numbers.read_text(encoding="utf-8"))["robust"] is None
    assert len(page.json("case-data")["cases"]) == 6


def test_no_responses(tmp_path: Path) -> None:
    html, _ = build([make_run(tmp_path / "run", n=3, answer=False)], tmp_path)
    page = page_of(html)
    assert "INCOMPLETE" in page.text
    assert "No answers on the clean image yet" in page.text
    assert page.json("case-data")["cases"] == []
    assert page.json("picture-data") == []


def test_errors_stamp_the_run_incomplete(tmp_path: Path) -> None:
    html, _ = build([make_run(tmp_path / "run", conditions=("clean", "blank"), n=8, errors=2)], tmp_path)
    page = page_of(html)
    assert "INCOMPLETE" in page.text
    assert "4 replies failed" in page.text
    cells = [case["runs"][0]["clean"] for case in page.json("case-data")["cases"]]
    assert [cell["error"] for cell in cells].count("out of memory") == 2


@pytest.mark.parametrize(("says", "alarm"), [("<answer>A</answer>", True), (None, False)])
def test_degenerate_alarm(tmp_path: Path, says: str | None, alarm: bool) -> None:
    html, _ = build([make_run(tmp_path / "run", conditions=("clean", "blank"), n=40, says=says)], tmp_path)
    text = page_of(html).text
    assert ("One answer takes more than 90 % of the replies on the clean image" in text) == alarm
    assert ("No sign that it looks at the image" in text) == alarm


def test_broken_and_missing_pictures_are_said_so(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", conditions=("clean", "blank"), n=4)
    store = RunStore(run)
    shas = [response.image_sha256 for response in store.responses() if response.condition == "clean"]
    first, second = dict.fromkeys(shas)
    store.image_path(first).write_bytes(b"\x89PNG broken")
    store.image_path(second).unlink()
    pictures = {p["sha256"]: p for p in page_of(build([run], tmp_path)[0]).json("picture-data")}
    assert "damaged" in pictures[first]["missing"]
    assert "no picture" in pictures[second]["missing"]
    assert str(tmp_path) not in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_half_surrogates_do_not_stop_the_report(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", conditions=("clean",), n=4)
    meta = RunStore(run).meta
    (run / "run.json").write_text(json.dumps({**meta, "command": ["medproof", "\udc80"]}), encoding="utf-8")
    html, numbers = build([run], tmp_path)
    assert html.stat().st_size > 1000
    assert json.loads(numbers.read_bytes())["provenance"]["command"][1] == "\udc80"


def test_audit_section_shows_known_and_unknown_keys(tmp_path: Path) -> None:
    audit = {
        "version": 1,
        "dataset": "sample",
        "chance": 0.31,
        "text_prior": {"accuracy": 0.957, "ci95": [0.95, 0.963], "n": 900, "by_modality": {"CT": {"accuracy": 0.99}}},
        "source": {"accuracy": 0.8, "baseline": 0.5},
        "findings": ["the text prior answers 95.7 % <b>"],
        "tomorrow": {"a_new_key": 3, "nested": {"x": [1, 2]}},
        "loose": 7,
    }
    html, numbers = build([make_run(tmp_path / "run", conditions=("clean",), n=4)], tmp_path, audit)
    text = page_of(html).text
    for words in (
        "95.7\u00a0%",
        "95.0\u00a0to\u00a096.3",
        "99.0\u00a0%",
        "A new key",
        "x 1, 2",
        "Loose",
        "<b>",
        "50.0\u00a0%",
    ):
        assert words.replace("\u00a0", " ") in text.replace("\u00a0", " ")
    assert json.loads(numbers.read_text(encoding="utf-8"))["audit"] == audit


def test_provenance_lists_what_it_takes(two: tuple[Path, Path, list[Path]]) -> None:
    text = page_of(two[0]).text
    for words in (
        "ab" * 32,
        "cd" * 32,
        "ef" * 32,
        "2.13.0",
        "a processor",
        "medproof run --model nano",
        "2025-01-02 03:04 UTC",
    ):
        assert words in text
    assert "60 quarantined rows, first 50" in text
    assert "ct.jsonl:49" in text
    assert "ct.jsonl:50" not in text


def test_runs_of_different_conditions_are_matched(tmp_path: Path) -> None:
    runs = [
        make_run(tmp_path / "a", conditions=("clean", "blank", ATTACK), n=6),
        make_run(tmp_path / "b", conditions=("clean", "shuffled"), n=9, model="org/other-model"),
    ]
    page = page_of(build(runs, tmp_path)[0])
    data = page.json("case-data")
    assert data["runs"] == ["nano · direct", "other-model · direct"]
    assert [c["key"] for c in data["conditions"]] == ["clean", "blank", "shuffled", ATTACK]
    assert data["total"] == 9
    assert "not run" in page.text


def test_refusals(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nothing to report"):
        build([], tmp_path)
    with pytest.raises(UserError, match="is not a run"):
        build([tmp_path], tmp_path / "out")
    assert not (tmp_path / "out").exists()
