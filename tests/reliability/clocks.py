"""A clock that a test moves by hand."""


class MovedClock:
    """Both times stand still until they are set; `sleep` moves the monotonic one."""

    def __init__(self, monotonic_s: float = 1000.0, wall_s: float = 1.7e9) -> None:
        self.monotonic_s = monotonic_s
        self.wall_s = wall_s

    def monotonic(self) -> float:
        return self.monotonic_s

    def wall(self) -> float:
        return self.wall_s

    def sleep(self, duration_s: float) -> None:
        self.monotonic_s += duration_s
