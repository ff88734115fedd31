"""Sampling of a generator by id, in parts, with progress within a block."""

import logging
import math
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import torch

from pyrobust.cost import write_cost
from pyrobust.data.store import StoreWriter
from pyrobust.errors import UserError
from pyrobust.generators.base import Generator
from pyrobust.generators.registry import load_generator, samples_of
from pyrobust.generators.trained import TrainedGenerator
from pyrobust.progress import Advance, counting, duration
from pyrobust.room import check_room, free_space, size_text

logger = logging.getLogger(__name__)

# The clock starts after the first pass, which also prepares the device, and stops after the second.
_FIRST, _SECOND = 1, 2


class SamplingWatch:
    """Counts images while they are sampled, and estimates the total time early.

    If an image takes many passes, the estimate comes from a single pass, else from the first block.

    Args:
        count: images to sample.
        advance: called with the number of new images.
    """

    def __init__(self, generator: Generator, count: int, advance: Advance) -> None:
        self._generator = generator
        self._count = count
        self._advance = advance
        self._passes = generator.spec.settings.sampling_passes
        self._is_estimated = False

    @contextmanager
    def block(self, images: int) -> Iterator[None]:
        """Time the computation of one block, of which `images` are used."""
        started = time.monotonic()
        passes = counted = 0

        def passed(*_: object) -> None:
            nonlocal started, passes, counted
            passes += 1
            if not self._is_estimated:
                _wait_for(self._generator.device)
                if passes == _FIRST:
                    started = time.monotonic()
                elif passes == _SECOND:
                    seconds = (time.monotonic() - started) * self._passes
                    self._estimate(self._generator.block_size, seconds)
            made = min(images, images * passes // self._passes)
            self._advance(made - counted)
            counted = made

        with ExitStack() as stack:
            if self._passes > 1 and isinstance(self._generator, TrainedGenerator):
                stack.callback(self._generator.network.register_forward_hook(passed).remove)
            yield
        self._estimate(images, time.monotonic() - started)
        self._advance(images - counted)

    def _estimate(self, images: int, seconds: float) -> None:
        """Log once how long all images will take if `images` of them take `seconds`."""
        if self._is_estimated:
            return
        self._is_estimated = True
        rate = images / max(seconds, 1e-6)
        logger.info(
            "sampling %s images will take about %s at %s images/s",
            f"{self._count:,}",
            duration(self._count / rate),
            f"{rate:,.1f}",
        )


def _wait_for(device: str) -> None:
    """Wait until the device has finished all work."""
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)


MADE_BY = "pyrobust sample"

# Blocks per shard if an image takes many passes, so that a killed job loses little work.
_SHARD_BLOCKS = 4


def sample_part(
    generator_folder: Path,
    part: int | None,
    part_size: int | None,
    output: Path,
    count: int | None = None,
    device: str = "cpu",
) -> None:
    """Write the images of one part as a store; an interrupted run resumes.

    The labels of the store are the classes that a conditional generator was conditioned on.

    Args:
        part: number of the part, from 0; None draws all samples at once.
        part_size: images of each part; None takes that of the generator's settings.
        count: number of samples in all parts; the last part may be smaller. None means one part,
            or all that the generator has if no part is named.

    Raises:
        UserError: the generator is missing or damaged, the part is beyond `count` or beyond what
            the generator has, or the disk is too small.
    """
    generator = load_generator(generator_folder, device)
    part_size = part_size or generator.spec.settings.part_size
    if part is None:
        part, part_size = 0, count or generator.count or part_size
    first_id = part * part_size
    ends = (first_id + part_size, count, generator.count)
    end = min(end for end in ends if end is not None)
    if end <= first_id:
        there_are = " (all there are: lower oversampling)" if end == generator.count else ""
        raise UserError(
            f"part {part} of {part_size} samples starts at id {first_id}, "
            f"expected below {end}{there_are}"
        )
    sample_ids(generator, first_id, end - first_id, output)


def sample_ids(generator: Generator, first_id: int, count: int, output: Path) -> None:
    """Write the images with ids [first_id, first_id + count) to a store."""
    spec, seed = generator.spec, generator.spec.settings.seed
    started = time.monotonic()
    writer = StoreWriter(
        output,
        spec.image_shape,
        spec.class_names,
        count,
        generator.provenance(),
        made_by=MADE_BY,
        labelled=generator.conditional,
        first_id=first_id,
        shard_size=_SHARD_BLOCKS * generator.block_size if spec.settings.sampling_steps else None,
    )
    done = writer.count
    size = count * math.prod(spec.image_shape)
    logger.info("%s needs %s, %s are free", output, size_text(size), size_text(free_space(output)))
    check_room(
        output,
        size,
        f"a part of {count:,} samples",
        "use another disk with --output, or smaller parts with --part-size",
    )
    with counting(count, f"sample {spec.settings.type}", "images", done=done) as advance:
        watch = SamplingWatch(generator, count - done, advance)
        while writer.count < count:
            first = first_id + writer.count
            # To the end of the generator's block, which is computed as a whole anyway.
            last = min((first // generator.block_size + 1) * generator.block_size, first_id + count)
            with watch.block(last - first):
                samples = samples_of(generator, np.arange(first, last), seed)
            writer.append(samples.images, samples.conditions)
    writer.finish()
    if done < count:
        seconds = time.monotonic() - started
        write_cost(output / "cost.json", seconds, generator.device, (count - done) / seconds)
