# The non-robust classifier f_NR and its pseudo-labels (section 3.3).
rule train_labeller:
    input:
        core=ancient("<resources>/core.built"),
        dataset="<resources>/datasets/{dataset}/dataset.json",
    output:
        "<results>/labellers/{dataset}/{labeller}/labeller.json",
    log:
        "<logs>/train_labeller/{dataset}/{labeller}.log",
    priority: PRIORITIES["train_labeller"]
    conda:
        "../../envs/pyrobust.yaml"
    threads: threads_of_gpus
    resources:
        gpu=1,
        processes=processes_of_gpus,
        mem_mb=memory(8000),
        runtime=WALL_TIMES["train_labeller"],
    params:
        settings=resolve.settings_of("labellers"),
    shell:
        "python -m pyrobust --log {log:q} train-labeller --dataset {input.dataset:q} --output {output:q}"
        " {params.settings} --processes {resources.processes}"


rule label_part:
    input:
        core=ancient("<resources>/core.built"),
        part="<results>/samples/{dataset}/{generator}/parts/{part}/manifest.json",
        labeller="<results>/labellers/{dataset}/{labeller}/labeller.json",
    output:
        labels="<results>/samples/{dataset}/{generator}/labels/{labeller}/{part}/labels.json",
    log:
        "<logs>/label_part/{dataset}/{generator}/{labeller}/{part}.log",
    wildcard_constraints:
        generator=one_of(
            [name for name in resolve.config.generators if name not in FEATURED]
        ),
    priority: PRIORITIES["label_part"]
    group:
        "sampling"
    conda:
        "../../envs/pyrobust.yaml"
    threads: 2
    resources:
        gpu=1,
        mem_mb=memory(4000),
        runtime=WALL_TIMES["label_part"],
    params:
        features="",  # kept by the next rule alone
    shell:
        "python -m pyrobust --log {log:q} label --samples {input.part:q} --labeller {input.labeller:q}"
        " --output {output.labels:q} {params.features}"


# The same for generators in `features_while_labelling`, so that each image is read only once.
use rule label_part as label_and_extract_part with:
    input:
        core=ancient("<resources>/core.built"),
        part="<results>/samples/{dataset}/{generator}/parts/{part}/manifest.json",
        labeller="<results>/labellers/{dataset}/{labeller}/labeller.json",
        weights=resolve.extractor_files,
    output:
        labels="<results>/samples/{dataset}/{generator}/labels/{labeller}/{part}/labels.json",
        features="<results>/samples/{dataset}/{generator}/features/{labeller}/{part}/features.json",
    log:
        "<logs>/label_and_extract_part/{dataset}/{generator}/{labeller}/{part}.log",
    wildcard_constraints:
        generator=one_of(FEATURED),
    params:
        features=resolve.labelling_flags,
