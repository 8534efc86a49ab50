# What the chart's jobs share: the cluster as the directory tells it. Bash, and nothing beside the program but awk, grep and timeout.
# Takes ROOKERY_ADMIN, ROOKERY_TOKEN_FILE and ROOKERY_CA for the program; MAILSTORE, which ids of mailstores begin with; WANTED, how
# many there are to be; DEADLINE in seconds; THROTTLE, which may be empty.
set -euo pipefail

say() { echo "$*"; }
fail() { echo "$*" >&2; exit 1; }

# The time that is left, a second at the least.
left() { echo $((DEADLINE > SECONDS ? DEADLINE - SECONDS : 1)); }
is_late() { ((SECONDS >= DEADLINE)); }

# The mailstores as lines of `ordinal alive draining shards`. Fails when the directory does not answer.
mailstores() {
  local listed
  listed=$(rookery node list --json) || return 1
  awk -v prefix="$MAILSTORE-" '
    function value(line) { sub(/^[^:]*: */, "", line); gsub(/[",]/, "", line); return line }
    /^ *"(id|alive|draining|shards|role)":/ { key = $1; gsub(/[":]/, "", key); held[key] = value($0) }
    /^ *}/ {
      ordinal = substr(held["id"], length(prefix) + 1)
      if (held["role"] == "mailstore" && index(held["id"], prefix) == 1 && ordinal ~ /^[0-9]+$/ && "alive" in held)
        print ordinal, held["alive"], held["draining"], held["shards"]
      delete held
    }' <<<"$listed"
}

# Whether no shard names a mailstore: as replica, voter or leader. Ends the job when the directory does not answer.
is_empty() {
  local listed
  listed=$(rookery shard list --json) || fail "the directory does not say where the shards are"
  ! grep -qF "\"$1\"" <<<"$listed"
}

# Lets mailstores that are wanted register again after they were taken away once: before that they never become ready.
take_back() {
  local listed removed ordinal node
  listed=$(rookery node list --json) || fail "the directory does not answer"
  removed=$(awk '/^ *"removed": *\[/ { inside = 1 } inside { print } inside && /\]/ { inside = 0 }' <<<"$listed")
  for ((ordinal = 0; ordinal < WANTED; ordinal++)); do
    node=$MAILSTORE-$ordinal
    if grep -qF "\"$node\"" <<<"$removed"; then
      rookery node remove "$node" --undo >/dev/null
      say "$node is taken in again"
    fi
  done
}
