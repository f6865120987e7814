"""The image set `glyphs`: 100 characters drawn from open typefaces that are installed as Python packages.

The labels are the 94 printable ASCII characters and six more. Whole families are held out for the test split, with all
their weights and italics, so that accuracy there is accuracy on letter forms never seen. Every face is scaled to the
same height of its capital H and set on a common baseline: case pairs (c C), and marks that differ by their height
(, ' or _ -), can be told apart, while O 0 o and l 1 I | remain as alike as they are in print.

A face is a font file, one weight of one family, upright or italic. An image draws a family of its split, then one of
its faces, then an affine distortion, two colours and noise, all from a random stream of its own.
"""

from functools import lru_cache
from importlib import metadata
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from lib.data.images import STATISTICS, ImageSet
from lib.system.errors import unknown

CHARACTERS = [chr(code) for code in range(33, 127)] + list("£€§ßæø")
SIDE = 32  # pixels
FINE = 2  # characters are drawn and distorted at this many times the size, then averaged down
CAPITAL = 16  # height of H, pixels
BASELINE = 22.5  # pixels from the top
SEED = 0

# Chosen before any training: a sans serif, a serif and a display family, each with relatives of its kind in training.
TEST_FAMILIES = ("lato", "caladea", "fredoka-one")
TRAIN_FAMILIES = (
    "amatic-sc", "fjallaone", "hanken-grotesk", "intuitive", "manrope", "rhd", "roboto", "source-sans-pro",
    "source-serif-pro",
)  # fmt: skip
FAMILIES = {"train": TRAIN_FAMILIES, "validation": TRAIN_FAMILIES, "test": TEST_FAMILIES}
PER_LABEL = {"train": 200, "validation": 50, "test": 50}

SCALE = 0.06  # largest relative deviation
ROTATION = 12  # degrees, largest
SHEAR = 0.1  # largest horizontal shift a pixel of height
SHIFT = 1.5  # pixels, largest, along each axis
CONTRAST = 0.4  # smallest difference in luminance of ink and ground, in units of the full range
NOISE = 0.03  # standard deviation, in units of the full range
LUMINANCE = np.array([0.299, 0.587, 0.114])


class MissingFonts(FileNotFoundError):
    """A typeface that `glyphs` is drawn from is not installed."""

    def __init__(self, package: str):
        super().__init__(
            f"glyphs is drawn from typefaces installed as Python packages, and {package} is missing or holds no font"
            " file: run `pip install -r requirements.txt`"
        )


def load(split: str) -> ImageSet:
    """The split "train" (200 images a label), "validation" or "test" (50 each); the labels are the characters.

    "validation" has other images of the families of "train"; "test" has families that are in neither. Raises ValueError
    for an unknown split and MissingFonts where a typeface is not installed.
    """
    return _drawn(split).locked()


@lru_cache(maxsize=3)
def _drawn(split: str) -> ImageSet:
    return draw(split)


def draw(split: str, per_label: int | None = None, seed: int = SEED) -> ImageSet:
    """Draw `per_label` images of each label, by default as many as `load` does; image i shows character i mod 100.

    Each image depends on (seed, split, i) alone, so that fewer images are the first of more.
    """
    if split not in FAMILIES:
        raise unknown("split of glyphs", split, FAMILIES)
    families = [faces(family) for family in FAMILIES[split]]
    count = len(CHARACTERS) * (PER_LABEL[split] if per_label is None else per_label)
    labels = np.arange(count) % len(CHARACTERS)
    images = np.empty((count, SIDE, SIDE, 3), np.uint8)
    masks: dict[tuple[Path, str], Image.Image] = {}
    key = list(FAMILIES).index(split)
    for i, label in enumerate(labels):
        random = np.random.default_rng(np.random.SeedSequence((seed, key, i)))
        family = families[random.integers(len(families))]
        drawn = family[random.integers(len(family))], CHARACTERS[label]
        if drawn not in masks:
            masks[drawn] = mask(*drawn)
        images[i] = _paint(_distort(masks[drawn], random), random)
    mean, std = STATISTICS["glyphs"]
    return ImageSet("glyphs", split, images, labels, CHARACTERS, mean=mean, std=std)


def faces(family: str) -> list[Path]:
    """The font files of a family, one for each face, in the order of their names; MissingFonts if there are none."""
    package = f"font-{family}"
    try:
        files = metadata.files(package) or []
    except metadata.PackageNotFoundError:
        files = []
    fixed = [f for f in files if f.suffix in (".otf", ".ttf") and "Variable" not in f.stem]
    found = {f.stem: Path(f.locate()) for f in sorted(fixed, key=lambda f: (f.stem, f.suffix))}  # .ttf where both exist
    if not found:
        raise MissingFonts(package)
    return list(found.values())


def mask(face: Path, character: str) -> Image.Image:
    """How much of each pixel is ink: 8-bit greyscale, 64 x 64 pixels, twice the size of an image of the set."""
    image = Image.new("L", (SIDE * FINE, SIDE * FINE))
    font = _font(face)
    left, _, right, _ = font.getbbox(character, anchor="ls")
    x = (image.width - left - right) / 2  # centres the ink
    ImageDraw.Draw(image).text((x, BASELINE * FINE), character, fill=255, font=font, anchor="ls")
    return image


@lru_cache(maxsize=256)
def _font(face: Path) -> ImageFont.FreeTypeFont:
    """The face at the size at which its H is `CAPITAL` pixels high."""
    probe = ImageFont.truetype(face, 1000, layout_engine=ImageFont.Layout.BASIC)
    height = -probe.getbbox("H", anchor="ls")[1]
    return probe.font_variant(size=1000 * CAPITAL * FINE / height)


def _distort(ink: Image.Image, random: np.random.Generator) -> np.ndarray:
    """Scale, rotate, shear and shift about the centre; returns ink (32, 32), 0 to 1."""
    scale = 1 + SCALE * random.uniform(-1, 1)
    angle = np.radians(ROTATION * random.uniform(-1, 1))
    shear = SHEAR * random.uniform(-1, 1)
    shift = SHIFT * FINE * random.uniform(-1, 1, 2)
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    linear = rotation @ np.array([[1, shear], [0, 1]]) / scale  # from a place in the result to one in the source
    centre = np.full(2, SIDE * FINE / 2)
    offset = centre - linear @ (centre + shift)
    matrix = np.column_stack([linear, offset]).ravel().tolist()
    warped = ink.transform(ink.size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)
    return np.asarray(warped.reduce(FINE), np.float32) / 255


def _paint(ink: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Colour ink and ground and add noise: (32, 32), 0 to 1 -> uint8 (32, 32, 3)."""
    ground, colour = _colours(random)
    image = ground + ink[..., None] * (colour - ground)
    image += NOISE * random.standard_normal(image.shape, np.float32)
    return (image.clip(0, 1) * 255).round().astype(np.uint8)


def _colours(random: np.random.Generator) -> np.ndarray:
    """Two colours (2, 3), 0 to 1, uniform among the pairs that differ by at least `CONTRAST` in luminance."""
    while True:
        pair = random.random((2, 3))
        if abs(np.subtract(*pair) @ LUMINANCE) >= CONTRAST:
            return pair.astype(np.float32)
