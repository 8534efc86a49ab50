# Before an upgrade or a rollback: empties the mailstores that will be taken away, and lets those in that return. Ends with an error,
# so that nothing is changed, unless no shard is on any that goes. It may be done twice, and may be broken off: it goes on where it was.

leaving=()
listed=$(mailstores) || fail "The directory does not answer, so it is not known whether a mailstore can be taken away, and nothing
is changed. To mend the directory by an upgrade that takes none away: --set scaling.drain=false --set scaling.settle=false"
if [[ -z $listed ]]; then
  # Before the first placement it is so. Later it would mean that this script does not understand what it reads.
  shards=$(rookery shard list --json)
  if grep -q '"id"' <<<"$shards"; then fail "shards have been placed, but no mailstore is called $MAILSTORE-N: nothing is changed"; fi
  say "there are no mailstores yet"
  exit 0
fi
while read -r ordinal _; do
  if [[ $ordinal -ge $WANTED ]]; then leaving+=("$MAILSTORE-$ordinal"); fi
done <<<"$listed"
take_back
if [[ ${#leaving[@]} = 0 ]]; then
  say "no mailstore is taken away"
  exit 0
fi

refuse() {
  fail "$* Nothing is changed: ${leaving[*]} go on serving the shards that they still have. Do the upgrade again to go on. To stay with
them: $(printf 'rookery node drain %s --undo; ' "${leaving[@]}")rookery rebalance"
}

all_empty() {
  local node
  for node in "${leaving[@]}"; do is_empty "$node" || return 1; done
}

say "to be emptied: ${leaving[*]}"
# All before the first is emptied, so that none is given what another had.
for node in "${leaving[@]}"; do
  rookery node drain "$node" >/dev/null || refuse "$node cannot be drained."
done
# A plan is refused when a node comes or goes meanwhile, and one that left something is followed by another.
for attempt in 1 2 3 4 5; do
  for node in "${leaving[@]}"; do
    if is_late; then refuse "They are not empty within $DEADLINE seconds (scaling.deadlineSeconds)."; fi
    timeout "$(left)" rookery node drain "$node" --wait ${THROTTLE:+--throttle "$THROTTLE"} || say "$node could not be emptied at try $attempt"
  done
  if all_empty; then
    say "empty: ${leaving[*]}"
    exit 0
  fi
done
refuse "They are not empty after $attempt tries: \`rookery rebalance plan\` says why; have the others room?"
