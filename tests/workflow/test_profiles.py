"""The cluster profile knows what each rule asks for."""

import re
from pathlib import Path

import yaml

# The rule that it is written by, or nothing, and its text.
RULES = {
    match["name"]: (match["base"], match["body"])
    for path in Path("workflow/rules").glob("*.smk")
    for match in re.finditer(
        r"^(?:use )?rule (?:(?P<base>\w+) as )?(?P<name>\w+)(?: with)?:\n"
        r"(?P<body>(?:(?!(?:use )?rule ).*\n)*)",
        path.read_text(),
        re.MULTILINE,
    )
}
SLURM = yaml.safe_load(Path("profiles/slurm/profile.v9+.yaml").read_text())


def asks_for_gpu(rule: str) -> bool:
    base, body = RULES[rule]
    if base and "resources:" not in body:
        return asks_for_gpu(base)
    return re.search(r"^ +gpu=", body, re.MULTILINE) is not None


def test_rules_that_ask_for_a_gpu_and_no_others_go_to_its_partition() -> None:
    asking = set(filter(asks_for_gpu, RULES))
    sent = {
        name
        for name, resources in SLURM["set-resources"].items()
        if resources.get("slurm_partition") == "gpu"
    }
    assert {"train_robust", "attack_share_again"} < asking
    assert sent == asking


def test_every_stage_gets_more_memory_and_time_on_each_attempt() -> None:
    stages = "".join(body for name, (_, body) in RULES.items() if name != "build_core")
    given = re.findall(r"^ +(?:mem_mb|runtime)=(.*),$", stages, re.MULTILINE)
    assert len(given) > 30
    assert [value for value in given if value[0].isdecimal()] == []
