"""The sampled completions of a training, from OUT/completions: a bounded, evenly spaced part of them."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from medproof.errors import UserError
from medproof.report.wording import MISSING
from medproof.runs.images import Images

MAX_GROUPS = 120
"""On the page, over all trainings."""
MAX_PICTURE_BYTES = 6 * 2**20
"""Of PNG, over all trainings."""
MAX_TEXT = 2000
"""Characters of one completion."""


@dataclass(frozen=True)
class CompletionRow:
    """rewards: as text, in the order of `Browser.rewards`; better: its advantage is above 0, None at 0."""

    text: str
    cut: int
    tokens: int
    truncated: bool
    rewards: tuple[str, ...]
    total: str
    advantage: str
    better: bool | None


@dataclass(frozen=True)
class GroupView:
    """A prompt with its completions. picture: a data URI; None: `missing` says why."""

    step: int
    about: str
    prompt: str
    answer: str
    picture: str | None
    missing: str
    reward: str
    equal: bool
    completions: tuple[CompletionRow, ...]


@dataclass(frozen=True)
class Browser:
    """rewards: names of the reward functions; total: the groups that are stored."""

    rewards: tuple[str, ...]
    steps: tuple[int, ...]
    groups: tuple[GroupView, ...]
    total: int


class Budget:
    """What is left of `MAX_PICTURE_BYTES`."""

    def __init__(self, left: int = MAX_PICTURE_BYTES) -> None:
        self.left = left

    def takes(self, size: int) -> bool:
        """Whether `size` more bytes fit; if so they are spent."""
        fits = size <= self.left
        self.left -= size if fits else 0
        return fits


def read_browser(folder: Path, most: int, budget: Budget) -> Browser | None:
    """At most about `most` groups of a training folder, from evenly spaced steps with the first and the last among
    them; None where none were stored. Raises UserError where a file is damaged."""
    files = sorted((folder / "completions").glob("step-*.parquet"))
    if not files:
        return None
    counts = [_groups_in(file) for file in files]
    steps = max(2, most // max(counts)) if most > 1 else 1
    chosen = [files[i] for i in _spread(len(files), steps)]
    images = Images(folder / "completions")
    names: tuple[str, ...] = ()
    groups: list[GroupView] = []
    for file in chosen:
        rows = _rows(file)
        names = names or tuple(key.removeprefix("reward_") for key in rows[0] if key.startswith("reward_"))
        groups += [_group(group, names, images, budget) for group in _by_group(rows)]
    return Browser(names, tuple(dict.fromkeys(group.step for group in groups)), tuple(groups), sum(counts))


def _spread(count: int, most: int) -> list[int]:
    """At most `most` of the places 0..count-1, evenly spaced, the first and the last among them."""
    if count <= most:
        return list(range(count))
    return [round(i * (count - 1) / (most - 1)) for i in range(most)] if most > 1 else [count - 1]


def _groups_in(file: Path) -> int:
    return len(_by_group(_rows(file, ["group"])))


def _rows(file: Path, columns: Sequence[str] | None = None) -> list[dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        rows: list[dict[str, Any]] = pq.read_table(file, columns=columns).to_pylist()
    except (pa.ArrowException, OSError, KeyError) as error:
        raise UserError(f"{file} is damaged ({type(error).__name__}): delete it and report again") from error
    return rows


def _by_group(rows: Sequence[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    groups: dict[int, list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(row["group"], []).append(row)
    return list(groups.values())


def _group(rows: Sequence[Mapping[str, Any]], names: Sequence[str], images: Images, budget: Budget) -> GroupView:
    first = rows[0]
    picture, missing = _picture(str(first["image_sha256"]), images, budget)
    totals = [row["reward"] for row in rows if row["reward"] is not None and row["reward"] == row["reward"]]
    return GroupView(
        step=first["step"],
        about=" · ".join(str(first[key]) for key in ("modality", "question_type", "mode", "item_id")),
        prompt=first["prompt"],
        answer=first["answer"],
        picture=picture,
        missing=missing,
        reward=_number(fmean(totals)) if totals else MISSING,
        equal=len(set(totals)) <= 1,
        completions=tuple(_completion(row, names) for row in rows),
    )


def _completion(row: Mapping[str, Any], names: Sequence[str]) -> CompletionRow:
    text, advantage = row["text"], row["advantage"]
    return CompletionRow(
        text=text[:MAX_TEXT],
        cut=max(0, len(text) - MAX_TEXT),
        tokens=row["tokens"],
        truncated=row["truncated"],
        rewards=tuple(_number(row.get(f"reward_{name}")) for name in names),
        total=_number(row["reward"]),
        advantage=_number(advantage, sign=True),
        better=None if not advantage else advantage > 0,
    )


def _picture(sha: str, images: Images, budget: Budget) -> tuple[str | None, str]:
    """(data URI, "") or (None, why not). The file is checked against its hash."""
    try:
        if images.read(sha) is None:
            return None, "not stored"
        png = images.path(sha).read_bytes()
    except (UserError, OSError):
        return None, "the stored picture is damaged"
    if not budget.takes(len(png)):
        return None, "left out, so that the page stays small"
    return f"data:image/png;base64,{base64.b64encode(png).decode()}", ""


def _number(value: float | None, sign: bool = False) -> str:
    if value is None or value != value:
        return MISSING
    return (f"{value:+.2f}" if sign and value else f"{value:.2f}").replace("-", "−")
