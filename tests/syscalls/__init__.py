"""The supervisor below the recorder."""
