"""Keep secrets out of what is written down: API keys, tokens, passwords, credentials in URLs.

When in doubt it hides: a hidden word in a stored command line is a nuisance, a published key is not.
"""

import re
from typing import Any

HIDDEN = "***"

_NAME = (
    r"[\w.-]*(?:api[_-]?keys?|token(?!s)|secrets?|password|passwd|passphrase|authorization|credentials?)(?:[_-][\w-]*)?"
)
_SECRET_NAME = re.compile(rf"-{{0,2}}{_NAME}", re.IGNORECASE)
_SECRET_FLAG = re.compile(rf"--?{_NAME}", re.IGNORECASE)
_PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"\b(Bearer|Basic)\s+[^\s\"']{6,}", re.IGNORECASE), rf"\1 {HIDDEN}"),
    (re.compile(rf"((?<![\w.-])--?{_NAME}(?:\s+|=)[\"']?)[^\s\"']+", re.IGNORECASE), rf"\1{HIDDEN}"),
    (re.compile(rf"((?<![\w.-]){_NAME}[\"']?\s*[=:]\s*[\"']?)[^\s\"'&,;]+", re.IGNORECASE), rf"\1{HIDDEN}"),
    (re.compile(r"\bsk-[\w-]{12,}|\b[spr]k_(?:live|test)_\w{8,}|\bhf_[A-Za-z0-9]{20,}"), HIDDEN),
    (re.compile(r"\bgh[pousr]_\w{20,}|\bgithub_pat_\w{20,}|\bglpat-[\w-]{16,}|\bxox[abp]-[\w-]{10,}"), HIDDEN),
    (re.compile(r"\bAKIA[0-9A-Z]{16}\b|\beyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]{5,}"), HIDDEN),
    (re.compile(r"(\b[a-z][a-z0-9+.-]*://)[^/\s@#?]+@", re.IGNORECASE), rf"\1{HIDDEN}@"),
    (re.compile(r"([?&](?:key|sig|signature|auth)=)[^&\s#]+", re.IGNORECASE), rf"\1{HIDDEN}"),
)


def redact(value: Any) -> Any:
    """`value` with every secret in it replaced by `***`: text, and lists and dicts of anything.

    In a list a flag such as `--api-key` hides the element after it; in a dict a key such as `api_key` hides its value.
    """
    if isinstance(value, str):
        return _redact_text(value)
    if isinstance(value, dict):
        return {key: HIDDEN if _hides(key, inner) else redact(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [HIDDEN if _is_flag(flag) else redact(inner) for flag, inner in zip([None, *value], value)]
    return value


def _redact_text(text: str) -> str:
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    return text


def _hides(key: Any, value: Any) -> bool:
    return isinstance(key, str) and isinstance(value, str) and _SECRET_NAME.fullmatch(key) is not None


def _is_flag(value: Any) -> bool:
    return isinstance(value, str) and _SECRET_FLAG.fullmatch(value) is not None
