# Tables and figures over many experiments (config/targets.yaml, config/sweeps/), and the samples
# and evaluations that only they need.
rule mix_samples:
    input:
        unpack(figures.mixture_inputs),
    output:
        "<results>/samples/{dataset}/{generator}/selected/{labeller}/{selection}/{num_samples}/manifest.json",
    log:
        "<logs>/mix_samples/{dataset}/{generator}/{labeller}/{selection}/{num_samples}.log",
    wildcard_constraints:
        generator=one_of(resolve.config.mixtures),
    priority: PRIORITIES["mix_samples"]
    conda:
        "../../envs/pyrobust.yaml"
    resources:
        mem_mb=memory(4000),
        runtime=WALL_TIMES["mix_samples"],
    params:
        settings=figures.mixture_flags,
    shell:
        "python -m pyrobust --log {log:q} mix --first {input.first:q} --second {input.second:q} {params.settings}"
        " --num-samples {wildcards.num_samples} --output {output:q}"


# Labeller, selection and number have no effect here; they only complete the path, so that features
# and neighbours are found like those of any generator.
rule augment_images:
    input:
        dataset="<resources>/datasets/{dataset}/dataset.json",
    output:
        "<results>/samples/{dataset}/{generator}/selected/{labeller}/{selection}/{num_samples}/manifest.json",
    log:
        "<logs>/augment_images/{dataset}/{generator}/{labeller}/{selection}/{num_samples}.log",
    wildcard_constraints:
        generator=one_of(resolve.augmentations),
    conda:
        "../../envs/pyrobust.yaml"
    resources:
        mem_mb=memory(4000),
        runtime=WALL_TIMES["augment_images"],
    shell:
        "python -m pyrobust --log {log:q} augment --store {input.dataset:q} --augmentation {wildcards.generator}"
        " --output {output:q}"


# A run under a different evaluation from its experiment's, such as AutoAttack for Table 2.
use rule evaluate_run as evaluate_again with:
    input:
        core=ancient("<resources>/core.built"),
        model=resolve.model_of_run,
        dataset=resolve.of_experiment(paths.DATASET),
        shares="<results>/evaluate/{experiment}/again/{evaluation}/{run}/shares/all.done",
    output:
        "<results>/evaluate/{experiment}/again/{evaluation}/{run}/evaluation.json",
    log:
        "<logs>/evaluate_again/{experiment}/{evaluation}/{run}.log",
    params:
        more="",


use rule gather_shares as gather_shares_again with:
    input:
        resolve.attack_shares(paths.EVALUATION_AGAIN, expand_paths),
    output:
        temp(
            touch(
                "<results>/evaluate/{experiment}/again/{evaluation}/{run}/shares/all.done"
            )
        ),
    log:
        "<logs>/gather_shares_again/{experiment}/{evaluation}/{run}.log",


use rule attack_share as attack_share_again with:
    output:
        temp(
            touch(
                "<results>/evaluate/{experiment}/again/{evaluation}/{run}/shares/{share}-{of}.done"
            )
        ),
    log:
        "<logs>/attack_share_again/{experiment}/{evaluation}/{run}/{share}-{of}.log",


# A run on unseen generated images (section 6.1, Figure 6).
use rule evaluate_run as evaluate_on_samples with:
    input:
        core=ancient("<resources>/core.built"),
        model=resolve.model_of_run,
        dataset="<resources>/datasets/{dataset}/dataset.json",
        samples="<results>/samples/{dataset}/{generator}/selected/{labeller}/{selection}/{num_samples}/manifest.json",
    output:
        "<results>/evaluate/{experiment}/on/{dataset}/{generator}/{labeller}/{selection}/{num_samples}/{evaluation}/{run}/evaluation.json",
    log:
        "<logs>/evaluate_on_samples/{experiment}/{dataset}/{generator}/{labeller}/{selection}/{num_samples}/{evaluation}/{run}.log",
    params:
        more=input_flags("samples"),


# The inputs of the table or figure, as a file: a command line holds only about 140 points.
rule describe_target:
    output:
        "<results>/paper/{target}.inputs.json",
    log:
        "<logs>/describe_target/{target}.log",
    localrule: True
    params:
        described=lambda wildcards: figures.describe(wildcards, expand_paths),
    run:
        write_json(Path(output[0]), params.described)


rule make_target:
    input:
        unpack(figures.inputs),
        described="<results>/paper/{target}.inputs.json",
    output:
        table=report(
            "<results>/paper/{target}.csv",
            caption="../report/target.rst",
            category="Tables and figures",
            labels={"target": "{target}", "file": "table"},
        ),
        picture="<results>/paper/{target}.png",
        figure=report(
            "<results>/paper/{target}.svg",
            caption="../report/target.rst",
            category="Tables and figures",
            labels={"target": "{target}", "file": "figure"},
        ),
    log:
        "<logs>/make_target/{target}.log",
    localrule: True
    conda:
        "../../envs/pyrobust.yaml"
    shell:
        "python -m pyrobust --log {log:q} target {input.described:q} --table {output.table:q}"
        " --picture {output.picture:q} --figure {output.figure:q}"


# A misspelt name, or a sweep without an entry.
rule refuse_unknown_target:
    input:
        resolve.refuse_unknown("targets"),
    output:
        multiext("<results>/paper/{unknown}", ".csv", ".png", ".svg"),
    log:
        "<logs>/refuse_unknown_target/{unknown}.log",
    wildcard_constraints:
        unknown=other_than(resolve.config.targets),
