"""The syscall supervisor: it sees, and may decide, every persistence-relevant call of a process tree."""
