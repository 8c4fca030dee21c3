"""Places that list and serve artifacts; one module a kind."""
