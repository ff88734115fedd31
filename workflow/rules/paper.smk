# Tables and figures over many experiments (config/targets.yaml, config/sweeps/), and the samples
# and evaluations that only they need.
rule mix_samples:
    input:
        unpack(mixture_inputs),
    output:
        "<results>/samples/{dataset}/{generator}/selected/{labeller}/{selection}/{num_samples}/manifest.json",
    log:
        "<logs>/mix_samples/{dataset}/{generator}/{labeller}/{selection}/{num_samples}.log",
    wildcard_constraints:
        generator=one_of(config["mixtures"]),
    conda:
        "../../envs/pyrobust.yaml"
    resources:
        mem_mb=memory(4000),
        runtime=wall_time(60),
    params:
        stores=folder_flags("first", "second"),
        folder=subpath(output[0], parent=True),
        flags=mixture_flags,
    shell:
        "python -m pyrobust mix {params.stores} {params.flags}"
        " --num-samples {wildcards.num_samples} --output {params.folder:q} > {log} 2>&1"


# Labeller, selection and number are of no influence here: they only name the place, so that
# features and neighbours are found as those of any generator.
rule augment_images:
    input:
        dataset="<resources>/datasets/{dataset}/dataset.json",
    output:
        "<results>/samples/{dataset}/{generator}/selected/{labeller}/{selection}/{num_samples}/manifest.json",
    log:
        "<logs>/augment_images/{dataset}/{generator}/{labeller}/{selection}/{num_samples}.log",
    wildcard_constraints:
        generator=one_of(AUGMENTATIONS),
    conda:
        "../../envs/pyrobust.yaml"
    resources:
        mem_mb=memory(4000),
        runtime=wall_time(60),
    params:
        dataset=subpath(input.dataset, parent=True),
        folder=subpath(output[0], parent=True),
    shell:
        "python -m pyrobust augment --store {params.dataset:q}/train"
        " --augmentation {wildcards.generator} --output {params.folder:q} > {log} 2>&1"


# The chosen run under another evaluation than its experiment's, such as AutoAttack for Table 2.
use rule evaluate_run as evaluate_again with:
    input:
        core=ancient("<resources>/core.built"),
        model=model_of_run,
        dataset=dataset_of_experiment,
        shares=shares_of_another_evaluation,
    output:
        "<results>/evaluate/{experiment}/again/{evaluation}/evaluation.json",
    log:
        "<logs>/evaluate_again/{experiment}/{evaluation}.log",
    params:
        more="",


use rule attack_share as attack_share_again with:
    output:
        temp(
            touch(
                "<results>/evaluate/{experiment}/again/{evaluation}/shares/{share}-{of}.done"
            )
        ),
    log:
        "<logs>/attack_share_again/{experiment}/{evaluation}/{share}-{of}.log",


# The chosen run on generated images that it never met (section 6.1, Figure 6).
use rule evaluate_run as evaluate_on_samples with:
    input:
        core=ancient("<resources>/core.built"),
        model=model_of_run,
        dataset="<resources>/datasets/{dataset}/dataset.json",
        samples="<results>/samples/{dataset}/{generator}/selected/{labeller}/{selection}/{num_samples}/manifest.json",
    output:
        "<results>/evaluate/{experiment}/on/{dataset}/{generator}/{labeller}/{selection}/{num_samples}/{evaluation}/evaluation.json",
    log:
        "<logs>/evaluate_on_samples/{experiment}/{dataset}/{generator}/{labeller}/{selection}/{num_samples}/{evaluation}.log",
    params:
        more=folder_flags("samples"),


# What the table or figure is made of, as a file: a command line holds about 140 points.
rule list_points:
    input:
        unpack(target_inputs),
    output:
        "<results>/paper/{target}.points.json",
    log:
        "<logs>/list_points/{target}.log",
    localrule: True
    params:
        points=target_points,
    run:
        write_text(Path(output[0]), params.points)


rule make_target:
    input:
        unpack(target_inputs),
        points="<results>/paper/{target}.points.json",
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
    params:
        settings=target_as_json,
    shell:
        "python -m pyrobust target {wildcards.target} --settings {params.settings:q}"
        " --points {input.points:q} --table {output.table:q} --picture {output.picture:q}"
        " --figure {output.figure:q} > {log} 2>&1"
