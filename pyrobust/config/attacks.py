"""The attacks by name: whole evaluations (`--attack`), and the single attacks in them."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal


@dataclass(frozen=True)
class Attack:
    """An attack that an evaluation can run. To add one, add an entry to `ATTACKS`.

    Attributes:
        title: name in results and reports.
        summary: for `--help` and config/README.md.
        implementation: MODULE:NAME of a function from the settings of the evaluation, the threat
            model and the number of classes to a `Cascade`.
    """

    title: str
    summary: str
    implementation: str


ATTACKS: dict[str, Attack] = {
    "aa_mt": Attack("AA+MT", "the paper's", "pyrobust.evaluation.aa_mt:aa_mt"),
    "autoattack": Attack(
        "AutoAttack", "standard", "pyrobust.evaluation.attack_suites:autoattack_suite"
    ),
    "fast": Attack(
        "AutoAttack's two APGD attacks",
        "AutoAttack's two APGD stages",
        "pyrobust.evaluation.attack_suites:fast_suite",
    ),
    "pgd40": Attack(
        "PGD-40", "the validation attack", "pyrobust.evaluation.attack_suites:pgd40_suite"
    ),
}

# The names of `ATTACKS` as a type.
if TYPE_CHECKING:
    AttackName = str
else:
    AttackName = Literal[tuple(ATTACKS)]


@dataclass(frozen=True)
class SingleAttack:
    """One attack, a stage of an evaluation. To add one, add an entry to `SINGLE_ATTACKS`.

    Attributes:
        title: published name.
        kind: algorithm by which `pyrobust.attack` runs it; None if only AutoAttack does.
        loss: of Auto-PGD.
    """

    title: str
    kind: Literal["apgd", "multitargeted", "pgd40"] | None = None
    loss: Literal["cross_entropy", "dlr", "targeted_dlr"] | None = None


SINGLE_ATTACKS: dict[str, SingleAttack] = {
    "apgd_ce": SingleAttack("APGD-CE", "apgd", "cross_entropy"),
    "apgd_dlr": SingleAttack("APGD-DLR", "apgd", "dlr"),
    "apgd_t": SingleAttack("APGD-T", "apgd", "targeted_dlr"),
    "multitargeted": SingleAttack("MultiTargeted", "multitargeted"),
    "pgd40": SingleAttack("PGD-40", "pgd40"),
    "fab_t": SingleAttack("FAB-T"),
    "square": SingleAttack("Square"),
}

# Those that `pyrobust.attack` runs.
METHODS = tuple(name for name, attack in SINGLE_ATTACKS.items() if attack.kind)
