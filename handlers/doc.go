// Package handlers is charmer's HTTP side: it decodes and validates requests by openapi.yaml, calls poolsvc, and encodes
// what comes back. It holds no state of its own but the documents of documents.go, which it can make anew.
//
// A handler returns an error; [Server] turns it into the one problem document of the reply, by the table in errors.go.
// routes.go has the order of the middleware; the routes themselves are generated from openapi.yaml.
package handlers
