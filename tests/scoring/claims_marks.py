"""Precision and recall of the grammar on the hand-made sentences of claims.jsonl. Prints them when run.

A line: `text`, its `options` where it concludes, `part` ("dev", or "held_out": written after the grammar was
frozen), and the `claims` a careful reader finds, as "kind=value": "-" before it where denied, "?" where said with
doubt, "@thing" behind it where it matters of what it is said. A claim is found where all of that agrees.
"""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from medproof.scoring.claims import KINDS, Claim, claims

SENTENCES = Path(__file__).parent / "claims.jsonl"


@dataclass
class Marks:
    """By kind: how many claims were right, and how many the grammar and the reader found."""

    right: Counter[str] = field(default_factory=Counter)
    found: Counter[str] = field(default_factory=Counter)
    true: Counter[str] = field(default_factory=Counter)

    def precision(self, kinds: tuple[str, ...] = KINDS) -> float:
        return _ratio(sum(self.right[k] for k in kinds), sum(self.found[k] for k in kinds))

    def recall(self, kinds: tuple[str, ...] = KINDS) -> float:
        return _ratio(sum(self.right[k] for k in kinds), sum(self.true[k] for k in kinds))


def rows(part: str | None = None) -> list[dict[str, list[str] | str]]:
    lines = [json.loads(line) for line in SENTENCES.read_text(encoding="utf-8").splitlines()]
    return [line for line in lines if part in (None, line["part"])]


def measure(part: str | None = None) -> tuple[Marks, list[str]]:
    """The marks, and one line per difference."""
    marks, differences = Marks(), []
    for row in rows(part):
        wanted = list(dict.fromkeys(row["claims"]))
        for claim in _distinct(claims(str(row["text"]), tuple(row.get("options", ())))):
            marks.found[claim.kind] += 1
            match = next((form for form in _forms(claim) if form in wanted), None)
            if match is None:
                differences.append(f"{row['text']}  + {next(_forms(claim))}")
            else:
                marks.right[claim.kind] += 1
                wanted.remove(match)
        differences += [f"{row['text']}  missed {form}" for form in wanted]
        for form in dict.fromkeys(row["claims"]):
            marks.true[form.lstrip("?-").partition("=")[0]] += 1
    return marks, differences


def _distinct(found: tuple[Claim, ...]) -> list[Claim]:
    return list({(next(_forms(claim)), claim.about): claim for claim in found}.values())


def _forms(claim: Claim) -> Iterator[str]:
    plain = f"{'?' if claim.hedged else ''}{'' if claim.positive else '-'}{claim.kind}={claim.value}"
    yield plain
    yield f"{plain}@{claim.about}"


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else 1.0


if __name__ == "__main__":
    for part in ("dev", "held_out"):
        marks, differences = measure(part)
        print(f"\n{part}: {len(rows(part))} sentences, {sum(marks.true.values())} claims")
        for kinds in (*((kind,) for kind in KINDS), KINDS):
            name = kinds[0] if len(kinds) == 1 else "all"
            n = sum(marks.true[kind] for kind in kinds)
            print(f"{name:10} n {n:4} precision {marks.precision(kinds):.3f} recall {marks.recall(kinds):.3f}")
        print("\n".join(differences))
