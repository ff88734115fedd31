"""Which images make up a batch (Eq. 3): a closed form of (seed, step), the same on any machine.

No state is kept and nothing depends on the number of processes: a process takes a contiguous
slice of the batch. Originals are spread evenly over the positions, so that every slice and every
virtual batch of batch norm holds the same mixture, up to one image.
"""

from dataclasses import dataclass

import numpy as np

from pyrobust.data.permutation import permute
from pyrobust.errors import UserError

# Streams of the seed: one permutation a pass and a source.
_ORIGINAL, _GENERATED = 0, 1


@dataclass(frozen=True)
class Batch:
    """Images of one slice of a batch.

    Attributes:
        positions: (B,) int64, place of each image in the whole batch.
        generated: (B,) bool, the source.
        index: (B,) int64, row in the store of that source.
    """

    positions: np.ndarray
    generated: np.ndarray
    index: np.ndarray


@dataclass(frozen=True)
class BatchPlan:
    """The composition of every batch of a run.

    Each batch holds exactly round(mixing_factor × batch_size) originals. Each source is walked
    through without replacement, in a new order in every pass.

    Args:
        num_original, num_generated: rows of the two stores.
        emulated_workers: times that an original image appears in a batch (the authors drew each
            for four emulated workers); the appearances differ in crop, flip and attack start.

    Raises:
        UserError: a source that the batch needs is empty.
    """

    batch_size: int
    mixing_factor: float
    num_original: int
    num_generated: int
    seed: int
    emulated_workers: int = 1

    def __post_init__(self) -> None:
        """Check that each source is there."""
        if self.originals < self.batch_size and not self.num_generated:
            raise UserError(
                f"mixing_factor is {self.mixing_factor}, but there are no generated images; "
                "give --samples, or use --mixing-factor 1 to train on original images only"
            )

    @property
    def originals(self) -> int:
        """Originals in a batch."""
        return round(self.mixing_factor * self.batch_size)

    @property
    def distinct_originals(self) -> int:
        """Different originals in a batch."""
        return -(-self.originals // self.emulated_workers)

    def batch(self, step: int, rank: int = 0, world_size: int = 1) -> Batch:
        """Return the slice of batch `step` that belongs to process `rank` of `world_size`."""
        positions = np.arange(
            self.batch_size * rank // world_size, self.batch_size * (rank + 1) // world_size
        )
        # Of the first p positions, floor(p × originals / batch_size) are originals.
        before = positions * self.originals // self.batch_size
        generated = (positions + 1) * self.originals // self.batch_size == before
        index = np.empty_like(positions)
        slots = before[~generated] % max(1, self.distinct_originals)
        index[~generated] = _walk(
            step * self.distinct_originals + slots, self.num_original, self.seed, _ORIGINAL
        )
        slots = (positions - before)[generated]
        index[generated] = _walk(
            step * (self.batch_size - self.originals) + slots,
            self.num_generated,
            self.seed,
            _GENERATED,
        )
        return Batch(positions, generated, index)


def _walk(places: np.ndarray, count: int, seed: int, source: int) -> np.ndarray:
    """Return the rows at `places` of an endless walk through range(count), shuffled each pass."""
    rows = np.empty_like(places)
    for pass_number in np.unique(places // count) if places.size else ():
        here = places // count == pass_number
        stream = 2 * int(pass_number) + source
        rows[here] = permute(places[here] % count, count, seed, stream)
    return rows
