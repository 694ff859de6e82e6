"""Corruptions that a picture meets in practice, in five severities. No torch at import.

blur, jpeg, gamma for any image; window for grey modalities; bias_field, gibbs, motion, spikes for MRI; speckle for
ultrasound; low_dose for CT. Other modalities are skipped. bias_field, gibbs and spikes are MONAI's transforms (extra
`corruptions`), the others a few lines each. All work on the 8-bit image on the model's grid, in [0, 1], and are rounded
to 8 bits; a grey image stays grey. Severity 3 is meant as "a reader would complain, and still read it".
"""

import importlib
import importlib.util
import io
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from medproof.conditions.context import Context, Pixels
from medproof.conditions.distances import distances
from medproof.conditions.kind import Arguments, Kind, Parameter, Prepare
from medproof.conditions.parameters import WHITE, count
from medproof.errors import UserError
from medproof.records import Condition, Item, View

Floats = npt.NDArray[np.float64]
_Change = Callable[[Pixels, int, np.random.Generator], Pixels]
_Grey = Callable[[Floats, int, np.random.Generator], Floats]
_RADIOLOGY = ("CT", "MRI", "X-Ray")

# One number for each severity, 1 to 5.
BLUR_SHARE = (0.002, 0.004, 0.006, 0.009, 0.013)
"""Standard deviation, as a share of the shorter side."""
JPEG_QUALITY = (50, 30, 20, 12, 7)
GAMMA = (1.2, 1.4, 1.7, 2.0, 2.5)
"""Exponent, or one over it, by a coin."""
WINDOW_SHIFT = (0.05, 0.1, 0.15, 0.2, 0.3)
"""The window's level moves by so much, and its width by up to as much."""
BIAS = (0.1, 0.2, 0.3, 0.45, 0.6)
"""Coefficients of the log field, Legendre polynomials of degree 3."""
GIBBS = (0.5, 0.6, 0.7, 0.78, 0.85)
"""Share of the k-space radius that is cut off."""
MOTION_SHARE = (0.005, 0.01, 0.02, 0.03, 0.05)
"""Largest displacement between lines of k-space, as a share of the height."""
SPIKE = (0.6, 0.7, 0.8, 0.9, 1.0)
"""Log-intensity of the spikes, as a share of that of the centre of k-space."""
SPECKLE_LOOKS = (64, 24, 12, 6, 3)
DOSE_NOISE = (0.02, 0.04, 0.06, 0.09, 0.13)
"""Standard deviation of the noise."""


def blur(image: Pixels, severity: int, _: np.random.Generator) -> Pixels:
    """Gaussian."""
    radius = BLUR_SHARE[severity - 1] * min(image.shape[0], image.shape[1])
    return np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(radius)))


