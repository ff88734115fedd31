# Paths, inputs and flags that rules derive from an experiment's settings; no rules here.
import json
import shlex
from pathlib import Path

from pyrobust.config.jobs import num_parts


def dataset_path(experiment):
    return "<resources>/datasets/{dataset}/dataset.json".format_map(experiment)


def labeller_path(experiment):
    return "<results>/labellers/{dataset}/{labeller}/labeller.json".format_map(
        experiment
    )


def generator_path(experiment):
    return "<results>/generators/{dataset}/{generator}/generator.json".format_map(
        experiment
    )


def samples_path(experiment):
    path = "<results>/samples/{dataset}/{generator}/selected/{labeller}/{selection}/{num_samples}/manifest.json"
    return path.format_map(experiment)


def analysis_path(experiment, result):
    path = "<results>/analysis/{dataset}/{generator}/{labeller}/{selection}/{num_samples}/{analysis}/{result}.json"
    return path.format_map({**experiment, "result": result})


def labeller_evaluation_path(experiment):
    path = "<results>/evaluate/labellers/{dataset}/{labeller}/{norm}_{radius}/{evaluation}/evaluation.json"
    return path.format_map(
        {**experiment, "radius": "-".join(str(experiment["epsilon"]).split("/"))}
    )


def sample_parts(wildcards, path):
    """Return one file for each sampling job that the selection starts from."""
    selection = config["selections"][wildcards.selection]
    count = num_parts(
        int(wildcards.num_samples),
        selection["oversampling"],
        config["generators"][wildcards.generator]["part_size"],
    )
    first = selection["skip_parts"]
    return collect(path, part=range(first, first + count), allow_missing=True)


def parts_of_selection(wildcards):
    return sample_parts(
        wildcards, "<results>/samples/{dataset}/{generator}/parts/{part}/manifest.json"
    )


def labels_of_selection(wildcards):
    return sample_parts(
        wildcards,
        "<results>/samples/{dataset}/{generator}/labels/{labeller}/{part}/labels.json",
    )


def features_of_parts(wildcards):
    """Return the features that labelling kept for this analysis; none where it kept none."""
    kept_for = config["features_while_labelling"].get(wildcards.generator)
    if kept_for != wildcards.analysis:
        return []
    return sample_parts(
        wildcards,
        "<results>/samples/{dataset}/{generator}/features/{labeller}/{part}/features.json",
    )


def known_features(wildcards, input):
    """Return the folder of the parts' features as a flag, where there are any."""
    return f"--known {Path(input.known[0]).parent.parent}" if input.known else ""


def distances_of_selection(wildcards):
    """Return the distances that tell near-copies and the data set; none where all are kept."""
    if config["selections"][wildcards.selection]["min_distance"] == 0:
        return {}
    path = "<results>/samples/{dataset}/{generator}/distances/{part}/distances.json"
    return {
        "distances": sample_parts(wildcards, path),
        "dataset": "<resources>/datasets/{dataset}/dataset.json",
    }


def part_size(wildcards):
    """Return the images of each part."""
    return config["generators"][wildcards.generator]["part_size"]


def part_folders(wildcards, input):
    """Return the folders that hold the numbered parts with what is known of them, as flags."""
    folders = {"parts": input.parts, "labels": input.labels}
    if input.get("distances"):
        folders["distances"] = input.distances
    flags_of_parts = flags(
        {name: Path(files[0]).parent.parent for name, files in folders.items()}
    )
    dataset = folder_flags("dataset")(wildcards, input)
    return f"{flags_of_parts} --num-parts {len(input.parts)} {dataset}"


def training_inputs(wildcards):
    """Return the original images and, where used, the generated ones."""
    experiment = experiment_of(wildcards)
    inputs = {"dataset": dataset_path(experiment)}
    if uses_generated(experiment):
        inputs["samples"] = samples_path(experiment)
    return inputs


def training_flags(wildcards):
    """Return what `pyrobust train` is told for one run."""
    experiment = experiment_of(wildcards)
    shared = ("architecture", "recipe", "norm", "epsilon", "mixing_factor")
    return flags({key: experiment[key] for key in shared} | experiment["training"])


def runs_of_experiment(wildcards):
    """Return the training of every seed."""
    return collect(
        "<results>/train/{experiment}/seed{seed}/training.json",
        seed=experiment_of(wildcards)["seeds"],
        allow_missing=True,
    )


def model_of_run(wildcards):
    """Return the file that stands for a trained model: the choice, or one seed's training."""
    if wildcards.get("run", "chosen") == "chosen":
        return "<results>/train/{experiment}/choice.json"
    return "<results>/train/{experiment}/{run}/training.json"


def dataset_of_experiment(wildcards):
    return dataset_path(experiment_of(wildcards))


def labeller_of_experiment(wildcards):
    return labeller_path(experiment_of(wildcards))


