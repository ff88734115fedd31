"""Plain PyTorch (and, for random words, NumPy) twin of every operator of the core.

Written for reading, not for speed: tests hold the core against these lines.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

# --- steps -----------------------------------------------------------------------------------


def finite_or_zero(grad: Tensor) -> Tensor:
    return torch.where(torch.isfinite(grad), grad, torch.zeros_like(grad))


def norms(samples: Tensor) -> Tensor:
    """Return the l2 norm of each sample in float64, shaped to broadcast over the samples."""
    norm = samples.double().flatten(1).norm(dim=1)
    return norm.view(-1, *[1] * (samples.dim() - 1))


def project_linf(point: Tensor, x: Tensor, epsilon: float) -> Tensor:
    return torch.clamp(x + torch.clamp(point - x, -epsilon, epsilon), 0, 1)


def project_l2(point: Tensor, x: Tensor, epsilon: float) -> Tensor:
    delta = point - x
    norm = norms(delta)
    shrink = torch.where(norm > epsilon, epsilon / norm, torch.ones_like(norm))
    return torch.clamp(x + (delta.double() * shrink).to(x.dtype), 0, 1)


def direction(grad: Tensor, norm: str) -> Tensor:
    if norm == "linf":
        return torch.nan_to_num(grad.sign(), nan=0.0)
    finite = finite_or_zero(grad)
    length = norms(finite)
    unit = torch.where(length > 0, finite.double() / length, torch.zeros_like(finite).double())
    return unit.to(grad.dtype)


def step(x_adv: Tensor, x: Tensor, grad: Tensor, size: float, epsilon: float, norm: str) -> Tensor:
    project = project_linf if norm == "linf" else project_l2
    return project(x_adv + size * direction(grad.to(x.dtype), norm), x, epsilon)


def adam_step(
    x_adv: Tensor,
    x: Tensor,
    grad: Tensor,
    exp_avg: Tensor,
    exp_avg_sq: Tensor,
    step: int,
    learning_rate: float,
    epsilon: float,
    norm: str,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-9,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the next x_adv, exp_avg and exp_avg_sq."""
    g = finite_or_zero(grad.to(x.dtype))
    exp_avg = beta1 * exp_avg + (1 - beta1) * g
    exp_avg_sq = beta2 * exp_avg_sq + (1 - beta2) * g * g
    mean = exp_avg / (1 - beta1**step)
    root = (exp_avg_sq / (1 - beta2**step)).sqrt()
    project = project_linf if norm == "linf" else project_l2
    return project(x_adv + learning_rate * mean / (root + eps), x, epsilon), exp_avg, exp_avg_sq


# --- AutoPGD ---------------------------------------------------------------------------------


def apgd_step(
    x_adv: Tensor,
    x_previous: Tensor,
    x: Tensor,
    grad: Tensor,
    step_size: Tensor,
    epsilon: float,
    norm: str,
    momentum: float,
) -> Tensor:
    """Return the next x_adv, in the lines of AutoAttack."""
    size = step_size.view(-1, *[1] * (x.dim() - 1))

    def project(point: Tensor) -> Tensor:
        if norm == "l2":
            return project_l2(point, x, epsilon)
        return torch.clamp(torch.min(torch.max(point, x - epsilon), x + epsilon), 0.0, 1.0)

    z = project(x_adv + size * direction(grad.to(x.dtype), norm))
    drift = x_adv - x_previous
    return project(x_adv + (z - x_adv) * momentum + drift * (1 - momentum))


# --- the l1 ball -----------------------------------------------------------------------------


def _shrunk(delta: Tensor, room: Tensor, threshold: float) -> Tensor:
    return (delta.abs() - threshold).clamp(min=0).minimum(room)


