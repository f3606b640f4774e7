// Package api holds what is generated from openapi.yaml, and no logic: the models of requests and replies, the codes of
// problems, and the routes. Only handlers imports it; api/client is a client with models of its own, for the command line
// and for tests.
//
// The fields of requests carry validate tags, which tools/apigen derives from the schema keywords. A package that checks
// them with validator/v10 must register two rules: json_object says that a jsontext.Value holds an object, and
// pattern=NAME that a string matches the expression of that name in [Patterns]. It must also refuse explicit null and
// unknown members while decoding, since a tag cannot.
//
// Durations are float64 milliseconds in fields that end in Ms. Members that may be absent are pointers, or nil slices
// and maps. A jsontext.Value is JSON text: the arguments and the result of a call pass through as bytes.
package api
