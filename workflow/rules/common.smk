# The configuration, resolved once; wildcard constraints and resources; no rules here.
import os
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

from pyrobust.config.yaml_files import read_yaml
from pyrobust.errors import UserError
from pyrobust.files import write_json
from pyrobust.workflow import paths
from pyrobust.workflow.attempts import memory_failures
from pyrobust.workflow.figures import Figures
from pyrobust.workflow.flags import input_flags
from pyrobust.workflow.paths import fill
from pyrobust.workflow.reports import Reports
from pyrobust.workflow.rule_inputs import RuleInputs
from pyrobust.workflow.runs import put_first_on_path
from pyrobust.workflow.scheduling import (
    PRIORITIES,
    WALL_TIMES,
    WHOLE_SETS,
    count_gpus,
)
from pyrobust.workflow.shares import note_jobs

# Rules call the `python` that runs snakemake, whether or not its environment is active. An
# environment of --use-conda is activated later and comes first.
put_first_on_path(Path(sys.executable).parent, os.environ)

try:
    # Snakemake has read them, but keeps the last of repeated keys.
    for file in map(Path, workflow.configfiles):
        if file.suffix != ".json":
            read_yaml(file)
    resolve = RuleInputs(config, Path("config/sweeps"))
except UserError as error:
    raise WorkflowError(f"config: {error}") from error
figures = Figures(resolve)
reports = Reports(resolve)
expand_paths = workflow.pathvars.apply

# Generators whose samples get features while they are labelled.
FEATURED = list(resolve.config.features_while_labelling)

SEARCH_MEMORY_MB = int(1000 * resolve.config.search_memory_gb)


def one_of(names):
    """Return a pattern for these names, and for nothing where there are none."""
    return "|".join(names) or "(?!)"


def other_than(names):
    """Return a pattern for the name of a file, apart from its ending, other than these."""
    return rf"(?!({one_of(names)})\.)[^/.]+"


wildcard_constraints:
    dataset=one_of(resolve.config.datasets),
    labeller=one_of(resolve.config.labellers),
    generator=one_of(
        [
            *resolve.config.generators,
            *resolve.config.mixtures,
            *resolve.augmentations,
        ]
    ),
    selection=one_of(resolve.config.selections),
    evaluation=one_of(resolve.config.evaluations),
    analysis=one_of(resolve.config.analyses),
    experiment=one_of(resolve.config.experiments),
    target=one_of(resolve.config.targets),
    split="train|test",
    run=r"chosen|seed\d+",
    norm="linf|l2",
    radius=r"[0-9.]+(-[0-9]+)?",
    num_samples=r"\d+",
    part=r"\d+",
    share=r"\d+",
    of=r"\d+",
    seed=r"\d+",


def num_gpus(rulename):
    """Return the GPUs of each node of a rule's job: one, or as many as the profile gives it.

    Snakemake has evaluated no text of a profile, such as gpu:4, when it asks for other resources.
    """
    resources = workflow.get_rule(rulename).resources
    names = ("gpu", "gres", "nodes")
    return count_gpus(
        **{name: resources[name].raw for name in names if name in resources}
    )


def processes_of_gpus(wildcards, rulename):
    """Return a process for each GPU, as --processes takes it."""
    resources = workflow.get_rule(rulename).resources
    nodes = resources["nodes"].raw if "nodes" in resources else 1
    return f"{nodes}x{num_gpus(rulename)}" if nodes > 1 else num_gpus(rulename)


def threads_of_gpus(wildcards, rulename):
    """Return two threads for each process, which loads and augments its own batches."""
    return 2 * num_gpus(rulename)


def memory(megabytes):
    """Return a function to the memory of a job with one GPU; more GPUs get as much each.

    It doubles after each attempt that lacked memory, up to four times, and not after attempts
    that a scheduler ended: those lacked time.
    """

    def of_job(wildcards, rulename):
        log = fill(str(workflow.get_rule(rulename).log[0]), wildcards)
        doublings = min(2, memory_failures(Path(log)))
        return megabytes * num_gpus(rulename) * 2**doublings

    return of_job


def search_memory(wildcards, rulename):
    """Return the memory of a search: its own, 80 bytes for each generated image, and the PCA's."""
    megabytes = 6000 + SEARCH_MEMORY_MB + resolve.searched_images(wildcards) // 12_500
    return memory(megabytes)(wildcards, rulename)


def search_time(wildcards):
    """Return the wall time of a search: a day where every image is compared with every other."""
    whole_sets = resolve.config.analyses[wildcards.analysis].whole_sets
    return WHOLE_SETS if whole_sets else WALL_TIMES["find_neighbours"]
