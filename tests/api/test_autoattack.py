"""The drop-in finds what the public package finds, with its arguments."""

import torch
from pyautoattack import AutoAttack as PublicAutoAttack

import pyrobust
from tests.api.conftest import Classified


def test_it_takes_the_arguments_of_the_public_class_and_agrees(classified: Classified) -> None:
    network, images, labels = classified
    network.eval()
    accuracies = []
    for attack in (pyrobust.AutoAttack, PublicAutoAttack):
        adversary = attack(network, norm="Linf", eps=4 / 255, version="standard", device="cpu")
        found = adversary.run_standard_evaluation(images, labels, batch_size=24)
        x_adv = found[0] if isinstance(found, tuple) else found
        assert (x_adv - images).abs().max() <= 4 / 255 + 1e-6
        with torch.no_grad():
            accuracies.append(int((network(x_adv).argmax(1) == labels).sum()))
    assert accuracies[0] == accuracies[1]


def test_a_function_is_a_model_and_labels_come_with_the_points(classified: Classified) -> None:
    network, images, labels = classified
    adversary = pyrobust.AutoAttack(lambda x: network(x), norm="L2", eps=0.5, verbose=False)
    x_adv, predicted = adversary.run_standard_evaluation(images[:6], labels[:6], return_labels=True)
    with torch.no_grad():
        assert torch.equal(network(x_adv).argmax(1), predicted)
