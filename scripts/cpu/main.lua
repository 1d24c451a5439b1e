-- The kernel counts ticks since boot: a share needs two looks.
local before = sys.cpu()
time.sleep(param("sample"))
local after = sys.cpu()

local kinds = {"user", "nice", "sys", "idle", "wait", "irq", "soft_irq", "stolen"}
local shares = {user = 0, sys = 0, idle = 0, wait = 0, irq = 0, stolen = 0}
local least, most, count = 100, 0, 0

for index = 1, math.min(#before, #after) do
  local spent, total = {}, 0
  for _, kind in ipairs(kinds) do
    spent[kind] = math.max(0, after[index][kind] - before[index][kind])
    total = total + spent[kind]
  end
  if total == 0 then spent.idle, total = 1, 1 end -- nothing was counted in so short a time: it idled
  spent.user, spent.irq = spent.user + spent.nice, spent.irq + spent.soft_irq
  for kind in pairs(shares) do
    shares[kind] = shares[kind] + 100 * spent[kind] / total
  end
  local usage = 100 - 100 * (spent.idle + spent.wait) / total
  least, most, count = math.min(least, usage), math.max(most, usage), count + 1
end

local function average(kind) return shares[kind] / math.max(count, 1) end
local usage = 100 - average("idle") - average("wait")

check.metric("cpu_count", "uint64", count, "count")
check.metric("usage_average", "double", usage, "percent")
check.metric("min_cpu_usage", "double", least, "percent")
check.metric("max_cpu_usage", "double", most, "percent")
for _, kind in ipairs({"user", "sys", "idle", "wait", "irq", "stolen"}) do
  check.metric(kind .. "_percent_average", "double", average(kind), "percent")
end
check.status(string.format("usage %.1f %% of %d", usage, count))
