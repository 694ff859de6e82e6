"""A run of a little benchmark in the real store: chains of four steps, with hints, cues, masks and protocols."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from report_runs import NASTY, Pixels, draw, make_image

from medproof.records import Box, Evidence, Item, Response, pixels_sha256
from medproof.runs.store import RunStore

SIZE = 56
HINTS = [f"hint({which},{source})" for source in ("authority", "peer") for which in ("correct", "wrong", "neutral")]
ON_BLANK = [f"hint({which},authority,image=blank)" for which in ("correct", "wrong", "neutral")]
PROBES = [
    *(f"cue(box,{where})" for where in ("true", "wrong", "elsewhere")),
    *(f"masked({where},grey)" for where in ("region", "elsewhere")),
    *(f"region_only({where})" for where in ("region", "elsewhere")),
    "wording(paraphrase)",
    *(f"rotated({by})" for by in (1, 2, 3)),
]
PROTOCOLS = [f"steps({how})" for how in ("teacher_forced", "self_conditioned", "joint")]
EVERYTHING = ("clean", "blank", *HINTS, *ON_BLANK, *PROBES, *PROTOCOLS)
BOXES = ("[100, 100, 500, 600]", "[500, 500, 900, 900]", "[0, 600, 300, 1000]", "[600, 0, 900, 300]")
STEPS = (("S1", "modality"), ("S2", "lesion_box"), ("S3", "lesion_shape"), ("S4", "diagnosis"))
TEXTS = ("cyst", "mass", "nodule", "scar")


def make_chain(number: int) -> list[Item]:
    """One case; its box lies at (10, 10) to (50, 60) of 100 x 100 pixels."""
    items: list[Item] = []
    for place, (stage, task) in enumerate(STEPS):
        options = BOXES if task == "lesion_box" else TEXTS
        gold = 0 if task == "lesion_box" else (number + place) % 4
        items.append(
            Item(
                id=f"case{number}/{task}",
                image=f"images/{number}.png",
                width=100,
                height=100,
                case=f"case{number}",
                patient=f"p{number}",
                modality=("CT", "X-Ray")[number % 2],
                question_type="Disease Diagnosis",
                stage=stage,  # type: ignore[arg-type]
                question=f"{task} of case {number}? {NASTY[0] if number == 0 else ''}".strip(),
                options=options,
                answer=options[gold],
                parents=(items[-1].id,) if items else (),
                evidence=Evidence(boxes=(Box(label="lesion <b>", xyxy=(10.0, 10.0, 50.0, 60.0)),)),
            )
        )
    return items


def make_picture(number: int, condition: str) -> Pixels:
    """As `report_runs.make_image`; with the evidence masked, a grey rectangle over it."""
    image = make_image(2 * number, "blank" if condition == "blank" or "image=blank" in condition else "clean", SIZE)
    if condition.startswith("masked(region"):
        image = image.copy()
        image[6:34, 6:28] = 128
    return np.ascontiguousarray(image)


def make_bench_run(
    path: Path, *, n: int = 8, conditions: Sequence[str] = EVERYTHING, model: str = "nano", skill: float = 0.8
) -> Path:
    """A run folder of `n` chains, answered by a model that follows wrong hints half of the time."""
    chains = [make_chain(number) for number in range(n)]
    meta = {"model": model, "model_name": model, "mode": "direct", "dataset": "bench", "seed": 0}
    meta |= {"conditions": list(conditions), "weights_hash": "ab" * 32, "created": "2025-01-02T03:04:05+00:00"}
    with RunStore(path).create(meta, [item for chain in chains for item in chain]) as store:
        for condition in conditions:
            pictures = [make_picture(number, condition) for number in range(n)]
            replies = [
                _response(item, condition, picture, model, skill)
                for chain, picture in zip(chains, pictures, strict=True)
                for item in chain
            ]
            store.append(replies, {pixels_sha256(picture): picture for picture in pictures})
    return path


def _response(item: Item, condition: str, picture: Pixels, model: str, skill: float) -> Response:
    turned = int(condition[8:-1]) if condition.startswith("rotated") else 0
    wrong = (item.answer_index + 1) % 4
    suggested = item.answer_index if "correct" in condition or condition == "cue(box,true)" else wrong
    chosen = item.answer_index if draw(item.id, model, condition) < skill else wrong
    if condition.startswith("hint(wrong") and draw(item.id, condition, "follow") < 0.5:
        chosen = wrong
    info = {"options_turned": float(turned)} if turned else {}
    if condition.startswith(("hint", "cue")):
        info["suggested"] = float(suggested)
    return Response(
        key=hashlib.sha256(f"{item.id}{condition}".encode()).hexdigest(),
        item_id=item.id,
        condition=condition,
        mode="direct",
        text=f"<answer>{'ABCD'[(chosen - turned) % 4]}</answer>",
        image_sha256=pixels_sha256(picture),
        info=info,
    )
