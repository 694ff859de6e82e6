"""The nouns: an Item is shown under a Condition, which makes a View; a model gives a Response;
scoring reads it as an Outcome; a Certificate is a pure function of logged counts.

Records are immutable and validated on the way in. This module imports only `errors` and `frozen` of ours, and no torch.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from medproof.errors import UserError
from medproof.frozen import FrozenMap

QuestionType = Literal[
    "Modality Recognition",
    "Anatomy Identification",
    "Disease Diagnosis",
    "Lesion Grading",
    "Other Biological Attributes",
]
Stage = Literal["S1", "S2", "S3", "S4"]
Split = Literal["train", "test"]
LicenseClass = Literal["permissive", "noncommercial", "copyleft", "research-only", "unstated"]
Status = Literal["correct", "wrong", "abstain", "unparsed", "error"]
Expected = Literal["keep", "flip", "refuse", "any"]
Mode = Literal["direct", "think", "think_after"]

MODES: tuple[Mode, ...] = ("direct", "think", "think_after")
LETTERS = "ABCDEFGHIJ"
MAX_OPTIONS = len(LETTERS)


class Record(BaseModel):
    """Immutable, no unknown fields, canonical JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def to_json(self) -> str:
        """Canonical JSON: sorted keys, no spaces; equal records give equal text."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Raises pydantic.ValidationError (a ValueError) when the text is no such record."""
        return cls.model_validate_json(text)

    def fingerprint(self) -> str:
        """SHA-256 of the canonical JSON, hex."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()


class Box(Record):
    """A labelled rectangle in pixel edges of the stored image: x0, y0 inclusive, x1, y1 exclusive."""

    label: str
    xyxy: tuple[float, float, float, float]

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        x0, y0, x1, y1 = self.xyxy
        if not (0 <= x0 < x1 and 0 <= y0 < y1):
            raise ValueError(f"box {self.label!r} has xyxy {self.xyxy}: needs 0 <= x0 < x1 and 0 <= y0 < y1")
        return self


class Evidence(Record):
    """What in the image the answer rests on: boxes and/or a mask (path relative to the data root)."""

    boxes: tuple[Box, ...] = ()
    mask: str | None = None
    mask_classes: FrozenMap[str] = Field(default_factory=dict, validate_default=True)

    @field_validator("mask")
    @classmethod
    def _mask_inside_root(cls, value: str | None) -> str | None:
        return None if value is None else _relative_path(value)


class Item(Record):
    """One question about one image. `answer` is the text of one of `options`; letters follow their order."""

    id: str = Field(min_length=1)
    image: str = Field(description="path relative to the data root, with forward slashes")
    frame: int | None = Field(default=None, ge=0, description="frame of a multi-frame DICOM, slice of a NIfTI volume")
    window: str | None = Field(default=None, description="named DICOM/NIfTI window, e.g. 'lung'")
    width: int | None = Field(default=None, ge=1, description="of the stored image, in pixels: the frame of the boxes")
    height: int | None = Field(default=None, ge=1)
    case: str = Field(min_length=1, description="all items of one case form one chain")
    patient: str | None = None
    study: str | None = None
    modality: str = Field(min_length=1)
    anatomy: str | None = None
    question_type: QuestionType
    stage: Stage | None = None
    question: str = Field(min_length=1)
    options: tuple[str, ...]
    answer: str
    evidence: Evidence | None = None
    parents: tuple[str, ...] = Field(default=(), description="ids of the items this one builds on")
    facts: FrozenMap[str] = Field(
        default_factory=dict,
        validate_default=True,
        description="annotations a rationale may state: modality, region, finding, where, conclusion",
    )
    split: Split = "test"
    source: str = ""
    license: str = ""
    license_class: LicenseClass = "unstated"

    @field_validator("image")
    @classmethod
    def _image_inside_root(cls, value: str) -> str:
        return _relative_path(value)

    @model_validator(mode="after")
    def _options_hold_answer(self) -> Self:
        if not 2 <= len(self.options) <= MAX_OPTIONS:
            raise ValueError(f"item {self.id!r} has {len(self.options)} options: needs 2 to {MAX_OPTIONS}")
        if any(not option.strip() for option in self.options):
            raise ValueError(f"item {self.id!r} has an empty option")
        folded = [option.casefold().strip() for option in self.options]
        if len(set(folded)) != len(folded):
            raise ValueError(f"item {self.id!r} has the same option twice: {list(self.options)}")
        if self.answer not in self.options:
            raise ValueError(f"item {self.id!r}: the answer {self.answer!r} is none of its options")
        return self

    @property
    def answer_index(self) -> int:
        return self.options.index(self.answer)

    @property
    def answer_letter(self) -> str:
        return LETTERS[self.answer_index]

    @property
    def letters(self) -> str:
        """The letters in use, e.g. "ABCD"."""
        return LETTERS[: len(self.options)]

    @property
    def cluster(self) -> str:
        """u(i) of METRICS: patient, else study, else image. Never the item."""
        if self.patient is not None:
            return f"patient:{self.patient}"
        return f"study:{self.study}" if self.study is not None else f"image:{self.image}#{self.frame}"


def _relative_path(value: str) -> str:
    path = PurePosixPath(value)
    if not value or "\\" in value or "\0" in value or path.is_absolute() or ".." in path.parts:
        raise ValueError(f"path {value!r} may not leave the data root: give a relative path without '..'")
    return value


_CONDITION = re.compile(r"^\s*([a-z][a-z0-9_]*)\s*(?:\((.*)\))?\s*$", re.DOTALL)


class Condition(Record):
    """What was done to an item before the model saw it. `key` is its canonical text, the same everywhere.

    Arguments are kept as text in canonical order; `conditions.registry` gives them meaning and defaults.
    """

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    args: tuple[str, ...] = ()
    kwargs: FrozenMap[str] = Field(default_factory=dict, validate_default=True)
    expected: Expected = "any"
    twin: str | None = Field(default=None, description="key of the control condition, where one exists")

    @property
    def key(self) -> str:
        inner = ",".join([*self.args, *(f"{k}={self.kwargs[k]}" for k in sorted(self.kwargs))])
        return f"{self.name}({inner})" if inner else self.name

    @classmethod
    def parse(cls, text: str) -> "Condition":
        """Read `name` or `name(arg, key=value)`. Raises UserError on anything else. Knows no condition by name."""
        match = _CONDITION.match(text)
        if match is None:
            raise UserError(f"condition {text!r} is not name or name(arg, key=value), as in pgd(linf,8/255,20)")
        name, inner = match.group(1), (match.group(2) or "").strip()
        args: list[str] = []
        kwargs: dict[str, str] = {}
        for part in filter(None, (p.strip() for p in inner.split(","))):
            key, equals, value = part.partition("=")
            if equals:
                kwargs[key.strip()] = value.strip()
            elif kwargs:
                raise UserError(f"condition {text!r}: {part!r} stands after a key=value argument; put it before")
            else:
                args.append(part)
        return cls(name=name, args=tuple(args), kwargs=kwargs)


@dataclass(frozen=True)
class Message:
    """One chat turn. With `image`, the view's image stands before the text."""

    role: Literal["system", "user", "assistant"]
    text: str
    image: bool = False


