# The compiled core; its operators are `torch.ops.pyrobust`.
