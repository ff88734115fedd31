# What Python sees of the compiled core; its operators are `torch.ops.pyrobust`.

with_cuda: bool
