"""Secrets in lines for shells: what looks like one is replaced, ordinary words stay, and no line takes long."""

from __future__ import annotations

import time

import pytest

from stdlib.redaction import MAX_LINE_CHARACTERS, redacted

SECRET = "hunter2xyz"


@pytest.mark.parametrize(
    "line",
    [
        "backup --password=hunter2xyz /srv", "backup --password hunter2xyz /srv", "DB_PASSWORD=hunter2xyz backup",
        "x --db-passwd='hunter2xyz'", 'x --api-key "hunter2xyz"',
        "curl -H 'Authorization: Bearer hunter2xyz' https://a",
        "curl -H 'Authorization: Basic hunter2xyz' https://a", "pg_dump postgres://me:hunter2xyz@db/x",
        "mysqldump -u root -phunter2xyz db", "curl -u me:hunter2xyz https://a", 'echo {"token": "hunter2xyz"}',
        "AWS_SECRET_ACCESS_KEY=hunter2xyz aws s3 ls", "x --access-key=hunter2xyz", "x secret: hunter2xyz",
    ],
)  # fmt: skip
def test_a_secret_is_replaced(line: str) -> None:
    assert SECRET not in redacted(line)
    assert "[redacted]" in redacted(line)


@pytest.mark.parametrize(
    "line",
    [
        "test -x /usr/sbin/anacron || run-parts --report /etc/cron.daily", "find /tmp -mtime +7 -delete",
        "rsync -a host:/srv /srv", "mkdir -p /srv/x", "0 5 * * 1 tar -zcf /var/backups/home.tgz /home/",
        "pam_unix(sshd:session): session opened for user mia(uid=1001) by (uid=0)", "Started cron.service - Job.",
    ],
)  # fmt: skip
def test_what_is_none_stays(line: str) -> None:
    assert redacted(line) == line


@pytest.mark.parametrize(
    "line", ["a" * 100_000, "pass" * 20_000, "-p" * 20_000, "://" * 9_000, "mysql " * 9_000, "token=" * 9_000]
)
def test_no_line_takes_long(line: str) -> None:
    """A line that somebody else wrote must not hold a thread of the agent up."""
    before = time.process_time()
    assert len(redacted(line)) <= 3 * MAX_LINE_CHARACTERS
    assert time.process_time() - before < 2.0
