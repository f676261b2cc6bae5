"""The preprocess stage as a script: python, spark-submit or ray job submit -- python jobs/preprocess.py -c FILE."""

from _environment import run_job

if __name__ == "__main__":
    run_job("preprocess")
