-- Builds the world that a script sees. Runs once per worker, before the script, with the full libraries at hand.
-- For Lua 5.4 and for LuaJIT 2.1, which is Lua 5.1 with some of 5.2; what one of them lacks is nil here.
--
-- The rules it keeps:
--   * No object of the host language reaches a script. The two host functions stay in local variables here; what they
--     return are strings, numbers, booleans or fresh tables; an error inside the bridge is replaced before it spreads.
--   * While the bridge works, the memory limit is lifted: an allocation of Lua that fails in there would jump out over the
--     frames of the host's interpreter and leave them broken. What crosses is bounded by the host.
--   * The script's environment is a list of what is there (SURFACE in the tests), never of what is taken away. Libraries are
--     copied, so a script that changes them changes only its own copy; everything below uses locals and no methods.
--   * Nothing shows an address: tostring, string.format and math.randomseed are ours.
--   * No finaliser: setmetatable refuses __gc. No bytecode: load takes text only and drains its reader here.
--   * At the end the real globals, package.loaded and package.preload are empty.

local host_call, host_pull, host_release, host_print, host_limit, bindings = ...
local limit -- of memory while the script runs, in bytes; of the run

local type, next, rawget, rawset, select, error, pcall, xpcall = type, next, rawget, rawset, select, error, pcall, xpcall
local raw_load, raw_tostring, raw_getmetatable, raw_setmetatable = load, tostring, getmetatable, setmetatable
local raw_collectgarbage, raw_format, raw_randomseed = collectgarbage, string.format, math.randomseed
local byte, find, sub, concat = string.byte, string.find, string.sub, table.concat
local pack = table.pack or function(...) return { n = select("#", ...), ... } end
local unpack = table.unpack or unpack
local getinfo, any_metatable = debug.getinfo, debug.getmetatable

-- No compiler: it would need memory that is both writable and executable, which the walls refuse.
local is_jit = jit ~= nil
if is_jit then
  jit.off()
  jit.flush()
end

local MAX_TEXT = 4096 -- bytes of an error text that leaves this file
local MAX_ARGUMENTS = 32 -- of one call; no call declares as many
local MAX_ENDINGS = 1000 -- functions for the end of the program
local MAX_PRINT = 1024 * 1024 -- bytes of one print; the host counts the total

-- Errors of calls -----------------------------------------------------------------------------------------------------

local origin = raw_setmetatable({}, { __mode = "k" }) -- error object -> {code, message, where}; a script cannot forge one

-- The nearest line of the script's own files, as "main.lua:4". Their chunks are the only ones whose source starts with @.
-- Bounded, because each step walks the stack from its top and a script can make it 200,000 frames deep.
local function place(first)
  for level = first, first + 64 do
    local info = getinfo(level, "Sl")
    if info == nil then return nil end
    if byte(info.source, 1) == 64 and info.currentline > 0 then
      return sub(info.source, 2) .. ":" .. info.currentline
    end
  end
  return nil
end

local text -- own tostring, below

local error_meta = {
  __metatable = "locked",
  __tostring = function(object)
    return text(rawget(object, "code")) .. ": " .. text(rawget(object, "message"))
  end,
  __concat = function(left, right)
    return text(left) .. text(right)
  end,
}

-- What it is about, where it is about one: a parameter, a path on the host, a target in the network.
local function failure(code, message, parameter, path, target)
  local object = raw_setmetatable(
    { code = code, message = message, parameter = parameter, path = path, target = target }, error_meta
  )
  origin[object] = { code, message, place(3) }
  return object
end

-- Calls ---------------------------------------------------------------------------------------------------------------

-- `passed` is false only when the bridge itself failed (memory): its error is a live host object and goes no further.
local function settle(passed, done, value, message, ...) -- a failure: false, code, message, parameter, path, target
  host_limit(limit)
  if not passed then
    error(failure("internal", "the call could not be carried out (out of memory?)"), 0)
  end
  if not done then
    error(failure(value, message, ...), 0)
  end
  return value, message, ...
end

-- Fails while the limit still holds if the stack is almost full: an overflow after host_limit(0) would leave the
-- memory unlimited for the rest of the run. It asks for more room than everything up to host_limit(limit) needs.
local function headroom()
  local
    a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15,
    a16, a17, a18, a19, a20, a21, a22, a23, a24, a25, a26, a27, a28, a29, a30, a31,
    a32, a33, a34, a35, a36, a37, a38, a39, a40, a41, a42, a43, a44, a45, a46, a47,
    a48, a49, a50, a51, a52, a53, a54, a55, a56, a57, a58, a59, a60, a61, a62, a63,
    a64, a65, a66, a67, a68, a69, a70, a71, a72, a73, a74, a75, a76, a77, a78, a79,
    a80, a81, a82, a83, a84, a85, a86, a87, a88, a89, a90, a91, a92, a93, a94, a95,
    a96, a97, a98, a99, a100, a101, a102, a103, a104, a105, a106, a107, a108, a109, a110, a111,
    a112, a113, a114, a115, a116, a117, a118, a119, a120, a121, a122, a123, a124, a125, a126, a127
  return true
