"""The PyTorch engine of Zoo.

Importing this package imports no PyTorch; its modules `engine`, `factories` and `networks` do.
"""

__version__ = "0.1.0"
