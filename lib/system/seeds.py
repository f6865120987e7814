"""Independent random streams, named by numbers."""

import numpy as np


def seed_for(*numbers: int) -> int:
    """An independent 63-bit seed for each tuple of numbers, of which the last must not be 0 if there are several."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1)
