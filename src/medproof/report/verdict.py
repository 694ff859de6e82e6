"""The one sentence per run that a hurried reader takes away, and the alarms that go with it."""

from dataclasses import dataclass
from typing import Any, Literal

from medproof.report.wording import NBSP, eps_text, in_words, join_words, name_of, percent

LOOKS_GAP = 0.20
PARTLY_GAP = 0.05
FEW = 30
ABSENT = ("blank", "noimage")
SWAPPED = "shuffled"

Looks = Literal["looks", "kind", "partly", "unclear", "blind", "unknown", "empty"]
OPENINGS: dict[Looks, str] = {
    "looks": "Looks at the image",
    "kind": "Tells a real image from a blank one, but another case's image does as well",
    "partly": "Looks only partly at the image",
    "unclear": "Cannot tell yet whether it looks at the image",
    "blind": "No sign that it looks at the image",
    "unknown": "Not known whether it looks at the image",
    "empty": "No answers on the clean image yet",
}


@dataclass(frozen=True)
class Alarm:
    """`level` is "stop" (do not use the numbers), "warn" or "note"."""

    level: Literal["stop", "warn", "note"]
    short: str
    text: str


@dataclass(frozen=True)
class Verdict:
    looks: Looks
    opening: str
    numbers: str
    alarms: tuple[Alarm, ...]

    @property
    def sentence(self) -> str:
        return f"{self.opening}: {self.numbers}" if self.numbers else self.opening


