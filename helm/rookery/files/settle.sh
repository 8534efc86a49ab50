# After an upgrade or a rollback: takes back mailstores that return, waits until every one is there, forgets those that were taken
# away, and moves shards to those that have none. It may be done twice, and may be broken off. Takes REBALANCE, true or false.

# Between two questions to the directory.
pause() {
  if is_late; then fail "$1 within $DEADLINE seconds (scaling.deadlineSeconds)"; fi
  sleep 1
}

# Moves shards as the directory plans it, and waits for the end, after a rebalance that is under way already.
rebalance() {
  timeout "$(left)" rookery rebalance watch >/dev/null 2>&1 || true
  timeout "$(left)" rookery rebalance --yes ${THROTTLE:+--throttle "$THROTTLE"}
}

until mailstores >/dev/null; do pause "the directory has not answered"; done
take_back

there() { awk -v wanted="$WANTED" '$1 < wanted && $2 == "true"' | wc -l; }
until listed=$(mailstores) && [[ $(there <<<"$listed") = "$WANTED" ]]; do pause "not all $WANTED mailstores are there"; done
say "all $WANTED mailstores are there"

while read -r ordinal _; do
  [[ -n $ordinal && $ordinal -ge $WANTED ]] || continue
  node=$MAILSTORE-$ordinal
  is_empty "$node" || fail "$node is not wanted any more, but holds shards: set mailstore.replicas to $((ordinal + 1)) or more again"
  # It is refused while the process still runs.
  until rookery node remove "$node" --if-there >/dev/null 2>&1; do pause "$node has not stopped"; done
  say "$node is forgotten"
done <<<"$listed"

new=()
while read -r ordinal _ draining shards; do
  [[ -n $ordinal && $ordinal -lt $WANTED ]] || continue
  node=$MAILSTORE-$ordinal
  if [[ $draining = true ]]; then
    say "$node is being drained and gets no shards before: rookery node drain $node --undo"
  elif [[ $shards = 0 ]]; then
    new+=("$node")
  fi
done <<<"$listed"
if [[ $REBALANCE = true && ${#new[@]} -gt 0 ]]; then
  say "to be given shards: ${new[*]}"
  rebalance
fi
