"""Sampled completions with their rewards, to be read by people: OUT/completions/step-000100.parquet and images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from medproof.images.preprocess import to_uint8
from medproof.models.prompts import REFUSAL
from medproof.records import pixels_sha256
from medproof.runs.atomic import disk_errors, write_bytes
from medproof.runs.images import Images
from medproof.training.adversarial_recipe import Shown
from medproof.training.group_buffer import GroupBuffer

FOLDER = "completions"


class CompletionsLog:
    """One row per completion. Columns: step, item_id, modality, question_type, mode, prompt, answer, options,
    image_sha256, attacked (whether that image is a perturbed one; it is kept in 8 bits), group (place in the batch),
    completion (place in the group), text, tokens, truncated,
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

    def write(self, step: int, buffer: GroupBuffer, shown: Shown = "attacked") -> None:
        """All groups of `buffer`; the perturbed side replied to the `shown` image. Raises UserError on a full disk."""
        with disk_errors(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)
        if shown == "clean":
            buffer = replace(buffer, perturbed=None)
        seen = [_seen(buffer, place) for place in range(len(buffer.groups))]
        self._images.write({pixels_sha256(image): image for row in seen for image in row}, "train")
        rows = [row for place, images in enumerate(seen) for row in self._rows(step, buffer, place, images)]
        sink = pa.BufferOutputStream()
        pq.write_table(pa.Table.from_pylist(rows, schema=self._schema()), sink)
        write_bytes(self._folder / f"step-{step:06d}.parquet", sink.getvalue().to_pybytes())

    def _rows(
        self, step: int, buffer: GroupBuffer, place: int, images: Sequence[npt.NDArray[np.uint8]]
    ) -> list[dict[str, object]]:
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
            "answer": REFUSAL if group.prompt.empty else item.answer,
            "group": place,
        }
        return [
            about
            | {
                "completion": g,
                "image_sha256": pixels_sha256(images[g]),
                "attacked": images[g] is not group.prompt.image,
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
        fields += [("options", pa.list_(text)), ("image_sha256", text), ("attacked", pa.bool_()), ("text", text)]
        fields += [("truncated", pa.bool_())]
        fields += [(f"reward_{name}", real) for name in self._names] + [("reward", real), ("advantage", real)]
        return pa.schema(fields)


def _seen(buffer: GroupBuffer, place: int) -> list[npt.NDArray[np.uint8]]:
    """The image that each completion of a group is a reply to."""
    group, perturbed = buffer.groups[place], buffer.perturbed
    image = None if perturbed is None else perturbed.images[place]
    if perturbed is None or image is None:
        return [group.prompt.image] * len(group.completions)
    attacked = to_uint8(image.clamp(0, 1))
    return [attacked if own else group.prompt.image for own in perturbed.attacked[place].tolist()]
