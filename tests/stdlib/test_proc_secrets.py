"""What is told of arguments: everything but what looks like a secret."""

from __future__ import annotations

import time

import pytest

from stdlib.proc_secrets import MARK, MAX_ARGUMENTS, MAX_CHARACTERS, redacted

SECRET = "hunter2-S3cr3t"


@pytest.mark.parametrize(
    "line",
    [
        "prog --password {}", "prog --password={}", "prog -password={}", "prog --db-password {}", "prog --PASSWD={}",
        "prog --passphrase {}", "prog --token={}", "prog --auth-token {}", "prog --api-key={}", "prog --apikey {}",
        "prog --access-key={}", "prog --secret {}", "prog --client_secret={}", "prog --aws.secret.key={}",
        "prog PGPASSWORD={}", "prog MYSQL_PWD={}", "prog DB_PASS={}", "prog AWS_SECRET_ACCESS_KEY={}",
        "prog dbPassword={}", "prog accessToken={}", "prog -Dspring.datasource.password={}", "prog /password:{}",
        "mysql -u root -p{}", "/usr/bin/mysqldump -p{} db", "sshpass -p {} ssh host", "sshpass -p{} ssh host",
        "curl -u mia:{} http://a/", "curl -umia:{} http://a/", "redis-cli -a {} info", "ldapsearch -w {} -x",
        "curl https://mia:{}@host/path", "git clone https://{}0123456789@host/x.git",
        "prog postgresql://mia:{}@db:5432/x?sslmode=off", "curl http://a/?token={}&x=1", "curl http://a/?x=1&api_key={}",
        "curl -H Authorization:{}", "curl -H Cookie:a={}", "curl -H X-Auth-Token:{}", "sh -c DB_PASSWORD={}",
    ],
)  # fmt: skip
def test_a_secret_is_not_told(line: str) -> None:
    told = redacted(line.format(SECRET).split(" "))
    assert SECRET not in " ".join(told)
    assert MARK in " ".join(told)


@pytest.mark.parametrize(
    "token",
    [
        "ghp_" + "a1B2" * 9, "github_pat_" + "x" * 30, "glpat-" + "x" * 20, "xoxb-1234567890-abc", "AKIA" + "Q" * 16,
        "sk-" + "x" * 40, "eyJhbGciOiJI.eyJzdWIiOiIx.c2lnbmF0dXJl",
    ],
)  # fmt: skip
def test_a_token_of_known_form_is_not_told_wherever_it_stands(token: str) -> None:
    assert redacted(["prog", token, f"x={token}"]) == ["prog", MARK, f"x={MARK}"]


@pytest.mark.parametrize(
    "line",
    [
        "nginx -g daemon off", "/usr/sbin/sshd -D", "postgres -D /var/lib/x --config-file=/etc/x.conf",
        "prog --password-file /etc/secret", "prog --token-path=/run/x", "prog --no-password -v", "ssh -i key host",
        "mkdir -p /a/b", "docker run -p 80:80 x", "curl http://host/path?page=2", "prog --tokenizer=fast",
        "ssh mia@host", "git clone ssh://git@host/x.git", "java -Xmx2g -jar a.jar", "prog --user mia",
        "grep -r pass /etc", "prog --compass north", "rsync -av user@host:/a /b",
    ],
)  # fmt: skip
def test_what_is_no_secret_is_told(line: str) -> None:
    assert " ".join(redacted(line.split(" "))) == line


def test_who_stays_what_they_know_does_not() -> None:
    assert redacted(["curl", "-u", f"mia:{SECRET}", f"http://mia:{SECRET}@host/"]) == [
        "curl", "-u", f"mia:{MARK}", f"http://mia:{MARK}@host/",
    ]  # fmt: skip


def test_an_option_after_a_secret_option_is_an_option() -> None:
    assert redacted(["prog", "--password", "--verbose", "x"]) == ["prog", "--password", "--verbose", "x"]
    assert redacted(["prog", "--password", "-S3cret"]) == ["prog", "--password", MARK], "this one is none"


def test_what_is_told_is_bounded() -> None:
    told = redacted(["prog", *["x" * 10_000] * 1000])
    assert len(told) == MAX_ARGUMENTS
    assert {len(item) for item in told[1:]} == {MAX_CHARACTERS}
    assert redacted([]) == []


@pytest.mark.parametrize(
    "text", ["a-" * 2000, "token" * 800, "://" * 1300, "?" * 4000, "a" * 4000 + "=", "pass_" * 800]
)
def test_no_argument_takes_long(text: str) -> None:
    """Whoever starts a process chooses its arguments; they must not be able to stop the agent."""
    began = time.process_time()
    redacted(["prog", *[text, f"--{text}", f"-{text}={text}"] * 80])
    assert time.process_time() - began < 2
