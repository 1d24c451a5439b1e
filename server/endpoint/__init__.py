"""Where agents connect: mutual proof, then one link each."""
