"""Real runs in the real store, with a made-up model: for the tests of the report."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medproof.conditions import arguments, resolve
from medproof.records import Box, Evidence, Item, Response, pixels_sha256
from medproof.runs.sanity_file import write_sanity
from medproof.runs.store import RunStore
from medproof.sanity.catalogue import CATALOGUE
from medproof.sanity.checks import Check

Pixels = npt.NDArray[np.uint8]

NASTY = (
    "<script>alert(1)</script><img src=x onerror=alert(2)>",
    "\"quoted\" 'single' & ampersand </script><!-- <script>",
    "emoji 🩻 and line\u2028separator\u2029 and {{ braces }} {% raw %}",
    "هل تظهر الصورة ورما؟ \u202e reversed",
)
ATTACK = "pgd(linf,8/255,20)"
ALL = ("clean", "blank", "shuffled", "random_sign(8/255)", "pgd(linf,2/255,20)", ATTACK)
MODALITIES = ("CT", "Fundus Photography", "Dermoscopy", "X-Ray")
TYPES = ("Modality Recognition", "Disease Diagnosis", "Anatomy Identification")
RATES: Mapping[str, float] = {
    "clean": 0.88,
    "blank": 0.34,
    "shuffled": 0.33,
    "random_sign(8/255)": 0.85,
    "pgd(linf,2/255,20)": 0.55,
    ATTACK: 0.21,
}


UNION = "union(linf,8/255,20)"
MANY: Mapping[str, float] = {
    **RATES,
    "fgsm(linf,2/255)": 0.72,
    "fgsm(linf,8/255)": 0.48,
    "pgd(linf,2/255,20,objective=answer)": 0.6,
    "pgd(linf,8/255,20,objective=answer)": 0.28,
    "pgd(linf,8/255,40)": 0.2,
    "pgd(linf,8/255,20,restarts=3)": 0.19,
    "square(linf,8/255,500)": 0.5,
    "background(linf,8/255,20)": 0.4,
    UNION: 0.15,
    "pgd(l2,2,20)": 0.3,
    "random_l2(2)": 0.86,
    "cw(l2,100)": 0.0,
}
"""Conditions of a run with every kind of attack, with the accuracy of each."""


def make_sanity(*failed: str, not_run: str = "") -> dict[str, Any]:
    """sanity.json of ATTACK, and of all MANY, with every check; those named failed or were not run."""
    numbers = {"n": 64, "only_by_other": 0, "median_gain": 0.0125, "pgd(linf,8/255,40): p": 1.0}
    rows = [
        Check(name, "failed" if name in failed else "not run" if name == not_run else "passed", numbers).to_json()
        for name in CATALOGUE
    ]
    points = [(5, 1, 0.41), (10, 1, 0.27), (20, 1, 0.2), (40, 1, 0.2), (20, 2, 0.19)]
    curve = {"attack": "pgd", "norm": "linf", "eps_255": 8.0, "objective": "margin"}
    told = [{"steps": s, "restarts": r, "accuracy": a, "ci95": [a - 0.1, a + 0.1]} for s, r, a in points]
    return {
        "schema": 1,
        "subject": ATTACK,
        "attacks": [ATTACK, *MANY],
        "n_items": 64,
        "checks": rows,
        "convergence": [{**curve, "points": told}],
    }


def draw(*parts: object) -> float:
    """A number in [0, 1) that depends on `parts` alone."""
    digest = hashlib.sha256("|".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48


def make_item(number: int, nasty: bool = True) -> Item:
    options = ("Melanoma", "Nevus", "Seborrheic keratosis (SK), flat", "None of these")
    extra = NASTY[number % len(NASTY)] if nasty else ""
    boxes = (Box(label="lesion <b>", xyxy=(8.0, 10.0, 40.0, 44.0)),) if number % 2 else ()
    return Item(
        id=f"case/{number:03d} é",
        image=f"images/{number // 2}.png",
        width=64,
        height=64,
        case=f"case{number // 2}",
        patient=f"p{number // 2}",
        modality=MODALITIES[number % len(MODALITIES)],
        anatomy="skin",
        question_type=TYPES[number % len(TYPES)],  # type: ignore[arg-type]
        question=f"What does image {number} show? {extra}".strip(),
        options=options[: 2 + number % 3],
        answer=options[number % 2],
        evidence=Evidence(boxes=boxes) if boxes else None,
        source="maker:images",
        license="CC0 1.0",
        license_class="permissive",
    )


def make_image(number: int, condition: str, size: int = 56) -> Pixels:
    if condition == "blank":
        return np.full((size, size, 3), 128, np.uint8)
    subject = (number + 7) // 2 if condition == "shuffled" else number // 2
    rng = np.random.default_rng(subject)
    y, x = np.mgrid[0:size, 0:size] / size
    disc = np.hypot(x - 0.3 - 0.4 * rng.random(), y - 0.5) < 0.15 + 0.2 * rng.random()
    base = np.clip(60 + 90 * x + 70 * disc, 0, 255)
    image = np.stack([base, base * 0.85, base * 0.7], axis=-1).astype(np.int16)
    if "/255" in condition:
        eps = int(condition.partition("/255")[0].rpartition("(")[2].rpartition(",")[2])
        noise = np.random.default_rng(number).integers(0, 2, image.shape) * 2 - 1
        image = image + eps * noise
    return np.clip(image, 0, 255).astype(np.uint8)


def make_reply(item: Item, condition: str, mode: str, nasty: bool, rate: float) -> str:
    luck = draw(item.id, condition, mode)
    if luck > 0.97:
        return "I cannot say. " + (NASTY[0] if nasty else "")
    wrong = [option for option in item.options if option != item.answer]
    chosen = item.answer if draw(item.id, mode) * 0.7 + luck * 0.3 < rate else wrong[0]
    thought = f"<think>The image shows {chosen.lower()}. {NASTY[1] if nasty else ''}</think>" if mode == "think" else ""
    return f"{thought}<answer>{'ABCD'[item.options.index(chosen)]}</answer>"


def make_run(
    path: Path,
    *,
    mode: str = "direct",
    conditions: Sequence[str] = ALL,
    n: int = 24,
    nasty: bool = True,
    size: int = 56,
    rates: Mapping[str, float] = RATES,
    model: str = "nano",
    answer: bool = True,
    errors: int = 0,
    says: str | None = None,
    sanity: Mapping[str, Any] | None = None,
) -> Path:
    """A run folder with `n` items. With `answer` False it holds no response; the first `errors` of them failed;
    `says` is what the model says to everything; `sanity` goes into sanity.json."""
    items = [make_item(number, nasty) for number in range(n)]
    meta = {
        "model": model,
        "model_name": model,
        "mode": mode,
        "dataset": "sample",
        "split": "test",
        "limit": None,
        "seed": 0,
        "conditions": list(conditions),
        "arguments": {key: dict(arguments(resolve(key))) for key in conditions},
        "decoding": {"max_new_tokens": 16, "temperature": 0.0, "top_p": 1.0},
        "weights_hash": "ab" * 32,
        "processor_hash": "cd" * 32,
        "dataset_fingerprint": "ef" * 32,
        "quarantined": [{"where": f"ct.jsonl:{row}", "reason": f"bad row {NASTY[0]}"} for row in range(60)],
        "versions": {"medproof": "0.1.0", "torch": "2.13.0"},
        "hardware": {"cpu": "a processor", "cores": 2, "memory_gib": 8.0},
        "created": "2025-01-02T03:04:05+00:00",
        "text_prior": {"accuracy": 0.41, "n": n, "ci95": [0.3, 0.52]},
        "command": ["medproof", "run", "--model", model],
        "grid": {"patch_size": 14},
    }
    with RunStore(path).create(meta, items) as store:
        for condition in conditions if answer else ():
            pictures = [make_image(number, condition, size) for number in range(n)]
            responses = [
                _response(item, picture, condition, mode, nasty, rates.get(condition, 0.5), number < errors)
                for number, (item, picture) in enumerate(zip(items, pictures, strict=True))
            ]
            if says is not None:
                responses = [response.model_copy(update={"text": says}) for response in responses]
            store.append(responses, {pixels_sha256(picture): picture for picture in pictures})
    if sanity is not None:
        write_sanity(path, dict(sanity))
    return path


def make_info(item: Item, condition: str) -> dict[str, float]:
    """The numbers that an attack stores."""
    info = {"forwards": 21.0, "backwards": 20.0}
    if condition.startswith("square"):
        info["queries"] = 250.0
    if condition.startswith("cw"):
        info["l2"] = 0.4 + 3 * draw(item.id, "distance")
    if condition == UNION:
        fell = draw(item.id, "union") < 0.6
        info |= {"member_fgsm_margin": 0.0 if fell else 1.0, **({} if fell else {"member_pgd_margin": 0.0})}
    return info


def _response(
    item: Item, picture: Pixels, condition: str, mode: str, nasty: bool, rate: float, broken: bool
) -> Response:
    text = "" if broken else make_reply(item, condition, mode, nasty, rate)
    logprobs = np.log(np.array([0.5 + draw(item.id, condition, option) for option in item.options]))
    return Response(
        key=hashlib.sha256(f"{item.id}{condition}{mode}".encode()).hexdigest(),
        item_id=item.id,
        condition=condition,
        mode=mode,  # type: ignore[arg-type]
        text=text,
        completion_tokens=9,
        option_logprobs=None if broken else tuple(float(value) for value in logprobs),
        image_sha256=pixels_sha256(picture),
        info=make_info(item, condition),
        error="out of memory" if broken else None,
    )
