-- KEYS: a counter. ARGV: a process, what it tells, for how many ms it counts, the last clearing it knows.
-- Returns the last clearing, and for each other process "ms since;what it told".
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local cleared = tonumber(redis.call('HGET', KEYS[1], '!') or '0')
if cleared > tonumber(ARGV[4]) then
  redis.call('HDEL', KEYS[1], ARGV[1])
else
  redis.call('HSET', KEYS[1], ARGV[1], string.format('%.0f;%s', now, ARGV[2]))
end
local lasts = math.max(tonumber(ARGV[3]), redis.call('PTTL', KEYS[1]))
redis.call('PEXPIRE', KEYS[1], string.format('%.0f', lasts))
local all = redis.call('HGETALL', KEYS[1])
local answer = { string.format('%.0f', cleared) }
for at = 1, #all, 2 do
  local name, told = all[at], all[at + 1]
  if name ~= '!' and name ~= ARGV[1] then
    local split = string.find(told, ';')
    local since = math.max(0, now - tonumber(string.sub(told, 1, split - 1)))
    if since > tonumber(ARGV[3]) then
      redis.call('HDEL', KEYS[1], name)
    else
      answer[#answer + 1] = string.format('%.0f', since) .. string.sub(told, split)
    end
  end
end
return answer