end

-- Handles -------------------------------------------------------------------------------------------------------------

-- What the gate holds for this run: a table with the number that stands for it, which is how it crosses as an argument.
-- All else about it is kept here: a script that writes a number of its own choice reaches only what its own run holds.
local held = raw_setmetatable({}, { __mode = "k" })
local families = {} -- prefix -> member -> function; those of a handle's kind are its methods

local function release(object)
  local about = held[object]
  if about == nil then return end
  about.items, about.blocks = nil, nil -- what came already and was not read is gone as well
  about.position, about.count, about.block, about.blocks_count = 1, 0, 1, 0
  if about.is_over then return end
  about.is_over = true
  headroom()
  host_limit(0)
  local passed = pcall(host_release, about.number)
  host_limit(limit)
  if not passed then
    error(failure("internal", "the handle could not be released (out of memory?)"), 0)
  end
end

-- Rows that came column by column (protocol.columns, which has the kinds): { count, { { key, kind, value, more }, ... } }.
-- A row is made with all its keys at once, by a function that is compiled once for them: growing it key by key takes twice
-- as long. The keys are the gate's, not a script's.
local makers = {}

local function maker(columns)
  local fields = {}
  for index = 1, #columns do fields[index] = raw_format("[%q]=false", columns[index][1]) end
  local source = "return {" .. concat(fields, ",") .. "}"
  if makers[source] == nil then makers[source] = raw_load(source, "=rows", "t", {}) end
  return makers[source]
end

local fillers = {
  [0] = function(rows, key, value)
    for index = 1, #rows do rows[index][key] = value end
  end,
  function(rows, key, value)
    local start = 1
    for index = 1, #rows do
      local stop = find(value, "\0", start, true) or #value + 1
      rows[index][key] = sub(value, start, stop - 1)
      start = stop + 1
    end
  end,
  function(rows, key, value, more)
    local other, before = more[1], more[2]
    for index = 1, #rows do
      local row = rows[index]
      row[key] = before[byte(value, index) + 1] .. row[other]
    end
  end,
  function(rows, key, value, more)
    for index = 1, #rows do rows[index][key] = more[byte(value, index) + 1] end
  end,
  function(rows, key, value)
    for index = 1, #rows do rows[index][key] = value[index] end
  end,
}
fillers[5] = fillers[4]

local function rows_of(block)
  local rows, columns = {}, block[2]
  local make = maker(columns)
  for index = 1, block[1] do rows[index] = make() end
  for index = 1, #columns do
    local column = columns[index]
    fillers[column[2]](rows, column[1], column[3], column[4])
  end
  return rows
end

local function take(about)
  headroom()
  host_limit(0)
  about.is_over = true -- if it fails, the gate has let it go
  local items, count, is_end, summary, are_blocks = settle(pcall(host_pull, about.number))
  about.is_over, about.summary = is_end, summary
  if are_blocks then
    about.blocks, about.block, about.blocks_count = items, 1, count
  else
    about.items, about.position, about.count = items, 1, count
  end
end

local function next_block(about)
  local block = about.blocks[about.block]
  about.blocks[about.block], about.block = nil, about.block + 1
  about.items, about.position, about.count = rows_of(block), 1, block[1]
end

local function advance(object)
  local about = held[object]
  if about == nil or about.kind ~= "stream" then error("attempt to iterate a handle that is no stream", 2) end
  while about.position > about.count do
    if about.block <= about.blocks_count then
      next_block(about)
    elseif about.is_over then
      return nil
    else
      take(about)
    end
  end
  local position = about.position
  local item = about.items[position]
  about.items[position], about.position = nil, position + 1
  return item
end

local stream_methods = {
  summary = function(object)
    local about = held[object]
    return about and about.summary
  end,
}

local handle_meta = {
  __metatable = "locked",
  __tostring = function(object) return held[object].kind end,
  __newindex = function() error("a handle cannot be changed", 2) end,
  __call = advance,
  __close = release,
  __index = function(object, name)
    local about = held[object]
    if about == nil then return nil end
    if name == "close" then return release end
    if about.kind == "stream" then return stream_methods[name] end
    local field = about.fields[name]
    if field ~= nil then return field end
    local methods = families[about.kind]
    return methods and methods[name]
  end,
}

