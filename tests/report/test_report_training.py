"""Training folders on the page: alone, beside runs, several seeds of one recipe, and their completions."""

import json
from pathlib import Path

import pytest
from report_runs import NASTY, make_run
from report_trainings import make_training, write_completions
from test_report_build import page_of

from medproof.errors import UserError
from medproof.report import build
from medproof.report.completions import Budget, read_browser
from medproof.report.training import families, read_training


def test_only_trainings_make_a_page_of_their_own(tmp_path: Path) -> None:
    html, numbers = build([make_training(tmp_path / "direct")], tmp_path / "out")
    page = page_of(html)
    ids = [attributes["id"] for _, attributes in page.tags if attributes.get("id")]
    assert "training" in ids
    assert not {"headline", "cases", "provenance", "reliance"} & set(ids)
    assert len(ids) == len(set(ids))
    linked = {attributes["href"] for attributes in page.all("a")}
    assert {link[1:] for link in linked if link and link.startswith("#")} <= set(ids)
    assert "Training of direct" in page.text
    report = json.loads(numbers.read_text(encoding="utf-8"))
    assert [t["name"] for t in report["training"]] == ["direct"]
    assert report["training"][0]["series"]["reward"][0][0] == 1.5, "120 rewards in pairs"
    assert "runs" not in report


def test_beside_runs(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", conditions=("clean", "blank"), n=4)
    html, numbers = build([make_training(tmp_path / "train"), run], tmp_path / "out")
    ids = {attributes.get("id") for _, attributes in page_of(html).tags}
    assert {"training", "headline", "cases"} <= ids
    report = json.loads(numbers.read_text(encoding="utf-8"))
    assert len(report["runs"]) == len(report["training"]) == 1


def test_start_and_end_of_reward_and_of_looking(tmp_path: Path) -> None:
    training = read_training(make_training(tmp_path / "blind", looks=False))
    (family,) = families([training], [None])
    cells = dict(
        zip(("steps", "reward", "seen", "attacked", "blank", "apart", "seconds"), family.members[0].cells, strict=True)
    )
    assert cells["steps"].text == "120"
    assert (cells["seen"].text, cells["seen"].small) == ("46.0\u00a0%", "from 40.0\u00a0%")
    assert (cells["blank"].text, cells["blank"].small) == ("60.0\u00a0%", "from 30.0\u00a0%")
    assert cells["attacked"].text == "–"
    assert (cells["apart"].text, cells["apart"].small) == ("−14.0\u00a0pp", "from +10.0\u00a0pp")
    assert cells["seconds"].text == "0.80"
    first, last = training.ends("reward") or (0, 0)
    assert last > first + 0.2, "reward rises all the same"


def test_seeds_of_one_recipe_share_their_plots(tmp_path: Path) -> None:
    folders = [make_training(tmp_path / f"s{seed}", seed=seed) for seed in range(3)]
    other = make_training(tmp_path / "other", data={"train": "elsewhere"})
    trainings = [read_training(path) for path in [*folders, other]]
    several, single = families(trainings, [None] * 4)
    assert several.title == "nano_direct"
    assert [member.label for member in several.members] == ["seed 0", "seed 1", "seed 2"]
    assert several.looking is not None
    assert str(several.looking.plot).count("<polyline") == 6, "with the image and blank, of each seed"
    assert single.title == "other"
    assert "elsewhere" in single.about


def test_adversarial_training_shows_accuracy_under_attack_beside_blank(tmp_path: Path) -> None:
    folder = make_training(tmp_path / "at", steps=40)
    told = [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    for row in told:
        if "eval/accuracy" in row:
            row["eval/robust_accuracy"] = row["eval/accuracy"] - 0.2
        row |= {"adv/reward_attacked": 0.3, "time/attack_share": 0.4} if row["step"] else {}
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in told), encoding="utf-8")
    (family,) = families([read_training(folder)], [None])
    assert (family.members[0].cells[3].text, family.members[0].cells[3].small) == ("50.0\u00a0%", "from 20.0\u00a0%")
    assert family.looking is not None
    assert str(family.looking.plot).count("<polyline") == 3
    assert {"Reward on attacked images", "The attack's share of a step"} <= {panel.title for panel in family.panels}
    html, numbers = build([folder], tmp_path / "out")
    assert "dotted: attacked" in page_of(html).text
    assert "robust accuracy" not in page_of(html).text, "nothing has checked the attack of a recipe"
    assert "eval/robust_accuracy" in json.loads(numbers.read_text(encoding="utf-8"))["training"][0]["series"]


def test_a_supervised_run_shows_its_loss(tmp_path: Path) -> None:
    folder = tmp_path / "sft"
    folder.mkdir()
    rows = [json.dumps({"step": step, "loss": 1 / step, "lr": 0.1}) + "\n" for step in (1, 2)]
    (folder / "metrics.jsonl").write_text("".join(rows) + '{"step": 3, "lo', encoding="utf-8")
    training = read_training(folder)
    assert training.series["loss"] == [(1, 1.0), (2, 0.5)], "the line being written is left out"
    (family,) = families([training], [None])
    assert [panel.title for panel in family.panels] == ["Loss"]
    assert family.looking is None
    build([folder], tmp_path / "out")


