local memory = sys.memory()
for _, name in ipairs({
  "actual_used", "actual_free", "used", "free", "total",
  "swap_total", "swap_used", "swap_free", "swap_page_in", "swap_page_out",
}) do
  check.metric(name, "gauge", memory[name], "bytes")
end
check.metric("ram", "gauge", memory.total // (1024 * 1024), "megabytes")
check.status(string.format("%.0f %% in use", 100 * memory.actual_used / memory.total))
