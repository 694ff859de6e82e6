"""What an item asked under a condition: its options may be turned round, a refusal added, another one right.

The numbers that say so stand in `View.info` and so in `Response.info`; scoring reads a reply against the item as asked.
"""

from collections.abc import Mapping

from medproof.records import Item

REFUSAL = "Cannot be determined"
"""The option that a condition adds where refusing is right, or may be."""

ASKED: dict[str, str] = {
    "options_turned": "the options were shown from this place of the item's on, the ones before it behind",
    "refusal_added": f'0/1, "{REFUSAL}" was shown behind the options',
    "gold": "place, among the options shown, of the one that is right; absent: the item's own answer is",
    "suggested": "place, among the options shown, of the one that the condition, or what it controls, suggests",
}
"""By name."""


def asked(item: Item, info: Mapping[str, float]) -> Item:
    """`item` with the options in the order shown, and the answer that is right under the condition."""
    turned = int(info.get("options_turned", 0))
    options = (*item.options[turned:], *item.options[:turned], *((REFUSAL,) if info.get("refusal_added") else ()))
    answer = options[int(info["gold"])] if "gold" in info else item.answer
    if (options, answer) == (item.options, item.answer):
        return item
    return item.model_copy(update={"options": options, "answer": answer})
