// Package mcptools describes commands as tools of the Model Context Protocol: their names, the schemas of their arguments and results,
// and the form in which a result is sent. It knows neither HTTP nor the pool.
//
// Source: https://modelcontextprotocol.io/specification/2025-11-25/server/tools
package mcptools
