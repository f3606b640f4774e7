package poolsvc

import (
	"cmp"
	"context"
	"log/slog"
	"reflect"
	"slices"
	"sync"

	"github.com/go-json-experiment/json/jsontext"

	"charmer/poolsvc/argschema"
	"charmer/workerproc"
)

// Catalogue is what an app offers. It is immutable, and one for all workers that say the same.
type Catalogue struct {
	Commands []workerproc.Command // sorted by name, without schemas that are none
	byName   map[string]command
	said     []workerproc.Command // what workers say that have it
}

// command is one that a worker offers. Its name is empty if there is none.
type command struct {
	workerproc.Command
	args *argschema.Schema // that arguments are checked against before they are sent; nil allows everything
}

// find returns the command with that name.
func (c *Catalogue) find(name string) command {
	if c == nil {
		return command{}
	}
	return c.byName[name]
}

// check refuses arguments that do not fit, with the *CommandError that Python would refuse them with.
func (c command) check(args []byte) error {
	problems := c.args.Check(args)
	if len(problems) == 0 {
		return nil
	}
	refusal := &CommandError{Kind: KindInvalidArgs, Message: "arguments do not fit " + c.Name}
	for _, problem := range problems {
		refusal.Errors = append(refusal.Errors, workerproc.ArgError{Pointer: problem.Pointer, Detail: problem.Detail})
	}
	return refusal
}

// Fits reports whether arguments for a command pass the check that a call of it begins with.
func (c *Catalogue) Fits(name string, args []byte) bool { return c.find(name).check(args) == nil }

// Catalogue returns what the current generation of the app offers, or nil as long as no worker has been ready.
func (p *Pool) Catalogue() *Catalogue {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.offers
}

// keptCatalogues is how many are remembered: of the current generation, and of those before and after it.
const keptCatalogues = 3

// catalogues makes catalogues of what workers say, and each but once: a fork is ready in less time than its schemas take to compile.
type catalogues struct {
	mu   sync.Mutex // guards last, and is held while schemas are compiled; never together with Pool.mu
	last []*Catalogue
}

// of returns the catalogue of a worker that offers these commands.
func (c *catalogues) of(said []workerproc.Command, log *slog.Logger) *Catalogue {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, known := range c.last {
		if sameCommands(known.said, said) {
			return known
		}
	}
	made := &Catalogue{said: said, byName: make(map[string]command, len(said))}
	for _, one := range said {
		args := c.schema(log, one.Name, "arguments", &one.ArgsSchema, func(before *Catalogue) *argschema.Schema {
			return before.find(one.Name).args
		})
		c.schema(log, one.Name, "result", &one.ResultSchema, func(*Catalogue) *argschema.Schema { return nil })
		made.byName[one.Name] = command{Command: one, args: args}
		made.Commands = append(made.Commands, one)
	}
	slices.SortStableFunc(made.Commands, func(a, b workerproc.Command) int { return cmp.Compare(a.Name, b.Name) })
	c.last = append(c.last, made)
	c.last = c.last[max(0, len(c.last)-keptCatalogues):]
	return made
}

// schema compiles a schema, unless before finds one in an earlier catalogue that is written alike. One that is none is logged and taken
// away: Python is alone to know then.
func (c *catalogues) schema(log *slog.Logger, name, what string, text *jsontext.Value, before func(*Catalogue) *argschema.Schema) *argschema.Schema {
	if len(*text) == 0 {
		return nil
	}
	for _, known := range c.last {
		if s := before(known); s.IsOf(*text) {
			return s
		}
	}
	s, err := argschema.Compile(*text)
	if err != nil {
		log.Warn("schema cannot be used", "command", name, "of", what, "err", err)
		*text = nil
		return nil
	}
	if why := s.Unchecked(); why != "" && what == "arguments" {
		log.Warn("arguments are checked in Python alone", "command", name, "reason", why)
	}
	return s
}

// sameCommands reports whether two workers said the same. Those of one spawner mostly share even what they said.
func sameCommands(a, b []workerproc.Command) bool {
	if len(a) != len(b) || len(a) == 0 {
		return len(a) == len(b)
	}
	return &a[0] == &b[0] || reflect.DeepEqual(a, b)
}

// refuseArgs counts a call that was refused for its arguments before it was sent.
func (p *Pool) refuseArgs(err error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.counts.executions[outcome(err)]++
	return err
}

// holdFitting checks the arguments of a call again that has a worker now, if that worker has another schema for the command
// than the one they were checked against. While a reload replaces the workers that may be an older one: if the arguments are
// right for the current generation the call then waits for a worker of that, else it is refused.
func (p *Pool) holdFitting(ctx context.Context, h held, req *Request, checked command, x *execution) (held, error) {
	err := h.misfit(*req, checked)
	if err == nil {
		return h, nil
	}
	p.giveBackUnused(h)
	if !p.mayGetNewer(h, *req) {
		return held{}, p.refuseArgs(err)
	}
	req.newest = true
	if h, err = p.hold(ctx, *req, x.deadline); err != nil {
		return held{}, err
	}
	if err = h.misfit(*req, checked); err != nil {
		p.giveBackUnused(h)
		return held{}, p.refuseArgs(err)
	}
	return h, nil
}

// misfit is the error of arguments that do not fit the worker that is held, unless they were checked against the same.
func (h held) misfit(req Request, checked command) error {
	its := h.m.offers.find(req.Command)
	if its.Name == "" || checked.Name != "" && its.args.Same(checked.args) {
		return nil // a command that it does not have it refuses itself
	}
	return its.check(req.Args)
}

// mayGetNewer reports whether a call that does not fit the worker that was held fits those of the current generation, and may run there.
func (p *Pool) mayGetNewer(h held, req Request) bool {
	p.mu.Lock()
	older := h.m.generation < p.current
	current := p.offers.find(req.Command)
	p.mu.Unlock()
	return older && h.lease == nil && h.session == nil && current.Name != "" && current.check(req.Args) == nil
}
