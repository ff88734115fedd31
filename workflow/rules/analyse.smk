# How generated images relate to the original ones: features, neighbours, FID (section 5).
rule extract_original_features:
    input:
        core=ancient("<resources>/core.built"),
        dataset="<resources>/datasets/{dataset}/dataset.json",
        labeller="<results>/labellers/{dataset}/{labeller}/labeller.json",
        weights=resolve.extractor_files,
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
        runtime=WALL_TIMES["extract_original_features"],
    params:
        settings=resolve.analysis_flags("features"),
    shell:
        "python -m pyrobust --log {log:q} features --store {input.dataset:q} --split {wildcards.split}"
        " --labeller {input.labeller:q} --output {output:q} {params.settings}"


rule extract_generated_features:
    input:
        core=ancient("<resources>/core.built"),
        samples="<results>/samples/{dataset}/{generator}/selected/{labeller}/{selection}/{num_samples}/manifest.json",
        labeller="<results>/labellers/{dataset}/{labeller}/labeller.json",
        weights=resolve.extractor_files,
        known=resolve.features_of_parts,
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
        runtime=WALL_TIMES["extract_generated_features"],
    params:
        known=resolve.known_features_flag,
        settings=resolve.analysis_flags("features"),
    shell:
        "python -m pyrobust --log {log:q} features --store {input.samples:q} --labeller {input.labeller:q}"
        " --output {output:q} {params.known} {params.settings}"


# The weights of FID-Inception, 96 MB, at the place that the configuration names; a file that is there
# already is kept. Without a network, the log says where to get it.
rule download_inception:
    output:
        "<resources>/weights/weights-inception-2015-12-05-6726825d.pth",
    log:
        "<logs>/download_inception.log",
    localrule: True
    conda:
        "../../envs/pyrobust.yaml"
    shell:
        "python -m pyrobust.analysis.inception {output:q} > {log:q} 2>&1"


rule find_neighbours:
    input:
        train="<results>/features/{dataset}/{labeller}/{analysis}/train/features.json",
        test="<results>/features/{dataset}/{labeller}/{analysis}/test/features.json",
        generated="<results>/analysis/{dataset}/{generator}/{labeller}/{selection}/{num_samples}/{analysis}/features/features.json",
        shares="<results>/analysis/{dataset}/{generator}/{labeller}/{selection}/{num_samples}/{analysis}/shares/all.done",
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
        # Not a parameter: more memory reruns no search.
        search_memory_gb=resolve.config.search_memory_gb,
    params:
        folder=subpath(output[0], parent=True),
        settings=resolve.analysis_flags("neighbours"),
        more="",
    shell:
        "python -m pyrobust --log {log:q} neighbours --train {input.train:q} --test {input.test:q}"
        " --generated {input.generated:q} --output {params.folder:q} {params.settings} {params.more}"
        " --search-memory-gb {resources.search_memory_gb}"


use rule gather_shares as gather_search_shares with:
    input:
        resolve.search_shares(expand_paths),
    output:
        temp(
            touch(
                "<results>/analysis/{dataset}/{generator}/{labeller}/{selection}/{num_samples}/{analysis}/shares/all.done"
            )
        ),
    log:
        "<logs>/gather_search_shares/{dataset}/{generator}/{labeller}/{selection}/{num_samples}/{analysis}.log",


# One share of the images of find_neighbours, as a separate job.
use rule find_neighbours as search_share with:
    input:
        train="<results>/features/{dataset}/{labeller}/{analysis}/train/features.json",
        test="<results>/features/{dataset}/{labeller}/{analysis}/test/features.json",
        generated="<results>/analysis/{dataset}/{generator}/{labeller}/{selection}/{num_samples}/{analysis}/features/features.json",
    output:
        temp(
            touch(
                "<results>/analysis/{dataset}/{generator}/{labeller}/{selection}/{num_samples}/{analysis}/shares/{share}-{of}.done"
            )
        ),
    log:
        "<logs>/search_share/{dataset}/{generator}/{labeller}/{selection}/{num_samples}/{analysis}/{share}-{of}.log",
    params:
        folder=subpath(output[0], ancestor=2),
        more="--share {share}/{of}",


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
        runtime=WALL_TIMES["measure_quality"],
    params:
        settings=resolve.analysis_flags("quality"),
    shell:
        "python -m pyrobust --log {log:q} quality --original {input.original:q} --generated {input.generated:q}"
        " --output {output:q} {params.settings}"
