"""One condition, one key; what cannot be meant is refused with what to do."""

import subprocess
import sys

import pytest

from medproof.conditions import arguments, check_model, names, needs_attack, resolve
from medproof.errors import UserError


@pytest.mark.parametrize(
    ("texts", "key", "twin"),
    [
        (["clean", " clean ", "clean()"], "clean", None),
        (["noise(0.25)", "noise(.250)", "noise(sigma=0.25)", "noise(1/4)"], "noise(0.25)", None),
        (["noise(1/3)", "noise(2/6)"], "noise(1/3)", None),
        (["random_sign(8/255)", "random_sign(16/510)", "random_sign(eps=8/255)"], "random_sign(8/255)", None),
        (
            [
                "pgd(linf,8/255,20)",
                "pgd( linf , 8/255 )",
                "pgd(linf,16/510,20,restarts=1,objective=margin)",
                "pgd(linf,8/255,020,1,margin)",
                "pgd(steps=20,eps=8/255,norm=linf)",
            ],
            "pgd(linf,8/255,20)",
            "random_sign(8/255)",
        ),
        (["pgd(linf,0)", "pgd(linf,0/255,20)"], "pgd(linf,0/255,20)", "random_sign(0/255)"),
        (["pgd(linf,0.2,5)", "pgd(linf,51/255,5)"], "pgd(linf,51/255,5)", "random_sign(51/255)"),
        (["pgd(l2,0.50)", "pgd(l2,1/2,20)"], "pgd(l2,0.5,20)", "random_l2(0.5)"),
        (["pgd(l2,12,20)", "pgd(l2,12.0)"], "pgd(l2,12,20)", "random_l2(12)"),
        (
            ["pgd(linf,2/255,5,restarts=3,objective=answer)", "pgd(linf,2/255,5,3,answer)"],
            "pgd(linf,2/255,5,objective=answer,restarts=3)",
            "random_sign(2/255)",
        ),
        (
            ["pgd(linf,2/255,5,noise=.250,draws=4)", "pgd(linf,2/255,noise=1/4,steps=5)"],
            "pgd(linf,2/255,5,noise=0.25)",
            "random_sign(2/255)",
        ),
        (["fgsm(linf,2/255)", "fgsm(linf,2/255,objective=margin)"], "fgsm(linf,2/255)", "random_sign(2/255)"),
        (["cw", "cw(l2)", "cw(l2,100,search=4)"], "cw(l2,100)", None),
        (["square(l2,1/2,500)", "square(l2,0.5,reads=options)"], "square(l2,0.5,500)", "random_l2(0.5)"),
        (["union(linf,8/255)", "union(linf,8/255,20)"], "union(linf,8/255,20)", "random_sign(8/255)"),
    ],
)
def test_every_spelling_has_one_key(texts, key, twin):
    found = [resolve(text) for text in texts]
    assert {condition.key for condition in found} == {key}
    assert all(condition == found[0] for condition in found)
    assert resolve(key) == found[0]
    assert found[0].twin == twin
    if twin is not None:
        assert resolve(twin).key == twin


