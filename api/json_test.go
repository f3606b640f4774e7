package api_test

import (
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"charmer/api"
	"charmer/api/client"
)

// TestJSONThatIsThereIsSentHoweverLittleItSays sends what is less than what omitempty leaves out.
func TestJSONThatIsThereIsSentHoweverLittleItSays(t *testing.T) {
	for _, text := range []string{"null", "{}", "[]", `""`} {
		value := jsontext.Value(text)
		for _, row := range []any{api.BroadcastResult{Result: value}, api.Command{ResultSchema: value}, client.Command{ResultSchema: []byte(value)}} {
			out, err := json.Marshal(row)
			if err != nil {
				t.Fatal(err)
			}
			var got map[string]jsontext.Value
			if err := json.Unmarshal(out, &got); err != nil {
				t.Fatal(err)
			}
			if sent := string(got["result"]) + string(got["result_schema"]); sent != text {
				t.Errorf("%T has %q for %s", row, sent, text)
			}
		}
	}
	out, err := json.Marshal(api.Command{})
	if err != nil {
		t.Fatal(err)
	}
	if value := jsontext.Value(out); !value.IsValid() {
		t.Errorf("nothing is sent as %s", out)
	}
}
