"""A toy model that names colours. Importing this package imports no PyTorch; its module `factory` does."""
