# Checks of the configuration, wildcard constraints and helper functions; no rules here.
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.utils import validate

from pyrobust.config.analysis import ANALYSIS_VERBS
from pyrobust.config.experiment import check_config
from pyrobust.config.sweeps import resolve_targets
from pyrobust.errors import UserError

# The first check says what is wrong in one sentence; the second fills in the defaults.
try:
    check_config(config)
except UserError as error:
    raise WorkflowError(f"config: {error}") from error
validate(config, schema="../schemas/config.schema.json")

# Points of the tables and figures are experiments, too.
SWEEPS = resolve_targets(config, Path("config/sweeps"))
config["experiments"] |= SWEEPS.experiments

AUGMENTATIONS = sorted(
    {
        point["augmentation"]
        for points in SWEEPS.points.values()
        for point in points
        if point["augmentation"]
    }
)


# Generators whose samples get features while they are labelled.
FEATURED = list(config["features_while_labelling"])


def one_of(names):
    """Return a pattern for these names, and for nothing where there are none."""
    return "|".join(names) or "(?!)"


wildcard_constraints:
    dataset="|".join(config["datasets"]),
    labeller="|".join(config["labellers"]),
    generator=one_of([*config["generators"], *config["mixtures"], *AUGMENTATIONS]),
    selection="|".join(config["selections"]),
    evaluation="|".join(config["evaluations"]),
    analysis="|".join(config["analyses"]),
    experiment="|".join(config["experiments"]),
    target="|".join(config["targets"]),
    split="train|test",
    run=r"chosen|seed\d+",
    norm="linf|l2",
    radius=r"[0-9.]+(-[0-9]+)?",
    num_samples=r"\d+",
    part=r"\d+",
    share=r"\d+",
    of=r"\d+",
    seed=r"\d+",


def flags(settings):
    """Return settings as command-line flags; those without a value are left out."""
    return " ".join(
        f"--{'no-' if value is False else ''}{key.replace('_', '-')}{argument(value)}"
        for key, value in settings.items()
        if value not in (None, [])
    )


def argument(value):
    """Return what follows the name of a flag."""
    if isinstance(value, bool):
        return ""
    return f" {','.join(map(str, value)) if isinstance(value, list) else value}"


def section_flags(section):
    """Return a function from wildcards to the flags of `config[section][<its wildcard>]`."""
    wildcard = section.removesuffix("s")
    return lambda wildcards: flags(config[section][wildcards[wildcard]])


def analysis_flags(verb):
    """Return a function to the flags of one verb of the analysis: those that it reads."""

    def flags_of(wildcards):
        settings = config["analyses"][wildcards.analysis]
        return flags({key: settings[key] for key in ANALYSIS_VERBS[verb].model_fields})

    return flags_of


def labelling_flags(wildcards, output):
    """Return the flags of the features that a generator's samples get while they are labelled."""
    settings = config["analyses"][
        config["features_while_labelling"][wildcards.generator]
    ]
    kept = {key: settings[key] for key in ANALYSIS_VERBS["label"].model_fields}
    return flags({"features": Path(output.features).parent, **kept})


def experiment_of(wildcards):
    """Return the settings of the experiment named by the wildcards."""
    return config["experiments"][wildcards.experiment]


def uses_generated(experiment):
    """Tell whether any generated image meets the training."""
    return experiment["mixing_factor"] < 1


def memory(megabytes):
    """Return a function to the memory of a job, doubled on each attempt."""
    return lambda wildcards, attempt: megabytes * 2 ** (attempt - 1)


def wall_time(minutes):
    """Return a function to the wall time of a job in minutes, doubled on each attempt."""
    return lambda wildcards, attempt: minutes * 2 ** (attempt - 1)


def search_memory(wildcards, attempt):
    """Return the memory of a search: its own, 80 bytes an image that asks, and the PCA's."""
    settings = config["analyses"][wildcards.analysis]
    most = settings["num_images" if settings["whole_sets"] else "num_samples"]
    asking = min(most, int(wildcards.num_samples))
    megabytes = 6000 + 1000 * config["search_memory_gb"] + asking // 12_500
    return memory(megabytes)(wildcards, attempt)


def search_time(wildcards, attempt):
    """Return the wall time of a search: a day where every image meets every other."""
    whole_sets = config["analyses"][wildcards.analysis]["whole_sets"]
    return wall_time(1440 if whole_sets else 60)(wildcards, attempt)
