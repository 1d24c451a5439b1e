local load = sys.loadavg()
for _, name in ipairs({"1m", "5m", "15m"}) do
  check.metric(name, "double", load[name])
end
check.status(string.format("load %.2f %.2f %.2f", load["1m"], load["5m"], load["15m"]))
