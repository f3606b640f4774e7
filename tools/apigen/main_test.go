package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestRoutesCheckParametersByTheirSchemas(t *testing.T) {
	source := strings.Replace(withMember("{type: string}", false), "/things:", `/things/{id}/{n}:
    parameters:
      - {in: path, name: id, required: true, schema: {type: string, minLength: 1, pattern: '^a'}}
      - {in: path, name: n, required: true, schema: {type: integer, format: int64, minimum: 1}}
      - {in: query, name: q, schema: {type: integer, format: int64, maximum: 7}}
      - {in: query, name: s, required: true, schema: {type: string, maxLength: 3}}`, 1)
	models, _, err := serverModels([]byte(source))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`MakeThing(w http.ResponseWriter, r *http.Request, id string, n int64, params MakeThingParams) error`,
		`o.CheckParam("path", "id", id, "min=1,pattern=paths_1things_1_id_1_n_parameters_0_schema")`,
		`o.CheckParam("path", "n", n, "min=1")`,
		`o.CheckParam("query", "q", *params.Q, "max=7")`,
		`o.CheckParam("query", "s", params.S, "max=3")`,
		`r.Method("POST", "/things/{id}/{n}", o.adapt(o.makeThing))`,
	} {
		if !strings.Contains(string(models), want) {
			t.Errorf("no %s in:\n%s", want, models)
		}
	}
}

func TestAChoiceOfStringsIsAString(t *testing.T) {
	const inReply = `
    Reply: {type: object, required: [m, n], properties: {
      m: {anyOf: [{$ref: '#/components/schemas/Name'}, {type: string}]},
      n: {anyOf: [{type: string}, {type: boolean}]}}}
    Name: {type: string, enum: [one]}`
	source := contract("{type: object, additionalProperties: false}", inReply)
	models, _, err := serverModels([]byte(source))
	if err != nil {
		t.Fatal(err)
	}
	compact := strings.Join(strings.Fields(string(models)), " ")
	for _, want := range []string{"M string `json:\"m\"`", "N Reply_N `json:\"n\"`", `NameOne Name = "one"`} {
		if !strings.Contains(compact, want) {
			t.Errorf("no %s in:\n%s", want, models)
		}
	}
}

func TestCheckNamesTheFilesThatAreOutOfDate(t *testing.T) {
	root := t.TempDir()
	write := func(source string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(root, "openapi.yaml"), []byte(source), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(withMember("{type: string, maxLength: 3}", false))
	if err := run(root, true); err == nil || !strings.Contains(err.Error(), "api/api.gen.go is missing") {
		t.Errorf("before the first run: %v", err)
	}
	if err := run(root, false); err != nil {
		t.Fatal(err)
	}
	if err := run(root, true); err != nil {
		t.Errorf("after a run: %v", err)
	}
	write(withMember("{type: string, maxLength: 4}", false))
	err := run(root, true)
	if err == nil || !strings.Contains(err.Error(), "api/api.gen.go does not match") {
		t.Errorf("after a change: %v", err)
	}
	if err != nil && strings.Contains(err.Error(), "patterns.gen.go") {
		t.Errorf("patterns have not changed: %v", err)
	}
}

func TestAMappingKeyMayStandOnce(t *testing.T) {
	if _, err := parse([]byte("a: 1\na: 2\n")); err == nil {
		t.Error("a document with a key twice was read")
	}
}
