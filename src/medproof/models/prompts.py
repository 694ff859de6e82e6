"""What a model is asked, in three modes, and where in a reply its answer stands. No torch.

`think`: rationale, then answer. `direct` (No-Think): answer only. `think_after`: answer, then rationale.
"""

import re

from medproof.records import LETTERS, Item, Message, Mode

INSTRUCTIONS: dict[Mode, str] = {
    "direct": "Reply with the letter of the right option only: <answer>letter</answer>",
    "think": "First reason between <think> and </think>, then reply: <answer>letter</answer>",
    "think_after": "First reply: <answer>letter</answer>, then reason between <think> and </think>",
}
STEPS, EARLIER = "steps", "earlier"
"""Keys of the facts that hold a rationale, and earlier steps with their answers, worked out for training; see
`training.steps`."""
REFUSAL = "unsure"
"""The answer where the image shows nothing. In small letters: "Unsure" may begin with the token of an option."""
NO_EVIDENCE = "It shows nothing."
ANSWER_OPEN = "<answer>"
ANSWER_CLOSE = "</answer>"
_LAST_OPEN = re.compile(r"^(.*<answer>\s*)", re.DOTALL)


def question_text(item: Item, mode: Mode, remark: str = "", before: str = "") -> str:
    """What stands before, question, lettered options one per line, a remark, instruction; empty parts are left out.

    Never the image path: it may name the class.
    """
    options = [f"{LETTERS[i]}) {option}" for i, option in enumerate(item.options)]
    return "\n".join(part for part in (before, item.question, *options, remark, INSTRUCTIONS[mode]) if part)


def messages(item: Item, mode: Mode, image: bool = True, remark: str = "", before: str = "") -> tuple[Message, ...]:
    """The chat that asks `item`; without `image` no image token is sent at all."""
    return (Message(role="user", text=question_text(item, mode, remark, before), image=image),)


def answer_prefix(text: str) -> str:
    """The part of a reply up to and including the last `<answer>`: the answer letter is what comes next.

    A reply that never opens an answer gets one appended, so that the slot exists.
    """
    match = _LAST_OPEN.match(text)
    return match.group(1) if match else text + ANSWER_OPEN


def target_text(item: Item, mode: Mode, empty: bool = False) -> str:
    """The reply a model should learn for `item`: the answer letter, with a rationale from its facts where asked.

    empty: the image shows nothing; then a refusal and why.
    """
    answer = f"{ANSWER_OPEN}{REFUSAL if empty else item.answer_letter}{ANSWER_CLOSE}"
    if mode == "direct":
        return answer
    thought = f"<think>{NO_EVIDENCE if empty else rationale(item)}</think>"
    return thought + answer if mode == "think" else answer + thought


def rationale(item: Item) -> str:
    """Short reasoning from the annotations: modality, region, finding and where, conclusion.

    States nothing that the item's facts do not hold; an item without facts gives its answer as conclusion only. The
    fact `steps`, where there is one, is the rationale.
    """
    facts = item.facts
    if stated := facts.get(STEPS):
        return stated
    steps: list[str] = []
    if modality := facts.get("modality"):
        steps.append(f"This is {modality}.")
    if region := facts.get("region"):
        steps.append(f"It shows the {region}.")
    if finding := facts.get("finding"):
        where = f" in the {facts['where']}" if facts.get("where") else ""
        steps.append(f"Finding: {finding}{where}.")
    steps.append(f"So the answer is {facts.get('conclusion', item.answer)}.")
    return " ".join(steps)