def jpeg(image: Pixels, severity: int, _: np.random.Generator) -> Pixels:
    """Compressed and read again."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="JPEG", quality=JPEG_QUALITY[severity - 1])
    return np.asarray(Image.open(buffer).convert("RGB"))


def gamma(image: Pixels, severity: int, rng: np.random.Generator) -> Pixels:
    """Every value to the power of gamma, or of 1 / gamma."""
    exponent = GAMMA[severity - 1] ** (1 if rng.integers(2) else -1)
    return _to_pixels((image / WHITE) ** exponent)


def window(image: Pixels, severity: int, rng: np.random.Generator) -> Pixels:
    """Level and width of the grey window moved; what falls outside is clipped."""
    most = WINDOW_SHIFT[severity - 1]
    level = 0.5 + most * (1 if rng.integers(2) else -1)
    return _to_pixels((image / WHITE - level) / (1 + rng.uniform(-most, most)) + 0.5)


def motion(grey: Floats, severity: int, rng: np.random.Generator) -> Floats:
    """The patient moves between lines of k-space: bands of lines get the phase of an image shifted by a few pixels.

    The centre of k-space, which holds the contrast, is left alone.
    """
    height, width = grey.shape
    k = np.fft.fftshift(np.fft.fft2(grey))
    most, rows = MOTION_SHARE[severity - 1] * height, np.arange(height)
    cuts = np.sort(rng.choice(rows[1:], size=min(6, height - 1), replace=False))
    band = np.searchsorted(cuts, rows, side="right")
    down, right = rng.uniform(-most, most, (2, len(cuts) + 1))[:, band]
    still = np.abs(rows - height // 2) <= height // 16
    down[still] = right[still] = 0.0
    fy, fx = np.fft.fftshift(np.fft.fftfreq(height)), np.fft.fftshift(np.fft.fftfreq(width))
    phase = down[:, None] * fy[:, None] + right[:, None] * fx[None, :]
    return np.asarray(np.fft.ifft2(np.fft.ifftshift(k * np.exp(-2j * np.pi * phase))).real)


def speckle(grey: Floats, severity: int, rng: np.random.Generator) -> Floats:
    """Multiplicative gamma noise of mean 1: fully developed speckle of so many looks (Goodman 2007, chapter 3)."""
    looks = SPECKLE_LOOKS[severity - 1]
    return grey * rng.gamma(looks, 1 / looks, grey.shape)


def low_dose(grey: Floats, severity: int, rng: np.random.Generator) -> Floats:
    """Noise with the spectrum of filtered back-projection, which rises with frequency and falls towards the edge of the
    band (Riederer, Pelc and Chesler 1978): white noise through the square root of a ramp with a Hann window.
    """
    fy, fx = np.fft.fftfreq(grey.shape[0]), np.fft.fftfreq(grey.shape[1])
    radius = np.minimum(np.hypot(fy[:, None], fx[None, :]), 0.5)
    spectrum = np.sqrt(radius) * np.cos(np.pi * radius)
    noise = np.real(np.fft.ifft2(np.fft.fft2(rng.standard_normal(grey.shape)) * spectrum))
    return grey + DOSE_NOISE[severity - 1] * noise / max(float(noise.std()), 1e-12)


def bias_field(grey: Floats, severity: int, rng: np.random.Generator) -> Floats:
    """A smooth change of gain over the image, of mean 1 over it."""
    most = BIAS[severity - 1]
    transform = _monai("RandBiasField")(prob=1.0, degree=3, coeff_range=(-most, most))
    transform.set_random_state(seed=int(rng.integers(2**31)))
    gain = _run(transform, np.ones_like(grey))
    return np.asarray(grey * gain / gain.mean())


def gibbs(grey: Floats, severity: int, _: np.random.Generator) -> Floats:
    """Ringing at edges: the outer part of k-space is missing."""
    return _run(_monai("GibbsNoise")(alpha=GIBBS[severity - 1]), grey)


def spikes(grey: Floats, severity: int, rng: np.random.Generator) -> Floats:
    """Stripes: two single places of k-space are far too bright."""
    centre = np.array(grey.shape) // 2
    k = float(np.log(np.abs(np.fft.fft2(grey)).max() + 1e-10))
    reach = np.maximum(centre // 3, 1)
    places = [tuple(int(v) for v in centre + rng.integers(1, reach + 1) * rng.choice((-1, 1), 2)) for _ in range(2)]
    transform = _monai("KSpaceSpikeNoise")(loc=places, k_intensity=[k * SPIKE[severity - 1]] * 2)
    return _run(transform, grey)


def on_grey(change: _Grey, image: Pixels, severity: int, rng: np.random.Generator) -> Pixels:
    """Apply a change of grey levels to a radiological image; in colour, to every channel with the same draw."""
    seed = int(rng.integers(2**31))
    channels = image.transpose(2, 0, 1) / WHITE
    if (image == image[:, :, :1]).all():
        channels = channels[:1]
    changed = [change(channel, severity, np.random.default_rng(seed)) for channel in channels]
    return _to_pixels(np.broadcast_to(np.stack(changed, axis=2), image.shape))


def _to_pixels(values: Floats) -> Pixels:
    # Rounded and clipped as float: a cast would wrap black round to white.
    return np.rint(values * WHITE).clip(0, WHITE).astype(np.uint8)


def _monai(name: str) -> Any:
    return getattr(importlib.import_module("monai.transforms"), name)


def _run(transform: Any, grey: Floats) -> Floats:
    return np.array(transform(grey[None].astype(np.float32))[0], dtype=np.float64)


def _prepare(change: _Change, modalities: Sequence[str] | None) -> Prepare:
    """Apply `change` to each item's image, with the item's own generator, and measure what it did."""

    def prepare(items: Sequence[Item], condition: Condition, given: Arguments, context: Context) -> list[View | None]:
        views: list[View | None] = []
        for item in items:
            if modalities is not None and item.modality not in modalities:
                views.append(None)
                continue
            own, rng = context.load(item), np.random.default_rng(context.item_seed(item, condition))
            image = change(own, int(given["severity"]), rng)
            views.append(context.view(item, condition, image, distances(own, image)))
        return views

    return prepare


_SEVERITY = count("severity", 5, 3)


def _with_monai(text: str, given: Arguments) -> str:
    """A severity, where MONAI is installed."""
    if importlib.util.find_spec("monai") is None:
        raise UserError("it needs MONAI, which is not installed: pip install 'medproof[corruptions]'")
    return _SEVERITY.read(text, given)


def _kind(
    name: str, text: str, change: _Change, modalities: Sequence[str] | None = None, *, monai: bool = False
) -> Kind:
    severity = Parameter("severity", _with_monai, _SEVERITY.default) if monai else _SEVERITY
    shown = f"{text}; {' and '.join(modalities)} only" if modalities else text
    return Kind(name, shown, _prepare(change, modalities), (severity,), expected="keep")


KINDS = (
    _kind("blur", "Gaussian blur, severity 1 to 5 (as of all that follow)", blur),
    _kind("jpeg", "compression artefacts", jpeg),
    _kind("gamma", "brighter or darker mid-greys", gamma),
    _kind("window", "the grey window moved", window, _RADIOLOGY),
    _kind("bias_field", "uneven gain of the coil (MONAI)", partial(on_grey, bias_field), ("MRI",), monai=True),
    _kind("gibbs", "ringing at edges (MONAI)", partial(on_grey, gibbs), ("MRI",), monai=True),
    _kind("motion", "the patient moves during the scan", partial(on_grey, motion), ("MRI",)),
    _kind("spikes", "stripes from spikes in k-space (MONAI)", partial(on_grey, spikes), ("MRI",), monai=True),
    _kind("speckle", "multiplicative noise", partial(on_grey, speckle), ("Ultrasound",)),
    _kind("low_dose", "noise of a scan with less dose", partial(on_grey, low_dose), ("CT",)),
)
