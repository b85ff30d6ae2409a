-- What wrk sends, and what it prints when it is done: one line of JSON. Paths, key and body come by environment, so that no argument list shows them.

wrk.method = os.getenv("LOAD_METHOD")
if wrk.method == "POST" then
  wrk.body = os.getenv("LOAD_BODY")
  wrk.headers["content-type"] = "application/json"
  wrk.headers["authorization"] = os.getenv("LOAD_AUTHORIZATION")
end
if os.getenv("LOAD_HOST") ~= "" then
  wrk.headers["Host"] = os.getenv("LOAD_HOST")
end

local requests = {}
local last = 0

function init()
  for path in string.gmatch(os.getenv("LOAD_PATHS"), "%S+") do
    requests[#requests + 1] = wrk.format(nil, path)
  end
end

function request()
  last = last % #requests + 1
  return requests[last]
end

function done(summary, latency, requests)
  local errors = summary.errors
  local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
  local counts = {}
  if os.getenv("LOAD_LATENCIES") == "yes" then
    for index = 1, #latency do
      local microseconds, count = latency(index)
      counts[index] = string.format("[%d,%d]", microseconds, count)
    end
  end
  print(string.format(
    '{"requests":%d,"microseconds":%d,"failed":%d,"corrected_p99":%d,"latencies":[%s]}',
    summary.requests, summary.duration, failed, latency:percentile(99), table.concat(counts, ",")
  ))
end
