"""All bounds of the agent, each with its unit, its reason and where the number comes from.

A bound without a source was chosen without measurement, and says so.
"""

from __future__ import annotations

from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * KIB

# --- spool -----------------------------------------------------------------------------------------------------------
MAX_PENDING_WRITES: Final = 65_536  # writes not yet on disk; several seconds of the fastest script. Not measured.
MAX_PENDING_BYTES: Final = 32 * MIB  # of record bytes not yet on disk, so that a dead disk does not fill the memory
MAX_GROUP_WRITES: Final = 4096  # in one commit; bounds how long the first of them waits for the last. Not measured.
GATHER_S: Final = 0.01  # that a record nobody waits for may lie before it is written; a commit takes about 1 ms
SPOOL_RETRY_S: Final = 1.0  # between two attempts to write after the disk refused. Not measured.
DEFAULT_SPOOL_MAX_BYTES: Final = 1024 * MIB  # a month of six checks a minute is some 300 MiB; never fill a host's disk
DEFAULT_KEEP_ACKNOWLEDGED_DAYS: Final = 7  # so that a host can still show what it did last week when its server is gone
TRIM_CHUNK_RECORDS: Final = 5000  # deleted in one transaction, so that trimming never holds up an intent for long
HOUSEKEEPING_S: Final = 60.0  # between two rounds of giving up what is old; a chunk a round is 83 records a second
VERIFY_AT_START_RECORDS: Final = 1000  # newest records whose chain is checked at start; 5 ms
VERIFY_AT_START_MOST_RECORDS: Final = 200_000  # that the server does not have; 0.7 s, a week of six checks a minute
MARK_KEEP_DAYS: Final = 31  # how long a decided fire time is remembered; a clock stepped back further may repeat one
STEADY_S: Final = 3600.0  # that the wall clock went on without a step before anything is forgotten by it. Not measured.
MAX_STEADY_STEP_S: Final = 60.0  # between two looks at it; time servers correct by less
RUN_KEEP_DAYS: Final = 7  # how long the id of an ended run is remembered, so that a repeated request starts nothing

# --- link ------------------------------------------------------------------------------------------------------------
BATCH_RECORDS: Final = 256  # in one frame of records. Not measured.
BATCH_BYTES: Final = 512 * KIB  # of records in one frame; half of the link's frame, so there is always room around it
SHIP_GATHER_S: Final = 0.03  # that a durable record nobody at the server waits for may lie; a short run takes 10 ms
IN_FLIGHT_RECORDS: Final = 4096  # sent and not acknowledged; bounds what is sent again after a lost connection
CONNECT_TIMEOUT_S: Final = 15.0  # TCP, TLS and WebSocket opening together
HANDSHAKE_TIMEOUT_S: Final = 10.0  # the four messages of the mutual proof
PING_INTERVAL_S: Final = 30.0  # under the 60 s after which common proxies and NATs forget a connection
PING_TIMEOUT_S: Final = 20.0  # without a pong, the connection is given up
STABLE_LINK_S: Final = 5.0  # a connection that lived this long resets the back-off
BACKOFF_BASE_S: Final = 1.0  # a thousand agents returning at once are spread over at least this. Not measured.
BACKOFF_CAP_S: Final = 30.0  # the longest a host stays away from a server that is back. Not measured.
MAX_CLOCK_SKEW_S: Final = 300.0  # more difference to the server's clock than this is reported

# --- memory ----------------------------------------------------------------------------------------------------------
GC_THRESHOLDS: Final = (10_000, 20, 20)  # objects made, then rounds; a run makes some thousands, few of them in circles

# --- threads of calls ------------------------------------------------------------------------------------------------
# Of kernel.visits.MAX_THREADS, 64: four who visit what never answers leave the others some. Not measured.
MAX_RUN_VISITS: Final = 8  # of one run at once; one call, and streams that are read ahead or closed
MAX_SCRIPT_VISITS: Final = 16  # of all runs of one script, those that are over included
MAX_SESSION_VISITS: Final = 16  # of one session, whose transfers go on side by side
MAX_PERSON_VISITS: Final = 24  # of all sessions of one person

