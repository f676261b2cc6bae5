"""The built-in transforms of ``preprocess.steps``: one file a kind, DataFrame → DataFrame."""
