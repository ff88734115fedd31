# Robust training, one run per seed, and the choice among the runs by validation (appendix A).
rule train_robust:
    input:
        unpack(resolve.training_inputs),
        core=ancient("<resources>/core.built"),
    output:
        "<results>/train/{experiment}/seed{seed}/training.json",
    log:
        "<logs>/train_robust/{experiment}/seed{seed}.log",
    priority: PRIORITIES["train_robust"]
    conda:
        "../../envs/pyrobust.yaml"
    threads: threads_of_gpus
    resources:
        gpu=1,
        processes=processes_of_gpus,
        mem_mb=memory(16000),
        runtime=WALL_TIMES["train_robust"],
    params:
        samples=input_flags("samples"),
        settings=resolve.training_flags,
    shell:
        "python -m pyrobust --log {log:q} train --dataset {input.dataset:q} {params.samples} --output {output:q}"
        " {params.settings} --seed {wildcards.seed} --processes {resources.processes}"


rule choose_run:
    input:
        runs=resolve.runs,
    output:
        "<results>/train/{experiment}/choice.json",
    log:
        "<logs>/choose_run/{experiment}.log",
    localrule: True
    conda:
        "../../envs/pyrobust.yaml"
    params:
        runs=input_flags("runs"),
    shell:
        "python -m pyrobust --log {log:q} choose {params.runs} --output {output:q}"
