"""Verdicts, words and the little SVG writer."""

import json
from typing import Any

import pytest

from medproof.report import plots, svg
from medproof.report.page import script_json
from medproof.report.run_view import labels
from medproof.report.verdict import verdict
from medproof.report.wording import eps_text, in_short, in_words, interval, moment, percent, points


def block(accuracy: float, n: int = 100, half: float = 0.05, **more: Any) -> dict[str, Any]:
    return {"accuracy": accuracy, "n": n, "ci95": [accuracy - half, accuracy + half], **more}


def summary(**conditions: dict[str, Any]) -> dict[str, Any]:
    return {"conditions": conditions, "robust": None, "reliance": {}, "incomplete": False}


@pytest.mark.parametrize(
    ("conditions", "looks"),
    [
        ({"clean": block(0.88), "blank": block(0.34), "shuffled": block(0.33)}, "looks"),
        ({"clean": block(0.88), "blank": block(0.34), "shuffled": block(0.87)}, "kind"),
        ({"clean": block(0.88), "shuffled": block(0.87)}, "blind"),
        ({"clean": block(0.88), "shuffled": block(0.33)}, "looks"),
        ({"clean": block(0.88), "blank": block(0.34), "noimage": block(0.87)}, "blind"),
        ({"clean": block(0.88, half=0.02), "blank": block(0.78, half=0.02)}, "partly"),
        ({"clean": block(0.88, half=0.2), "blank": block(0.58, half=0.2)}, "unclear"),
        ({"clean": block(0.40), "blank": block(0.40)}, "blind"),
        ({"clean": block(0.88)}, "unknown"),
        ({"blank": block(0.34)}, "empty"),
        ({"clean": {"accuracy": None, "n": 0, "ci95": None}}, "empty"),
    ],
)
def test_verdict(conditions: dict[str, Any], looks: str) -> None:
    assert verdict(summary(**conditions)).looks == looks


def test_paired_intervals_decide_where_there_are_any() -> None:
    given = summary(clean=block(0.88, half=0.2), blank=block(0.58, half=0.2))
    assert verdict(given).looks == "unclear"
    given["reliance"] = {"blank_drop": {"value": 0.3, "ci95": [0.1, 0.5]}}
    assert verdict(given).looks == "looks"
    given["reliance"] = {"blank_drop": {"value": 0.3, "ci95": [0.0, 0.6]}}
    assert verdict(given).looks == "unclear"


def test_a_table_told_the_modality_is_named_where_it_does_as_well() -> None:
    given = summary(clean=block(0.80), blank=block(0.3))
    given["provenance"] = {"text_prior": {"accuracy": 0.33, "given_modality": 0.83}}
    assert "told the modality" in verdict(given).alarms[0].text
    given["provenance"]["text_prior"]["given_modality"] = 0.79
    assert verdict(given).alarms == ()


def test_verdict_names_the_strongest_attack_beside_the_controls() -> None:
    given = summary(clean=block(0.88), blank=block(0.34), shuffled=block(0.33))
    given["robust"] = {
        "attacks": {
            "pgd(linf,4/255,20)": {**block(0.5), "eps_255": 4.0, "norm": "linf", "control": None},
            "pgd(linf,8/255,20)": {**block(0.21), "eps_255": 8.0, "norm": "linf", "control": block(0.86)},
        }
    }
    given["reliance"] = {"text_prior": block(0.41)}
    said = verdict(given).sentence.replace("\u00a0", " ")
    assert said == (
        "Looks at the image: clean 88 %, blank 34 %, shuffled 33 %, text prior 41 %; "
        "PGD at 8/255 leaves 21 % (random noise of that size: 86 %)"
    )


def test_alarms() -> None:
    given = summary(clean=block(0.40, n=12, degenerate=True), blank=block(0.4, degenerate=True, missing=2, error=1))
    given |= {"incomplete": True, "reliance": {"text_prior": block(0.41)}}
    alarms = {alarm.short: alarm for alarm in verdict(given).alarms}
    assert alarms["INCOMPLETE"].text.startswith("1 reply failed and 2 replies missing")
    assert {"text prior", "few items", "degenerate"} <= set(alarms)
    assert [alarm.level for alarm in verdict(given).alarms if alarm.short == "degenerate"] == ["stop", "note"]
    assert verdict(summary(clean=block(0.9), blank=block(0.3))).alarms == ()


