# Raw files to a data set: three sample stores.
rule make_dataset:
    output:
        "<resources>/datasets/{dataset}/dataset.json",
    log:
        "<logs>/make_dataset/{dataset}.log",
    conda:
        "../../envs/pyrobust.yaml"
    resources:
        mem_mb=memory(4000),
        runtime=wall_time(60),
    params:
        folder=subpath(output[0], parent=True),
        data_root=config["data_root"],
        flags=section_flags("datasets"),
    shell:
        "python -m pyrobust dataset {wildcards.dataset} --data-root {params.data_root:q}"
        " --output {params.folder:q} {params.flags} > {log} 2>&1"
