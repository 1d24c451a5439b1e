"""Lua scripts as their authors meet them: values, calls, errors with places, output."""

from __future__ import annotations

import pytest
from languages import BINDINGS, MEMORY_BYTES, SEED, RecordingChannel, lua

from protocol.errors import ArgumentError
from sandbox import lua_runtime
from sandbox.runtimes import MAX_SOURCE_BYTES, CallError, RuntimeLimits


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("return nil", None),
        ("", None),
        ("return true", True),
        ("return 7", 7),
        ("return 7.5", 7.5),
        ("return 'text'", "text"),
        ("return '\\xff\\xfe'", b"\xff\xfe"),
        ("return {1, 2, 3}", [1, 2, 3]),
        ("return {}", []),
        ("return {a = 1, b = {c = 'x'}}", {"a": 1, "b": {"c": "x"}}),
        ("return 1, 2, 3", 1),
        ("return math.maxinteger", 2**63 - 1),
        ("return math.type(3 // 1) .. math.type(3 / 1)", "integerfloat"),
    ],
)
def test_the_value_is_the_first_that_the_chunk_returns(source: str, value: object) -> None:
    """Types survive: 7 is an integer and 7.0 is not."""
    result = lua(source).value
    assert result == value
    assert type(result) is type(value)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("return print", "function"),
        ("return {[1] = 1, [3] = 3}", "not 1..n"),
        ("return {1, a = 2}", "both string and integer keys"),
        ("return {[1.5] = 1}", "key of type float"),
        ("return {['\\xff'] = 1}", "not valid UTF-8"),
        ("return 0/0", "not finite"),
        ("return math.huge", "not finite"),
        ("local t = {} t.t = t return t", "nested more than"),
        ("local t = {} for i = 1, 30000 do t[i] = i end return t", "more than 25000 elements"),
        ("return string.rep('x', 1024 * 1024)", "larger than"),
    ],
)
def test_a_result_that_cannot_cross_is_an_error_that_says_why(source: str, words: str) -> None:
    """Nothing is cut or converted silently."""
    assert words in lua(source).error


def test_positional_arguments_and_a_last_table_of_options() -> None:
    """``fs.list("/", {limit = 5})`` reads like Lua and arrives as a named argument."""
    ran = lua("return fs.list('/', {limit = 5})", {"fs.list": []})
    assert ran.channel.calls == [("fs.list", ["/"], {"limit": 5})]


def test_a_last_table_that_is_a_list_stays_positional() -> None:
    """The argument vector of a command is not an option."""
    ran = lua("proc.command('df', {'-k', '/'}) ", {"proc.command": None})
    assert ran.channel.calls == [("proc.command", ["df", ["-k", "/"]], {})]


def test_nil_arguments_keep_their_position() -> None:
    """An optional argument in the middle may be left out."""
    assert lua("fs.list(nil, 5)", {"fs.list": None}).channel.calls == [("fs.list", [None, 5], {})]


def test_answers_arrive_as_fresh_tables() -> None:
    """A script may change what it got without changing anything else."""
    answer = {"total": 10, "names": ["a", "b"], "raw": b"\xff", "none": None, "f": 1.5, "yes": True}
    ran = lua(
        "local s = fs.space('/') s.names[1] = 'z' "
        "return {s.total, s.names[1], s.names[2], #s.raw, s.none == nil, s.f, s.yes}",
        {"fs.space": answer},
    )
    assert ran.value == [10, "z", "b", 1, True, 1.5, True]
    assert answer["names"] == ["a", "b"]


def test_an_uncaught_refusal_is_reported_with_code_and_place() -> None:
    """The launcher turns code ``denied`` into the status of the run."""
    result = lua("local x = 1\n\nfs.read('/etc/shadow')\n").result
    assert (result.ok, result.error_code, result.error_where) == (False, "denied", "main.lua:3")
    assert result.error_message == "fs.read is not allowed"


@pytest.mark.parametrize(
    ("source", "where"),
    [
        ('\nreturn fs.read("/etc/shadow")', "main.lua:2"),
        ('-- one\n\nreturn fs . read { "/etc/shadow" }', "main.lua:3"),
        # Two places that look alike: better no line than a wrong one.
        ('if false then return fs.read("/a") end\nreturn fs.read("/etc/shadow")', None),
        ('local read = fs.read\nreturn read("/etc/shadow")', None),
    ],
)
def test_a_refused_tail_call_is_placed_where_only_one_line_can_be_it(source: str, where: str | None) -> None:
    """A tail call leaves no frame behind; the author still wants to know the line."""
    result = lua(source).result
    assert (result.error_code, result.error_where) == ("denied", where)


