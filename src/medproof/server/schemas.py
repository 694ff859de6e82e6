"""Requests as they come in, checked; both routes end in one `Question`."""

from __future__ import annotations

import re
from string import ascii_uppercase
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)

from medproof.records import MAX_OPTIONS, Item
from medproof.server.errors import ApiError, invalid

MAX_TEXT = 1200
"""Bytes of question and options together; no tokenizer here makes more tokens than bytes, and tokens cost time."""
_OPTION_LINE = re.compile(r"^\s*\(?([A-Z])[).:]\s*(\S.*?)\s*$")


def _plain(text: str) -> str:
    """Stripped as an Item sees it; chat markers would be read as such by the tokenizer."""
    text = text.strip()
    if not text:
        raise ValueError("this may not be empty")
    if "<|" in text or "\0" in text:
        raise ValueError("control markers such as <|im_end|> and NUL may not stand in the text")
    return text


_Checked = TypeVar("_Checked", bound=BaseModel)
_Text = Annotated[str, AfterValidator(_plain)]
_Seconds = Annotated[float, Field(gt=0, le=3600, allow_inf_nan=False)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Wishes(_Body):
    """What may stand beside the question on both routes."""

    deadline_seconds: _Seconds | None = Field(default=None, description="until the answer; the server has a largest")
    target_radius: Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)] | None = Field(
        default=None, description="stop as soon as this radius is proven; else vote until the deadline"
    )
    reasoning: bool = Field(default=True, description="also let the model reason about the clean image")
    frame: Annotated[int, Field(ge=0)] | None = Field(default=None, description="of a DICOM or TIFF of several frames")
    window: Annotated[str, StringConstraints(max_length=40)] | None = Field(
        default=None, description="of a DICOM: lung, 40/400, percentile"
    )


class AnswerRequest(Wishes):
    """Body of /v1/answer."""

    image: str = Field(description="data:image/png;base64,...")
    question: _Text
    options: Annotated[tuple[_Text, ...], Field(min_length=2, max_length=MAX_OPTIONS)]

    @field_validator("options")
    @classmethod
    def _distinct(cls, options: tuple[str, ...]) -> tuple[str, ...]:
        if len({option.casefold().strip() for option in options}) < len(options):
            raise ValueError("the same option stands there twice")
        return options

    @model_validator(mode="after")
    def _short(self) -> Self:
        size = sum(len(text.encode()) for text in (self.question, *self.options))
        if size > MAX_TEXT:
            raise ValueError(f"question and options are {size} bytes long; at most {MAX_TEXT} are read")
        return self

    @property
    def item(self) -> Item:
        """The question as an Item. Its answer is not known; the field is required, and nothing here reads it."""
        return Item(
            id="request",
            image="request",
            case="request",
            modality="unknown",
            question_type="Other Biological Attributes",
            question=self.question,
            options=self.options,
            answer=self.options[0],
        )


class _ImageUrl(_Body):
    url: str
    detail: Literal["auto", "low", "high"] = "auto"


class _TextPart(_Body):
    type: Literal["text"]
    text: str


class _ImagePart(_Body):
    type: Literal["image_url"]
    image_url: _ImageUrl


class _Message(_Body):
    role: Literal["user"] = Field(description="one user turn; the model is asked with its own prompt")
    content: list[Annotated[_TextPart | _ImagePart, Field(discriminator="type")]]
    name: str | None = None

    @field_validator("content", mode="before")
    @classmethod
    def _text_alone(cls, content: Any) -> Any:
        return [{"type": "text", "text": content}] if isinstance(content, str) else content


class ChatRequest(Wishes):
    """Body of /v1/chat/completions: one user turn with one image and one multiple-choice question.

    Options stand in `options`, or as the last lines of the text: `A) CT`, `B) MRI`. Settings of sampling are accepted
    and have no effect: the answer is a vote.
    """

    model: str
    messages: tuple[_Message, ...] = Field(min_length=1, max_length=1)
    options: tuple[str, ...] | None = None
    n: Literal[1] | None = None
    stream: bool | None = None
    temperature: Any = None
    top_p: Any = None
    max_tokens: Any = None
    max_completion_tokens: Any = None
    presence_penalty: Any = None
    frequency_penalty: Any = None
    seed: Any = None
    user: Any = None
    metadata: Any = None
    store: Any = None


def read_answer(body: bytes) -> AnswerRequest:
    """A body of /v1/answer. Raises ApiError 400."""
    return _parsed(AnswerRequest, body)


def read_chat(body: bytes, model: str) -> AnswerRequest:
    """A body of /v1/chat/completions to `model`. Raises ApiError 400, or 404 for another model."""
    request = _parsed(ChatRequest, body)
    if request.stream:
        raise ApiError(400, "stream_unsupported", "stream: a vote has no parts to stream; leave it out", param="stream")
    if request.model != model:
        raise ApiError(404, "model_not_found", f"this server holds the model {model!r} only", param="model")
    parts = request.messages[0].content
    images = [part.image_url.url for part in parts if isinstance(part, _ImagePart)]
    if len(images) != 1:
        raise ApiError(400, "invalid_request", f"send exactly one image, not {len(images)}", param="messages")
    text = "\n".join(part.text for part in parts if isinstance(part, _TextPart))
    question, options = split_options(text) if request.options is None else (text, list(request.options))
    wishes = {name: getattr(request, name) for name in Wishes.model_fields}
    try:
        return AnswerRequest(image=images[0], question=question, options=tuple(options), **wishes)
    except ValidationError as error:
        raise invalid(error) from error


def split_options(text: str) -> tuple[str, list[str]]:
    """The question, and the lettered options that end it. Raises ApiError 400 where the text does not end with them."""
    lines = text.strip().splitlines()
    for start in range(len(lines) - 1, -1, -1):
        matches = [_OPTION_LINE.match(line) for line in lines[start:]]
        found = [match.groups() for match in matches if match is not None]
        if len(found) < len(matches):
            break
        if len(found) > 1 and "".join(letter for letter, _ in found) == ascii_uppercase[: len(found)]:
            return "\n".join(lines[:start]).strip(), [option for _, option in found]
    raise ApiError(
        400,
        "options_missing",
        "give `options`, or end the text with one option a line: A) ... B) ...",
        param="messages",
    )


def _parsed(kind: type[_Checked], body: bytes) -> _Checked:
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        raise invalid(error) from error
