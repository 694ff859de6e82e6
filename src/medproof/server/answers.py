"""From a verdict to what is sent back."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import BaseModel

from medproof.records import LETTERS, Certificate, Item
from medproof.scoring.parse import parse
from medproof.server.jobs import Stopped, Verdict
from medproof.smoothing.certificate import grey_level_rms

ABSTAINED = "abstain"


class Proof(BaseModel):
    """Inside an L2 ball of `radius` around the image, the smoothed model gives this answer, but for an error of at most
    `alpha`. `votes` in the order of the options; `other_votes`: replies that chose none."""

    radius: float
    radius_grey_levels_rms: float
    sigma: float
    alpha: float
    n: int
    votes: list[int]
    other_votes: int
    plan: str
    bound: str
    stopped: Stopped
    space: str
    base: str
    seed: str


class Reasoning(BaseModel):
    """The model's own words about the clean image. No certificate covers them."""

    text: str
    letter: str | None
    agrees: bool
    truncated: bool


class Blank(BaseModel):
    """What the model says to a mid-grey image. `same`: it is the answer, so the certificate proves no look."""

    letter: str | None
    answer: str | None
    same: bool


class Hashes(BaseModel):
    """Which model answered."""

    name: str
    weights_sha256: str
    processor_sha256: str


class Picture(BaseModel):
    """`sha256`, `width`, `height`: of the pixels the model saw; `upload_sha256`: of the file sent."""

    sha256: str
    width: int
    height: int
    upload_sha256: str
    upload_width: int
    upload_height: int


class Answer(BaseModel):
    """Body of an answer. `certificate` is null where the deadline came before the first look at the votes."""

    id: str
    abstain: bool
    letter: str | None
    answer: str | None
    certificate: Proof | None
    blank: Blank
    clean_letter: str | None
    reasoning: Reasoning | None
    picture: Picture
    model: Hashes
    seconds: float
    note: str | None


class ChatText(BaseModel):
    role: Literal["assistant"] = "assistant"
    content: str
    refusal: None = None


class Choice(BaseModel):
    index: int = 0
    message: ChatText
    finish_reason: Literal["stop"] = "stop"
    logprobs: None = None


class Usage(BaseModel):
    """Of the clean reply alone; noisy copies are counted in the certificate."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class ChatCompletion(BaseModel):
    """As OpenAI clients read it; `medproof` holds the whole answer."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[Choice]
    usage: Usage
    medproof: Answer


def letter_of(item: Item, option: str | None) -> str | None:
    return LETTERS[item.options.index(option)] if option in item.options else None


def votes_of(item: Item, certificate: Certificate) -> list[int]:
    """In the order of the options."""
    return [certificate.counts[option] for option in item.options]


def proof(item: Item, verdict: Verdict, picture: Picture, base: str, seed: int) -> Proof | None:
    """The certificate as it is sent; None where there is none."""
    certificate = verdict.certificate
    if certificate is None:
        return None
    votes = votes_of(item, certificate)
    radius = certificate.radius if verdict.answer is not None else 0.0
    levels = grey_level_rms(radius, (picture.height, picture.width, 3))
    return Proof(
        radius=radius,
        radius_grey_levels_rms=math.floor(levels * 1e4) / 1e4,
        sigma=certificate.sigma,
        alpha=certificate.alpha,
        n=certificate.n,
        votes=votes,
        other_votes=certificate.n - sum(votes),
        plan=certificate.plan,
        bound=certificate.bound,
        stopped=verdict.stopped,
        space=certificate.space,
        base=base,
        seed=f"{seed:016x}",
    )


def reasoning(item: Item, verdict: Verdict) -> Reasoning | None:
    if verdict.reply is None:
        return None
    choice = parse(verdict.reply.text, item.options, "think").choice
    letter = None if choice is None else LETTERS[choice]
    agrees = letter is not None and letter == letter_of(item, verdict.answer)
    return Reasoning(text=verdict.reply.text, letter=letter, agrees=agrees, truncated=verdict.reply.truncated)


def blank(item: Item, verdict: Verdict) -> Blank:
    same = verdict.answer is not None and verdict.answer == verdict.blank
    return Blank(letter=letter_of(item, verdict.blank), answer=verdict.blank, same=same)


def note(verdict: Verdict) -> str | None:
    """What a reader must not miss, in one sentence."""
    if verdict.certificate is None:
        return "The deadline came before the first look at the votes; allow more time or ask again when it is quieter."
    if verdict.answer is None:
        return "The votes are too spread to prove any answer."
    if verdict.answer == verdict.blank:
        return "A blank image gets the same answer, so this certificate does not show that the model looked."
    return None


def chat_completion(answer: Answer, created: int, tokens: tuple[int, int]) -> ChatCompletion:
    """`tokens`: of the prompt and of the reply to the clean image."""
    content = ABSTAINED if answer.abstain else f"{answer.letter}) {answer.answer}"
    return ChatCompletion(
        id=f"chatcmpl-{answer.id}",
        created=created,
        model=answer.model.name,
        choices=[Choice(message=ChatText(content=content))],
        usage=Usage(prompt_tokens=tokens[0], completion_tokens=tokens[1], total_tokens=sum(tokens)),
        medproof=answer,
    )