local function handle(number, kind, fields)
  local object = raw_setmetatable({ ["$handle"] = number }, handle_meta)
  held[object] = {
    number = number, kind = kind, fields = fields, is_over = false, position = 1, count = 0, block = 1, blocks_count = 0,
  }
  return object
end

local function bind(name)
  return function(...)
    if select("#", ...) > MAX_ARGUMENTS then -- they are copied on the stack, which could overflow behind the headroom
      error(failure("invalid_argument", "a call takes at most " .. MAX_ARGUMENTS .. " arguments"), 0)
    end
    headroom()
    host_limit(0)
    local value, number, kind, fields = settle(pcall(host_call, name, ...))
    if number == nil then return value end
    local object = handle(number, kind, fields)
    if kind == "stream" then return object, nil, nil, object end -- the last one is closed by a `for` that is left early
    return object
  end
end

-- A family is an empty proxy: nothing can be seen with next, nothing can be replaced. A name that is not declared still
-- gives a function, so that calling it is refused by the gate and stands on the record like every other call.
local function family(prefix, members)
  local unknown = {}
  return raw_setmetatable({}, {
    __metatable = "locked",
    __name = prefix,
    __tostring = function() return prefix end,
    __newindex = function() error(prefix .. " cannot be changed", 2) end,
    __index = function(_, name)
      local member = members[name]
      if member ~= nil then return member end
      if type(name) ~= "string" or #name > 64 or not find(name, "^%l[%w_]*$") then return nil end
      member = unknown[name]
      if member == nil then
        member = bind(prefix .. "." .. name)
        unknown[name] = member
      end
      return member
    end,
  })
end

-- Base functions ------------------------------------------------------------------------------------------------------

text = function(value)
  local kind = type(value)
  if kind == "string" then return value end
  if kind == "number" or kind == "boolean" or kind == "nil" then return raw_tostring(value) end
  local meta = any_metatable(value)
  local method = meta and rawget(meta, "__tostring")
  if method == nil then return kind end -- and not its address
  local result = method(value)
  if type(result) ~= "string" then error("'__tostring' must return a string", 0) end
  return result
end

local function own_tostring(...)
  if select("#", ...) == 0 then error("bad argument #1 to 'tostring' (value expected)", 2) end
  return (text((...)))
end

local function own_print(...)
  local parts = {}
  for index = 1, select("#", ...) do
    parts[index] = text((select(index, ...)))
  end
  local line = sub(concat(parts, "\t"), 1, MAX_PRINT) .. "\n"
  headroom()
  host_limit(0)
  local passed = pcall(host_print, line)
  host_limit(limit)
  if not passed then
    error(failure("internal", "the output could not be sent (out of memory?)"), 0)
  end
end

local function own_getmetatable(object)
  if type(object) ~= "table" then return nil end
  return (raw_getmetatable(object))
end

local function own_setmetatable(object, meta)
  if type(object) ~= "table" then
    error("bad argument #1 to 'setmetatable' (table expected, got " .. type(object) .. ")", 2)
  end
  if meta ~= nil and type(meta) ~= "table" then
    error("bad argument #2 to 'setmetatable' (nil or table expected)", 2)
  end
  if meta and rawget(meta, "__gc") ~= nil then error("finalisers (__gc) are not available", 2) end
  local before = any_metatable(object)
  if before and rawget(before, "__metatable") ~= nil then error("cannot change a protected metatable", 2) end
  return raw_setmetatable(object, meta)
end

local function drain(reader)
  local parts, count = {}, 0
  while true do
    local piece = reader()
    if piece == nil or piece == "" then return concat(parts) end
    if type(piece) ~= "string" then error("reader function must return a string", 3) end
    count = count + 1
    parts[count] = piece
  end
end

local function own_collectgarbage(option)
  if option == nil or option == "collect" then return raw_collectgarbage("collect") end
  if option == "count" then return raw_collectgarbage("count") end
  error("collectgarbage: only \"count\" and \"collect\" are available", 2)
end

-- LuaJIT does not recover from an allocation that failed: the state stays full. So that error passes every protected call.
local OUT_OF_MEMORY = "not enough memory"

local function passed_on(done, ...)
  if not done and (...) == OUT_OF_MEMORY then error(OUT_OF_MEMORY, 0) end
  return done, ...
end

local function protecting(original)
  if not is_jit then return original end
  return function(...) return passed_on(original(...)) end
end

