"""Sampled completions with their rewards, to be read by people: OUT/completions/step-000100.parquet and images."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from medproof.records import pixels_sha256
from medproof.runs.atomic import disk_errors, write_bytes
from medproof.runs.images import Images
from medproof.training.group_buffer import GroupBuffer

FOLDER = "completions"


class CompletionsLog:
    """One row per completion. Columns: step, item_id, modality, question_type, mode, prompt, answer, options,
    image_sha256, group (place in the batch), completion (place in the group), text, tokens, truncated,
    reward_NAME for every reward function (null where it gave None), reward (their weighed sum), advantage.

    Every image is kept once, as images/SHA.png with the SHA-256 of `records.pixels_sha256`.
    """

    def __init__(self, out: Path, reward_names: tuple[str, ...]) -> None:
        self._folder = out / FOLDER
        self._images = Images(self._folder)
        self._names = reward_names

    def drop_after(self, step: int) -> None:
        """Remove what was written after the checkpoint that training goes on from, and what an earlier run left."""
        for path in self._folder.glob("step-*.parquet"):
            if step == 0 or int(path.stem.removeprefix("step-")) > step:
                path.unlink()

    def write(self, step: int, buffer: GroupBuffer) -> None:
        """All groups of `buffer`. Raises UserError on a full disk."""
        with disk_errors(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)
        shown = {pixels_sha256(group.prompt.image): group.prompt.image for group in buffer.groups}
        self._images.write(shown, "train")
        rows = [row for place in range(len(buffer.groups)) for row in self._rows(step, buffer, place)]
        sink = pa.BufferOutputStream()
        pq.write_table(pa.Table.from_pylist(rows, schema=self._schema()), sink)
        write_bytes(self._folder / f"step-{step:06d}.parquet", sink.getvalue().to_pybytes())

    def _rows(self, step: int, buffer: GroupBuffer, place: int) -> list[dict[str, object]]:
        group = buffer.groups[place]
        item = group.prompt.item
        about = {
            "step": step,
            "item_id": item.id,
            "modality": item.modality,
            "question_type": item.question_type,
            "mode": group.prompt.mode,
            "prompt": "\n".join(message.text for message in group.prompt.messages),
            "options": list(item.options),
            "answer": item.answer,
            "image_sha256": pixels_sha256(group.prompt.image),
            "group": place,
        }
        return [
            about
            | {
                "completion": g,
                "text": completion.text,
                "tokens": len(completion.ids),
                "truncated": completion.truncated,
                "reward": float(buffer.totals[place, g]),
                "advantage": float(buffer.advantages[place, g]),
            }
            | {
                f"reward_{name}": None if value != value else value
                for name, value in zip(self._names, buffer.rewards[place, g].tolist(), strict=True)
            }
            for g, completion in enumerate(group.completions)
        ]

    def _schema(self) -> pa.Schema:
        text, number, real = pa.string(), pa.int64(), pa.float64()
        fields = [("step", number), ("group", number), ("completion", number), ("tokens", number)]
        fields += [(name, text) for name in ("item_id", "modality", "question_type", "mode", "prompt", "answer")]
        fields += [("options", pa.list_(text)), ("image_sha256", text), ("text", text), ("truncated", pa.bool_())]
        fields += [(f"reward_{name}", real) for name in self._names] + [("reward", real), ("advantage", real)]
        return pa.schema(fields)
