"""Protocols: what a model is told of the earlier steps of a chain when it is asked for the next. No torch.

`clean` is the independent protocol: every step alone. Under the others:

- `steps(teacher_forced)`: the right answers of the earlier steps (`chains.Chains.earlier`) stand before the question;
- `steps(self_conditioned)`: the model's own answers to them, given under this condition too, so that a mistake can lead
  to the next. Steps are asked in turn. An earlier reply that could not be read stands there as `NO_ANSWER`, one that
  refused as `DECLINED`; where one is an `error`, so is the step that builds on it, until the run is resumed;
- `steps(joint)`: one call asks all steps of a chain, and its reply is read step by step (`scoring.steps`).

The words are the same whoever gave the answers: where all of a model's own are right, the first two prompts are equal.
A step with nothing before it is asked as under `clean`, so that every item of a chain has an outcome; items without a
stage are skipped. With `image=blank`, the control, a grey image stands for the picture: what do earlier answers tell?
"""

from collections.abc import Sequence

from medproof.conditions.chains import Chains, told
from medproof.conditions.context import Context, Pixels
from medproof.conditions.kind import Arguments, Kind, Order
from medproof.conditions.parameters import choice
from medproof.errors import UserError
from medproof.images.overlay import blank_like
from medproof.models.prompts import INSTRUCTIONS, question_text
from medproof.records import Condition, Decoding, Item, Message, Mode, Outcome, View
from medproof.scoring.outcomes import outcome
from medproof.scoring.steps import CHAIN_STEP, CHAIN_STEPS

NO_ANSWER = "(no readable answer)"
DECLINED = "(declined to answer)"
_ORDER: dict[str, Order] = {"teacher_forced": "any", "self_conditioned": "in_turn", "joint": "together"}
_ALL = "Answer all of these questions about the image."
_LINES = "one line per question, its number and the letter of the right option: 1: <answer>letter</answer>"
_JOINTLY: dict[Mode, str] = {
    "direct": f"Reply with {_LINES}",
    "think": f"First reason between <think> and </think>, then reply with {_LINES}",
    "think_after": f"First reply with {_LINES}; then reason between <think> and </think>",
}
_STEP_TOKENS = 16
"""Room for a line of the joint reply."""


def steps(items: Sequence[Item], condition: Condition, given: Arguments, context: Context) -> list[View | None]:
    """`steps(how, image)`."""
    chains = chains_of(context)
    return [_view(item, condition, given, chains, context) if item.stage else None for item in items]


def chains_of(context: Context) -> Chains:
    """The chains of the run's data set, worked out once."""
    return context.plan("chains", lambda: Chains.of(context.dataset.items))


def room(decoding: Decoding, context: Context) -> Decoding:
    """Decoding of a joint reply: as many lines as the longest chain has steps."""
    longest = max((len(members) for members in chains_of(context).together.values()), default=1)
    more = _STEP_TOKENS * (longest - 1)
    return decoding.model_copy(update={"max_new_tokens": decoding.max_new_tokens + more})


def _view(item: Item, condition: Condition, given: Arguments, chains: Chains, context: Context) -> View:
    image = _image(item, given["image"], context)
    info: dict[str, float]
    if given["how"] == "joint":
        members = chains.together[item.id]
        text, info = (
            _joint(members, context.mode),
            {CHAIN_STEP: members.index(item) + 1.0, CHAIN_STEPS: float(len(members))},
        )
    else:
        text, info = _after_earlier(item, chains.earlier[item.id], condition, given["how"], context)
    return View(item, condition.key, context.mode, (Message("user", text, image=True),), image, info)


def _joint(members: Sequence[Item], mode: Mode) -> str:
    if len(members) == 1:
        return question_text(members[0], mode)
    asked = [question_text(item, mode).removesuffix(f"\n{INSTRUCTIONS[mode]}") for item in members]
    return "\n".join([_ALL, *(f"{n}. {text}" for n, text in enumerate(asked, 1)), _JOINTLY[mode]])


def _after_earlier(
    item: Item, earlier: Sequence[Item], condition: Condition, how: str, context: Context
) -> tuple[str, dict[str, float]]:
    """The question behind what was answered before, and the numbers that say how much that was."""
    info = {"earlier": float(len(earlier))}
    answers = [step.answer for step in earlier]
    if how == "self_conditioned":
        own = [_own(step, condition, context) for step in earlier]
        answers = [_stated(found) for found in own]
        info["earlier_wrong"] = float(sum(found.status != "correct" for found in own))
    return question_text(item, context.mode, before=told(list(zip(earlier, answers, strict=True)))), info


def _own(step: Item, condition: Condition, context: Context) -> Outcome:
    reply = context.replies.get(condition.key, {}).get(step.id)
    if reply is None:
        raise UserError(f"the earlier step {step.id} has no answer yet: run the same command again")
    return outcome(step, reply)


def _stated(found: Outcome) -> str:
    if found.chosen is not None:
        return found.chosen
    return DECLINED if found.status == "abstain" else NO_ANSWER


def _image(item: Item, which: str, context: Context) -> Pixels:
    own = context.load(item)
    return blank_like(*own.shape[:2]) if which == "blank" else own


KINDS = (
    Kind(
        "steps",
        "a step of a chain behind the right answers of earlier steps, behind the model's own, or all steps in one call",
        steps,
        (choice("how", tuple(_ORDER)), choice("image", ("own", "blank"), "own", positional=False)),
        expected=lambda given: "keep" if given["image"] == "own" else "any",
        order=lambda given: _ORDER[given["how"]],
    ),
)
