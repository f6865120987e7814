"""Whether a difference of two accuracies, mean over seeds, is beyond chance.

It has to be so twice: over test images, where its error is that of two accuracies on so many images, taken as
independent (the true one is smaller, since both networks see the same images), and over seeds, by Student's t, which of
so few seeds asks for many more than two standard errors. With few seeds their spread can be small by chance; images
then decide. The error over images of a mean over seeds is taken to fall with the root of their number, although seeds
share their test images: with three seeds Student's t and the unpaired error more than make up for it, with ten they
would not. All functions take numbers or arrays.
"""

import numpy as np
from scipy import stats

LEVEL = 0.05


def of_images(accuracy, images):
    """Standard error of the difference of two accuracies near `accuracy`, each measured on so many images."""
    return np.sqrt(2 * accuracy * (1 - accuracy) / images)


def margin(over_images, std, seeds):
    """Margin of error of a mean over seeds: two standard errors over images, or a 95 % interval over seeds if larger.

    over_images: standard error of the mean; std: of one seed, over seeds (ignored of one seed).
    """
    return np.fmax(2 * over_images, stats.t.ppf(1 - LEVEL / 2, _freedom(seeds)) * _over_seeds(std, seeds))


def p_value(mean, over_images, std, seeds):
    """Two-sided, the larger one of that over images (normal) and that over seeds (Student's t); arguments as above."""
    with np.errstate(divide="ignore", invalid="ignore"):
        normal = 2 * stats.norm.sf(np.abs(mean) / over_images)
        student = 2 * stats.t.sf(np.abs(mean) / _over_seeds(std, seeds), _freedom(seeds))
    return np.where(np.equal(mean, 0), 1.0, np.fmax(normal, student))


def _freedom(seeds):
    """Degrees of freedom of a mean over seeds; of one seed, whose spread is unknown, any number does."""
    return np.fmax(np.asarray(seeds) - 1, 1)


def _over_seeds(std, seeds):
    return np.where(np.greater(seeds, 1), std / np.sqrt(seeds), 0.0)


def holm(p) -> np.ndarray:
    """p-values adjusted for their number (S. Holm, Scandinavian Journal of Statistics 6, 65, 1979)."""
    p = np.asarray(p, float)
    order = np.argsort(p)
    adjusted = np.maximum.accumulate(p[order] * (len(p) - np.arange(len(p))))
    found = np.empty(len(p))
    found[order] = np.minimum(1, adjusted)
    return found
