#!/usr/bin/env bash
# try-compose.sh: try docker-compose.yml and the images for real. Takes minutes.
#
#   deploy/try-compose.sh [STANDINS]
#
# Builds and starts the services with `up --build -d`, calls a command, waits until Prometheus has scraped charmer and
# loaded the alert rules, stops within the grace, looks for what was left behind, then builds and calls deploy/user-app.
# Ends with 0 when every line says PASS.
#
# STANDINS is a program that makes local stand-ins for the base images named in its arguments, for a machine that
# reaches no image registry. It is not used for images that are here already or can be pulled. prom/prometheus then becomes Debian's Prometheus, which
# understands the same configuration. Images stay for the next run; containers, networks and volumes do not.
#
# Environment: COMPOSE (docker-compose or "docker compose"), CHARMER_PUBLISH and PROMETHEUS_PUBLISH (address:port).

set -euo pipefail
cd "$(dirname "$0")/.."

standins=${1:-${STANDINS:-}}
export CHARMER_PUBLISH=${CHARMER_PUBLISH:-127.0.0.1:8080}
export PROMETHEUS_PUBLISH=${PROMETHEUS_PUBLISH:-127.0.0.1:9090}
charmer=http://$CHARMER_PUBLISH
prometheus=http://$PROMETHEUS_PUBLISH
project='charmer-try'
user_app='charmer-try-user-app'
mapfile -t bases < <(sed -n 's/^FROM \([^ ]*\).*/\1/p' Dockerfile)
failures=0

say() { printf '%s\n' "$*"; }
pass() { say "PASS  $*"; }
fail() {
  say "FAIL  $*"
  failures=$((failures + 1))
}

# check NAME WANT GOT: one line of the result.
check() {
  if [ "$2" = "$3" ]; then pass "$1: $3"; else fail "$1: got '$3', want '$2'"; fi
}

# wait_for SECONDS COMMAND...: poll until the command succeeds.
wait_for() {
  local deadline=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    [ "$SECONDS" -lt "$deadline" ] || return 1
    sleep 0.5
  done
}

compose() { "${compose[@]}" -p "$project" "$@"; }
container() { compose ps -q "$1"; }
health() { docker inspect --format '{{.State.Health.Status}}' "$1"; }
healthy() { [ "$(health "$1")" = healthy ]; }

# call URL COMMAND-JSON: POST /execute, print the body.
call() { curl -sS --max-time 10 "$1/execute" -H 'Content-Type: application/json' -d "$2"; }

# member PATH...: print one member of the JSON on standard input; strings bare, the rest as JSON.
member() {
  python3 -c '
import json, sys
value = json.load(sys.stdin)
for name in sys.argv[1:]:
    value = value[int(name)] if isinstance(value, list) else value[name]
print(value if isinstance(value, str) else json.dumps(value))' "$@" || true
}

clean() {
  docker rm -f "$user_app" >/dev/null 2>&1 || true
  compose down -v --remove-orphans >/dev/null 2>&1 || true
}

# have IMAGE: it is here or can be pulled.
have() { docker image inspect "$1" >/dev/null 2>&1 || timeout 120 docker pull -q "$1" >/dev/null 2>&1; }

# debian_prometheus IMAGE: an image of that name that runs Debian's Prometheus with the same defaults.
debian_prometheus() {
  docker build -q -t "$1" - <<'DOCKERFILE' >/dev/null
FROM python:3.13-slim
RUN apt-get update -qq \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends prometheus >/dev/null \
 && install -d -o nobody -g nogroup /prometheus /etc/prometheus
USER nobody
EXPOSE 9090
VOLUME /prometheus
WORKDIR /prometheus
ENTRYPOINT ["/usr/bin/prometheus"]
CMD ["--config.file=/etc/prometheus/prometheus.yml", "--storage.tsdb.path=/prometheus"]
DOCKERFILE
}

