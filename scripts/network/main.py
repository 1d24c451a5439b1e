UNITS = {
    "rx_bytes": "bytes", "tx_bytes": "bytes", "rx_packets": "packets", "tx_packets": "packets",
    "rx_dropped": "packets", "tx_dropped": "packets", "rx_errors": "errors", "tx_errors": "errors",
    "tx_carrier": "errors", "rx_frame": "frames", "rx_overruns": "overruns", "tx_overruns": "overruns",
    "tx_collisions": "collisions",
}


def main():
    target = param("target")
    try:
        counters = net.counters(target)
    except HostError as error:
        if error.code != "not_found":
            raise
        check.state("unavailable")
        check.status("there is no interface " + target)
        return
    for name, unit in UNITS.items():
        check.metric(name, "gauge", counters[name], unit)
    check.metric("link_state", "string", counters["link_state"])
    check.status(target + " is " + counters["link_state"])
