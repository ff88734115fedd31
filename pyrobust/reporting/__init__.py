"""The record of an experiment, its cost, and the page that shows it."""
