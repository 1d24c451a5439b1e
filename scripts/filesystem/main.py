def main():
    target = param("target")
    mounted = [mount for mount in fs.mounts() if mount["dir"] == target]
    if not mounted:
        check.state("unavailable")
        check.status("nothing is mounted on " + target)
        return
    space = fs.space(target)
    for name in ["total", "free", "used", "avail"]:
        check.metric(name, "int64", space[name] // 1024, "kilobytes")
    check.metric("files", "int64", space["files"], "files")
    check.metric("free_files", "int64", space["free_files"], "free_files")
    check.metric("options", "string", mounted[-1]["options"])
    used = 100 * space["used"] // max(space["total"], 1)
    check.status(target + " " + str(used) + " % used")
