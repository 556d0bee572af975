"""terminal.py KEY COMMAND...: runs a command on a terminal of 40 lines and 160 columns, until it shows its figures; makes
the terminal 20 by 50, waits until it is drawn anew, and ends it by KEY, or by SIGTERM when that is TERM. Prints what was
drawn before and after, how the command ended, and whether it left the terminal as it was."""

import fcntl
import json
import os
import pty
import select
import signal
import struct
import sys
import termios
import time

LIMIT = 30


def resize(terminal, lines, columns):
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))


def read(terminal, enough):
    """What comes until there is enough of it, or it ends."""
    text, end = "", time.monotonic() + LIMIT
    while not enough(text):
        ready, _, _ = select.select([terminal], [], [], max(0, end - time.monotonic()))
        if not ready:
            sys.exit(f"nothing more came after {text!r}")
        try:
            piece = os.read(terminal, 65536)
        except OSError:
            break
        if not piece:
            break
        text += piece.decode(errors="replace")
    return text


key, command = sys.argv[1], sys.argv[2:]
ours, theirs = pty.openpty()
resize(ours, 40, 160)
modes = termios.tcgetattr(theirs)
child = os.fork()
if child == 0:
    os.setsid()
    fcntl.ioctl(theirs, termios.TIOCSCTTY, 0)
    for stream in range(3):
        os.dup2(theirs, stream)
    os.execv(command[0], command)
before = read(ours, lambda text: "ALERTS" in text)
resize(ours, 20, 50)
after = read(ours, lambda text: "PROCESSORS" in text)
if key == "TERM":
    os.kill(child, signal.SIGTERM)
else:
    os.write(ours, key.encode())
after += read(ours, lambda text: "\x1b[?1049l" in text)
_, status = os.waitpid(child, 0)
print(json.dumps({
    "before": before,
    "after": after,
    "code": os.waitstatus_to_exitcode(status),
    "restored": termios.tcgetattr(theirs) == modes,
}))
