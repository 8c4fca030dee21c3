"""A model zoo assembled from packages: describe, find, download, verify, cache and load models of any engine."""

from zoo_core.__about__ import __version__ as __version__