@dataclass(frozen=True, eq=False)
class View:
    """Exactly what the model sees: 8-bit RGB pixels (H, W, 3) on the model's grid, or none, and the messages.

    `mode` says how the reply is to be read. `info` holds numbers a condition reports (eps, forwards, backwards, ...).
    """

    item: Item
    condition: str
    mode: Mode
    messages: tuple[Message, ...]
    image: npt.NDArray[np.uint8] | None
    info: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.image is not None and (
            self.image.dtype != np.uint8 or self.image.ndim != 3 or self.image.shape[2] != 3
        ):
            raise ValueError(f"a view's image is uint8 (H, W, 3), not {self.image.dtype} {self.image.shape}")

    @property
    def pixels_sha256(self) -> str:
        """Hash of shape and pixels; of nothing when there is no image."""
        return pixels_sha256(self.image)

    @property
    def messages_json(self) -> str:
        rows = [{"role": m.role, "text": m.text, "image": m.image} for m in self.messages]
        return json.dumps(rows, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def pixels_sha256(image: npt.NDArray[np.uint8] | None) -> str:
    """SHA-256 over shape and pixels, hex; 64 zeros for no image."""
    if image is None:
        return "0" * 64
    return hashlib.sha256(repr(image.shape).encode() + np.ascontiguousarray(image).tobytes()).hexdigest()


class Decoding(Record):
    """How text was sampled. Temperature 0 is greedy."""

    max_new_tokens: int = Field(default=16, ge=1)
    temperature: float = Field(default=0.0, ge=0)
    top_p: float = Field(default=1.0, gt=0, le=1)


class Response(Record):
    """What a model gave for one view; never discarded.

    `option_logprobs` are log-probabilities of the option letters at the answer slot, normalised over the options,
    in the order of `Item.options`: the forced-choice reading. `error` is an infrastructure failure, in one line.
    """

    key: str
    item_id: str
    condition: str
    mode: Mode
    text: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    truncated: bool = False
    option_logprobs: tuple[float, ...] | None = None
    image_sha256: str = Field(description="pixels_sha256 of what the model saw")
    info: FrozenMap[float] = Field(default_factory=dict, validate_default=True)
    error: str | None = None
    worker: str = ""
    seconds: float = 0.0


class Outcome(Record):
    """How one response counts. `chosen` is an option's text; `rule` is the parser rule that decided."""

    item_id: str
    condition: str
    mode: Mode
    status: Status
    chosen: str | None = None
    rule: str = "none"
    forced_choice: str | None = None


class Certificate(Record):
    """A statement of randomized smoothing: with error at most `alpha` over its noise, the smoothed model answers
    `predicted` on every image within `radius`. L2, pixels in [0, 1] at grid resolution, rounded down to 6 decimals.
    """

    item_id: str
    counts: FrozenMap[int] = Field(description="votes for each of the K classes, zeros too; the first n0 draws apart")
    selection: FrozenMap[int] = Field(
        default_factory=dict, validate_default=True, description="votes of the n0 draws that only chose the class"
    )
    predicted: str | None = Field(description="null: abstains; radius is then 0")
    radius: float = Field(ge=0)
    sigma: float = Field(gt=0)
    n: int = Field(ge=0)
    n0: int = Field(default=0, ge=0)
    alpha: float = Field(gt=0, lt=1)
    plan: str
    bound: str
    stop: str = Field(
        default="", description="why no more was drawn: proven, hopeless, precise, spent; open: cut short"
    )
    space: str = "linear [0,1] pixels at grid resolution"

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        if (sum(self.counts.values()), sum(self.selection.values())) != (self.n, self.n0):
            raise ValueError(f"certificate of {self.item_id!r}: the votes do not add up to n={self.n} and n0={self.n0}")
        if self.predicted is None and self.radius > 0:
            raise ValueError(f"certificate of {self.item_id!r}: abstains, and yet has a radius")
        if self.predicted is not None and self.predicted not in self.counts:
            raise ValueError(f"certificate of {self.item_id!r}: {self.predicted!r} is none of the classes voted for")
        return self


def json_schema() -> dict[str, Any]:
    """JSON Schema of the stored records, keyed by name."""
    stored: tuple[type[Record], ...] = (Item, Condition, Decoding, Response, Outcome, Certificate)
    return {record.__name__: record.model_json_schema() for record in stored}
