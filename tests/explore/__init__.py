"""Tests of the explorer and its workers."""
