-- title: leave a message for the next script in a global
-- reference: https://redis.io/docs/latest/develop/programmability/eval-intro/ (Redis forbids globals for this)
-- real: again: "first"
-- weakened: one worker for one run
-- proof: again: "second"

seen = seen and "second" or "first"
return seen
