# ruff: noqa: D103 (each function is named after its operator)
"""The operators of the core as plain PyTorch writes them.

`operators.py` times these lines, eagerly and under `torch.compile`. They leave out what the core
adds (guards against NaN, sums in double precision, noise by sample id), so they are never slower
for it.
"""

import torch
from torch import Tensor
from torch.nn import functional as F


def norms(samples: Tensor) -> Tensor:
    """Return the l2 norm of each sample, (N, 1, 1, 1)."""
    return samples.flatten(1).norm(dim=1).view(-1, 1, 1, 1)


def project_linf(point: Tensor, x: Tensor, epsilon: float) -> Tensor:
    return torch.clamp(x + torch.clamp(point - x, -epsilon, epsilon), 0, 1)


def project_l2(point: Tensor, x: Tensor, epsilon: float) -> Tensor:
    delta = point - x
    return torch.clamp(x + delta * (epsilon / norms(delta)).clamp(max=1), 0, 1)


def linf_step(x_adv: Tensor, x: Tensor, grad: Tensor, size: float, epsilon: float) -> Tensor:
    return project_linf(x_adv + size * grad.sign(), x, epsilon)


def l2_step(x_adv: Tensor, x: Tensor, grad: Tensor, size: float, epsilon: float) -> Tensor:
    return project_l2(x_adv + size * grad / (norms(grad) + 1e-12), x, epsilon)


def adam(x_adv: Tensor, grad: Tensor, m: Tensor, v: Tensor, step: int, rate: float) -> Tensor:
    m.mul_(0.9).add_(grad, alpha=0.1)
    v.mul_(0.999).addcmul_(grad, grad, value=0.001)
    mean, root = m / (1 - 0.9**step), (v / (1 - 0.999**step)).sqrt()
    return x_adv + rate * mean / (root + 1e-9)


def linf_adam_step(
    x_adv: Tensor, x: Tensor, grad: Tensor, m: Tensor, v: Tensor, epsilon: float
) -> Tensor:
    return project_linf(adam(x_adv, grad, m, v, 3, 0.01), x, epsilon)


def l2_adam_step(
    x_adv: Tensor, x: Tensor, grad: Tensor, m: Tensor, v: Tensor, epsilon: float
) -> Tensor:
    return project_l2(adam(x_adv, grad, m, v, 3, 0.01), x, epsilon)


def linf_start(x: Tensor, epsilon: float) -> Tensor:
    return torch.clamp(x + epsilon * (2 * torch.rand_like(x) - 1), 0, 1)


def l2_start(x: Tensor, epsilon: float) -> Tensor:
    noise = torch.randn_like(x)
    radius = torch.rand(len(x), 1, 1, 1, device=x.device) ** (1 / x[0].numel())
    return torch.clamp(x + epsilon * radius * noise / norms(noise), 0, 1)


def apgd_step_linf(
    x_adv: Tensor, previous: Tensor, x: Tensor, grad: Tensor, size: Tensor, epsilon: float
) -> Tensor:
    z = project_linf(x_adv + size * grad.sign(), x, epsilon)
    return project_linf(x_adv + 0.75 * (z - x_adv) + 0.25 * (x_adv - previous), x, epsilon)


def apgd_step_l2(
    x_adv: Tensor, previous: Tensor, x: Tensor, grad: Tensor, size: Tensor, epsilon: float
) -> Tensor:
    z = project_l2(x_adv + size * grad / (norms(grad) + 1e-12), x, epsilon)
    return project_l2(x_adv + 0.75 * (z - x_adv) + 0.25 * (x_adv - previous), x, epsilon)


def apgd_track(
    x_adv: Tensor, grad: Tensor, loss: Tensor, correct: Tensor,
    x_best: Tensor, grad_best: Tensor, loss_best: Tensor, x_broken: Tensor,
) -> None:  # fmt: skip
    better, broken = loss > loss_best, ~correct
    x_best[better] = x_adv[better]
    grad_best[better] = grad[better]
    loss_best[better] = loss[better]
    x_broken[broken] = x_adv[broken]


def with_grad(loss_of: object, logits: Tensor, *others: Tensor) -> tuple[Tensor, Tensor]:
    """Return a loss of rows and its gradient to the logits, by autograd."""
    logits = logits.detach().requires_grad_()
    loss = loss_of(logits, *others)  # type: ignore[operator]
    return loss.detach(), torch.autograd.grad(loss.sum(), logits)[0]


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(logits, labels, reduction="none")


def trades_kl(adversarial: Tensor, clean: Tensor) -> Tensor:
    log_p, log_q = F.log_softmax(clean, 1), F.log_softmax(adversarial, 1)
    return F.kl_div(log_q, log_p, log_target=True, reduction="none").sum(1)


def pick(logits: Tensor, index: Tensor) -> Tensor:
    return logits.gather(1, index[:, None]).squeeze(1)


def margin(logits: Tensor, labels: Tensor) -> Tensor:
    others = logits.scatter(1, labels[:, None], -torch.inf)
    return others.amax(1) - pick(logits, labels)


def dlr(logits: Tensor, labels: Tensor) -> Tensor:
    ranked = logits.sort(dim=1, descending=True).values
    return margin(logits, labels) / (ranked[:, 0] - ranked[:, 2] + 1e-12)


def targeted_dlr(logits: Tensor, labels: Tensor, targets: Tensor) -> Tensor:
    ranked = logits.sort(dim=1, descending=True).values
    spread = ranked[:, 0] - 0.5 * (ranked[:, 2] + ranked[:, 3])
    return (pick(logits, targets) - pick(logits, labels)) / (spread + 1e-12)


def ema_update(averages: list[Tensor], values: list[Tensor]) -> None:
    torch._foreach_lerp_(averages, values, 0.005)


def sgd_ema_step(
    params: list[Tensor], grads: list[Tensor], buffers: list[Tensor], averages: list[Tensor]
) -> None:
    """The lines that torch.compile gets; eagerly, torch.optim.SGD and foreach are timed."""
    for param, grad, buffer, average in zip(params, grads, buffers, averages, strict=True):
        g = grad + 5e-4 * param
        buffer.mul_(0.9).add_(g)
        param.sub_(0.1 * (g + 0.9 * buffer))
        average.lerp_(param, 0.005)
