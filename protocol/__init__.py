"""What agent, server and CLI say to each other, and how they prove it: pure rules, no input or output.

Nothing here opens a file or a socket, reads a clock or draws randomness on its own; time and randomness are passed in.
"""
