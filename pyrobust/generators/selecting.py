"""Select a class-balanced, shuffled training set from labelled samples (appendix D)."""

import logging
import math
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np

from pyrobust.config.data import SelectionSettings
from pyrobust.cost import write_cost
from pyrobust.data.permutation import permute
from pyrobust.data.selection import (
    best_of_each_class,
    class_counts,
    class_quotas,
    first_of_each_class,
    true_ids,
)
from pyrobust.data.shuffling import ShuffledRows, block_of_shards
from pyrobust.data.store import MANIFEST, SampleStore, StoreWriter
from pyrobust.errors import UserError
from pyrobust.generators.pseudo_labels import Labeller
from pyrobust.generators.registry import load_generator
from pyrobust.generators.sample_pool import CopyCheck, DistanceMeasure, SamplePool
from pyrobust.progress import counting

logger = logging.getLogger(__name__)

MADE_BY = "pyrobust select"


def select_parts(
    generator_folder: Path,
    labeller_folder: Path,
    parts: Path,
    labels: Path,
    num_parts: int,
    num_samples: int,
    output: Path,
    settings: SelectionSettings,
    device: str,
    distance_folder: Path | None = None,
    distances: DistanceMeasure | None = None,
) -> None:
    """Write a store of `num_samples` images with pseudo-labels and scores, shuffled over classes.

    The result depends on the generator, the labeller and the settings, and not on the parts that
    the samples came in: more are drawn and labelled where those are too few. A killed run resumes.

    Args:
        parts, labels: folders of the numbered parts and of their pseudo-labels.
        num_parts: how many of them are read, from the first that `skip_samples` leaves.
        distance_folder, distances: folder of their distances to the training images, and what
            measures those of further samples; both are needed with a `min_distance`.

    Raises:
        UserError: inputs are missing or do not fit, or a class stays short of its quota.
    """
    generator = load_generator(generator_folder, device)
    spec = generator.spec
    labeller = Labeller.load(labeller_folder, spec.image_shape, len(spec.class_names), device)
    copies = _copy_check(settings, distance_folder, distances)
    inputs = {
        **generator.provenance(),
        "labeller_sha256": labeller.sha256,
        "selection": settings.model_dump(mode="json"),
        "distances": None if copies is None else copies.distances.source,
    }
    more, blocks = output / "more", output / "blocks"
    if not _is_complete(output, num_samples, inputs):
        first = settings.first_part(spec.settings.part_size)
        numbers = range(first, first + num_parts)
        pool = SamplePool(
            generator, labeller, parts, labels, numbers, settings.label_source, more, copies
        )
        _select(pool, num_samples, output, settings, inputs, blocks)
    for folder in (more, blocks):
        shutil.rmtree(folder, ignore_errors=True)


def _copy_check(
    settings: SelectionSettings, folder: Path | None, distances: DistanceMeasure | None
) -> CopyCheck | None:
    """Return how near-copies are found; nothing is opened or computed where none are looked for."""
    if settings.min_distance == 0:
        return None
    if folder is None or distances is None:
        raise UserError(
            f"min_distance is {settings.min_distance:g}, which requires --distances (the folder "
            "that 'pyrobust distances' wrote) and --dataset"
        )
    return CopyCheck(settings.min_distance, folder, distances)


def _is_complete(output: Path, num_samples: int, inputs: dict[str, Any]) -> bool:
    """Return whether an earlier run wrote the same result and it is still whole."""
    if not (output / MANIFEST).is_file():
        return False
    try:
        store = SampleStore.open(output)
        store.verify()
    except UserError:
        return False
    is_asked_for = store.count == num_samples and store.provenance.items() >= inputs.items()
    return is_asked_for and store.identified


def _select(
    pool: SamplePool,
    num_samples: int,
    output: Path,
    settings: SelectionSettings,
    inputs: dict[str, Any],
    blocks: Path,
) -> None:
    started = time.monotonic()
    spec = pool.generator.spec
    quotas = class_quotas(num_samples, len(spec.class_names))
    choose = {"until_full": _until_full, "top_k": _top_k, "first": _first}[settings.protocol]
    kept, num_sampled = choose(pool, quotas, settings)
    labels, scores, is_copy = pool.labels, pool.scores, pool.is_copy
    provenance = {
        **inputs,
        "sampled": _summary(labels[:num_sampled], scores[:num_sampled], spec.class_names),
        "kept": _summary(labels[kept], scores[kept], spec.class_names),
        "near_copies": None if is_copy is None else int(np.count_nonzero(is_copy[:num_sampled])),
    }
    writer = StoreWriter(
        output,
        spec.image_shape,
        spec.class_names,
        num_samples,
        provenance,
        made_by=MADE_BY,
        scored=True,
        identified=True,
    )
    shuffled = ShuffledRows(
        blocks,
        lambda rows: pool.gather(kept[rows]),
        spec.image_shape,
        num_samples,
        settings.seed,
        block_of_shards(writer.shard_size, math.prod(spec.image_shape)),
        provenance,
    )
    done = writer.count
    if done < num_samples:
        shuffled.distribute(done)
    with counting(num_samples, "select", "images", done=done) as advance:
        while (first := writer.count) < num_samples:
            images = shuffled.take(first)
            rows = np.arange(first, first + len(images))
            chosen = kept[permute(rows, num_samples, settings.seed)]
            writer.append(images, labels[chosen], scores[chosen], pool.first_id + chosen)
            advance(len(chosen))
            del images  # or it stays until the next block is there
    writer.finish()
    if done < num_samples:
        seconds = time.monotonic() - started
        rate = (num_samples - done) / seconds
        write_cost(output / "cost.json", seconds, pool.labeller.device, rate)


