"""Network architectures, one a file; their parameters have the names that PyTorch's networks have."""