def project_l1(point: Tensor, x: Tensor, epsilon: float) -> Tensor:
    """Return the nearest points of the l1 ball and [0, 1], in float64, from the breakpoints.

    The norm of min(max(|delta| - t, 0), room) is linear in t between two neighbours among all
    |delta| and |delta| - room; t solves it on the piece that contains epsilon.
    """
    rows = []
    for p, centre in zip(point.double().flatten(1), x.double().flatten(1), strict=True):
        delta = p - centre
        room = torch.where(delta > 0, 1 - centre, centre)

        knots = torch.cat([delta.abs(), delta.abs() - room, torch.zeros(1, dtype=torch.float64)])
        knots = knots[knots >= 0].unique()
        norms_there = torch.stack([_shrunk(delta, room, float(t)).sum() for t in knots])
        t = 0.0
        if norms_there[0] > epsilon:
            last = int((norms_there > epsilon).nonzero().max())
            low, high = knots[last], knots[last + 1]
            fall = norms_there[last] - norms_there[last + 1]
            t = float(low + (high - low) * (norms_there[last] - epsilon) / fall)
        rows.append(centre + delta.sign() * _shrunk(delta, room, t))
    return torch.stack(rows).view(point.shape)


def l1_step(
    x_adv: Tensor, x: Tensor, grad: Tensor, sizes: Tensor, num_moved: Tensor, epsilon: float
) -> Tensor:
    """Return the next x_adv in float64, with the selection in the lines of AutoAttack."""
    g = finite_or_zero(grad.to(x.dtype)).double().flatten(1)
    ascending = g.abs().sort(dim=1).values
    least = ascending.gather(1, (g.shape[1] - num_moved).clamp(min=0)[:, None])
    signs = torch.where(g.abs() >= least, g.sign(), 0.0)
    step = sizes.double()[:, None] * signs / signs.abs().sum(1, keepdim=True).clamp(min=1)
    return project_l1(x_adv.double() + step.view(x.shape), x, epsilon)


# --- random words and what is made of them ---------------------------------------------------

START, RADIUS, NORMAL, UNIFORM, SIGNS, AUGMENT = range(6)


def philox(counter: np.ndarray, key: tuple[int, int]) -> np.ndarray:
    """Return Philox4x32-10 of counters (..., 4), as the paper's Figure 2 has it."""
    c = counter.astype(np.uint64)
    k0, k1 = key
    low = np.uint64(0xFFFFFFFF)
    for _ in range(10):
        p0 = np.uint64(0xD2511F53) * c[..., 0]
        p1 = np.uint64(0xCD9E8D57) * c[..., 2]
        shift = np.uint64(32)
        c = np.stack(
            [
                (p1 >> shift) ^ c[..., 1] ^ np.uint64(k0),
                p1 & low,
                (p0 >> shift) ^ c[..., 3] ^ np.uint64(k1),
                p0 & low,
            ],
            axis=-1,
        )
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return c


