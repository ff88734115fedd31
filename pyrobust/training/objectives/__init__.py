"""Training objectives: one module each, over the step of `pyrobust.training.step`."""

from collections.abc import Callable

from pyrobust.config.training import TrainSettings
from pyrobust.errors import UserError
from pyrobust.imports import import_object
from pyrobust.own_code import running
from pyrobust.training.objectives.cross_entropy import AdversarialTraining, CrossEntropy
from pyrobust.training.objectives.ibp import IntervalBoundPropagation
from pyrobust.training.objectives.mart import Mart
from pyrobust.training.objectives.objective import Loss, Objective, accuracy
from pyrobust.training.objectives.passes import Passes
from pyrobust.training.objectives.trades import Trades
from pyrobust.training.objectives.weight_perturbation import WeightPerturbation

__all__ = ["CrossEntropy", "Loss", "Objective", "Passes", "accuracy", "make_objective"]

OBJECTIVES: dict[str, Callable[[TrainSettings], Objective]] = {
    "trades": Trades,
    "adversarial_training": AdversarialTraining,
    "mart": Mart,
    "ibp": IntervalBoundPropagation,
}


def make_objective(settings: TrainSettings) -> Objective:
    """Return the objective that the settings name, in AWP where `awp_gamma` is above 0.

    Raises:
        UserError: the objective is MODULE:NAME and this names no objective.
    """
    make = OBJECTIVES.get(settings.objective)
    if make is None:
        make = import_object(settings.objective, "objective", "my_objectives:MyObjective")
    with running(settings.objective):
        objective = make(settings)
    if not isinstance(objective, Objective):
        raise UserError(
            f"objective {settings.objective} made a {type(objective).__name__}; expected a "
            "subclass of pyrobust.training.objectives.Objective"
        )
    return WeightPerturbation(objective, settings.awp_gamma) if settings.awp_gamma else objective
