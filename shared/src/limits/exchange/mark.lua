-- KEYS: the mark. ARGV: what it becomes when there is none. Returns what it is.
if not redis.call('GET', KEYS[1]) then
  redis.call('SET', KEYS[1], ARGV[1])
end
return { redis.call('GET', KEYS[1]) }
