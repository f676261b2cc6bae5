"""``pipeline convert`` as a script, for python, spark-submit and ray job submit."""

from _environment import run_job

if __name__ == "__main__":
    run_job("convert")
