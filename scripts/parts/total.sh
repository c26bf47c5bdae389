# shellcheck shell=bash
# Counts the results in the log of `cargo test`, and names skipped and failed tests.

# Checks other than tests have lines of their own in that log.
note_failed_check() { echo "CHECK FAILED: $2" >>"$1"; }
note_skipped_check() { echo "CHECK SKIPPED: $2: $3" >>"$1"; }

# print_total LOG: prints the total on the last line. A test that says `SKIPPED: reason (its name)` passes for cargo,
# but not for us; a test that says so twice counts once. If `CI` is `true`, skipped means failed. Succeeds if nothing
# failed.
print_total() {
  awk -v ci="${CI-}" '
    function add(list, what) { return list "    " what "\n" }
    function skip(key, what) {
      if (key in seen) return
      seen[key] = 1
      skips += 1
      skipped = add(skipped, what)
    }

    # Running tests/engine.rs (target/debug/deps/engine-0123456789abcdef)
    / Running .*\(.*-[0-9a-f]+\)$/ { suite = $NF; sub(/^.*\//, "", suite); sub(/-[0-9a-f]+\)$/, "", suite) }
    / Doc-tests / { suite = $NF }

    /^test result:/ { passed += $4; failed += $6 }
    /^test .* \.\.\. FAILED$/ {
      sub(/^test /, ""); sub(/ \.\.\. FAILED$/, "")
      failures = add(failures, suite " " $0)
      broken[suite " " $0] = 1
    }
    /^test .* \.\.\. ignored/ {
      sub(/^test /, ""); reason = $0
      sub(/ \.\.\. ignored.*/, ""); sub(/.* \.\.\. ignored(, )?/, "", reason)
      skip(suite " " $0, suite " " $0 ": " (reason ? reason : "ignored"))
    }
    # It may follow an unfinished line of the harness.
    /SKIPPED: .* \([^()]*\)$/ && !/^CHECK / {
      reason = name = $0
      sub(/^.*SKIPPED: /, "", reason); sub(/ \([^()]*\)$/, "", reason)
      sub(/^.* \(/, "", name); sub(/\)$/, "", name)
      key = suite " " name
      if (!(key in said)) { said[key] = 1; order[++count] = key; why[key] = reason }
    }

    /^CHECK FAILED: / { sub(/^CHECK FAILED: /, ""); failed += 1; failures = add(failures, $0) }
    /^CHECK SKIPPED: / { sub(/^CHECK SKIPPED: /, ""); skip($0, $0) }

    END {
      for (i = 1; i <= count; i++) if (!(order[i] in broken)) { passed -= 1; skip(order[i], order[i] ": " why[order[i]]) }
      if (failures) printf "failed:\n%s", failures
      if (skips) printf "skipped%s:\n%s", (ci == "true" ? ", which in CI is a failure" : ""), skipped
      if (ci == "true") { failed += skips; skips = 0 }
      printf "%d passed, %d failed", passed, failed
      if (skips) printf ", %d skipped", skips
      print ""
      exit failed > 0
    }' "$1"
}
