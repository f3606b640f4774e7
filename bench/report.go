package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// report is everything that was measured. results.json is it in JSON, and bench/plot draws that.
type report struct {
	Machine   machine
	Scenarios []*scenarioResult
}

// scenarioResult is what a scenario has measured.
type scenarioResult struct {
	ID, Title, About string
	Columns          []column
	Plot             string // the column that is drawn, or empty
	Rows             []*row
	Absent           []string // contenders that cannot do it
	Note             string   // what else is to be told
}

// row is one contender in one case.
type row struct {
	Case, Contender string
	Rounds          []measurement
}

func (r *scenarioResult) add(label, contender string, m measurement) {
	i := slices.IndexFunc(r.Rows, func(w *row) bool { return w.Case == label && w.Contender == contender })
	if i < 0 {
		i = len(r.Rows)
		r.Rows = append(r.Rows, &row{Case: label, Contender: contender})
	}
	r.Rows[i].Rounds = append(r.Rows[i].Rounds, m)
}

// sort puts the rows in the order of the cases, and in each in that of the entrants.
func (r *scenarioResult) sort(sc *scenario) {
	place := func(w *row) int {
		return slices.Index(sc.cases, w.Case)*len(sc.entrants) + slices.IndexFunc(sc.entrants, func(n entrant) bool { return n.title == w.Contender })
	}
	slices.SortStableFunc(r.Rows, func(a, b *row) int { return place(a) - place(b) })
}

// values returns the sorted values of a column, of the rounds that have one.
func (w *row) values(column string) []float64 {
	var values []float64
	for _, m := range w.Rounds {
		if v, ok := m[column]; ok {
			values = append(values, v)
		}
	}
	slices.Sort(values)
	return values
}

func median(sorted []float64) float64 {
	n := len(sorted)
	if n%2 == 1 {
		return sorted[n/2]
	}
	return (sorted[n/2-1] + sorted[n/2]) / 2
}

// write writes results.json and results.md.
func (r *report) write(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	text, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "results.json"), text, 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "results.md"), []byte(r.markdown()), 0o644)
}

// draw has bench/plot draw results.svg.
func (r *report) draw(ctx context.Context, dir string) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "go", "run", ".", filepath.Join(dir, "results.json"), filepath.Join(dir, "results.svg"))
	cmd.Dir = "bench/plot"
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("draw the results: %w\n%s", err, out)
	}
	return nil
}

func (r *report) markdown() string {
	var out strings.Builder
	fmt.Fprintf(&out, "# Results\n\n%s\n", r.Machine.sentence())
	for _, s := range r.Scenarios {
		s.markdown(&out)
	}
	return out.String()
}

// markdown writes one table: medians over the rounds, and behind some the lowest and the highest.
func (r *scenarioResult) markdown(out *strings.Builder) {
	fmt.Fprintf(out, "\n## %s: %s\n\n%s\n\n| case | contender |", r.ID, r.Title, r.About)
	for _, c := range r.Columns {
		fmt.Fprintf(out, " %s |", c.Name)
	}
	out.WriteString("\n|---|---|" + strings.Repeat("---|", len(r.Columns)) + "\n")
	for _, w := range r.Rows {
		fmt.Fprintf(out, "| %s | %s |", w.Case, w.Contender)
		for _, c := range r.Columns {
			fmt.Fprintf(out, " %s |", w.cell(c))
		}
		out.WriteByte('\n')
	}
	for _, name := range r.Absent {
		fmt.Fprintf(out, "| | %s |%s\n", name, strings.Repeat(" – |", len(r.Columns)))
	}
	if r.Note != "" {
		fmt.Fprintf(out, "\n%s\n", r.Note)
	}
}

func (w *row) cell(c column) string {
	values := w.values(c.Name)
	if len(values) == 0 {
		return "–"
	}
	text := number(c, median(values))
	if c.Spread && len(values) > 1 {
		text += fmt.Sprintf(" (%s–%s)", number(c, values[0]), number(c, values[len(values)-1]))
	}
	return text
}

// yesNo is the Format of columns that say yes or, if 0, no.
const yesNo = "yes"

// number formats a value, with commas between thousands.
func number(c column, v float64) string {
	if c.Format == yesNo {
		return map[bool]string{true: "yes", false: "no"}[v != 0]
	}
	text := fmt.Sprintf(c.Format, v)
	whole, rest, _ := strings.Cut(text, ".")
	for i := len(whole) - 3; i > 0 && whole[i-1] != '-'; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	if rest != "" {
		return whole + "." + rest
	}
	return whole
}
