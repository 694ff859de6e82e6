"""Scorers of OmniMedVQA's tables, only to reproduce those. They never enter a headline, and `summary` never sees them.

Both always name an option, whatever the reply: a refusal, an empty string and noise get one too.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from medproof.errors import UserError


def closest_string(text: str, options: Sequence[str]) -> int:
    """Index of the option most like `text` by `difflib.SequenceMatcher.ratio`; of equals, the first.

    OmniMedVQA (Hu et al., CVPR 2024), question-answering score.
    """
    ratios = [difflib.SequenceMatcher(None, option, text).ratio() for option in options]
    return ratios.index(max(ratios))


def prefix_likelihood(token_logprobs: Sequence[Sequence[float]]) -> int:
    """Index of the option whose text the model finds likeliest after the question; of equals, the first.

    `token_logprobs`: per option the log-probabilities (nats) of its tokens; their mean is compared, so length does not
    count. OmniMedVQA, prefix-based score. Raises UserError on an option without tokens.
    """
    if not token_logprobs or any(len(tokens) == 0 for tokens in token_logprobs):
        raise UserError("prefix likelihood needs at least one token log-probability for every option")
    means = [sum(tokens) / len(tokens) for tokens in token_logprobs]
    return means.index(max(means))
