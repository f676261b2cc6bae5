"""All stages as a script: python, or ray job submit -- python jobs/run_pipeline.py -c FILE."""

from _environment import run_job

if __name__ == "__main__":
    run_job("run")
