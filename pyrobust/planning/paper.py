"""What the models of the paper's tables and figures cost, for docs/reproduce.md.

python -m pyrobust.planning.paper
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from pyrobust.config import parse_settings
from pyrobust.config.experiment import Config, read_config
from pyrobust.config.sweeps import Sweeps, resolve_targets
from pyrobust.planning.plan import Plan, plan_experiment
from pyrobust.planning.rates import Machine, read_machines
from pyrobust.planning.sizes import count_images

Json = dict[str, Any]


class TargetCost(NamedTuple):
    """Seconds on one device; each model and each attack counts once."""

    num_models: int
    """Of distinct settings; each is trained with every seed of its experiment."""

    training: float
    attacks: float


def target_costs(folder: Path, machine: Machine) -> Iterator[tuple[str, TargetCost]]:
    """Yield the cost of every target except smoke tests, by name.

    Args:
        folder: holds config.yaml, targets.yaml and sweeps/.
    """
    config = read_configuration(folder)
    values = config.model_dump(mode="json")
    sweeps = resolve_targets(values, folder / "sweeps")
    for target, settings in config.targets.items():
        if settings.paper is not None:
            yield target, cost_of_target(config, sweeps, target, machine)


def cost_of_target(config: Config, sweeps: Sweeps, target: str, machine: Machine) -> TargetCost:
    """Return the cost of a table or figure.

    Args:
        sweeps: the points of the targets of `config`.
    """
    values = config.model_dump(mode="json")
    values["experiments"] |= sweeps.experiments
    settings = config.targets[target]
    points = sweeps.points[target] if settings.needs_training else []
    points = [point for point in points if not point["augmentation"]]
    models = {point["experiment"] for point in points}
    attacks = {(p["experiment"], p["evaluation"], p["tested_on"]) for p in points}
    if settings.show in ("landscapes", "overfitting"):
        attacks = set()
    return TargetCost(
        len(models),
        sum(_seconds(plan_point(values, name, None, machine), "train") for name in models),
        sum(_seconds(plan_point(values, *key[:2], machine), "evaluate") for key in attacks),
    )


def read_configuration(folder: Path) -> Config:
    """Return config.yaml and targets.yaml as one, as the workflow puts them together."""
    return read_config([folder / "config.yaml", folder / "targets.yaml"])


def plan_point(values: Json, name: str, evaluation: str | None, machine: Machine) -> Plan:
    """Return the plan of an experiment, under another evaluation where one is named.

    Args:
        values: of the configuration, with the points of sweeps among its experiments.
    """
    own = dict(values["experiments"][name])
    own["evaluation"] = evaluation or own["evaluation"]
    # The plan of a mixture is that of its first generator: training costs the same.
    mixture = values["mixtures"].get(own["generator"])
    own["generator"] = mixture["first"] if mixture else own["generator"]
    config = parse_settings(Config, {**values, "experiments": {name: own}})
    dataset = config.experiments[name].dataset
    images = count_images(dataset, config.datasets[dataset], Path("resources/datasets"))
    return plan_experiment(config, name, images, machine)


def _seconds(plan: Plan, stage: str) -> float:
    return sum(s.seconds for s in plan.stages if s.name == stage)


if __name__ == "__main__":
    from pyrobust.planning.table import hours

    for target, cost in target_costs(Path("config"), read_machines()["h100"]):
        print(target, cost.num_models, f"{hours(cost.training)} + {hours(cost.attacks)}", sep="\t")
