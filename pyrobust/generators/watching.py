"""Progress of sampling from within its blocks: one of a diffusion model may take hours."""

import logging
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch

from pyrobust.generators.base import Generator
from pyrobust.generators.trained import TrainedGenerator
from pyrobust.progress import Advance, duration

logger = logging.getLogger(__name__)

# The pass whose end starts the clock, since the first one also prepares the device, and the next.
_FIRST, _SECOND = 1, 2


class SamplingWatch:
    """Counts images as passes of the network make them, and tells soon how long all will take.

    Where an image takes many passes, the time of one tells that of all; elsewhere the first block
    tells it.

    Args:
        count: images to make.
        advance: what counts them.
    """

    def __init__(self, generator: Generator, count: int, advance: Advance) -> None:
        self._generator = generator
        self._count = count
        self._advance = advance
        self._passes = generator.spec.settings.sampling_passes
        self._is_told = False

    @contextmanager
    def block(self, images: int) -> Iterator[None]:
        """Watch the computation of one block, of which `images` are wanted."""
        started = time.monotonic()
        passes = counted = 0

        def passed(*_: object) -> None:
            nonlocal started, passes, counted
            passes += 1
            if not self._is_told:
                _wait_for(self._generator.device)
                if passes == _FIRST:
                    started = time.monotonic()
                elif passes == _SECOND:
                    seconds = (time.monotonic() - started) * self._passes
                    self._tell(self._generator.block_size, seconds)
            made = min(images, images * passes // self._passes)
            self._advance(made - counted)
            counted = made

        with ExitStack() as stack:
            if self._passes > 1 and isinstance(self._generator, TrainedGenerator):
                stack.callback(self._generator.network.register_forward_hook(passed).remove)
            yield
        self._tell(images, time.monotonic() - started)
        self._advance(images - counted)

    def _tell(self, images: int, seconds: float) -> None:
        """Say, once, how long all images take where so many take `seconds`."""
        if self._is_told:
            return
        self._is_told = True
        rate = images / max(seconds, 1e-6)
        logger.info(
            "%s images will take about %s at %s images/s",
            f"{self._count:,}",
            duration(self._count / rate),
            f"{rate:,.1f}",
        )


def _wait_for(device: str) -> None:
    """Wait until what was asked of the device is done."""
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
