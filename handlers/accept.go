package handlers

import (
	"mime"
	"slices"
	"strconv"
	"strings"

	"github.com/munnerz/goautoneg"
)

// weights are what a client accepts, by the values of one of its Accept headers: media ranges or codings in lower case, and how much
// it likes each, from 0 for not at all to 1 (RFC 9110, section 12.4.2). What is malformed is left out.
type weights map[string]float64

func weightsOf(values []string) weights {
	out := weights{}
	for _, value := range values {
		for item := range strings.SplitSeq(value, ",") {
			name, params, err := mime.ParseMediaType(item)
			if err != nil {
				continue
			}
			q := 1.0
			if text, ok := params["q"]; ok {
				if q, err = strconv.ParseFloat(text, 64); err != nil || !(0 <= q && q <= 1) {
					continue
				}
			}
			out[name] = max(out[name], q)
		}
	}
	return out
}

// preferred returns the media type among those offered that a client likes best. Of those that it likes equally, one that it names
// goes before one that it takes among others, and then an earlier before a later one. It returns the first if the client takes none.
func preferred(accept []string, offers ...string) string {
	accepted := weightsOf(accept)
	best, bestQ, bestRank := offers[0], 0.0, 0
	for _, offer := range offers {
		q, rank := accepted.of(offer)
		if q > 0 && (q > bestQ || (q == bestQ && rank > bestRank)) {
			best, bestQ, bestRank = offer, q, rank
		}
	}
	return best
}

// negotiated returns the media type among those offered that a client likes best, and of those that it likes equally the one that it
// names first; "" if it takes none.
func negotiated(accept []string, offers ...string) string {
	accepted := weightsOf(accept)
	taken := slices.DeleteFunc(offers, func(offer string) bool { // the library takes q=0 for the least of likings
		q, rank := accepted.of(offer)
		return q == 0 && rank > 0
	})
	return goautoneg.Negotiate(strings.Join(accept, ","), taken)
}

// of returns how much a media type is liked. The narrowest range that it is in decides; rank grows with narrowness.
func (w weights) of(mediaType string) (q float64, rank int) {
	kind, _, _ := strings.Cut(mediaType, "/")
	for i, name := range []string{mediaType, kind + "/*", "*/*"} {
		if q, ok := w[name]; ok {
			return q, 3 - i
		}
	}
	return 0, 0
}

// acceptsGzip reports whether a client takes gzip, by its Accept-Encoding headers.
func acceptsGzip(acceptEncoding []string) bool {
	accepted := weightsOf(acceptEncoding)
	q, named := accepted["gzip"]
	if !named {
		q = accepted["*"]
	}
	return q > 0
}
