"""All bounds of the protocol in one place, each with its unit, its reason and where it comes from."""

from __future__ import annotations

# --- wires -----------------------------------------------------------------------------------------------------------
MAX_LINK_FRAME_BYTES = 1 << 20  # bytes; one WebSocket message between agent and server; holds any record batch we send
MAX_CHANNEL_FRAME_BYTES = 1 << 20  # bytes; one frame between worker and gate; larger results stream
MAX_DEPTH = 16  # levels; sandbox.md: "no nesting past 16"
MAX_ITEMS = 100_000  # values in one frame; chosen so that decoding the worst frame stays under 50 ms
MAX_STREAMS = 512  # open at once on one link; chosen without measurement
MAX_REQUESTS = 256  # unanswered at once on one link, each way; chosen without measurement
#: Of the frames of those; what is made of them in memory takes some eight times as much. A server tells a host what it
#: must know one request after the other; calls of people are small, as files go on streams.
MAX_REQUESTS_BYTES = 16 << 20
INITIAL_CREDIT_BYTES = 256 << 10  # bytes a peer may send on a new stream before it is granted more
MAX_CREDIT_BYTES = 16 << 20  # bytes of credit outstanding on one stream; bounds memory at the receiver
MAX_RUNS_ASKED = 500  # runs in one request whether they are known; 64 KiB with the longest ids
MAX_STREAM_DATA_BYTES = (
    128 << 10
)  # bytes in one data frame, so that no stream holds the link for long; 1 ms at 1 Gbit/s
MAX_CONTROL_FRAMES = 4_096  # waiting to be sent; a peer that keeps its bounds and reads never makes it 1,000
MAX_ERROR_TEXT_BYTES = 4 << 10  # bytes of an error's text on the wire

# --- terminals -------------------------------------------------------------------------------------------------------
INPUT_WINDOW_BYTES = 64 << 10  # typed and not taken by the program

# --- records ---------------------------------------------------------------------------------------------------------
MAX_RECORD_BYTES = 64 << 10  # bytes of one encoded record
MAX_RECORD_BATCH = 1_000  # records in one frame
MAX_RECORD_BATCH_BYTES = 512 << 10  # bytes of records in one frame: half a frame, so that a batch always fits
MAX_RECORD_ARGUMENT_BYTES = 1 << 10  # bytes of one argument kept in clear; the rest is told by its digest
MAX_SEQUENCE = (1 << 53) - 1  # exact in JSON readers that know only doubles

# --- documents and bundles -------------------------------------------------------------------------------------------
MAX_DOCUMENT_BYTES = 1 << 20  # bytes of a YAML or JSON document
MAX_DOCUMENT_DEPTH = 24  # levels of a YAML or JSON document
MAX_MANIFEST_BYTES = 64 << 10  # bytes of manifest.yaml
MAX_BUNDLE_BYTES = 4 << 20  # bytes of all files of a bundle together
MAX_BUNDLE_FILES = 256  # files of a bundle
MAX_PATH_BYTES = 4096  # bytes of a path; PATH_MAX of Linux, limits.h
MAX_TEXT_CHARACTERS = 4_096  # of a text parameter, chosen without measurement
MAX_PATTERN_TEXT_CHARACTERS = 256  # of a text held against a pattern; with three repeats 3 million steps
MAX_PATTERN_REPEATS = 3  # in a pattern, so that matching stays polynomial of a small degree
MAX_PARAMETER_ITEMS = (
    1_000  # of an array parameter, chosen without measurement; all parameters together are bounded by bytes
)
MAX_TAGS = 16  # tags, and links, of one script; people read them
MAX_NAME_CHARACTERS = 200  # of a script's full name, chosen without measurement

# --- blobs -----------------------------------------------------------------------------------------------------------
MAX_BLOB_BYTES = 1 << 40  # bytes of one blob that can be said at all; servers and agents take far less
MAX_BLOB_NAME_CHARACTERS = 255  # of what people call a blob; NAME_MAX of Linux, limits.h

# --- trust -----------------------------------------------------------------------------------------------------------
MAX_ENVELOPE_BYTES = 512 << 10  # bytes of a signed envelope as JSON; a roster of 1,000 keys is about 200 KiB
MAX_SIGNATURES = 64  # on one envelope
MAX_APPROVALS = 64  # for one digest
MAX_REVIEWERS = 16  # different people that one tier may need; chosen without measurement
MAX_CLOCK_SKEW_S = 300.0  # seconds a statement may lie in the future; the usual tolerance of Kerberos (RFC 4120)

# --- schedules -------------------------------------------------------------------------------------------------------
MAX_CRON_CHARACTERS = 256  # of a cron line; the longest sensible one has under 100
MAX_ZONE_CHARACTERS = 64  # of a time zone's name; the longest of the IANA data has 32
MAX_TARGET_CHARACTERS = 1_000  # of a target expression, chosen without measurement
MIN_EVERY_S = 1.0  # seconds; more often is a daemon's work
MAX_EVERY_S = 366 * 86400.0  # seconds
MAX_SPLAY_S = 86400.0  # seconds; spreading over more than a day is another schedule
MIN_TIMEOUT_S = 0.001  # seconds
MAX_TIMEOUT_S = 86400.0  # seconds; checks.md: the longest period is one day
MAX_FIRES = 1_000  # fire times computed by one call

# --- beginning a link ------------------------------------------------------------------------------------------------
MAX_HANDSHAKE_BYTES = 8 << 10  # bytes of one frame before the peer has proved anything; the largest has under 5 KiB
MAX_HOSTNAME_CHARACTERS = 253  # RFC 1035 section 2.3.4
MAX_LABELS = 64  # of one agent, chosen without measurement
