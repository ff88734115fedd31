# The non-robust classifier f_NR and its pseudo-labels (section 3.3).
rule train_labeller:
    input:
        core=ancient("<resources>/core.built"),
        dataset="<resources>/datasets/{dataset}/dataset.json",
    output:
        "<results>/labellers/{dataset}/{labeller}/labeller.json",
    log:
        "<logs>/train_labeller/{dataset}/{labeller}.log",
    conda:
        "../../envs/pyrobust.yaml"
    threads: 2
    resources:
        gpu=1,
        mem_mb=memory(8000),
        runtime=wall_time(480),
    params:
        dataset=subpath(input.dataset, parent=True),
        folder=subpath(output[0], parent=True),
        flags=section_flags("labellers"),
    shell:
        "python -m pyrobust train-labeller --dataset {params.dataset:q}"
        " --output {params.folder:q} {params.flags} --processes {resources.gpu} > {log} 2>&1"


rule label_part:
    input:
        core=ancient("<resources>/core.built"),
        part="<results>/samples/{dataset}/{generator}/parts/{part}/manifest.json",
        labeller="<results>/labellers/{dataset}/{labeller}/labeller.json",
    output:
        "<results>/samples/{dataset}/{generator}/labels/{labeller}/{part}/labels.json",
    log:
        "<logs>/label_part/{dataset}/{generator}/{labeller}/{part}.log",
    wildcard_constraints:
        generator=one_of(
            [name for name in config["generators"] if name not in FEATURED]
        ),
    group:
        "sampling"
    conda:
        "../../envs/pyrobust.yaml"
    threads: 2
    resources:
        gpu=1,
        mem_mb=memory(4000),
        runtime=wall_time(60),
    params:
        part=subpath(input.part, parent=True),
        labeller=subpath(input.labeller, parent=True),
        folder=subpath(output[0], parent=True),
        features="",  # kept by the next rule alone
    shell:
        "python -m pyrobust label --samples {params.part:q} --labeller {params.labeller:q}"
        " --output {params.folder:q} {params.features} > {log} 2>&1"


# The same for generators of `features_while_labelling`: no image is read twice.
use rule label_part as label_and_extract_part with:
    output:
        labels="<results>/samples/{dataset}/{generator}/labels/{labeller}/{part}/labels.json",
        features="<results>/samples/{dataset}/{generator}/features/{labeller}/{part}/features.json",
    log:
        "<logs>/label_and_extract_part/{dataset}/{generator}/{labeller}/{part}.log",
    wildcard_constraints:
        generator=one_of(FEATURED),
    params:
        features=labelling_flags,
