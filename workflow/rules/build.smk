# Builds the compiled core; other rules wait for it, and no result is made anew because of it
# (`ancient`).
rule build_core:
    input:
        ancient(CORE_SOURCES),
    output:
        touch("<resources>/core.built"),
    log:
        "<logs>/build_core.log",
    conda:
        "../../envs/pyrobust.yaml"
    threads: 4
    resources:
        mem_mb=8000,
        runtime=30,
    params:
        sources=SOURCES.as_posix(),
    shell:
        "(cd {params.sources:q} && MAX_JOBS={threads} python setup.py build_ext --inplace)"
        " > {log} 2>&1"
