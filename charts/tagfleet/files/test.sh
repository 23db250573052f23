# FLEET: the host of a fleet's Service. DESTINATION: one that must deliver the hit, or nothing. SECONDS_LEFT: for all of it.
end=$(($(date +%s) + SECONDS_LEFT))

get() { timeout 5 wget -q -U 'Mozilla/5.0 (helm test)' -O - "$1"; }

# wait_until WHAT COMMAND...: tries each second.
wait_until() {
  what=$1
  shift
  until "$@" >/dev/null; do
    if [ "$(date +%s)" -ge "$end" ]; then
      echo "FAILED: $what"
      echo "What the fleet says of itself:"
      get "http://$FLEET:9090/status" || true
      exit 1
    fi
    sleep 1
  done
  echo "ok: $what"
}

in_force() { get "http://$FLEET:9090/status" | grep -q "\"$1\""; }
send_hit() { get "http://$FLEET/g/collect?v=2&tid=G-TEST&cid=1.2&en=tagfleet_helm_test"; }
# counted METRIC OUTCOME: whether it is more than 0.
counted() { get "http://$FLEET:9090/metrics" | grep "^$1{" | grep "outcome=\"$2\"" | grep -qv ' 0$'; }

wait_until "the fleet serves" get "http://$FLEET/healthz"
if [ -n "$DESTINATION" ]; then wait_until "the destination is in force" in_force "Destination/$DESTINATION"; fi
wait_until "the hit is acknowledged" send_hit
wait_until "the hit is in the buffer" counted tagfleet_events_total accepted
if [ -n "$DESTINATION" ]; then wait_until "the hit is delivered" counted tagfleet_deliveries_total delivered; fi