def test_values_that_are_not_finite_are_not_drawn(tmp_path: Path) -> None:
    folder = tmp_path / "t"
    folder.mkdir()
    (folder / "metrics.jsonl").write_text(
        '{"step": 1, "kl": NaN, "reward": 1}\n{"step": 2, "kl": 0.5}\n', encoding="utf-8"
    )
    assert read_training(folder).series == {"reward": [(1, 1.0)], "kl": [(2, 0.5)]}
    assert "NaN" not in build([folder], tmp_path / "out")[1].read_text(encoding="utf-8")


def test_damaged_metrics_are_refused_with_the_line(tmp_path: Path) -> None:
    folder = tmp_path / "t"
    folder.mkdir()
    (folder / "metrics.jsonl").write_text('{"step": 1, "loss": 1}\n[]\n', encoding="utf-8")
    with pytest.raises(UserError, match=r"metrics.jsonl line 2 is no row of metrics"):
        build([folder], tmp_path / "out")


def test_completions_with_their_rewards(tmp_path: Path) -> None:
    browser = read_browser(make_training(tmp_path / "t"), 100, Budget())
    assert browser is not None
    assert browser.rewards == ("accuracy", "looks")
    assert browser.steps == (20, 40, 60, 80, 100, 120)
    assert len(browser.groups) == browser.total == 12
    equal, mixed = browser.groups[:2]
    assert (equal.equal, mixed.equal, mixed.reward) == (True, False, "0.75")
    assert [row.advantage for row in mixed.completions] == ["+0.50", "+0.50", "−1.50", "+0.50"]
    assert [row.better for row in mixed.completions] == [True, True, False, True]
    assert [(row.better, row.advantage) for row in equal.completions] == [(None, "0.00")] * 4
    assert mixed.completions[3].truncated
    assert mixed.completions[0].rewards == ("1.00", "–")
    assert (mixed.picture or "").startswith("data:image/png;base64,")


def test_of_many_completions_evenly_spaced_steps_are_shown(tmp_path: Path) -> None:
    folder = make_training(tmp_path / "t", every=10)
    browser = read_browser(folder, 8, Budget())
    assert browser is not None
    assert browser.steps == (10, 50, 80, 120)
    assert (len(browser.groups), browser.total) == (8, 24)
    text = page_of(build([folder], tmp_path / "out")[0]).text
    assert "24 of 24 stored groups" in text


def test_pictures_over_the_budget_or_damaged_are_said_so(tmp_path: Path) -> None:
    folder = make_training(tmp_path / "t", groups=1, every=60)
    first, second = sorted((folder / "completions").rglob("*.png"))
    first.write_bytes(b"\x89PNG broken")
    browser = read_browser(folder, 100, Budget(left=0))
    assert browser is not None
    assert {group.missing for group in browser.groups} == {
        "the stored picture is damaged",
        "left out, so that the page stays small",
    }
    second.unlink()
    again = read_browser(folder, 100, Budget())
    assert again is not None
    assert "not stored" in {group.missing for group in again.groups}


def test_a_damaged_file_of_completions_is_named(tmp_path: Path) -> None:
    folder = make_training(tmp_path / "t", every=60)
    (folder / "completions" / "step-000060.parquet").write_bytes(b"PAR1")
    with pytest.raises(UserError, match=r"step-000060.parquet is damaged"):
        build([folder], tmp_path / "out")


def test_nasty_completions_stay_text(tmp_path: Path) -> None:
    folder = make_training(tmp_path / "<b>t</b>", every=60)
    long = [{**row, "text": "x" * 3000} for row in _rows_of(folder, 60)]
    write_completions(folder, 60, [long])
    html = build([folder], tmp_path / "out")[0]
    page = page_of(html)
    raw = html.read_text(encoding="utf-8")
    assert "<script>alert" not in raw
    assert "<img src=x" not in raw
    assert "<b>t</b>" not in raw
    assert len(page.all("script")) == 1
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    assert all((a.get("src") or "").startswith("data:image/png") for a in page.all("img"))
    assert NASTY[0] in page.text
    assert "1000 more characters" in page.text
    assert "innerHTML" not in page.scripts["script"]


def _rows_of(folder: Path, step: int) -> list[dict[str, object]]:
    import pyarrow.parquet as pq

    rows: list[dict[str, object]] = pq.read_table(folder / "completions" / f"step-{step:06d}.parquet").to_pylist()
    return [row for row in rows if row["group"] == 1]


def test_same_trainings_same_bytes(tmp_path: Path) -> None:
    folder = make_training(tmp_path / "t")
    first = [path.read_bytes() for path in build([folder], tmp_path / "one")]
    assert [path.read_bytes() for path in build([folder], tmp_path / "two")] == first
