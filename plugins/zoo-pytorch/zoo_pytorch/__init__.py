"""The PyTorch engine of Zoo.

Importing this package imports no PyTorch; its modules `engine` and `networks` do.
A factory imports its network when it builds it.
"""

__version__ = "0.1.0"
