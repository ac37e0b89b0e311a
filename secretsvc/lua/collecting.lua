#!lua
-- Note who is about to collect an answer, under the claimant's hash: whoever marks the end finds the name there.
--
-- KEYS    1 receipt
-- ARGV    1 claimant   2 the agent's name
-- returns 1, or 0 if the receipt is not known any more
--
-- Before the ledger is asked, so that no end is without a name; of several claimants the ledger picks one.
if redis.call('EXISTS', KEYS[1]) == 0 then
  return 0
end
redis.call('HSET', KEYS[1], 'w' .. ARGV[1], ARGV[2])
return 1
