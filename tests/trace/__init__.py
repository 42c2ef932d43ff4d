"""Recording: every rule with a test that fails when the rule is removed."""
