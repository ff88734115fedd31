"""The hours of the paper's targets, as docs/reproduce.md prints them."""

import re
from pathlib import Path

from pyrobust.planning.paper import TargetCost, read_configuration, target_costs
from pyrobust.planning.plan import plan_experiment
from pyrobust.planning.rates import read_machines
from pyrobust.planning.sizes import count_images
from pyrobust.planning.table import hours

ROOT = Path(__file__).parents[2]
MACHINE = read_machines()["h100"]
COSTS = dict(target_costs(ROOT / "config", MACHINE))


def printed() -> dict[str, list[str]]:
    """Return the cells of the table of targets, by name of the target."""
    lines = (ROOT / "docs/reproduce.md").read_text().splitlines()
    rows = [
        line.strip("| ").split(" | ") for line in lines if re.match(r"\| `(table|figure)", line)
    ]
    return {
        name: cells[1:]
        for cells in rows
        if len(cells) == 6
        for name in re.findall(r"`(\w+)`", cells[0])
    }


def cells_of(cost: TargetCost) -> tuple[str, str]:
    if not cost.num_models:
        return "none", "–"
    return str(cost.num_models), f"{hours(cost.training)} + {hours(cost.attacks)}"


def test_the_page_prints_models_and_hours_of_every_target() -> None:
    cells = printed()
    assert {name: (row[1].split(",")[0], row[2]) for name, row in cells.items()} == {
        name: cells_of(cost) for name, cost in COSTS.items() if name.startswith(("table", "figure"))
    }, "python -m pyrobust.planning.paper prints what belongs into docs/reproduce.md"


def test_a_figure_costs_each_of_its_models_once() -> None:
    config = read_configuration(ROOT / "config")
    images = config.datasets["cifar10"]
    counts = count_images("cifar10", images, ROOT / "resources/datasets")
    plan = plan_experiment(config, "cifar10_linf", counts, MACHINE)
    (training,) = (stage.seconds for stage in plan.stages if stage.name == "train")
    # Eleven shares, all of the same architecture; with 1.0, two batches are one.
    assert COSTS["figure3a"].num_models == 11
    assert abs(COSTS["figure3a"].training / training - 11) < 0.2


def test_the_page_prints_the_hours_that_the_ddpm_samples() -> None:
    config = read_configuration(ROOT / "config")
    page = (ROOT / "docs/reproduce.md").read_text()
    for name, count, printed_as in (
        ("cifar10_linf", 10**6, "1.3 million images take {}"),
        ("tinyimagenet_linf", 10**6, "({} for the larger ones of TinyImageNet)"),
        ("cifar10_linf", 10**8, "125 million images of the DDPM: {} hours"),
    ):
        experiment = config.experiments[name].model_copy(update={"num_samples": count})
        changed = config.model_copy(update={"experiments": {name: experiment}})
        images = count_images(
            experiment.dataset, config.datasets[experiment.dataset], ROOT / "resources/datasets"
        )
        plan = plan_experiment(changed, name, images, MACHINE)
        (seconds,) = (stage.seconds for stage in plan.stages if stage.name == "sample")
        assert printed_as.format(f"{seconds / 3600:,.0f}") in page


def test_two_figures_of_one_sweep_cost_the_same() -> None:
    assert COSTS["figure5"] == COSTS["figure10"]
