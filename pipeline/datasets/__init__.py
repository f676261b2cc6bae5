"""Public data sets that the shipped jobs run on, written out as plain raw files."""
