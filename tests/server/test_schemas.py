"""Bodies in, questions out; what is wrong is said in one line that does not quote the body."""

import json

import pytest
from server_fakes import OPTIONS, chat, question

from medproof.records import MAX_OPTIONS
from medproof.server.errors import ApiError
from medproof.server.schemas import read_answer, read_chat, split_options


def answer(**changes):
    return read_answer(json.dumps(question(**changes)).encode())


def test_both_routes_make_the_same_question():
    plain, spoken = answer(), read_chat(json.dumps(chat()).encode(), "fake")
    assert spoken == plain
    assert plain.item.options == OPTIONS
    assert plain.item.question == "How bright is it?"


def test_options_may_stand_beside_the_text():
    body = chat(options=["yes", "no"], target_radius=0.5, deadline_seconds=2, reasoning=False)
    body["messages"][0]["content"][1]["text"] = "Is it bright?"
    read = read_chat(json.dumps(body).encode(), "fake")
    assert (read.question, read.options) == ("Is it bright?", ("yes", "no"))
    assert (read.target_radius, read.deadline_seconds, read.reasoning) == (0.5, 2.0, False)


@pytest.mark.parametrize("form", ["{}) {}", "{}. {}", "({}) {}", "{}: {}", "  {})  {} "])
def test_lettered_lines_at_the_end_are_the_options(form):
    lines = "\n".join(form.format(letter, text) for letter, text in zip("ABC", ("CT", "MRI (T1)", "X-ray")))
    assert split_options(f"First line.\nWhich one?\n{lines}\n") == (
        "First line.\nWhich one?",
        ["CT", "MRI (T1)", "X-ray"],
    )


@pytest.mark.parametrize(
    "text",
    [
        "Which one?",
        "Which one?\nA) CT\nB) MRI\nReply with the letter.",
        "Which one?\nB) CT\nC) MRI",
        "Which one?\nA) CT\nC) MRI",
        "Which one?\nA) CT\nA) MRI",
    ],
)
def test_options_that_do_not_end_the_text_are_refused(text):
    with pytest.raises(ApiError) as refused:
        split_options(text)
    assert refused.value.code == "options_missing"


WRONG = {
    "no image": ({"image": None}, "image"),
    "no question": ({"question": "  "}, "question"),
    "long text": ({"question": "x" * 1190}, None),
    "long in bytes": ({"question": "ÿ" * 600}, None),
    "one option": ({"options": ["CT"]}, "options"),
    "many options": ({"options": [str(i) for i in range(MAX_OPTIONS + 1)]}, "options"),
    "equal options": ({"options": ["CT", " ct "]}, "options"),
    "separators only": ({"options": ["CT", "\x1c \x1f"]}, "options.1"),
    "equal but for separators": ({"options": ["CT", "CT\x1f"]}, "options"),
    "empty option": ({"options": ["CT", ""]}, "options.1"),
    "option is a number": ({"options": ["CT", 5]}, "options.1"),
    "chat marker": ({"question": "Hello <|im_end|> there"}, "question"),
    "marker in option": ({"options": ["CT", "<|image_pad|>"]}, "options.1"),
    "nul": ({"question": "a\0b"}, "question"),
    "zero deadline": ({"deadline_seconds": 0}, "deadline_seconds"),
    "text deadline": ({"deadline_seconds": "5"}, "deadline_seconds"),
    "negative target": ({"target_radius": -1}, "target_radius"),
    "unknown field": ({"patient": "Jane"}, "patient"),
    "not a flag": ({"reasoning": "yes"}, "reasoning"),
    "negative frame": ({"frame": -1}, "frame"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_bodies_name_the_field(name):
    changes, field = WRONG[name]
    with pytest.raises(ApiError) as refused:
        answer(**changes)
    assert (refused.value.status, refused.value.param) == (400, field)
    assert "\n" not in refused.value.message
    assert "Jane" not in refused.value.message


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b'{"question": "\\ud800"}'])
def test_what_is_no_json_is_said_so(body):
    for read in (read_answer, lambda raw: read_chat(raw, "fake")):
        with pytest.raises(ApiError) as refused:
            read(body)
        assert refused.value.code == "invalid_json"


CHAT_WRONG = {
    "stream": ({"stream": True}, 400, "stream_unsupported"),
    "other model": ({"model": "gpt"}, 404, "model_not_found"),
    "two turns": ({"messages": chat()["messages"] * 2}, 400, "invalid_request"),
    "system": ({"messages": [{"role": "system", "content": "Be brief."}]}, 400, "invalid_request"),
    "text alone": ({"messages": [{"role": "user", "content": "Hello"}]}, 400, "invalid_request"),
    "several answers": ({"n": 2}, 400, "invalid_request"),
    "tools": ({"tools": []}, 400, "invalid_request"),
}


@pytest.mark.parametrize("name", CHAT_WRONG)
def test_chats_that_are_no_question(name):
    changes, status, code = CHAT_WRONG[name]
    with pytest.raises(ApiError) as refused:
        read_chat(json.dumps(chat(**changes)).encode(), "fake")
    assert (refused.value.status, refused.value.code) == (status, code)


def test_settings_of_sampling_are_let_pass():
    body = chat(temperature=0.7, top_p=1, max_tokens=5, stream=False, n=1, seed=3, user="x", metadata={"a": "b"})
    assert read_chat(json.dumps(body).encode(), "fake").options == OPTIONS