# --- bundles ---------------------------------------------------------------------------------------------------------
SANDBOX_START_TIMEOUT_S: Final = 30.0  # for a cold start from a slow disk; 0.3 s when warm
MAX_SANDBOX_START_TIMEOUT_S: Final = 600.0  # runs wait so long before they are told that there is no sandbox
FETCH_TIMEOUT_S: Final = 30.0  # for the largest bundle (4 MiB) on a 1.2 Mbit/s line
CACHED_BUNDLES_IN_MEMORY: Final = 16  # parsed; the six bundled checks and some more
CACHE_MAX_BUNDLES: Final = 512  # on disk; the least recently used go first. Not measured.
DEFAULT_CACHE_MAX_BYTES: Final = 256 * MIB  # of them on disk; thousands of scripts of 20 KiB, or sixty of the largest
MAX_APPROVALS: Final = 64  # of one bundle. Not measured.
MAX_STATEMENTS_BYTES: Final = 256 * KIB  # publication and approvals of one bundle, as kept on disk

# --- secrets ---------------------------------------------------------------------------------------------------------
MAX_SECRETS: Final = 64  # on one host: with the largest values, what fits into one frame of the link
MAX_SECRET_NAMES: Final = 1000  # whose versions are remembered, so that none comes back. Not measured.

# --- blobs -----------------------------------------------------------------------------------------------------------
DEFAULT_BLOBS_MAX_BYTES: Final = 1024 * MIB  # being made, waiting for the server, or just brought; never fill a disk
MAX_QUEUED_BLOBS: Final = 1000  # waiting for the server. Not measured.
BLOBS_AT_ONCE: Final = 2  # sent; the server takes 4 of one host, and what is fetched needs a place too
RESUME_WAIT_S: Final = 30.0  # for the link to come back before a fetch gives up; a few attempts at the first pace
STREAM_STALL_S: Final = 60.0  # without any sign on a stream before it is given up; pings notice a dead link earlier

# --- runs ------------------------------------------------------------------------------------------------------------
MAX_CONCURRENT_RUNS: Final = 8  # workers at the same time; each may hold 64 MiB. Not measured.
#: Of the whole agent. 8 runs at tier admin hold up to 1,000 each, 64 sessions at inspect up to 100.
MAX_DESCRIPTORS: Final = 65_536
MAX_WAITING_RUNS: Final = 256  # accepted and waiting for a place; more are refused as busy
MAX_SPENT_IN_MEMORY: Final = 1000  # nonces of orders, before those that the disk knows are let go. Not measured.
MAX_OLD_NONCES: Final = 20_000  # of orders, kept however old the clock says they are; 1 MB on disk
STOP_GRACE_S: Final = 5.0  # given to runs at an orderly stop before they are killed
SHIP_AT_STOP_S: Final = 2.0  # given to the last records to reach the server at an orderly stop
CHECKPOINT_RECORDS: Final = 1000  # records between two signed checkpoints

# --- schedules -------------------------------------------------------------------------------------------------------
MAX_SCHEDULES: Final = 1000  # on one host. Not measured.
ON_TIME_S: Final = 2.0  # a fire time seen this late is on time whatever else is due
NEWEST_ON_TIME_S: Final = (
    60.0  # the newest due fire time is on time up to here: a stalled or busy host, not an absent one
)
MAX_QUEUED_FIRES: Final = 16  # waiting behind a run of the same schedule (overlap: queue); later ones are skipped
MAX_FIRES_PER_PLAN: Final = 512  # decided at once; the rest follows in the next round
CATCH_UP_HORIZON_S: Final = 31 * 86400.0  # nothing older than this is caught up
LONGEST_NAP_S: Final = 10.0  # the scheduler looks at the clock at least this often, so that a stepped clock is noticed
