"""Media types by the first bytes of files: few, well known, and told apart without a library that parses them."""

from __future__ import annotations

HEAD_BYTES = 4096  # looked at
UNKNOWN = "application/octet-stream"
TEXT = "text/plain"
EMPTY = "application/x-empty"

#: Offset, bytes, media type; the first that fits counts. From the formats' own descriptions.
_KNOWN: tuple[tuple[int, bytes, str], ...] = (
    (0, b"\x7fELF", "application/x-elf"),
    (0, b"\x89PNG\r\n\x1a\n", "image/png"),
    (0, b"\xff\xd8\xff", "image/jpeg"),
    (0, b"GIF87a", "image/gif"),
    (0, b"GIF89a", "image/gif"),
    (8, b"WEBP", "image/webp"),
    (0, b"%PDF-", "application/pdf"),
    (0, b"PK\x03\x04", "application/zip"),
    (0, b"PK\x05\x06", "application/zip"),
    (0, b"\x1f\x8b", "application/gzip"),
    (4, b"1AY&SY", "application/x-bzip2"),
    (0, b"\xfd7zXZ\x00", "application/x-xz"),
    (0, b"\x28\xb5\x2f\xfd", "application/zstd"),
    (0, b"7z\xbc\xaf\x27\x1c", "application/x-7z-compressed"),
    (0, b"\x04\x22\x4d\x18", "application/x-lz4"),
    (257, b"ustar", "application/x-tar"),
    (0, b"!<arch>\ndebian-binary", "application/vnd.debian.binary-package"),
    (0, b"!<arch>\n", "application/x-archive"),
    (0, b"\xed\xab\xee\xdb", "application/x-rpm"),
    (0, b"SQLite format 3\x00", "application/vnd.sqlite3"),
    (0, b"\xca\xfe\xba\xbe", "application/java-vm"),
    (0, b"\x00asm", "application/wasm"),
    (0, b"\xcf\xfa\xed\xfe", "application/x-mach-binary"),
    (0, b"MZ", "application/vnd.microsoft.portable-executable"),
    (0, b"\x30\x37\x30\x37\x30\x31", "application/x-cpio"),
    (0, b"OggS", "application/ogg"),
    (0, b"fLaC", "audio/flac"),
    (0, b"ID3", "audio/mpeg"),
    (4, b"ftyp", "video/mp4"),
    (0, b"\x1a\x45\xdf\xa3", "video/x-matroska"),
    (0, b"\x0a\x0d\x0d\x0a", "application/x-pcapng"),
    (0, b"\xd4\xc3\xb2\xa1", "application/vnd.tcpdump.pcap"),
    (0, b"LPKSHHRH", "application/x-systemd-journal"),
    (0, b"-----BEGIN ", "application/x-pem-file"),
    (0, b"#!", "text/x-shellscript"),
    (0, b"<?xml", "application/xml"),
    (0, b"{\\rtf", "application/rtf"),
    (0, b"\xfe\xff", "text/plain"),
    (0, b"\xff\xfe", "text/plain"),
)


def mime_of(head: bytes) -> str:
    """Return the media type of what begins with ``head``, its first ``HEAD_BYTES`` or all of it."""
    if not head:
        return EMPTY
    looks_binary = is_binary(head)
    for offset, mark, media in _KNOWN:
        if head.startswith(mark, offset) and (looks_binary or not mark.isalnum()):  # a text may begin with MZ
            return media
    return UNKNOWN if looks_binary else TEXT


def is_binary(head: bytes) -> bool:
    """Tell whether bytes look like no text: they hold a NUL, or mostly what is neither printed nor UTF-8."""
    if b"\0" in head:
        return True
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start >= len(head) - 3 and error.reason == "unexpected end of data":  # cut within a character
            text = head[: error.start].decode("utf-8")
        else:
            text = head.decode("latin-1")
    odd = sum(1 for character in text if character < " " and character not in "\t\n\r\f\b\x1b")
    return odd * 10 > len(text)
