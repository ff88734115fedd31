"""Classifiers of any architecture: a constructor named MODULE:NAME, or a network given in Python.

`torchvision.models:resnet18` and `timm.models:vit_tiny_patch16_224(img_size=32)` name constructors;
keyword arguments are literals. The name is stored with the weights, and rebuilding the network
imports the module: no code comes from the file, and only a subclass of nn.Module or a function
annotated to return one is called.
"""

import ast
import inspect
from typing import Any, get_type_hints

import torch
from torch import Tensor, nn

from pyrobust.errors import OwnCodeError, UserError, reason_of
from pyrobust.imports import import_object
from pyrobust.models.batch_norm import convert_batch_norms
from pyrobust.models.layers import ImageClassifier, check_weights
from pyrobust.models.spec import GIVEN, ModelSpec
from pyrobust.own_code import words_of

# Arguments by which constructors load weights: ours come from the file or from training.
_INITIAL_WEIGHTS = ("pretrained", "weights", "checkpoint_path")

# Packages whose constructors lie in a module `models`.
_ZOOS = ("timm", "torchvision")


class ImportedClassifier(ImageClassifier):
    """A network of images (N, C, H, W) to logits (N, K), behind the normalisation of its spec.

    Batch norm is converted to this project's, so that each pass chooses its statistics. Dropout
    and stochastic depth stay off: the network remains in evaluation mode while it is trained.
    """

    def __init__(self, network: nn.Module, spec: ModelSpec) -> None:
        super().__init__(spec.mean, spec.std)
        self.network = convert_batch_norms(network)
        self._num_classes = spec.num_classes

    def forward(self, x: Tensor) -> Tensor:
        """Map images (N, C, H, W) in [0, 1] to logits (N, K)."""
        return self.network((x - self.mean) / self.std)  # type: ignore[no-any-return]

    @property
    def logits(self) -> nn.Linear:  # type: ignore[override]
        """The last layer.

        Raises:
            UserError: the network does not end in a linear layer.
        """
        layers = [m for m in self.network.modules() if isinstance(m, nn.Linear)]
        if not layers or layers[-1].out_features != self._num_classes:
            raise UserError(
                f"{type(self.network).__name__} has no nn.Linear of {self._num_classes} outputs as "
                "its last layer, which --zero-logits and features need: train with "
                "--no-zero-logits, and use another extractor"
            )
        return layers[-1]

    @torch.no_grad()
    def zero_logits(self) -> None:
        """Set the last layer to zero."""
        for parameter in self.logits.parameters():
            parameter.zero_()

    def features(self, x: Tensor) -> Tensor:
        """Map images (N, C, H, W) in [0, 1] to the input of the last layer (N, D) in float32."""
        seen: list[Tensor] = []
        hook = self.logits.register_forward_pre_hook(lambda layer, given: seen.append(given[0]))
        try:
            self(x)
        finally:
            hook.remove()
        return seen[-1].float()


def build_imported(spec: ModelSpec, network: nn.Module | None = None) -> ImportedClassifier:
    """Return the network of `spec`, or `network` in its place, in evaluation mode.

    Raises:
        UserError: the name is not a constructor of a network, or the constructor fails.
    """
    if network is None:
        network = _constructed(spec)
    check_weights(network, spec.architecture)
    if isinstance(network, torch.jit.ScriptModule):
        raise UserError(
            f"{spec.architecture} is TorchScript, which cannot be copied to average its weights: "
            "train the module that it was made from"
        )
    for name, parameter in network.named_parameters():
        if parameter.dtype != torch.float32:
            raise UserError(f"{name} of {spec.architecture} is {parameter.dtype}: use float32")
    return ImportedClassifier(network, spec).eval()


