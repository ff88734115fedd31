# Attacks on the trained models, and on the labeller as a check that the attacks work.
rule evaluate_run:
    input:
        core=ancient("<resources>/core.built"),
        model=resolve.model_of_run,
        dataset=resolve.of_experiment(paths.DATASET),
        surrogate=resolve.of_experiment(paths.LABELLER),
        shares="<results>/evaluate/{experiment}/{run}/shares/all.done",
    output:
        "<results>/evaluate/{experiment}/{run}/evaluation.json",
    log:
        "<logs>/evaluate_run/{experiment}/{run}.log",
    priority: PRIORITIES["evaluate_run"]
    conda:
        "../../envs/pyrobust.yaml"
    threads: 2
    resources:
        gpu=1,
        mem_mb=memory(8000),
        runtime=WALL_TIMES["evaluate_run"],
    params:
        folder=subpath(output[0], parent=True),
        threat=resolve.threat_flags,
        settings=resolve.evaluation_flags,
        more=input_flags("surrogate"),
    shell:
        "python -m pyrobust --log {log:q} evaluate --model {input.model:q} --dataset {input.dataset:q}"
        " --output {params.folder:q} {params.threat} {params.settings} {params.more}"


# All shares of a stage as one temporary file.
rule gather_shares:
    input:
        resolve.attack_shares(paths.EVALUATION, expand_paths),
    output:
        temp(touch("<results>/evaluate/{experiment}/{run}/shares/all.done")),
    log:
        "<logs>/gather_shares/{experiment}/{run}.log",
    localrule: True
    run:
        note_jobs(Path(output[0]).parent, len(input))


# One share of the images of evaluate_run, as a separate job.
use rule evaluate_run as attack_share with:
    input:
        core=ancient("<resources>/core.built"),
        model=resolve.model_of_run,
        dataset=resolve.of_experiment(paths.DATASET),
    output:
        temp(touch("<results>/evaluate/{experiment}/{run}/shares/{share}-{of}.done")),
    log:
        "<logs>/attack_share/{experiment}/{run}/{share}-{of}.log",
    params:
        folder=subpath(output[0], ancestor=2),
        more="--share {share}/{of}",


use rule evaluate_run as evaluate_labeller with:
    input:
        core=ancient("<resources>/core.built"),
        model="<results>/labellers/{dataset}/{labeller}/labeller.json",
        dataset="<resources>/datasets/{dataset}/dataset.json",
    output:
        "<results>/evaluate/labellers/{dataset}/{labeller}/{norm}_{radius}/{evaluation}/evaluation.json",
    log:
        "<logs>/evaluate_labeller/{dataset}/{labeller}/{norm}_{radius}/{evaluation}.log",
    resources:
        gpu=1,
        mem_mb=memory(8000),
        runtime=WALL_TIMES["evaluate_labeller"],
    params:
        threat=resolve.threat_of_path,
        more="",


rule map_landscape:
    input:
        core=ancient("<resources>/core.built"),
        model="<results>/train/{experiment}/choice.json",
        dataset=resolve.of_experiment(paths.DATASET),
    output:
        "<results>/landscape/{experiment}/landscape.json",
    log:
        "<logs>/map_landscape/{experiment}.log",
    conda:
        "../../envs/pyrobust.yaml"
    threads: 2
    resources:
        gpu=1,
        mem_mb=memory(8000),
        runtime=WALL_TIMES["map_landscape"],
    params:
        threat=resolve.threat_flags,
    shell:
        "python -m pyrobust --log {log:q} landscape --model {input.model:q} --dataset {input.dataset:q}"
        " --output {output:q} {params.threat}"
