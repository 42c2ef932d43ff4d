"""What may be done to a running program, one module a family."""
