package main

import (
	"path/filepath"
	"strconv"
)

// contender is a way to serve Python functions over HTTP.
type contender struct {
	name     string // for -contenders; also that of its folder and virtual environment
	python   bool   // it has a virtual environment
	apart    bool   // it is measured when all others have ended, since it uses the processors even when nobody calls
	dialect  dialect
	packages []string // whose versions are told
	// argv is the command that starts it; nil if there is nothing to start.
	argv func(e *environment, n entrant, port int) []string
}

// entrant is a contender as one scenario starts it.
type entrant struct {
	*contender
	title   string   // in tables
	work    string   // the function that is served, for contenders that serve one
	workers int      // 0 means 2
	flags   []string // after its own
	env     []string
	accept  string // media type of streams
	spent   bool   // doze is to note how long it kept a worker
}

func (n entrant) size() int {
	if n.workers == 0 {
		return 2
	}
	return n.workers
}

func (n entrant) count() string { return strconv.Itoa(n.size()) }

// folder of the contender's code.
func (n entrant) folder() string { return filepath.Join(contenderDir, n.name) }

var (
	charmer       = &contender{name: "charmer", python: true, dialect: executeDialect, argv: serveCharmer}
	charmerOrjson = &contender{name: "charmer-orjson", python: true, dialect: executeDialect, packages: []string{"orjson", "msgspec"}, argv: serveCharmer}
	ceiling       = &contender{name: "ceiling", dialect: executeDialect,
		argv: func(e *environment, n entrant, port int) []string {
			return []string{e.ceiling, "-listen=" + address(port), "-workers=" + n.count()}
		}}
	fastAPI = &contender{name: "fastapi", python: true, dialect: routeDialect, packages: []string{"fastapi", "uvicorn", "uvloop", "httptools"},
		argv: func(e *environment, n entrant, port int) []string {
			return []string{e.python(n.name), "-m", "uvicorn", "app:app", "--app-dir=" + n.folder(), "--port=" + strconv.Itoa(port),
				"--workers=" + n.count(), "--loop=uvloop", "--http=httptools", "--no-access-log", "--log-level=error"}
		}}
	mosec = &contender{name: "mosec", python: true, dialect: routeDialect, packages: []string{"mosec"},
		argv: func(e *environment, n entrant, port int) []string {
			return []string{e.python(n.name), filepath.Join(n.folder(), "app.py"), "--address=127.0.0.1", "--port=" + strconv.Itoa(port),
				"--log-level=error", "--timeout=30000", "--max-request-size=67108864"}
		}}
	litServe = &contender{name: "litserve", python: true, dialect: routeDialect, packages: []string{"litserve"},
		argv: func(e *environment, n entrant, port int) []string {
			return []string{e.python(n.name), filepath.Join(n.folder(), "app.py")}
		}}
	rayServe = &contender{name: "ray", python: true, apart: true, dialect: routeDialect, packages: []string{"ray"},
		argv: func(e *environment, n entrant, port int) []string {
			return []string{e.python(n.name), filepath.Join(n.folder(), "app.py")}
		}}
	alone = &contender{name: "python", python: true}
	flask = &contender{name: "flask", python: true, dialect: routeDialect, packages: []string{"flask", "gunicorn", "gevent"},
		argv: func(e *environment, n entrant, port int) []string {
			return []string{e.tool(n.name, "gunicorn"), "--chdir=" + n.folder(), "--config=" + filepath.Join(n.folder(), "gunicorn.conf.py"), "--bind=" + address(port),
				"--workers=" + n.count(), "--log-level=error", "app:app"}
		}}
)

// contenders in the order of the tables.
var contenders = []*contender{charmer, charmerOrjson, ceiling, fastAPI, flask, mosec, litServe, rayServe, alone}

func address(port int) string { return "127.0.0.1:" + strconv.Itoa(port) }

// serveCharmer is the command of charmer, with the same app whatever is installed beside it.
func serveCharmer(e *environment, n entrant, port int) []string {
	return []string{e.charmer, "serve", "--listen=" + address(port), "--workers=" + n.count(), "--min-ready=" + n.count(),
		"--max-body=64MiB", "--log-level=error", "--python=" + e.python(n.name), filepath.Join(contenderDir, charmerApp)}
}

// charmerApp is the app of all charmers, in contenderDir.
const charmerApp = "charmer/app.py"
