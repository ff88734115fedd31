"""A plan as lines for a person."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from pyrobust.config.experiment import Config, read_config
from pyrobust.config.sweeps import resolve_targets
from pyrobust.errors import UserError
from pyrobust.planning.memory import device_memory
from pyrobust.planning.paper import cost_of_target
from pyrobust.planning.plan import Plan, plan_experiment
from pyrobust.planning.rates import RATES, Machine, Rate, read_machines
from pyrobust.planning.sizes import count_images
from pyrobust.room import free_space, size_text
from pyrobust.workflow.scheduling import allowance, read_profile

# The rule whose jobs a stage of a plan represents.
_RULES = {
    "dataset": "make_dataset",
    "train-labeller": "train_labeller",
    "fit-generator": "fit_generator",
    "sample": "sample_part",
    "label": "label_part",
    "distances": "measure_distances",
    "select": "select_samples",
    "features (train)": "extract_original_features",
    "features (test)": "extract_original_features",
    "features (generated)": "extract_generated_features",
    "neighbours": "find_neighbours",
    "quality": "measure_quality",
    "train": "train_robust",
    "landscape": "map_landscape",
    "evaluate (labeller)": "evaluate_labeller",
    "evaluate": "evaluate_run",
}

# Where the workflow makes data sets.
_DATASETS = Path("resources/datasets")


def describe_plan(
    name: str,
    config_paths: Sequence[Path],
    machine_name: str,
    devices: int,
    rates: Path | None = None,
    profile: Path | None = None,
) -> Iterator[str]:
    """Yield the lines of the plan of one experiment, or of a table or figure.

    Args:
        config_paths: files of the configuration, each laid over those before it; `sweeps/` is next
            to the first.
        devices: equal devices that a cluster works with at a time.
        rates: file of rates; that of the package where none is given.
        profile: folder of a workflow profile, whose wall times the jobs are compared with.

    Raises:
        UserError: the configuration is wrong, or the experiment, the data set or the machine is
            not known.
    """
    config = read_config(config_paths)
    machines = read_machines(rates or RATES)
    if machine_name not in machines:
        raise UserError(f"machine is '{machine_name}', expected one of {', '.join(machines)}")
    if name in config.targets:
        yield target_line(config, name, config_paths[0].parent / "sweeps", machines[machine_name])
        return
    if name not in config.experiments:
        files = " and ".join(map(str, config_paths))
        names = ", ".join([*config.experiments, *config.targets])
        raise UserError(f"unknown experiment '{name}'; choose one from {files}: {names}")
    dataset = config.experiments[name].dataset
    images = count_images(dataset, config.datasets[dataset], _DATASETS)
    plan = plan_experiment(config, name, images, machines[machine_name])
    yield from plan_lines(plan, devices, free_space(Path()))
    if plan.machine.memory_gb is not None:
        yield from memory_lines(device_memory(config, name, images), plan.machine.memory_gb)
    if profile is not None:
        whole_sets = config.analyses[config.experiments[name].analysis].whole_sets
        yield from wall_time_lines(plan, profile, whole_sets)


def target_line(config: Config, name: str, sweeps: Path, machine: Machine) -> str:
    """Return what a table or figure costs.

    Args:
        sweeps: folder of the tables of points.

    Raises:
        UserError: the table of its points is wrong.
    """
    resolved = resolve_targets(config.model_dump(mode="json"), sweeps)
    if name in resolved.refused:
        raise UserError(resolved.refused[name])
    cost = cost_of_target(config, resolved, name, machine)
    return (
        f"{name} on {machine.device}: {cost.num_models} models, {hours(cost.training)} h of "
        f"training and {hours(cost.attacks)} h of attacks. Generators and samples are additional: "
        "plan an experiment that uses them."
    )


def plan_lines(plan: Plan, devices: int, free_bytes: int) -> Iterator[str]:
    """Yield a table of the stages, their sum, whether they fit, and what the hours are based on."""
    yield f"{plan.name} on {plan.machine.device}, all stages from scratch"
    head = ("stage", "jobs", "images", "hours", f"on {devices}", "disk", "rate")
    yield _row(*head)
    for stage in plan.stages:
        yield _row(
            stage.name,
            f"{stage.jobs:,}",
            f"{stage.images:,}",
            hours(stage.seconds),
            hours(stage.wall_seconds(devices)),
            size_text(stage.num_bytes),
            stage.rate.basis,
        )
    together = (hours(plan.seconds), hours(plan.wall_seconds(devices)), size_text(plan.num_bytes))
    yield _row("total", f"{sum(stage.jobs for stage in plan.stages):,}", "", *together, "")
    yield (
        f"hours: work on one device; on {devices}: wall-clock time with {devices} devices, one per "
        "job"
    )
    scratch = size_text(plan.scratch_bytes)
    yield f"disk: files that stay; while a stage runs, it needs up to {scratch} more"
    needed = plan.num_bytes + plan.scratch_bytes
    if free_bytes < needed:
        yield (
            f"The disk has {size_text(free_bytes)} free, but all stages need {size_text(needed)}: "
            "make room, or run on another disk with 'snakemake --directory FOLDER'."
        )
    yield (
        "Operations are counted for these settings; rates were measured with small networks "
        "and extrapolated to other sizes. Expect a factor of two either way where a rate was "
        "measured, more where it was not:"
    )
    for rate in _distinct(plan):
        yield f"  {rate.value:.3g} {rate.unit}, {rate.basis}: {rate.source}"


def memory_lines(memory: Mapping[str, int], memory_gb: float) -> Iterator[str]:
    """Yield the GPU memory of the stages, and which of them need more than there is."""
    told = ", ".join(f"{stage} {size_text(num_bytes)}" for stage, num_bytes in memory.items())
    yield (
        f"GPU memory of a job, counted and not measured: {told}. CUDA and its libraries take a "
        "gigabyte or more in addition."
    )
    for stage, num_bytes in memory.items():
        if num_bytes > 1e9 * memory_gb:
            yield (
                f"{stage} needs more than the {memory_gb:g} GB of this GPU: "
                "use precision bfloat16, smaller batches, or several GPUs (--processes)"
            )


def wall_time_lines(plan: Plan, profile: Path, whole_sets: bool) -> Iterator[str]:
    """Yield the jobs that a profile lets run too short, or that there are none."""
    values = read_profile(profile)
    fits = True
    for stage in plan.stages:
        allowed = allowance(values, _RULES[stage.name], whole_sets)
        needed = stage.seconds / stage.jobs
        if needed > allowed.seconds:
            fits = False
            yield (
                f"A job of {stage.name} takes {hours(needed)} h, but {profile} allows "
                f"{allowed.attempts} attempts of {hours(60 * allowed.minutes)} h: raise retries, "
                f"or runtime of {_RULES[stage.name]} under set-resources"
            )
    if fits:
        yield f"Every job fits into the attempts and wall times of {profile}."


def hours(seconds: float) -> str:
    """Return hours with the digits that an estimate has."""
    value = seconds / 3600
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 1 else f"{value:.2f}"


def _distinct(plan: Plan) -> list[Rate]:
    rates = [stage.rate for stage in plan.stages]
    return [rate for place, rate in enumerate(rates) if rate not in rates[:place]]


def _row(*cells: str) -> str:
    name, jobs, images, alone, together, disk, rate = cells
    return f"{name:<20}{jobs:>6}{images:>14}{alone:>9}{together:>9}{disk:>10}  {rate}".rstrip()
