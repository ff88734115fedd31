# Generative model, its samples in parts that can be drawn in parallel, and their selection.
rule fit_generator:
    input:
        core=ancient("<resources>/core.built"),
        dataset="<resources>/datasets/{dataset}/dataset.json",
        # Published samples or weights, and what `keep_best` measures by: a labeller is trained first.
        files=resolve.generator_files,
    output:
        "<results>/generators/{dataset}/{generator}/generator.json",
    log:
        "<logs>/fit_generator/{dataset}/{generator}.log",
    priority: PRIORITIES["fit_generator"]
    conda:
        "../../envs/pyrobust.yaml"
    threads: threads_of_gpus
    resources:
        gpu=1,
        processes=processes_of_gpus,
        mem_mb=memory(16000),
        runtime=WALL_TIMES["fit_generator"],
    params:
        settings=resolve.settings_of("generators"),
    shell:
        "python -m pyrobust --log {log:q} fit-generator --dataset {input.dataset:q} --output {output:q}"
        " {params.settings} --processes {resources.processes}"


rule sample_part:
    input:
        core=ancient("<resources>/core.built"),
        generator="<results>/generators/{dataset}/{generator}/generator.json",
    output:
        "<results>/samples/{dataset}/{generator}/parts/{part}/manifest.json",
    log:
        "<logs>/sample_part/{dataset}/{generator}/{part}.log",
    priority: PRIORITIES["sample_part"]
    group:
        "sampling"
    conda:
        "../../envs/pyrobust.yaml"
    threads: 2
    resources:
        gpu=1,
        mem_mb=memory(4000),
        runtime=WALL_TIMES["sample_part"],
    params:
        part_size=resolve.part_size,
    shell:
        "python -m pyrobust --log {log:q} sample --generator {input.generator:q} --part {wildcards.part}"
        " --part-size {params.part_size} --output {output:q}"


rule measure_distances:
    input:
        core=ancient("<resources>/core.built"),
        part="<results>/samples/{dataset}/{generator}/parts/{part}/manifest.json",
        dataset="<resources>/datasets/{dataset}/dataset.json",
    output:
        "<results>/samples/{dataset}/{generator}/distances/{part}/distances.json",
    log:
        "<logs>/measure_distances/{dataset}/{generator}/{part}.log",
    priority: PRIORITIES["measure_distances"]
    group:
        "sampling"
    conda:
        "../../envs/pyrobust.yaml"
    threads: 2
    resources:
        gpu=1,
        mem_mb=memory(2000 + SEARCH_MEMORY_MB),
        runtime=WALL_TIMES["measure_distances"],
        # Not a parameter: more memory reruns no search.
        search_memory_gb=resolve.config.search_memory_gb,
    shell:
        "python -m pyrobust --log {log:q} distances --samples {input.part:q} --dataset {input.dataset:q}"
        " --output {output:q} --search-memory-gb {resources.search_memory_gb}"


rule select_samples:
    input:
        unpack(resolve.near_copy_inputs),
        core=ancient("<resources>/core.built"),
        generator="<results>/generators/{dataset}/{generator}/generator.json",
        labeller="<results>/labellers/{dataset}/{labeller}/labeller.json",
        parts=resolve.parts_of(paths.PART),
        labels=resolve.parts_of(paths.LABELS),
    output:
        "<results>/samples/{dataset}/{generator}/selected/{labeller}/{selection}/{num_samples}/manifest.json",
    log:
        "<logs>/select_samples/{dataset}/{generator}/{labeller}/{selection}/{num_samples}.log",
    wildcard_constraints:
        generator=one_of(resolve.config.generators),
    priority: PRIORITIES["select_samples"]
    conda:
        "../../envs/pyrobust.yaml"
    threads: 2
    resources:
        gpu=1,
        mem_mb=memory(6000 + SEARCH_MEMORY_MB),
        runtime=WALL_TIMES["select_samples"],
        # Not a parameter: more memory reruns no search.
        search_memory_gb=resolve.config.search_memory_gb,
    params:
        parts=resolve.parts_flags,
        settings=resolve.settings_of("selections"),
    shell:
        "python -m pyrobust --log {log:q} select --generator {input.generator:q} --labeller {input.labeller:q}"
        " {params.parts} --num-samples {wildcards.num_samples} --output {output:q}"
        " {params.settings} --search-memory-gb {resources.search_memory_gb}"
