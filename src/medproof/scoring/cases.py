"""Every item of a run with all that was answered to it: the table behind the case browser."""

from __future__ import annotations

from typing import Any

from medproof.records import Item, Outcome, Response
from medproof.scoring.scored import RunLike, score
from medproof.scoring.summary import plain_json


def cases(run: RunLike) -> list[dict[str, Any]]:
    """One row per item, in the run's order, with `by_condition` holding what came back; absent where nothing did."""
    scored = score(run)
    rows = []
    for item_id, item in scored.items.items():
        cells = {
            condition: _cell(scored.responses[condition][item_id], outcome)
            for condition in scored.conditions
            if (outcome := scored.outcomes[condition].get(item_id)) is not None
        }
        rows.append({**_item(item), "by_condition": cells})
    plain: list[dict[str, Any]] = plain_json(rows)
    return plain


def _item(item: Item) -> dict[str, Any]:
    return {
        "id": item.id,
        "modality": item.modality,
        "anatomy": item.anatomy,
        "question_type": item.question_type,
        "source": item.source,
        "question": item.question,
        "options": item.options,
        "answer": item.answer,
        "evidence": None if item.evidence is None else item.evidence.model_dump(mode="json"),
    }


def _cell(response: Response, outcome: Outcome) -> dict[str, Any]:
    return {
        "status": outcome.status,
        "chosen": outcome.chosen,
        "rule": outcome.rule,
        "forced_choice": outcome.forced_choice,
        "text": response.text,
        "truncated": response.truncated,
        "error": response.error,
        "image_sha256": response.image_sha256,
        "option_logprobs": response.option_logprobs,
        "info": dict(response.info),
    }
