"""The cluster profile knows what each rule asks for."""

import re
from pathlib import Path

import yaml

RULES = {
    match["name"]: match["body"]
    for path in Path("workflow/rules").glob("*.smk")
    for match in re.finditer(
        r"^rule (?P<name>\w+):\n(?P<body>(?:(?!^rule ).*\n)*)", path.read_text(), re.MULTILINE
    )
}
SLURM = yaml.safe_load(Path("profiles/slurm/profile.v9+.yaml").read_text())


def test_rules_that_ask_for_a_gpu_and_no_others_go_to_its_partition() -> None:
    asking = {name for name, body in RULES.items() if re.search(r"^ +gpu=", body, re.MULTILINE)}
    sent = {
        name
        for name, resources in SLURM["set-resources"].items()
        if resources.get("slurm_partition") == "gpu"
    }
    assert "train_robust" in asking
    assert sent == asking
