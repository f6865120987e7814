"""A time limit that long computations ask between two steps, so that they stop at a place from which they can go on."""

import time

from lib.system import parallel
from lib.system.errors import OutOfTime


class Deadline:
    """`seconds` from now; None never comes."""

    def __init__(self, seconds: float | None = None):
        if seconds is not None and seconds < 0:
            raise ValueError(f"a time limit must be at least 0 seconds, got {seconds}")
        self.seconds = seconds
        self._end = None if seconds is None else time.monotonic() + seconds
        self.begin()

    def begin(self):
        """A series of steps begins: those of another kind say nothing about how long these take."""
        self._asked, self._longest = time.monotonic(), 0.0

    def near(self) -> bool:
        """Whether another step as long as the longest of this series would not fit."""
        now = time.monotonic()
        self._longest, self._asked = max(self._longest, now - self._asked), now
        return self._end is not None and now + self._longest > self._end

    def check(self, doing: str):
        """Raises OutOfTime, in all processes of a group, if the limit is near; `doing` says what was being done."""
        if parallel.any_of(self.near())[0]:
            raise OutOfTime(f"stopped in {doing}, {self.seconds:.0f} seconds being over; call it again to go on")
