# Raw files to a data set: three sample stores.
rule make_dataset:
    input:
        resolve.check_raw(expand_paths),
    output:
        "<resources>/datasets/{dataset}/dataset.json",
    log:
        "<logs>/make_dataset/{dataset}.log",
    priority: PRIORITIES["make_dataset"]
    conda:
        "../../envs/pyrobust.yaml"
    resources:
        mem_mb=memory(4000),
        runtime=WALL_TIMES["make_dataset"],
    params:
        source=resolve.raw_source,
        digest=resolve.raw_digest(expand_paths),
        folder=subpath(output[0], parent=True),
        settings=resolve.dataset_flags,
    shell:
        "python -m pyrobust --log {log:q} dataset {wildcards.dataset} {params.source}"
        " --output {output:q} {params.settings}"
        " && printf %s {params.digest} > {params.folder:q}/raw.digest"
