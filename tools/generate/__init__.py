"""Writes what is generated from the models and checks that it is fresh; `python -m tools.generate`."""