-- Strings -------------------------------------------------------------------------------------------------------------

-- string.format shows addresses for %p of anything and for %s of what has no __tostring.
local function prepare_format(format, values)
  local position, index = 1, 0
  while true do
    local _, stop, conversion = find(format, "%%[%-+ #0-9.]*(.?)", position)
    if stop == nil then return end
    position = stop + 1
    if conversion ~= "%" then
      index = index + 1
      if conversion == "p" then error("string.format: %p is not available", 3) end
      if conversion == "s" and index <= values.n then values[index] = text(values[index]) end
    end
  end
end

local function own_format(format, ...)
  if type(format) == "number" then format = raw_tostring(format) end
  if type(format) == "string" then
    local values = pack(...)
    prepare_format(format, values)
    return raw_format(format, unpack(values, 1, values.n))
  end
  error("bad argument #1 to 'format' (string expected, got " .. type(format) .. ")", 2)
end

-- Without arguments the original mixes an address into the seed and returns it.
local seed_a, seed_b -- random, of this run alone; set before its program is compiled
local seeds = 0
local function own_randomseed(...)
  if select("#", ...) == 0 then
    seeds = seeds + 1
    raw_randomseed(seed_a + seeds, seed_b)
  else
    raw_randomseed(...)
  end
end

-- The environment -----------------------------------------------------------------------------------------------------

local environment = {
  assert = assert, error = error, ipairs = ipairs, next = next, pairs = pairs, select = select, type = type,
  pcall = protecting(pcall), xpcall = protecting(xpcall), tonumber = tonumber,
  rawequal = rawequal, rawget = rawget, rawlen = rawlen, rawset = rawset,
  tostring = own_tostring, print = own_print, getmetatable = own_getmetatable, setmetatable = own_setmetatable,
  collectgarbage = own_collectgarbage, _VERSION = _VERSION,
}
environment._G = environment

