# Attacks on the trained models, and on the labeller as a check that the attacks work.
rule evaluate_run:
    input:
        core=ancient("<resources>/core.built"),
        model=model_of_run,
        dataset=dataset_of_experiment,
        labeller=labeller_of_experiment,
        shares=shares_of_evaluation,
    output:
        "<results>/evaluate/{experiment}/{run}/evaluation.json",
    log:
        "<logs>/evaluate_run/{experiment}/{run}.log",
    conda:
        "../../envs/pyrobust.yaml"
    threads: 2
    resources:
        gpu=1,
        mem_mb=memory(8000),
        runtime=wall_time(1440),
    params:
        model=subpath(input.model, parent=True),
        dataset=subpath(input.dataset, parent=True),
        folder=subpath(output[0], parent=True),
        threat=threat_flags,
        flags=evaluation_flags,
        more=surrogate_flag,
    shell:
        "python -m pyrobust evaluate --model {params.model:q}/model.safetensors"
        " --dataset {params.dataset:q} --output {params.folder:q} {params.threat} {params.flags}"
        " {params.more} > {log} 2>&1"


# A share of the images of the rule above, for a job of its own.
use rule evaluate_run as attack_share with:
    input:
        core=ancient("<resources>/core.built"),
        model=model_of_run,
        dataset=dataset_of_experiment,
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
        runtime=wall_time(240),
    params:
        threat=threat_of_radius,
        more="",


rule map_landscape:
    input:
        core=ancient("<resources>/core.built"),
        model="<results>/train/{experiment}/choice.json",
        dataset=dataset_of_experiment,
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
        runtime=wall_time(30),
    params:
        model=subpath(input.model, parent=True),
        dataset=subpath(input.dataset, parent=True),
        folder=subpath(output[0], parent=True),
        threat=threat_flags,
    shell:
        "python -m pyrobust landscape --model {params.model:q}/model.safetensors"
        " --dataset {params.dataset:q} --output {params.folder:q} {params.threat} > {log} 2>&1"
