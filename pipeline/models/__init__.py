"""Models at rest: safe persistence, the registry of champions, and the rule of promotion."""
