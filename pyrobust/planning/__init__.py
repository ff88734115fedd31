"""Estimates of the hours, disk space and jobs of an experiment before it runs."""
