# title: have an allowed name stand for a shell
# reference: https://gtfobins.github.io/gtfobins/sh/, CWE-807
# real: denied: no rule
# weakened: the program is decided on
# proof: touched


def attack(worker):
    return worker.call("proc.command", "df", ["touch " + worker.touched])
