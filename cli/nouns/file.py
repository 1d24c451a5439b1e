"""``outrider file``: the files of a host: look, read, copy, edit, undo."""

from __future__ import annotations

from cli.lazy import LazyGroup

VERBS: dict[str, tuple[str, str]] = {
    "ls": ("cli.nouns.file_ls", "List a directory."),
    "stat": ("cli.nouns.file_stat", "What stands about a file."),
    "cat": ("cli.nouns.file_cat", "Write a file, or a part of it, to standard output."),
    "get": ("cli.nouns.file_get", "Copy a file from a host."),
    "put": ("cli.nouns.file_put", "Copy a file to a host."),
    "cp": ("cli.nouns.file_cp", "Copy files and folders from or to a host."),
    "archive": ("cli.nouns.file_archive", "Get files and folders of a host as one archive."),
    "extract": ("cli.nouns.file_extract", "Unpack an archive into a new folder of a host."),
    "edit": ("cli.nouns.file_edit", "Edit a file in your editor; the save shows its diff and can be undone."),
    "diff": ("cli.nouns.file_diff", "Compare a file of a host with one here, or two of hosts."),
    "undo": ("cli.nouns.file_undo", "Take a change of a file back."),
    "rm": ("cli.nouns.file_rm", "Remove files; folders with -r."),
    "mv": ("cli.nouns.file_mv", "Move or rename on one host."),
    "mkdir": ("cli.nouns.file_mkdir", "Make directories."),
    "chmod": ("cli.nouns.file_chmod", "Set permission bits."),
}

noun = LazyGroup("file", nouns=VERBS, help="Files of a host: look, read, copy, edit, undo.")
