local device = param("device")
local found, disk = pcall(sys.disk_io, device)
if not found then
  if type(disk) ~= "table" or disk.code ~= "not_found" then error(disk) end
  check.state("unavailable")
  check.status("there is no block device " .. device)
  return
end

local units = {
  {"reads", "reads"}, {"writes", "writes"}, {"read_bytes", "bytes"}, {"write_bytes", "bytes"},
  {"rtime", "milliseconds"}, {"wtime", "milliseconds"}, {"qtime", "milliseconds"}, {"time", "milliseconds"},
}
for _, row in ipairs(units) do
  check.metric(row[1], "int64", disk[row[1]], row[2])
end
local requests = disk.reads + disk.writes
check.metric("service_time", "double", requests > 0 and disk.time / requests or 0, "milliseconds")
check.metric("queue", "double", disk.qtime / 1000, "seconds")
check.status(string.format("%d reads, %d writes", disk.reads, disk.writes))
