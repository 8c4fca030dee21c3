"""The MXNet engine of Zoo."""

__version__ = "0.1.0"
