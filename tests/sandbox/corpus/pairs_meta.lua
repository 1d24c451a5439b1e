-- calls: fs.read
for k in pairs(setmetatable({}, {__pairs = function() fs.read("/x") return next, {}, nil end})) do end
