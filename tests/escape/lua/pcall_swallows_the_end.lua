-- title: catch the error that was to end the script, and go on
-- reference: https://github.com/kikito/lua-sandbox/pull/12 (the quota enforcer does not protect against pcall)
-- real: budget: cpu
-- weakened: deadline outside
-- proof: over: time
-- limits: cpu=0.2

while true do
  pcall(function() while true do end end)
end