prepare_images() {
  local image missing=()
  for image in "${bases[@]}"; do
    have "$image" || missing+=("$image")
  done
  if [ ${#missing[@]} -gt 0 ]; then
    [ -x "$standins" ] || { say "cannot pull ${missing[*]}, and no STANDINS was named"; exit 2; }
    "$standins" "${missing[@]}"
  fi
  image=$(sed -n 's/^ *image: \(prom\/prometheus:.*\)/\1/p' docker-compose.yml)
  have "$image" || { debian_prometheus "$image" && say "stand-in ready: $image (Debian's Prometheus)"; }
}

target_up() {
  local health
  health=$(curl -sS --max-time 5 "$prometheus/api/v1/targets?state=active" | python3 2>&1 -c '
import json, sys
for target in json.load(sys.stdin)["data"]["activeTargets"]:
    if target["labels"]["job"] == "charmer":
        print(target["health"], target["scrapeUrl"], target["lastError"])')
  say "$health"
  [[ $health == up\ * ]]
}

# rules_evaluated SINCE: Prometheus has evaluated every alert rule after SINCE, UTC to the second. A rule that has not
# been evaluated is not in error, and one evaluated before the first scrape had nothing to fail on.
rules_evaluated() {
  curl -sS --max-time 5 "$prometheus/api/v1/rules?type=alert" | python3 -c '
import json, sys
rules = [rule for group in json.load(sys.stdin)["data"]["groups"] for rule in group["rules"]]
sys.exit(not rules or any(rule["lastEvaluation"][:19] <= sys.argv[1] for rule in rules))' "$1"
}

# unknown_metrics: names that alerts.yml uses and /metrics does not have.
unknown_metrics() {
  comm -23 <(grep -o 'charmer_[a-z_]*' deploy/prometheus/alerts.yml | sort -u) \
    <(curl -sS --max-time 5 "$charmer/metrics" | grep -o '^charmer_[a-z_]*' | sort -u)
}

try_service() {
  local id reply
  compose up --build -d || fail "up --build -d exits $?"
  id=$(container charmer)
  [ -n "$id" ] || return 1
  if wait_for 120 healthy "$id"; then pass "charmer is healthy"; else
    fail "charmer is $(health "$id")"
    docker logs --tail 50 "$id"
    docker inspect --format '{{range .State.Health.Log}}{{.ExitCode}} {{.Output}}{{end}}' "$id"
    return 1
  fi
  reply=$(call "$charmer" '{"command":"greet","args":{"name":"Ada"}}') || true
  say "      $reply"
  check "POST /execute" "hello Ada" "$(member result <<<"$reply")"
  call "$charmer" '{"command":"count","session_id":"u1"}' >/dev/null || true
  reply=$(call "$charmer" '{"command":"count","session_id":"u1"}') || true
  check "a session remembers" "2" "$(member result <<<"$reply")"
  check "runs as" "10001" "$(docker exec "$id" id -u)"
}

try_prometheus() {
  local query
  if wait_for 60 target_up; then pass "Prometheus target charmer: $(target_up)"; else
    fail "Prometheus target charmer: $(target_up 2>&1)"
    compose logs prometheus | tail -n 20
    return
  fi
  query=$(curl -sS --max-time 5 "$prometheus/api/v1/query" --data-urlencode 'query=sum(charmer_pool_workers)')
  say "      charmer_pool_workers: $query"
  if [ "$(member data result 0 value 1 <<<"$query" 2>/dev/null)" -gt 0 ] 2>/dev/null; then
    pass "Prometheus has charmer_pool_workers"
  else
    fail "Prometheus has no charmer_pool_workers"
  fi
  check "metrics in the alert rules that charmer has not" "" "$(unknown_metrics)"
  wait_for 60 rules_evaluated "$(date -u +%FT%T)" || fail "alert rules were not evaluated within 60 s"
  check "alert rules that cannot be evaluated" "[]" "$(curl -sS --max-time 5 "$prometheus/api/v1/rules?type=alert" | python3 -c '
import json, sys
groups = json.load(sys.stdin)["data"]["groups"]
assert any(group["rules"] for group in groups), "no rules"
print([r["name"] for g in groups for r in g["rules"] if r["health"] == "err"])')"
}

try_stop() {
  local id pids began took left=()
  id=$(container charmer)
  mapfile -t pids < <(docker top "$id" -eo pid | tail -n +2 | tr -d ' ')
  began=$SECONDS
  if compose stop; then pass "stop exits 0"; else fail "stop exits $?"; fi
  took=$((SECONDS - began))
  if [ "$took" -lt 40 ]; then pass "stopped in $took s"; else fail "stopping took $took s"; fi
  check "charmer's exit code" "0" "$(docker inspect --format '{{.State.ExitCode}}' "$id")"
  check "killed for want of memory" "false" "$(docker inspect --format '{{.State.OOMKilled}}' "$id")"
  for pid in "${pids[@]}"; do
    [ ! -e "/proc/$pid" ] || left+=("$pid $(tr '\0' ' ' <"/proc/$pid/cmdline")")
  done
  check "processes left of ${#pids[@]}" "" "${left[*]-}"
  compose down -v
  check "containers left" "" "$(docker ps -aq --filter "label=com.docker.compose.project=$project")"
  check "networks left" "" "$(docker network ls -q --filter "label=com.docker.compose.project=$project")"
  check "volumes left" "" "$(docker volume ls -q --filter "label=com.docker.compose.project=$project")"
}

try_user_app() {
  local reply
  docker build -q -t "$user_app" deploy/user-app || { fail "deploy/user-app does not build"; return; }
  docker run -d --init --name "$user_app" -p "$CHARMER_PUBLISH:8080" "$user_app" >/dev/null
  if wait_for 120 curl -fsS "$charmer/health/ready"; then pass "deploy/user-app is ready"; else
    fail "deploy/user-app is not ready"
    docker logs --tail 50 "$user_app"
    return
  fi
  reply=$(call "$charmer" '{"command":"parse","args":{"text":"29 Feb 2024 5pm"}}') || true
  say "      $reply"
  check "a command with a requirement" "2024-02-29T17:00:00" "$(member result <<<"$reply")"
  docker stop -t 40 "$user_app" >/dev/null
  check "its exit code" "0" "$(docker inspect --format '{{.State.ExitCode}}' "$user_app")"
}

if [ -n "${COMPOSE:-}" ]; then
  read -ra compose <<<"$COMPOSE"
elif docker compose version >/dev/null 2>&1; then
  compose=(docker compose)
else
  compose=(docker-compose)
fi
command -v "${compose[0]}" >/dev/null || {
  say "neither 'docker compose' nor docker-compose is here: apt-get install docker-compose, or set COMPOSE"
  exit 2
}
for address in "$charmer" "$prometheus"; do
  if curl -s --max-time 2 -o /dev/null "$address"; then
    say "something answers on $address already; set CHARMER_PUBLISH or PROMETHEUS_PUBLISH"
    exit 2
  fi
done
if ! docker info >/dev/null 2>&1 && [ -x "$standins" ]; then
  "$standins" "${bases[@]}" # starts the engine too
fi

trap clean EXIT
prepare_images
if compose config -q; then
  pass "$("${compose[@]}" version --short) accepts docker-compose.yml"
else
  fail "docker-compose.yml is refused"
fi
if try_service; then
  try_prometheus
  try_stop
  try_user_app
fi
say "$failures failed"
[ "$failures" -eq 0 ]
