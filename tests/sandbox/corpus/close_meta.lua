-- calls: fs.read
do local x <close> = setmetatable({}, {__close = function() fs.read("/x") end}) end return 1
