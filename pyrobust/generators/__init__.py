"""Generative models behind one interface, and the stages that sample, label and select."""
