-- title: loop until the loop is compiled, in which a count hook is never called
-- reference: https://luajit.org/faq.html#ctrlc
-- real: budget: cpu
-- weakened: deadline outside, walls
-- proof: over: time
-- limits: cpu=0.2

local sum = 0
while true do sum = sum + 1 end
