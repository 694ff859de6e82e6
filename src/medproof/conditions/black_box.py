"""Attacks without gradients: `square`."""

from collections.abc import Sequence
from typing import cast

from medproof.attacks import ThreatModel
from medproof.attacks.square import square
from medproof.attacks.vlm import LetterQueries, OptionQueries
from medproof.conditions.attacked import Batch, Found, found
from medproof.conditions.context import Context
from medproof.conditions.distances import budget
from medproof.conditions.kind import Arguments
from medproof.conditions.objectives import ENOUGH
from medproof.conditions.white_box import threat_of
from medproof.models.protocol import Scorer
from medproof.records import Condition, View


def square_views(views: Sequence[View], condition: Condition, given: Arguments, context: Context) -> list[View]:
    """`square(norm, eps, queries, reads)`. Raises UserError where the model does not tell what is to be read."""
    batch, queries = Batch(views, condition, context), int(given["queries"])
    if not views:
        return []
    results = run_square(batch, batch.everyone, threat_of(given), queries, reads=given["reads"])
    if given["reads"] == "options" and batch.reasons:
        batch.judge(batch.everyone, results)
        batch.keep_clean_if_wrong(results)
    return batch.shown(results, {**budget(given), "queries_allowed": float(queries)})


def run_square(
    batch: Batch, which: Sequence[int], threat: ThreatModel, queries: int, *, reads: str = "options", purpose: str = ""
) -> list[Found]:
    """Search by queries alone.

    reads: `options`, the margin of the option scores at the slot (behind the rationale of the clean image where the
    model reasons first); `letter`, the decoded reply, which then is the verdict too.
    """
    _, clean = batch.take(which)
    seeds, allowed, reader = batch.seeds(which, purpose), batch.allowed(which), batch.reader.part(which)
    if reads == "letter":
        letters = LetterQueries(reader)
        result = square(letters, clean, threat, queries=queries, seeds=seeds, allowed=allowed)
        batch.reader.adopt(reader, which)
        results = found(result, letters, queries=True)
        for one in results:
            one.decoded_success = one.success
        return results
    options = OptionQueries(cast(Scorer, batch.model), reader, batch.prefixes(which))
    enough = float("inf") if batch.reasons else ENOUGH
    result = square(options, clean, threat, queries=queries, seeds=seeds, allowed=allowed, enough=enough)
    return found(result, options, queries=True)
