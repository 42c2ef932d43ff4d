"""Tests of the race explorer."""
