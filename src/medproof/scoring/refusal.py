"""What counts as an explicit refusal to answer, and which options are refusals themselves.

"I cannot see any fracture" is a finding, "I'm not sure, but it is an MRI" a hedge: neither is a refusal.
"""

from __future__ import annotations

import re

from medproof.scoring.normal import folded

_CANNOT = r"(?:can ?not|can't|could ?not|couldn't|unable to|not able to|not possible to|impossible to)"
_ADVERB = r"(?:(?:reliably|accurately|definitively|definitely|confidently|really|currently|safely)\s+)*"
_DECIDE = r"(?:determine|decide|answer|tell|say|diagnose|assist|help|comply|choose|select)(?!\s+any\b)"
_DECIDED = r"be\s+(?:\w+ly\s+)?(?:determined|decided|answered|diagnosed|assessed|established)"
_GIVE = (
    r"(?:provide|give|offer|make)\s+(?:you\s+)?(?:(?:a|an|any|the)\s+)?(?:[\w-]+\s+){0,2}"
    r"(?:answer|diagnosis|advice)"
)
_LOOK = (
    r"(?:see|view|access|process|analy[sz]e|interpret|read|open)\s+(?:(?:the|this|any|your|medical)\s+)*"
    r"(?:image|picture|scan|photo)s?"
)
_LACK = r"(?:insufficient|not enough|inadequate)\s+(?:information|data|evidence|detail|context)s?"
_CORE = (
    rf"(?:{_CANNOT}\s+{_ADVERB}(?:{_DECIDED}|{_DECIDE}|{_GIVE}|{_LOOK})"
    rf"|{_LACK}|not determinable|(?:do not|don't) know|(?:decline|refuse) to (?:answer|respond|choose))"
)
_REFUSAL = re.compile(rf"\b{_CORE}\b")
_TURN = re.compile(r"\b(?:but|however|although|though)\b")
_SENTENCE = re.compile(r"[.!?;\n]+")
_HEDGE_ALONE = re.compile(
    r"(?:i am |i'm |it is |it's )?(?:not sure|unsure|not certain|uncertain)|(?:i )?(?:abstain|refuse|decline)"
)
_WHOLE = re.compile(
    rf"(?:(?:i|it|this|the (?:answer|diagnosis)|there is)\s+)?(?:(?:am|is)\s+)?{_CORE}"
    r"(?:\s+(?:from|without|with|based on|to)\s+[a-z' ]+)?"
)


def is_refusal(text: str) -> bool:
    """Whether a sentence of `text` refuses: it says that no answer can be given, and does not go on with "but ..."."""
    for sentence in _SENTENCE.split(text):
        plain = folded(sentence)
        if _HEDGE_ALONE.fullmatch(plain):
            return True
        match = _REFUSAL.search(plain)
        if match and not _TURN.search(plain, match.end()):
            return True
    return False


def is_refusal_option(option: str) -> bool:
    """Whether an option is as a whole a refusal, as "Cannot be determined"; "I can't say, but ..." is not."""
    plain = folded(option)
    return bool(_WHOLE.fullmatch(plain) or _HEDGE_ALONE.fullmatch(plain))
