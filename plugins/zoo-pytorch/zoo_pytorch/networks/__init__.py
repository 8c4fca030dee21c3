"""Networks, one architecture a module, under the parameter names that both engines share."""