def test_a_caught_refusal_is_a_table_with_code_and_message() -> None:
    """Scripts branch on the code and show the message."""
    ran = lua("local ok, e = pcall(fs.read, '/x') return {ok, e.code, e.message, tostring(e), 'got ' .. e}")
    text = "denied: fs.read is not allowed"
    assert ran.value == [False, "denied", "fs.read is not allowed", text, f"got {text}"]


def test_a_refusal_raised_again_keeps_its_first_place() -> None:
    """The place that matters is the call, not the ``error`` that passed it on."""
    result = lua("local ok, e = pcall(function()\n fs.read('/x')\nend)\nerror(e)").result
    assert (result.error_code, result.error_where) == ("denied", "main.lua:2")


def test_a_refusal_inside_a_coroutine_keeps_code_and_place() -> None:
    """Lua loses the stack of a coroutine when its error crosses; we noted the place before."""
    result = lua("local co = coroutine.wrap(function()\n\n fs.read('/x') end)\nco()").result
    assert (result.error_code, result.error_where) == ("denied", "main.lua:3")


def test_a_forged_error_table_is_no_refusal() -> None:
    """A script must not be able to end as denied when nothing was."""
    result = lua("error(setmetatable({code = 'denied', message = 'x'}, {__metatable = 'locked'}))").result
    assert (result.error_code, result.error_message) == (None, "error object of type table")


def test_a_changed_error_object_still_reports_what_happened() -> None:
    """What the gate said is kept apart from the object that the script holds."""
    result = lua("local _, e = pcall(fs.read, '/x') e.code = 'not_found' error(e)").result
    assert result.error_code == "denied"


@pytest.mark.parametrize(
    ("source", "where", "message"),
    [
        ("x =", "main.lua:1", "unexpected symbol near <eof>"),
        ("local a = 1\nif a then\n", "main.lua:3", "'end' expected (to close 'if' at line 2) near <eof>"),
        ("\n\nerror('boom')", "main.lua:3", "boom"),
        ("\nerror('boom', 0)", "main.lua:2", "boom"),
        ("\nlocal t\nreturn t.x", "main.lua:3", "attempt to index a nil value (local 't')"),
        ("error({})", "main.lua:1", "error object of type table"),
        ("error(nil)", "main.lua:1", "error object of type nil"),
        ("error(42)", "main.lua:1", "42"),
        ("return " + "(" * 1000, "main.lua", "C stack overflow"),
        ("nosuch()", "main.lua:1", "attempt to call a nil value (global 'nosuch')"),
    ],
)
def test_errors_name_their_place(source: str, where: str, message: str) -> None:
    """Syntax errors and run time errors alike."""
    result = lua(source).result
    assert (result.error_where, result.error_message, result.error_code) == (where, message, None)


def test_a_call_that_is_not_declared_reaches_the_gate() -> None:
    """An unknown call is refused there and stands on the record; it must not vanish as a nil error."""
    channel = RecordingChannel({"fs.nope": CallError("not_found", "there is no call fs.nope")})
    runtime = lua_runtime.create(BINDINGS, channel, RuntimeLimits(MEMORY_BYTES), randomness=SEED)
    result = runtime.execute("main.lua", {"main.lua": b"fs.nope(1)"}, {})
    assert channel.calls == [("fs.nope", [1], {})]
    assert (result.error_code, result.error_where) == ("not_found", "main.lua:1")


@pytest.mark.parametrize("name", ["'__index'", "'a b'", "1", "''", "('x'):rep(100)", "true"])
def test_what_cannot_be_the_name_of_a_call_is_nil(name: str) -> None:
    """Only a word can reach the gate as a name."""
    assert lua(f"return fs[{name}] == nil").value is True


def test_print_sends_text_with_tabs_and_a_newline() -> None:
    """As in Lua, but without addresses."""
    assert lua("print(1, nil, 'x', {}, print) print()").channel.printed == b"1\tnil\tx\ttable\tfunction\n\n"


def test_print_keeps_bytes_that_are_not_text() -> None:
    """Escaping is the reader's job; losing bytes would not help him."""
    assert lua("print('\\xff')").channel.printed == b"\xff\n"


def test_parameters_are_read_with_param() -> None:
    """Values keep their types; what is not given is nil."""
    ran = lua(
        "return {param('device'), param('count'), param('none') == nil}", parameters={"device": "sda", "count": 3}
    )
    assert ran.value == ["sda", 3, True]
    assert ran.channel.calls == []


