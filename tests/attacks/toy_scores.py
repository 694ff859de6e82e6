"""Images and a model whose optimum is known."""

import torch

from medproof.attacks.threat import to_images


def image(shape=(3, 28, 28), seed=0, low=60, high=196):
    """Random 8-bit greys from `low` to below `high`: by default no ball of a few levels meets black or white."""
    return to_images(torch.randint(low, high, shape, generator=torch.Generator().manual_seed(seed)))


def any_image(shape, seed=0, black_and_white=False):
    """Of all greys, or of black and white alone."""
    grey = torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(seed))
    return to_images((grey > 127) * 255 if black_and_white else grey)


def weights_of(shape, seed=1):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def linear(weights, bias=0.0):
    """Adversarial above 0; loss = <weights, x> + bias."""

    def score(pixels, indices):
        loss = torch.stack([(weights * x).sum() + bias for x in pixels])
        return loss, loss.detach() > 0

    return score
