"""How the agent starts other programs: never by a fork of its own, and never without somebody who ends the whole tree.

The agent starts one **spawner**, a fresh small process, and asks it for **minders**. A minder runs one command at a
time: it forks the child, which limits itself and becomes the program; it is the nearest reaper of everything below it,
so also what the program made a daemon of stays in its hands; and it ends all of it when the program ends, when it is
told to, or when the agent is gone. ``start.Processes`` is the agent's side, and the only thing that others use.
"""
