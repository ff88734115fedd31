"""The profile for Slurm and the rules agree on what needs a GPU."""

import re

import yaml

from tests.workflow.running import ROOT


def test_the_slurm_profile_sends_every_rule_with_a_gpu_to_the_gpu_partition() -> None:
    rules = "".join(path.read_text() for path in sorted((ROOT / "workflow/rules").glob("*.smk")))
    bodies = re.findall(r"^(?:rule|checkpoint) (\w+):\n((?:[ \t].*\n|\n)+)", rules, re.M)
    with_gpu = {name for name, body in bodies if re.search(r"^\s+gpu=", body, re.M)}
    assert {"train_robust", "find_neighbours"} < with_gpu
    profile = yaml.safe_load((ROOT / "profiles/slurm/profile.v9+.yaml").read_text())
    sent = {
        name for name, own in profile["set-resources"].items() if own["slurm_partition"] == "gpu"
    }
    assert sent == with_gpu
