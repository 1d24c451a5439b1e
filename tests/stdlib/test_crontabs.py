"""Lines of crontabs: read as cron reads them, and written so that they mean what was decided on."""

from __future__ import annotations

import shlex
import subprocess

import pytest

from protocol.errors import ArgumentError
from stdlib import crontabs

SYSTEM = """\
# m h dom mon dow user command
SHELL=/bin/sh
 MAILTO = "root"
17 *\t* * *   root    cd / && run-parts --report /etc/cron.hourly
@reboot root /usr/bin/up --password=hunter2
*/5 0-6 1,15 jan-mar mon-fri mia echo 100% done
broken line
* * * * * nobody
"""


def test_a_system_crontab() -> None:
    first, second, third = crontabs.jobs(SYSTEM, "/etc/crontab", None)
    assert first == {
        "file": "/etc/crontab", "user": "root", "m": "17", "h": "*", "dom": "*", "mon": "*", "dow": "*",
        "special": None, "command": "cd / && run-parts --report /etc/cron.hourly",
    }  # fmt: skip
    assert (second["special"], second["m"], second["command"]) == ("@reboot", None, "/usr/bin/up --password=[redacted]")
    assert (third["user"], third["m"], third["dow"], third["command"]) == ("mia", "*/5", "mon-fri", "echo 100% done")


def test_a_crontab_of_somebody() -> None:
    found = list(crontabs.jobs("0 5 * * 1 tar -zcf x /home\n@daily true\n1 2 3 4\n", "/x", "mia"))
    assert [(job["user"], job["h"], job["special"], job["command"]) for job in found] == [
        ("mia", "5", None, "tar -zcf x /home"), ("mia", None, "@daily", "true"),
    ]  # fmt: skip


def test_an_anacrontab() -> None:
    text = "SHELL=/bin/sh\n1\t5\tcron.daily\tnice run-parts /etc/cron.daily\n@monthly 45 cron.monthly run-parts x\n"
    found = list(crontabs.anacron_jobs(text, "/etc/anacrontab"))
    assert [(job["special"], job["command"]) for job in found] == [
        ("every 1 days", "nice run-parts /etc/cron.daily"), ("@monthly", "run-parts x"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "schedule",
    ["* * * * *", "5 4 * * *", "*/15 0-6 1,15 jan-mar mon-fri", "@reboot", "@daily", "0 0 1 1 0", "0 0 * * 7"],
)
def test_schedules(schedule: str) -> None:
    written = crontabs.content(schedule, "root", "/bin/true", []).split("\n")
    assert written == [crontabs.MARK, f"{schedule} root /bin/true", ""]


@pytest.mark.parametrize(
    "schedule",
    [
        "", "@every", "@daily ", "* * * *", "* * * * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *",
        "* * * * 8x", "*\t* * * *", "*  * * * *", "* * * * *\n* * * * * root id", "5-1-2 * * * *", "*/0 * * * *",
        "a b c d e", "# * * * *", "R * * * *", "H * * * *", "* * L * *", "* * * * 5#2", "\u0661 * * * *",
        "* * * * " + "1," * 90, "5/10 * * * *", "mon * * * *", "* * * * 1,", "* * * * *,", "?  * * * *", "? * * * *",
    ],
)  # fmt: skip
def test_what_cron_would_not_take(schedule: str) -> None:
    """cron logs an error and runs nothing, or takes it for something else."""
    with pytest.raises(ArgumentError) as caught:
        crontabs.content(schedule, "root", "/bin/true", [])
    assert caught.value.parameter == "schedule"


@pytest.mark.parametrize("user", ["", "root id", "Root", "-x", "a\nb", "a:b", "x" * 40, "r\u00f6t", "0"])
def test_what_is_no_user(user: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        crontabs.content("@daily", user, "/bin/true", [])
    assert caught.value.parameter == "user"


@pytest.mark.parametrize("name", ["", ".", "..", "a.b", "../x", "a/b", "-x", "_x", "a b", "x" * 65, "a\n", "\u00e9"])
def test_what_is_no_name_of_a_job(name: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        crontabs.NAME.require(name, "name")
    assert caught.value.parameter == "name"


STRANGE = [
    "$HOME",
    "`id`",
    "$(id)",
    "; id",
    "a  b",
    "*",
    "",
    "'",
    '"',
    "\\",
    "%",
    "100%\\%",
    "> /etc/passwd",
    "&",
    "#",
    "!x",
    "é",
]


def test_arguments_mean_only_themselves() -> None:
    """What cron and the shell make of the line are exactly the arguments that were decided on."""
    line = crontabs.content("@daily", "root", "/usr/bin/printf", ["%s\\n", *STRANGE]).split("\n")[1]
    command = line.removeprefix("@daily root ")
    # cron(8): an unescaped percent sign is a line's end; the backslash before one is taken away.
    assert "%" not in command.replace("\\%", "")
    as_cron_runs_it = command.replace("\\%", "%")
    assert shlex.split(as_cron_runs_it) == ["/usr/bin/printf", "%s\\n", *STRANGE]
    done = subprocess.run(["/bin/sh", "-c", as_cron_runs_it], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:-1] == STRANGE


@pytest.mark.parametrize("argument", ["a\nb", "a\rb", "\x1b[2J", "\udcff", "\u2028", "x" * 900])
def test_what_does_not_fit_into_a_line(argument: str) -> None:
    """A line's end in an argument would begin a job of its own, as root."""
    with pytest.raises(ArgumentError) as caught:
        crontabs.content("@daily", "root", "/bin/echo", [argument])
    assert caught.value.parameter == "args"


def test_a_refused_argument_is_not_told() -> None:
    """It may be a password; refusals are recorded, and shown to those who may not see it."""
    with pytest.raises(ArgumentError) as caught:
        crontabs.content("@daily", "root", "/bin/echo", ["hunter2\n"])
    assert "hunter2" not in caught.value.message
