"""What training writes for people to read is what the report reads."""

import base64
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import torch
from reward_groups import make_group, make_item

from medproof.images.png import decode_png
from medproof.images.preprocess import to_float
from medproof.report import build
from medproof.report.completions import Budget, read_browser
from medproof.training.completions_log import CompletionsLog
from medproof.training.conditioning import Perturbed
from medproof.training.group_buffer import GroupBuffer


def buffer() -> GroupBuffer:
    """Two groups of two, the second with equal rewards, one reward that does not apply."""
    groups = (make_group(["right <b>", "wrong"]), make_group(["same", "same"], make_item("us-2")))
    rewards = torch.tensor([[[1.0, torch.nan], [0.0, torch.nan]], [[1.0, 0.5], [1.0, 0.5]]], dtype=torch.float64)
    totals = torch.tensor([[1.0, 0.0], [1.5, 1.5]], dtype=torch.float64)
    return GroupBuffer(groups, rewards, totals, torch.tensor([[0.7, -0.7], [0.0, 0.0]]))


def test_the_report_reads_what_training_writes(tmp_path: Path) -> None:
    log = CompletionsLog(tmp_path, ("accuracy", "points"))
    for step in (10, 20):
        log.write(step, buffer())
    browser = read_browser(tmp_path, 100, Budget())
    assert browser is not None
    assert (browser.rewards, browser.steps, browser.total) == (("accuracy", "points"), (10, 20), 4)
    first, second = browser.groups[:2]
    assert [row.text for row in first.completions] == ["right <b>", "wrong"]
    assert [row.rewards for row in first.completions] == [("1.00", "–"), ("0.00", "–")]
    assert [row.advantage for row in first.completions] == ["+0.70", "−0.70"]
    assert (first.answer, first.reward, first.equal) == ("malignant lesion", "0.50", False)
    assert second.equal
    assert first.picture is not None
    png = base64.b64decode(first.picture.removeprefix("data:image/png;base64,"))
    assert (decode_png(png) == buffer().groups[0].prompt.image).all()
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "reward": 0.5}\n', encoding="utf-8")
    assert "right &lt;b&gt;" in build([tmp_path], tmp_path / "out")[0].read_text(encoding="utf-8")


def test_a_reply_is_kept_with_the_image_it_is_a_reply_to(tmp_path: Path) -> None:
    """The first group is divided, the second clean."""
    whole = buffer()
    clean = whole.groups[0].prompt.image
    sides = torch.tensor([[False, True], [False, False]])
    whole = replace(whole, perturbed=Perturbed((1 - to_float(clean), None), sides, torch.zeros(2)))
    log = CompletionsLog(tmp_path, ("accuracy", "points"))
    log.write(1, whole)
    log.write(2, whole, "clean")
    for step, attacked in ((1, [False, True, False, False]), (2, [False] * 4)):
        rows = pq.read_table(tmp_path / "completions" / f"step-{step:06d}.parquet").to_pylist()
        assert [row["attacked"] for row in rows] == attacked
        files = [tmp_path / "completions" / "images" / f"{row['image_sha256']}.png" for row in rows]
        second = decode_png(files[1].read_bytes())
        assert (second == (255 - clean if attacked[1] else clean)).all()
        assert (decode_png(files[0].read_bytes()) == clean).all()


def test_going_on_from_a_checkpoint_drops_what_came_after(tmp_path: Path) -> None:
    log = CompletionsLog(tmp_path, ("accuracy", "points"))
    for step in (10, 20):
        log.write(step, buffer())
    log.drop_after(10)
    (left,) = (tmp_path / "completions").glob("*.parquet")
    assert set(pq.read_table(left).column("step").to_pylist()) == {10}
    log.drop_after(0)
    assert not list((tmp_path / "completions").glob("*.parquet"))
