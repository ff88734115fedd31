# Robust training, one run a seed, and the choice among the runs by validation (appendix A).
rule train_robust:
    input:
        unpack(training_inputs),
        core=ancient("<resources>/core.built"),
    output:
        "<results>/train/{experiment}/seed{seed}/training.json",
    log:
        "<logs>/train_robust/{experiment}/seed{seed}.log",
    conda:
        "../../envs/pyrobust.yaml"
    threads: 2
    resources:
        gpu=1,
        mem_mb=memory(16000),
        runtime=wall_time(2880),
    params:
        inputs=folder_flags("dataset", "samples"),
        folder=subpath(output[0], parent=True),
        flags=training_flags,
    shell:
        "python -m pyrobust train {params.inputs} --output {params.folder:q} {params.flags}"
        " --seed {wildcards.seed} --processes {resources.gpu} > {log} 2>&1"


rule choose_run:
    input:
        runs=runs_of_experiment,
    output:
        "<results>/train/{experiment}/choice.json",
    log:
        "<logs>/choose_run/{experiment}.log",
    localrule: True
    conda:
        "../../envs/pyrobust.yaml"
    params:
        runs=folder_flags("runs"),
        folder=subpath(output[0], parent=True),
    shell:
        "python -m pyrobust choose {params.runs} --output {params.folder:q} > {log} 2>&1"