def threat_flags(wildcards):
    """Return the perturbation set of an experiment."""
    return flags({key: experiment_of(wildcards)[key] for key in ("norm", "epsilon")})


def evaluation_flags(wildcards):
    """Return the attack settings that the path names, or else those of the experiment."""
    name = wildcards.get("evaluation") or experiment_of(wildcards)["evaluation"]
    return flags(config["evaluations"][name])


def surrogate_flag(wildcards, input):
    """Return the labeller as the model whose adversarial images are tried as well."""
    return flags({"surrogate": Path(input.labeller).with_name("model.safetensors")})


def shares(folder):
    """Return one file for each job of a shared evaluation; none where one job does it all."""
    count = config["evaluation_jobs"]
    if count == 1:
        return []
    return collect(
        f"{folder}/shares/{{share}}-{{of}}.done",
        share=range(1, count + 1),
        of=count,
        allow_missing=True,
    )


def shares_of_evaluation(wildcards):
    return shares("<results>/evaluate/{experiment}/{run}")


def shares_of_another_evaluation(wildcards):
    return shares("<results>/evaluate/{experiment}/again/{evaluation}")


def evaluated_runs(experiment):
    """Return the runs that meet the test split."""
    if experiment["test_runs"] == "all":
        return [f"seed{seed}" for seed in experiment["seeds"]]
    return ["chosen"]


def threat_of_radius(wildcards):
    """Return the perturbation set that a path names: 8-255 is 8/255 everywhere else."""
    epsilon = wildcards.radius.replace("-", "/")
    return flags({"norm": wildcards.norm, "epsilon": epsilon})


def folder_flags(*names):
    """Return a function to one flag for each file among the named inputs: its folder."""

    def flags_of(wildcards, input):
        return " ".join(
            f"--{name} {Path(file).parent}"
            for name in names
            for file in flatten([input.get(name, [])])
        )

    return flags_of


def report_inputs(wildcards):
    """Return every file that the record and the page are made of."""
    experiment = experiment_of(wildcards)
    evaluations = "<results>/evaluate/{name}/{run}/evaluation.json"
    inputs = {
        "dataset": dataset_path(experiment),
        "labeller": labeller_path(experiment),
        "labeller-evaluation": labeller_evaluation_path(experiment),
        "choice": "<results>/train/{experiment}/choice.json",
        "run": runs_of_experiment(wildcards),
        "evaluation": collect(
            evaluations, name=wildcards.experiment, run=evaluated_runs(experiment)
        ),
        "landscape": "<results>/landscape/{experiment}/landscape.json",
    }
    if uses_generated(experiment):
        inputs |= {
            "generator": generator_path(experiment),
            "samples": samples_path(experiment),
            "neighbours": analysis_path(experiment, "neighbours"),
            "quality": analysis_path(experiment, "quality"),
        }
    if experiment["baseline"]:
        baseline = config["experiments"][experiment["baseline"]]
        inputs["baseline-choice"] = (
            f"<results>/train/{experiment['baseline']}/choice.json"
        )
        inputs["baseline-evaluation"] = collect(
            evaluations, name=experiment["baseline"], run=evaluated_runs(baseline)
        )
    return inputs


def as_json(name):
    """Return an experiment's settings with those of the sections that it names."""
    experiment = config["experiments"][name]
    sections = ("generator", "selection", "labeller", "evaluation", "analysis")
    named = {
        section: {
            "name": experiment[section],
            **config["analyses" if section == "analysis" else f"{section}s"][
                experiment[section]
            ],
        }
        for section in sections
    }
    return json.dumps({**experiment, **named}, sort_keys=True)


def experiment_as_json(wildcards):
    return as_json(wildcards.experiment)


def report_flags(wildcards, input):
    """Return the inputs of a report as flags: neighbours and quality as files, else folders."""
    names = [
        name
        for name in report_inputs(wildcards)
        if name not in ("neighbours", "quality")
    ]
    files = [
        f"--{name} {input[name]}"
        for name in ("neighbours", "quality")
        if input.get(name)
    ]
    return " ".join([folder_flags(*names)(wildcards, input), *files])


def baseline_flags(wildcards):
    """Return the experiment that the record compares with, where there is one."""
    name = experiment_of(wildcards)["baseline"]
    return (
        f"--baseline-name {name} --baseline-experiment {shlex.quote(as_json(name))}"
        if name
        else ""
    )


def cost_flags(wildcards, input):
    """Return where the costs of the stages of many jobs lie."""
    if not input.get("samples"):
        return ""
    generated = Path(input.samples).parents[
        4
    ]  # <results>/samples/{dataset}/{generator}
    features = Path(input.quality).parent / "features"
    return (
        f"--cost-of sample={generated / 'parts'}"
        f" --cost-of label={generated / 'labels' / experiment_of(wildcards)['labeller']}"
        f" --cost-of distances={generated / 'distances'}"
        f" --cost-of features={features}"
    )
