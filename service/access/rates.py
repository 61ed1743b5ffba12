"""How many requests a second a key may send: a bucket that holds one second's worth and is refilled all the time."""

from dataclasses import dataclass, field


@dataclass
class Bucket:
    """Of this worker alone. `rate`: requests a second; at least one request fits."""

    rate: float
    _left: float = field(init=False)
    _at: float = 0.0

    def __post_init__(self) -> None:
        self._left = self._room

    @property
    def _room(self) -> float:
        return max(1.0, self.rate)

    def wait_s(self, now: float) -> float:
        """Take one request at `now` (seconds of any clock): 0, or how long until there is one to take."""
        self._left = min(self._room, self._left + max(0.0, now - self._at) * self.rate)
        self._at = now
        if self._left < 1.0:
            return (1.0 - self._left) / self.rate
        self._left -= 1.0
        return 0.0
