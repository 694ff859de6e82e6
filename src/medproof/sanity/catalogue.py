"""What each check measures, what its failure means and what to do about it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Doc:
    """indicator: which of the six indicators of attack failure it is (Pintor et al. 2022, arXiv:2106.09947, I1-I6)."""

    title: str
    measures: str
    means: str
    remedy: str
    indicator: str = ""


CATALOGUE: dict[str, Doc] = {
    "eps_zero": Doc(
        "eps = 0 reproduces clean",
        "With no room to move, the attacked image is the clean one and so is the answer.",
        "The attack changes pixels outside its ball, or answers do not depend on the image alone.",
        "Check projection and 8-bit finish; run medproof doctor for answers that depend on the batch.",
    ),
    "monotone": Doc(
        "Success grows with eps",
        "Accuracy at a quarter and at half of eps, at eps, and without a bound: it must not rise.",
        "A larger ball holds the smaller one, so the search misses what it could find: it does not converge.",
        "More steps or restarts, or another step rule.",
    ),
    "unbounded": Doc(
        "No bound, no accuracy",
        "Accuracy where the attack may paint any image: at or below chance.",
        "The attack fails though nothing holds it back, or the model does not look at the image.",
        "Look at blank and shuffled accuracy first; then at the objective: does its success mean a wrong answer?",
        "I6 unconstrained attack failure",
    ),
    "single_step": Doc(
        "Iterative attack beats one step",
        "Questions that one gradient step (FGSM) turns and the attack does not.",
        "The steps walk away from what the first one finds: masked gradients or a bad step size.",
        "Other step rule, more restarts, an objective that does not saturate.",
    ),
    "effort": Doc(
        "Doubling steps or restarts changes nothing",
        "Accuracy lost when steps, or restarts, are doubled.",
        "The attack had not converged: the reported accuracy is too high.",
        "Raise steps or restarts until doubling them changes nothing.",
    ),
    "optimised": Doc(
        "The search has come to its end",
        "On questions that survive: gain in loss by doubling the steps, as a share of all that was gained (median).",
        "The loss was still rising when the attack stopped.",
        "More steps; a step size that falls to nought.",
        "I4 incomplete optimization",
    ),
    "transfer": Doc(
        "White box beats transfer",
        "Questions turned by images made on a copy of the model with noisy weights, but not by the attack.",
        "Gradients of another model are worth more than the model's own: they are masked.",
        "Attack through a smooth surrogate or without gradients; add square(...) to the run.",
    ),
    "black_box": Doc(
        "White box beats black box",
        "Questions turned by a search without gradients (Square), but not by the attack.",
        "The gradients mislead: they are masked or shattered.",
        "Report the union with square(...); attack through what hides the gradient.",
    ),
    "noise": Doc(
        "Attack beats random noise",
        "Questions turned by random noise of the same size, but not by the attack.",
        "The attack is worth less than no attack.",
        "Look at the sign of the loss and at the gradients.",
    ),
    "gradients": Doc(
        "Gradients are there",
        "Surviving questions with a step whose gradient was exactly zero or not finite, or with no step at all.",
        "Nothing was searched there: a saturated or non-differentiable loss counts as robustness.",
        "Use objective margin; keep the attack in float32; attack through what is not differentiable.",
        "I1 unavailable gradients",
    ),
    "smooth": Doc(
        "The loss is smooth",
        "Mean change of the loss under uniform noise of up to 4 grey levels, relative to the mean loss.",
        "The loss jumps between neighbouring images, so its gradient says little about it.",
        "Average the loss over noise draws (expectation over transformation).",
        "I2 unstable predictions",
    ),
    "silent_success": Doc(
        "No success is lost",
        "Questions where the attack holds an image that it counts as adversarial, and the decoded answer is right.",
        "The search wins on paper; judged by the reply, its images do nothing.",
        "Attack what is judged: the answer slot behind the model's own reply.",
        "I3 silent success",
    ),
    "judged_path": Doc(
        "Saved PNG = attacked image",
        "Forced choice of the attacked image in the differentiable path and, from the re-read PNG, in the stock one.",
        "The attack optimises another function than the one that is judged.",
        "Compare preprocessing; run medproof doctor.",
        "I5 transfer failure",
    ),
    "precision": Doc(
        "float32 = bfloat16",
        "Questions turned by the attacked images in the run's precision, but not in the other one.",
        "Success hangs on rounding, not on the model.",
        "Let the attack go on until its lead is a nat or two.",
    ),
    "planted": Doc(
        "A planted adversary is found",
        "A readout of the model's own features for which a wrong image certainly lies in the ball: share of questions "
        "where the attack finds one (Zimmermann et al. 2022, arXiv:2206.13991).",
        "The attack misses adversarial images that exist: accuracy under it says nothing.",
        "More steps or restarts, another step rule; attack through what hides the gradient.",
    ),
}
"""In the order of the report."""
