"""Bounds of the server; each says its unit and why it has its value."""

MAX_BODY_BYTES = 12 << 20  # of a request: a packed bundle of 8 MiB in base64, and its publication
MAX_CALL_BODY_BYTES = 5 << 20  # of a call in a session: MAX_CALL_BYTES, each of which JSON may write with six
MAX_SMALL_BODY_BYTES = 2 << 20  # of all others, an order of 512 KiB and parameters of 256 KiB included
MAX_LARGE_VALUES = 20_000  # commas of a body as large as a bundle: that has a dozen, and one of sealed secrets 500
MAX_HEAD_BYTES = 64 << 10  # of a request's line and headers; a cursor, a token and a long path have some KiB
HEAD_TIMEOUT_S = 20.0  # for a head to come, and that a connection may be open on which nothing is asked
MAX_PIPELINED = (
    64  # requests of one connection behind the one that is answered; each holds some KiB, and a piece of body
)
MAX_PAGE = 500  # items of one page
DEFAULT_PAGE = 50
MAX_WAIT_S = 60.0  # that a request may wait for a run; longer is asked again
MAX_TARGETS = 1_000  # agents of one run request
MAX_PARAMETERS_BYTES = 256 << 10  # of one run, encoded: it crosses the link in one frame with its order
MAX_CALL_BYTES = 768 << 10  # arguments of one call of a session, encoded: they cross the link in one frame
MAX_RESULT_TEXT = 2_000  # characters of a reason kept with a run
WITHDRAWALS_PART_BYTES = (
    256 << 10
)  # of withdrawals in one request; a frame of the link holds 1 MiB, one envelope 512 KiB
HANDSHAKE_TIMEOUT_S = 10.0  # from connection to proof; an honest agent needs two round trips
MAX_UNPROVED = 64  # connections that have not proved a key yet: strangers can hold no more of us, and the oldest goes
DUPLICATE_PING_S = 2.0  # an agent that is there answers in milliseconds
REQUEST_TIMEOUT_S = 30.0  # an agent answers run.start as soon as the run is planned
CALL_TIMEOUT_S = 120.0  # for one call of a session; longer ones stream
RELAY_BYTES = 512 << 10  # of a stream of a session, handed on at once
LAGGING_RECORD_BATCHES = 4  # frames of records taken in before the disk has the first of them
CHECKED_AT_ONCE = 64  # records of a batch whose end of a run is told ahead; 1 ms of the event loop
LATER_S = 0.05  # that a change nobody waits for may lie before it is written
MAX_WRITES_PER_GROUP = 256  # commands in one transaction
MAX_PENDING_WRITES = 10_000  # commands that wait for the writer
TAIL_PAGE = 200  # records read at once for a follower of the ledger
TAIL_HEARTBEAT_S = 15.0  # a comment on a silent stream, so that proxies and readers see it is alive
PROBE_EVERY_S = 1.0  # between two writes that only show that writing works
PROBE_TIMEOUT_S = 2.0  # for one durable write; a disk that takes longer serves nobody
GC_THRESHOLDS = (10_000, 20, 20)  # objects made, then rounds; a request makes some hundreds, few of them in circles
SHUTDOWN_S = 5.0  # for requests under way when the server is told to end
REFUSALS_RECORDED_PER_S = 5.0  # of callers without any proof; more are only counted, or strangers could fill the disk
IDEMPOTENCY_KEPT_S = 24 * 3600.0  # that the answer to an Idempotency-Key is remembered
FORGET_EVERY_S = 3600.0  # between two looks for answers that nobody will ask for again
CHECKPOINT_RECORDS = 1_000  # of the server's own ledger between two signed checkpoints; only ever raise it: verify asks
TREE_HEAD_EVERY_S = 600.0  # between two signed heads of the tree over all records, where records came
MAX_TIME_US = 253_402_300_799_999_999  # the last moment of the year 9999; datetime knows no later one
DEFAULT_INVITE_TTL_S = 3600.0
MAX_SECRETS_PER_AGENT = 64  # agent.limits.MAX_SECRETS: with the largest values, what fits into one frame of the link
MAX_SEALED_AT_ONCE = 500  # boxes in one request; with the largest values 6 MiB
MAX_INVITE_TTL_S = 30 * 86_400.0
DEFAULT_TOKEN_TTL_S = 90 * 86_400.0
MAX_TOKEN_TTL_S = 3650 * 86_400.0
MAX_BLOB_OFFERS = 8  # of one agent that are agreed and not over
MAX_TRANSFERS = 4  # streams of one agent with blobs on them at once; each holds a window
PARTIAL_KEPT_S = 86_400.0  # what arrived of a blob, for going on with it