def attacks_of(summary: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Attack blocks by condition key; empty when none was run."""
    return dict((summary.get("robust") or {}).get("attacks") or {})


def text_prior_of(summary: dict[str, Any]) -> dict[str, Any] | None:
    """{accuracy, ci95, n} of the option-count table fitted on the training split, which never sees an image."""
    block = (summary.get("reliance") or {}).get("text_prior")
    return block if block and block.get("accuracy") is not None else None


def given_modality_of(summary: dict[str, Any]) -> float | None:
    """Accuracy of one such table per modality: it is told what the model has to see."""
    stored = (summary.get("provenance") or {}).get("text_prior")
    value = stored.get("given_modality") if isinstance(stored, dict) else None
    return float(value) if isinstance(value, int | float) else None


def verdict(summary: dict[str, Any]) -> Verdict:
    """From a run's summary.

    Measured against the better of blank and absent image (against the shuffled one where neither was run): "looks" is a
    gap of at least 20 points, "partly" of 5, both with a 95 % interval that excludes zero; "unclear" is such a gap
    without it. "kind" looks by that measure but loses less than 5 points when the images of cases of the same modality
    and question are exchanged, as a model may on questions about the kind of image.
    """
    looks = _looks(summary)
    return Verdict(looks, OPENINGS[looks], _numbers(summary), tuple(_alarms(summary, looks)))


def _answered(summary: dict[str, Any], key: str) -> dict[str, Any] | None:
    block = (summary.get("conditions") or {}).get(key)
    return block if block and block.get("n") and block.get("accuracy") is not None else None


def _looks(summary: dict[str, Any]) -> Looks:
    if _answered(summary, "clean") is None:
        return "empty"
    gaps: dict[str, tuple[float, bool]] = {}
    for key in (*ABSENT, SWAPPED):
        if (found := _gap(summary, key)) is not None:
            gaps[key] = found
    if not gaps:
        return "unknown"
    without = [gaps[key] for key in ABSENT if key in gaps]
    gap, apart = min(without or list(gaps.values()))
    if gap < PARTLY_GAP:
        return "blind"
    if not apart:
        return "unclear"
    if gap < LOOKS_GAP:
        return "partly"
    return "kind" if SWAPPED in gaps and gaps[SWAPPED][0] < PARTLY_GAP else "looks"


def _gap(summary: dict[str, Any], key: str) -> tuple[float, bool] | None:
    """Clean minus `key` accuracy, and whether its interval excludes zero: the paired interval where scoring gives one,
    else two intervals that do not touch.
    """
    clean, control = _answered(summary, "clean"), _answered(summary, key)
    if clean is None or control is None:
        return None
    paired = (summary.get("reliance") or {}).get({"blank": "blank_drop", SWAPPED: "VRS"}.get(key, ""))
    if paired and paired.get("value") is not None and paired.get("ci95"):
        return float(paired["value"]), paired["ci95"][0] > 0
    return clean["accuracy"] - control["accuracy"], clean["ci95"][0] > control["ci95"][1]


def _numbers(summary: dict[str, Any]) -> str:
    if _answered(summary, "clean") is None:
        return ""
    seen = [("clean", "clean"), ("blank", "blank"), ("shuffled", "shuffled"), ("noimage", "no image")]
    parts = [f"{word} {percent(block['accuracy'], 0)}" for key, word in seen if (block := _answered(summary, key))]
    if (prior := text_prior_of(summary)) is not None:
        parts.append(f"text prior {percent(prior['accuracy'], 0)}")
    attacks = {key: block for key, block in attacks_of(summary).items() if block.get("accuracy") is not None}
    if not attacks:
        return ", ".join(parts)
    key = min(attacks, key=lambda k: (attacks[k]["accuracy"], k))
    left = f"{_attack_words(key, attacks[key])} leaves {percent(attacks[key]['accuracy'], 0)}"
    return f"{', '.join(parts)}; {left}{_control(attacks[key])}"


def _attack_words(key: str, attack: dict[str, Any]) -> str:
    norm = " L2" if attack.get("norm") == "l2" else ""
    return in_words(key) if attack.get("eps_255") is None else f"{in_words(name_of(key))} at{norm} {eps_text(attack)}"


def _control(attack: dict[str, Any]) -> str:
    accuracy = (attack.get("control") or {}).get("accuracy")
    return "" if accuracy is None else f" (random noise of that size: {percent(accuracy, 0)})"


def _alarms(summary: dict[str, Any], looks: Looks) -> list[Alarm]:
    conditions: dict[str, dict[str, Any]] = summary.get("conditions") or {}
    alarms: list[Alarm] = []
    if summary.get("incomplete"):
        names = {"error": "failed", "missing": "missing"}
        counts = {word: sum(int(b.get(name) or 0) for b in conditions.values()) for name, word in names.items()}
        why = (
            join_words(
                [f"{count} {'reply' if count == 1 else 'replies'} {word}" for word, count in counts.items() if count]
            )
            or "Nothing was run"
        )
        alarms.append(Alarm("stop", "INCOMPLETE", f"{why}: run the same command again to finish the run."))
    same = [key for key, block in conditions.items() if block.get("degenerate")]
    if "clean" in same:
        alarms.append(
            Alarm("stop", "degenerate", f"One answer takes more than 90{NBSP}% of the replies on the clean image.")
        )
    if others := [in_words(key) for key in same if key != "clean"]:
        text = f"One answer takes more than 90{NBSP}% of the replies under: {join_words(others)}."
        alarms.append(Alarm("note", "degenerate", text))
    clean = _answered(summary, "clean")
    prior = text_prior_of(summary)
    if clean and prior is not None and prior["accuracy"] >= clean["accuracy"]:
        alarms.append(Alarm("warn", "text prior", "No better than a table of answer counts that never sees an image."))
    elif clean and (told := given_modality_of(summary)) is not None and told >= clean["accuracy"]:
        text = f"A table of answer counts that is told the modality, and sees no image, gets {percent(told, 0)}."
        alarms.append(Alarm("warn", "text prior", text))
    checked = (summary.get("robust") or {}).get("validation") or {}
    if checked.get("state") == "not validated":
        text = f"The attack is not strong enough to be believed ({checked['reason']}): accuracy under it is too high."
        alarms.append(Alarm("warn", "not validated", text))
    elif checked.get("state") == "not checked":
        text = f"Whether the attack is strong enough was not checked ({checked['reason']})."
        alarms.append(Alarm("note", "not checked", text))
    if attacks_of(summary) and looks == "unknown":
        text = "Robust numbers without a blank or shuffled image beside them: a model that never looks would pass."
        alarms.append(Alarm("warn", "unproven", text))
    if clean and clean["n"] < FEW:
        alarms.append(Alarm("note", "few items", f"Only {clean['n']} answers: intervals are wide."))
    return alarms
