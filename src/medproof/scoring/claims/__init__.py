"""What a reasoning text claims, by a small closed grammar, and whether the annotations of its item bear it out.

`lexicon` holds the vocabularies, `context` denial and doubt, `grammar` reads, `annotation` and `verdict` check. The
grammar, its limits and its measured precision and recall: docs/rationale_audit.md.
"""

from medproof.scoring.claims.claim import KINDS, Claim
from medproof.scoring.claims.grammar import claims

__all__ = ["KINDS", "Claim", "claims"]
