// Package load sends HTTP/1.1 requests over raw connections, cheaply enough to share the processors with the server that it
// measures, and checks every answer. [Conn] is one connection, [Request] a request with the answer that is right. [Closed]
// sends the next request when an answer is there, [Open] at times set beforehand.
package load