def test_json_is_local_and_takes_tables_of_any_shape() -> None:
    """``json.encode({value = 1})`` must not be taken for options."""
    ran = lua("""local t = json.decode('{"a": [1, 2.5, "x", true, null]}') return {json.encode({value = 1}), t.a[2]}""")
    assert ran.value == ['{"value":1}', 2.5]
    assert ran.channel.calls == []


def test_a_json_integer_of_more_than_64_bits_becomes_a_float() -> None:
    """As Lua reads such a numeral itself."""
    assert lua("return json.decode('[100000000000000000000]')[1]").value == 1e20


def test_bad_json_is_an_error_with_code_and_place() -> None:
    """The code is the same as for any wrong argument."""
    result = lua("json.decode('{')").result
    assert (result.error_code, result.error_where) == ("invalid_argument", "main.lua:1")


def test_an_argument_that_cannot_cross_is_refused_before_the_gate() -> None:
    """The gate sees only plain values."""
    ran = lua("fs.space(print)")
    assert (ran.result.error_code, ran.channel.calls) == ("invalid_argument", [])


def test_an_unexpected_failure_of_the_channel_shows_the_script_no_detail() -> None:
    """An exception of ours must not reach the script as text or object."""
    ran = lua("local _, e = pcall(fs.space, '/') return {type(e), e.code, e.message}", {"fs.space": KeyError("secret")})
    assert ran.value == ["table", "internal", "the call failed inside the worker"]


def test_memory_is_bounded_with_a_clear_error() -> None:
    """Lua's own limit stands below the process limit, so that there is somebody left to report it."""
    assert lua("local t = {} while true do t[#t + 1] = ('x'):rep(1e6) .. #t end").error == "not enough memory"


def test_a_runtime_without_a_memory_limit_is_refused() -> None:
    """lupa reads 0 as no limit."""
    with pytest.raises(ArgumentError, match="memory limit"):
        lua_runtime.create(BINDINGS, RecordingChannel(), RuntimeLimits(0), randomness=SEED)


def test_random_numbers_follow_the_given_randomness() -> None:
    """Forks of one zygote would otherwise all draw the same numbers."""
    source = "return {math.random(1 << 30), math.random(1 << 30)}"
    first, same, other = (lua(source, randomness=seed).value for seed in (SEED, SEED, bytes(16)))
    assert first == same
    assert first != other


def test_seeding_without_arguments_works_and_tells_no_address() -> None:
    """The original mixes an address into the seed and returns it."""
    assert lua("return select('#', math.randomseed())").value == 0


def test_a_main_that_is_not_there_and_a_file_that_is_too_large() -> None:
    """Both are errors of the bundle, told as such."""
    runtime = lua_runtime.create(BINDINGS, RecordingChannel(), RuntimeLimits(MEMORY_BYTES), randomness=SEED)
    assert runtime.execute("x.lua", {}, {}).error_message == "the bundle has no file x.lua"
    huge = {"x.lua": b" " * (MAX_SOURCE_BYTES + 1)}
    assert "larger than" in (runtime.execute("x.lua", huge, {}).error_message or "")


def test_an_error_text_is_cut_and_always_unicode() -> None:
    """The text leaves the worker."""
    result = lua("error('\\xff' .. ('x'):rep(10000), 0)").result
    assert result.error_message is not None
    assert len(result.error_message.encode()) <= 4096
    assert result.error_message.startswith("\ufffdxxx")


def test_os_time_of_a_table_works() -> None:
    """It asks the C library for the time zone, which preload has read."""
    assert lua("return os.time({year = 2000, month = 1, day = 1}) > 900000000").value is True


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("local ok, e = pcall(fs.space, 0/0) return e", "path holds a number that is not finite"),
        (
            "local ok, e = pcall(fs.space, '/', {depth = math.huge, path = 'x'}) return e",
            "depth holds a number that is not finite",
        ),
        ("local ok, e = pcall(fs.space, '/', 0/0) return e", "an argument holds a number that is not finite"),
        ("local ok, e = pcall(fs.space, print) return e", "path holds a function"),
        (
            "local t = {} for i = 1, 20000 do t[i] = i end local ok, e = pcall(fs.space, t, t) return e",
            "an argument has more than",
        ),
    ],
)
def test_an_argument_that_cannot_cross_is_named(source: str, words: str) -> None:
    """By its parameter, where it is refused by itself; nothing is asked of the gate."""
    ran = lua(source)
    assert ran.value["code"] == "invalid_argument"
    assert ran.value.get("parameter", "an argument") == words.split(" h")[0]  # as those that the gate refuses
    assert words in repr(ran.value)
    assert ran.channel.calls == []
