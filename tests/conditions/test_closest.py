"""`cw`: the closest image that turns the real reply."""

import numpy as np
import pytest
from planted_model import BehindRationale, PlantedModel
from toy_conditions import attacked, flat

SLIGHT = flat(140, 130, 130)
SEARCH = "cw(l2,60,search=4)"


class Linear(PlantedModel):
    """Wrong once the blue mean is below 0.49."""

    def lead(self, pixels, prefix):
        return 40 * (pixels[2].mean() - 0.49)


@pytest.mark.parametrize("mode", ["direct", "think"])
def test_the_distance_is_that_of_a_linear_model(mode):
    context, view = attacked(SEARCH, Linear(), mode, SLIGHT)
    lead = 130 / 255 - 0.49 + 0.1 / 40  # a tenth of a nat beyond the border
    assert view.info["l2"] == pytest.approx(lead * 28, rel=0.05)
    assert view.info["l2"] >= (130 / 255 - 0.49) * 28
    assert view.info["success"] == view.info["decoded_success"] == 1
    (reply,) = context.model.generate([view], context.model.decoding(mode))
    assert "<answer>B" in reply.text


def test_where_the_slot_is_wrong_and_the_reply_right_the_image_moves_outwards():
    class Late(Linear):
        """Its reply lags behind what the slot says."""

        def generate(self, views, decoding, seed=0):
            bright = [view.image[..., 2].mean() > 120 for view in views]
            replies = super().generate(views, decoding, seed)
            return [
                type(reply)(reply.text.replace("B", "A") if late else reply.text, 1, 1, False)
                for reply, late in zip(replies, bright)
            ]

    _, near = attacked(SEARCH, Linear(), image=SLIGHT)
    _, far = attacked(SEARCH, Late(), image=SLIGHT)
    assert near.info["l2"] < far.info["l2"] <= 2.1 * near.info["l2"]
    assert far.info["success"] == 1
    assert far.image[..., 2].mean() <= 120


def test_a_model_that_cannot_be_fooled_keeps_its_image():
    _, view = attacked(SEARCH, PlantedModel(), image=SLIGHT)
    assert view.info["success"] == view.info["l2"] == 0
    np.testing.assert_array_equal(view.image, SLIGHT)


def test_what_is_wrong_already_has_distance_zero():
    _, view = attacked(SEARCH, BehindRationale(), "think", flat(140, 130, 40))
    assert (view.info["success"], view.info["l2"]) == (1, 0)
