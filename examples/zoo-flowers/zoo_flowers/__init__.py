"""A combined model for Zoo: layers of one's own around a published network."""
