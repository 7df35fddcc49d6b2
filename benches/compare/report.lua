-- Prints wrk's totals as one line of JSON; it runs once, after the load, and costs the load nothing.
function done(summary, latency, requests)
  local errors = summary.errors
  print(string.format(
    'RESULT {"requests": %d, "bytes": %d, "seconds": %.6f, "bad_status": %d, "socket_errors": %d, '
      .. '"p50_us": %d, "p99_us": %d, "max_us": %d}',
    summary.requests, summary.bytes, summary.duration / 1e6, errors.status,
    errors.connect + errors.read + errors.write + errors.timeout,
    latency:percentile(50), latency:percentile(99), latency.max))
end
