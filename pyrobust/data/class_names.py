"""Class names in canonical order, for raw files that do not bring them."""

from pathlib import Path

from pyrobust.errors import UserError

_CIFAR10 = "airplane automobile bird cat deer dog frog horse ship truck"
_CIFAR100 = """
    apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus
    butterfly camel can castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab
    crocodile cup dinosaur dolphin elephant flatfish forest fox girl hamster house kangaroo keyboard
    lamp lawn_mower leopard lion lizard lobster man maple_tree motorcycle mountain mouse mushroom
    oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree plain plate poppy porcupine
    possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper snail snake
    spider squirrel streetcar sunflower sweet_pepper table tank telephone television tiger tractor
    train trout tulip turtle wardrobe whale willow_tree wolf woman worm
"""

KNOWN: dict[str, tuple[str, ...]] = {
    "digits": tuple("0123456789"),
    "svhn": tuple("0123456789"),
    "cifar10": tuple(_CIFAR10.split()),
    "cifar100": tuple(_CIFAR100.split()),
}

CLASSES_FILE = "classes.txt"


def find_class_names(folder: Path, name: str, num_classes: int) -> tuple[str, ...]:
    """Return the class names of a data set whose files hold numbers only.

    They are the lines of `classes.txt` in `folder`, else those known for `name`, else numbers.

    Args:
        num_classes: one more than the largest label.

    Raises:
        UserError: `classes.txt` has fewer lines than there are classes.
    """
    file = folder / CLASSES_FILE
    if file.is_file():
        names = read_class_names(file)
        if len(names) < num_classes:
            raise UserError(f"{file} names {len(names)} classes, the labels reach {num_classes}")
        return names
    known = KNOWN.get(name, ())
    return known if len(known) >= num_classes else tuple(str(k) for k in range(num_classes))


def read_class_names(file: Path) -> tuple[str, ...]:
    """Return the lines of a file that are not empty."""
    lines = file.read_text(encoding="utf-8").split("\n")
    return tuple(line.strip() for line in lines if line.strip())
