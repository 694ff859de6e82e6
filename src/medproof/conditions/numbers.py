"""What the numbers in `View.info` (and so in `Response.info`) mean: the one place that says it. No torch."""

from medproof.scoring.asked import ASKED
from medproof.scoring.steps import STEPS

NUMBERS: dict[str, str] = {
    "eps_255": "budget of a linf ball, in grey levels",
    "eps_l2": "budget of an l2 ball, in [0, 1] pixels over the whole image",
    "steps": "steps asked for",
    "restarts": "restarts asked for",
    "search": "values of the C&W constant asked for",
    "queries_allowed": "queries asked for",
    "allowed_share": "share of the pixels that the attack may change",
    "linf_255": "measured: largest change of a value, in grey levels",
    "l2": "measured: length of the change, in [0, 1] pixels over the whole image",
    "success": "0/1, the attack's own verdict: that of the reply where it asked for one, else the forced choice",
    "decoded_success": "0/1, the reply to the image is not right; absent where the attack asked for none",
    "loss": "loss of the image returned, by the score that found it: nats but for encoder; absent where not finite",
    "forwards": "forward passes of the model, decoding not counted; a smoothed or sampled pass counts once per draw",
    "backwards": "backward passes of the model",
    "queries": "images that a search without gradients has asked for",
    "generations": "replies that the attack let the model write; absent where none",
    "restarts_used": "restarts begun, over all searches",
    "zero_gradients": "steps whose gradient was exactly zero: many mean that the model hides its gradient",
    "nan": "0/1, a loss or gradient was not finite; that search ended with the best image so far",
    "refreshed": "0/1, in mode think: the attack went on behind the rationale of the attacked image",
}
"""By name. `union` adds `member_<name>`: 1 the view survived that member, 0 it fell; absent where not run."""

PERTURBED: dict[str, str] = {
    **ASKED,
    **STEPS,
    "cue_x0": "left edge of the region a cue marks, in pixels of the image shown; likewise y0, x1, y1",
    "cue_y0": "upper edge",
    "cue_x1": "right edge, exclusive",
    "cue_y1": "lower edge, exclusive",
    "masked_share": "share of the pixels that were filled",
    "attempts": "requests that an API model needed for the reply",
    "usd": "price of the reply in US dollars, where prices are given",
}
"""By name: of conditions that are no attacks, and of replies."""
