"""`python -m service.learner`: the learner with the settings of the environment and the settings file."""

import sys

from service.learner.process import run
from service.settings import WrongSettings, load_settings
from stream.errors import StreamError


def main() -> int:
    """As `run`; 1, and one line on stderr, where the learner cannot start."""
    try:
        return run(load_settings().settings)
    except (WrongSettings, StreamError) as error:
        print(f"the learner cannot start: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
