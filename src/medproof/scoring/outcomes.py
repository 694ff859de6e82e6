"""One response -> one Outcome: exactly one of correct, wrong, abstain, unparsed, error."""

from __future__ import annotations

import math
from collections.abc import Sequence

from medproof.records import Item, Outcome, Response, Status
from medproof.scoring.asked import asked
from medproof.scoring.parse import parse
from medproof.scoring.refusal import is_refusal_option
from medproof.scoring.steps import own_part


def outcome(item: Item, response: Response) -> Outcome:
    """Score `response` to `item`. Options are compared by content, so their order does not matter later.

    - `error` where the response carries one, and where its option log-probabilities are broken (wrong number, NaN,
      +inf, or all -inf): such a forward pass cannot be trusted, its decoded text neither.
    - A truncated reply is parsed like any other; what does not parse is `unparsed`.
    - Options and answer are those of the item as asked under the condition (`scoring.asked`); of a reply to a whole
      chain, the item's own part is read (`scoring.steps`).
    - Choosing a refusal option is `abstain`, unless it is the answer: then `correct`, and so is a refusal in words.
    - `forced_choice` is a second, separate reading: the option of largest log-probability, of equals the first.

    Raises ValueError where the response belongs to another item.
    """
    if response.item_id != item.id:
        raise ValueError(f"response to item {response.item_id!r} scored against item {item.id!r}")
    if response.error is not None:
        return _outcome(item, response, "error", rule="error")
    item = asked(item, response.info)
    forced = None
    if response.option_logprobs is not None:
        if _broken(response.option_logprobs, len(item.options)):
            return _outcome(item, response, "error", rule="bad_logprobs")
        forced = item.options[response.option_logprobs.index(max(response.option_logprobs))]
    parsed = parse(own_part(response.text, response.info), item.options, response.mode)
    chosen = None if parsed.choice is None else item.options[parsed.choice]
    if parsed.status == "abstain" and chosen is None and is_refusal_option(item.answer):
        chosen = item.answer
    status: Status
    if chosen == item.answer:
        status = "correct"
    elif parsed.status == "chosen":
        status = "wrong"
    else:
        status = parsed.status
    return _outcome(item, response, status, chosen=chosen, rule=parsed.rule, forced_choice=forced)


def _broken(logprobs: Sequence[float], n_options: int) -> bool:
    if len(logprobs) != n_options or any(math.isnan(value) or value == math.inf for value in logprobs):
        return True
    return max(logprobs) == -math.inf


def _outcome(
    item: Item,
    response: Response,
    status: Status,
    *,
    chosen: str | None = None,
    rule: str,
    forced_choice: str | None = None,
) -> Outcome:
    return Outcome(
        item_id=item.id,
        condition=response.condition,
        mode=response.mode,
        status=status,
        chosen=chosen,
        rule=rule,
        forced_choice=forced_choice,
    )
