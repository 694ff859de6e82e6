"""Words that say nothing of an image, as many and about as long as words that do: for neutral controls. No torch."""

from collections.abc import Sequence

import numpy as np

_PARTICIPLES = """
set kept sent dated named sized moved stored copied listed sorted passed indexed cropped printed renamed archived
numbered exported forwarded scheduled converted requested catalogued registered duplicated anonymised transferred
reformatted timestamped photographed alphabetised redistributed de-identified pseudonymised double-checked
cross-referenced
""".split()  # noqa: SIM905
_FIRST, _JOINT = "safely", "and"


def filler(words: Sequence[str], rng: np.random.Generator) -> str:
    """A phrase such as "sorted and archived", of as many words as `words` and about as many letters.

    To be put behind "was" or "had been". Raises ValueError for no words.
    """
    if not words:
        raise ValueError("a filler takes the place of at least one word")
    first = [_FIRST] if len(words) % 2 == 0 else []
    count = (len(words) + 1 - len(first)) // 2
    letters = sum(map(len, words)) - len("".join(first)) - len(_JOINT) * (count - 1)
    chosen: list[str] = []
    for left in range(count, 0, -1):
        fresh = [word for word in _PARTICIPLES if word not in chosen] or _PARTICIPLES
        wanted = (letters - sum(map(len, chosen))) / left
        chosen.append(min(rng.permutation(fresh).tolist(), key=lambda word: abs(len(word) - wanted)))
    return " ".join([*first, f" {_JOINT} ".join(chosen)])
