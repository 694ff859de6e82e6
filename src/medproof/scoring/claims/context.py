"""Which stretches of a sentence are denied, and which are said with doubt.

In the manner of NegEx (Chapman et al. 2001): a trigger reaches from where it stands to the end of its clause, one that
follows what it denies reaches back to the clause's beginning.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise

Span = tuple[int, int]

SENTENCE_END = re.compile(r"(?<=[.!?])(?<!\bvs\.)(?<!\bca\.)\s+|\n+")

_VERB = r"(?:is|are|was|were|has|have|shows?|lies?|appears?|measures?|suggests?|reveals?|demonstrates?|there|contains?)"
_SEEN = r"(?:seen|visible|present|identified|detected|evident|demonstrated|found|shown|observed|noted|apparent)"
_CLAUSE_END = re.compile(
    r";|\s[-–—]+\s|—|\b(?:but|however|although|though|while|whereas|yet|except|apart from|other than|therefore|because"
    r"|since|hence|thus|which|with the exception of|so)\b"
    rf"|,(?=\s*(?:and\s+)?(?:a|an|the|this|there|it|its|with|consistent|compatible|suggesting|one|two)\b)"
    rf"|,(?=[^,;.]*\b{_VERB}\b(?! {_SEEN}))"
    r"|,(?=\s*not\b)|\band(?=\s+(?:a|an|the|there|it|is|lies|has|shows|measures)\b)"
)

_NO_DENIAL = re.compile(
    r"\b(?:no doubt|without (?:a )?doubt|not only|no (?:significant |interval )?(?:change|increase|decrease)|no longer"
    r"|not necessarily|(?:cannot|can not|can't|could not) (?:be )?(?:entirely |completely )?(?:excluded?|ruled? out)"
    r"|not (?:be )?(?:excluded|ruled out)|not (?:certain|sure|clear)|if not|no (?:fewer|less|more) than)"
)
_DENIES = re.compile(
    r"\b(?:no|not|without|absence of|negative for|free of|free from|lacks?|lacking|neither|nor|never|none of"
    r"|rather than|than (?:with|for|of)|instead of|unlike|cannot be|can't be|devoid of|excludes?|excluding|rules out"
    r"|ruled out|isn't|aren't|doesn't|don't|wasn't|fails? to show|cannot see|zero)\b|\b0(?= [a-z])"
)
_DENIED = re.compile(
    r"\b(?:absent|(?:not|n't|cannot be|can not be|never)(?: \w+ly)? "
    r"(?:seen|visible|present|identified|detected|evident|demonstrated|found|shown|observed|noted|visuali[sz]ed"
    r"|apparent|appreciated|there)|(?<!not )(?:been )?(?<!be )(?:ruled out|excluded)|unlikely"
    r"|(?<=: )(?<!off: )(?:none|absent|no)\b|missing|lacking\.)"
)
_DOUBT_AHEAD = re.compile(
    r"\b(?:may|might|could|possibl[ey]|perhaps|maybe|probabl[ey]|presumabl[ey]|suspected|suspicious for|suspicion of"
    r"|suggest\w*|questionable|likely|seems?|versus|vs|if|whether|differential|rule out|to exclude|not necessarily"
    r"|concern(?:ing)? for|not (?:certain|sure|clear))\b"
)
_DOUBT_BEHIND = re.compile(
    r"\b(?:(?:is|are|remains?) (?:possible|likely|suspected|questionable|uncertain|probable|conceivable)|unlikely"
    r"|versus|vs\b|(?:cannot|can not|can't|could not) (?:be )?(?:entirely |completely )?(?:excluded?|ruled? out)"
    r"|not (?:be )?(?:excluded|ruled out))|\?"
)
_MORE_OF_IT = re.compile(r"\b(?:no|without)\s+(?:any )?(?:other|further|additional|second|more|new)\s")
"""What is denied is another one: this says nothing of the first."""


@dataclass(frozen=True)
class Context:
    """Of one sentence in lower case: clauses, and the stretches denied, doubted, and about further ones."""

    clauses: tuple[Span, ...]
    denied: tuple[Span, ...]
    doubted: tuple[Span, ...]
    further: tuple[Span, ...]

    def clause(self, place: int) -> Span:
        return next((span for span in self.clauses if span[0] <= place < span[1]), self.clauses[-1])


def context(sentence: str, consumed: tuple[Span, ...], findings: tuple[int, ...]) -> Context:
    """consumed: terms of the lexicon, inside which nothing is a trigger ("without contrast", "no contrast").
    findings: where findings are named."""
    ends = [match.start() for match in _CLAUSE_END.finditer(sentence) if not inside(match.start(), consumed)]
    clauses = tuple(pairwise([0, *ends, len(sentence) + 1]))
    harmless = tuple(match.span() for match in _NO_DENIAL.finditer(sentence)) + consumed
    bare = Context(clauses, (), (), ())
    denied = [
        (match.end(), _reach(sentence, match.end(), bare.clause(match.start())[1], findings))
        for match in _DENIES.finditer(sentence)
        if not inside(match.start(), harmless)
    ]
    denied += [
        (bare.clause(match.start())[0], match.start())
        for match in _DENIED.finditer(sentence)
        if not inside(match.start(), harmless)
    ]
    doubted = [(match.end(), bare.clause(match.end() - 1)[1]) for match in _DOUBT_AHEAD.finditer(sentence)]
    doubted += [bare.clause(match.start()) for match in _DOUBT_BEHIND.finditer(sentence)]
    further = tuple((match.end(), bare.clause(match.start())[1]) for match in _MORE_OF_IT.finditer(sentence))
    return Context(clauses, tuple(denied), tuple(doubted), further)


_STOPS = re.compile(r"\b(?:shows|reveals|demonstrates|displays|depicts|contains|has|lies|is (?!not|seen|visible))\b")


def _reach(sentence: str, start: int, end: int, findings: tuple[int, ...]) -> int:
    """A denial that has met a finding ends at the next finite verb: "a chest without effusion shows a nodule"."""
    stops = (match.start() for match in _STOPS.finditer(sentence, start, end))
    return next((stop for stop in stops if any(start <= place < stop for place in findings)), end)


def inside(place: int, spans: tuple[Span, ...]) -> bool:
    return any(start <= place < end for start, end in spans)
