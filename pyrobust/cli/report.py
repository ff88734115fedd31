"""`pyrobust report`: the record of an experiment, its cost, and its page."""

from pathlib import Path
from typing import Annotated

import typer

from pyrobust.errors import UserError


def report(
    name: Annotated[str, typer.Argument(help="Key of the experiment in config/config.yaml.")],
    experiment: Annotated[
        str,
        typer.Option(
            help="Settings of the experiment as JSON; generator, selection, labeller, evaluation "
            "and analysis are objects of a name and the settings of that section."
        ),
    ],
    dataset: Annotated[Path, typer.Option(help="Folder of `pyrobust dataset`.")],
    labeller: Annotated[Path, typer.Option(help="Folder of `pyrobust train-labeller`.")],
    labeller_evaluation: Annotated[
        Path, typer.Option(help="Folder of `pyrobust evaluate` on the labeller.")
    ],
    run: Annotated[list[Path], typer.Option(help="Folder of `pyrobust train`; one for each seed.")],
    choice: Annotated[Path, typer.Option(help="Folder of `pyrobust choose`.")],
    evaluation: Annotated[
        list[Path],
        typer.Option(
            help="Folder of `pyrobust evaluate`: one named chosen, or one named seed<seed> for "
            "each run that met the test split."
        ),
    ],
    landscape: Annotated[Path, typer.Option(help="Folder of `pyrobust landscape`.")],
    output: Annotated[Path, typer.Option(help="Record to write, as JSON.")],
    cost: Annotated[Path, typer.Option(help="Cost to write, as JSON.")],
    page: Annotated[Path, typer.Option(help="Page to write, as HTML.")],
    generator: Annotated[
        Path | None,
        typer.Option(help="Folder of `pyrobust fit-generator`; not with mixing factor 1."),
    ] = None,
    samples: Annotated[
        Path | None, typer.Option(help="Folder of `pyrobust select`; not with mixing factor 1.")
    ] = None,
    neighbours: Annotated[
        Path | None, typer.Option(help="neighbours.json; not with mixing factor 1.")
    ] = None,
    quality: Annotated[
        Path | None, typer.Option(help="quality.json; not with mixing factor 1.")
    ] = None,
    baseline_name: Annotated[
        str | None, typer.Option(help="Experiment to compare with, image by image.")
    ] = None,
    baseline_experiment: Annotated[
        str | None, typer.Option(help="Its settings, as for --experiment.")
    ] = None,
    baseline_choice: Annotated[Path | None, typer.Option(help="Its --choice.")] = None,
    baseline_evaluation: Annotated[
        list[Path] | None, typer.Option(help="Its --evaluation.")
    ] = None,
    cost_of: Annotated[
        list[str] | None,
        typer.Option(
            help="STAGE=FOLDER, where STAGE is sample, label, distances or features: its jobs' "
            "cost.json lie below FOLDER."
        ),
    ] = None,
    snakemake_options: Annotated[
        str,
        typer.Option(
            envvar="PYROBUST_SNAKEMAKE_OPTIONS",
            help="Options that the command shown on the page needs, such as --configfile.",
        ),
    ] = "",
) -> None:
    """Write the record of an experiment, its cost, and its page."""
    from pyrobust.reporting.page import Origin, commit_of
    from pyrobust.reporting.report import Outputs, write_report
    from pyrobust.reporting.stage_results import GeneratedFolders, StageFolders, parse_experiment

    given = (generator, samples, neighbours, quality)
    generated = None
    if generator and samples and neighbours and quality:
        generated = GeneratedFolders(generator, samples, neighbours, quality)
    elif any(given):
        raise UserError(
            "--generator, --samples, --neighbours and --quality come together, "
            f"but only {sum(map(bool, given))} of them are given"
        )
    baseline = None
    if baseline_name and baseline_experiment and baseline_choice and baseline_evaluation:
        baseline = parse_experiment(baseline_name, baseline_experiment)
    elif baseline_name:
        raise UserError(
            f"baseline '{baseline_name}' also needs --baseline-experiment, --baseline-choice and "
            "--baseline-evaluation"
        )
    folders = StageFolders(
        dataset=dataset,
        labeller=labeller,
        labeller_evaluation=labeller_evaluation,
        runs=tuple(run),
        choice=choice,
        evaluations=tuple(evaluation),
        landscape=landscape,
        generated=generated,
        baseline_choice=baseline_choice,
        baseline_evaluations=tuple(baseline_evaluation or ()),
    )
    write_report(
        parse_experiment(name, experiment),
        folders,
        baseline,
        [_stage_and_folder(text) for text in cost_of or ()],
        Outputs(record=output, cost=cost, page=page),
        Origin(
            command=f"snakemake --cores all {output} {snakemake_options}".rstrip(),
            commit=commit_of(Path(__file__).parents[1]),
        ),
    )


def _stage_and_folder(text: str) -> tuple[str, Path]:
    from pyrobust.reporting.report import STAGES_OF_MANY_JOBS

    stage, _, folder = text.partition("=")
    if stage not in STAGES_OF_MANY_JOBS or not folder:
        known = ", ".join(STAGES_OF_MANY_JOBS)
        raise UserError(f"--cost-of is '{text}', expected STAGE=FOLDER with STAGE one of {known}")
    return stage, Path(folder)