def _until_full(
    pool: SamplePool, quotas: np.ndarray, settings: SelectionSettings
) -> tuple[np.ndarray, int]:
    """Return the rows to keep, and how many samples it took: up to the last one that is kept."""
    limit = _limit(pool, quotas, settings, settings.max_oversampling)
    while True:
        labels, eligible = pool.labels[:limit], _eligible(pool, limit, settings)
        counts = class_counts(labels, len(quotas), eligible)
        if (counts >= quotas).all():
            kept = first_of_each_class(labels, eligible, quotas)
            return kept, int(kept[-1]) + 1
        if pool.count >= limit:
            raise _short(pool, counts, quotas, settings, "max_oversampling")
        logger.info("%s", _shortest(pool, counts, quotas))
        pool.grow(min(pool.generator.spec.settings.part_size, limit - pool.count))


def _first(
    pool: SamplePool, quotas: np.ndarray, settings: SelectionSettings
) -> tuple[np.ndarray, int]:
    """Return the first rows of all classes, and how many samples it took."""
    wanted = int(quotas.sum())
    limit = _limit(pool, quotas, settings, settings.max_oversampling)
    while True:
        kept = true_ids(_eligible(pool, limit, settings))[:wanted]
        if len(kept) == wanted:
            return kept, int(kept[-1]) + 1
        if pool.count >= limit:
            raise UserError(
                f"{len(kept):,} of the first {limit:,} samples have the least score or distance, "
                f"but num_samples is {wanted:,}; lower it, min_score or min_distance"
            )
        pool.grow(min(pool.generator.spec.settings.part_size, limit - pool.count))


def _top_k(
    pool: SamplePool, quotas: np.ndarray, settings: SelectionSettings
) -> tuple[np.ndarray, int]:
    """Return the rows to keep, and how many samples competed."""
    competing = _limit(pool, quotas, settings, settings.oversampling)
    while pool.count < competing:
        pool.grow(min(pool.generator.spec.settings.part_size, competing - pool.count))
    labels, scores = pool.labels[:competing], pool.scores[:competing]
    eligible = _eligible(pool, competing, settings)
    counts = class_counts(labels, len(quotas), eligible)
    if (counts < quotas).any():
        raise _short(pool, counts, quotas, settings, "oversampling")
    return best_of_each_class(labels, scores, eligible, quotas), competing


def _eligible(pool: SamplePool, count: int, settings: SelectionSettings) -> np.ndarray:
    """Return which of the first `count` samples may be kept at all, (count,) bool."""
    eligible: np.ndarray = pool.scores[:count] >= settings.min_score
    if pool.is_copy is not None:
        eligible &= ~pool.is_copy[:count]
    return eligible


def _limit(pool: SamplePool, quotas: np.ndarray, settings: SelectionSettings, factor: float) -> int:
    """Return `factor` times the samples to keep, or all that there are."""
    limit = math.ceil(int(quotas.sum()) * factor)
    there_are = _available(pool)
    return limit if there_are is None else min(limit, there_are)


def _available(pool: SamplePool) -> int | None:
    """Return how many samples the generator has behind the skipped parts; None: any number."""
    if pool.generator.count is None:
        return None
    return max(0, pool.generator.count - pool.first_id)


def _shortest(pool: SamplePool, counts: np.ndarray, quotas: np.ndarray) -> str:
    """Return which class lacks most of its quota."""
    worst = int(np.argmin(counts / np.maximum(quotas, 1)))
    name = pool.generator.spec.class_names[worst]
    return f"class '{name}' has {counts[worst]:,} of the {quotas[worst]:,} samples it needs"


def _short(
    pool: SamplePool,
    counts: np.ndarray,
    quotas: np.ndarray,
    settings: SelectionSettings,
    setting: str,
) -> UserError:
    floor = f" with a score of {settings.min_score:g} or more" if settings.min_score else ""
    if settings.min_distance:
        floor += f" {'and' if floor else 'with'} a distance of {settings.min_distance:g} or more"
    factor = getattr(settings, setting)
    limit = _limit(pool, quotas, settings, factor)
    allowed = (
        "there are: lower num_samples"
        if limit == _available(pool)
        else f"{setting} = {factor:g} allows: raise it (--{setting.replace('_', '-')} "
        f"{2 * factor:g}), or lower num_samples"
    )
    sentence = f"{_shortest(pool, counts, quotas)}{floor} among the {limit:,} samples that "
    if ((counts == 0) & (quotas > 0)).any():
        # Fewer images would need some of that class as well.
        everything = "there are" if limit == _available(pool) else "were drawn"
        return UserError(
            f"{sentence}{everything}: the generator shows this class too rarely or the labeller "
            "does not recognise it, so use another of them, take the class that was asked for "
            "(label_source condition), or lower min_score and min_distance"
        )
    return UserError(f"{sentence}{allowed}")


def _summary(
    labels: np.ndarray, scores: np.ndarray, class_names: tuple[str, ...]
) -> dict[str, Any]:
    counts = class_counts(labels, len(class_names)).tolist()
    return {
        "count": len(labels),
        "class_counts": dict(zip(class_names, counts, strict=True)),
        "mean_score": float(scores.mean(dtype=np.float64)),
    }
