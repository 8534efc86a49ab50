# The test of a release: every mailstore is there, every shard is led, and every mail port greets. FRONT is where the ports are,
# PORTS are lines of `protocol port`.

listed=$(mailstores) || fail "the directory does not answer"
there=$(awk '$2 == "true"' <<<"$listed" | wc -l)
[[ $there -ge $WANTED ]] || fail "$there of $WANTED mailstores are there"
shards=$(rookery shard list --json)
grep -q '"id"' <<<"$shards" || fail "no shard has been placed"
if grep -q '"leader": ""' <<<"$shards"; then fail "there are shards that nobody leads"; fi

while read -r protocol port; do
  case "$protocol" in
    imap) wanted='\* OK' ;;
    smtp | submission) wanted='220' ;;
    *) continue ;;
  esac
  # shellcheck disable=SC2016
  greeting=$(timeout 10 bash -c 'exec 3<>"/dev/tcp/$0/$1" && head -n 1 <&3' "$FRONT" "$port") || fail "$protocol does not answer"
  grep -q "^$wanted" <<<"$greeting" || fail "$protocol greets with: $greeting"
  say "$protocol greets"
done <<<"$PORTS"
say "all is well"
