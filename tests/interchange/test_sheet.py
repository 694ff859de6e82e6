"""The reading sheet and its way back: what it shows, what it hides, and what is refused."""

import csv
import json
import re
from pathlib import Path

import pytest

from medproof.cli import invoke
from medproof.datasets import Dataset, load
from medproof.errors import UserError
from medproof.evaluation.images import ImageLoader
from medproof.interchange.reader import read_answers
from medproof.interchange.sheet import CANNOT_TELL, row_id, sheet_html, sheet_id
from medproof.records import Item
from medproof.runs.store import read_run
from medproof.scoring.scored import score


@pytest.fixture
def data(bench: Path) -> Dataset:
    return load(bench / "items.jsonl")


@pytest.fixture
def sheet(data: Dataset) -> Dataset:
    return data.filter(split="test")


def write(path: Path, sheet: Dataset, answers: dict[str, str], separator: str = ",") -> Path:
    rows = [(sheet_id(sheet), row_id(item), answers.get(item.id, "")) for item in sheet.items]
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter=separator).writerows([("sheet", "item", "answer"), *rows])
    return path


def embedded(page: str, name: str) -> object:
    found = re.search(rf'<script type="application/json" id="{name}">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    return json.loads(found.group(1))


def test_the_page_asks_everything_and_tells_nothing(sheet: Dataset) -> None:
    page = sheet_html(sheet, ImageLoader(sheet, None))
    assert page == sheet_html(sheet, ImageLoader(sheet, None))
    content = embedded(page, "content")
    assert isinstance(content, dict)
    assert sorted(row["question"] for row in content["rows"]) == sorted(item.question for item in sheet.items)
    assert {row["id"] for row in content["rows"]} == {row_id(item) for item in sheet.items}
    assert set(content["rows"][0]) == {"id", "question", "options", "picture"}
    assert len(embedded(page, "pictures")) == 6  # type: ignore[arg-type]
    for hidden in ("case00", "images/", "answer_index", "research-only"):
        assert hidden not in page
    assert "<img src=x" not in page
    assert "http://" not in page
    assert "https://" not in page
    order = [row["id"] for row in content["rows"]]
    assert order != [row_id(item) for item in sheet.items]


@pytest.mark.parametrize("separator", [",", ";"])
def test_answers_come_back(tmp_path: Path, data: Dataset, sheet: Dataset, separator: str) -> None:
    given = {item.id: item.answer_letter for item in sheet.items[1:]} | {sheet.items[2].id: CANNOT_TELL}
    back, answers = read_answers(write(tmp_path / "a.csv", sheet, given, separator), data)
    assert back.items == sheet.items
    assert answers == given


def test_a_reader_is_a_run_like_any(
    tmp_path: Path, bench: Path, run: Path, sheet: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    """All right but one left open to doubt and one wrong; report and compare take it."""
    given = {item.id: item.answer_letter for item in sheet.items}
    given[sheet.items[0].id] = CANNOT_TELL
    given[sheet.items[1].id] = "C" if sheet.items[1].answer_letter != "C" else "A"
    answers, out = write(tmp_path / "a.csv", sheet, given), tmp_path / "reader"
    words = ["bench", "import", str(answers), "--data", str(bench), "--out", str(out), "--name", "reader 1"]
    assert invoke(words) == 0, capsys.readouterr().err
    stored = read_run(out)
    assert (stored.meta["model"], stored.meta["text_prior"]["n"]) == ("reader 1", 12)
    statuses = [outcome.status for outcome in score(stored).outcomes["clean"].values()]
    assert statuses == ["abstain", "wrong", *["correct"] * 10]
    assert invoke(["report", str(out), str(run), "--out", str(tmp_path / "r")]) == 0, capsys.readouterr().err
    assert "reader 1" in (tmp_path / "r" / "report.html").read_text(encoding="utf-8")
    assert invoke(["compare", str(out), str(run), "--out", str(tmp_path / "c")]) == 0, capsys.readouterr().err
    (pair,) = json.loads((tmp_path / "c" / "compare.json").read_text(encoding="utf-8"))["pairs"]
    assert (pair["a"], pair["n"], pair["accuracy_a"]) == ("clean", 12, pytest.approx(10 / 12))


def test_open_questions_make_the_run_incomplete(
    tmp_path: Path, bench: Path, sheet: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = write(tmp_path / "a.csv", sheet, {sheet.items[3].id: sheet.items[3].answer_letter})
    words = ["bench", "import", str(answers), "--data", str(bench), "--out", str(tmp_path / "o"), "--name", "r"]
    assert invoke(words) == 0
    assert "11 of 12 questions are unanswered" in capsys.readouterr().err
    outcomes = score(read_run(tmp_path / "o")).outcomes["clean"]
    assert sorted(outcome.status for outcome in outcomes.values()) == ["correct", *["error"] * 11]


def other(item: Item) -> Item:
    return item.model_copy(update={"question": "Another?"})


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda text: text.replace(",A\r\n", ",Q\r\n", 1), "answer 'Q' is none of A, B"),
        (lambda text: text.replace("\r\n", "\r\nabc,def,A\r\n", 1), "a.csv:2: item 'def' is none of this benchmark's"),
        (lambda text: text + text.splitlines()[1] + "\r\n", "a.csv:14: item"),
        (lambda text: text.replace(",A\r\n", ",A,B\r\n", 1), "more cells than 3"),
        (lambda text: "\r\n".join(text.splitlines()[:-1]), "holds not all rows of one sheet"),
        (lambda text: text.replace(text.splitlines()[1][:16], "0" * 16), "holds not all rows of one sheet"),
        (lambda text: text.replace("answer", "reply"), "has the columns sheet, item, reply: needs sheet, item, answer"),
        (lambda text: text.splitlines()[0], "holds no answers"),
        (lambda text: "", "has the columns of nothing"),
        (lambda text: text.replace(",A\r\n", ",Q\r\n"), "more bad rows)"),
    ],
)
def test_bad_rows(tmp_path: Path, data: Dataset, sheet: Dataset, spoil, complaint: str) -> None:  # type: ignore[no-untyped-def]
    path = write(tmp_path / "a.csv", sheet, {item.id: "A" for item in sheet.items})
    path.write_bytes(spoil(path.read_bytes().decode()).encode())
    with pytest.raises(UserError, match=re.escape(complaint)):
        read_answers(path, data)


def test_a_sheet_of_another_benchmark(tmp_path: Path, data: Dataset, sheet: Dataset) -> None:
    changed = Dataset("other", sheet.root, tuple(map(other, sheet.items)))
    with pytest.raises(UserError, match=r"a.csv:2: item .* is none of this benchmark's \(and 11 more bad rows\)"):
        read_answers(write(tmp_path / "a.csv", changed, {}), data)
    with pytest.raises(UserError, match="cannot read"):
        read_answers(tmp_path / "none.csv", data)


def test_the_command_asks_what_run_asks(tmp_path: Path, bench: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["bench", "sheet", "--data", str(bench), "--limit", "5", "--seed", "3", "--out", str(tmp_path / "s.html")]
    assert invoke(words) == 0
    captured = capsys.readouterr()
    assert "not under a permissive licence" in captured.err
    content = embedded((tmp_path / "s.html").read_text(encoding="utf-8"), "content")
    assert isinstance(content, dict)
    same = load(bench / "items.jsonl", seed=3).filter(split="test", limit=5)
    assert {row["id"] for row in content["rows"]} == {row_id(item) for item in same.items}
    assert invoke([*words, "--dry-run", "--limit", "4"]) == 0
    assert "would ask 4 questions" in capsys.readouterr().out