def test_arguments_have_their_defaults():
    expected = {"norm": "linf", "eps": "8/255", "steps": "20", "restarts": "1", "objective": "margin"}
    more = {"rule": "cosine", "noise": "0", "draws": "4", "every": "5"}
    assert arguments(resolve("pgd(linf,8/255)")) == expected | more
    assert arguments(resolve("square(l2,1)")) == {"norm": "l2", "eps": "1", "queries": "500", "reads": "options"}
    assert arguments(resolve("cw")) == {"norm": "l2", "steps": "100", "search": "4"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pgd(linf,0.03)", "0.03 is between 7/255 and 8/255: say which"),
        ("random_sign(0.5/255)", "0.5/255 is between 0/255 and 1/255: say which"),
        ("random_sign(256/255)", "outside 0/255 to 255/255"),
        ("random_sign(-1/255)", "outside 0/255 to 255/255"),
        ("random_sign(-0.2)", "outside 0/255 to 255/255"),
        ("pgd(linf,1e999999999)", "is no number"),
        ("pgd(linf,8/0)", "is no number"),
        ("pgd(linf,nan)", "is no number"),
        ("pgd(l2,0)", "must be above 0"),
        ("pgd(l2,inf)", "is no number"),
        ("pgd(l1,0.5)", "norm 'l1' is none of linf, l2"),
        ("pgd(linf)", "needs eps: write pgd"),
        ("pgd(linf,8/255,0)", "no whole number from 1"),
        ("pgd(linf,8/255,2.5)", "no whole number from 1"),
        ("pgd(linf,8/255,20,restarts=0)", "no whole number from 1"),
        ("pgd(linf,8/255,20,objective=dlr)", "none of margin, answer"),
        ("pgd(linf,8/255,20,step=2)", "no argument 'step'"),
        ("pgd(linf,8/255,20,steps=20)", "'steps' twice"),
        ("pgd(linf,8/255,20,1,margin,cosine,0,4,5,1)", "takes 9 arguments, not 10"),
        ("pgd(linf,8/255,rule=adam)", "none of cosine, constant, momentum"),
        ("pgd(linf,8/255,objective=refreshed,noise=0.1)", "noise goes with objective margin.*leave it out"),
        ("pgd(linf,8/255,noise=-1)", "above 0 and at most 1"),
        ("fgsm(linf,8/255,objective=encoder)", "none of margin, answer"),
        ("apgd(linf,8/255,objective=sampled)", "none of margin, answer"),
        ("cw(linf)", "norm 'linf' is none of l2"),
        ("square(linf,8/255,reads=logits)", "none of options, letter"),
        ("union(linf,300/255)", "outside 0/255 to 255/255"),
        ("background(linf,0.03)", "between 7/255 and 8/255"),
        ("noise", "needs sigma"),
        ("noise(0)", "above 0 and at most 1"),
        ("noise(1.5)", "above 0 and at most 1"),
        ("blank(3)", "takes 0 arguments"),
        ("pdg(linf,8/255)", "did you mean pgd"),
        ("suffled", "did you mean shuffled"),
        ("qqqq", "there are clean, blank, noimage, shuffled"),
        ("pgd(linf", "is not"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_one_line(text, message):
    with pytest.raises(UserError, match=message) as caught:
        resolve(text)
    assert "\n" not in str(caught.value)


def test_names_show_how_each_is_written():
    shown = names()
    assert "pgd(norm, eps, steps, restarts=1, objective=margin, rule=cosine, noise=0, draws=4, every=5)" in shown
    assert all(len(line) > 8 for line in shown.values())
    assert [name.split("(")[0] for name in shown] == [
        "clean",
        "blank",
        "noimage",
        "shuffled",
        "hint",
        "pushback",
        "wording",
        "cue",
        "burned_in",
        "marker",
        "masked",
        "region_only",
        "mirrored",
        "rotated",
        "steps",
        "noise",
        "random_sign",
        "random_l2",
        "blur",
        "jpeg",
        "gamma",
        "window",
        "bias_field",
        "gibbs",
        "motion",
        "spikes",
        "speckle",
        "low_dose",
        "fgsm",
        "pgd",
        "apgd",
        "targeted",
        "cw",
        "square",
        "background",
        "evidence",
        "universal",
        "union",
    ]


def test_expected_behaviour_and_who_attacks():
    assert resolve("clean").expected == resolve("noise(0.1)").expected == resolve("pgd(linf,1/255)").expected == "keep"
    assert resolve("blank").expected == "any"
    assert [text for text in ("clean", "noise(0.1)", "pgd(linf,1/255)") if needs_attack(resolve(text))] == [
        "pgd(linf,1/255)"
    ]


def test_a_model_without_gradients_is_told_what_else_there_is():
    class Api:
        name = "api"

    with pytest.raises(UserError, match=r"pgd\(linf,8/255,20\) needs gradients.*random_sign\(8/255\)"):
        check_model(resolve("pgd(linf,8/255)"), Api())
    check_model(resolve("random_sign(8/255)"), Api())


def test_the_registry_needs_no_torch():
    code = (
        "import sys; from medproof import conditions as c;"
        "c.resolve('pgd(l2,0.5)'); c.names(); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
