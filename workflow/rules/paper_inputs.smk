# Inputs and flags of the rules that tables and figures need, from their sweeps; no rules here.
import json

from pyrobust.files import write_text


def mixture_inputs(wildcards):
    """Return the selected samples of both generators of a mixture."""
    mixture = config["mixtures"][wildcards.generator]
    second = {
        "generator": mixture["second"],
        "selection": mixture["second_selection"] or wildcards.selection,
    }
    return {
        "first": samples_path({**wildcards, "generator": mixture["first"]}),
        "second": samples_path({**wildcards, **second}),
    }


def mixture_flags(wildcards):
    """Return how the samples of a mixture are mixed."""
    mixture = config["mixtures"][wildcards.generator]
    return flags({key: mixture[key] for key in ("share", "classes")})


def evaluations_of_point(point):
    """Return the evaluations that a point of a sweep shows: one, or one for each seed."""
    if point["tested_on"]:
        path = "<results>/evaluate/{experiment}/on/{dataset}/{tested_on}/{labeller}/{test_selection}/{test_samples}/{evaluation}/evaluation.json"
        return [path.format_map({**point["settings"], **point})]
    own = config["experiments"][point["experiment"]]
    if point["evaluation"] != own["evaluation"]:
        return [
            "<results>/evaluate/{experiment}/again/{evaluation}/evaluation.json".format_map(
                point
            )
        ]
    path = "<results>/evaluate/{experiment}/{run}/evaluation.json"
    return [path.format_map({**point, "run": run}) for run in evaluated_runs(own)]


def point_inputs(target, point):
    """Return the files that a target reads for one point of its sweep, by their role."""
    settings = point["settings"]
    if point["augmentation"]:
        settings = {**settings, "generator": point["augmentation"]}
    show = target["show"]
    labeller = {"labeller": labeller_path(settings)}
    choice = {"choice": f"<results>/train/{point['experiment']}/choice.json"}
    if show == "samples":
        return {"samples": samples_path(settings)}
    if show == "landscapes":
        return {
            "landscape": f"<results>/landscape/{point['experiment']}/landscape.json",
        }
    trained = {**choice, **labeller, "evaluation": evaluations_of_point(point)}
    if show != "neighbours":
        return trained
    measured = {
        name: analysis_path({**settings, "analysis": point[analysis]}, name)
        for name, analysis in (
            ("neighbours", "analysis"),
            ("quality", "quality_analysis"),
        )
    }
    return measured | (
        trained if target["trained"] and not point["augmentation"] else {}
    )


def points_of(wildcards):
    """Return the points of a target, or say what is wrong with its sweep."""
    if wildcards.target in SWEEPS.refused:
        raise WorkflowError(
            f"results/paper/{wildcards.target}: {SWEEPS.refused[wildcards.target]}"
        )
    return SWEEPS.points[wildcards.target]


def target_inputs(wildcards):
    """Return every file that a target is made of; the number of its point ends a name."""
    target = config["targets"][wildcards.target]
    return {
        f"{role}_{number}": files
        for number, point in enumerate(points_of(wildcards))
        for role, files in point_inputs(target, point).items()
    }


def target_as_json(wildcards):
    """Return the settings of a target."""
    return json.dumps(config["targets"][wildcards.target], sort_keys=True)


def target_points(wildcards, input):
    """Return the points of a target with the kind of their generator and their files."""
    target = config["targets"][wildcards.target]
    points = [
        {
            **point,
            "kind": kind_of_generator(point["settings"]["generator"]),
            "files": {
                role: input[f"{role}_{number}"] for role in point_inputs(target, point)
            },
        }
        for number, point in enumerate(points_of(wildcards))
    ]
    return json.dumps(points, sort_keys=True, default=list)


def kind_of_generator(name):
    """Return the kind of model behind a generator; of imported samples and mixtures the name."""
    settings = config["generators"].get(name, {"type": "mixture"})
    return name if settings["type"] in ("imported", "mixture") else settings["type"]
