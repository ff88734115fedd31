"""Lower bounds on margins that hold for every image of a perturbation set."""
