"""One reply that answers several steps of a chain: who is asked, and what each of the others is given of it."""

from collections.abc import Iterable, Mapping
from itertools import chain

from medproof.evaluation.prepare import Prepared
from medproof.records import Response
from medproof.scoring.steps import CHAIN_STEP

Followers = dict[str, list[tuple[str, Prepared]]]
"""By the key of the item that is asked, the others (with their keys) that its reply answers too."""


def share_calls(mine: Mapping[str, Prepared]) -> tuple[dict[str, Prepared], Followers]:
    """The item of each call, its first step, and who shares it: items of one case that show the model the same."""
    first: dict[tuple[str, str, str], str] = {}
    asked: dict[str, Prepared] = {}
    followers: Followers = {}
    for key, prepared in sorted(mine.items(), key=lambda pair: _step(pair[1])):
        messages = key if prepared.view is None else prepared.view.messages_json
        leader = first.setdefault((prepared.item.case, prepared.sha, messages), key)
        if leader == key:
            asked[key] = prepared
        else:
            followers.setdefault(leader, []).append((key, prepared))
    return asked, followers


def _step(prepared: Prepared) -> float:
    return 0.0 if prepared.view is None else prepared.view.info.get(CHAIN_STEP, 0.0)


def spread(responses: Iterable[Response], followers: Followers) -> list[Response]:
    """Each response, and behind it those of the items that share its call: tokens, price and time stay with the first,
    so that sums over responses are right."""
    return list(chain.from_iterable([r, *(_share(r, *other) for other in followers.pop(r.key, ()))] for r in responses))


def _share(response: Response, key: str, prepared: Prepared) -> Response:
    own = {} if prepared.view is None or response.error is not None else prepared.view.info
    return response.model_copy(
        update={
            "key": key,
            "item_id": prepared.item.id,
            "prompt_tokens": 0,
            "completion_tokens": 0,
            "info": own,
            "seconds": 0.0,
        }
    )