@pytest.mark.parametrize(
    ("key", "words", "short"),
    [
        ("clean", "Clean image", "Clean"),
        ("pgd(linf,8/255,20)", "PGD L∞ 8/255, 20 steps", "PGD 8/255"),
        ("pgd(l2,0.5,20,restarts=3)", "PGD L2 0.5, 20 steps, restarts 3", "PGD L2 0.5"),
        ("random_sign(8/255)", "Random noise ±8/255", "Random 8/255"),
        ("noise(0.25)", "Gaussian noise σ 0.25", "Noise 0.25"),
        ("hint(wrong,authority)", "Hint wrong authority", "Hint wrong authority"),
        ("hint(wrong,self_doubt,image=box_true)", *["Hint wrong self doubt, image box true"] * 2),
        ("<no condition>", "<no condition>", "<no condition>"),
    ],
)
def test_conditions_in_words(key: str, words: str, short: str) -> None:
    assert in_words(key).replace("\u00a0", " ") == words
    assert in_short(key).replace("\u00a0", " ") == short


def test_numbers_in_words() -> None:
    assert percent(0.8812).replace("\u00a0", " ") == "88.1 %"
    assert percent(None) == "–"
    assert points(-0.0312).replace("\u00a0", " ") == "−3.1 pp"
    assert interval([0.85, 0.906]).replace("\u00a0", " ") == "85.0 to 90.6"
    assert interval(None) == interval([None, None]) == ""
    assert eps_text({"eps_255": 8.0, "norm": "linf"}) == "8/255"
    assert eps_text({"eps_255": 127.5, "norm": "l2"}) == "0.5"
    assert moment("2025-01-02T03:04:05+00:00") == "2025-01-02 03:04 UTC"
    assert moment("yesterday") == "yesterday"


def test_labels_tell_runs_apart() -> None:
    one = {"model": "org/m", "mode": "direct", "dataset": "d", "name": "n"}
    assert labels([one]) == ["m · direct"]
    assert labels([one, {**one, "mode": "think"}]) == ["m · direct", "m · think"]
    assert labels([one, {**one, "dataset": "e"}]) == ["m · direct · d", "m · direct · e"]
    assert labels([one, one]) == ["m · direct · d · n · 1", "m · direct · d · n · 2"]


def test_script_json_cannot_end_its_element() -> None:
    nasty = ["</script>", "<!--", "]]>", "&lt;", "\u2028\u2029", "\ud800", "é🩻"]
    text = str(script_json(nasty))
    assert not set("<>&\u2028\u2029") & set(text)
    assert text.isascii()
    assert json.loads(text) == nasty
    with pytest.raises(ValueError, match="Out of range"):
        script_json(float("nan"))


def test_svg_escapes_and_clamps() -> None:
    made = svg.tag("text", '<b> & "q"', class_='a"b', stroke_width=2.50, fill=None)
    assert str(made) == '<text class="a&#34;b" stroke-width="2.5">&lt;b&gt; &amp; &#34;q&#34;</text>'
    assert (svg.pct(-0.1), svg.pct(0.5), svg.pct(1.7)) == ("0.00%", "50.00%", "100.00%")


def test_plots_describe_their_numbers() -> None:
    point = plots.Point("run <1>", 0.5, (0.4, 0.6), 0.25, "run0", "diamond")
    made = str(plots.intervals("slug", "title", [plots.Row("Clean", (point,))]))
    assert "run &lt;1&gt; 50.0\u00a0% (95 % interval 40.0\u00a0% to 60.0\u00a0%)" in made
    assert 'x1="40.00%"' in made
    assert 'x2="60.00%"' in made
    curve = plots.Curve("PGD", ((0.0, 0.9, None), (8.0, 0.2, (0.1, 0.3))), "attack0", "circle")
    drawn = str(plots.line_plot("c", "title", [curve], {"blank image": 0.34}, "eps"))
    assert "PGD: 90.0\u00a0% at 0, 20.0\u00a0% at 8; blank image 34.0\u00a0%" in drawn
    assert 'y1="35"' in drawn, "90 % lies a tenth below the top of 14 + 210 px"
    assert str(plots.letters("l", "t", {"A": 0.95, "none": 0.05})).count("<text") == 1
