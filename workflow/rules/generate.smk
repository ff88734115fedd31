# Generative model, its samples in parts that can be made side by side, and their selection.
rule fit_generator:
    input:
        core=ancient("<resources>/core.built"),
        dataset="<resources>/datasets/{dataset}/dataset.json",
        # What `keep_best` measures by: a labeller is trained first.
        fid=lambda wildcards: config["generators"][wildcards.generator].get(
            "fid_features", []
        ),
    output:
        "<results>/generators/{dataset}/{generator}/generator.json",
    log:
        "<logs>/fit_generator/{dataset}/{generator}.log",
    conda:
        "../../envs/pyrobust.yaml"
    threads: 2
    resources:
        gpu=1,
        mem_mb=memory(16000),
        runtime=wall_time(1440),
    params:
        dataset=subpath(input.dataset, parent=True),
        folder=subpath(output[0], parent=True),
        flags=section_flags("generators"),
    shell:
        "python -m pyrobust fit-generator --dataset {params.dataset:q}"
        " --output {params.folder:q} {params.flags} --processes {resources.gpu} > {log} 2>&1"


rule sample_part:
    input:
        core=ancient("<resources>/core.built"),
        generator="<results>/generators/{dataset}/{generator}/generator.json",
    output:
        "<results>/samples/{dataset}/{generator}/parts/{part}/manifest.json",
    log:
        "<logs>/sample_part/{dataset}/{generator}/{part}.log",
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
        generator=subpath(input.generator, parent=True),
        folder=subpath(output[0], parent=True),
        part_size=part_size,
    shell:
        "python -m pyrobust sample --generator {params.generator:q} --part {wildcards.part}"
        " --part-size {params.part_size} --output {params.folder:q} > {log} 2>&1"


rule measure_distances:
    input:
        core=ancient("<resources>/core.built"),
        part="<results>/samples/{dataset}/{generator}/parts/{part}/manifest.json",
        dataset="<resources>/datasets/{dataset}/dataset.json",
    output:
        "<results>/samples/{dataset}/{generator}/distances/{part}/distances.json",
    log:
        "<logs>/measure_distances/{dataset}/{generator}/{part}.log",
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
        dataset=subpath(input.dataset, parent=True),
        folder=subpath(output[0], parent=True),
    shell:
        "python -m pyrobust distances --samples {params.part:q} --dataset {params.dataset:q}"
        " --output {params.folder:q} > {log} 2>&1"


rule select_samples:
    input:
        unpack(distances_of_selection),
        core=ancient("<resources>/core.built"),
        generator="<results>/generators/{dataset}/{generator}/generator.json",
        labeller="<results>/labellers/{dataset}/{labeller}/labeller.json",
        parts=parts_of_selection,
        labels=labels_of_selection,
    output:
        "<results>/samples/{dataset}/{generator}/selected/{labeller}/{selection}/{num_samples}/manifest.json",
    log:
        "<logs>/select_samples/{dataset}/{generator}/{labeller}/{selection}/{num_samples}.log",
    wildcard_constraints:
        generator=one_of(config["generators"]),
    conda:
        "../../envs/pyrobust.yaml"
    threads: 2
    resources:
        gpu=1,
        mem_mb=memory(8000),
        runtime=wall_time(120),
    params:
        generator=subpath(input.generator, parent=True),
        labeller=subpath(input.labeller, parent=True),
        parts=part_folders,
        folder=subpath(output[0], parent=True),
        flags=section_flags("selections"),
    shell:
        "python -m pyrobust select --generator {params.generator:q} --labeller {params.labeller:q}"
        " {params.parts} --num-samples {wildcards.num_samples}"
        " --output {params.folder:q} {params.flags} > {log} 2>&1"