local endings = {} -- functions for the end of the program, last come, first called
environment.atexit = function(ending)
  if type(ending) ~= "function" then
    error("bad argument #1 to 'atexit' (function expected, got " .. type(ending) .. ")", 2)
  end
  if #endings >= MAX_ENDINGS then error("atexit: at most " .. MAX_ENDINGS .. " functions", 2) end
  endings[#endings + 1] = ending
end

-- What every flavour has, then what only Lua 5.4 has, then what only LuaJIT has.
local function copy(library, common, only_lua, only_jit)
  local result = {}
  local function take(names)
    for index = 1, #names do
      local value = library[names[index]]
      if value == nil then error("this Lua lacks " .. names[index], 0) end
      result[names[index]] = value
    end
  end
  take(common)
  take(is_jit and only_jit or only_lua)
  return result
end

environment.coroutine = copy(coroutine, {
  "create", "isyieldable", "resume", "running", "status", "wrap", "yield",
}, { "close" }, {})
environment.coroutine.resume = protecting(coroutine.resume)
environment.math = copy(math, {
  "abs", "acos", "asin", "atan", "ceil", "cos", "deg", "exp", "floor", "fmod", "huge", "log", "max", "min", "modf", "pi",
  "rad", "random", "sin", "sqrt", "tan",
}, { "maxinteger", "mininteger", "tointeger", "type", "ult" }, {
  "atan2", "cosh", "frexp", "ldexp", "log10", "pow", "sinh", "tanh",
})
environment.math.randomseed = own_randomseed
environment.os = copy(os, { "clock", "difftime", "time" }, {}, {})
environment.string = copy(string, {
  "byte", "char", "find", "gmatch", "gsub", "len", "lower", "match", "rep", "reverse", "sub", "upper",
}, { "pack", "packsize", "unpack" }, {})
environment.string.format = own_format
environment.table = copy(table, { "concat", "insert", "move", "remove", "sort" }, {}, { "maxn" })
environment.table.pack, environment.table.unpack = pack, unpack
if is_jit then
  environment.unpack = unpack
  environment.bit = copy(bit, {}, {}, {
    "arshift", "band", "bnot", "bor", "bswap", "bxor", "lshift", "rol", "ror", "rshift", "tobit", "tohex",
  })
else
  environment.utf8 = copy(utf8, { "char", "charpattern", "codepoint", "codes", "len", "offset" }, {}, {})
end

local string_meta = any_metatable("")
string_meta.__index = environment.string
string_meta.__metatable = "locked"

local shown = {} -- a family of nothing but methods is no global name: scripts have better use for `file`
for index = 1, #bindings do
  local prefix, member, is_method = bindings[index][1], bindings[index][2], bindings[index][3]
  if not is_method then shown[prefix] = true end
  if prefix == "" then
    environment[member] = bind(member)
  else
    families[prefix] = families[prefix] or {}
    families[prefix][member] = bind(prefix .. "." .. member)
  end
end
for prefix, members in next, families do
  if shown[prefix] then environment[prefix] = family(prefix, members) end
end

-- Modules -------------------------------------------------------------------------------------------------------------

-- Each bundle, the program and every library, is a unit with a `require` of its own, which finds the unit's own files and
-- the libraries that its manifest pins. A library gets globals of its own, so neither changes those of the other.
local loaded_modules, LOADING = {}, {}
local environments = { [""] = environment }
local pristine = {}

local function loader(env)
  return function(chunk, _, mode, ...)
    if select("#", ...) > 0 then error("load: the environment is fixed", 2) end
    if mode ~= nil and mode ~= "t" and mode ~= "bt" then error("load: only text is available", 2) end
    local source = chunk
    if type(chunk) == "function" then source = drain(chunk) end
    if type(source) ~= "string" then error("bad argument #1 to 'load' (string or function expected)", 2) end
    if byte(source, 1) == 27 then return nil, "load: bytecode is refused" end
    return raw_load(source, "=load", "t", env)
  end
end
environment.load = loader(environment)

local requirer

local function environment_of(unit)
  local env = environments[unit]
  if env == nil then
    env = {}
    for name, value in next, pristine do env[name] = value end
    env._G, env.load, env.require = env, loader(env), requirer(unit)
    environments[unit] = env
  end
  return env
end

local function run_module(found, key)
  local shown, source = found[3], found[4]
  if byte(source, 1) == 27 then error(failure("invalid_argument", shown .. ": bytecode is refused"), 0) end
  local chunk, problem = raw_load(source, "@" .. shown, "t", environment_of(found[1]))
  if chunk == nil then error(sub(problem, 1, MAX_TEXT), 0) end
  loaded_modules[key] = LOADING
  local done, value = pcall(chunk, shown)
  if not done then
    loaded_modules[key] = nil
    error(value, 0)
  end
  if value == nil then value = true end
  loaded_modules[key] = { value }
  return value
end

requirer = function(unit)
  return function(name)
    headroom()
    host_limit(0)
    local found = settle(pcall(host_call, "=find", unit, name))
    local key = found[1] .. "\0" .. found[2]
    local known = loaded_modules[key]
    if known == LOADING then error(failure("conflict", found[3] .. " requires itself"), 0) end
    if known ~= nil then return known[1] end
    return run_module(found, key)
  end
end

if environment.require ~= nil then environment.require = requirer("") end
for name, value in next, environment do pristine[name] = value end

-- Nothing of the original world is left -------------------------------------------------------------------------------

local function empty(target)
  for key in next, target do
    rawset(target, key, nil)
  end
end

local globals, loaded, preload, library = _G, package.loaded, package.preload, package
empty(loaded)
empty(preload)
empty(library)
empty(globals)

-- Running one program -------------------------------------------------------------------------------------------------

-- Each way out returns plain values only: "ok", value | "error", text, where, code | "syntax", text.
local function execute(source, name)
  if byte(source, 1) == 27 then return "syntax", name .. ":1: bytecode is refused" end
  local chunk, problem = raw_load(source, "@" .. name, "t", environment)
  if chunk == nil then return "syntax", sub(problem, 1, MAX_TEXT) end
  local where
  local function handler(object)
    if where == nil then where = place(2) end
    return object
  end
  local done, value = xpcall(chunk, handler)
  while #endings > 0 do -- also what they add themselves; the run's limits end that
    local ending = endings[#endings]
    endings[#endings] = nil
    local ended, trouble = xpcall(ending, handler)
    if done and not ended then done, value = false, trouble end -- the first thing that went wrong is what is told
  end
  if done then return "ok", value end
  local call = origin[value]
  if call then return "error", call[2], call[3] or where, call[1] end
  local kind = type(value)
  if kind == "string" then return "error", sub(value, 1, MAX_TEXT), where end
  if kind == "number" then return "error", raw_tostring(value), where end
  return "error", "error object of type " .. kind, where
end

-- The host calls with the limit lifted, and reads what is returned with the limit lifted.
-- This state may have been built before the run began, once for many of them; what is random is of the run.
return function(source, name, first_seed, second_seed, memory_bytes)
  seed_a, seed_b, limit = first_seed, second_seed, memory_bytes
  raw_randomseed(seed_a, seed_b)
  host_limit(limit)
  return (function(...)
    host_limit(0)
    return ...
  end)(execute(source, name))
end
