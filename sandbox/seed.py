"""What is started to become a zygote: it lays out its memory, and only then loads what a zygote is made of."""

from __future__ import annotations

from sandbox import heap

if __name__ == "__main__":
    heap.join_arenas()

    from sandbox import zygote  # only now: what it loads is what should lie together

    zygote.main()
