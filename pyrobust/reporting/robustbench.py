"""Leading RobustBench entries, to stand beside ours (leaderboard of 2025-03-31)."""

from dataclasses import dataclass

SNAPSHOT = "2025-03-31"


@dataclass(frozen=True)
class Entry:
    """One entry of the leaderboard; accuracies are fractions, robust accuracy by AutoAttack."""

    model: str
    architecture: str
    clean_accuracy: float
    robust_accuracy: float
    data: str


# RobustBench's l2 board has radius 0.5, that is 127.5/255.
LEADERS: dict[tuple[str, str, str], tuple[Entry, ...]] = {
    ("cifar10", "linf", "8/255"): (
        Entry("Bartoldson2024", "wrn-94-16", 0.9368, 0.7371, "300M generated"),
        Entry("Wang2023", "wrn-70-16", 0.9325, 0.7069, "50M generated"),
        Entry("Wang2023", "wrn-28-10", 0.9244, 0.6731, "20M generated"),
        Entry("Gowal2021", "wrn-28-10", 0.8750, 0.6338, "100M generated"),
    ),
    ("cifar10", "l2", "128/255"): (
        Entry("Wang2023", "wrn-70-16", 0.9554, 0.8497, "50M generated"),
        Entry("Wang2023", "wrn-28-10", 0.9516, 0.8368, "50M generated"),
        Entry("Rebuffi2021", "wrn-28-10", 0.9179, 0.7880, "1M generated"),
    ),
    ("cifar100", "linf", "8/255"): (
        Entry("Wang2023", "wrn-70-16", 0.7522, 0.4266, "50M generated"),
        Entry("Wang2023", "wrn-28-10", 0.7258, 0.3877, "50M generated"),
        Entry("Rebuffi2021", "wrn-70-16", 0.6356, 0.3464, "1M generated"),
    ),
}


def leaders_on(dataset: str, norm: str, epsilon: str) -> tuple[Entry, ...]:
    """Return the leading entries of one task; none where RobustBench has no board."""
    return LEADERS.get((dataset, norm, epsilon), ())
