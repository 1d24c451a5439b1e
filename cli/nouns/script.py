"""``outrider script``: write, check and run scripts here; publish, list, show and withdraw them."""

from __future__ import annotations

from cli.lazy import LazyGroup

VERBS: dict[str, tuple[str, str]] = {
    "new": ("cli.nouns.script_new", "Start a script: a folder with a manifest, a main file and a test."),
    "run": ("cli.nouns.script_run", "Run a script on this machine in the real sandbox, no server."),
    "trace": ("cli.nouns.script_trace", "Run a script here and say the narrowest needs that let it through."),
    "check": ("cli.nouns.script_check", "Manifest, syntax, calls, inferred tier, and the manifest's tests."),
    "publish": ("cli.nouns.script_publish", "Sign a script and hand it to the server for review."),
    "sign": ("cli.nouns.script_sign", "Sign a script into its folder, for a git push to its review."),
    "withdraw": ("cli.nouns.script_withdraw", "Let a published version run nowhere any more."),
    "ls": ("cli.nouns.script_ls", "List published scripts."),
    "search": ("cli.nouns.script_search", "Find scripts by words in name, description and tags."),
    "browse": ("cli.nouns.script_browse", "Look through the folders of published scripts."),
    "show": ("cli.nouns.script_show", "Show a published script: versions, files, approvals."),
    "transfer": ("cli.nouns.script_transfer", "Hand a script over to other owners."),
    "deprecate": ("cli.nouns.script_deprecate", "Tell people not to use a script any more, and what instead."),
    "log": ("cli.nouns.script_log", "The versions of a script: who, when, what changed, who approved."),
    "diff": ("cli.nouns.script_diff", "What one version may do that another may not, and their code."),
}

noun = LazyGroup("script", nouns=VERBS, help="Scripts: write, check and run here; publish, list, show, withdraw.")