def words(seed: int, purpose: int, stream: int, sample_id: int, count: int) -> np.ndarray:
    """Return the first `count` words of a sample, as uint64 below 2^32."""
    low = 0xFFFFFFFF
    counters = np.zeros(((count + 3) // 4, 4), np.uint64)
    counters[:, 0] = np.arange(len(counters)) | purpose << 29
    counters[:, 1] = stream
    counters[:, 2] = sample_id & low
    counters[:, 3] = sample_id >> 32 & low
    return philox(counters, (seed & low, seed >> 32 & low)).reshape(-1)[:count]


def symmetric_uniform(w: np.ndarray) -> np.ndarray:
    signed = w.astype(np.uint32).astype(np.int32)
    return ((signed >> 8) + 0.5) * 2.0**-23


def unit_uniform(w: np.ndarray) -> np.ndarray:
    return (w >> np.uint64(8)).astype(np.float64) * 2.0**-24


def signs(w: np.ndarray) -> np.ndarray:
    return np.where(w >> np.uint64(31), -1.0, 1.0)


def normals(w: np.ndarray) -> np.ndarray:
    """Return Box and Muller's normals from an even number of words, in float64."""
    a, b = w[0::2], w[1::2]
    uniform = (np.float32(a >> np.uint64(1)) + np.float32(0.5)) * np.float32(2.0**-31)
    radius = np.sqrt(-2 * np.log(uniform.astype(np.float64)))
    quadrant = (b >> np.uint64(30)).astype(np.float64)
    fraction = (b & np.uint64(0x3FFFFFFF)) * 2.0**-30
    angle = np.pi / 2 * (fraction - 0.5 + quadrant)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1).reshape(-1)


def noise(kind: int, sample_ids: Tensor, shape: Sequence[int], seed: int, stream: int) -> Tensor:
    """Return the noise of each sample in float64."""
    draw = {NORMAL: normals, UNIFORM: unit_uniform, SIGNS: signs}[kind]
    size = int(np.prod(shape))
    rows = [
        draw(words(seed, kind, stream, int(i), size + -size % 4))[:size].reshape(shape)
        for i in sample_ids
    ]
    return torch.from_numpy(np.stack(rows))


def random_start(
    x: Tensor, sample_ids: Tensor, epsilon: float, norm: str, seed: int, step: int, boundary: bool
) -> Tensor:
    """Return the start of each sample in float64."""
    rows = []
    for image, sample_id in zip(x.double(), sample_ids.tolist(), strict=True):
        size = image.numel()
        w = words(seed, START, step, sample_id, size + -size % 4)
        t = torch.from_numpy((symmetric_uniform if norm == "linf" else normals)(w)[:size])
        if norm == "linf":
            t = t / t.abs().max() if boundary else t
        else:
            u = (int(words(seed, RADIUS, step, sample_id, 1)[0]) // 2 + 0.5) * 2.0**-31
            t = t / t.norm() * (1.0 if boundary else u ** (1 / size))
        rows.append(torch.clamp(image + epsilon * t.view_as(image), 0, 1))
    return torch.stack(rows)


# --- losses ----------------------------------------------------------------------------------


def cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    if not target.is_floating_point():
        target = torch.nn.functional.one_hot(target, logits.shape[1]).to(logits.dtype)
    surprise = -torch.log_softmax(logits, dim=1)
    return torch.where(target == 0, torch.zeros_like(surprise), target * surprise).sum(1)


def trades_kl(clean: Tensor, adversarial: Tensor) -> Tensor:
    log_p, log_q = torch.log_softmax(clean, dim=1), torch.log_softmax(adversarial, dim=1)
    return (log_p.exp() * (log_p - log_q)).sum(1)


def _pick(logits: Tensor, index: Tensor) -> Tensor:
    return logits.gather(1, index.view(-1, 1)).squeeze(1)


def margin(logits: Tensor, labels: Tensor) -> Tensor:
    others = logits.scatter(1, labels.view(-1, 1), -torch.inf)
    return others.max(1).values - _pick(logits, labels)


def targeted_margin(logits: Tensor, labels: Tensor, targets: Tensor) -> Tensor:
    return _pick(logits, targets) - _pick(logits, labels)


def dlr(logits: Tensor, labels: Tensor) -> Tensor:
    ranked = logits.sort(dim=1, descending=True, stable=True).values
    return margin(logits, labels) / (ranked[:, 0] - ranked[:, 2] + 1e-12)


def targeted_dlr(logits: Tensor, labels: Tensor, targets: Tensor) -> Tensor:
    ranked = logits.sort(dim=1, descending=True, stable=True).values
    tail = 0.5 * (ranked[:, 2] + ranked[:, 3])
    return targeted_margin(logits, labels, targets) / (ranked[:, 0] - tail + 1e-12)


# --- weights ---------------------------------------------------------------------------------


def sgd_ema_step(
    param: Tensor,
    grad: Tensor,
    buffer: Tensor,
    average: Tensor,
    decayed: bool,
    learning_rate: float,
    momentum: float,
    weight_decay: float,
    ema_decay: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the next param, momentum buffer and average."""
    g = grad.to(param.dtype) + (weight_decay if decayed else 0.0) * param
    buffer = momentum * buffer + g
    param = param - learning_rate * (g + momentum * buffer)
    return param, buffer, ema_decay * average + (1 - ema_decay) * param


# --- loading ---------------------------------------------------------------------------------


def gather_augment(
    images: Tensor,
    index: Tensor,
    sample_ids: Tensor,
    seed: int,
    epoch: int,
    padding: int,
    flip: bool,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    exact = torch.float64 if dtype == torch.float64 else torch.float32
    rows = []
    for i, sample_id in zip(index.tolist(), sample_ids.tolist(), strict=True):
        image = images[i].permute(2, 0, 1).to(exact) / 255
        w = [int(word) for word in words(seed, AUGMENT, epoch, sample_id, 3)]
        height, width = image.shape[1:]
        top, left = (word * (2 * padding + 1) >> 32 for word in w[:2])
        padded = torch.nn.functional.pad(image, [padding] * 4)
        crop = padded[:, top : top + height, left : left + width]
        rows.append(crop.flip(2) if flip and w[2] >> 31 else crop)
    return torch.stack(rows).to(dtype)