def check_trainable(model: ImportedClassifier, spec: ModelSpec) -> None:
    """Require logits (N, K) for the images of the spec, and gradients for parameters to train.

    Raises:
        UserError: the network fails on them, with its own message, or returns something else, or
            has no parameters to train.
    """
    height, width, channels = spec.image_shape
    images = torch.full((2, channels, height, width), 0.5, device=model.mean.device)
    try:
        logits = model(images.requires_grad_())
    except (Exception, SystemExit) as error:  # a network of the user's own may raise anything
        raise OwnCodeError(
            f"{spec.architecture} fails on images of shape {spec.image_shape} ({words_of(error)})"
        ) from error
    is_plain = isinstance(logits, Tensor) and logits.layout == torch.strided
    found = tuple(logits.shape) if is_plain else type(logits).__name__
    if found != (2, spec.num_classes) or logits.dtype != torch.float32:
        kind = f" of {logits.dtype}" if is_plain and logits.dtype != torch.float32 else ""
        raise UserError(
            f"{spec.architecture} returns {found}{kind} for 2 images, but must return logits of "
            f"shape {(2, spec.num_classes)} in float32: pass the number of classes to its "
            "constructor, and return nothing else"
        )
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not trained:
        raise UserError(
            f"{spec.architecture} has no parameters to train: set requires_grad of some to True"
        )
    try:
        reached = torch.autograd.grad(logits.sum(), [images, *trained], allow_unused=True)
        problem = "they do not reach the images" if reached[0] is None else None
    except RuntimeError as error:
        problem = reason_of(error).partition(". Hint:")[0]
    if problem:
        raise UserError(
            f"{spec.architecture} lacks gradients ({problem}): compute its logits without detach, "
            "no_grad or changes in place"
        )


def constructor_path(architecture: str) -> str:
    """Return MODULE:NAME of the constructor; timm:NAME is timm.models:NAME."""
    module, _, name = architecture.partition("(")[0].partition(":")
    return f"{module}.models:{name}" if module in _ZOOS else f"{module}:{name}"


def _constructed(spec: ModelSpec) -> nn.Module:
    if spec.architecture.startswith(GIVEN):
        raise UserError(
            f"the network was given in Python as a {spec.architecture.removeprefix(GIVEN)} and "
            "cannot be rebuilt from its name: also give a network of the same layout, with "
            "network= or as the model whose weights= this file is"
        )
    path, text = constructor_path(spec.architecture), spec.architecture.partition("(")[2]
    constructor = import_object(path, "architecture", "torchvision.models:resnet18")
    if not _makes_network(constructor):
        raise UserError(
            f"architecture {path} is neither a subclass of nn.Module nor a function annotated to "
            "return one"
        )
    stated = literal_arguments(text, spec.architecture)
    arguments = {key: value for key, value in stated.items() if key not in _INITIAL_WEIGHTS}
    parameters = inspect.signature(constructor).parameters.values()
    if any(p.name == "num_classes" or p.kind is p.VAR_KEYWORD for p in parameters):
        arguments.setdefault("num_classes", spec.num_classes)
    try:
        network = constructor(**arguments)
    except Exception as error:  # so may its constructor
        raise OwnCodeError(
            f"cannot construct {spec.architecture} ({type(error).__name__}: {error})"
        ) from error
    assert isinstance(network, nn.Module)
    return network


def _makes_network(constructor: object) -> bool:
    if isinstance(constructor, type):
        return issubclass(constructor, nn.Module)
    try:
        made = get_type_hints(constructor).get("return")
    except (TypeError, NameError):
        return False
    return isinstance(made, type) and issubclass(made, nn.Module)


def literal_arguments(text: str, named: str) -> dict[str, Any]:
    """Return the keyword arguments of "key=value, ...)".

    Raises:
        UserError: they are not literals; names `named`, the constructor with its arguments.
    """
    try:
        call = ast.parse(f"f({text.removesuffix(')')})", mode="eval").body
        assert isinstance(call, ast.Call) and not call.args
        values = {str(k.arg): ast.literal_eval(k.value) for k in call.keywords if k.arg}
        assert len(values) == len(call.keywords)
    except (SyntaxError, ValueError, AssertionError) as error:
        raise UserError(
            f"{named} is not a constructor with arguments: write them as key=literal, such as "
            "timm.models:vit_tiny_patch16_224(img_size=32)"
        ) from error
    return values
