-- title: catch the error that was to end the script, and go on
-- reference: https://github.com/kikito/lua-sandbox (an error of the quota can be caught with pcall)
-- real: budget: cpu
-- weakened: deadline outside
-- proof: over: time
-- limits: cpu=0.2

while true do
  pcall(function() while true do end end)
end
