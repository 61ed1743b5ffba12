"""What is set for the whole process before uvicorn starts in it."""

import subprocess
import sys

SCRIPT = """
import asyncio.constants, resource
_, most = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (64, most))
from service.edge.patience import install
from service.setting_groups import LimitSettings
install(LimitSettings(header_s=7))
print(resource.getrlimit(resource.RLIMIT_NOFILE) == (most, most), asyncio.constants.SSL_HANDSHAKE_TIMEOUT)
"""


def test_a_server_may_have_as_many_files_as_the_system_allows_and_waits_shortly_for_a_handshake() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "7.0"]
