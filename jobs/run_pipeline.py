"""``pipeline run`` as a script, for python and ray job submit."""

from _environment import run_job

if __name__ == "__main__":
    run_job("run")
