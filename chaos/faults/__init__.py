"""What may be done to a running program, one module a family. Read `fault.py` first, then `policy.py`."""
