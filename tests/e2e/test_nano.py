"""The committed nano through the whole real path: it looks, PGD hurts it, and what is judged is the file on disk."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from medproof import models
from medproof.cli import invoke
from medproof.models import nano
from medproof.models.loading import load_processor
from medproof.models.prompts import messages
from medproof.records import View
from medproof.runs.store import RunData, read_run
from medproof.scoring.summary import summarise

pytestmark = pytest.mark.slow


def run(out: Path, *conditions: str, limit: int, mode: str = "direct") -> RunData:
    wanted = [part for condition in conditions for part in ("--condition", condition)]
    argv = ["run", "--model", "nano", "--data", "sample", "--mode", mode, "--limit", str(limit), *wanted]
    assert invoke([*argv, "--device", "cpu", "--out", str(out)]) == 0
    return read_run(out)


def accuracy(data: RunData, condition: str) -> float:
    return float(summarise(data)["conditions"][condition]["accuracy"])


def by_item(data: RunData, condition: str) -> dict[str, Any]:
    return {r.item_id: r for r in data.responses if r.condition == condition}


def picture(data: RunData, sha: str) -> np.ndarray:
    """The stored file, read by Pillow alone."""
    return np.asarray(Image.open(data.path / "images" / f"{sha}.png"))


def test_checkpoint_is_small_and_safe() -> None:
    files = [path for path in nano.checkpoint().iterdir() if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 16_000_000
    assert {path.suffix for path in files} <= {".safetensors", ".json", ".jinja"}


def test_nano_looks_and_pgd_hurts(tmp_path: Path) -> None:
    data = run(tmp_path / "r", "clean", "blank", limit=160)
    assert accuracy(data, "clean") >= 0.75
    assert accuracy(data, "blank") <= 0.45
    attacked = run(tmp_path / "a", "clean", "pgd(linf,8/255,10)", limit=32)
    assert accuracy(attacked, "clean") - accuracy(attacked, "pgd(linf,8/255,10)") >= 0.2


def test_nano_reasons_before_it_answers(tmp_path: Path) -> None:
    data = run(tmp_path / "r", "clean", limit=48, mode="think")
    assert accuracy(data, "clean") >= 0.7
    assert all(r.text.startswith("<think>This is ") for r in data.responses)
    assert sum("<answer>" in r.text for r in data.responses) >= 46


@pytest.mark.parametrize("mode", ["direct", "think"])
def test_eps_zero_reproduces_every_clean_answer(tmp_path: Path, mode: str) -> None:
    data = run(tmp_path / "r", "clean", "pgd(linf,0/255,1)", limit=40, mode=mode)
    clean, attacked = by_item(data, "clean"), by_item(data, "pgd(linf,0/255,1)")
    assert clean.keys() == attacked.keys()
    for item, response in clean.items():
        assert attacked[item].text == response.text
        assert attacked[item].image_sha256 == response.image_sha256


def test_the_saved_picture_lies_in_the_ball_and_is_what_was_judged(tmp_path: Path) -> None:
    condition = "pgd(linf,4/255,3)"
    data = run(tmp_path / "r", "clean", condition, limit=24)
    clean, attacked = by_item(data, "clean"), by_item(data, condition)
    items = {item.id: item for item in data.items}
    model = models.load("nano", device="cpu")
    changed = 0
    for identifier, response in attacked.items():
        before, after = picture(data, clean[identifier].image_sha256), picture(data, response.image_sha256)
        worst = int(np.abs(after.astype(int) - before.astype(int)).max())
        assert worst <= 4
        changed += worst > 0
        item = items[identifier]
        view = View(item, condition, "direct", messages(item, "direct"), after)
        assert model.generate([view], model.decoding("direct"))[0].text == response.text
    assert changed > len(attacked) / 2


def test_a_saved_picture_is_a_fixed_point_of_the_stock_processor() -> None:
    _, grid, processor = load_processor("nano")
    image = np.random.default_rng(0).integers(0, 256, (84, 112, 3), dtype=np.uint8)
    out = processor(images=[Image.fromarray(image)], return_tensors="np")
    mean, std = np.array(grid.image_mean), np.array(grid.image_std)
    patches = out["pixel_values"].reshape(3, 4, 2, 2, 3, 2, 14, 14)
    np.testing.assert_array_equal(patches[:, :, :, :, :, 0], patches[:, :, :, :, :, 1])
    back = patches[:, :, :, :, :, 0].transpose(0, 2, 5, 1, 3, 6, 4).reshape(84, 112, 3) * std + mean
    np.testing.assert_array_equal(np.rint(back * 255).astype(np.uint8), image)
