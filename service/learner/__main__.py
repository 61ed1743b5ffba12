"""`python -m service.learner`: the learner with the settings of the environment and the settings file."""

import sys

from service.learner.process import run
from service.settings import load_settings

if __name__ == "__main__":
    sys.exit(run(load_settings().settings))
