"""Six small files: load, call the code of the layers below, report the outcome."""
