# How generated images relate to the original ones: features, neighbours, FID (section 5).
rule extract_original_features:
    input:
        core=ancient("<resources>/core.built"),
        dataset="<resources>/datasets/{dataset}/dataset.json",
        labeller="<results>/labellers/{dataset}/{labeller}/labeller.json",
    output:
        "<results>/features/{dataset}/{labeller}/{analysis}/{split}/features.json",
    log:
        "<logs>/extract_original_features/{dataset}/{labeller}/{analysis}/{split}.log",
    conda:
        "../../envs/pyrobust.yaml"
    threads: 2
    resources:
        gpu=1,
        mem_mb=memory(8000),
        runtime=wall_time(60),
    params:
        dataset=subpath(input.dataset, parent=True),
        labeller=subpath(input.labeller, parent=True),
        folder=subpath(output[0], parent=True),
        flags=analysis_flags("features"),
    shell:
        "python -m pyrobust features --store {params.dataset:q}/{wildcards.split}"
        " --labeller {params.labeller:q} --output {params.folder:q} {params.flags} > {log} 2>&1"


rule extract_generated_features:
    input:
        core=ancient("<resources>/core.built"),
        samples="<results>/samples/{dataset}/{generator}/selected/{labeller}/{selection}/{num_samples}/manifest.json",
        labeller="<results>/labellers/{dataset}/{labeller}/labeller.json",
        known=features_of_parts,
    output:
        "<results>/analysis/{dataset}/{generator}/{labeller}/{selection}/{num_samples}/{analysis}/features/features.json",
    log:
        "<logs>/extract_generated_features/{dataset}/{generator}/{labeller}/{selection}/{num_samples}/{analysis}.log",
    conda:
        "../../envs/pyrobust.yaml"
    threads: 2
    resources:
        gpu=1,
        mem_mb=memory(8000),
        runtime=wall_time(120),
    params:
        samples=subpath(input.samples, parent=True),
        labeller=subpath(input.labeller, parent=True),
        folder=subpath(output[0], parent=True),
        known=known_features,
        flags=analysis_flags("features"),
    shell:
        "python -m pyrobust features --store {params.samples:q} --labeller {params.labeller:q}"
        " --output {params.folder:q} {params.known} {params.flags} > {log} 2>&1"


rule find_neighbours:
    input:
        train="<results>/features/{dataset}/{labeller}/{analysis}/train/features.json",
        test="<results>/features/{dataset}/{labeller}/{analysis}/test/features.json",
        generated="<results>/analysis/{dataset}/{generator}/{labeller}/{selection}/{num_samples}/{analysis}/features/features.json",
    output:
        "<results>/analysis/{dataset}/{generator}/{labeller}/{selection}/{num_samples}/{analysis}/neighbours.json",
    log:
        "<logs>/find_neighbours/{dataset}/{generator}/{labeller}/{selection}/{num_samples}/{analysis}.log",
    conda:
        "../../envs/pyrobust.yaml"
    threads: 2
    resources:
        gpu=1,
        mem_mb=search_memory,
        runtime=search_time,
        # No parameter: more memory makes no search anew.
        search_gb=config["search_memory_gb"],
    params:
        features=folder_flags("train", "test", "generated"),
        folder=subpath(output[0], parent=True),
        flags=analysis_flags("neighbours"),
    shell:
        "python -m pyrobust neighbours {params.features} --output {params.folder:q}"
        " {params.flags} --memory-gb {resources.search_gb} > {log} 2>&1"


rule measure_quality:
    input:
        original="<results>/features/{dataset}/{labeller}/{analysis}/train/features.json",
        generated="<results>/analysis/{dataset}/{generator}/{labeller}/{selection}/{num_samples}/{analysis}/features/features.json",
    output:
        "<results>/analysis/{dataset}/{generator}/{labeller}/{selection}/{num_samples}/{analysis}/quality.json",
    log:
        "<logs>/measure_quality/{dataset}/{generator}/{labeller}/{selection}/{num_samples}/{analysis}.log",
    conda:
        "../../envs/pyrobust.yaml"
    threads: 2
    resources:
        mem_mb=memory(8000),
        runtime=wall_time(60),
    params:
        features=folder_flags("original", "generated"),
        folder=subpath(output[0], parent=True),
        flags=analysis_flags("quality"),
    shell:
        "python -m pyrobust quality {params.features} --output {params.folder:q} {params.flags}"
        " > {log} 2>&1"
