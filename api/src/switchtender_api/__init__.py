"""The one definition of Switchtender's documents; see `loader` for files and `v1alpha1` for the models."""
