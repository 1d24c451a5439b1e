-- title: replace the count hook that was to stop the script
-- reference: https://github.com/kikito/lua-sandbox (infinite loops are prevented via the debug library)
-- real: error: attempt to index a nil value (global 'debug')
-- weakened: deadline outside
-- proof: over: time
-- limits: cpu=0.2

debug.sethook()
while true do end
