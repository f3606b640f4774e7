// Package openapi merges the schemas of an app's commands into the contract of the service: [Live] makes an OpenAPI 3.1 document with
// a path for each command, and [Down] an OpenAPI 3.0 one of that, for tools that need it. Both are the same bytes for the same app.
package openapi
